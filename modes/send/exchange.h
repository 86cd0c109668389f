/*
 * The part of send that is the same for every transport: reads standard input,
 * prints the reply, and reports the result. stream.c sends to TCP and Unix
 * sockets, datagram.c to UDP sockets.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modes/lib/dial.h"
#include "modes/mode.h"

enum { EXCHANGE_WHY = 512 };	/* bytes of an explanation */

/* The message, the server, and the result. */
struct exchange {
	struct dial_server server;
	int fd;			/* connected to the server */
	int64_t timeout;	/* ns; 0: no limit */
	int input;		/* standard input, or -1 to send the message */
	const char *message;	/* the rest of the message */
	size_t message_left;	/* its size in bytes */

	uint64_t sent, returned;	/* bytes */
	uint64_t printed;	/* bytes, on standard output */
	int64_t started;	/* net_now() */
	int64_t progress;	/* net_now() when a byte last arrived */
	uint64_t datagrams;	/* that were sent and returned */
	uint64_t repeated;	/* how often one was sent again */
	enum status status;
	char why[EXCHANGE_WHY];	/* why it failed, or "" */
};

/*
 * Reads standard input. Returns the number of bytes, 0 at its end, or -1 if
 * there is nothing to read now. An error ends the program with STATUS_LOCAL.
 */
ssize_t exchange_read_input(const struct exchange *, void *buf, size_t size);

/*
 * Writes to standard output. If the reply cannot be written, the program ends
 * with STATUS_LOCAL.
 */
void exchange_print(struct exchange *, const void *data, size_t size);

/* Prints the result on standard error, as a JSON object if json is set. */
void exchange_report(const struct exchange *, bool json, int verbosity);

#endif
