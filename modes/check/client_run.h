/*
 * One run of a client: check is the server, runs the client's command, and
 * records what the client sent and printed and how it ended. What the record
 * means is decided by client_diagnose.c and client_tests.c.
 */
#ifndef CLIENT_RUN_H
#define CLIENT_RUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "command.h"
#include "modes/lib/net.h"
#include "modes/mode.h"

/* The client under test. */
struct client_target {
	const char *command;	/* with {message}, {host} and {port} */
	bool has_message;	/* {message} is in command */
	struct net_peer listen;	/* where check listens; port 0: a free port */
	char host[NET_NAME_MAX];	/* the value of {host} */
	char name[NET_NAME_MAX];	/* "127.0.0.1:10000", of the last run */
	int64_t timeout;	/* ns */
	int64_t slowest_start;	/* ns until a client was connected */
};

/* What the client sends, and how the server replies. */
struct client_plan {
	const char *message;
	size_t size;
	const char *reply;	/* instead of the message, of the same size */
	int64_t delay;		/* ns before the reply */
	size_t first, piece;	/* bytes of the first and of each later piece;
				   0: the whole reply at once */
	int64_t first_pause, pause;	/* ns after the first and later ones */
	int64_t gap;		/* ns of silence until the server closes; 0: as
				   in the homework */
	const char *fault;	/* of `echo faulty`, the server then */
};

struct client_run {
	const struct client_plan *plan;
	bool is_connected;
	int64_t connected;	/* ns after the start */
	char *arrived;		/* what the client sent, at most a bit more */
	size_t arrived_size;	/* than the message */
	size_t replied;		/* bytes of the reply that were sent */
	bool sends_in_parts;	/* a part came after the reply to another */
	bool server_closed;	/* before the client closed or half-closed */
	bool has_timed_out;	/* the client did not end by itself */
	int status;		/* of the command; 128+N after signal N */
	int64_t took;		/* ns */
	struct command command;
};

/* Room for what a client sends beyond the message, in bytes. */
enum { CLIENT_RUN_SURPLUS = 256 };

/* The silence after which the server of the homework closes, in ns. */
#define CLIENT_RUN_GAP (500 * NET_MS)

/*
 * Prints why no test can be run as TAP and as an error message, and exits with
 * that status.
 */
void client_run_bail_out(const char *what, const char *why, enum status)
    __attribute__((noreturn));

/*
 * Runs the client. The run must be freed. Exits if check cannot listen or
 * cannot start a process.
 */
void client_run_plan(struct client_run *, const struct client_plan *,
    struct client_target *);
void client_run_free(struct client_run *);

#endif
