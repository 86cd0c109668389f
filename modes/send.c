/*
 * Mode `send`: sends a message or standard input to an echo server, prints the
 * reply, and compares it byte by byte while it arrives.
 *
 * It sends and receives at the same time, so that no size can make client and
 * server wait for each other. Only the bytes in flight are kept. FIN is sent
 * only after every byte has come back, because many servers discard pending
 * output when a client half-closes.
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

#include "mode.h"
#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"

/* How long to wait for surplus data and end of file after the last byte. */
static const int64_t SURPLUS_TIME = 200 * NET_MS;

enum {
	WINDOW_SIZE = 1024 * 1024,	/* bytes in flight at most */
	READ_SIZE = 65536,		/* bytes of one recv at most */
	REASON_SIZE = 512		/* bytes of an explanation */
};

enum { SEND_JSON = OPTIONS_LONG };

static const struct option_row send_options[] = {
	OPTIONS_TEXT("\n"
	    "Sends the words of MESSAGE, joined by spaces, to an echo server, "
	    "prints the\n"
	    "reply, and reports whether it is identical. Without MESSAGE, or "
	    "with -, sends\n"
	    "standard input, of any size (on a terminal, Ctrl-D ends it).\n"),
	DIAL_OPTIONS(DIAL_ADDRESS_FORMS, "time limit to connect, and then to "
	    "receive the next byte; 0: no limit"),
	{ 'n', "no-newline", NULL, NULL,
	    "print no newline after the reply to MESSAGE", 0, NULL },
	{ SEND_JSON, "json", NULL, NULL, "report the result as a JSON "
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
 * A conversation with the server. The bytes that have been read from the input
 * and have not come back are in the window, a ring buffer. Positions count from
 * the first byte: returned <= sent <= filled.
 */
struct exchange {
	struct dial_server server;
	int fd;
	const char *message;	/* the rest of the message */
	size_t message_left;	/* its size in bytes */
	int input;		/* standard input, or -1 to send the message */
	bool input_ended;	/* everything to send is in the window */
	bool cannot_send;	/* a send failed; recv may still succeed */
	uint64_t filled, sent, returned;
	uint64_t printed;	/* bytes */
	uint64_t surplus;	/* bytes received that had not been sent */
	bool differs;
	uint64_t differs_at;	/* position of the first wrong byte */
	unsigned char expected, found;	/* at that position */
	bool ended;		/* end of file from the server, or an error */
	int error;		/* errno of the connection, or 0 */
	int64_t started;	/* net_now() */
	int64_t progress;	/* net_now() when a byte last arrived */
	unsigned char window[WINDOW_SIZE];
	unsigned char received[READ_SIZE];
};

static uint64_t
send_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static unsigned char *
window_at(struct exchange *x, uint64_t position)
{
	return x->window + position % WINDOW_SIZE;
}

/* The bytes from one position to another that are contiguous in the window. */
static size_t
window_contiguous(uint64_t from, uint64_t to)
{
	return (size_t)send_min(to - from, WINDOW_SIZE - from % WINDOW_SIZE);
}

/* Returns whether there is both room in the window and input to come. */
static bool
window_wants_input(const struct exchange *x)
{
	return !x->input_ended && x->filled - x->returned < WINDOW_SIZE;
}

static void
fill_from_message(struct exchange *x)
{
	if (x->input >= 0)
		return;
	while (x->message_left > 0 && window_wants_input(x)) {
		size_t n = (size_t)send_min(x->message_left, window_contiguous(
		    x->filled, x->returned + WINDOW_SIZE));

		memcpy(window_at(x, x->filled), x->message, n);
		x->message += n;
		x->message_left -= n;
		x->filled += n;
	}
	x->input_ended = x->message_left == 0;
}

static void
fill_from_input(struct exchange *x)
{
	ssize_t n = read(x->input, window_at(x, x->filled),
	    window_contiguous(x->filled, x->returned + WINDOW_SIZE));

	if (n < 0 && errno != EAGAIN && errno != EINTR)
		err(STATUS_LOCAL, "cannot read standard input");
	if (n > 0) {
		if (x->returned == x->filled)	/* the timeout starts now */
			x->progress = net_now();
		x->filled += (uint64_t)n;
	}
	x->input_ended = n == 0;
}

/*
 * Writes to standard output. A reply that cannot be written is a failure of
 * the program.
 */
static void
print_reply(struct exchange *x, const unsigned char *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(STDOUT_FILENO, data, size);
		struct pollfd out = { STDOUT_FILENO, POLLOUT, 0 };

		if (n < 0 && errno == EAGAIN)
			net_poll(&out, 1, NET_FOREVER);
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
send_from_window(struct exchange *x)
{
	ssize_t n = net_send(x->fd, window_at(x, x->sent),
	    window_contiguous(x->sent, x->filled), false);

	if (n > 0)
		x->sent += (uint64_t)n;
	else if (n < 0 && n != -EAGAIN && n != -EINTR) {
		x->cannot_send = true;
		x->error = (int)-n;
	}
}

/* Compares what arrived with the window, and frees that part of the window. */
static void
compare_reply(struct exchange *x, const unsigned char *data, size_t size)
{
	while (size > 0 && x->returned < x->sent) {
		const unsigned char *sent = window_at(x, x->returned);
		size_t n = (size_t)send_min(size,
		    window_contiguous(x->returned, x->sent));
		size_t at = x->differs ? n :
		    text_first_difference(data, sent, n);

		if (at < n) {
			x->differs = true;
			x->differs_at = x->returned + at;
			x->expected = sent[at];
			x->found = data[at];
		}
		data += n;
		size -= n;
		x->returned += n;
	}
	x->surplus += size;
}

static void
receive_reply(struct exchange *x)
{
	ssize_t n = net_recv(x->fd, x->received, sizeof(x->received));

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		x->ended = true;
		if (n < 0)
			x->error = (int)-n;
		return;
	}
	compare_reply(x, x->received, (size_t)n);
	print_reply(x, x->received, (size_t)n);
	x->progress = net_now();
}

static bool
all_returned(const struct exchange *x)
{
	return x->input_ended && x->returned == x->filled;
}

/* Returns whether the result is known: success, or the first error. */
static bool
result_is_known(const struct exchange *x)
{
	return all_returned(x) || x->differs || x->surplus > 0 || x->ended ||
	    (x->cannot_send && x->returned == x->sent);
}

/*
 * The rest of the timeout in ns; 0 after it. It runs only while the server has
 * bytes to return.
 */
static int64_t
timeout_left(const struct exchange *x, int64_t timeout)
{
	int64_t left = x->progress + timeout - net_now();

	if (timeout == 0 || x->returned == x->filled)
		return NET_FOREVER;
	return left > 0 ? left : 0;
}

/*
 * Waits once, then sends, receives and reads what is possible. Returns false
 * after the timeout.
 */
static bool
exchange_some(struct exchange *x, int64_t timeout)
{
	struct pollfd fds[] = {
		{ x->fd, POLLIN, 0 },
		{ window_wants_input(x) ? x->input : -1, POLLIN, 0 }
	};

	if (x->sent < x->filled && !x->cannot_send)
		fds[0].events |= POLLOUT;
	if (net_poll(fds, 2, timeout_left(x, timeout)) <= 0)
		return timeout_left(x, timeout) != 0;
	if (fds[0].revents & POLLOUT)
		send_from_window(x);
	if (fds[0].revents & ~POLLOUT)
		receive_reply(x);
	if (fds[1].revents != 0)
		fill_from_input(x);
	return true;
}

/* Sends and receives until the result is known; false: timed out. */
static bool
exchange_all(struct exchange *x, int64_t timeout)
{
	x->started = x->progress = net_now();
	for (;;) {
		fill_from_message(x);
		if (result_is_known(x))
			break;
		if (!exchange_some(x, timeout))
			return false;
	}
	/*
	 * A server may close the connection as soon as it has returned every
	 * byte. The end of standard input may be there, but not read yet.
	 */
	if (x->ended && window_wants_input(x) &&
	    net_is_ready(x->input, POLLIN))
		fill_from_input(x);
	return true;
}

/* Half-closes, and counts surplus data until end of file or SURPLUS_TIME. */
static void
receive_surplus(struct exchange *x)
{
	int64_t until = net_now() + SURPLUS_TIME, now;

	net_fin(x->fd);
	while (!x->ended && (now = net_now()) < until) {
		struct pollfd server = { x->fd, POLLIN, 0 };

		if (net_poll(&server, 1, until - now) > 0)
			receive_reply(x);
	}
}

static const char *
format_returned(char *out, size_t size, const struct exchange *x)
{
	snprintf(out, size, "%" PRIu64 " of %" PRIu64 " bytes%s", x->returned,
	    x->filled + x->message_left,
	    x->input_ended || x->message_left > 0 ? "" :
	    ", before the end of standard input");
	return out;
}

/* Explains the failure in why: of several errors, the one that came first. */
static enum status
explain_failure(char why[REASON_SIZE], const struct exchange *x, bool in_time,
    int64_t timeout)
{
	char bytes[96], time[TEXT_TIME];

	format_returned(bytes, sizeof(bytes), x);
	if (x->differs) {
		snprintf(why, REASON_SIZE, "differs at byte %" PRIu64 ": sent "
		    "0x%02x, got 0x%02x", x->differs_at + 1, x->expected,
		    x->found);
		return STATUS_NO;
	}
	if (x->surplus > 0) {
		snprintf(why, REASON_SIZE, "sent %" PRIu64 " byte%s too many "
		    "after %" PRIu64, x->surplus, PLURAL(x->surplus),
		    x->returned);
		return STATUS_NO;
	}
	if (x->error != 0 && x->error != EPIPE) {
		snprintf(why, REASON_SIZE, "failed after %s: %s", bytes,
		    strerror(x->error));
		return dial_status(x->error);
	}
	if (!in_time) {
		snprintf(why, REASON_SIZE, "timed out: received nothing "
		    "for %s after %s", text_time(time, timeout), bytes);
		return STATUS_TIMEOUT;
	}
	snprintf(why, REASON_SIZE, "closed after %s%s", bytes,
	    x->input >= 0 && !x->input_ended ?
	    " (does it end a message at a pause? see serve --stream)" : "");
	return STATUS_RESET;
}

/* Prints the result as JSON. why is empty after success. */
static void
print_json(const struct exchange *x, enum status status, const char *why)
{
	char server[TEXT_JSON(NET_NAME_MAX)], reason[TEXT_JSON(REASON_SIZE)];
	char time[TEXT_TIME];

	text_json(server, x->server.name, strlen(x->server.name),
	    NET_NAME_MAX);
	text_json(reason, why, strlen(why), REASON_SIZE);
	fprintf(stderr, "{\"server\":%s,\"sent\":%" PRIu64 ",\"returned\":%"
	    PRIu64 ",\"identical\":%s,\"duration_ms\":%s,\"status\":%d,"
	    "\"reason\":%s}\n", server, x->sent, x->returned,
	    status == STATUS_OK ? "true" : "false",
	    text_milliseconds(time, x->progress - x->started), (int)status,
	    *why == '\0' ? "null" : reason);
}

static void
print_result(const struct exchange *x, const struct settings *set,
    enum status status, const char *why)
{
	char time[TEXT_TIME];

	if (set->json)
		print_json(x, status, why);
	else if (status != STATUS_OK)
		warnx("%s %s", x->server.name, why);
	else if (set->server.verbosity >= 0)
		fprintf(stderr, "%s returned %" PRIu64 " byte%s, identical, in "
		    "%s\n", x->server.name, x->returned, PLURAL(x->returned),
		    text_time(time, x->progress - x->started));
}

/* The client of the homework: sends, receives, compares. */
static enum status
send_and_compare(struct exchange *x, const struct settings *set)
{
	bool in_time = exchange_all(x, set->server.timeout);
	bool complete = in_time && all_returned(x), success;
	enum status status = STATUS_OK;
	char why[REASON_SIZE] = "";

	if (in_time)
		receive_surplus(x);
	success = complete && !x->differs && x->surplus == 0;
	if (set->newline && x->input < 0 && (success || x->printed > 0))
		print_reply(x, (const unsigned char *)"\n", 1);
	if (!success)
		status = explain_failure(why, x, in_time, set->server.timeout);
	print_result(x, set, status, why);
	return status;
}

static void
print_connected(const struct exchange *x)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	net_self(x->fd, &self);
	fprintf(stderr, "connected to %s from %s\n", x->server.name,
	    net_name(name, &self.address.any));
}

static void
print_not_connected(const struct exchange *x, const struct settings *set,
    const struct dial_error *why)
{
	if (set->json)
		print_json(x, why->status, why->text);
	else
		warnx("%s", why->text);
}

/* Returns the message for free(3), or NULL if standard input is sent. */
static char *
join_message(int words, char **word)
{
	char *message;

	if (words == 0 || (words == 1 && strcmp(word[0], "-") == 0))
		return NULL;
	message = text_join(word[0], word + 1);
	if (message == NULL)
		err(STATUS_LOCAL, "no memory for the message");
	return message;
}

static void
send_set(void *settings, const struct option_row *row, char *value)
{
	struct settings *set = settings;

	if (dial_set_option(&set->server, row->key, value, 0))
		return;
	if (row->key == 'n')
		set->newline = false;
	else
		set->json = true;
}

static int
send_run(int argc, char **argv)
{
	static struct exchange x;	/* too large for the stack */
	struct settings set = { .newline = true };
	struct address address;
	struct dial_error why;
	enum status status;
	char *message;

	options_parse(argc, argv, &mode_send, send_set, &set);
	address = dial_address("--address", set.server.address,
	    set.server.port, false);
	args_refuse_udp("--address", &address);
	message = join_message(argc - optind, argv + optind);
	x.input = message == NULL ? STDIN_FILENO : -1;
	x.message = message;
	x.message_left = message == NULL ? 0 : strlen(message);
	x.fd = dial_any(&address, set.server.timeout, &x.server, &why);
	if (x.fd < 0) {
		print_not_connected(&x, &set, &why);
		return (int)why.status;
	}
	if (!set.json && (set.server.verbosity > 0 ||
	    (set.server.verbosity == 0 && x.input >= 0 && isatty(x.input))))
		print_connected(&x);
	status = send_and_compare(&x, &set);
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
