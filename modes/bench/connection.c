#include "connection.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "events.h"
#include "measure.h"
#include "modes/lib/text.h"
#include "pattern.h"

enum {
	STRIDE = 40503,		/* from one connection's start to the next */
	PORTS_PER_SOURCE = 1000	/* connections from one source address */
};

/* Time for the server to close after our FIN in mode ROUND_TRIPS. */
static const int64_t FIN_GRACE = 200 * NET_MS;

/* Time between two attempts to connect while a backlog is full. */
static const int64_t RETRY_INTERVAL = NET_MS;

/* The bytes of the last recv. */
static unsigned char input[LOAD_SEND_MAX];

_Static_assert((int)LOAD_SEND_MAX <= (int)PATTERN_MIN, "one send");

/*
 * At least LOAD_SEND_MAX bytes of the connection's data from that position.
 * Each connection starts at another place in the pattern.
 */
static const unsigned char *
connection_bytes(const struct connection *c, uint64_t position)
{
	return pattern_at(c->number * STRIDE + position);
}

static void connection_fail(const struct load *, const struct connection *,
    enum status, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 4, 5)));

/* Ends the program with the server's fault and the connection that shows it. */
static void
connection_fail(const struct load *l, const struct connection *c,
    enum status status, const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	l->progress(l->target, NULL);
	errx((int)status, "%s connection %" PRIu64 " %s",
	    l->target->server.name, c->number, what);
}

static void connection_not_made(const struct load *, int error)
    __attribute__((noreturn));

static void
connection_not_made(const struct load *l, int error)
{
	struct dial_error why;

	dial_explain(&why, &l->target->server, error);
	l->progress(l->target, NULL);
	errx((int)why.status, "%s%s", why.text, error != EADDRNOTAVAIL ? "" :
	    " (all ports are in use or in TIME_WAIT; try a shorter "
	    "--duration)");
}

/* A hint for a server that closes after one message, as the homework does. */
static const char *
connection_hint(const struct load *l, const struct connection *c)
{
	bool answered = c->received == c->message_end ||
	    c->received + l->plan->size == c->message_end;

	if (l->plan->mode != ROUND_TRIPS || c->received == 0 || !answered)
		return "";
	return " (does it close after one message? try --connect)";
}

static void
connection_broken(const struct load *l, const struct connection *c, int error)
{
	if (c->sent == 0)
		connection_not_made(l, error);
	connection_fail(l, c, dial_status(error), "failed after %" PRIu64
	    " of %" PRIu64 " bytes: %s%s", c->received, c->sent,
	    strerror(error),
	    c->state == FIN_SENT ? "" : connection_hint(l, c));
}

/* Compares the n bytes just received with those that were sent. */
static void
connection_compare(const struct load *l, const struct connection *c, size_t n)
{
	const unsigned char *expected = connection_bytes(c, c->received);
	uint64_t outstanding = c->sent - c->received;
	size_t size = n < outstanding ? n : (size_t)outstanding;
	size_t i = text_first_difference(input, expected, size);

	if (i < size)
		connection_fail(l, c, STATUS_NO, "differs at byte %" PRIu64
		    ": sent 0x%02x, got 0x%02x", c->received + i + 1,
		    expected[i], input[i]);
	if (n > outstanding)
		connection_fail(l, c, STATUS_NO, "returned %" PRIu64 " byte%s "
		    "too many after %" PRIu64, n - outstanding,
		    PLURAL(n - outstanding), c->sent);
}

/* Sets the events to wait for. */
static void
connection_watch(struct load *l, struct connection *c, unsigned events)
{
	int error;

	if (c->events == events)
		return;
	error = events_set(c->fd, events, c->events,
	    (uint64_t)(c - l->connections));
	if (error < 0)
		errx(STATUS_LOCAL, "cannot watch a connection: %s",
		    strerror(-error));
	c->events = events;
}

/* One send, and no more, so that other connections have their turn. */
static void
connection_send(struct load *l, struct connection *c)
{
	uint64_t left = c->send_limit - c->sent;
	size_t max = l->plan->mode == STREAM && l->plan->size < LOAD_SEND_MAX ?
	    l->plan->size : LOAD_SEND_MAX;

	if (left > 0) {
		ssize_t n = net_send(c->fd, connection_bytes(c, c->sent),
		    left < max ? (size_t)left : max, false);

		if (n > 0)
			c->sent += (uint64_t)n;
		else if (n == -EPIPE)	/* recv reports the reason */
			c->send_limit = c->sent;
		else if (n != -EAGAIN && n != -EINTR)
			connection_broken(l, c, (int)-n);
	}
	connection_watch(l, c, c->sent < c->send_limit ?
	    EVENTS_READ | EVENTS_WRITE : EVENTS_READ);
}

/*
 * Sets the source address of the next connection; false: the system chooses it.
 * The side that closes first keeps the port in TIME_WAIT (RFC 9293, 3.6.1), and
 * one address has about 28,000 ports. CONNECT mode would use all these ports
 * within seconds. Closing with RST instead is not what ordinary clients do, and
 * would break some servers. All addresses of 127.0.0.0/8 belong to this host,
 * so on loopback every PORTS_PER_SOURCE connections use another source address.
 */
static bool
connection_source(const struct load *l, struct net_peer *from)
{
	const struct net_peer *to = &l->target->server.peer;

	if (!net_has_loopback_network ||
	    to->address.any.sa_family != AF_INET ||
	    ntohl(to->address.v4.sin_addr.s_addr) >> 24 !=
	    INADDR_LOOPBACK >> 24)
		return false;
	*from = (struct net_peer){ .size = sizeof(from->address.v4) };
	from->address.v4.sin_family = AF_INET;
	from->address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK +
	    (uint32_t)(l->opened / PORTS_PER_SOURCE % UINT16_MAX));
	return true;
}

/*
 * Starts to connect; false if the backlog is full. Only a Unix socket reports a
 * full backlog (EAGAIN); with TCP the kernel itself tries again. On loopback
 * the connection is established when connect(2) returns, so send is tried at
 * once.
 */
static bool
connection_connect(struct load *l, struct connection *c)
{
	const struct net_peer *to = &l->target->server.peer;
	struct net_peer from;
	bool bound = connection_source(l, &from);
	int fd = net_connect_from(bound ? &from : NULL, &to->address.any,
	    to->size);

	if (fd == -EAGAIN)
		return false;
	if (fd < 0)
		connection_not_made(l, -fd);
	c->fd = fd;
	c->queued = false;
	l->open++;
	connection_send(l, c);
	return true;
}

static void
connection_enqueue(struct load *l, struct connection *c)
{
	c->queued = true;
	if (l->queue == NULL)
		l->queue_end = &l->queue;
	*l->queue_end = c;
	l->queue_end = &c->next_queued;
}

void
connection_retry_queued(struct load *l)
{
	if (l->queue == NULL || l->now < l->retry_at)
		return;
	while (l->queue != NULL && connection_connect(l, l->queue))
		l->queue = l->queue->next_queued;
	l->retry_at = net_now() + RETRY_INTERVAL;
}

/* The ring with the send times of the connection's messages in flight. */
static int64_t *
connection_send_times(const struct load *l, const struct connection *c)
{
	return l->send_times + (size_t)(c - l->connections) * l->plan->window;
}

void
connection_open(struct load *l, struct connection *c,
    enum connection_state state, uint64_t size)
{
	*c = (struct connection){ .fd = -1, .state = state,
	    .number = ++l->opened, .send_limit = size, .message_end = size,
	    .waiting_since = net_now() };
	if (state == BUSY)
		*connection_send_times(l, c) = c->waiting_since;
	if (l->queue != NULL || !connection_connect(l, c))
		connection_enqueue(l, c);
}

void
connection_start_load(struct load *l, struct connection *c)
{
	const struct load_plan *plan = l->plan;
	int64_t now = net_now();

	c->state = BUSY;
	c->waiting_since = now;
	for (size_t i = 0; i < plan->window && plan->rate == 0; i++)
		connection_send_times(l, c)[i] = now;
	c->load_start = c->received;
	c->message_end = c->received + plan->size;
	c->send_limit = plan->mode == STREAM ? UINT64_MAX : plan->rate > 0 ?
	    c->received : c->received + plan->size * plan->window;
	connection_send(l, c);
}

void
connection_send_scheduled(struct load *l, struct connection *c)
{
	if (c->fd < 0)		/* it was closed after Ctrl-C */
		return;
	if (c->received == c->send_limit)
		c->waiting_since = net_now();
	c->send_limit += l->plan->size;
	if (!(c->events & EVENTS_WRITE))
		connection_send(l, c);
}

/* When the message of the schedule that ends at that position is due. */
static int64_t
connection_due(const struct load *l, const struct connection *c, uint64_t end)
{
	uint64_t number = (end - c->load_start) / l->plan->size - 1;

	return schedule_due(&l->schedule, number * l->plan->connections +
	    (uint64_t)(c - l->connections));
}

/* Counts the latency of a message of the schedule, if it is measured. */
static bool
connection_add_latency(struct load *l, int64_t due, int64_t now)
{
	if (due < l->measure_start || due >= l->measure_end ||
	    l->measure_start == 0)
		return false;
	histogram_add(&l->result->latency, (uint64_t)(now - due));
	return true;
}

void
connection_cancel(struct load *l, struct connection *c, uint64_t from)
{
	while (c->send_limit >= from + l->plan->size) {
		if (connection_add_latency(l, connection_due(l, c,
		    c->send_limit), l->now))
			l->result->unanswered++;
		c->send_limit -= l->plan->size;
	}
}

void
connection_send_fin(struct load *l, struct connection *c)
{
	net_fin(c->fd);
	c->state = FIN_SENT;
	connection_watch(l, c, EVENTS_READ);
}

void
connection_close(struct load *l, struct connection *c)
{
	events_forget(c->fd, c->events);
	c->events = 0;
	close(c->fd);
	c->fd = -1;
	l->open--;
}

/*
 * Counts the complete messages. For each of them, another message may be sent.
 * It is timed from now on, even if the socket accepts it later.
 */
static void
connection_count_messages(struct load *l, struct connection *c, int64_t now)
{
	int64_t *times = connection_send_times(l, c);

	while (c->received >= c->message_end && l->plan->rate > 0) {
		connection_add_latency(l, connection_due(l, c,
		    c->message_end), now);
		c->message_end += l->plan->size;
	}
	while (c->received >= c->message_end) {
		if (l->phase == MEASURING)
			histogram_add(&l->result->latency,
			    (uint64_t)(now - times[c->oldest]));
		times[c->oldest] = now;
		c->oldest = (uint32_t)((c->oldest + 1) % l->plan->window);
		c->message_end += l->plan->size;
		if (l->phase != CLOSING && l->plan->mode == ROUND_TRIPS)
			c->send_limit += l->plan->size;
	}
}

/* Decides what to do after bytes were received: send more, wait, or finish. */
static void
connection_continue(struct load *l, struct connection *c)
{
	if (c->state == BUSY && l->plan->mode != STREAM)
		connection_count_messages(l, c, c->waiting_since);
	if (c->received < c->send_limit)
		connection_send(l, c);
	else if (c->state == STARTING) {
		c->state = IDLE;
		l->starting--;
	} else if (l->plan->rate == 0 || l->phase == CLOSING)
		connection_send_fin(l, c);
}

/* Handles the server's end of file, which is correct only after our FIN. */
static void
connection_end_of_file(struct load *l, struct connection *c)
{
	if (c->state != FIN_SENT)
		connection_fail(l, c, STATUS_RESET, "closed after %" PRIu64
		    " of %" PRIu64 " bytes%s", c->received, c->sent,
		    connection_hint(l, c));
	connection_close(l, c);
	if (l->plan->mode == CONNECT && l->phase != CLOSING)
		connection_open(l, c, BUSY, l->plan->size);
}

static void
connection_receive(struct load *l, struct connection *c)
{
	ssize_t n = net_recv(c->fd, input, sizeof(input));

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < 0)
		connection_broken(l, c, (int)-n);
	if (n == 0) {
		connection_end_of_file(l, c);
		return;
	}
	connection_compare(l, c, (size_t)n);
	c->received += (uint64_t)n;
	c->waiting_since = net_now();
	l->spin_until = measure_spin_until(l->plan, c->waiting_since);
	if (l->phase == MEASURING)
		l->result->bytes += (uint64_t)n;
	connection_continue(l, c);
}

void
connection_handle(struct load *l, struct connection *c, unsigned events)
{
	if (c->fd < 0)		/* an earlier event has closed it */
		return;
	if (events & EVENTS_WRITE)
		connection_send(l, c);
	if (events & EVENTS_READ)
		connection_receive(l, c);
}

static void connection_timed_out(const struct load *,
    const struct connection *) __attribute__((noreturn));

/* Handles a server that sent nothing for the time limit, or ends too slowly. */
static void
connection_timed_out(const struct load *l, const struct connection *c)
{
	char limit[TEXT_TIME];

	if (c->sent == 0)
		connection_not_made(l, ETIMEDOUT);
	if (l->phase == CLOSING && l->now >= l->phase_end)
		connection_fail(l, c, STATUS_TIMEOUT, "timed out: %" PRIu64
		    " of %" PRIu64 " bytes received %s after the measurement",
		    c->received, c->sent, text_time(limit, l->closing_limit));
	connection_fail(l, c, STATUS_TIMEOUT, "timed out: received nothing "
	    "for %s after %" PRIu64 " of %" PRIu64 " bytes%s",
	    text_time(limit, l->plan->timeout), c->received, c->sent,
	    c->state == FIN_SENT ? ", and no end of file" : "");
}

/* A server that is too slow for a schedule is a result and not a fault. */
static void
connection_give_up(struct load *l, struct connection *c)
{
	connection_cancel(l, c, c->received);
	connection_close(l, c);
}

/*
 * In mode ROUND_TRIPS, it is no fault if a server does not close after our FIN,
 * because this mode does not measure how connections end.
 */
void
connection_check_timeout(struct load *l, struct connection *c)
{
	int64_t waited = l->now - c->waiting_since;

	if (c->fd < 0 && !c->queued)
		return;
	if (c->state == FIN_SENT && l->plan->mode == ROUND_TRIPS) {
		if (waited >= FIN_GRACE)
			connection_close(l, c);
		return;
	}
	if (c->state != FIN_SENT && c->received == c->send_limit)
		return;		/* no byte is expected */
	if (l->plan->timeout == 0)
		return;
	if (waited >= l->plan->timeout ||
	    (l->phase == CLOSING && l->now >= l->phase_end &&
	    l->plan->rate == 0))
		connection_timed_out(l, c);
	else if (l->phase == CLOSING && l->now >= l->phase_end)
		connection_give_up(l, c);
}
