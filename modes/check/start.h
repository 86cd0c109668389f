/*
 * Starts the server under test from a command, again after each crash, and
 * describes how it ended.
 */
#ifndef START_H
#define START_H

#include <stdbool.h>
#include <stdint.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"

enum { START_SIZE = 160 };	/* room for a sentence, in bytes */

struct start {
	const char *command;	/* with {host} and {port} */
	struct address address;	/* of the server; host NULL: */
				/* 127.0.0.1 or ::1; port 0: a free port */
	int64_t timeout;	/* ns until it accepts a connection */
};

/*
 * Completes the settings: raises the timeout to at least 10 s, and replaces
 * port 0 by the default port unless the command contains {port}.
 */
void start_prepare(struct start *);

/*
 * Starts the server and waits until it accepts a connection. A server that was
 * started before is stopped first. Returns a socket for close(2), or -1 and the
 * reason. After ECONNRESET, the server is running: it has accepted a connection
 * and has reset it. After any other error, the server has been stopped.
 * STATUS_LOCAL means that the server is not the cause: another program has the
 * port, or the port is in TIME_WAIT. The text of the reason is shorter than
 * START_SIZE.
 */
int start_server(const struct start *, struct dial_server *,
    struct dial_error *);

/* Waits at most ns for the end of the server. Returns whether it has ended. */
bool start_has_ended(int64_t ns);

/*
 * Whether the server has ended because of the last test; waits a short time for
 * its end. If the server has closed its listener, the wait is longer, because
 * the server is about to end or to open another listener.
 */
bool start_has_died(void);

/*
 * How the server has ended: "ended with exit status 1" or "was killed by signal
 * 11 (Segmentation fault)". Returns out.
 */
const char *start_end_text(char out[START_SIZE]);

/*
 * Prints the last lines of the standard error of the server or, if there are
 * none, of its standard output, as a YAML block with the name of the stream as
 * its key.
 */
void start_print_yaml(void);

/* Prints the last lines of both outputs as TAP comments. */
void start_print_comments(void);

/* Stops the server, and all processes that it has started. */
void start_stop(void);

#endif
