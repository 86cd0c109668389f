/*
 * Mode `send`: sends a message or standard input to an echo server, prints
 * what comes back, and compares it byte by byte as it comes.
 *
 * Both directions move at once, so that no size makes the two sides wait for
 * each other, and only what is under way is kept. It finishes its sending
 * side only when everything has come back: many servers in the field drop
 * what they owe when a client half-closes.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "mode.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"

static const int64_t GRACE = 200 * NET_MS;	/* for what comes after it */

enum {
	WINDOW = 1024 * 1024,		/* bytes under way at most */
	PIECE = 65536,			/* bytes of one read */
	REASON = 512			/* bytes of why it went wrong */
};

enum { OPTION_JSON = OPTIONS_LONG };

static const struct option_row send_options[] = {
	OPTIONS_TEXT("\n"
	    "Sends the words of MESSAGE, joined by spaces, to an echo server, "
	    "prints the\n"
	    "reply, and reports whether it is identical. Without MESSAGE, or "
	    "with -, sends\n"
	    "standard input, of any size (on a terminal, Ctrl-D ends it).\n"),
	DIAL_OPTIONS(DIAL_ADDRESS_FORMS, "time limit for the connection, and "
	    "then for each period in which no byte moves; 0: no limit"),
	{ 'n', "no-newline", NULL, NULL,
	    "print no newline after the reply to MESSAGE", 0, NULL },
	{ OPTION_JSON, "json", NULL, NULL, "report the result as a JSON "
	    "object with the keys server, sent, returned, identical, "
	    "duration_ms, status, reason", 0, NULL },
	DIAL_VERBOSITY("also print the addresses of the connection",
	    "print only errors"),
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds."),
	OPTIONS_END
};

struct settings {
	struct dial_options server;
	bool newline, json;
};

/*
 * What is sent and what came back. The bytes sent - or read and still to be
 * sent - that have not come back are in the window: back <= sent <= filled.
 */
struct exchange {
	struct dial_server server;
	int fd;
	const char *message;	/* what is left of it to be sent */
	size_t left;
	int input;		/* or the descriptor to send from; -1: none */
	bool input_ended;	/* there is no more to send than is filled */
	bool cannot_send;	/* any more; there may be bytes to read */
	uint64_t filled, sent, back;	/* bytes */
	uint64_t printed;
	bool differs;
	uint64_t differs_at;	/* the first byte that did, from 0 */
	unsigned char expected, found;
	uint64_t surplus;	/* bytes that nobody had sent */
	bool ended;		/* the server's end of file, or err */
	int err;		/* errno of what broke it */
	int64_t started, moved;	/* when; the last byte */
	unsigned char window[WINDOW];
	unsigned char piece[PIECE];
};

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* The bytes in a row in the window from position at on, at most to end. */
static size_t
stretch(uint64_t at, uint64_t end)
{
	return (size_t)smaller(end - at, WINDOW - at % WINDOW);
}

static unsigned char *
place(struct exchange *x, uint64_t at)
{
	return x->window + at % WINDOW;
}

static bool
has_room(const struct exchange *x)
{
	return !x->input_ended && x->filled - x->back < WINDOW;
}

static void
fill_from_message(struct exchange *x)
{
	if (x->input >= 0)
		return;
	while (x->left > 0 && has_room(x)) {
		size_t n = (size_t)smaller(x->left, stretch(x->filled,
		    x->back + WINDOW));

		memcpy(place(x, x->filled), x->message, n);
		x->message += n;
		x->left -= n;
		x->filled += n;
	}
	x->input_ended = x->left == 0;
}

static void
fill_from_input(struct exchange *x)
{
	ssize_t n = read(x->input, place(x, x->filled),
	    stretch(x->filled, x->back + WINDOW));

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		err(STATUS_LOCAL, "cannot read standard input");
	if (n > 0) {
		if (x->back == x->filled)	/* the server's time starts */
			x->moved = net_now();
		x->filled += (uint64_t)n;
	}
	x->input_ended = n == 0;
}

/* Writes to standard output; a message is no good if nobody gets it. */
static void
print(struct exchange *x, const unsigned char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, data, size);
		struct pollfd out = { STDOUT_FILENO, POLLOUT, 0 };

		if (n < 0 && errno == EAGAIN)
			net_poll(&out, 1, NET_FOREVER, NULL);
		else if (n < 0 && errno != EINTR)
			err(STATUS_LOCAL, "cannot write to standard output");
		else if (n > 0) {
			data += n;
			size -= (size_t)n;
			x->printed += (uint64_t)n;
		}
	}
}

static void
send_some(struct exchange *x)
{
	ssize_t n = net_send(x->fd, place(x, x->sent),
	    stretch(x->sent, x->filled), false);

	if (n > 0)
		x->sent += (uint64_t)n;
	else if (n < 0 && n != -EAGAIN && n != -EINTR) {
		x->cannot_send = true;
		x->err = (int)-n;
	}
}

static void
compare(struct exchange *x, const unsigned char *data, size_t size)
{
	while (size > 0 && x->back < x->sent) {
		const unsigned char *want = place(x, x->back);
		size_t n = (size_t)smaller(size, stretch(x->back, x->sent));
		size_t i = x->differs ? n :
		    text_first_difference(data, want, n);

		if (i < n) {
			x->differs = true;
			x->differs_at = x->back + i;
			x->expected = want[i];
			x->found = data[i];
		}
		data += n;
		size -= n;
		x->back += n;
	}
	x->surplus += size;
}

static void
receive_some(struct exchange *x)
{
	ssize_t n = net_recv(x->fd, x->piece, sizeof(x->piece));

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		x->ended = true;
		if (n < 0)
			x->err = (int)-n;
		return;
	}
	compare(x, x->piece, (size_t)n);
	print(x, x->piece, (size_t)n);
	x->moved = net_now();
}

/* Every byte that there was to send has come back. */
static bool
is_complete(const struct exchange *x)
{
	return x->input_ended && x->back == x->filled;
}

static bool
is_decided(const struct exchange *x)
{
	return is_complete(x) || x->differs || x->surplus > 0 || x->ended ||
	    (x->cannot_send && x->back == x->sent);
}

/* How long the server may keep us waiting, in ns; 0: its time is up. */
static int64_t
patience(const struct exchange *x, int64_t timeout)
{
	int64_t left = x->moved + timeout - net_now();

	if (timeout == 0 || x->back == x->filled)
		return NET_FOREVER;
	return left > 0 ? left : 0;
}

/* Waits once and moves what can be moved; false: the server's time is up. */
static bool
move(struct exchange *x, int64_t timeout)
{
	struct pollfd fds[] = {
		{ x->fd, POLLIN, 0 },
		{ has_room(x) ? x->input : -1, POLLIN, 0 }
	};

	if (x->sent < x->filled && !x->cannot_send)
		fds[0].events |= POLLOUT;
	if (net_poll(fds, 2, patience(x, timeout), NULL) <= 0)
		return patience(x, timeout) != 0;
	if (fds[0].revents & POLLOUT)
		send_some(x);
	if (fds[0].revents & ~POLLOUT)
		receive_some(x);
	if (fds[1].revents != 0)
		fill_from_input(x);
	return true;
}

/* Both directions until it is decided; false: the server's time is up. */
static bool
converse(struct exchange *x, int64_t timeout)
{
	x->started = x->moved = net_now();
	for (;;) {
		fill_from_message(x);
		if (is_decided(x))
			break;
		if (!move(x, timeout))
			return false;
	}
	/* The server may have closed at the end of an input not yet seen. */
	if (x->ended && has_room(x) && net_is_ready(x->input, POLLIN))
		fill_from_input(x);
	return true;
}

/* For a moment: what else the server sends, up to its end of file. */
static void
linger(struct exchange *x)
{
	int64_t until = net_now() + GRACE, now;

	net_fin(x->fd);
	while (!x->ended && (now = net_now()) < until) {
		struct pollfd server = { x->fd, POLLIN, 0 };

		if (net_poll(&server, 1, until - now, NULL) > 0)
			receive_some(x);
	}
}

static const char *
total(char *out, size_t size, const struct exchange *x)
{
	snprintf(out, size, "%" PRIu64 " of %" PRIu64 " bytes%s", x->back,
	    x->filled + x->left, x->input_ended || x->left > 0 ? "" :
	    ", before the end of standard input");
	return out;
}

/* What is wrong, the first thing first, in why. */
static enum status
complain(char why[REASON], const struct exchange *x, bool in_time,
    int64_t timeout)
{
	char bytes[96], time[TEXT_TIME];

	total(bytes, sizeof(bytes), x);
	if (x->differs) {
		snprintf(why, REASON, "differs at byte %" PRIu64 ": sent "
		    "0x%02x, got 0x%02x", x->differs_at + 1, x->expected,
		    x->found);
		return STATUS_NO;
	}
	if (x->surplus > 0) {
		snprintf(why, REASON, "sent %" PRIu64 " byte%s too many after "
		    "%" PRIu64, x->surplus, PLURAL(x->surplus), x->back);
		return STATUS_NO;
	}
	if (x->err != 0 && x->err != EPIPE) {
		snprintf(why, REASON, "broke off after %s: %s", bytes,
		    strerror(x->err));
		return dial_status(x->err);
	}
	if (!in_time) {
		snprintf(why, REASON, "timed out: nothing moved for %s after "
		    "%s", text_time(time, timeout), bytes);
		return STATUS_TIMEOUT;
	}
	snprintf(why, REASON, "closed after %s%s", bytes,
	    x->input >= 0 && !x->input_ended ?
	    " (does it end a message at a pause? see serve --stream)" : "");
	return STATUS_RESET;
}

/* How it went, for machines; why is empty if all is well. */
static void
say_json(const struct exchange *x, enum status status, const char *why)
{
	char server[TEXT_JSON(NET_NAME_MAX)], reason[TEXT_JSON(REASON)];
	char time[TEXT_TIME];

	text_json(server, x->server.name, strlen(x->server.name),
	    NET_NAME_MAX);
	text_json(reason, why, strlen(why), REASON);
	fprintf(stderr, "{\"server\":%s,\"sent\":%" PRIu64 ",\"returned\":%"
	    PRIu64 ",\"identical\":%s,\"duration_ms\":%s,\"status\":%d,"
	    "\"reason\":%s}\n", server, x->sent, x->back,
	    status == STATUS_OK ? "true" : "false",
	    text_milliseconds(time, x->moved - x->started), (int)status,
	    *why == '\0' ? "null" : reason);
}

/* The client of the homework: sends, receives, compares. */
static enum status
client(struct exchange *x, const struct settings *set)
{
	bool in_time = converse(x, set->server.timeout);
	int64_t took = x->moved - x->started;
	bool good = in_time && is_complete(x);
	enum status status = STATUS_OK;
	char time[TEXT_TIME], why[REASON] = "";

	if (in_time)
		linger(x);
	good = good && !x->differs && x->surplus == 0;
	if (set->newline && x->input < 0 && (good || x->printed > 0))
		print(x, (const unsigned char *)"\n", 1);
	if (!good)
		status = complain(why, x, in_time, set->server.timeout);
	if (set->json)
		say_json(x, status, why);
	else if (!good)
		warnx("%s %s", x->server.name, why);
	else if (set->server.verbosity >= 0)
		fprintf(stderr, "%s returned %" PRIu64 " byte%s, identical, in "
		    "%s\n", x->server.name, x->back, PLURAL(x->back),
		    text_time(time, took));
	return status;
}

static void
say_connected(const struct exchange *x)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	net_self(x->fd, &self);
	fprintf(stderr, "connected to %s from %s\n", x->server.name,
	    net_name(name, &self.address.any));
}

static void
send_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (dial_set_option(&set->server, row->key, value, 0))
		return;
	if (row->key == 'n')
		set->newline = false;
	else
		set->json = true;
}

static void
report_no_connection(const struct exchange *x, bool json,
    const struct dial_error *why)
{
	if (json)
		say_json(x, why->status, why->text);
	else
		warnx("%s", why->text);
}

static int
send_run(int argc, char **argv)
{
	static struct exchange x;	/* too large for a stack */
	struct settings set = { .newline = true };
	struct address address;
	struct dial_error why;
	char *message = NULL;
	enum status status;
	int words;

	options_parse(argc, argv, &mode_send, send_set, &set);
	x.input = -1;
	address = dial_address("--address", set.server.address,
	    set.server.port);
	words = argc - optind;
	if (words == 0 || (words == 1 && strcmp(argv[optind], "-") == 0))
		x.input = STDIN_FILENO;
	else {
		message = text_join(argv[optind], argv + optind + 1);
		if (message == NULL)
			err(STATUS_LOCAL, "no memory for the message");
		x.message = message;
		x.left = strlen(message);
	}
	x.fd = dial_any(&address, set.server.timeout, &x.server, &why);
	if (x.fd < 0) {
		report_no_connection(&x, set.json, &why);
		return (int)why.status;
	}
	if (!set.json && (set.server.verbosity > 0 ||
	    (set.server.verbosity == 0 && x.input >= 0 && isatty(x.input))))
		say_connected(&x);
	status = client(&x, &set);
	close(x.fd);
	free(message);
	return (int)status;
}

const struct mode mode_send = {
	.name = "send",
	.link = "echo_client",
	.summary = "send a message, print the reply",
	.synopsis = "[-a ADDRESS] [-p PORT] [OPTION]... [MESSAGE]...",
	.options = send_options,
	.run = send_run
};
