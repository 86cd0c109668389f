/*
 * The load of `bench`: many connections to one server from one thread, every
 * byte that comes back compared, and what came of it counted.
 */
#ifndef LOAD_H
#define LOAD_H

#include <sys/types.h>

#include <stddef.h>
#include <stdint.h>

#include "modes/lib/dial.h"
#include "histogram.h"

enum { LOAD_PIECE = 65536 };	/* bytes of one send, at most */

enum load_mode {
	ROUND_TRIPS,	/* so many messages in flight on each connection */
	STREAM,		/* both directions at once, as fast as it goes */
	CONNECT		/* a connection a message */
};

struct load_plan {
	enum load_mode mode;
	size_t connections, idle;	/* busy ones, silent ones besides */
	size_t size;			/* bytes a message, or a send */
	size_t window;			/* messages in flight */
	int64_t duration, timeout;	/* ns; timeout 0: no limit */
};

struct load_target {
	struct dial_server server;
	pid_t pid;			/* of the server, to be told what it
					   costs; 0: unknown */
};

/* What was measured, warm-up and end left out. */
struct load_result {
	int64_t time;			/* ns */
	uint64_t bytes;			/* that came back */
	struct histogram latency;	/* ns, of each message; not of STREAM */
	int64_t processor, memory;	/* of the server: ns, bytes; or -1 */
};

/* Called ten times a second, with what there is so far; then with NULL. */
typedef void load_progress(const struct load_target *,
    const struct load_result *);

/*
 * Loads the server as planned. A server that does not send back every byte,
 * and a fault of our own, ends the program: one line, and its status.
 */
void load_run(const struct load_plan *, const struct load_target *,
    load_progress *, struct load_result *);

/*
 * Ends this and every later run early; what was measured counts. For a
 * signal's handler.
 */
void load_stop(int signal);

#endif
