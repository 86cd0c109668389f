/*
 * An idle client has no buffer. One buffer is used for one read and its answer
 * at a time, and bulk streams use one pipe in the same way. The answer is sent
 * at once, because the socket is nearly always writable. Bytes that the kernel
 * does not accept are kept in a block that the client owns. The server does not
 * read from this client until the block has been sent.
 */
#include "client.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "pipe.h"

static const int64_t LINGER = NET_SECOND;	/* for the peer's FIN */

/*
 * The bytes that a client may echo before the other clients have their turn. A
 * small read counts as a read of READ_COST bytes, because it costs as much.
 */
enum { TURN = 65536, READ_COST = 1024 };

/*
 * A client becomes a bulk stream after BULK_READS consecutive reads of
 * BULK_SIZE bytes, until a read returns fewer than BULK_MIN bytes.
 */
enum { BULK_SIZE = 65536, BULK_READS = 4, BULK_MIN = 16384 };

enum { NOT_ASKED = -1 };	/* in client.unacknowledged */

_Static_assert(sizeof(struct client) <= 120, "malloc takes 8 of 128 bytes");
_Static_assert((int)WANT_READ == (int)WATCH_READ &&
    (int)WANT_WRITE == (int)WATCH_WRITE, "the same bits");

/*
 * Queues in the order of last activity.
 */

/* The client that has been in the list for the longest time, or NULL. */
static struct client *
first_of(const struct link *head)
{
	return head->next == head ? NULL : (struct client *)head->next;
}

static enum client_queue
queue_for(const struct clients *cs, const struct client *c)
{
	if (c->conn.state == CONN_CLOSED)
		return QUEUE_ENDED;
	if (c->conn.state == CONN_LINGERING)
		return QUEUE_LINGERING;
	if (conn_pending(&c->conn) > 0)
		return QUEUE_PENDING;
	return cs->options->message && c->conn.in > 0 ? QUEUE_MESSAGE :
	    QUEUE_SILENT;
}

/* Puts an active client at the end of its queue: its timeout starts again. */
static void
requeue(struct clients *cs, struct client *c)
{
	enum client_queue queue = queue_for(cs, c);

	/* Input while lingering does not extend the timeout. */
	if (queue == QUEUE_LINGERING && c->queue == QUEUE_LINGERING)
		return;
	link_remove(&c->link);
	link_append(queue == QUEUE_ENDED ? &cs->ended :
	    &cs->queues[queue].clients, &c->link);
	c->queue = (uint8_t)queue;
	c->active_at = cs->active_at = cs->now;
	c->unacknowledged = NOT_ASKED;
}

/*
 * Opening and closing.
 */

void
client_open(struct clients *cs, const struct client_options *options,
    struct tally *tally)
{
	cs->options = options;
	cs->tally = tally;
	if ((cs->buffer = malloc(options->chunk)) == NULL)
		err(STATUS_LOCAL, "no memory for a chunk");
	for (int q = 0; q < QUEUES; q++)
		link_init(&cs->queues[q].clients);
	link_init(&cs->ended);
	cs->queues[QUEUE_SILENT].timeout = options->idle;
	cs->queues[QUEUE_PENDING].timeout = options->idle;
	cs->queues[QUEUE_MESSAGE].timeout = options->idle != 0 &&
	    options->idle < options->gap ? options->idle : options->gap;
	cs->queues[QUEUE_LINGERING].timeout = LINGER;
	cs->timeout_reason = CONN_IDLE;
	cs->now = net_now();
	cs->active_at = INT64_MIN / 2;
}

void
client_close(struct clients *cs)
{
	free(cs->buffer);
	cs->buffer = NULL;
}

struct client *
client_of(struct watch *watch)
{
	return (struct client *)(void *)((char *)watch -
	    offsetof(struct client, watch));
}

struct client *
client_new(struct clients *cs, int fd, const union net_address *peer)
{
	const bool has_header = cs->options->proxy;
	struct client *c = calloc(1, sizeof(*c) +
	    has_header * sizeof(*c->header));

	if (c == NULL)
		return NULL;
	c->header_state = has_header ? HEADER_AWAITED : HEADER_READ;
	c->watch = (struct watch){ .fd = fd, .kind = WATCH_CLIENT };
	c->peer = *peer;
	c->connected_at = cs->now;
	link_init(&c->link);
	c->queue = QUEUE_ENDED;
	cs->tally->clients++;
	cs->tally->accepted++;
	requeue(cs, c);
	if (!has_header)
		log_connected(&(struct log_peer){ .address = &c->peer });
	return c;
}

/*
 * Whether a client that has sent this number of bytes can still be a health
 * check of the load balancer. A health check is logged only with -v.
 */
static bool
is_quiet_check(const struct clients *cs, const struct client *c, uint64_t in)
{
	return in == 0 && cs->options->proxy && c->header->is_local &&
	    !log_has(LOG_READS);
}

static struct log_peer
client_log_peer(const struct clients *cs, const struct client *c)
{
	return (struct log_peer){ .address = &c->peer,
	    .client = cs->options->proxy ? c->header->client : NULL };
}

static const char *
end_reason(const struct clients *cs, const struct conn *conn)
{
	switch (conn->reason) {
	case CONN_END_OF_FILE:
		return cs->options->message ? "end of message" :
		    "end of file";
	case CONN_END_OF_MESSAGE:
		return "end of message";
	case CONN_IDLE:
		return "idle";
	case CONN_STOPPING:
		return "server stopping";
	default:
		return strerror(conn->err);
	}
}

static void
log_missing_header(const struct clients *cs, struct client *c)
{
	c->header_state = HEADER_MISSING;
	header_log_missing(c->header, &c->peer, net_now() - c->connected_at,
	    end_reason(cs, &c->conn), c->conn.reason == CONN_IDLE);
}

static void
log_end(const struct clients *cs, struct client *c)
{
	const struct log_peer peer = client_log_peer(cs, c);

	if (c->header_state == HEADER_AWAITED)
		log_missing_header(cs, c);
	if (c->header_state == HEADER_MISSING || !log_has(LOG_CONNECTIONS) ||
	    is_quiet_check(cs, c, c->conn.in))
		return;
	if (c->text != NULL)
		log_received(&peer, c->text, c->conn.in);
	log_closed(&peer, c->conn.in, c->conn.out,
	    net_now() - c->connected_at, end_reason(cs, &c->conn));
}

void
client_free(struct clients *cs, struct client *c)
{
	log_end(cs, c);
	link_remove(&c->link);
	if (conn_pending(&c->conn) > 0)
		net_reset(c->watch.fd);	/* a cut echo must not look whole */
	else
		watch_close(&c->watch);
	free(c->pending);
	free(c->text);
	if (cs->options->proxy)
		header_free(c->header);
	free(c);
	cs->tally->clients--;
}

size_t
client_free_ended(struct clients *cs)
{
	struct link *next;
	size_t n = 0;

	for (struct link *l = cs->ended.next; l != &cs->ended; l = next) {
		struct client *c = (struct client *)l;

		next = l->next;
		if (c->watch.in_flight != 0)
			continue;
		client_free(cs, c);
		n++;
	}
	return n;
}

struct client *
client_first(const struct clients *cs)
{
	struct client *c = first_of(&cs->ended);

	for (int q = 0; q < QUEUES && c == NULL; q++)
		c = first_of(&cs->queues[q].clients);
	return c;
}

/*
 * Results of system calls.
 */

/* Keeps the first bytes of a message, to log them when it is complete. */
static void
keep_text(struct client *c, const char *data, size_t n)
{
	uint64_t kept = c->conn.in - n;

	if (kept >= TEXT_SHOWN || (kept > 0 && c->text == NULL))
		return;
	if (c->text == NULL && (c->text = malloc(TEXT_SHOWN)) == NULL)
		return;
	memcpy(c->text + kept, data,
	    n < TEXT_SHOWN - kept ? n : TEXT_SHOWN - (size_t)kept);
}

static void
log_input(const struct clients *cs, struct client *c, const char *data,
    size_t n)
{
	struct log_peer peer;

	if (!log_has(LOG_CONNECTIONS))
		return;
	peer = client_log_peer(cs, c);
	if (is_quiet_check(cs, c, c->conn.in - n))
		log_connected(&peer);
	log_read(&peer, data, n);
	if (cs->options->message)
		keep_text(c, data, n);
	else if (c->conn.in == n)
		log_received(&peer, data, n);
}

void
client_received(struct clients *cs, struct client *c, const char *data,
    ssize_t n)
{
	uint64_t before = c->conn.in;

	conn_received(&c->conn, n);
	if (c->conn.in > before && data != NULL)
		log_input(cs, c, data, (size_t)n);
	if (n != -EAGAIN)
		requeue(cs, c);
}

void
client_sent(struct clients *cs, struct client *c, ssize_t n)
{
	conn_sent(&c->conn, n);
	if (n > 0)
		cs->tally->bytes += (uint64_t)n;
	if (n != -EAGAIN)
		requeue(cs, c);
}

static void
send_fin(struct clients *cs, struct client *c)
{
	net_fin(c->watch.fd);
	conn_fin_sent(&c->conn);
	requeue(cs, c);
}

void
client_update(struct clients *cs, struct client *c)
{
	int error;

	if (conn_want(&c->conn) & WANT_FIN)
		send_fin(cs, c);
	error = watch_set(&c->watch, conn_want(&c->conn));
	if (error < 0)
		client_received(cs, c, NULL, error);
}

bool
client_read_header(struct clients *cs, struct client *c)
{
	int result;

	if (c->header_state != HEADER_AWAITED || c->conn.state != CONN_ECHOING)
		return true;
	result = header_read(c->header, c->watch.fd);
	if (result == -EAGAIN || result == -EINTR)
		return false;
	if (result > 0) {
		struct log_peer peer = client_log_peer(cs, c);

		c->header_state = HEADER_READ;
		if (!is_quiet_check(cs, c, 0))
			log_connected(&peer);
	} else {
		if (result == -EPROTO)
			conn_finish(&c->conn, CONN_NO_HEADER);
		else
			conn_received(&c->conn, result);
		log_missing_header(cs, c);
	}
	requeue(cs, c);
	return result > 0;
}

/*
 * Echoing.
 */

bool
client_has_more(const struct clients *cs, const struct client *c, ssize_t n)
{
	return n == (ssize_t)cs->options->chunk &&
	    net_waiting(c->watch.fd);
}

static bool
wants_to_write(const struct client *c)
{
	return (conn_want(&c->conn) & WANT_WRITE) != 0;
}

/*
 * Allocates a block for all pending bytes of the client. Returns NULL if there
 * is no memory, and ends the client.
 */
static char *
new_pending(struct clients *cs, struct client *c)
{
	size_t size = (size_t)conn_pending(&c->conn);

	if ((c->pending = malloc(sizeof(*c->pending) + size)) == NULL) {
		client_sent(cs, c, -ENOMEM);
		return NULL;
	}
	c->pending->start = 0;
	c->pending->end = (uint32_t)size;
	return c->pending->data;
}

void
client_keep(struct clients *cs, struct client *c, const char *data, size_t n,
    bool is_first)
{
	struct pending *old = c->pending;
	size_t kept = old == NULL ? 0 : old->end - old->start;
	struct pending *new = malloc(sizeof(*new) + kept + n);

	if (new == NULL) {
		client_sent(cs, c, -ENOMEM);
		return;
	}
	new->start = 0;
	new->end = (uint32_t)(kept + n);
	memcpy(new->data + (is_first ? 0 : kept), data, n);
	if (kept > 0)
		memcpy(new->data + (is_first ? n : 0), old->data + old->start,
		    kept);
	free(old);
	c->pending = new;
}

static void
send_pending(struct clients *cs, struct client *c)
{
	struct pending *p = c->pending;
	ssize_t n = net_send(c->watch.fd, p->data + p->start,
	    p->end - p->start, net_waiting(c->watch.fd));

	client_sent(cs, c, n);
	if (n > 0)
		p->start += (uint32_t)n;
	if (p->start == p->end) {
		free(c->pending);
		c->pending = NULL;
	}
}

static void
count_full_reads(struct client *c, ssize_t n)
{
	if (n < BULK_SIZE)
		c->full_reads = 0;
	else if (c->full_reads < BULK_READS)
		c->full_reads++;
}

/* Reads once and answers. Returns the bytes read; 0: no bytes are waiting. */
static size_t
echo_once(struct clients *cs, struct client *c)
{
	ssize_t n = net_recv(c->watch.fd, cs->buffer, cs->options->chunk);
	bool more = client_has_more(cs, c, n);
	char *copy;

	client_received(cs, c, cs->buffer, n);
	count_full_reads(c, n);
	if (wants_to_write(c))
		client_sent(cs, c, net_send(c->watch.fd, cs->buffer,
		    (size_t)n, more));
	if (wants_to_write(c) && (copy = new_pending(cs, c)) != NULL)
		memcpy(copy, cs->buffer + n - conn_pending(&c->conn),
		    (size_t)conn_pending(&c->conn));
	return more ? (size_t)n : 0;
}

/*
 * The same as echo_once(), through the pipe. splice(2) returns 0 or an error if
 * the stream pauses, has ended, or continues with an urgent byte. The next
 * recv(2) finds out which of these is the case.
 */
static size_t
echo_bulk(struct clients *cs, struct client *c)
{
	ssize_t n = pipe_fill(c->watch.fd, cs->options->chunk), sent;
	bool more = net_waiting(c->watch.fd);
	char *copy = NULL;

	if (n < BULK_MIN)
		c->full_reads = 0;
	if (n <= 0)
		return 0;
	client_received(cs, c, NULL, n);
	do {
		sent = pipe_drain(c->watch.fd,
		    (size_t)conn_pending(&c->conn), more);
		client_sent(cs, c, sent);
	} while (sent > 0 && wants_to_write(c));
	if (wants_to_write(c))
		copy = new_pending(cs, c);
	pipe_read(copy != NULL ? copy : cs->buffer,
	    (size_t)conn_pending(&c->conn));
	return more ? (size_t)n : 0;
}

static bool
is_bulk(const struct client *c)
{
	return c->full_reads == BULK_READS && pipe_is_open() &&
	    c->conn.state == CONN_ECHOING;
}

void
client_serve(struct clients *cs, struct client *c)
{
	size_t n, echoed = 0;

	if (c->pending != NULL)
		send_pending(cs, c);
	if (c->header_state == HEADER_AWAITED && !client_read_header(cs, c)) {
		client_update(cs, c);
		return;
	}
	while (conn_want(&c->conn) & WANT_READ && echoed < TURN &&
	    (n = is_bulk(c) ? echo_bulk(cs, c) : echo_once(cs, c)) > 0)
		echoed += n > READ_COST ? n : READ_COST;
	client_update(cs, c);
}

/*
 * Timeouts and stopping. A stop ends clients through the same queues, with
 * shorter timeouts.
 */

/* When the first client of that queue times out, or INT64_MAX. */
static int64_t
queue_timeout(const struct clients *cs, enum client_queue queue)
{
	const struct client *c = first_of(&cs->queues[queue].clients);
	int64_t timeout = cs->queues[queue].timeout;

	return c == NULL || timeout == 0 ? INT64_MAX :
	    c->active_at + timeout;
}

int64_t
client_next_timeout(const struct clients *cs)
{
	int64_t next = INT64_MAX;

	for (enum client_queue q = 0; q < QUEUES; q++)
		if (queue_timeout(cs, q) < next)
			next = queue_timeout(cs, q);
	return next;
}

/* Ends a client in the way that the timeout of its queue does. */
static void
end_client(struct clients *cs, struct client *c)
{
	switch (c->queue) {
	case QUEUE_MESSAGE:
		conn_finish(&c->conn, CONN_END_OF_MESSAGE);
		break;
	case QUEUE_SILENT:
		conn_finish(&c->conn, cs->timeout_reason);
		break;
	default:
		conn_abort(&c->conn, cs->timeout_reason);
		break;
	}
	if (c->header_state == HEADER_AWAITED)
		log_missing_header(cs, c);
	requeue(cs, c);
	client_update(cs, c);
}

/*
 * Whether the peer has acknowledged a byte since the last call; the first call
 * for a client assumes that it has. send(2) does not show this: it accepts some
 * megabytes at once, and then no byte until a third of these bytes has left.
 */
static bool
is_peer_receiving(struct client *c)
{
	int before = c->unacknowledged;

	c->unacknowledged = net_unacknowledged(c->watch.fd);
	return c->unacknowledged > 0 &&
	    (before == NOT_ASKED || c->unacknowledged < before);
}

/*
 * Ends a client whose timeout has passed, with two exceptions. If the client is
 * ready, this process was late: it was not scheduled, or had too many events.
 * If the client still receives, it has time left unless a pause ends a message.
 */
static void
check_timeout(struct clients *cs, struct client *c)
{
	bool is_ready = c->queue != QUEUE_LINGERING &&
	    net_is_ready(c->watch.fd, conn_want(&c->conn) & WANT_READ ?
	    POLLIN : POLLOUT);

	if (!is_ready && (c->queue == QUEUE_MESSAGE ||
	    !is_peer_receiving(c))) {
		end_client(cs, c);
		return;
	}
	link_remove(&c->link);
	link_append(&cs->queues[c->queue].clients, &c->link);
	c->active_at = cs->now;
}

void
client_expire(struct clients *cs)
{
	for (enum client_queue q = 0; q < QUEUES; q++)
		while (queue_timeout(cs, q) <= cs->now)
			check_timeout(cs,
			    first_of(&cs->queues[q].clients));
}

void
client_begin_stop(struct clients *cs)
{
	const struct client_options *options = cs->options;

	cs->timeout_reason = CONN_STOPPING;
	if (options->idle == 0 || options->gap < options->idle)
		cs->queues[QUEUE_SILENT].timeout = options->gap;
}

static void
finish_queue(struct clients *cs, enum client_queue queue)
{
	struct client *c;

	while ((c = first_of(&cs->queues[queue].clients)) != NULL) {
		conn_finish(&c->conn, CONN_STOPPING);
		client_update(cs, c);
	}
}

void
client_finish_all(struct clients *cs)
{
	const struct link *head = &cs->queues[QUEUE_PENDING].clients;

	finish_queue(cs, QUEUE_SILENT);
	finish_queue(cs, QUEUE_MESSAGE);
	for (struct link *l = head->next; l != head; l = l->next)
		conn_finish(&((struct client *)l)->conn, CONN_STOPPING);
}

static void
abort_queue(struct clients *cs, enum client_queue queue)
{
	struct client *c;

	while ((c = first_of(&cs->queues[queue].clients)) != NULL)
		end_client(cs, c);
}

void
client_abort_all(struct clients *cs)
{
	abort_queue(cs, QUEUE_PENDING);
	abort_queue(cs, QUEUE_LINGERING);
}
