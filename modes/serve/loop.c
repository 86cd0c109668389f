/*
 * Each round waits until watches are ready, serves each of them once, ends the
 * clients that have timed out, and then frees the clients that have ended. A
 * client must not be freed before, because a later watch of the same round may
 * belong to this client.
 */
#include "loop.h"

#include <sys/resource.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "modes/mode.h"
#include "pipe.h"
#include "server.h"

enum { FDS_SEARCHED = 1024 };	/* inherited descriptors are below this */

/*
 * Limits the number of clients to the number of free descriptors that the
 * poller and the system allow. The kernel always assigns the lowest free
 * descriptor, so it is enough to count the free ones.
 */
static void
limit_clients(struct server *s, int fds)
{
	struct rlimit own;
	uint64_t fit;

	if (getrlimit(RLIMIT_NOFILE, &own) == 0) {
		own.rlim_cur = own.rlim_max;
		setrlimit(RLIMIT_NOFILE, &own);
		if (own.rlim_cur < (rlim_t)fds)
			fds = (int)own.rlim_cur;
	}
	fit = (uint64_t)fds;
	for (int fd = 0; fd < fds && fd < FDS_SEARCHED; fd++)
		fit -= fcntl(fd, F_GETFD) >= 0 || errno != EBADF;
	if (fit == 0)
		errx(STATUS_LOCAL, "no descriptor below %d is free for a "
		    "client (see ulimit -n)", fds);
	if (s->max_clients == 0 || fit < s->max_clients)
		s->max_clients = fit;
}

static void
watch_signals(struct server *s)
{
	int error = watch_set(&s->signals, WATCH_READ);

	if (error < 0)
		errx(STATUS_LOCAL, "cannot wait for signals: %s",
		    strerror(-error));
}

/*
 * Accepts one connection each time a listener is ready. If more connections are
 * waiting, the next round or another worker accepts them.
 */
static void
accept_one(struct server *s, struct watch *watch)
{
	struct client *c = server_accept(s, listener_of(watch));

	if (c != NULL)
		client_update(&s->clients, c);
}

static void
adopt_client(struct server *s)
{
	struct client *c = server_adopt(s);

	if (c != NULL)
		client_update(&s->clients, c);
}

void
loop_serve(struct server *s, struct watch *watch)
{
	switch (watch->kind) {
	case WATCH_CLIENT:
		client_serve(&s->clients, client_of(watch));
		break;
	case WATCH_LISTENER:
		accept_one(s, watch);
		break;
	case WATCH_DATAGRAMS:
		server_answer(s, listener_of(watch));
		break;
	case WATCH_SIGNALS:
		server_read_signals(s);
		break;
	}
}

void
loop_open(struct server *s, const struct poller *poller)
{
	watch_use(poller);
	/* If reads are logged, bulk streams do not pass through the pipe. */
	if (!log_has(LOG_READS))
		pipe_open();
	limit_clients(s, poller->fd_limit);
	watch_signals(s);
	server_ready(s);
	adopt_client(s);
}

void
loop_close(void)
{
	pipe_close();
}

void
loop_run(struct server *s, const struct poller *poller)
{
	static struct watch *ready[WATCH_READY_MAX];

	loop_open(s, poller);
	while (server_is_serving(s)) {
		int n;

		listener_watch(&s->listeners, server_may_accept(s),
		    s->clients.now);
		n = poller->wait(ready, server_wait_time(s));
		if (n < 0 && n != -EINTR)
			errx(STATUS_LOCAL, "cannot wait: %s", strerror(-n));
		server_tick(s);
		for (int i = 0; i < n; i++)
			loop_serve(s, ready[i]);
		server_expire(s);
		server_close_ended(s);
	}
	loop_close();
}
