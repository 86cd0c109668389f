#include "events.h"

#include <sys/epoll.h>

#include <errno.h>
#include <unistd.h>

static int epoll = -1;

int
events_open(void)
{
	epoll = epoll_create1(EPOLL_CLOEXEC);
	return epoll < 0 ? -errno : 0;
}

void
events_close(void)
{
	close(epoll);
}

int
events_set(int fd, unsigned events, unsigned before, uint64_t data)
{
	struct epoll_event event = { .data.u64 = data,
	    .events = (events & EVENTS_READ ? EPOLLIN : 0U) |
		(events & EVENTS_WRITE ? EPOLLOUT : 0U) };

	return epoll_ctl(epoll, before == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
	    fd, &event) < 0 ? -errno : 0;
}

void
events_forget(int fd, unsigned events)
{
	(void)fd;
	(void)events;
}

static unsigned
to_events(uint32_t reported)
{
	unsigned events = 0;

	if (reported & ~(uint32_t)EPOLLOUT)
		events |= EVENTS_READ;
	if (reported & EPOLLOUT)
		events |= EVENTS_WRITE;
	return events;
}

int
events_wait(struct event ready[EVENTS_MAX], int ms)
{
	struct epoll_event events[EVENTS_MAX];
	int n = epoll_wait(epoll, events, EVENTS_MAX, ms);

	for (int i = 0; i < n; i++)
		ready[i] = (struct event){ events[i].data.u64,
		    to_events(events[i].events) };
	return n < 0 ? -errno : n;
}
