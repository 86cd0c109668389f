/*
 * One loop over events (events.h) and the phases of a run.
 *
 * OPENING: each connection sends one byte and waits for its echo. The load
 * begins when all connections have their echo. So the server serves every
 * connection, and none is only queued by the kernel. At most MAX_STARTING
 * connections wait for their first echo at a time, because the backlog of many
 * servers is short. In mode CONNECT only the idle connections are opened here.
 * WARM_UP and MEASURING: the load, without and with counting it.
 * CLOSING: no new message is sent, and the outstanding bytes are received.
 */
#include "load.h"

#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "connection.h"
#include "events.h"
#include "measure.h"
#include "pattern.h"

enum {
	MAX_STARTING = 32,	/* connections that wait for their first echo */
	MAX_SENT = 64,		/* messages of a schedule between two waits */
	CLOSING_RATE = 100000	/* least bytes per second while closing */
};

/* Opens more connections, as far as MAX_STARTING allows. */
static void
load_open_more(struct load *l)
{
	while (l->next < l->n && l->starting < MAX_STARTING) {
		l->starting++;
		connection_open(l, &l->connections[l->next++], STARTING, 1);
	}
}

static void
load_begin_warm_up(struct load *l)
{
	l->phase = WARM_UP;
	l->schedule = (struct schedule){ l->plan->rate, net_now(), 0 };
	for (size_t i = 0; i < l->plan->connections; i++)
		if (l->plan->mode == CONNECT)
			connection_open(l, &l->connections[i], BUSY,
			    l->plan->size);
		else
			connection_start_load(l, &l->connections[i]);
	l->phase_end = net_now() + measure_warm_up_time(l->plan);
}

static void
load_begin_measuring(struct load *l)
{
	l->phase = MEASURING;
	l->measure_start = measure_begin(l->target, l->progress, l->result);
	l->phase_end = l->measure_start + l->plan->duration;
	l->measure_end = l->phase_end;
}

static void
load_end_measuring(struct load *l)
{
	measure_end(l->target, l->progress, l->result, l->measure_start);
}

/* Stops sending; a connection without outstanding bytes sends FIN. */
static void
load_close_gracefully(struct load *l, struct connection *c)
{
	c->queued = false;
	if (c->fd < 0 || c->state == FIN_SENT)
		return;
	c->waiting_since = net_now();
	if (l->plan->mode == STREAM && c->state == BUSY)
		c->send_limit = c->sent;
	if (l->plan->rate > 0 && c->state == BUSY)
		connection_cancel(l, c, c->sent);
	if (c->received == c->send_limit)
		connection_send_fin(l, c);
}

static uint64_t
load_outstanding(const struct load *l)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < l->n; i++) {
		const struct connection *c = &l->connections[i];

		if (c->fd >= 0 && c->state != FIN_SENT)
			sum += c->send_limit - c->received;
	}
	return sum;
}

/*
 * Returns how long the outstanding bytes may take. Without this limit, a server
 * that sends a few bytes per second, and therefore never reaches the timeout,
 * could prolong the run for hours. For the last messages, a server that kept up
 * with the load needs at most as long as the load lasted. With STREAM, the
 * sockets may contain some MB more; the server must send these with at least
 * CLOSING_RATE.
 */
static int64_t
load_closing_limit(const struct load *l)
{
	uint64_t bytes = load_outstanding(l);

	if (bytes > UINT32_MAX)		/* 12 hours */
		bytes = UINT32_MAX;
	return measure_warm_up_time(l->plan) + l->plan->duration +
	    l->plan->timeout + (int64_t)bytes * NET_SECOND / CLOSING_RATE;
}

static bool
load_is_scheduled(const struct load *l)
{
	return l->plan->rate > 0 &&
	    (l->phase == WARM_UP || l->phase == MEASURING);
}

/* Sends messages of the schedule that are due in this phase. */
static void
load_send_scheduled(struct load *l)
{
	struct schedule *s = &l->schedule;

	for (int i = 0; i < MAX_SENT && load_is_scheduled(l); i++) {
		int64_t due = schedule_due(s, s->next);

		if (due >= l->phase_end || due > net_now())
			break;
		measure_delay(l->result, due, l->measure_start);
		connection_send_scheduled(l,
		    &l->connections[s->next++ % l->plan->connections]);
	}
}

static void
load_begin_closing(struct load *l)
{
	load_end_measuring(l);
	if (load_is_scheduled(l))
		measure_end_schedule(l->result, &l->schedule,
		    l->measure_start, l->measure_end);
	l->phase = CLOSING;
	l->queue = NULL;
	for (size_t i = 0; i < l->n; i++)
		load_close_gracefully(l, &l->connections[i]);
	l->closing_limit = load_closing_limit(l);
	l->phase_end = net_now() + l->closing_limit;
}

/* Ends the run after Ctrl-C, without waiting for outstanding bytes. */
static void
load_abort(struct load *l)
{
	if (l->phase == MEASURING)
		load_end_measuring(l);
	l->phase = CLOSING;
	for (size_t i = 0; i < l->n; i++) {
		struct connection *c = &l->connections[i];

		if (l->plan->rate > 0 && c->state == BUSY)
			connection_cancel(l, c, c->received);
		if (c->fd >= 0)
			connection_close(l, c);
	}
}

/* Enters the next phase when it is time. False when the run has ended. */
static bool
load_next_phase(struct load *l)
{
	if (measure_is_stopped())
		load_abort(l);
	else if (l->phase == OPENING) {
		load_open_more(l);
		if (l->next == l->n && l->starting == 0)
			load_begin_warm_up(l);
	} else if (l->phase == WARM_UP && l->now >= l->phase_end)
		load_begin_measuring(l);
	else if (l->phase == MEASURING && l->now >= l->phase_end)
		load_begin_closing(l);
	return l->phase != CLOSING || l->open > 0;
}

static void
load_periodic_checks(struct load *l)
{
	if (l->now < l->next_check)
		return;
	l->next_check = l->now + MEASURE_CHECK_INTERVAL;
	if (l->phase == MEASURING)
		l->result->time = l->now - l->measure_start;
	l->progress(l->target, l->result);
	for (size_t i = 0; i < l->n; i++)
		connection_check_timeout(l, &l->connections[i]);
}

/* How long the next wait may take, in ms. */
static int
load_wait_ms(const struct load *l)
{
	int64_t end = l->next_check;

	if ((l->phase == WARM_UP || l->phase == MEASURING) &&
	    l->phase_end < end)
		end = l->phase_end;
	if (l->queue != NULL && l->retry_at < end)
		end = l->retry_at;
	if (load_is_scheduled(l))
		end = measure_wake(&l->schedule, end);
	if (end <= l->now || l->now < l->spin_until)
		return 0;
	return net_milliseconds(end - l->now);
}

/*
 * A signal that arrives just before the wait is noticed MEASURE_CHECK_INTERVAL
 * later.
 */
static void
load_wait(struct load *l)
{
	struct event ready[EVENTS_MAX];
	int n = events_wait(ready, load_wait_ms(l));

	if (n < 0 && n != -EINTR)
		errx(STATUS_LOCAL, "cannot wait for events: %s",
		    strerror(-n));
	for (int i = 0; i < n; i++)
		connection_handle(l, &l->connections[ready[i].data],
		    ready[i].events);
	l->now = net_now();
	connection_retry_queued(l);
}

static void
load_allocate(struct load *l)
{
	l->connections = calloc(l->n, sizeof(*l->connections));
	/* With a schedule, the send times are computed, not stored. */
	l->send_times = calloc(l->plan->connections * (l->plan->rate > 0 ? 1 :
	    l->plan->window), sizeof(*l->send_times));
	if (l->connections == NULL || l->send_times == NULL ||
	    events_open() < 0)
		err(STATUS_LOCAL, "no memory for %zu connections", l->n);
	for (size_t i = 0; i < l->n; i++)
		l->connections[i].fd = -1;
}

void
load_run(const struct load_plan *plan, const struct load_target *target,
    load_progress *progress, struct load_result *result)
{
	struct load l = { .plan = plan, .target = target,
	    .progress = progress, .result = result,
	    .n = plan->connections + plan->idle, .now = net_now(),
	    .next = plan->mode == CONNECT ? plan->connections : 0 };

	*result = (struct load_result){ .processor = -1, .memory = -1 };
	measure_raise_fd_limit(l.n, l.n);
	load_allocate(&l);
	pattern_fill();
	while (load_next_phase(&l)) {
		load_wait(&l);
		load_send_scheduled(&l);
		load_periodic_checks(&l);
	}
	progress(target, NULL);
	events_close();
	free(l.connections);
	free(l.send_times);
}
