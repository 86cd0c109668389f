/*
 * Engine: epoll(7). Any number of clients in one process: the kernel keeps the
 * list of watched descriptors, and a wait returns only the ready ones, so a
 * thousand silent clients cost no time.
 *
 * Level-triggered: if input is left unread, the descriptor is reported again.
 */
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "engine.h"
#include "loop.h"
#include "modes/lib/net.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "watch.h"

/*
 * The number of ready watches that one call of epoll_wait(2) returns. The
 * kernel has just accessed these sockets, and with this number, their data is
 * still in the processor's caches when they are served.
 */
enum { BATCH = 64 };
_Static_assert((int)BATCH <= (int)WATCH_READY_MAX, "the loop has room");

static int epoll = -1;

static int
epoll_set(struct watch *watch, unsigned events)
{
	struct epoll_event event = {
		.events = (events & WATCH_READ ? EPOLLIN : 0U) |
		    (events & WATCH_WRITE ? EPOLLOUT : 0U),
		.data.ptr = watch
	};
	int change = watch->events == 0 ? EPOLL_CTL_ADD :
	    events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	/* When a socket is closed, the kernel removes it from the list. */
	if (events == 0 && watch->kind == WATCH_CLIENT)
		return 0;
	return epoll_ctl(epoll, change, watch->fd, &event) < 0 ? -errno : 0;
}

static int
epoll_wait_ready(struct watch **ready, int64_t ns)
{
	static struct epoll_event events[BATCH];
	int n = epoll_wait(epoll, events, BATCH, net_milliseconds(ns));

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		ready[i] = events[i].data.ptr;
	return n;
}

static const struct poller poller = {
	.fd_limit = INT_MAX,
	.set = epoll_set,
	.wait = epoll_wait_ready
};

static void
epoll_run(struct server *s)
{
	if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err(STATUS_LOCAL, "cannot use epoll");
	loop_run(s, &poller);
	close(epoll);
}

static const int setup_calls[] = { SYS_epoll_create1, SANDBOX_END };

static const int calls[] = {
	SYS_epoll_ctl,
	SYS_epoll_pwait,	/* epoll_wait(2) of musl, and of libc on ARM64 */
#ifdef SYS_epoll_wait
	SYS_epoll_wait,
#endif
	SANDBOX_END
};

const struct engine engine_epoll = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.calls = calls,
	.setup_calls = setup_calls,
	.run = epoll_run
};
