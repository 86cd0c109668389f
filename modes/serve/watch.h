/*
 * A watch is a descriptor that the server waits for, together with its kind. An
 * engine returns the watches that are ready, and the loop serves each watch
 * according to its kind.
 *
 * A process has one poller, which contains the functions with which the engine
 * waits. Until the poller is set, watches are only recorded. The blocking
 * engine sets no poller, because it waits by itself.
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
	int fd_limit;		/* descriptors must be below this */

	/*
	 * Waits for these events from now on, and no longer for the events in
	 * watch->events. Before a client is closed, its events are set to 0.
	 * Returns 0 or -errno.
	 */
	int (*set)(struct watch *watch, unsigned events);

	/*
	 * Waits at most ns (NET_FOREVER: no limit). Returns how many watches
	 * are ready, at most WATCH_READY_MAX, or -errno; after -EINTR the
	 * loop calls it again.
	 */
	int (*wait)(struct watch **ready, int64_t ns);

	/*
	 * Takes over a descriptor, and closes it soon. NULL: close(2) is used.
	 */
	void (*close)(int fd);
};

/* Sets the poller of this process. */
void watch_use(const struct poller *);

/* Waits for these events, WATCH_* bits, from now on. Returns 0 or -errno. */
int watch_set(struct watch *, unsigned events);

/* Closes the descriptor of a watch. */
void watch_close(struct watch *);

#endif
