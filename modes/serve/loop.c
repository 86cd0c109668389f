/*
 * The loop of the engines that wait for many clients at once.
 *
 * An idle client holds no memory for bytes: there is one buffer, lent for the
 * time of one read and send, and one pipe, lent likewise to bulk streams,
 * whose bytes pass through it from socket to socket without being copied.
 * Either way the answer is sent at once, without asking whether one may, for
 * mostly one may; what the client would not take then is kept in a block of
 * its own, and nothing more is read from it until that is paid.
 */
#include <sys/resource.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/mode.h"
#include "server.h"

/*
 * What a client may echo in a row before others have their turn: so many
 * bytes, where a small read costs as much as a larger one.
 */
enum { TURN = 65536, READ_COST = 1024 };

/*
 * A bulk stream has filled so large a chunk, so many times in a row, and is
 * one no more when less than that comes.
 */
enum { BULK_CHUNK = 65536, BULK_READS = 4, BULK_LEAST = 16384 };

/* One in so many is a wait instead. */
enum { GUESSES = 4 };

static int lent[2] = { -1, -1 };	/* the pipe; empty between turns */

/*
 * A block for all that the client is owed. NULL: there is no memory for it,
 * which ends the client.
 */
static char *
new_debt(struct server *s, struct client *c)
{
	size_t size = (size_t)conn_owed(&c->conn);

	if ((c->debt = malloc(sizeof(*c->debt) + size)) == NULL) {
		server_sent(s, c, -ENOMEM);
		return NULL;
	}
	c->debt->at = 0;
	return c->debt->data;
}

static void
pay(struct server *s, struct client *c)
{
	uint64_t before = c->conn.out;

	server_send(s, c, c->debt->data + c->debt->at,
	    (size_t)conn_owed(&c->conn), net_waiting(c->fd));
	c->debt->at += (uint32_t)(c->conn.out - before);
	if (conn_owed(&c->conn) == 0) {
		free(c->debt);
		c->debt = NULL;
	}
}

/* Whether the client would not take all, and is to have the rest later. */
static bool
is_owed(const struct client *c)
{
	return (conn_want(&c->conn) & WANT_WRITE) != 0;
}

/* One read and its answer. The bytes read, or 0 if no more are waiting. */
static size_t
echo(struct server *s, struct client *c)
{
	ssize_t n = server_recv(s, c);
	bool more = server_more(s, c, n);
	char *debt;

	if (n < BULK_CHUNK)
		c->full_reads = 0;
	else if (c->full_reads < BULK_READS)
		c->full_reads++;
	if (is_owed(c))
		server_send(s, c, s->buffer, (size_t)n, more);
	if (is_owed(c) && (debt = new_debt(s, c)) != NULL)
		memcpy(debt, s->buffer + n - conn_owed(&c->conn),
		    (size_t)conn_owed(&c->conn));
	return more ? (size_t)n : 0;
}

/* Takes the size bytes that are in the pipe out of it. */
static void
empty_pipe(char *to, size_t size)
{
	while (size > 0) {
		ssize_t n = read(lent[0], to, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			err(STATUS_LOCAL, "cannot read from a pipe");
		to += n;
		size -= (size_t)n;
	}
}

/*
 * The same as echo(), through the pipe. Nothing may come that way: the stream
 * pauses, or has ended, or has an urgent byte, where splice(2) stops; recv(2)
 * then tells.
 */
static size_t
echo_bulk(struct server *s, struct client *c)
{
	ssize_t n = net_splice(c->fd, lent[1], s->chunk, false), sent;
	bool more = net_waiting(c->fd);
	char *debt = NULL;

	if (n < BULK_LEAST)
		c->full_reads = 0;
	if (n <= 0)
		return 0;
	server_got(s, c, n);
	do {
		sent = net_splice(lent[0], c->fd, (size_t)conn_owed(&c->conn),
		    more);
		server_sent(s, c, sent);
	} while (sent > 0 && is_owed(c));
	if (is_owed(c))
		debt = new_debt(s, c);
	empty_pipe(debt != NULL ? debt : s->buffer,
	    (size_t)conn_owed(&c->conn));
	return more ? (size_t)n : 0;
}

static bool
is_bulk(const struct client *c)
{
	return c->full_reads == BULK_READS && lent[0] >= 0 &&
	    c->conn.state == CONN_ECHOING;
}

static void
turn(struct server *s, struct client *c)
{
	size_t n, echoed = 0;

	if (c->debt != NULL)
		pay(s, c);
	while (conn_want(&c->conn) & WANT_READ && echoed < TURN &&
	    (n = is_bulk(c) ? echo_bulk(s, c) : echo(s, c)) > 0)
		echoed += n > READ_COST ? n : READ_COST;
	server_watch(s, c);
}

/* One at a time: if more are waiting the next wait tells, or a worker sees. */
static void
accept_one(struct server *s)
{
	struct client *c = server_accept(s);

	if (c != NULL)
		server_watch(s, c);
}

/*
 * The pipe is there from the start, so that no descriptor is wanted later;
 * without it bulk streams are served like others. A line per read wants to
 * see the bytes.
 */
static void
open_pipe(const struct server *s)
{
	if (s->verbosity < VERBOSE && pipe2(lent, O_CLOEXEC) < 0)
		lent[0] = lent[1] = -1;
}

static void
close_pipe(void)
{
	for (int i = 0; i < 2; i++)
		if (lent[i] >= 0)
			close(lent[i]);
}

/* Descriptors that somebody left open are below this, if anywhere. */
enum { FD_SEARCHED = 1024 };

/*
 * How many clients fit below the highest descriptor that the engine takes and
 * the system allows: the kernel gives out the lowest that is free, so counting
 * the free ones is enough.
 */
static void
limit_clients(struct server *s, int fds)
{
	struct rlimit own;
	uint64_t fit;

	if (getrlimit(RLIMIT_NOFILE, &own) == 0) {
		own.rlim_cur = own.rlim_max;
		setrlimit(RLIMIT_NOFILE, &own);
		if (own.rlim_cur < (rlim_t)fds)
			fds = (int)own.rlim_cur;
	}
	fit = (uint64_t)fds;
	for (int fd = 0; fd < fds && fd < FD_SEARCHED; fd++)
		fit -= fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
	if (fit == 0)
		errx(STATUS_LOCAL, "no descriptor below %d is free for a "
		    "client (see ulimit -n)", fds);
	if (s->max_clients == 0 || fit < s->max_clients)
		s->max_clients = fit;
}

/*
 * While the server does not sleep, an only client is the likely one to be
 * next, and to ask its socket takes less time than to wait until it is ready
 * and then ask. Every so often it waits all the same, lest nobody else get in.
 * A bulk stream is not asked: to it, nothing there means a pause.
 */
static bool
guess(struct server *s, struct client **ready)
{
	struct client *c = server_only_client(s);

	if (c == NULL || c->full_reads > 0 || !server_is_spinning(s) ||
	    ++s->guesses % GUESSES == 0)
		return false;
	*ready = c;
	return true;
}

void
server_loop(struct server *s, const struct poller *poller)
{
	static struct client *ready[SERVER_EVENTS];

	s->poller = poller;
	open_pipe(s);
	limit_clients(s, poller->fds);
	server_ready(s, poller->calls, poller->ncalls);
	while (server_is_open(s) || s->tally->clients > 0) {
		int n;

		server_watch_listeners(s, server_may_accept(s));
		n = guess(s, ready) ? 1 : poller->wait(ready,
		    server_patience(s), &s->waiting_mask);
		if (n < 0 && n != -EINTR)
			errx(STATUS_LOCAL, "cannot wait: %s", strerror(-n));
		server_woke(s);
		for (int i = 0; i < n; i++) {
			if (ready[i] == NULL)
				accept_one(s);
			else
				turn(s, ready[i]);
		}
		server_expire(s);
		server_close_all(s);
	}
	close_pipe();
}
