/*
 * The sockets are in an array by their descriptor.
 */
#include "events.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

static struct pollfd *fds;	/* by descriptor; .fd is -1: not in the set */
static uint64_t *data_of;	/* by descriptor */
static int size;		/* elements of the arrays */

int
events_open(void)
{
	return 0;
}

void
events_close(void)
{
	free(fds);
	free(data_of);
	fds = NULL;
	data_of = NULL;
	size = 0;
}

static int
make_room(int fd)
{
	size_t wanted = 2 * (size_t)fd + 64;
	void *p;

	if (fd < size)
		return 0;
	if ((p = reallocarray(fds, wanted, sizeof(*fds))) == NULL)
		return -ENOMEM;
	fds = p;
	if ((p = reallocarray(data_of, wanted, sizeof(*data_of))) == NULL)
		return -ENOMEM;
	data_of = p;
	while (size < (int)wanted)
		fds[size++].fd = -1;
	return 0;
}

int
events_set(int fd, unsigned events, unsigned before, uint64_t data)
{
	int error = make_room(fd);

	(void)before;
	if (error < 0)
		return error;
	fds[fd] = (struct pollfd){ .fd = fd,
	    .events = (short)((events & EVENTS_READ ? POLLIN : 0) |
		(events & EVENTS_WRITE ? POLLOUT : 0)) };
	data_of[fd] = data;
	return 0;
}

void
events_forget(int fd, unsigned events)
{
	(void)events;
	if (fd < size)
		fds[fd].fd = -1;
}

static unsigned
to_events(short reported)
{
	unsigned events = 0;

	if (reported & ~POLLOUT)
		events |= EVENTS_READ;
	if (reported & POLLOUT)
		events |= EVENTS_WRITE;
	return events;
}

/* Each search begins where the last one ended, so no socket is left out. */
int
events_wait(struct event ready[EVENTS_MAX], int ms)
{
	static int fd;
	int left = poll(fds, (nfds_t)size, ms), n = 0;

	if (left < 0)
		return -errno;
	for (int i = 0; i < size && n < left && n < EVENTS_MAX; i++) {
		fd = fd + 1 < size ? fd + 1 : 0;
		if (fds[fd].fd < 0 || fds[fd].revents == 0)
			continue;
		ready[n++] = (struct event){ data_of[fd],
		    to_events(fds[fd].revents) };
	}
	return n;
}
