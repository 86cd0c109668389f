/*
 * Mode `faulty`: an echo server that makes mistakes on purpose. It is for
 * testing clients, proxies and `echo check`, and shows students the effects of
 * a fault.
 *
 * Each fault is one row of the table in faults.c. stream.c serves TCP and Unix
 * sockets, datagram.c answers UDP.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "datagram.h"
#include "faults.h"
#include "modes/lib/args.h"
#include "modes/lib/children.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/mode.h"
#include "stream.h"

enum { OPTION_EVERY = OPTIONS_LONG, OPTION_SEED, OPTION_LIST };

static const struct option_row faulty_options[] = {
	OPTIONS_TEXT("\n"
	    "Echoes with the given faults, to test clients, proxies and "
	    "checkers. --list\n"
	    "prints all faults.\n"),
	{ OPTION_LIST, "list", NULL, NULL,
	    "print the name, the value and the effect of each fault", 0, NULL },
	{ 'a', "address", "ADDRESS", NULL, "HOST, HOST:PORT, [V6]:PORT, "
	    ":PORT, * for all IPv4 interfaces, with tcp: or udp: before it, "
	    "unix:/PATH or unix:@NAME (default " ARGS_DEFAULT_HOST ")", 0, NULL },
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, "port if ADDRESS has none; "
	    "0: a free port, which the first line of output shows", 0, NULL },
	{ 'u', "udp", NULL, NULL, "UDP if ADDRESS has no tcp: or udp: before "
	    "it", 0, NULL },
	{ OPTION_EVERY, "every", "N", "1", "only every Nth connection or "
	    "datagram is faulty, the others are correct", 0, NULL },
	{ OPTION_SEED, "seed", "N", NULL, "make the same random choices "
	    "as another run", 0, NULL },
	{ 'n', "count", "N", NULL, "exit after N connections, when their "
	    "clients have left, or after N datagrams", 0, NULL },
	{ 'v', "verbose", NULL, NULL, "also log the end of connections, and "
	    "each answer to a datagram", 0, NULL },
	{ 'q', "quiet", NULL, NULL, "log only warnings", 0, NULL },
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "OFFSET: 0 is the first byte of a connection or datagram; 0-99 is "
	    "a random\n"
	    "offset for each. SIZE, BYTES: 16, 64k, 1M. TIME: 200ms, 2s, 1m. "
	    "PERCENT: 0 to\n"
	    "100. TEXT: without a comma."),
	OPTIONS_END
};

struct settings {
	char *address;
	uint16_t port;
	uint64_t count;
	int verbosity;			/* 1 with -v, -1 with -q */
	struct faults faults;
};

static void
faulty_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	switch (row->key) {
	case OPTION_LIST:
		faults_print();
		exit(STATUS_OK);
	case 'a':
		set->address = value;
		break;
	case 'p':
		set->port = args_port("--port", value, 0);
		break;
	case 'u':
		set->faults.is_udp = true;
		break;
	case OPTION_EVERY:
		set->faults.every = args_number("--every", value, 1, INT64_MAX);
		break;
	case OPTION_SEED:
		set->faults.seed = args_number("--seed", value, 0, INT64_MAX);
		break;
	case 'n':
		set->count = args_number("--count", value, 1, INT64_MAX);
		break;
	default:
		set->verbosity = row->key == 'v' ? 1 : -1;
	}
}

/* Listens on the address, and prints it. Returns the socket. */
static int
faulty_listen(const struct address *address, struct net_peer *self)
{
	char name[NET_NAME_MAX];
	int fd;

	children_catch_signals();
	fd = children_listen(address);
	net_self(fd, self);
	printf("listening on %s\n", (address->is_udp ? net_udp_name :
	    net_name)(name, &self->address.any));
	args_flush();
	return fd;
}

static void
faulty_serve_clients(const struct settings *set, const struct address *address)
{
	struct stream_plan plan = { &set->faults, set->verbosity };
	struct children_server server = { .serve = stream_serve,
	    .context = &plan, .count = set->count };
	uint64_t every = set->faults.every;
	struct net_peer self;

	server.is_kept_open = set->faults.number[ONE_CLIENT] != FAULTS_OFF;
	if (server.is_kept_open && (set->count == 0 || every < set->count))
		server.count = every;
	server.listener = faulty_listen(address, &self);
	children_run(&server);
	if (self.address.any.sa_family == AF_UNIX)
		unlink(self.address.path.sun_path);
}

static void
faulty_answer_datagrams(const struct settings *set,
    const struct address *address)
{
	struct datagram_plan plan = { &set->faults, set->count,
	    set->verbosity };
	struct net_peer self;

	datagram_answer_all(faulty_listen(address, &self), &plan);
}

static int
faulty_run(int argc, char **argv)
{
	static char host[] = ARGS_DEFAULT_HOST;
	struct settings set = { .address = host };
	struct address address;

	set.faults.seed = (uint64_t)net_now();
	options_parse(argc, argv, &mode_faulty, faulty_set, &set);
	address = args_address("--address", set.address, set.port, 0,
	    set.faults.is_udp);
	set.faults.is_udp = address.is_udp;
	faults_parse(&set.faults, argv[optind++]);
	args_no_operands(argc, argv);
	if (address.is_udp)
		faulty_answer_datagrams(&set, &address);
	else
		faulty_serve_clients(&set, &address);
	free(set.faults.list);
	return STATUS_OK;
}

const struct mode mode_faulty = {
	.name = "faulty",
	.link = "echo_faulty",
	.summary = "echo with faults, to test clients",
	.synopsis = "FAULT[=VALUE][,FAULT]... [-u] [-a ADDRESS] "
	    "[-p PORT] [OPTION]...",
	.options = faulty_options,
	.run = faulty_run
};
