/*
 * How every client of ours reaches a server: name, connection, and what to
 * say and return when there is none.
 */
#ifndef DIAL_H
#define DIAL_H

#include "args.h"
#include "mode.h"
#include "net.h"

/* The server, once it has been reached. */
struct server_address {
	struct net_peer peer;
	char name[NET_NAME_MAX];	/* "127.0.0.1:10000" */
};

/*
 * The ADDRESS of a client: as args_address(), but one that can be connected
 * to, so neither * nor port 0.
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
