#include "events.h"

#include <sys/types.h>
#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

static int queue = -1;

int
events_open(void)
{
	if ((queue = kqueue()) < 0)
		return -errno;
	fcntl(queue, F_SETFD, FD_CLOEXEC);
	return 0;
}

void
events_close(void)
{
	close(queue);
}

/* Adds a change if an event is waited for from now on, or no longer. */
static int
events_change(struct kevent *change, int fd, short filter, bool is_on,
    bool was_on, uint64_t data)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr) */
	void *udata = (void *)(uintptr_t)data;

	if (is_on == was_on)
		return 0;
	EV_SET(change, (uintptr_t)fd, filter, is_on ? EV_ADD : EV_DELETE, 0,
	    0, udata);
	return 1;
}

int
events_set(int fd, unsigned events, unsigned before, uint64_t data)
{
	struct kevent changes[2];
	int n = events_change(changes, fd, EVFILT_READ, events & EVENTS_READ,
	    before & EVENTS_READ, data);

	n += events_change(changes + n, fd, EVFILT_WRITE, events & EVENTS_WRITE,
	    before & EVENTS_WRITE, data);
	/* NetBSD counts in size_t, the others in int. */
	return kevent(queue, changes, (unsigned char)n, NULL, 0, NULL) < 0 ?
	    -errno : 0;
}

void
events_forget(int fd, unsigned events)
{
	events_set(fd, 0, events, 0);
}

int
events_wait(struct event ready[EVENTS_MAX], int ms)
{
	struct kevent events[EVENTS_MAX];
	struct timespec time = { ms / 1000, ms % 1000 * 1000000L };
	int n = kevent(queue, NULL, 0, events, EVENTS_MAX,
	    ms < 0 ? NULL : &time);

	for (int i = 0; i < n; i++)
		ready[i] = (struct event){ (uintptr_t)events[i].udata,
		    events[i].filter == EVFILT_READ ? EVENTS_READ :
		    EVENTS_WRITE };
	return n < 0 ? -errno : n;
}
