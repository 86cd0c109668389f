/*
 * Engine: epoll(7). Many clients in one process, any number of them: the
 * kernel keeps the list of what is watched, and a wait returns only those
 * that are ready, so that a thousand silent clients cost no time.
 *
 * Level-triggered: what is not read to its end now is reported again.
 */
#include <sys/epoll.h>
#include <sys/syscall.h>

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "engine.h"
#include "modes/mode.h"
#include "server.h"

/*
 * So many are taken from the kernel at once: its memory of them, which it has
 * just looked at, is still in the processor's caches when they are read.
 */
enum { BATCH = 64 };
_Static_assert((int)BATCH <= (int)SERVER_EVENTS, "a turn has room for all");

static int epoll = -1;

static int
watch(int fd, unsigned had, unsigned want, struct client *client)
{
	struct epoll_event event = {
		.events = (want & WANT_READ ? EPOLLIN : 0U) |
		    (want & WANT_WRITE ? EPOLLOUT : 0U),
		.data.ptr = client
	};
	int change = had == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

	if (want == 0 && client != NULL)
		return 0;		/* closing its socket ends it */
	if (want == 0)
		change = EPOLL_CTL_DEL;
	return epoll_ctl(epoll, change, fd, &event) < 0 ? -errno : 0;
}

/* In ms, as epoll takes it: rounded up, lest it wake before the time. */
static int
milliseconds(int64_t ns)
{
	return ns < 0 ? -1 : (int)((ns + NET_MS - 1) / NET_MS);
}

static int
wait_for_any(struct client **ready, int64_t ns, const sigset_t *mask)
{
	static struct epoll_event events[BATCH];
	/* No signal comes where it does not sleep: spare it the mask. */
	int n = epoll_pwait(epoll, events, BATCH, milliseconds(ns),
	    ns == 0 ? NULL : mask);

	if (n < 0)
		return -errno;
	for (int i = 0; i < n; i++)
		ready[i] = events[i].data.ptr;
	return n;
}

static const int calls[] = { SYS_epoll_ctl, SYS_epoll_pwait };

static const struct poller poller = {
	.fds = INT_MAX,
	.calls = calls,
	.ncalls = sizeof(calls) / sizeof(*calls),
	.watch = watch,
	.wait = wait_for_any
};

static void
epoll_run(struct server *s)
{
	if ((epoll = epoll_create1(EPOLL_CLOEXEC)) < 0)
		err(STATUS_LOCAL, "cannot use epoll");
	server_loop(s, &poller);
	close(epoll);
}

const struct engine engine_epoll = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.run = epoll_run
};
