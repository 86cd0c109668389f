/*
 * Engine: one client at a time, a few bytes at a time, in two nested loops.
 * This is the server of the homework; read this file first.
 *
 * The outer loop, in blocking_run(), accepts a client, serves it and closes it,
 * again and again. Other clients wait in the kernel's queue meanwhile. The
 * inner loop receives at most --chunk bytes (16) and sends them back, until the
 * message is complete.
 *
 * When is a message complete? TCP carries a stream of bytes without marks. A
 * recv that returns fewer than 16 bytes proves nothing: a message may arrive in
 * several packets, and a message of 32 bytes ends with a full read. It is
 * complete when the client has finished sending (recv returns 0), or has paused
 * for longer than --gap. The struct conn of a client counts the bytes and keeps
 * this state (conn.h), and server.c contains the part that all servers share.
 *
 * Only wait_for() blocks. A timeout or a signal could not end a recv or send
 * that blocks.
 */
#include <err.h>
#include <string.h>

#include "engine.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"
#include "signals.h"

/*
 * Sleeps until one of the n descriptors is ready, a timeout ends, or a signal
 * comes. fds[0] is for the pipe of the signals.
 */
static void
wait_for(struct server *s, struct pollfd *fds, nfds_t n)
{
	int ready;

	fds[0] = (struct pollfd){ .fd = s->signals.fd, .events = POLLIN };
	ready = net_poll(fds, n, server_wait_time(s));
	if (ready < 0)
		errx(STATUS_LOCAL, "cannot wait: %s", strerror(-ready));
}

/* Reads the clock and the signals. */
static void
check_clock_and_signals(struct server *s)
{
	server_tick(s);
	if (signals_are_pending())
		server_read_signals(s);
}

/*
 * To be called between two calls of recv or send. Ends the client if it has
 * timed out. If the last call has not succeeded, sleeps until the next one can
 * succeed.
 */
static void
before_next_call(struct server *s, struct client *c, bool succeeded)
{
	struct pollfd fds[2];

	client_update(&s->clients, c);
	server_expire(s);
	if (!succeeded && conn_want(&c->conn) != 0) {
		fds[1] = (struct pollfd){ .fd = c->watch.fd, .events =
		    conn_want(&c->conn) & WANT_READ ? POLLIN : POLLOUT };
		wait_for(s, fds, 2);
	}
	check_clock_and_signals(s);
}

/* Fills in the listeners to wait for; poll(2) ignores a descriptor of -1. */
static void
select_listeners(const struct server *s, struct pollfd *fds)
{
	bool may_accept = server_may_accept(s);

	for (int i = 0; i < s->listeners.n; i++) {
		const struct listener *l = &s->listeners.list[i];
		bool on = listener_is_watched(l, may_accept, s->clients.now);

		fds[i] = (struct pollfd){ .events = POLLIN,
		    .fd = on ? l->watch.fd : -1 };
	}
}

/*
 * Returns the next client, or NULL if no client will come any more. Answers the
 * datagrams that arrive in the meantime. A server that stops has accepted all
 * waiting clients, and serves these clients, too.
 */
static struct client *
accept_client(struct server *s)
{
	struct pollfd fds[1 + LISTENERS_MAX];
	struct client *adopted = server_adopt(s);
	static int last;	/* the listener that accepted last */

	if (adopted != NULL)
		return adopted;
	while (server_is_open(s)) {
		int n = s->listeners.n;

		select_listeners(s, fds + 1);
		wait_for(s, fds, 1 + (nfds_t)n);
		check_clock_and_signals(s);
		for (int i = 0; i < n && n == s->listeners.n; i++) {
			struct listener *l;
			struct client *c = NULL;

			last = (last + 1) % n;
			l = &s->listeners.list[last];
			if (fds[1 + last].revents == 0)
				continue;
			if (listener_is_udp(l))
				server_answer(s, l);
			else
				c = server_accept(s, l);
			if (c != NULL)
				return c;
		}
	}
	return client_first(&s->clients);
}

/* Reads the PROXY header, if the client is to send one. */
static void
receive_header(struct server *s, struct client *c)
{
	while (!client_read_header(&s->clients, c))
		before_next_call(s, c, false);
}

/* Receives bytes into the buffer. Returns 0 if the message is complete. */
static size_t
receive(struct server *s, struct client *c)
{
	struct clients *cs = &s->clients;

	while (c->conn.state == CONN_ECHOING) {
		ssize_t n = net_recv(c->watch.fd, cs->buffer,
		    s->options.client.chunk);

		client_received(cs, c, cs->buffer, n);
		if (n > 0)
			return (size_t)n;
		before_next_call(s, c, false);
	}
	return 0;
}

/* Sends size bytes of the buffer back, however long the client takes. */
static void
send_back(struct server *s, struct client *c, size_t size)
{
	struct clients *cs = &s->clients;
	bool more = client_has_more(cs, c, (ssize_t)size);
	const char *data = cs->buffer;

	while (conn_want(&c->conn) & WANT_WRITE) {
		ssize_t n = net_send(c->watch.fd, data,
		    (size_t)conn_pending(&c->conn), more);

		client_sent(cs, c, n);
		if (n > 0)
			data += n;
		before_next_call(s, c, n > 0);
	}
}

/* Sends FIN, discards input until the client's FIN, and closes the client. */
static void
close_client(struct server *s, struct client *c)
{
	struct clients *cs = &s->clients;

	client_update(cs, c);
	while (conn_want(&c->conn) != 0) {
		ssize_t n = net_recv(c->watch.fd, cs->buffer,
		    s->options.client.chunk);

		client_received(cs, c, cs->buffer, n);
		before_next_call(s, c, n > 0);
	}
	server_close_client(s, c);
}

static void
blocking_run(struct server *s)
{
	struct client *client;
	size_t size;

	server_ready(s);
	while ((client = accept_client(s)) != NULL) {
		receive_header(s, client);
		while ((size = receive(s, client)) > 0)
			send_back(s, client, size);
		close_client(s, client);
	}
}

static const int no_calls[] = { SANDBOX_END };

const struct engine engine_blocking = {
	.message = true,
	.chunk = "16",
	.idle = "10s",
	.calls = no_calls,
	.setup_calls = no_calls,
	.run = blocking_run
};
