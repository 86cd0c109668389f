/*
 * Mode `serve`: its options, and which engine serves.
 */
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/args.h"
#include "engine.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"
#include "systemd.h"

/* A way to wait, and what it takes to be meant unless the user says more. */
struct way {
	const char *name;
	void (*run)(struct server *);
	bool message;
	size_t chunk;
	int64_t idle;
};

static const struct way ways[] = {
	{ "blocking", blocking_run, true, 16, 10 * NET_SECOND },
	{ "select", select_run, false, 65536, 60 * NET_SECOND },
	{ "epoll", epoll_run, false, 65536, 60 * NET_SECOND }
};

enum { WAYS = sizeof(ways) / sizeof(*ways) };

enum option_value {
	OPTION_WAY = 256,	/* and one for each way */
	OPTION_MESSAGE = OPTION_WAY + 32,
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

static const struct option longs[] = {
	{ "blocking", no_argument, NULL, OPTION_WAY },
	{ "select", no_argument, NULL, OPTION_WAY + 1 },
	{ "epoll", no_argument, NULL, OPTION_WAY + 2 },
	{ "address", required_argument, NULL, 'a' },
	{ "port", required_argument, NULL, 'p' },
	{ "message", no_argument, NULL, OPTION_MESSAGE },
	{ "stream", no_argument, NULL, OPTION_STREAM },
	{ "gap", required_argument, NULL, OPTION_GAP },
	{ "idle", required_argument, NULL, OPTION_IDLE },
	{ "chunk", required_argument, NULL, OPTION_CHUNK },
	{ "drain", required_argument, NULL, OPTION_DRAIN },
	{ "workers", required_argument, NULL, OPTION_WORKERS },
	{ "spin", required_argument, NULL, OPTION_SPIN },
	{ "user", required_argument, NULL, OPTION_USER },
	{ "log", required_argument, NULL, OPTION_LOG },
	{ "socket-mode", required_argument, NULL, OPTION_SOCKET_MODE },
	{ "no-sandbox", no_argument, NULL, OPTION_NO_SANDBOX },
	{ "max-clients", required_argument, NULL, 'm' },
	{ "count", required_argument, NULL, 'n' },
	{ "verbose", no_argument, NULL, 'v' },
	{ "quiet", no_argument, NULL, 'q' },
	ARGS_COMMON
};

static const char usage[] =
"usage: echo serve [--blocking | --select | --epoll] [-a ADDRESS]...\n"
"                  [-p PORT] [OPTION]...\n"
"\n"
"Sends back every byte that a client sends (RFC 862), until stopped.\n"
"\n"
"how to wait:\n"
"      --blocking         one client at a time, 16 bytes at a time (default)\n"
"      --select           many clients at once, with select(2)\n"
"      --epoll            any number of clients at once, with epoll(7)\n"
"      --workers=N        N processes share the clients (default 1)\n"
"      --spin=DURATION    for so long after something happened do not sleep:\n"
"                         quicker answers for a busier processor (default 0)\n"
"\n"
"where to listen:\n"
"  -a, --address=ADDRESS  HOST, HOST:PORT, [V6]:PORT, :PORT, * for all\n"
"                         interfaces, unix:/PATH or unix:@NAME (abstract);\n"
"                         may be repeated (default 127.0.0.1)\n"
"      --socket-mode=MODE of the file of a Unix socket (default 600)\n"
"  -p, --port=PORT        port where ADDRESS has none (default 10000);\n"
"                         0: the system chooses, the first line tells\n"
"\n"
"when a connection is over:\n"
"      --message          at the client's end of file, or at a pause after\n"
"                         its first byte (default with --blocking)\n"
"      --stream           at the client's end of file (default otherwise)\n"
"      --gap=DURATION     the pause that ends a message (default 500ms)\n"
"      --idle=DURATION    end a client that neither sends nor takes anything\n"
"                         for so long; 0: never (default 60s, --blocking 10s)\n"
"\n"
"limits:\n"
"      --chunk=SIZE       most bytes one read takes (default 64k,\n"
"                         --blocking 16)\n"
"  -m, --max-clients=N    clients at once; more wait in the kernel's queue\n"
"  -n, --count=N          take N connections and stop when they are over\n"
"      --drain=DURATION   most that stopping may take (default 5s)\n"
"      --user=NAME        become that user once it listens (for root)\n"
"      --no-sandbox       leave it the system calls that it does not take\n"
"\n"
"      --log=FORMAT       text (default) or json: an object a line, with the\n"
"                         keys time, event, peer, bytes_in, bytes_out,\n"
"                         duration_ms, reason, text, clients, as they fit\n"
"  -v, --verbose          say more: a line per read\n"
"  -q, --quiet            say less: warnings only\n"
"  -h, --help             show this\n"
"  -V, --version          show the version\n"
"\n"
"DURATION: 200ms, 2s, 1m; a bare number is seconds. SIZE: 16, 64k, 1M.\n"
"\n"
"signals:\n"
"  TERM, INT  accept nobody more, finish what is under way, exit;\n"
"             a second one exits at once, with status 1\n"
"  USR1       say the totals so far and go on\n";

/* What was asked for; addresses as given, since -p may come after -a. */
struct request {
	struct server server;
	const struct way *way;
	int end;			/* OPTION_MESSAGE, OPTION_STREAM or 0 */
	char *addresses[SERVER_LISTENERS];
	int given;
	uint16_t port;
	const char *user;
};

static void
set_way(struct request *r, const struct way *way)
{
	if (r->way != NULL && r->way != way)
		args_usage("--%s and --%s exclude each other", r->way->name,
		    way->name);
	r->way = way;
}

static void
set_end(struct request *r, int end)
{
	if (r->end != 0 && r->end != end)
		args_usage("--message and --stream exclude each other");
	r->end = end;
}

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
set_option(struct request *r, int option, char *value)
{
	struct server *s = &r->server;

	switch (option) {
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
		set_end(r, option);
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
	default:
		set_way(r, &ways[option - OPTION_WAY]);
		break;
	}
}

static void
set_defaults(struct request *r)
{
	struct server *s = &r->server;

	if (r->way == NULL)
		r->way = &ways[0];
	s->message = r->end == 0 ? r->way->message : r->end == OPTION_MESSAGE;
	if (s->chunk == 0)
		s->chunk = r->way->chunk;
	if (s->idle < 0)
		s->idle = r->way->idle;
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
run(int argc, char **argv)
{
	static struct request request = {
		.server = { .gap = 500 * NET_MS, .idle = -1,
		    .drain = 5 * NET_SECOND, .workers = 1, .sandbox = true,
		    .socket_mode = 0600 },
		.port = ARGS_DEFAULT_PORT
	};
	struct address addresses[SERVER_LISTENERS];
	int option;

	while ((option = args_next(argc, argv, &mode_serve)) != -1)
		set_option(&request, option, optarg);
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
	return server_run(&request.server, request.way->run);
}

const struct mode mode_serve = {
	.name = "serve",
	.link = "echo_server",
	.summary = "answer clients with what they send",
	.usage = usage,
	.shorts = ":a:p:m:n:vqhV",
	.longs = longs,
	.run = run
};
