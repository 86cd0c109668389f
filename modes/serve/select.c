/*
 * Engine: select(2). Many clients in one process, without threads: the kernel
 * is asked, before each step, which of all the descriptors are ready.
 *
 * The price is in the sets: they have room for descriptors below FD_SETSIZE
 * only (setting a bit beyond is undefined), and both the kernel and the loop
 * here look at every one of them at each call, however few are ready.
 */
#include <sys/select.h>
#include <sys/syscall.h>

#include <errno.h>

#include "engine.h"
#include "server.h"

static fd_set readers, writers;
static struct client *clients[FD_SETSIZE];
static int top;				/* one above the highest watched */

static int
watch(int fd, unsigned had, unsigned want, struct client *client)
{
	(void)had;
	if (fd < 0 || fd >= FD_SETSIZE)
		return -EMFILE;
	FD_CLR(fd, &readers);
	FD_CLR(fd, &writers);
	if (want & WANT_READ)
		FD_SET(fd, &readers);
	if (want & WANT_WRITE)
		FD_SET(fd, &writers);
	clients[fd] = client;
	if (want != 0 && fd >= top)
		top = fd + 1;
	while (top > 0 && !FD_ISSET(top - 1, &readers) &&
	    !FD_ISSET(top - 1, &writers))
		top--;
	return 0;
}

static int
wait_for_any(struct client **ready, int64_t ns, const sigset_t *mask)
{
	fd_set readable = readers, writable = writers;
	struct timespec time;
	int n = 0, left;

	left = pselect(top, &readable, &writable, NULL,
	    net_timespec(&time, ns), mask);
	if (left < 0)
		return -errno;
	for (int fd = 0; fd < top && n < left; fd++)
		if (FD_ISSET(fd, &readable) || FD_ISSET(fd, &writable))
			ready[n++] = clients[fd];
	return n;
}

static const int calls[] = { SYS_pselect6 };

static const struct poller poller = {
	.fds = FD_SETSIZE,
	.calls = calls,
	.ncalls = sizeof(calls) / sizeof(*calls),
	.watch = watch,
	.wait = wait_for_any
};

_Static_assert(FD_SETSIZE <= SERVER_EVENTS, "a turn has room for all events");

static void
select_run(struct server *s)
{
	server_loop(s, &poller);
}

const struct engine engine_select = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.run = select_run
};
