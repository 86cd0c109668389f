/*
 * One run of a client: check acts as the server, runs the client's command, and
 * records the bytes that the client sent, its output and its end.
 * client_diagnose.c and client_tests.c decide what the record means.
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
	char name[NET_NAME_MAX];	/* address in the last run */
	int64_t timeout;	/* ns */
	int64_t slowest_start;	/* ns until a client was connected */
};

/* What the client sends, and how the server replies. */
struct client_plan {
	const char *message;
	size_t size;
	const char *reply;	/* instead of an echo; size of the message */
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
	char *arrived;		/* bytes that the client sent, at most a few */
	size_t arrived_size;	/* more than the message has */
	size_t replied;		/* bytes of the reply that were sent */
	bool sends_in_parts;	/* sent a part after the reply to another one */
	bool server_closed;	/* before the client closed or half-closed */
	bool has_timed_out;	/* the client did not end by itself */
	int status;		/* of the command; 128+N after signal N */
	int64_t took;		/* ns */
	struct command command;
};

/* Room for bytes that a client sends in addition to the message. */
enum { CLIENT_RUN_SURPLUS = 256 };

/* The silence after which the server of the homework closes, in ns. */
#define CLIENT_RUN_GAP (500 * NET_MS)

/*
 * Prints, as TAP and as an error message, why no test can be run, and exits
 * with that status.
 */
void client_run_bail_out(const char *what, const char *why, enum status)
    __attribute__((noreturn));

/*
 * Runs the client once. The caller must free the run. Exits if check cannot
 * listen or cannot start a process.
 */
void client_run_plan(struct client_run *, const struct client_plan *,
    struct client_target *);
void client_run_free(struct client_run *);

#endif
