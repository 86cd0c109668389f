/*
 * One loop over events (events.h) and the phases of a run.
 *
 * WARM_UP and MEASURING: each client keeps its window of messages in flight,
 * without and with counting them. A message that is sent while measuring is
 * counted, and its replies are counted even if they arrive later.
 * CLOSING: no new message is sent. bench waits for the replies to the messages
 * in flight until they are late, and then a short time for second replies.
 *
 * UDP has no connections, so no client has to be accepted first.
 * udp_load_reach() has found out that a server is there.
 */
#include "udp_load.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "measure.h"
#include "modes/lib/random.h"
#include "modes/lib/text.h"
#include "pattern.h"
#include "udp_client.h"

/* Time between two checks for overdue messages. */
static const int64_t OVERDUE_INTERVAL = 10 * NET_MS;

/* Time for second replies to arrive after the first ones, while CLOSING. */
static const int64_t SECOND_REPLIES = 50 * NET_MS;

/* Time between two messages that search for a server. */
static const int64_t REACH_INTERVAL = 200 * NET_MS;

struct udp_load {
	const struct load_plan *plan;
	const struct load_target *target;
	load_progress *progress;
	struct load_result *result;
	enum load_phase phase;
	int64_t now;		/* time of the last events, ns */
	int64_t phase_end;
	int64_t next_check;	/* time of the next check for overdue ones */
	int64_t next_progress;
	int64_t measure_start;	/* 0: not begun */
	struct schedule schedule;	/* of a load with a rate; message i is
				   of client i modulo their number */
	int64_t last_reply;	/* when the last datagram arrived, ns */
	int64_t spin_until;	/* do not sleep before */
	uint64_t replies;	/* datagrams that arrived in this run */
	struct udp_client *clients;	/* as many as plan->connections */
};

static void udp_load_fail(const struct udp_load *, enum status,
    const char *fmt, ...) __attribute__((noreturn, format(printf, 3, 4)));

/* Ends the program with a message about the failure of the server. */
static void
udp_load_fail(const struct udp_load *l, enum status status, const char *fmt,
    ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	l->progress(l->target, NULL);
	errx((int)status, "%s %s", l->target->server.name, what);
}

/* Ends the program if an error ends the run; most are ICMP errors. */
static void
udp_load_check_error(const struct udp_load *l, int error)
{
	if (error < 0)
		udp_load_fail(l, dial_status(-error), "failed after %" PRIu64
		    " repl%s: %s", l->replies, l->replies == 1 ? "y" : "ies",
		    strerror(-error));
}

/*
 * A number that other runs do not have, so that a reply to a message of an
 * earlier run is foreign.
 */
static uint32_t
udp_load_random(void)
{
	uint32_t number;

	if (!random_fill(&number, sizeof(number)))
		number = (uint32_t)(net_now() ^ getpid());
	return number;
}

/* The events of a client have its index twice, plus 1 for the other socket. */
static void
udp_load_watch(const struct udp_load *l, size_t i, bool is_new)
{
	const struct udp_client *c = &l->clients[i];
	unsigned events = c->blocked ? EVENTS_READ | EVENTS_WRITE : EVENTS_READ;
	unsigned before = c->blocked ? EVENTS_READ : EVENTS_READ | EVENTS_WRITE;
	int error = events_set(c->fd, events, is_new ? 0 : before, 2 * i);

	if (is_new && error == 0)
		error = events_set(c->other_fd, EVENTS_READ, 0, 2 * i + 1);
	if (error < 0)
		errx(STATUS_LOCAL, "cannot watch a socket: %s",
		    strerror(-error));
}

/* Fills the window of a client. With a schedule, nothing fills it. */
static void
udp_load_send(struct udp_load *l, size_t i, int64_t now)
{
	struct udp_client *c = &l->clients[i];
	bool before = c->blocked;

	if (l->phase == CLOSING || l->plan->rate > 0 ||
	    flow_room(&c->flow) == 0)
		return;
	udp_load_check_error(l, udp_client_send(c, now));
	if (c->blocked != before)
		udp_load_watch(l, i, false);
}

/*
 * A message is timed from the moment at which the previous reply arrived, even
 * if the socket accepts the message later.
 */
static void
udp_load_receive(struct udp_load *l, size_t i)
{
	struct udp_received received;
	int n = udp_client_receive(&l->clients[i], &received);

	udp_load_check_error(l, n);
	if (n == 0)
		return;
	l->replies += (uint64_t)n;
	l->last_reply = received.time;
	l->spin_until = measure_spin_until(l->plan, received.time);
	for (size_t j = 0; j < received.n; j++)
		histogram_add(&l->result->latency,
		    (uint64_t)received.latencies[j]);
	l->result->bytes += received.n * l->plan->size;
	udp_load_send(l, i, received.time);
}

static void
udp_load_handle(struct udp_load *l, uint64_t data, unsigned events)
{
	size_t i = (size_t)(data / 2);

	if (data % 2 == 1) {
		udp_client_receive_foreign(&l->clients[i]);
		return;
	}
	if (events & EVENTS_WRITE)
		udp_load_send(l, i, net_now());
	if (events & EVENTS_READ)
		udp_load_receive(l, i);
}

static bool
udp_load_is_scheduled(const struct udp_load *l)
{
	return l->plan->rate > 0 && l->phase != CLOSING;
}

/*
 * Sends messages of the schedule that are due in this phase. A message that the
 * socket does not accept is sent later, and the others after it.
 */
static void
udp_load_send_scheduled(struct udp_load *l)
{
	struct schedule *s = &l->schedule;

	for (int i = 0; i < UDP_BATCH && udp_load_is_scheduled(l); i++) {
		int64_t due = schedule_due(s, s->next);
		struct udp_client *c =
		    &l->clients[s->next % l->plan->connections];

		if (due >= l->phase_end || due > net_now())
			break;
		udp_load_check_error(l, udp_client_send_scheduled(c, due));
		if (c->blocked)
			break;
		measure_delay(l->result, due, l->measure_start);
		s->next++;
	}
}

/* Starts the run: opens all clients, and fills their windows. */
static void
udp_load_start(struct udp_load *l)
{
	uint32_t run = udp_load_random();

	l->clients = calloc(l->plan->connections, sizeof(*l->clients));
	if (l->clients == NULL || events_open() < 0 ||
	    !udp_client_allocate(l->plan->size))
		err(STATUS_LOCAL, "no memory for %zu clients",
		    l->plan->connections);
	for (size_t i = 0; i < l->plan->connections; i++) {
		struct payload_key key = { run + (uint32_t)i, l->plan->size };

		udp_load_check_error(l, udp_client_open(&l->clients[i],
		    &l->target->server.peer, key, l->plan->window));
		udp_load_watch(l, i, true);
	}
	l->now = l->last_reply = net_now();
	l->phase = WARM_UP;
	l->phase_end = l->now + measure_warm_up_time(l->plan);
	l->schedule = (struct schedule){ l->plan->rate, l->now, 0 };
	for (size_t i = 0; i < l->plan->connections; i++)
		udp_load_send(l, i, net_now());
}

static void
udp_load_begin_measuring(struct udp_load *l)
{
	l->phase = MEASURING;
	l->measure_start = measure_begin(l->target, l->progress, l->result);
	l->phase_end = l->measure_start + l->plan->duration;
	for (size_t i = 0; i < l->plan->connections; i++)
		udp_client_start_counting(&l->clients[i]);
}

static void
udp_load_begin_closing(struct udp_load *l)
{
	measure_end(l->target, l->progress, l->result, l->measure_start);
	if (udp_load_is_scheduled(l))
		measure_end_schedule(l->result, &l->schedule,
		    l->measure_start, l->now < l->phase_end ? l->now :
		    l->phase_end);
	l->phase = CLOSING;
	l->phase_end = net_now() + SECOND_REPLIES;
}

/*
 * Adds up what the clients have counted. The jitter is the mean over all
 * replies, because its last value depends on the last few replies only.
 */
static void
udp_load_sum(struct udp_load *l)
{
	struct load_result *r = l->result;
	struct flow_counts *sum = &r->datagrams;
	uint64_t count = 0;

	for (size_t i = 0; i < l->plan->connections; i++) {
		struct flow *f = &l->clients[i].flow;

		flow_end(f);
		sum->sent += f->counts.sent;
		sum->received += f->counts.received;
		sum->lost += f->counts.lost;
		sum->late += f->counts.late;
		sum->reordered += f->counts.reordered;
		sum->duplicated += f->counts.duplicated;
		sum->corrupted += f->counts.corrupted;
		sum->foreign += f->counts.foreign;
		sum->bursts += f->counts.bursts;
		if (f->counts.longest_burst > sum->longest_burst)
			sum->longest_burst = f->counts.longest_burst;
		r->dropped += udp_client_dropped(&l->clients[i]);
		r->jitter += f->jitter_sum;
		count += f->jitter_count;
	}
	r->jitter = count > 0 ? r->jitter / (double)count : -1;
}

/* Whether a message is in flight that is not overdue yet. */
static bool
udp_load_is_busy(const struct udp_load *l)
{
	for (size_t i = 0; i < l->plan->connections; i++)
		if (l->clients[i].flow.in_flight.n > 0)
			return true;
	return false;
}

/* Enters the next phase when it is time. False when the run has ended. */
static bool
udp_load_next_phase(struct udp_load *l)
{
	if (measure_is_stopped()) {
		if (l->phase == MEASURING)
			udp_load_begin_closing(l);
		return false;
	}
	if (l->now < l->phase_end)
		return true;
	switch (l->phase) {
	case WARM_UP:
		udp_load_begin_measuring(l);
		return true;
	case MEASURING:
		udp_load_begin_closing(l);
		return true;
	default:
		return udp_load_is_busy(l);
	}
}

/* Sends other messages in the place of those that are overdue. */
static void
udp_load_check_overdue(struct udp_load *l)
{
	if (l->now < l->next_check)
		return;
	l->next_check = l->now + OVERDUE_INTERVAL;
	for (size_t i = 0; i < l->plan->connections; i++) {
		flow_expire(&l->clients[i].flow,
		    l->now - l->plan->late_after);
		udp_load_send(l, i, l->now);
	}
}

/* How long the server may be silent; longer if messages are rare. */
static int64_t
udp_load_silence_limit(const struct load_plan *plan)
{
	if (plan->timeout == 0)
		return INT64_MAX;
	return plan->timeout + (plan->rate == 0 ? 0 :
	    NET_SECOND / (int64_t)plan->rate);
}

static void
udp_load_periodic_checks(struct udp_load *l)
{
	char limit[TEXT_TIME];

	udp_load_check_overdue(l);
	if (l->now < l->next_progress)
		return;
	l->next_progress = l->now + MEASURE_CHECK_INTERVAL;
	if (l->phase == MEASURING)
		l->result->time = l->now - l->measure_start;
	l->progress(l->target, l->result);
	if (l->phase != CLOSING &&
	    l->now - l->last_reply >= udp_load_silence_limit(l->plan))
		udp_load_fail(l, STATUS_TIMEOUT, "timed out: received nothing "
		    "for %s after %" PRIu64 " repl%s",
		    text_time(limit, l->plan->timeout), l->replies,
		    l->replies == 1 ? "y" : "ies");
}

/* How long the next wait may take, in ms. */
static int
udp_load_wait_ms(const struct udp_load *l)
{
	int64_t end = l->next_check;

	if (l->phase_end > l->now && l->phase_end < end)
		end = l->phase_end;
	if (udp_load_is_scheduled(l))
		end = measure_wake(&l->schedule, end);
	if (end <= l->now || l->now < l->spin_until)
		return 0;
	return net_milliseconds(end - l->now);
}

/* A signal that arrives just before the wait is seen OVERDUE_INTERVAL later. */
static void
udp_load_wait(struct udp_load *l)
{
	struct event ready[EVENTS_MAX];
	int n = events_wait(ready, udp_load_wait_ms(l));

	if (n < 0 && n != -EINTR)
		errx(STATUS_LOCAL, "cannot wait for events: %s",
		    strerror(-n));
	for (int i = 0; i < n; i++)
		udp_load_handle(l, ready[i].data, ready[i].events);
	l->now = net_now();
}

void
udp_load_check_result(const struct load_target *target,
    const struct load_result *r)
{
	const struct flow_counts *counts = &r->datagrams;

	if (counts->lost > 0 && counts->received == 0 &&
	    counts->corrupted == 0)
		errx(STATUS_TIMEOUT, "%s answered none of %" PRIu64
		    " datagram%s", target->server.name, counts->sent,
		    PLURAL(counts->sent));
}

void
udp_load_run(const struct load_plan *plan, const struct load_target *target,
    load_progress *progress, struct load_result *result)
{
	struct udp_load l = { .plan = plan, .target = target,
	    .progress = progress, .result = result };

	*result = (struct load_result){ .processor = -1, .memory = -1 };
	measure_raise_fd_limit(plan->connections, 2 * plan->connections);
	pattern_fill();
	udp_load_start(&l);
	while (udp_load_next_phase(&l)) {
		udp_load_wait(&l);
		udp_load_send_scheduled(&l);
		udp_load_periodic_checks(&l);
	}
	udp_load_sum(&l);
	progress(target, NULL);
	for (size_t i = 0; i < plan->connections; i++)
		udp_client_close(&l.clients[i]);
	udp_client_free();
	events_close();
	free(l.clients);
}

/*
 * Waits for any datagram from the server until that time. Returns whether one
 * has arrived, or -errno. A datagram from another address is noted in *other.
 */
static int
udp_load_await(const struct udp_client *c, int64_t until,
    struct net_peer *other)
{
	struct pollfd fds[] = { { c->fd, POLLIN, 0 },
	    { c->other_fd, POLLIN, 0 } };
	struct net_peer from;
	char byte;
	ssize_t n;

	while (net_now() < until) {
		net_poll(fds, 2, until - net_now());
		n = net_recv(c->fd, &byte, 1);
		if (n != -EAGAIN && n != -EINTR)
			return n < 0 ? (int)n : 1;
		if (net_recv_from(c->other_fd, &byte, 1, &from) >= 0)
			*other = from;
	}
	return 0;
}

/*
 * Sends messages until one is answered. Returns 0 or -errno; -ETIMEDOUT after
 * timeout ns (0: no limit). A message or a reply may be lost.
 */
static int
udp_load_probe(const struct dial_server *server, size_t size,
    int64_t timeout, struct net_peer *other)
{
	int64_t until = timeout > 0 ? net_now() + timeout : INT64_MAX;
	struct payload_key key = { udp_load_random(), size };
	struct udp_client c;
	int answered = 0;
	int error = udp_client_open(&c, &server->peer, key, 1);

	if (error < 0)
		return error;
	while (error == 0 && answered == 0 && net_now() < until) {
		int64_t now = net_now(), next = now + REACH_INTERVAL;

		flow_expire(&c.flow, now);
		if ((error = udp_client_send(&c, now)) == 0)
			answered = udp_load_await(&c, next < until ? next :
			    until, other);
		if (answered < 0)
			error = answered;
	}
	udp_client_close(&c);
	return error < 0 ? error : answered > 0 ? 0 : -ETIMEDOUT;
}

static void udp_load_unreached(const struct dial_server *, int error,
    const struct net_peer *other) __attribute__((noreturn));

static void
udp_load_unreached(const struct dial_server *server, int error,
    const struct net_peer *other)
{
	char name[NET_NAME_MAX];
	struct dial_error why;

	if (error == -ETIMEDOUT && other->size > 0)
		errx(STATUS_TIMEOUT, "%s does not answer, but a datagram came "
		    "from %s", server->name, net_udp_name(name,
		    &other->address.any));
	if (error == -ETIMEDOUT)
		errx(STATUS_TIMEOUT, "%s does not answer", server->name);
	dial_explain(&why, server, -error);
	errx((int)why.status, "%s", why.text);
}

static void
udp_load_check_size(const struct dial_server *server, size_t size)
{
	bool is_v4 = server->peer.address.any.sa_family == AF_INET;
	size_t max = is_v4 ? NET_DATAGRAM_MAX_V4 : NET_DATAGRAM_MAX;

	if (size < PAYLOAD_HEADER)
		args_usage("--size: with UDP it is at least %d, because each "
		    "datagram contains a sequence number", PAYLOAD_HEADER);
	if (size > max)
		args_usage("--size: a UDP datagram over %s has at most %zu "
		    "bytes", is_v4 ? "IPv4" : "IPv6", max);
}

void
udp_load_reach(const struct address *address, size_t size, int64_t timeout,
    struct dial_server *server)
{
	struct addrinfo *found;
	struct net_peer other = { 0 };
	struct dial_error why;
	int error = -EAFNOSUPPORT;

	if (dial_resolve(address, &found, &why) < 0)
		errx((int)why.status, "%s", why.text);
	pattern_fill();
	if (!udp_client_allocate(size))
		err(STATUS_LOCAL, "no memory for a datagram");
	for (struct addrinfo *a = found; a != NULL && error < 0;
	    a = a->ai_next) {
		memcpy(&server->peer.address, a->ai_addr, a->ai_addrlen);
		server->peer.size = a->ai_addrlen;
		net_udp_name(server->name, a->ai_addr);
		udp_load_check_size(server, size);
		error = udp_load_probe(server, size, timeout, &other);
	}
	net_free_addresses(found);
	udp_client_free();
	if (error < 0)
		udp_load_unreached(server, error, &other);
}
