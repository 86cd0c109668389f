/*
 * Engine: one client at a time, a few bytes at a time, in two nested loops.
 * This is the server of the homework; read this file first.
 *
 * The outer loop of blocking_run() takes a client, serves it and closes it,
 * again and again; those who come meanwhile wait in the kernel's queue. The
 * inner loop takes at most --chunk bytes (16) and answers them, until the
 * message is over.
 *
 * When is a message over? TCP carries a stream of bytes without marks, so a
 * read shorter than 16 bytes proves nothing: a message may come in several
 * packets, or be 32 bytes long. It is over when the client has finished
 * sending, or has paused for longer than --gap. The struct conn inside a
 * client keeps that account (conn.h), and server.c does what all servers
 * have in common; here is only the order of things.
 *
 * What blocks is await(), and nothing else: a recv or send that did could not
 * be ended by a timeout or a signal.
 */
#include <err.h>
#include <string.h>

#include "engine.h"
#include "modes/mode.h"
#include "server.h"

/* Sleeps until one of them is ready, a time is up, or a signal comes. */
static void
await(struct server *s, struct pollfd *fds, nfds_t n)
{
	int ready = net_poll(fds, n, server_patience(s), &s->waiting_mask);

	if (ready < 0)
		errx(STATUS_LOCAL, "cannot wait: %s", strerror(-ready));
}

/*
 * Between one try to read or write and the next: ends the client if its time
 * is up, and sleeps until it is worth trying, unless the last try moved
 * something.
 */
static void
rest(struct server *s, struct client *c, bool moved)
{
	struct pollfd fd = { .fd = c->fd };

	server_expire(s);
	fd.events = conn_want(&c->conn) & WANT_READ ? POLLIN : POLLOUT;
	if (!moved && conn_want(&c->conn) != 0)
		await(s, &fd, 1);
	server_woke(s);
}

/* The next client; NULL when there are to be no more. */
static struct client *
next_client(struct server *s)
{
	struct pollfd fds[SERVER_LISTENERS];
	struct client *c;

	while (server_is_open(s)) {
		nfds_t n = 0;

		if ((c = server_accept(s)) != NULL)
			return c;
		for (int i = 0; i < s->listening && server_may_accept(s); i++)
			fds[n++] = (struct pollfd){ .fd = s->listeners[i],
			    .events = POLLIN };
		await(s, fds, n);
		server_woke(s);
	}
	return NULL;
}

/* Takes the next bytes, at most a chunk, into s->buffer; 0: no more come. */
static size_t
receive(struct server *s, struct client *c)
{
	while (c->conn.state == CONN_ECHOING) {
		ssize_t n = server_recv(s, c);

		if (n > 0)
			return (size_t)n;
		rest(s, c, false);
	}
	return 0;
}

/* Gives size bytes of s->buffer back, however long the client takes. */
static void
answer(struct server *s, struct client *c, size_t size)
{
	bool more = server_more(s, c, (ssize_t)size);
	const char *data = s->buffer;

	while (conn_want(&c->conn) & WANT_WRITE) {
		ssize_t n = server_send(s, c, data,
		    (size_t)conn_owed(&c->conn), more);

		if (n > 0)
			data += n;
		rest(s, c, n > 0);
	}
}

/* Waits for the client's end of file after ours, and closes. */
static void
part_from(struct server *s, struct client *c)
{
	while (conn_want(&c->conn) != 0)
		rest(s, c, server_recv(s, c) > 0);
	server_close(s, c);
}

static void
blocking_run(struct server *s)
{
	struct client *client;
	size_t n;

	server_ready(s, NULL, 0);
	while ((client = next_client(s)) != NULL) {
		while ((n = receive(s, client)) > 0)
			answer(s, client, n);
		part_from(s, client);
	}
}

const struct engine engine_blocking = {
	.message = true,
	.chunk = "16",
	.idle = "10s",
	.run = blocking_run
};
