/*
 * Mode `send`: sends a message or standard input to an echo server, prints the
 * reply, and compares it byte by byte. stream.c contains this for TCP and Unix
 * sockets, datagram.c for UDP.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datagram.h"
#include "exchange.h"
#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "proxy_header.h"
#include "stream.h"

/* A datagram of this size needs no fragments on most networks. */
enum { DEFAULT_DATAGRAM = 1400 };

enum {
	OPTION_JSON = OPTIONS_LONG,
	OPTION_SIZE,
	OPTION_RETRIES,
	OPTION_PROXY_PROTOCOL
};

static const struct option_row send_options[] = {
	OPTIONS_TEXT("\n"
	    "Sends the words of MESSAGE, joined by spaces, to an echo server, "
	    "prints the\n"
	    "reply, and reports whether it is identical. Without MESSAGE, or "
	    "with -, sends\n"
	    "standard input, of any size (on a terminal, Ctrl-D ends it).\n"),
	DIAL_OPTIONS(DIAL_ADDRESS_FORMS ", tcp: or udp: may precede it", "time limit to connect, and then to "
	    "receive the next byte, or the reply to a datagram; 0: no limit"),
	DIAL_UDP("UDP if ADDRESS has no tcp: or udp: before it; MESSAGE is "
	    "one datagram"),
	{ OPTION_SIZE, "size", "SIZE", NULL, "with UDP: send standard input in "
	    "datagrams of SIZE bytes, one after the other", 0, NULL },
	{ OPTION_RETRIES, "retries", "N", NULL, "with UDP: send a datagram up "
	    "to N more times if there is no reply", 0, NULL },
	{ OPTION_PROXY_PROTOCOL, "proxy-protocol", "VERSION", NULL, "send a PROXY "
	    "header first, version v1 or v2, with the addresses of the "
	    "connection", 0, NULL },
	{ 'n', "no-newline", NULL, NULL,
	    "print no newline after the reply to MESSAGE", 0, NULL },
	{ OPTION_JSON, "json", NULL, NULL, "report the result as a JSON "
	    "object with the keys server, sent, returned, identical, "
	    "duration_ms, status, reason", 0, NULL },
	DIAL_VERBOSITY("also print the addresses of the connection",
	    "print only errors"),
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds. "
	    "SIZE: 512, 8k."),
	OPTIONS_END
};

struct settings {
	struct dial_options server;
	bool newline;
	const char *udp_option;		/* a given option for UDP only */
	int proxy_version;		/* of the PROXY header; 0: none */
	struct datagram_plan plan;
};

/* The defaults of the options for UDP, for --help. */
static const char *
send_default_text(const struct option_row *row, char *out, size_t size)
{
	if (row->key == OPTION_RETRIES)
		return "0";
	if (row->key != OPTION_SIZE)
		return NULL;
	snprintf(out, size, "%d", DEFAULT_DATAGRAM);
	return out;
}

static void
print_connected(const struct exchange *x, bool is_udp)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	net_self(x->fd, &self);
	fprintf(stderr, "%s %s from %s\n",
	    is_udp ? "sending to" : "connected to", x->server.name,
	    (is_udp ? net_udp_name : net_name)(name, &self.address.any));
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

static int
parse_proxy_version(const char *value)
{
	if (strcmp(value, "v1") != 0 && strcmp(value, "v2") != 0)
		args_usage("--proxy-protocol: %s is not v1 or v2",
		    args_shown(value));
	return value[1] - '0';
}

static void
send_set(void *settings, const struct option_row *row, char *value)
{
	struct settings *set = settings;

	if (dial_set_option(&set->server, row->key, value, 0))
		return;
	switch (row->key) {
	case 'n':
		set->newline = false;
		return;
	case OPTION_JSON:
		set->plan.is_json = true;
		return;
	case OPTION_PROXY_PROTOCOL:
		set->proxy_version = parse_proxy_version(value);
		return;
	case OPTION_SIZE:
		set->plan.size = args_size("--size", value, 1,
		    NET_DATAGRAM_MAX);
		break;
	case OPTION_RETRIES:
		set->plan.retries = args_number("--retries", value, 0,
		    INT32_MAX);
	}
	set->udp_option = row->name;
}

/* Exits with STATUS_USAGE if a datagram to the server cannot be so large. */
static void
check_datagram_size(const struct exchange *x, const struct settings *set)
{
	size_t limit = datagram_limit(&x->server.peer);

	if (x->message_left > limit)
		args_usage("MESSAGE has %zu bytes; a datagram to %s has at "
		    "most %zu", x->message_left, x->server.name, limit);
	if (set->plan.size > limit)
		args_usage("--size: a datagram to %s has at most %zu bytes, "
		    "not %zu", x->server.name, limit, set->plan.size);
}

/*
 * Sends the PROXY header. If sending fails, the following exchange finds the
 * error of the connection.
 */
static void
send_proxy_header(const struct exchange *x, int version)
{
	unsigned char header[PROXY_HEADER_MAX];
	struct pollfd writable = { x->fd, POLLOUT, 0 };
	int64_t timeout = x->timeout == 0 ? NET_FOREVER : x->timeout;
	struct net_peer self;
	size_t size, sent = 0;

	net_self(x->fd, &self);
	size = proxy_header_write(header, version, &self, &x->server.peer);
	while (sent < size) {
		ssize_t n = net_send(x->fd, header + sent, size - sent, false);

		if (n > 0)
			sent += (size_t)n;
		else if ((n != -EAGAIN && n != -EINTR) ||
		    net_poll(&writable, 1, timeout) <= 0)
			return;
	}
}

/* Sends, receives and compares on a connected socket. */
static void
send_connected(struct exchange *x, const struct settings *set, bool is_udp)
{
	bool is_terminal = x->input >= 0 && isatty(x->input);

	if (is_udp)
		check_datagram_size(x, set);
	if (!set->plan.is_json && (set->server.verbosity > 0 ||
	    (set->server.verbosity == 0 && is_terminal)))
		print_connected(x, is_udp);
	if (set->proxy_version != 0)
		send_proxy_header(x, set->proxy_version);
	if (is_udp)
		datagram_exchange(x, &set->plan);
	else
		stream_exchange(x);
	if (set->newline && x->input < 0 &&
	    (x->status == STATUS_OK || x->printed > 0))
		exchange_print(x, "\n", 1);
	exchange_report(x, set->plan.is_json, set->server.verbosity);
	close(x->fd);
}

static void
report_no_connection(struct exchange *x, const struct settings *set,
    const struct dial_error *why)
{
	x->status = why->status;
	snprintf(x->why, sizeof(x->why), "%s", why->text);
	if (set->plan.is_json)
		exchange_report(x, true, set->server.verbosity);
	else
		warnx("%s", why->text);
}

static int
send_run(int argc, char **argv)
{
	struct exchange x = { .input = -1 };
	struct settings set = { .newline = true };
	struct address address;
	struct dial_error why;
	char *message;

	options_parse(argc, argv, &mode_send, send_set, &set);
	address = dial_address("--address", set.server.address,
	    set.server.port, set.server.is_udp);
	if (set.udp_option != NULL && !address.is_udp)
		args_usage("--%s is an option of UDP (-u)", set.udp_option);
	if (set.proxy_version != 0 && address.is_udp)
		args_usage("--proxy-protocol: datagrams have no PROXY header");
	if (set.plan.size == 0)
		set.plan.size = DEFAULT_DATAGRAM;
	message = join_message(argc - optind, argv + optind);
	x.timeout = set.server.timeout;
	x.input = message == NULL ? STDIN_FILENO : -1;
	x.message = message;
	x.message_left = message == NULL ? 0 : strlen(message);
	x.fd = dial_any(&address, x.timeout, &x.server, &why);
	if (x.fd < 0)
		report_no_connection(&x, &set, &why);
	else
		send_connected(&x, &set, address.is_udp);
	free(message);
	return (int)x.status;
}

const struct mode mode_send = {
	.name = "send",
	.link = "echo_client",
	.summary = "send a message, print the reply",
	.synopsis = "[-u] [-a ADDRESS] [-p PORT] [OPTION]... [MESSAGE]...",
	.options = send_options,
	.default_text = send_default_text,
	.run = send_run
};
