/*
 * The PROXY header with which a connection begins (--proxy-protocol): reads it
 * from the socket, names the client that it contains, and logs that it is
 * missing. proxy.c parses it.
 */
#ifndef HEADER_H
#define HEADER_H

#include <stdbool.h>
#include <stdint.h>

union net_address;
struct proxy;

/* All zero is the state before the first byte. */
struct header {
	struct proxy *parser;	/* while the header is incomplete, or NULL */
	char *client;		/* the name of the client, for the log, or NULL
				   if the header has none */
	bool is_local;		/* a connection of the load balancer itself */
};

/*
 * Reads what has arrived of the header, and no byte that follows it. Returns 1
 * if the header is complete, 0 at end of file, -EAGAIN if more has to arrive,
 * -EPROTO if it is wrong, or the -errno of a call.
 */
int header_read(struct header *, int fd);

/*
 * Logs that the connection of peer ended after ns, for that reason, before its
 * header was complete. If it has not sent a byte and was not late, it is a
 * health check, which is logged only with -v.
 */
void header_log_missing(const struct header *, const union net_address *peer,
    int64_t ns, const char *reason, bool is_late);

void header_free(struct header *);

#endif
