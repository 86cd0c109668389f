/*
 * Engine: kqueue(2) of macOS and the BSDs. As with epoll, the kernel keeps the
 * list of watched descriptors, and a wait returns only the ready ones. Reading
 * and writing are two filters, which are added and deleted separately.
 *
 * Level-triggered: if input is left unread, the descriptor is reported again. A
 * child process does not inherit the kernel queue (fork(2)), so each worker
 * creates its own. The filters of a client are deleted before its socket is
 * closed. The BSDs would delete them automatically, but libkqueue does not
 * notice that a descriptor was closed.
 */
#include <sys/types.h>
#include <sys/event.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <unistd.h>

#include "engine.h"
#include "loop.h"
#include "modes/lib/net.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "watch.h"

/* The number of events that one call of kevent(2) returns, as in epoll.c. */
enum { BATCH = 64 };
_Static_assert((int)BATCH <= (int)WATCH_READY_MAX, "the loop has room");

static int queue = -1;

/* Adds a change if an event is to be watched from now on, or no longer. */
static int
add_change(struct kevent *changes, int n, struct watch *watch, unsigned events,
    unsigned event)
{
	short filter = event == WATCH_READ ? EVFILT_READ : EVFILT_WRITE;

	if ((watch->events & event) == (events & event))
		return n;
	EV_SET(&changes[n], (uintptr_t)watch->fd, filter,
	    (events & event) != 0 ? EV_ADD : EV_DELETE, 0, 0, watch);
	return n + 1;
}

static int
kqueue_set(struct watch *watch, unsigned events)
{
	struct kevent changes[2];
	int n = add_change(changes, 0, watch, events, WATCH_READ);

	n = add_change(changes, n, watch, events, WATCH_WRITE);
	/* The type of the count is size_t on NetBSD, and int elsewhere. */
	return n > 0 && kevent(queue, changes, (unsigned char)n, NULL, 0,
	    NULL) < 0 ? -errno : 0;
}

static int
kqueue_wait_ready(struct watch **ready, int64_t ns)
{
	static struct kevent events[BATCH];
	struct timespec time;
	int n = kevent(queue, NULL, 0, events, BATCH,
	    net_timespec(&time, ns));

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		ready[i] = (struct watch *)events[i].udata;
	return n;
}

static const struct poller poller = {
	.fd_limit = INT_MAX,
	.set = kqueue_set,
	.wait = kqueue_wait_ready
};

static void
kqueue_run(struct server *s)
{
	if ((queue = kqueue()) < 0)
		err(STATUS_LOCAL, "cannot use kqueue");
	fcntl(queue, F_SETFD, FD_CLOEXEC);
	loop_run(s, &poller);
	close(queue);
}

static const int no_calls[] = { SANDBOX_END };

const struct engine engine_kqueue = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.calls = no_calls,
	.setup_calls = no_calls,
	.run = kqueue_run
};
