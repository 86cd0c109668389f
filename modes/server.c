#include "server.h"

#include <sys/resource.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "mode.h"

static const int64_t LINGER = NET_SECOND;	/* for its FIN after ours */
static const int64_t PAUSE = 500 * NET_MS;	/* after accepting failed */
static const int64_t SIGNALS_EVERY = 10 * NET_MS;

const char SERVER_MESSAGE_OVER[] = "end of message";

/*
 * What a client may echo in a row before others have their turn: so many
 * bytes, where a small read costs as much as a larger one.
 */
enum { TURN = 65536, READ_COST = 1024 };

/* Baseline of what the peer has not acknowledged: not yet asked for. */
enum { UNKNOWN = -1 };

/* Set by the signal handlers, which run while we wait, and now and then. */
static volatile sig_atomic_t stops, totals_wanted;

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
	c->queue = queue;
	c->last = s->now;
	c->unacknowledged = UNKNOWN;
}

/* Has the engine watch for what the client wants now. */
static void
watch(struct server *s, struct client *c)
{
	unsigned want = conn_want(&c->conn);
	int error;

	if (s->engine == NULL || want == c->want)
		return;
	error = s->engine->watch(c->fd, want, c);
	c->want = want;
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
	return !s->stopping && (s->count == 0 || s->served < s->count);
}

bool
server_may_accept(const struct server *s)
{
	return server_is_open(s) && s->now >= s->pause_until &&
	    (s->max_clients == 0 || s->clients < s->max_clients);
}

static void
watch_listeners(struct server *s, bool on)
{
	if (s->engine == NULL || on == s->watching)
		return;
	for (int i = 0; i < s->listening; i++)
		s->engine->watch(s->listeners[i], on ? WANT_READ : 0, NULL);
	s->watching = on;
}

static void
close_listeners(struct server *s)
{
	watch_listeners(s, false);
	for (int i = 0; i < s->listening; i++)
		close(s->listeners[i]);
	s->listening = 0;
	if (s->reserve >= 0)
		close(s->reserve);
	s->reserve = -1;
}

static struct client *
new_client(struct server *s, int fd, const struct net_peer *peer)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		return NULL;
	c->fd = fd;
	c->peer = *peer;
	c->since = s->now;
	link_init(&c->link);
	c->queue = QUEUE_NONE;
	s->clients++;
	s->served++;
	enqueue(s, c);
	log_connected(s, c);
	return c;
}

/*
 * Out of descriptors, a waiting client can neither be served nor told so.
 * The reserve is given up to accept one and close it; the pause that follows
 * keeps the rest from waking us all the time. (libev's manual, "The special
 * problem of accept()ing when you can't".) False: there was nobody; accept(2)
 * looks for a descriptor first.
 */
static bool
turn_away(struct server *s, int listener)
{
	struct net_peer peer;
	int fd = -EMFILE;

	if (s->reserve >= 0) {
		close(s->reserve);
		if ((fd = net_accept(listener, &peer)) >= 0)
			close(fd);
	}
	s->reserve = fcntl(listener, F_DUPFD_CLOEXEC, 0);
	return fd != -EAGAIN;
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
		if (!turn_away(s, listener))
			return;
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
	struct net_peer peer;
	struct client *c;

	for (int tried = 0; tried < s->listening && server_may_accept(s);) {
		int listener = s->listeners[s->next];
		int fd = net_accept(listener, &peer);

		s->next = (s->next + 1) % s->listening;
		if (fd >= 0 && (c = new_client(s, fd, &peer)) != NULL) {
			if (!server_is_open(s))
				close_listeners(s);
			return c;
		}
		if (fd >= 0) {
			close(fd);
			fd = -ENOMEM;
		}
		if (fd != -EAGAIN)
			accept_failed(s, listener, -fd);
		tried++;
	}
	return NULL;
}

/*
 * Reading, writing, closing.
 */

ssize_t
server_recv(struct server *s, struct client *c)
{
	uint64_t before = c->conn.in;
	ssize_t n = net_recv(c->fd, s->buffer, s->chunk);

	conn_got(&c->conn, n);
	if (c->conn.in > before)
		log_read(s, c, s->buffer, (size_t)n);
	if (n != -EAGAIN)
		enqueue(s, c);
	return n;
}

ssize_t
server_send(struct server *s, struct client *c, const char *data, size_t size,
    bool more)
{
	ssize_t n = net_send(c->fd, data, size, more);

	conn_sent(&c->conn, n);
	if (n > 0)
		s->bytes += (uint64_t)n;
	if (n != -EAGAIN)
		enqueue(s, c);
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
	s->clients--;
	s->pause_until = 0;
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
	watch(s, c);
}

/* A pause ends a message; anything else waits for one who still takes. */
static void
time_is_up(struct server *s, struct client *c)
{
	if (c->queue == QUEUE_MESSAGE || !still_takes(c)) {
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
 * Nobody new. Whoever is under way goes on until it pauses for a message's
 * gap, so that what it has sent already is still echoed; the last second of
 * the drain time is for paying, FIN and lingering.
 */
static void
stop(struct server *s)
{
	s->stopping = true;
	s->finish_at = s->now + (s->drain > LINGER ? s->drain - LINGER : 0);
	s->cut_at = s->now + s->drain;
	log_stopping(s);
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
		watch(s, c);
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

int64_t
server_patience(const struct server *s)
{
	int64_t until = INT64_MAX;

	for (enum queue q = 0; q < QUEUES; q++)
		if (deadline(s, q) < until)
			until = deadline(s, q);
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
	sigset_t blocked;

	if (s->now - s->signals_at < SIGNALS_EVERY)
		return;
	s->signals_at = s->now;
	sigprocmask(SIG_SETMASK, &s->waiting_mask, &blocked);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}

void
server_woke(struct server *s)
{
	s->now = net_now();
	let_signals_in(s);
	if (totals_wanted) {
		totals_wanted = 0;
		log_totals(s);
	}
	if (stops > 0 && !s->stopping)
		stop(s);
	if (!server_is_open(s))
		close_listeners(s);
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

static void
on_stop(int signal)
{
	(void)signal;
	if (stops++ > 0)
		_exit(STATUS_NO);	/* asked twice: at once */
}

static void
on_totals(int signal)
{
	(void)signal;
	totals_wanted = 1;
}

/* Signals come while we wait, so that none is lost just before. */
static void
catch_signals(sigset_t *waiting_mask)
{
	static const int signals[] = { SIGTERM, SIGINT, SIGUSR1 };
	sigset_t blocked;

	sigemptyset(&blocked);
	sigprocmask(SIG_BLOCK, NULL, waiting_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++) {
		struct sigaction action = {
			.sa_handler = signals[i] == SIGUSR1 ?
			    on_totals : on_stop
		};

		sigaddset(&blocked, signals[i]);
		sigdelset(waiting_mask, signals[i]);
		sigaction(signals[i], &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

void
server_open(struct server *s)
{
	catch_signals(&s->waiting_mask);
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
	s->warned_at = INT64_MIN / 2;
	s->finish_at = s->cut_at = INT64_MAX;
}

void
server_end(struct server *s)
{
	if (s->verbosity >= NORMAL)
		log_totals(s);
	close_listeners(s);
	free(s->buffer);
}

/*
 * The loop of the engines that wait for many clients.
 */

/* What the client would not take goes to a block of its own until it does. */
static void
keep(struct server *s, struct client *c, const char *rest, size_t size)
{
	if ((c->debt = malloc(size)) != NULL) {
		memcpy(c->debt, rest, size);
		c->debt_at = 0;
		return;
	}
	conn_sent(&c->conn, -ENOMEM);
	enqueue(s, c);
}

static void
pay(struct server *s, struct client *c)
{
	ssize_t n = server_send(s, c, c->debt + c->debt_at,
	    (size_t)conn_owed(&c->conn), net_waiting(c->fd));

	if (n > 0)
		c->debt_at += (uint32_t)n;
	if (conn_owed(&c->conn) == 0) {
		free(c->debt);
		c->debt = NULL;
	}
}

/*
 * Takes what one read gives and answers at once, without asking whether one
 * may write: mostly one may. The bytes read, or 0 if no more are waiting.
 */
static size_t
echo(struct server *s, struct client *c)
{
	ssize_t n = server_recv(s, c), sent;
	bool more;

	if (n <= 0)
		return 0;
	more = server_more(s, c, n);
	if (conn_want(&c->conn) & WANT_WRITE) {
		sent = server_send(s, c, s->buffer, (size_t)n, more);
		if (sent < 0)
			sent = 0;
		if (conn_want(&c->conn) & WANT_WRITE)
			keep(s, c, s->buffer + sent, (size_t)(n - sent));
	}
	return more ? (size_t)n : 0;
}

static void
turn(struct server *s, struct client *c)
{
	size_t n, echoed = 0;

	if (c->debt != NULL)
		pay(s, c);
	while (conn_want(&c->conn) & WANT_READ && echoed < TURN &&
	    (n = echo(s, c)) > 0)
		echoed += n > READ_COST ? n : READ_COST;
	watch(s, c);
}

static void
accept_all(struct server *s)
{
	struct client *c;

	while ((c = server_accept(s)) != NULL)
		watch(s, c);
}

/*
 * How many clients fit below the engine's highest descriptor: the kernel
 * gives out the lowest that is free, so counting the free ones is enough.
 */
static void
limit_clients(struct server *s, int fds)
{
	struct rlimit own;
	uint64_t fit = 0;

	if (fds == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &own) == 0 && own.rlim_cur < (rlim_t)fds)
		fds = (int)own.rlim_cur;
	for (int fd = 0; fd < fds; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			fit++;
	if (fit == 0)
		errx(STATUS_LOCAL, "no descriptor below %d is free for a "
		    "client (see ulimit -n)", fds);
	if (s->max_clients == 0 || fit < s->max_clients)
		s->max_clients = fit;
}

int
server_loop(struct server *s, const struct engine *engine)
{
	static struct client *ready[SERVER_EVENTS];
	struct client *c;

	s->engine = engine;
	limit_clients(s, engine->fds);
	while (server_is_open(s) || s->clients > 0) {
		int n;

		watch_listeners(s, server_may_accept(s));
		n = engine->wait(ready, server_patience(s), &s->waiting_mask);
		if (n < 0)
			errx(STATUS_LOCAL, "cannot wait: %s", strerror(-n));
		server_woke(s);
		for (int i = 0; i < n; i++) {
			if (ready[i] == NULL)
				accept_all(s);
			else
				turn(s, ready[i]);
		}
		server_expire(s);
		while ((c = first(&s->over)) != NULL)
			server_close(s, c);
	}
	server_end(s);
	return STATUS_OK;
}
