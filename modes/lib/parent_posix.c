/*
 * Each child needs a pipe of its own, because the process that receives SIGIO
 * is a property of the open file, which all children of one pipe would share.
 * The parent closes its end when the child has ended, at the latest when it
 * starts the next child.
 */
#include "parent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

enum { PIPES_MAX = 1024 };	/* children at once */

static int pipe_ends[2] = { -1, -1 };	/* of the next child */
static struct pollfd kept[PIPES_MAX];	/* the parent's ends */
static nfds_t kept_count;
static int end_signal;

/* Forgets the children that have ended: their pipes have no reader. */
static void
close_broken_pipes(void)
{
	nfds_t n = 0;

	poll(kept, kept_count, 0);
	for (nfds_t i = 0; i < kept_count; i++)
		if (kept[i].revents != 0)
			close(kept[i].fd);
		else
			kept[n++] = kept[i];
	kept_count = n;
}

int
parent_prepare(void)
{
	close_broken_pipes();
	if (kept_count == PIPES_MAX)
		return -EAGAIN;
	return pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) < 0 ? -errno : 0;
}

void
parent_forked(void)
{
	if (pipe_ends[0] < 0)
		return;
	close(pipe_ends[0]);
	kept[kept_count++] = (struct pollfd){ .fd = pipe_ends[1] };
	pipe_ends[0] = pipe_ends[1] = -1;
}

/* The other end of the pipe is closed. */
static bool
is_broken(void)
{
	char byte;

	return read(pipe_ends[0], &byte, 1) == 0;
}

static void
on_broken_pipe(int signal)
{
	(void)signal;
	if (is_broken())
		raise(end_signal);
}

/* A child must close all ends that its parent holds. */
static void
close_parent_ends(void)
{
	close(pipe_ends[1]);
	while (kept_count > 0)
		close(kept[--kept_count].fd);
}

void
parent_follow(pid_t parent, int signal)
{
	struct sigaction action = { .sa_handler = on_broken_pipe,
	    .sa_flags = SA_RESTART };

	(void)parent;
	if (pipe_ends[0] < 0)
		return;
	close_parent_ends();
	end_signal = signal;
	sigaction(SIGIO, &action, NULL);
	fcntl(pipe_ends[0], F_SETOWN, getpid());
	fcntl(pipe_ends[0], F_SETFL, O_ASYNC | O_NONBLOCK);
	if (is_broken())
		raise(end_signal);
	/* The pipe stays open; this process may have children of its own. */
}

int
parent_descriptor(void)
{
	return pipe_ends[0];
}
