/*
 * Mode `serve`: its options.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "inetd.h"
#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "modes/mode.h"
#include "reply_rate.h"
#include "sandbox.h"
#include "server.h"
#include "systemd.h"
#include "workers.h"

enum option_key {
	OPTION_ENGINE = OPTIONS_LONG,
	OPTION_MESSAGE,
	OPTION_STREAM,
	OPTION_GAP,
	OPTION_IDLE,
	OPTION_CHUNK,
	OPTION_DRAIN,
	OPTION_WORKERS,
	OPTION_SPIN,
	OPTION_USER,
	OPTION_LOG,
	OPTION_INETD,
	OPTION_PROXY_PROTOCOL,
	OPTION_SOCKET_MODE,
	OPTION_ANY_SOURCE,
	OPTION_TTL,
	OPTION_REPLY_RATE,
	OPTION_NO_SANDBOX
};

/* Groups of options that exclude each other. */
enum { GROUP_ENGINE = 1, GROUP_END };

#define ENGINE(name, text) { OPTION_ENGINE, #name, NULL, NULL, text, \
	GROUP_ENGINE, &engine_##name }

static const struct option_row serve_options[] = {
	OPTIONS_TEXT("\n"
	    "Sends every byte and every datagram that a client sends back to "
	    "that client\n"
	    "(RFC 862), until a signal stops it.\n"
	    "\n"
	    "engines and processes:"),
	ENGINE(blocking, "one client at a time, 16 bytes at a time"),
	ENGINE(select, "many clients at once, with select(2)"),
	ENGINE(epoll, "any number of clients at once, with epoll(7)"),
	ENGINE(kqueue, "any number of clients at once, with kqueue(2)"),
	ENGINE(uring, "any number of clients at once, with io_uring(7) of Linux "
	    "6.1 and later"),
	{ OPTION_WORKERS, "workers", "N", "1",
	    "N processes share the clients", 0, NULL },
	{ OPTION_SPIN, "spin", "DURATION", "0", "busy-poll this long after "
	    "the last activity: lower latency, higher processor load", 0,
	    NULL },
	OPTIONS_TEXT("\naddresses:"),
	{ 'a', "address", "ADDRESS", NULL, "HOST, HOST:PORT, [V6]:PORT, "
	    ":PORT, * for all interfaces, with tcp: or udp: before it, "
	    "unix:/PATH or unix:@NAME (abstract); may be repeated (default " ARGS_DEFAULT_HOST ")", 0,
	    NULL },
	{ OPTION_SOCKET_MODE, "socket-mode", "MODE", "600",
	    "file mode of a Unix socket", 0, NULL },
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, "port if ADDRESS has none; "
	    "0: a free port, which the first line of output shows", 0, NULL },
	{ 'u', "udp", NULL, NULL, "UDP if ADDRESS has no tcp: or udp: before "
	    "it", 0, NULL },
	{ OPTION_INETD, "inetd", NULL, NULL, "serve the connection on standard "
	    "input, as inetd, xinetd, tcpserver and systemd pass it, and exit; "
	    "the default is then --stream with --select", 0, NULL },
	{ OPTION_PROXY_PROTOCOL, "proxy-protocol", NULL, NULL, "each connection "
	    "begins with a PROXY header, version 1 or 2, from a load balancer; "
	    "the log has the address of the client in it", 0, NULL },
	OPTIONS_TEXT("\nend of a connection:"),
	{ OPTION_MESSAGE, "message", NULL, NULL, "at the client's end of "
	    "file, or at a pause after its first byte", GROUP_END, NULL },
	{ OPTION_STREAM, "stream", NULL, NULL, "at the client's end of file",
	    GROUP_END, NULL },
	{ OPTION_GAP, "gap", "DURATION", "500ms",
	    "length of the pause that ends a message", 0, NULL },
	{ OPTION_IDLE, "idle", "DURATION", NULL, "disconnect a client that "
	    "neither sends nor receives for this long; 0: never", 0, NULL },
	OPTIONS_TEXT("\ndatagrams (UDP):"),
	{ OPTION_ANY_SOURCE, "any-source", NULL, NULL, "answer every source "
	    "port except 0, also one below 1024 or of this server", 0, NULL },
	{ OPTION_TTL, "ttl", "N", NULL, "TTL (hop limit) of every reply, "
	    "instead of one less than that of the datagram", 0, NULL },
	{ OPTION_REPLY_RATE, "reply-rate", "N", NULL, "maximum number of "
	    "replies per second to one address", 0, NULL },
	OPTIONS_TEXT("\nlimits:"),
	{ OPTION_CHUNK, "chunk", "SIZE", NULL, "maximum size of one read", 0,
	    NULL },
	{ 'm', "max-clients", "N", NULL, "maximum number of clients at once; "
	    "more wait in the kernel's queue", 0, NULL },
	{ 'n', "count", "N", NULL, "accept N connections "
	    "or datagrams, and exit when they have ended", 0, NULL },
	{ OPTION_DRAIN, "drain", "DURATION", "5s",
	    "time limit for graceful shutdown", 0, NULL },
	{ OPTION_USER, "user", "NAME", NULL,
	    "drop privileges to NAME after binding (only root can)", 0,
	    NULL },
	{ OPTION_NO_SANDBOX, "no-sandbox", NULL, NULL,
	    "do not restrict system calls (seccomp)", 0, NULL },
	OPTIONS_TEXT("\noutput:"),
	{ OPTION_LOG, "log", "FORMAT", "text", "text, or json: one object per "
	    "line, with the keys that apply to the event, of time, event, "
	    "peer, via, bytes_in, bytes_out, duration_ms, reason, text, clients, "
	    "datagrams, datagram_bytes, refused, dropped", 0, NULL },
	{ 'v', "verbose", NULL, NULL, "also log each read", 0, NULL },
	{ 'q', "quiet", NULL, NULL, "log only warnings", 0, NULL },
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds. SIZE: 16, "
	    "64k, 1M.\n"
	    "\n"
	    "signals:\n"
	    "  TERM, INT  stop accepting connections, finish existing ones, exit "
	    "with 0;\n"
	    "             a second signal exits at once, with 1\n"
	    "  USR1       print the totals so far"),
	OPTIONS_END
};

/* Addresses are kept as given, because -p may follow -a. */
struct request {
	struct server server;
	int end;			/* OPTION_MESSAGE, OPTION_STREAM or 0 */
	char *addresses[LISTENERS_MAX];
	int address_count;
	uint16_t port;
	bool is_udp;			/* addresses without tcp: or udp: are */
	const char *user;
};

static void
add_address(struct request *r, char *address)
{
	if (r->address_count == LISTENERS_MAX)
		args_usage("--address: more than %d", LISTENERS_MAX);
	r->addresses[r->address_count++] = address;
}

/* Whether the row is that of an engine that this system has. */
static bool
is_engine(const struct option_row *row)
{
	const struct engine *engine = row->value;

	return row->key == OPTION_ENGINE && engine->run != NULL;
}

static const struct engine *
available_engine(const struct option_row *wanted)
{
	char list[128] = "";
	size_t n = 0;

	if (is_engine(wanted))
		return wanted->value;
	for (const struct option_row *row = serve_options;
	    row->key != 'V' && n < sizeof(list); row++)
		if (is_engine(row))
			n += (size_t)snprintf(list + n, sizeof(list) - n,
			    "%s--%s", n > 0 ? ", " : "", row->name);
	args_usage("--%s: this system does not have it; it has %s",
	    wanted->name, list);
}

static bool
is_json(const char *format)
{
	if (strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
		args_usage("--log: %s is not text or json",
		    args_shown(format));
	return strcmp(format, "json") == 0;
}

static void
serve_set(void *settings, const struct option_row *row, char *value)
{
	struct request *r = settings;
	struct server_options *o = &r->server.options;

	switch (row->key) {
	case 'a':
		add_address(r, value);
		break;
	case 'p':
		r->port = args_port("--port", value, 0);
		break;
	case 'u':
		r->is_udp = true;
		break;
	case 'm':
		o->max_clients = args_number("--max-clients", value, 1,
		    1000000);
		break;
	case 'n':
		o->count = args_number("--count", value, 1, INT64_MAX);
		break;
	case 'v':
		o->log_level = LOG_READS;
		break;
	case 'q':
		o->log_level = LOG_WARNINGS;
		break;
	case OPTION_MESSAGE:
	case OPTION_STREAM:
		r->end = row->key;
		break;
	case OPTION_GAP:
		o->client.gap = args_duration("--gap", value, NET_MS);
		break;
	case OPTION_IDLE:
		o->client.idle = args_duration("--idle", value, 0);
		break;
	case OPTION_CHUNK:
		o->client.chunk = args_size("--chunk", value, 1, 1024 * 1024);
		break;
	case OPTION_USER:
		r->user = value;
		break;
	case OPTION_LOG:
		o->log_json = is_json(value);
		break;
	case OPTION_INETD:
		r->server.is_inetd = true;
		break;
	case OPTION_PROXY_PROTOCOL:
		o->client.proxy = true;
		break;
	case OPTION_SOCKET_MODE:
		o->socket_mode = args_mode("--socket-mode", value);
		break;
	case OPTION_ANY_SOURCE:
		o->datagram.any_source = true;
		break;
	case OPTION_TTL:
		o->datagram.ttl = (int)args_number("--ttl", value, 1, 255);
		break;
	case OPTION_REPLY_RATE:
		o->datagram.reply_rate = (uint32_t)args_number("--reply-rate",
		    value, 1, REPLY_RATE_MAX);
		break;
	case OPTION_NO_SANDBOX:
		o->sandbox = false;
		break;
	case OPTION_WORKERS:
		o->workers = (int)args_number("--workers", value, 1,
		    WORKERS_MAX);
		break;
	case OPTION_SPIN:
		o->spin = args_duration("--spin", value, 0);
		break;
	case OPTION_DRAIN:
		o->drain = args_duration("--drain", value, 0);
		break;
	case OPTION_ENGINE:
		r->server.engine = available_engine(row);
		break;
	}
}

static const struct engine *const default_engine = &engine_blocking;

/* This engine serves bulk streams well, and exists on every system. */
static const struct engine *const default_inetd_engine = &engine_select;

/* "60s, --blocking 10s": the default of most engines, and the exceptions. */
static const char *
value_by_engine(int key, char *out, size_t size)
{
	const char *usual = key == OPTION_IDLE ? engine_select.idle :
	    engine_select.chunk;
	size_t n = (size_t)snprintf(out, size, "%s", usual);

	for (const struct option_row *row = serve_options;
	    row->key != 'V' && n < size; row++) {
		const struct engine *engine = row->value;
		const char *own;

		if (!is_engine(row))
			continue;
		own = key == OPTION_IDLE ? engine->idle : engine->chunk;
		if (strcmp(own, usual) != 0)
			n += (size_t)snprintf(out + n, size - n, ", --%s %s",
			    row->name, own);
	}
	return out;
}

/* "with --select, --epoll": the engines that have --message, or --stream. */
static const char *
engines_with(bool message, char *out, size_t size)
{
	const char *before = "with";
	size_t n = 0;

	for (const struct option_row *row = serve_options;
	    row->key != 'V' && n < size; row++) {
		const struct engine *engine = row->value;

		if (!is_engine(row) || engine->message != message)
			continue;
		n += (size_t)snprintf(out + n, size - n, "%s --%s", before,
		    row->name);
		before = ",";
	}
	return out;
}

static bool
serve_has_option(const struct option_row *row)
{
	switch (row->key) {
	case OPTION_ENGINE:
		return is_engine(row);
	case OPTION_NO_SANDBOX:
		return sandbox_exists;
	default:
		return true;
	}
}

/* The defaults that depend on the engine, and the engine that is the default. */
static const char *
serve_default_text(const struct option_row *row, char *out, size_t size)
{
	switch (row->key) {
	case OPTION_ENGINE:
		return row->value == default_engine ? "" : NULL;
	case OPTION_IDLE:
	case OPTION_CHUNK:
		return value_by_engine(row->key, out, size);
	case OPTION_MESSAGE:
	case OPTION_STREAM:
		return engines_with(row->key == OPTION_MESSAGE, out, size);
	default:
		return NULL;
	}
}

/*
 * With --inetd, the server accepts no connections. It logs only with --verbose,
 * and only if standard error is not a socket.
 */
static void
set_inetd_defaults(struct server_options *o)
{
	o->count = 1;
	if (o->log_level != LOG_READS || inetd_is_redirected())
		o->log_level = LOG_WARNINGS;
}

static void
set_defaults(struct request *r)
{
	struct server *s = &r->server;
	struct client_options *o = &s->options.client;

	if (s->engine == NULL)
		s->engine = s->is_inetd ? default_inetd_engine :
		    default_engine;
	o->message = r->end == 0 ? s->engine->message && !s->is_inetd :
	    r->end == OPTION_MESSAGE;
	if (o->chunk == 0)
		options_set_default(&mode_serve, OPTION_CHUNK,
		    s->engine->chunk, serve_set, r);
	if (o->idle < 0)
		options_set_default(&mode_serve, OPTION_IDLE, s->engine->idle,
		    serve_set, r);
	if (s->is_inetd)
		set_inetd_defaults(&s->options);
	else if (listener_inherit(&s->listeners) == 0 &&
	    r->address_count == 0) {
		static char host[] = ARGS_DEFAULT_HOST;

		add_address(r, host);
	}
}

static void
drop_privileges(const char *user)
{
	int error = sandbox_user(user);

	if (error == -ENOENT)
		args_usage("--user: there is no user %s", args_shown(user));
	if (error < 0)
		errx(STATUS_LOCAL, "cannot become the user %s: %s%s",
		    args_shown(user), strerror(-error),
		    error == -EPERM ? " (only root can)" : "");
}

/*
 * Prepares the connection on standard input for --inetd. It is not an error if
 * the connection has ended before the server runs.
 */
static void
take_connection(struct request *r)
{
	struct server *s = &r->server;
	int error;

	if (r->address_count > 0 || r->is_udp || s->options.workers > 1)
		args_usage("--inetd excludes --address, --udp and --workers");
	inetd_redirect();
	error = net_take_connection(STDIN_FILENO, &s->inetd_peer);
	if (error == -ENOTCONN)
		exit(STATUS_OK);
	if (error == -EINVAL)
		args_usage("--inetd: standard input is a listening socket, "
		    "not a connection: write nowait in inetd.conf, wait = no "
		    "in xinetd.conf, or Accept=yes for systemd");
	if (error < 0)
		args_usage("--inetd: standard input is not a connection: %s",
		    strerror(-error));
}

/*
 * Parses the command line. If standard input is a connection, it is the
 * connection of a client, and no error message must be sent to this client.
 */
static void
serve_parse(int argc, char **argv, struct request *r)
{
	bool has_client = net_is_connection(STDIN_FILENO);

	if (has_client)
		inetd_redirect();
	options_parse(argc, argv, &mode_serve, serve_set, r);
	args_no_operands(argc, argv);
	if (r->server.is_inetd)
		take_connection(r);
	else if (has_client)
		errx(STATUS_USAGE, "standard input is a connection of a client "
		    "(see --inetd)");
}

/*
 * Makes err(3) write each line by one write(2), so that the lines of several
 * workers do not mix.
 */
static void
write_whole_lines(void)
{
	static char line[1024];

	setvbuf(stderr, line, _IOLBF, sizeof(line));
}

static int
serve_run(int argc, char **argv)
{
	static struct request request = { .server.options = {
	    .client.idle = -1, .sandbox = true } };
	struct server *s = &request.server;
	struct address addresses[LISTENERS_MAX];

	write_whole_lines();
	serve_parse(argc, argv, &request);
	set_defaults(&request);
	for (int i = 0; i < request.address_count; i++)
		addresses[i] = args_address("--address", request.addresses[i],
		    request.port, 0, request.is_udp);
	log_open(s->options.log_level, s->options.log_json);
	for (int i = 0; i < request.address_count; i++)
		listener_open(&s->listeners, &addresses[i],
		    s->options.socket_mode);
	if (request.user != NULL)
		drop_privileges(request.user);
	systemd_open();
	server_open(s);
	return workers_run(s);
}

const struct mode mode_serve = {
	.name = "serve",
	.link = "echo_server",
	.summary = "send back what clients send",
	.synopsis = "[-a ADDRESS]... [-p PORT] [OPTION]...",
	.options = serve_options,
	.default_text = serve_default_text,
	.has_option = serve_has_option,
	.run = serve_run
};
