/*
 * Engine: select(2). Many clients in one process, without threads: before each
 * step the engine asks the kernel which of all descriptors are ready.
 *
 * The sets have two disadvantages. They have room only for descriptors below
 * FD_SETSIZE (setting a bit beyond it is undefined). Both the kernel and the
 * loop in this file check every descriptor at each call, even if only a few are
 * ready.
 */
#include <sys/select.h>

#include <errno.h>
#include <stddef.h>

#include "engine.h"
#include "loop.h"
#include "modes/lib/net.h"
#include "sandbox.h"
#include "watch.h"

static fd_set readers, writers;
static struct watch *watches[FD_SETSIZE];	/* by descriptor */
static int limit;				/* above the highest watched */

static int
select_set(struct watch *watch, unsigned events)
{
	int fd = watch->fd;

	if (fd < 0 || fd >= FD_SETSIZE)
		return -EMFILE;
	FD_CLR(fd, &readers);
	FD_CLR(fd, &writers);
	if (events & WATCH_READ)
		FD_SET(fd, &readers);
	if (events & WATCH_WRITE)
		FD_SET(fd, &writers);
	watches[fd] = watch;
	if (events != 0 && fd >= limit)
		limit = fd + 1;
	while (limit > 0 && !FD_ISSET(limit - 1, &readers) &&
	    !FD_ISSET(limit - 1, &writers))
		limit--;
	return 0;
}

static int
select_wait_ready(struct watch **ready, int64_t ns)
{
	fd_set readable = readers, writable = writers;
	struct timespec time;
	int n = 0, left;

	/* select(2), with the time in ns and no signal mask. */
	left = pselect(limit, &readable, &writable, NULL,
	    net_timespec(&time, ns), NULL);
	if (left < 0)
		return -errno;
	for (int fd = 0; fd < limit && n < left; fd++)
		if (FD_ISSET(fd, &readable) || FD_ISSET(fd, &writable))
			ready[n++] = watches[fd];
	return n;
}

static const struct poller poller = {
	.fd_limit = FD_SETSIZE,
	.set = select_set,
	.wait = select_wait_ready
};

_Static_assert(FD_SETSIZE <= WATCH_READY_MAX, "the loop has room");

static void
select_run(struct server *s)
{
	loop_run(s, &poller);
}

static const int no_calls[] = { SANDBOX_END };
static const int calls[] = { SYS_pselect6, SANDBOX_END };

const struct engine engine_select = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.calls = calls,
	.setup_calls = no_calls,
	.run = select_run
};
