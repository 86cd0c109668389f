/*
 * Waiting for the sockets of the load, with epoll(7), kqueue(2) or poll(2),
 * depending on the system. A process has one set of sockets. Level-triggered.
 * Includes no other header of the project.
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
 * Waits for these events of a socket from now on; before contains the events
 * that were waited for until now, 0 for a new socket. Returns 0 or -errno.
 */
int events_set(int fd, unsigned events, unsigned before, uint64_t data);

/* To be called before a socket with these events is closed. */
void events_forget(int fd, unsigned events);

/*
 * Waits at most ms, -1: without limit. Returns how many of the events are
 * ready, or -errno.
 */
int events_wait(struct event ready[EVENTS_MAX], int ms);

#endif
