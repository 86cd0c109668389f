/*
 * Mode `serve`: its options, and which engine serves.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"
#include "systemd.h"

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
	OPTION_SOCKET_MODE,
	OPTION_NO_SANDBOX
};

/* Groups of options that exclude each other. */
enum { GROUP_ENGINE = 1, GROUP_END };

#define ENGINE(name, text) { OPTION_ENGINE, #name, NULL, NULL, text, \
	GROUP_ENGINE, &engine_##name }

static const struct option_row serve_options[] = {
	OPTIONS_TEXT("\n"
	    "Sends every byte that a client sends back to that client "
	    "(RFC 862), until a\n"
	    "signal stops it.\n"
	    "\n"
	    "engines and processes:"),
	ENGINE(blocking, "one client at a time, 16 bytes at a time"),
	ENGINE(select, "many clients at once, with select(2)"),
	ENGINE(epoll, "any number of clients at once, with epoll(7)"),
	{ OPTION_WORKERS, "workers", "N", "1",
	    "N processes share the clients", 0, NULL },
	{ OPTION_SPIN, "spin", "DURATION", "0", "busy-poll this long after "
	    "the last activity: lower latency, higher processor load", 0,
	    NULL },
	OPTIONS_TEXT("\naddresses:"),
	{ 'a', "address", "ADDRESS", NULL, "HOST, HOST:PORT, [V6]:PORT, "
	    ":PORT, * for all interfaces, unix:/PATH or unix:@NAME "
	    "(abstract); may be repeated (default " ARGS_DEFAULT_HOST ")", 0,
	    NULL },
	{ OPTION_SOCKET_MODE, "socket-mode", "MODE", "600",
	    "file mode of a Unix socket", 0, NULL },
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, "port if ADDRESS has none; "
	    "0: a free port, which the first line of output shows", 0, NULL },
	OPTIONS_TEXT("\nend of a connection:"),
	{ OPTION_MESSAGE, "message", NULL, NULL, "at the client's end of "
	    "file, or at a pause after its first byte", GROUP_END, NULL },
	{ OPTION_STREAM, "stream", NULL, NULL, "at the client's end of file",
	    GROUP_END, NULL },
	{ OPTION_GAP, "gap", "DURATION", "500ms",
	    "length of the pause that ends a message", 0, NULL },
	{ OPTION_IDLE, "idle", "DURATION", NULL, "disconnect a client that "
	    "neither sends nor receives for this long; 0: never", 0, NULL },
	OPTIONS_TEXT("\nlimits:"),
	{ OPTION_CHUNK, "chunk", "SIZE", NULL, "maximum size of one read", 0,
	    NULL },
	{ 'm', "max-clients", "N", NULL, "maximum number of clients at once; "
	    "more wait in the kernel's queue", 0, NULL },
	{ 'n', "count", "N", NULL, "accept N connections, and exit when they "
	    "have ended", 0, NULL },
	{ OPTION_DRAIN, "drain", "DURATION", "5s",
	    "time limit for graceful shutdown", 0, NULL },
	{ OPTION_USER, "user", "NAME", NULL,
	    "drop privileges to NAME after binding (only root can)", 0,
	    NULL },
	{ OPTION_NO_SANDBOX, "no-sandbox", NULL, NULL,
	    "do not restrict system calls (seccomp)", 0, NULL },
	OPTIONS_TEXT("\noutput:"),
	{ OPTION_LOG, "log", "FORMAT", "text", "text, or json: one object per "
	    "line with those of the keys time, event, peer, bytes_in, "
	    "bytes_out, duration_ms, reason, text, clients that fit the "
	    "event", 0, NULL },
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

/* What was asked for; addresses as given, since -p may come after -a. */
struct request {
	struct server server;
	const struct engine *engine;
	int end;			/* OPTION_MESSAGE, OPTION_STREAM or 0 */
	char *addresses[SERVER_LISTENERS];
	int given;
	uint16_t port;
	const char *user;
};

static void
add_address(struct request *r, char *address)
{
	if (r->given == SERVER_LISTENERS)
		args_usage("--address: more than %d", SERVER_LISTENERS);
	r->addresses[r->given++] = address;
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
	struct server *s = &r->server;

	switch (row->key) {
	case 'a':
		add_address(r, value);
		break;
	case 'p':
		r->port = args_port("--port", value, 0);
		break;
	case 'm':
		s->max_clients = args_number("--max-clients", value, 1,
		    1000000);
		break;
	case 'n':
		s->count = args_number("--count", value, 1, INT64_MAX);
		break;
	case 'v':
		s->verbosity = VERBOSE;
		break;
	case 'q':
		s->verbosity = QUIET;
		break;
	case OPTION_MESSAGE:
	case OPTION_STREAM:
		r->end = row->key;
		break;
	case OPTION_GAP:
		s->gap = args_duration("--gap", value, NET_MS);
		break;
	case OPTION_IDLE:
		s->idle = args_duration("--idle", value, 0);
		break;
	case OPTION_CHUNK:
		s->chunk = args_size("--chunk", value, 1, 1024 * 1024);
		break;
	case OPTION_USER:
		r->user = value;
		break;
	case OPTION_LOG:
		s->json = is_json(value);
		break;
	case OPTION_SOCKET_MODE:
		s->socket_mode = args_mode("--socket-mode", value);
		break;
	case OPTION_NO_SANDBOX:
		s->sandbox = false;
		break;
	case OPTION_WORKERS:
		s->workers = (int)args_number("--workers", value, 1,
		    SERVER_WORKERS);
		break;
	case OPTION_SPIN:
		s->spin = args_duration("--spin", value, 0);
		break;
	case OPTION_DRAIN:
		s->drain = args_duration("--drain", value, 0);
		break;
	case OPTION_ENGINE:
		r->engine = row->value;
		break;
	}
}

static const struct engine *const default_engine = &engine_blocking;

static bool
is_engine(const struct option_row *row)
{
	return row->key == OPTION_ENGINE && row->name != NULL;
}

/* "60s, --blocking 10s": that of the last engine, and those that differ. */
static const char *
value_by_engine(int key, char *out, size_t size)
{
	const char *usual = key == OPTION_IDLE ? engine_epoll.idle :
	    engine_epoll.chunk;
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

static void
set_defaults(struct request *r)
{
	struct server *s = &r->server;

	if (r->engine == NULL)
		r->engine = default_engine;
	s->message = r->end == 0 ? r->engine->message :
	    r->end == OPTION_MESSAGE;
	if (s->chunk == 0)
		options_set_default(&mode_serve, OPTION_CHUNK,
		    r->engine->chunk, serve_set, r);
	if (s->idle < 0)
		options_set_default(&mode_serve, OPTION_IDLE, r->engine->idle,
		    serve_set, r);
	if (server_inherit(s) == 0 && r->given == 0) {
		static char host[] = ARGS_DEFAULT_HOST;

		add_address(r, host);
	}
}

static void
become(const char *user)
{
	int error = sandbox_user(user);

	if (error == -ENOENT)
		args_usage("--user: there is no user %s", args_shown(user));
	if (error < 0)
		errx(STATUS_LOCAL, "cannot become the user %s: %s%s",
		    args_shown(user), strerror(-error),
		    error == -EPERM ? " (only root can)" : "");
}

static int
serve_run(int argc, char **argv)
{
	static struct request request = {
		.server = { .idle = -1, .sandbox = true }
	};
	struct address addresses[SERVER_LISTENERS];

	options_parse(argc, argv, &mode_serve, serve_set, &request);
	args_no_operands(argc, argv);
	set_defaults(&request);
	for (int i = 0; i < request.given; i++)
		addresses[i] = args_address("--address", request.addresses[i],
		    request.port, 0);
	for (int i = 0; i < request.given; i++)
		server_listen(&request.server, &addresses[i]);
	if (request.user != NULL)
		become(request.user);
	systemd_open();
	server_open(&request.server);
	return server_run(&request.server, request.engine->run);
}

const struct mode mode_serve = {
	.name = "serve",
	.link = "echo_server",
	.summary = "send back what clients send",
	.synopsis = "[-a ADDRESS]... [-p PORT] [OPTION]...",
	.options = serve_options,
	.default_text = serve_default_text,
	.run = serve_run
};
