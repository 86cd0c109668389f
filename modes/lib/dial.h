/*
 * How every client of ours reaches a server: name, connection, and what to
 * say and return when there is none.
 */
#ifndef DIAL_H
#define DIAL_H

#include "args.h"
#include "modes/mode.h"
#include "net.h"

/* The server, once it has been reached. */
struct server_address {
	struct net_peer peer;
	char name[NET_NAME_MAX];	/* "127.0.0.1:10000" */
};

/* What every client is told: -a, -p and -t of its server, -v and -q. */
struct dial_options {
	char *address;
	uint16_t port;
	int64_t timeout;	/* ns; 0: no limit */
	int verbosity;		/* 1: say more, -1: less */
};

/* The options for argv, and their defaults. */
#define DIAL_OPTIONS \
	{ "address", required_argument, NULL, 'a' }, \
	{ "port", required_argument, NULL, 'p' }, \
	{ "timeout", required_argument, NULL, 't' }, \
	{ "verbose", no_argument, NULL, 'v' }, \
	{ "quiet", no_argument, NULL, 'q' }

#define DIAL_DEFAULTS { NULL, ARGS_DEFAULT_PORT, 5 * NET_SECOND, 0 }

/*
 * Takes one of these with optarg, a timeout not below least; false if it is
 * another.
 */
bool dial_option(struct dial_options *, int option, int64_t least);

/*
 * The ADDRESS, given for what ("--address"), or NULL for the default host: as
 * args_address(), but one that can be connected to, so neither * nor port 0.
 */
struct address dial_address(const char *what, char *value, uint16_t port);

/*
 * A connection to that server within timeout ns (0: no limit), or -errno;
 * -ETIMEDOUT when the time is up.
 */
int dial(const struct server_address *, int64_t timeout);

/*
 * A connection to the first of the addresses of that name that takes one,
 * told in *reached; or -errno of the last one tried, told there too.
 * Exits with STATUS_NAME if the name has none.
 */
int dial_any(const struct address *, int64_t timeout,
    struct server_address *reached);

/* What status a client returns for such an errno, and a hint for its line. */
enum status dial_status(int error);
const char *dial_hint(int error);

#endif
