/*
 * How every client of ours reaches a server: name, connection, and what to
 * say and return when there is none.
 */
#ifndef DIAL_H
#define DIAL_H

#include "args.h"
#include "modes/mode.h"
#include "net.h"
#include "options.h"

/* The server, once it has been reached. */
struct server_address {
	struct net_peer peer;
	char name[NET_NAME_MAX];	/* "127.0.0.1:10000" */
};

/* The options that every client has: -a, -p, -t, -v and -q. */
struct dial_options {
	char *address;
	uint16_t port;
	int64_t timeout;	/* ns; 0: no limit */
	int verbosity;		/* 1: print more, -1: print less */
};

/* Their rows: the first three, and the last two. */
#define DIAL_OPTIONS(address_text, timeout_text) \
	{ 'a', "address", "ADDRESS", NULL, address_text, 0, NULL }, \
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, \
	    "port if ADDRESS has none", 0, NULL }, \
	{ 't', "timeout", "DURATION", "5s", timeout_text, 0, NULL }
#define DIAL_VERBOSITY(verbose_text, quiet_text) \
	{ 'v', "verbose", NULL, NULL, verbose_text, 0, NULL }, \
	{ 'q', "quiet", NULL, NULL, quiet_text, 0, NULL }

/* The forms of an address, for --help. */
#define DIAL_ADDRESS_FORMS "HOST, HOST:PORT, [V6]:PORT, :PORT, unix:/PATH " \
    "or unix:@NAME (default " ARGS_DEFAULT_HOST ")"

/*
 * Sets the option with that key; the timeout must not be below min ns. Returns
 * false if the option is not one of these.
 */
bool dial_set_option(struct dial_options *, int key, char *value,
    int64_t min);

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
