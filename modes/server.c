#include "server.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "mode.h"
#include "text.h"

#define MS INT64_C(1000000)
#define SECOND (1000 * MS)

static const int64_t LINGER = SECOND;	/* most we drop input after our FIN */
static const int64_t PAUSE = 500 * MS;	/* no accepting after it failed */
static const int64_t WARN_EVERY = SECOND;
static const int64_t SIGNALS_EVERY = 10 * MS;

enum { TURN = 65536 };			/* bytes a client may echo in a row */

/* Set by the signal handlers, which run while we wait, and now and then. */
static volatile sig_atomic_t stops, totals_wanted;

/*
 * The log. A line is one write(2), so that lines of several processes do not
 * mix. A log that cannot be written is no reason to stop serving.
 */

static void
write_line(char *line, int length, size_t size)
{
	size_t n = (size_t)length < size - 1 ? (size_t)length : size - 2;

	line[n] = '\n';
	if (write(STDERR_FILENO, line, n + 1) < 0)
		return;
}

static void
say(const struct client *c, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const struct client *c, const char *fmt, ...)
{
	char line[1024], name[NET_NAME_MAX];
	va_list ap;
	int n;

	n = snprintf(line, sizeof(line), "%s ",
	    net_name(name, &c->peer.address.any));
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	va_end(ap);
	write_line(line, n, sizeof(line));
}

/* What goes wrong again and again is said once a second. */
static void
warn_seldom(struct server *s, const char *what, int error)
{
	char line[512];
	int n;

	if (s->now - s->warned_at < WARN_EVERY) {
		s->unwarned++;
		return;
	}
	n = snprintf(line, sizeof(line), "%s: %s: %s",
	    program_invocation_short_name, what, strerror(error));
	if (s->unwarned > 0)
		n += snprintf(line + n, sizeof(line) - (size_t)n,
		    " (%" PRIu64 " more such since)", s->unwarned);
	write_line(line, n, sizeof(line));
	s->warned_at = s->now;
	s->unwarned = 0;
}

static void
say_totals(const struct server *s)
{
	char line[128];
	int n = snprintf(line, sizeof(line), "served %" PRIu64 " client%s, %"
	    PRIu64 " byte%s", s->served, PLURAL(s->served), s->bytes,
	    PLURAL(s->bytes));

	write_line(line, n, sizeof(line));
}

static void
say_received(const struct client *c, uint64_t bytes, const char *text,
    uint64_t shown)
{
	char quoted[TEXT_QUOTED];

	say(c, "received %" PRIu64 " byte%s %s", bytes, PLURAL(bytes),
	    text_quote(quoted, text, shown < TEXT_SHOWN ? (size_t)shown :
	    TEXT_SHOWN, bytes));
}

/* The first bytes of a message, which is logged when it is over. */
static void
keep_text(struct client *c, const char *data, size_t n)
{
	uint64_t have = c->conn.in - n;

	if (have >= TEXT_SHOWN)
		return;
	if (c->text == NULL && (c->text = malloc(TEXT_SHOWN)) == NULL)
		return;
	memcpy(c->text + have, data,
	    n < TEXT_SHOWN - have ? n : TEXT_SHOWN - (size_t)have);
}

static void
log_read(const struct server *s, struct client *c, const char *data, size_t n)
{
	char quoted[TEXT_QUOTED];

	if (s->verbosity >= VERBOSE)
		say(c, "read %zu byte%s %s", n, PLURAL(n),
		    text_quote(quoted, data, n, n));
	if (s->message)
		keep_text(c, data, n);
	else if (c->conn.in == n)
		say_received(c, n, data, n);
}

static void
log_close(const struct server *s, const struct client *c)
{
	const struct conn *conn = &c->conn;
	const char *why = conn->end != NULL ? conn->end : strerror(conn->err);
	char lost[64] = "", time[TEXT_TIME];

	if (s->message && c->text != NULL)
		say_received(c, conn->in, c->text, conn->in);
	if (conn_owed(conn) > 0)
		snprintf(lost, sizeof(lost), "; %" PRIu64 " byte%s not taken",
		    conn_owed(conn), PLURAL(conn_owed(conn)));
	say(c, "closed after %" PRIu64 " byte%s, %s: %s%s", conn->out,
	    PLURAL(conn->out), text_time(time, net_now() - c->since), why,
	    lost);
}

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
	c->last = s->now;
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
	return !s->stopping && (s->count == 0 || s->served < s->count);
}

bool
server_may_accept(const struct server *s)
{
	return server_is_open(s) && s->now >= s->pause_until &&
	    (s->max_clients == 0 || s->clients < s->max_clients);
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
	if (s->verbosity >= NORMAL)
		say(c, "connected");
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
	struct net_peer peer;

	if (s->reserve >= 0) {
		int fd;

		close(s->reserve);
		if ((fd = net_accept(listener, &peer)) >= 0)
			close(fd);
	}
	s->reserve = fcntl(listener, F_DUPFD_CLOEXEC, 0);
}

/* accept(2) failed. What it documents as transient is survived. */
static void
accept_failed(struct server *s, int listener, int error)
{
	switch (error) {
	case EMFILE:
	case ENFILE:
		turn_away(s, listener);
		/* FALLTHROUGH */
	case ENOBUFS:
	case ENOMEM:
		warn_seldom(s, "cannot accept, pausing", error);
		s->pause_until = s->now + PAUSE;
		break;
	case EBADF:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
		errx(STATUS_LOCAL, "cannot accept: %s", strerror(error));
	default:		/* that connection is gone, others are not */
		break;
	}
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
		if (fd >= 0 && (c = new_client(s, fd, &peer)) != NULL)
			return c;
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

	if (n == 0 && s->message)
		conn_finish(&c->conn, "end of message");
	conn_got(&c->conn, n);
	if (c->conn.in > before && s->verbosity >= NORMAL)
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
	if (s->verbosity >= NORMAL)
		log_close(s, c);
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

static void
time_is_up(struct server *s, struct client *c)
{
	switch ((enum queue)c->queue) {
	case QUEUE_MESSAGE:
		conn_finish(&c->conn, "end of message");
		break;
	case QUEUE_SILENT:
		conn_finish(&c->conn, s->stopping ? "server stopping" : "idle");
		break;
	case QUEUE_OWING:
		conn_finish(&c->conn, s->stopping ? "server stopping" : "idle");
		conn_sent(&c->conn, -ETIMEDOUT);
		break;
	case QUEUE_LINGERING:
		conn_got(&c->conn, 0);
		break;
	case QUEUE_NONE:
		break;
	}
	enqueue(s, c);
	watch(s, c);
}

/* When the next of that queue has had its time; INT64_MAX: never. */
static int64_t
deadline(const struct server *s, enum queue queue)
{
	const struct client *c = first(&s->queues[queue].clients);
	int64_t after = s->queues[queue].after;

	return c == NULL || after == 0 ? INT64_MAX : c->last + after;
}

/* All of that queue get the end that their time would bring. */
static void
end_all(struct server *s, enum queue queue)
{
	struct client *c;

	while ((c = first(&s->queues[queue].clients)) != NULL)
		time_is_up(s, c);
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
	if (s->idle == 0 || s->gap < s->idle)
		s->queues[QUEUE_SILENT].after = s->gap;
}

static void
finish_all(struct server *s)
{
	const struct link *owing = &s->queues[QUEUE_OWING].clients;

	s->finish_at = INT64_MAX;
	end_all(s, QUEUE_SILENT);
	end_all(s, QUEUE_MESSAGE);
	for (struct link *l = owing->next; l != owing; l = l->next)
		conn_finish(&((struct client *)l)->conn, "server stopping");
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
		say_totals(s);
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
			.sa_handler = signals[i] == SIGUSR1 ? on_totals : on_stop
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
	s->reserve = -1;
	s->now = net_now();
	s->warned_at = s->now - WARN_EVERY;
	s->finish_at = s->cut_at = INT64_MAX;
}

static const char *
hint(int error)
{
	switch (error) {
	case EACCES:
		return " (ports below 1024 need CAP_NET_BIND_SERVICE; "
		    "try --port 10000)";
	case EADDRINUSE:
		return " (somebody listens there already; --port 0 finds a "
		    "free port)";
	case EADDRNOTAVAIL:
		return " (no interface here has that address)";
	default:
		return "";
	}
}

static bool
is_repeated(const struct addrinfo *list, const struct addrinfo *one)
{
	for (; list != one; list = list->ai_next)
		if (list->ai_addrlen == one->ai_addrlen &&
		    memcmp(list->ai_addr, one->ai_addr, one->ai_addrlen) == 0)
			return true;
	return false;
}

/*
 * Listens on each of them, with the same port where the system is to choose
 * one. A kind of address that this machine lacks is passed over if there is
 * another. 0, or -errno with the address in *failed.
 */
static int
listen_on(struct server *s, struct addrinfo *found,
    const struct addrinfo **failed)
{
	int before = s->listening, error = 0;
	uint16_t port = 0;

	for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
		int fd;

		if (port != 0)
			net_set_port(a->ai_addr, port);
		if (is_repeated(found, a))
			continue;
		fd = s->listening < SERVER_LISTENERS ?
		    net_listen(a->ai_addr, a->ai_addrlen) : -EMFILE;
		if (fd >= 0) {
			s->listeners[s->listening++] = fd;
			port = net_port(fd);
			net_set_port(a->ai_addr, port);
			continue;
		}
		*failed = a;
		error = fd;
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			continue;
		while (s->listening > before)
			close(s->listeners[--s->listening]);
		break;
	}
	return s->listening > before ? 0 : error;
}

void
server_listen(struct server *s, const struct address *address)
{
	/* A port free on one address may be taken on the next: choose again. */
	for (int tries = address->port == 0 ? 16 : 1;; tries--) {
		struct addrinfo *found = args_resolve(address);
		const struct addrinfo *failed = found;
		int error = listen_on(s, found, &failed);
		char name[NET_NAME_MAX];

		if (error != 0 && (error != -EADDRINUSE || tries == 1))
			errx(STATUS_LOCAL, "cannot listen on %s: %s%s",
			    net_name(name, failed->ai_addr), strerror(-error),
			    hint(-error));
		freeaddrinfo(found);
		if (error == 0)
			break;
	}
	if (s->reserve < 0)
		s->reserve = fcntl(s->listeners[0], F_DUPFD_CLOEXEC, 0);
}

void
server_announce(const struct server *s)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	for (int i = 0; i < s->listening; i++) {
		net_self(s->listeners[i], &self);
		printf("listening on %s\n", net_name(name, &self.address.any));
	}
	args_flush();
}

void
server_end(struct server *s)
{
	if (s->verbosity >= NORMAL)
		say_totals(s);
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
		echoed += n;
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
	uint64_t fit = 0;

	if (fds == 0)
		return;
	for (int fd = 0; fd < fds; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			fit++;
	if (fit == 0)
		errx(STATUS_LOCAL, "no descriptor below %d is free", fds);
	if (s->max_clients == 0 || fit < s->max_clients)
		s->max_clients = fit;
}

int
server_loop(struct server *s, const struct engine *engine)
{
	static struct event events[SERVER_EVENTS];
	struct client *c;

	s->engine = engine;
	limit_clients(s, engine->fds);
	while (server_is_open(s) || s->clients > 0) {
		int n;

		watch_listeners(s, server_may_accept(s));
		n = engine->wait(events, server_patience(s), &s->waiting_mask);
		server_woke(s);
		for (int i = 0; i < n; i++) {
			if (events[i].client == NULL)
				accept_all(s);
			else
				turn(s, events[i].client);
		}
		server_expire(s);
		while ((c = first(&s->over)) != NULL)
			server_close(s, c);
	}
	server_end(s);
	return STATUS_OK;
}
