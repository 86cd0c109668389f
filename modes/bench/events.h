/*
 * Waiting for the sockets of the load: epoll(7), kqueue(2) or poll(2), whichever
 * the system has. A process has one set of sockets. Level-triggered. Includes no
 * other header of the project.
 */
#ifndef EVENTS_H
#define EVENTS_H

#include <stdint.h>

enum {
	EVENTS_READ = 1,	/* also after an error or a hang-up */
	EVENTS_WRITE = 2,
	EVENTS_MAX = 512	/* events that one wait returns */
};

struct event {
	uint64_t data;		/* as given to events_set() */
	unsigned events;	/* EVENTS_* bits */
};

/* Returns 0 or -errno. */
int events_open(void);
void events_close(void);

/*
 * Waits for these events of a socket from now on; before are those that were
 * waited for until now, 0 for a socket that is new. Returns 0 or -errno.
 */
int events_set(int fd, unsigned events, unsigned before, uint64_t data);

/* A socket for which these events are waited for is about to be closed. */
void events_forget(int fd, unsigned events);

/*
 * Waits at most ms, -1: without limit. Returns how many of the events are
 * ready, or -errno.
 */
int events_wait(struct event ready[EVENTS_MAX], int ms);

#endif
