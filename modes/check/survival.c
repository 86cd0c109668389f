/*
 * A server that is about to end may accept one more connection, into the queue
 * of its listener, and reset it. A connection is therefore watched for a while
 * before the server is taken to be alive.
 */
#include "survival.h"

#include <sys/socket.h>

#include <errno.h>
#include <unistd.h>

#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "start.h"

/* How long a server may take to end after the conversation that ends it. */
static const int64_t DEATH_WAIT = 100 * NET_MS;

/* The pause between two attempts to connect to a server that may have ended. */
static const int64_t DEATH_POLL = 10 * NET_MS;

bool
survival_accepts(struct target *target)
{
	int64_t until = net_now() + DEATH_WAIT, left;
	bool is_refused = false;

	if (target->is_started)		/* no connection is needed to know it */
		return !start_has_ended(DEATH_WAIT);
	while ((left = until - net_now()) > 0) {
		struct pollfd server = { -1, POLLIN, 0 };
		char byte;

		server.fd = dial_connect(&target->server, left);
		is_refused = server.fd == -ECONNREFUSED;
		if (server.fd >= 0 && (net_poll(&server, 1, left) == 0 ||
		    recv(server.fd, &byte, 1, MSG_PEEK) > 0)) {
			target->fd = server.fd;
			return true;
		}
		if (server.fd >= 0)
			close(server.fd);
		net_poll(NULL, 0, DEATH_POLL);
	}
	return !is_refused;
}

bool
survival_serves(struct target *target)
{
	/* Servers that wait for a line or the end of file answer this too. */
	struct plan plan = { .message = { .content = TEXT, .text = "a\n",
	    .size = 2 }, .flags = SEND_FIN };
	struct talk t;
	bool serves;

	if (talk_open(&t, &plan, target) < 0)
		return false;
	talk_run(&t, 1);
	serves = t.received > 0 || t.end != TALK_TIMEOUT;
	talk_close(&t);
	return serves;
}

bool
survival_answers_within(struct target *target, const struct plan *plan,
    int64_t ns)
{
	int64_t started;
	struct talk t;
	bool is_quick;

	if (talk_open(&t, plan, target) < 0)
		return false;
	started = net_now();
	talk_run(&t, 1);
	is_quick = talk_is_correct(&t) &&
	    net_now() - started < ns;
	talk_close(&t);
	return is_quick;
}

bool
survival_has_closed(int fd)
{
	struct pollfd server = { fd, POLLIN, 0 };

	return net_poll(&server, 1, DEATH_WAIT) != 0;
}
