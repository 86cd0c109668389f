/*
 * A watch is a descriptor that the server waits for, with the kind of thing
 * that it is. An engine returns the watches that are ready, and the loop does
 * what belongs to the kind of each.
 *
 * A process has one poller, the way in which its engine waits. Until it is
 * set, watches are only recorded: the blocking engine waits by itself.
 */
#ifndef WATCH_H
#define WATCH_H

#include <stdint.h>

enum watch_kind {
	WATCH_CLIENT,
	WATCH_LISTENER,
	WATCH_DATAGRAMS,	/* a UDP socket */
	WATCH_SIGNALS
};

/* Errors and hang-ups count as both: the next recv or send finds them. */
enum watch_event {
	WATCH_READ = 1,
	WATCH_WRITE = 2
};

/* A pointer to the client would not fit into the 128 bytes of a client. */
struct watch {
	_Alignas(8) int fd;	/* an engine may use three bits of the address */
	uint8_t kind;		/* enum watch_kind */
	uint8_t events;		/* WATCH_* bits that are waited for; 0: none */
	uint8_t in_flight;	/* requests that the kernel has not completed,
				   each a bit of the engine; a watch must not
				   be freed before (uring.c) */
	uint8_t polled;		/* for how many turns the engine polls it
				   instead of using the ring (uring.c) */
};

enum { WATCH_READY_MAX = 1024 };	/* watches that one wait returns */

struct poller {
	int fd_limit;		/* takes descriptors below this */

	/*
	 * Waits for these events from now on, and no longer for those in
	 * watch->events. A client that is about to be closed is set to 0
	 * before. Returns 0 or -errno.
	 */
	int (*set)(struct watch *watch, unsigned events);

	/*
	 * Waits at most ns (NET_FOREVER: no limit). Returns how many watches
	 * are ready, at most WATCH_READY_MAX, or -errno; after -EINTR the
	 * loop calls it again.
	 */
	int (*wait)(struct watch **ready, int64_t ns);

	/* Closes a descriptor soon, and takes over its number. NULL: close(2). */
	void (*close)(int fd);
};

/* Sets the poller of this process. */
void watch_use(const struct poller *);

/* Waits for these events, WATCH_* bits, from now on. Returns 0 or -errno. */
int watch_set(struct watch *, unsigned events);

/* Closes the descriptor of a watch. */
void watch_close(struct watch *);

#endif
