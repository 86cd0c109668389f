/*
 * The PROXY header at the beginning of a connection (--proxy-protocol): reads
 * the header from the socket, keeps the name of the client in the header, and
 * logs a missing header. proxy.c parses the header.
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
	bool is_local;		/* the load balancer connected for itself */
};

/*
 * Reads the part of the header that has arrived, and no byte after the header.
 * Returns 1 if the header is complete, 0 at end of file, -EAGAIN if the rest of
 * it has not arrived yet, -EPROTO if it is wrong, or the -errno of a call.
 */
int header_read(struct header *, int fd);

/*
 * Logs that the connection of peer ended after ns, for that reason, before its
 * header was complete. A connection that has sent no byte and has not timed out
 * is a health check, which is logged only with -v.
 */
void header_log_missing(const struct header *, const union net_address *peer,
    int64_t ns, const char *reason, bool is_late);

void header_free(struct header *);

#endif
