#include "start.h"

#include <err.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"
#include "exchange.h"
#include "modes/lib/net.h"
#include "modes/lib/text.h"
#include "port.h"

enum {
	SHOWN_LINES = 12,	/* of the server's output */
	SHOWN_SIZE = 4096,	/* bytes of these lines */
	LAST_SIGNAL = 64	/* the highest that the shell reports as 128+N */
};

/* How long a server may take to start, at least. */
static const int64_t MIN_TIMEOUT = 10 * NET_SECOND;

/* The interval between two attempts to find a server that starts. */
static const int64_t LOOK_INTERVAL = 20 * NET_MS;

/* The same if each attempt has to search the list of all connections. */
static const int64_t SEARCH_INTERVAL = 200 * NET_MS;

/* How long the server may take to end after SIGTERM. */
static const int64_t TERM_WAIT = NET_SECOND;

/* How long the server may take to end after the test that ends it. */
static const int64_t DEATH_WAIT = 100 * NET_MS;

/* The same if it has no listener any more. */
static const int64_t NO_LISTENER_WAIT = 2 * NET_SECOND;

static struct command server_command;	/* the last one */
static uint16_t listener_port;	/* its TCP port; 0: not seen to be listening */

void
start_prepare(struct start *start)
{
	if (start->timeout < MIN_TIMEOUT)
		start->timeout = MIN_TIMEOUT;
	if (start->address.port == 0 &&
	    strstr(start->command, "{port}") == NULL)
		start->address.port = args_port("--port", ARGS_DEFAULT_PORT, 1);
}

/* The command for a server at that address. Returns a string for free(3). */
static char *
expand_command(const struct start *start, const struct address *address)
{
	char port[8], *line;
	const struct command_word words[] = { { "{host}", address->host ==
	    NULL ? ARGS_DEFAULT_HOST : address->host }, { "{port}", port },
	    { NULL, NULL } };

	snprintf(port, sizeof(port), "%u", address->port);
	if ((line = command_substitute(start->command, words)) == NULL)
		err(STATUS_LOCAL, "no memory for the command");
	return line;
}

/* Connects to the address or, without a host, to 127.0.0.1 or ::1. */
static int
connect_to_address(const struct address *address, int64_t timeout,
    struct dial_server *server, struct dial_error *why)
{
	struct address v4 = { ARGS_DEFAULT_HOST, address->port,
	    address->is_udp };
	struct address v6 = { "::1", address->port, address->is_udp };
	struct dial_error ignored;
	struct dial_server other = { .name = "" };
	int fd;

	if (address->host != NULL)
		return exchange_dial(address, timeout, server, why);
	fd = exchange_dial(&v4, timeout, server, why);
	if (fd < 0 && (fd = exchange_dial(&v6, timeout, &other, &ignored)) >= 0)
		*server = other;
	return fd;
}

/*
 * Whether an attempt to connect before the server listens can do harm: the
 * system could give the client the same port that the server needs (see
 * dial_connect()). If so, check first searches the list of connections, and
 * connects only if a server may be listening.
 */
static bool
is_search_needed(const struct address *address)
{
	return address->host == NULL && !address->is_udp &&
	    port_is_for_clients(address->port);
}

/* Tries to connect until the server accepts, has ended, or is late. */
static int
connect_when_ready(const struct address *address, int64_t timeout,
    struct dial_server *server, struct dial_error *why)
{
	bool search = is_search_needed(address);
	int64_t until = net_now() + timeout, left;
	int fd = -1;

	why->status = STATUS_REFUSED;
	why->error = ECONNREFUSED;
	while (fd < 0 && why->error != ECONNRESET &&
	    (left = until - net_now()) > 0) {
		bool ended = command_has_ended(&server_command, 0);

		if (!search || port_is_listening(address->port) != 0)
			fd = connect_to_address(address, left, server, why);
		if (fd < 0 && (ended || command_has_ended(&server_command,
		    search ? SEARCH_INTERVAL : LOOK_INTERVAL)))
			break;
	}
	return fd;
}

static int
fail_to_start(struct dial_error *why, enum status status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static int
fail_to_start(struct dial_error *why, enum status status, const char *fmt, ...)
{
	va_list ap;

	why->status = status;
	why->error = 0;
	va_start(ap, fmt);
	vsnprintf(why->text, START_SIZE, fmt, ap);
	va_end(ap);
	return -1;
}

/* Whether the port of that address is in TIME_WAIT. */
static bool
is_port_waiting(const struct address *address)
{
	return !address->is_udp && (address->host == NULL ||
	    !net_is_unix(address->host)) && port_is_waiting(address->port);
}

/* The words for the event that shows that a server has started. */
static const char *
first_event(const struct address *address)
{
	return address->is_udp ? "answer a datagram" : "accept a connection";
}

/* Why the server has not accepted a connection. */
static void
explain_no_server(const struct start *start, const struct address *address,
    struct dial_error *why)
{
	bool fixed = strstr(start->command, "{port}") == NULL;
	char end[START_SIZE], time[TEXT_TIME];

	if (!command_has_ended(&server_command, 0))
		fail_to_start(why, STATUS_TIMEOUT, "the server did not %s at "
		    "%s%s%u within %s%s", first_event(address),
		    address->host == NULL ? "" : address->host,
		    address->host == NULL ? "port " : ", port ",
		    address->port, text_time(time, start->timeout), fixed ?
		    " (-p gives the port that it listens on)" : "");
	else if (is_port_waiting(address))
		fail_to_start(why, STATUS_LOCAL, "port %u is in TIME_WAIT "
		    "for up to a minute, and the server does not set "
		    "SO_REUSEADDR", address->port);
	else	/* the server failed to start; it has not refused a client */
		fail_to_start(why, STATUS_NO, "the server %s before it "
		    "%s", start_end_text(end), address->is_udp ?
		    "answered a datagram" : "accepted a connection");
}

/* Whether a program has the UDP port at an IPv4 address. */
static bool
is_udp_port_used(uint16_t port)
{
	struct net_peer any = { .size = sizeof(any.address.v4) };
	int fd;

	any.address.v4.sin_family = AF_INET;
	net_set_port(&any.address.any, port);
	if ((fd = net_bind_udp(&any.address.any, any.size)) >= 0)
		close(fd);
	return fd == -EADDRINUSE;
}

/* Does the same as prepare_port() for UDP, which has no TIME_WAIT. */
static int
prepare_udp_port(struct address *address, struct dial_error *why)
{
	bool is_given = address->port != 0;

	if (!is_given)
		do
			address->port = port_choose();
		while (address->port != 0 && is_udp_port_used(address->port));
	if (address->port == 0)
		return fail_to_start(why, STATUS_LOCAL, "no free port");
	if (is_given && address->host == NULL &&
	    is_udp_port_used(address->port))
		return fail_to_start(why, STATUS_LOCAL, "another program has "
		    "UDP port %u", address->port);
	return 0;
}

/* Chooses the port, or prepares the given one. Returns 0, or -1 and why. */
static int
prepare_port(struct address *address, struct dial_error *why)
{
	bool is_given = address->port != 0;

	if (!is_given && (address->port = port_choose()) == 0)
		return fail_to_start(why, STATUS_LOCAL, "no free port");
	if (!is_given || address->host != NULL)
		return 0;
	port_clear(address->port);
	if (port_is_taken(address->port))
		return fail_to_start(why, STATUS_LOCAL, "another program "
		    "listens on port %u", address->port);
	return 0;
}

int
start_server(const struct start *start, struct dial_server *server,
    struct dial_error *why)
{
	struct address address = start->address;
	struct keeper_plan plan = { .may_detach = true, .grace = TERM_WAIT };
	char *line;
	int fd, error;

	command_stop(&server_command);
	command_free(&server_command);
	if ((address.is_udp ? prepare_udp_port : prepare_port)(&address,
	    why) < 0)
		return -1;
	plan.line = line = expand_command(start, &address);
	error = command_start(&server_command, &plan);
	free(line);
	if (error < 0)
		return fail_to_start(why, STATUS_LOCAL, "cannot start the "
		    "server: %s", strerror(-error));
	fd = connect_when_ready(&address, start->timeout, server, why);
	listener_port = !address.is_udp &&
	    port_is_listening(address.port) == 1 ? address.port : 0;
	if (fd < 0 && why->error != ECONNRESET) {
		explain_no_server(start, &address, why);
		command_stop(&server_command);
	}
	return fd;
}

bool
start_has_ended(int64_t ns)
{
	return command_has_ended(&server_command, ns);
}

bool
start_has_died(void)
{
	int64_t until = net_now() + NO_LISTENER_WAIT;
	bool ended = start_has_ended(DEATH_WAIT);

	while (!ended && listener_port != 0 &&
	    port_is_listening(listener_port) == 0) {
		ended = start_has_ended(LOOK_INTERVAL);
		if (net_now() >= until)
			listener_port = 0;	/* it runs without a listener */
	}
	return ended;
}

const char *
start_end_text(char out[START_SIZE])
{
	int status = command_status(&server_command), sig = status - 128;

	if (sig > 0 && sig <= LAST_SIGNAL)
		snprintf(out, START_SIZE, "was killed by signal %d (%s)", sig,
		    strsignal(sig));
	else
		snprintf(out, START_SIZE, "ended with exit status %d",
		    status);
	return out;
}

/* Returns the beginning of the last lines, which have at most SHOWN_SIZE. */
static const char *
last_lines(const struct keeper_output *output)
{
	const char *end = output->data + output->size, *at = end;
	const char *first = output->size > SHOWN_SIZE ? end - SHOWN_SIZE :
	    output->data;
	int lines = 0;

	while (at > first && lines < SHOWN_LINES)
		lines += *--at == '\n' && at < end - 1;
	return lines == SHOWN_LINES ? at + 1 : at;
}

/*
 * Prints the lines that are not empty, each after the prefix. If the first line
 * is indented, prints "[...]" before it, because a YAML block ends at the first
 * line that has less indentation than its first line.
 */
static void
print_lines(const char *prefix, const char *line, const char *end)
{
	char safe[SHOWN_SIZE + 1];

	if (line < end && (*line == ' ' || *line == '\t'))
		printf("%s[...]\n", prefix);
	while (line < end) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		size_t n = (size_t)((newline != NULL ? newline : end) - line);

		if (*text_safe_line(safe, line, n) != '\0')
			printf("%s%s\n", prefix, safe);
		line += n + 1;
	}
}

/* Returns the stream of the server to show, and its name; NULL: no output. */
static const struct keeper_output *
shown_output(const char **name)
{
	const struct keeper_record *record = server_command.record;

	if (record == NULL)
		return NULL;
	*name = record->err.size > 0 ? "stderr" : "stdout";
	if (record->err.size > 0)
		return &record->err;
	return record->out.size > 0 ? &record->out : NULL;
}

static void
print_shown_output(const char *prefix, const struct keeper_output *output)
{
	print_lines(prefix, last_lines(output), output->data + output->size);
}

void
start_print_yaml(void)
{
	const char *name;
	const struct keeper_output *output = shown_output(&name);

	if (output == NULL)
		return;
	printf("  %s: |\n", name);
	print_shown_output("    ", output);
}

void
start_print_comments(void)
{
	const struct keeper_record *record = server_command.record;

	if (record == NULL)
		return;
	print_shown_output("# ", &record->out);
	print_shown_output("# ", &record->err);
}

void
start_stop(void)
{
	command_stop(&server_command);
}
