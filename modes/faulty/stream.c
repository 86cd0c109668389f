#include "stream.h"

#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faults.h"
#include "modes/lib/net.h"
#include "modes/lib/text.h"
#include "modes/mode.h"

enum {
	READ_SIZE = 65536,		/* bytes of one read */
	HOMEWORK_SIZE = 16,		/* the same, in the homework */
	MAX_PAUSES = 32			/* after pieces, in one connection */
};

struct connection {
	int fd;
	struct faults_chosen chosen;
	char *pending;			/* received and not answered */
	size_t size;			/* bytes pending */
	uint64_t received, sent, echoed;	/* bytes so far */
	int pauses;
	bool is_over;
};

static bool
has_fault(const struct connection *c, enum fault fault)
{
	return faults_has(&c->chosen, fault);
}

/* Returns size, or the limit if that is smaller. */
static size_t
limit_size(size_t size, uint64_t limit)
{
	return size < limit ? size : (size_t)limit;
}

/* Waits, but not longer than until the client resets the connection. */
static void
pause_connection(const struct connection *c, int64_t ns)
{
	struct pollfd reset = { .fd = c->fd };	/* POLLERR needs no request */

	net_poll(&reset, 1, ns);
}

/* Sends all bytes, however long the client takes to read them. */
static void
send_bytes(struct connection *c, const char *data, size_t size)
{
	uint64_t rate = c->chosen.number[RATE];

	while (size > 0 && !c->is_over) {
		size_t piece = limit_size(size, c->chosen.number[PIECES]);
		ssize_t n = send(c->fd, data, limit_size(piece, rate / 10 + 1),
		    0);

		if (n < 0) {
			c->is_over = true;
			return;
		}
		c->sent += (uint64_t)n;
		data += n;
		size -= (size_t)n;
		if (has_fault(c, RATE))
			pause_connection(c, n * NET_SECOND / (int64_t)rate);
		else if (has_fault(c, PIECES) && c->pauses++ < MAX_PAUSES)
			pause_connection(c, NET_MS);
	}
}

/* Sends a part of the echo, but not more than close or reset allows. */
static void
send_echo(struct connection *c, const char *data, size_t size)
{
	uint64_t limit = c->chosen.number[has_fault(c, CLOSE) ? CLOSE : RESET];

	size = limit_size(size, limit - c->echoed);
	send_bytes(c, data, size);
	c->echoed += size;
	c->is_over |= c->echoed == limit;
}

/* Answers the first size bytes that are pending. */
static void
answer(struct connection *c, size_t size)
{
	static char changed[FAULTS_BYTE_MAX * READ_SIZE];
	const char *constant = c->chosen.set->text[CONSTANT], *data = c->pending;
	char *end;

	if (has_fault(c, DECODE) && !text_is_utf8(data, size)) {
		c->is_over = true;	/* like an exception in a script */
		return;
	}
	size = faults_strip(&c->chosen, data, size);
	if (has_fault(c, CONSTANT))
		send_echo(c, constant, strlen(constant));
	while (!has_fault(c, CONSTANT) && size > 0 && !c->is_over) {
		end = changed;
		for (int i = 0; size > 0 && i < READ_SIZE; i++, size--)
			end = faults_change_byte(&c->chosen, *data++,
			    end);
		send_echo(c, changed, (size_t)(end - changed));
	}
}

/* Receives once, after the pending bytes. Returns the result of recv(2). */
static ssize_t
receive_bytes(struct connection *c)
{
	struct pollfd readable = { c->fd, POLLIN, 0 };
	size_t most = READ_SIZE;
	ssize_t n;

	if (has_fault(c, DELAY)) {
		net_poll(&readable, 1, NET_FOREVER);
		pause_connection(c, (int64_t)c->chosen.number[DELAY]);
		/*
		 * The bytes that have arrived meanwhile are answered now, too.
		 */
		most = FAULTS_SIZE_MAX + READ_SIZE - c->size;
	}
	if (has_fault(c, ONCE))
		most = (size_t)c->chosen.number[ONCE];
	else if (has_fault(c, SHORT) || has_fault(c, GATHER) ||
	    has_fault(c, DECODE))
		most = HOMEWORK_SIZE;
	if ((n = recv(c->fd, c->pending + c->size, most, 0)) <= 0)
		return n;
	c->size += (size_t)n;
	c->received += (uint64_t)n;
	if (c->size > FAULTS_SIZE_MAX)
		errx(STATUS_LOCAL, "a message is too long to be collected");
	return n;
}

/* How many of the pending bytes are answered after a read of n bytes. */
static size_t
bytes_to_answer(struct connection *c, size_t n, bool is_last)
{
	const char *newline;

	if (has_fault(c, GATHER) && !is_last)
		return 0;
	if (has_fault(c, LINE)) {
		newline = memrchr(c->pending + c->size - n, '\n', n);
		return newline == NULL ? 0 : (size_t)(newline + 1 - c->pending);
	}
	if (has_fault(c, MUTE) ||
	    (has_fault(c, LOST_TAIL) && net_has_fin(c->fd, 100 * NET_MS)))
		c->size = 0;
	return c->size;
}

/* Reads and answers until the message or the client has ended. */
static void
echo_message(struct connection *c)
{
	bool is_last = false;

	while (!is_last && !c->is_over) {
		ssize_t n = receive_bytes(c);
		size_t size;

		is_last = n <= 0 || has_fault(c, ONCE) || (n < HOMEWORK_SIZE &&
		    (has_fault(c, SHORT) || has_fault(c, GATHER)));
		size = bytes_to_answer(c, n > 0 ? (size_t)n : 0, is_last);
		if (size == 0)
			continue;
		answer(c, size);
		c->size -= size;
		memmove(c->pending, c->pending + size, c->size);
	}
}

static void
serve_client(struct connection *c)
{
	char held, rest[4096];

	if (has_fault(c, BANNER))
		send_bytes(c, c->chosen.set->text[BANNER],
		    strlen(c->chosen.set->text[BANNER]));
	send_echo(c, "", 0);		/* close=0 and reset=0 */
	if (has_fault(c, DEAF))
		pause_connection(c, NET_FOREVER);
	else
		echo_message(c);
	if (c->chosen.held >= 0 && !c->is_over) {
		held = (char)c->chosen.held;
		send_echo(c, &held, 1);
	}
	if (has_fault(c, NO_FIN))
		pause_connection(c, NET_FOREVER);
	if (c->echoed == c->chosen.number[RESET]) {
		/* The RST would destroy an echo that is in flight. */
		while (net_unacknowledged(c->fd) > 0 && c->pauses++ < 1000)
			pause_connection(c, NET_MS);
		net_reset(c->fd);
		return;
	}
	if (c->echoed == c->chosen.number[CLOSE]) {
		net_fin(c->fd);		/* close(2) could send a RST */
		while (recv(c->fd, rest, sizeof(rest), 0) > 0)
			;
	}
	close(c->fd);
}

void
stream_serve(void *context, int fd, const char *peer, uint64_t n)
{
	const struct stream_plan *plan = context;
	struct connection c = { .fd = fd,
	    .pending = malloc(FAULTS_SIZE_MAX + READ_SIZE) };
	const char *chosen = faults_choose(&c.chosen, plan->faults, n);

	if (c.pending == NULL)
		err(STATUS_LOCAL, "cannot serve %s", peer);
	/* A log that is not read must not stop the service. */
	if (plan->verbosity >= 0 && net_is_ready(STDERR_FILENO, POLLOUT))
		fprintf(stderr, "%s connected: %s\n", peer, chosen);
	serve_client(&c);
	if (plan->verbosity > 0 && net_is_ready(STDERR_FILENO, POLLOUT))
		fprintf(stderr, "%s closed: received %" PRIu64 ", sent %"
		    PRIu64 " bytes\n", peer, c.received, c.sent);
	free(c.pending);
}
