/*
 * A server with one process per client. The parent accepts clients and starts
 * a child for each of them; a child may block, because it has only its client
 * to serve. No child outlives the parent, not even if the parent is killed.
 */
#ifndef CHILDREN_H
#define CHILDREN_H

#include <stdbool.h>
#include <stdint.h>

#include "args.h"

struct children_server {
	int listener;		/* children_listen() */
	uint64_t count;		/* of clients to accept; 0: no limit */
	bool is_kept_open;	/* the listener, after the last client: further
				   clients are not refused, but never served */

	/*
	 * Serves the nth client, from 1, in its own process, which exits when
	 * the function returns. The socket blocks, and is closed by the
	 * function.
	 */
	void (*serve)(void *context, int fd, const char *peer, uint64_t n);
	void *context;
};

/*
 * Catches SIGTERM, SIGINT and SIGCHLD. To be called before the first output,
 * because a program that reads it may then send a signal.
 */
void children_catch_signals(void);

/*
 * Waits at most ns until a caught signal comes, or until fd is readable; with
 * fd -1, until a signal. Returns whether fd is readable.
 */
bool children_wait(int fd, int64_t ns);

/* Returns whether SIGTERM or SIGINT has arrived. */
bool children_stopped(void);

/*
 * Returns a socket that listens, or receives datagrams, on the first address of
 * a name that this machine has. Exits with STATUS_NAME or STATUS_LOCAL if there
 * is no such address.
 */
int children_listen(const struct address *);

/*
 * Accepts clients until SIGTERM or SIGINT comes, or until the last client has
 * left. Then kills all children, and returns when they have ended. At most 500
 * clients are served at once; further clients wait in the kernel's queue.
 */
void children_run(struct children_server *);

#endif
