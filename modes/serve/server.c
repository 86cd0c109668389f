#include "server.h"

#include <sys/mman.h>
#include <sys/syscall.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "signals.h"
#include "systemd.h"

static const int64_t LINGER = NET_SECOND;	/* for its FIN after ours */
static const int64_t PAUSE = 500 * NET_MS;	/* after accepting failed */
static const int64_t SIGNALS_EVERY = 10 * NET_MS;

const char SERVER_MESSAGE_OVER[] = "end of message";

/* Baseline of what the peer has not acknowledged: not yet asked for. */
enum { UNKNOWN = -1 };

/*
 * Queues, in order of last activity.
 */

static void
link_init(struct link *head)
{
	head->next = head->prev = head;
}

static void
link_append(struct link *head, struct link *link)
{
	link->next = head;
	link->prev = head->prev;
	head->prev->next = link;
	head->prev = link;
}

static void
link_remove(struct link *link)
{
	link->prev->next = link->next;
	link->next->prev = link->prev;
}

/* The client longest in a list, or NULL. */
static struct client *
first(const struct link *head)
{
	return head->next == head ? NULL : (struct client *)head->next;
}

static enum queue
queue_for(const struct server *s, const struct client *c)
{
	if (c->conn.state == CONN_OVER)
		return QUEUE_NONE;
	if (c->conn.state == CONN_LINGERING)
		return QUEUE_LINGERING;
	if (conn_owed(&c->conn) > 0)
		return QUEUE_OWING;
	return s->message && c->conn.in > 0 ? QUEUE_MESSAGE : QUEUE_SILENT;
}

static void
enqueue(struct server *s, struct client *c)
{
	enum queue queue = queue_for(s, c);

	if (queue == QUEUE_LINGERING && c->queue == QUEUE_LINGERING)
		return;		/* what it still sends buys it no time */
	if (queue == QUEUE_LINGERING)
		net_fin(c->fd);
	link_remove(&c->link);
	link_append(queue == QUEUE_NONE ? &s->over :
	    &s->queues[queue].clients, &c->link);
	c->queue = (uint8_t)queue;
	c->last = s->moved_at = s->now;
	c->unacknowledged = UNKNOWN;
}

void
server_watch(struct server *s, struct client *c)
{
	unsigned want = conn_want(&c->conn);
	int error;

	if (s->poller == NULL || want == c->want)
		return;
	error = s->poller->watch(c->fd, c->want, want, c);
	c->want = (uint8_t)want;
	if (error < 0 && want != 0) {
		conn_got(&c->conn, error);
		enqueue(s, c);
	}
}

/*
 * Accepting: one place decides whether, one place does it.
 */

bool
server_is_open(const struct server *s)
{
	return !s->stopping &&
	    (s->count == 0 || s->shared->taken < s->count);
}

bool
server_may_accept(const struct server *s)
{
	return server_is_open(s) && s->now >= s->pause_until &&
	    (s->max_clients == 0 || s->tally->clients < s->max_clients);
}

void
server_watch_listeners(struct server *s, bool on)
{
	unsigned had = on ? 0 : WANT_READ, want = on ? WANT_READ : 0;
	int error = 0;

	if (s->poller == NULL || on == s->watching)
		return;
	s->watching = on;
	for (int i = 0; i < s->listening && error == 0; i++)
		error = s->poller->watch(s->listeners[i], had, want, NULL);
	if (error == 0 || !on)
		return;
	server_watch_listeners(s, false);
	log_cannot_accept(s, -error);
	s->pause_until = s->now + PAUSE;	/* and then try again */
}

void
server_close_listeners(struct server *s)
{
	server_watch_listeners(s, false);
	server_remove_files(s);
	for (int i = 0; i < s->listening; i++)
		close(s->listeners[i]);
	s->listening = 0;
	if (s->reserve >= 0)
		close(s->reserve);
	s->reserve = -1;
}

/*
 * Towards --count; the last one closes the port for all workers, unless it is
 * not ours to close. False: there was none left, for they accept at the same
 * time.
 */
static bool
take_ticket(struct server *s)
{
	uint64_t before;

	if (s->count == 0)
		return true;
	before = s->shared->taken++;
	for (int i = s->inherited; i < s->listening && before + 1 == s->count;
	    i++)
		net_stop_listening(s->listeners[i]);
	return before < s->count;
}

/* NULL: it cannot be had. */
static struct client *
new_client(struct server *s, int fd, const union net_address *peer)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL || !take_ticket(s)) {
		free(c);
		return NULL;
	}
	c->fd = fd;
	c->peer = *peer;
	c->since = s->now;
	link_init(&c->link);
	c->queue = QUEUE_NONE;
	s->tally->clients++;
	s->tally->served++;
	enqueue(s, c);
	log_connected(s, c);
	return c;
}

/*
 * Out of descriptors, a waiting client can neither be served nor told so.
 * The reserve is given up to accept one and close it; the pause that follows
 * keeps the rest from waking us all the time. (libev's manual, "The special
 * problem of accept()ing when you can't".)
 */
static void
turn_away(struct server *s, int listener)
{
	union net_address peer;
	int fd;

	if (s->reserve >= 0)
		close(s->reserve);
	if ((fd = net_accept(listener, &peer)) >= 0)
		close(fd);
	s->reserve = fcntl(listener, F_DUPFD_CLOEXEC, 0);
}

static bool
is_ready(int fd, unsigned want)
{
	struct pollfd p = { .fd = fd, .events = 0 };

	if (want & WANT_READ)
		p.events |= POLLIN;
	if (want & WANT_WRITE)
		p.events |= POLLOUT;
	return net_poll(&p, 1, 0, NULL) > 0;
}

/*
 * accept(2) failed. What it documents as transient is survived: an error of
 * the connection that it took is no matter, any other is waited out, lest
 * the listener stay ready and wake us all the time.
 */
static void
accept_failed(struct server *s, int listener, int error)
{
	switch (error) {
	case ECONNABORTED:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case EINTR:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPROTO:
		return;
	case EBADF:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
		errx(STATUS_LOCAL, "cannot accept: %s", strerror(error));
	case EMFILE:
	case ENFILE:
		/* It looked for a descriptor first. */
		if (!is_ready(listener, WANT_READ))
			return;
		if (s->full)
			turn_away(s, listener);
		s->full = true;		/* somebody may be about to leave */
		break;
	default:		/* ENOBUFS, ENOMEM, EPERM, ... */
		break;
	}
	log_cannot_accept(s, error);
	s->pause_until = s->now + PAUSE;
}

struct client *
server_accept(struct server *s)
{
	union net_address peer;
	struct client *c;

	for (int tried = 0; tried < s->listening && server_may_accept(s);) {
		int listener = s->listeners[s->next];
		int fd = net_accept(listener, &peer);

		s->next = (s->next + 1) % s->listening;
		if (fd >= 0 && (c = new_client(s, fd, &peer)) != NULL) {
			if (!server_is_open(s))
				server_close_listeners(s);
			return c;
		}
		if (fd >= 0) {
			close(fd);
			fd = -ENOMEM;
		}
		if (fd != -EAGAIN && server_is_open(s))
			accept_failed(s, listener, -fd);
		tried++;
	}
	return NULL;
}

/*
 * Reading, writing, closing.
 */

void
server_got(struct server *s, struct client *c, ssize_t n)
{
	conn_got(&c->conn, n);
	if (n != -EAGAIN)
		enqueue(s, c);
}

void
server_sent(struct server *s, struct client *c, ssize_t n)
{
	conn_sent(&c->conn, n);
	if (n > 0)
		s->tally->bytes += (uint64_t)n;
	if (n != -EAGAIN)
		enqueue(s, c);
}

ssize_t
server_recv(struct server *s, struct client *c)
{
	uint64_t before = c->conn.in;
	ssize_t n = net_recv(c->fd, s->buffer, s->chunk);

	server_got(s, c, n);
	if (c->conn.in > before)
		log_read(s, c, s->buffer, (size_t)n);
	return n;
}

ssize_t
server_send(struct server *s, struct client *c, const char *data, size_t size,
    bool more)
{
	ssize_t n = net_send(c->fd, data, size, more);

	server_sent(s, c, n);
	return n;
}

bool
server_more(const struct server *s, const struct client *c, ssize_t n)
{
	return n == (ssize_t)s->chunk && net_waiting(c->fd);
}

void
server_close(struct server *s, struct client *c)
{
	log_closed(s, c);
	link_remove(&c->link);
	if (conn_owed(&c->conn) > 0)
		net_reset(c->fd);	/* it must not look complete */
	else
		close(c->fd);
	free(c->debt);
	free(c->text);
	free(c);
	s->tally->clients--;
	s->pause_until = 0;
	s->full = false;
}

void
server_close_all(struct server *s)
{
	struct link *next;

	for (struct link *l = s->over.next; l != &s->over; l = next) {
		next = l->next;
		server_close(s, (struct client *)l);
	}
}

struct client *
server_only_client(const struct server *s)
{
	return s->tally->clients == 1 ?
	    first(&s->queues[QUEUE_SILENT].clients) : NULL;
}

/*
 * Time: whose is up, how long to wait, and stopping, which ends clients by
 * the same queues with shorter times.
 */

/*
 * Whether the peer has acknowledged any of what we sent since the last time
 * we asked; the first time it gets the benefit of the doubt. send(2) tells
 * nothing of that for long: it takes megabytes, and then nothing more until a
 * third of them is gone.
 */
static bool
still_takes(struct client *c)
{
	int before = c->unacknowledged;

	c->unacknowledged = net_unacknowledged(c->fd);
	return c->unacknowledged > 0 &&
	    (before == UNKNOWN || c->unacknowledged < before);
}

static const char STOPPING[] = "server stopping";

static void
end_client(struct server *s, struct client *c)
{
	const char *why = s->stopping ? STOPPING : "idle";

	switch (c->queue) {
	case QUEUE_MESSAGE:
		conn_finish(&c->conn, SERVER_MESSAGE_OVER);
		break;
	case QUEUE_SILENT:
		conn_finish(&c->conn, why);
		break;
	case QUEUE_OWING:
	case QUEUE_LINGERING:
		conn_cut(&c->conn, why);
		break;
	case QUEUE_NONE:
		break;
	}
	enqueue(s, c);
	server_watch(s, c);
}

/*
 * A pause ends a message; anything else waits for one who still takes. Nobody
 * is late who has been ready since before we looked: it was we who could not
 * run, or there were too many at once.
 */
static void
time_is_up(struct server *s, struct client *c)
{
	bool is_late = c->queue == QUEUE_LINGERING ||
	    !is_ready(c->fd, conn_want(&c->conn));

	if (is_late && (c->queue == QUEUE_MESSAGE || !still_takes(c))) {
		end_client(s, c);
		return;
	}
	link_remove(&c->link);
	link_append(&s->queues[c->queue].clients, &c->link);
	c->last = s->now;
}

/* When the next of that queue has had its time; INT64_MAX: never. */
static int64_t
deadline(const struct server *s, enum queue queue)
{
	const struct client *c = first(&s->queues[queue].clients);
	int64_t after = s->queues[queue].after;

	return c == NULL || after == 0 ? INT64_MAX : c->last + after;
}

/* All of that queue get the end that their time would bring, now. */
static void
end_all(struct server *s, enum queue queue)
{
	struct client *c;

	while ((c = first(&s->queues[queue].clients)) != NULL)
		end_client(s, c);
}

/*
 * Nobody new, but for those in the kernel's queue: they have connected, and
 * closing the listeners would reset them. Whoever is under way goes on until
 * it pauses for a message's gap, so that what it has sent already is still
 * echoed; the last second of the drain time is for paying, FIN and lingering.
 */
static void
stop(struct server *s)
{
	struct client *c;

	while (s->poller != NULL && (c = server_accept(s)) != NULL)
		server_watch(s, c);
	s->stopping = true;
	server_close_listeners(s);
	s->finish_at = s->now + (s->drain > LINGER ? s->drain - LINGER : 0);
	s->cut_at = s->now + s->drain;
	if (!s->supervised) {
		log_stopping(s);
		systemd_notify("STOPPING=1");
	}
	if (s->idle == 0 || s->gap < s->idle)
		s->queues[QUEUE_SILENT].after = s->gap;
}

static void
finish_queue(struct server *s, enum queue queue)
{
	struct client *c;

	while ((c = first(&s->queues[queue].clients)) != NULL) {
		conn_finish(&c->conn, STOPPING);
		enqueue(s, c);
		server_watch(s, c);
	}
}

static void
finish_all(struct server *s)
{
	const struct link *owing = &s->queues[QUEUE_OWING].clients;

	s->finish_at = INT64_MAX;
	finish_queue(s, QUEUE_SILENT);
	finish_queue(s, QUEUE_MESSAGE);
	for (struct link *l = owing->next; l != owing; l = l->next)
		conn_finish(&((struct client *)l)->conn, STOPPING);
}

static void
cut_all(struct server *s)
{
	end_all(s, QUEUE_OWING);
	end_all(s, QUEUE_LINGERING);
}

bool
server_is_spinning(const struct server *s)
{
	return s->moved_at + s->spin > s->now;
}

int64_t
server_patience(const struct server *s)
{
	int64_t until = INT64_MAX;

	for (enum queue q = 0; q < QUEUES; q++)
		if (deadline(s, q) < until)
			until = deadline(s, q);
	if (server_is_spinning(s))
		until = s->now;
	if (s->finish_at < until)
		until = s->finish_at;
	if (s->cut_at < until)
		until = s->cut_at;
	if (server_is_open(s) && s->pause_until > s->now &&
	    s->pause_until < until)
		until = s->pause_until;
	if (until == INT64_MAX)
		return NET_FOREVER;
	return until > s->now ? until - s->now : 0;
}

/*
 * A wait that finds something ready lets no signal through (ppoll, pselect
 * and epoll_pwait look at the descriptors first), and on a busy server each
 * one does.
 */
static void
let_signals_in(struct server *s)
{
	if (s->now - s->signals_at < SIGNALS_EVERY)
		return;
	s->signals_at = s->now;
	signals_let_in(&s->waiting_mask);
}

void
server_woke(struct server *s)
{
	s->now = net_now();
	let_signals_in(s);
	if (signals_totals() && !s->supervised)
		log_totals(s);
	if (signals_stop() && !s->stopping)
		stop(s);
	if (!server_is_open(s))
		server_close_listeners(s);
}

void
server_expire(struct server *s)
{
	for (enum queue q = 0; q < QUEUES; q++)
		while (deadline(s, q) <= s->now)
			time_is_up(s, first(&s->queues[q].clients));
	if (s->finish_at <= s->now)
		finish_all(s);
	if (s->cut_at <= s->now)
		cut_all(s);
}

/*
 * Opening and closing shop.
 */

/* All workers write there, and the supervisor adds up. */
static struct shared *
share(int workers)
{
	size_t size = sizeof(struct shared) +
	    (size_t)workers * sizeof(struct tally);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(STATUS_LOCAL, "no memory for the totals");
	return memory;
}

void
server_open(struct server *s)
{
	log_open(s);
	signals_catch(&s->waiting_mask);
	s->shared = share(s->workers);
	s->tally = s->shared->workers;
	if ((s->buffer = malloc(s->chunk)) == NULL)
		err(STATUS_LOCAL, "no memory for a chunk");
	for (enum queue q = 0; q < QUEUES; q++)
		link_init(&s->queues[q].clients);
	link_init(&s->over);
	s->queues[QUEUE_SILENT].after = s->queues[QUEUE_OWING].after = s->idle;
	s->queues[QUEUE_MESSAGE].after =
	    s->idle != 0 && s->idle < s->gap ? s->idle : s->gap;
	s->queues[QUEUE_LINGERING].after = LINGER;
	s->reserve = fcntl(s->listeners[0], F_DUPFD_CLOEXEC, 0);
	s->now = net_now();
	s->shared->warned_at = s->moved_at = INT64_MIN / 2;
	s->finish_at = s->cut_at = INT64_MAX;
	s->ready = -1;
}

void
server_ready(struct server *s, const int *calls, size_t n)
{
	int allowed[SANDBOX_CALLS], error;

	if (!s->supervised) {
		server_announce(s);
		systemd_notify("READY=1");
	}
	if (s->ready >= 0 && write(s->ready, "", 1) != 1)
		err(STATUS_LOCAL, "cannot tell that it is ready");
	if (s->ready >= 0)
		close(s->ready);
	s->ready = -1;
	for (size_t i = 0; i < n; i++)
		allowed[i] = calls[i];
	if (s->has_files && !s->supervised)
		allowed[n++] = SYS_unlinkat;
	error = s->sandbox ? sandbox_enter(allowed, n) : 0;
	if (error < 0)
		log_no_sandbox(s, -error);
}
