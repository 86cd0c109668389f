/*
 * Several processes that serve the same addresses, and the one that looks
 * after them.
 *
 * The workers share the listening sockets: a connection goes to whichever of
 * them that waits is there first, so one that is busy, at its limit or stopped
 * keeps nobody waiting, and when one dies only its own clients go with it.
 * The supervisor serves nobody: it starts workers, puts another in the place
 * of one that has died, and passes on that all are to stop.
 */
#include <sys/prctl.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"
#include "signals.h"

/* One that dies at once is not replaced at once. */
static const int64_t LEAST_LIFE = 500 * NET_MS;

/* What stopping may take beyond the drain time, before one is killed. */
static const int64_t GRACE = NET_SECOND;

static struct worker {
	pid_t pid;		/* 0: there is none */
	int64_t start_at;	/* not before this */
} workers[SERVER_WORKERS];

static void
signal_all(int signal)
{
	for (int i = 0; i < SERVER_WORKERS; i++)
		if (workers[i].pid > 0)
			kill(workers[i].pid, signal);
}

/* Asked to stop twice; runs in a signal handler. */
static void
cut_down(void)
{
	signal_all(SIGKILL);
	_exit(STATUS_NO);
}

/* The i-th of n shares of whole. */
static uint64_t
share_of(uint64_t whole, int i, int n)
{
	return whole / (uint64_t)n + ((uint64_t)i < whole % (uint64_t)n);
}

/*
 * In the new process. Being asked to stop twice is for the supervisor to act
 * on: signals from a terminal and from a service manager reach both.
 */
static void
work(struct server *s, int i, pid_t supervisor,
    void (*run)(struct server *))
{
	signals_at_once(NULL);
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != supervisor)
		raise(SIGTERM);
	s->supervised = true;
	s->tally = &s->shared->workers[i];
	s->max_clients = share_of(s->max_clients, i, s->workers);
	run(s);
	exit(STATUS_OK);
}

/* Starts those that are due. False: one could not be, and will be later. */
static bool
start_workers(struct server *s, void (*run)(struct server *))
{
	pid_t self = getpid();

	for (int i = 0; i < s->workers; i++) {
		struct worker *w = &workers[i];

		if (w->pid > 0 || w->start_at > s->now)
			continue;
		w->start_at = s->now + LEAST_LIFE;
		if ((w->pid = fork()) == 0)
			work(s, i, self, run);
		if (w->pid < 0) {
			log_no_worker(s, errno);
			return false;
		}
	}
	return true;
}

static int
alive(void)
{
	int n = 0;

	for (int i = 0; i < SERVER_WORKERS; i++)
		n += workers[i].pid > 0;
	return n;
}

/* Takes note of one that has ended. Not of an end that was asked for. */
static void
bury(struct server *s, int i, int how)
{
	bool as_told = WIFEXITED(how) && WEXITSTATUS(how) == STATUS_OK &&
	    !server_is_open(s);

	if (!as_told)
		log_worker(s, i, workers[i].pid, how);
	workers[i].pid = 0;
	s->shared->workers[i].clients = 0;
}

static void
reap(struct server *s)
{
	pid_t pid;
	int how;

	while ((pid = waitpid(-1, &how, WNOHANG)) > 0)
		for (int i = 0; i < s->workers; i++)
			if (workers[i].pid == pid)
				bury(s, i, how);
}

/* How long until a worker is due, or is to be killed. */
static int64_t
patience(const struct server *s, int64_t kill_at)
{
	int64_t until = kill_at;

	for (int i = 0; i < s->workers && server_is_open(s); i++)
		if (workers[i].pid <= 0 && workers[i].start_at < until)
			until = workers[i].start_at;
	if (until == INT64_MAX)
		return NET_FOREVER;
	return until > s->now ? until - s->now : 0;
}

/* Why a worker has ended, or is about to, if it could not say so itself. */
static void
say_end(void)
{
	siginfo_t end = { 0 };

	waitid(P_ALL, 0, &end, WEXITED | WNOWAIT);
	if (end.si_code != CLD_EXITED)
		warnx("a worker was killed by signal %d (%s)", end.si_status,
		    strsignal(end.si_status));
}

/*
 * Starts all, and waits until each has told by a byte in a pipe that it is set
 * up, or has ended. False: one is not, for whatever reason it has said.
 */
static bool
start_all(struct server *s, void (*run)(struct server *))
{
	int ends[2], ready = 0;
	ssize_t n;
	bool all;
	char c;

	if (pipe2(ends, O_CLOEXEC) < 0)
		err(STATUS_LOCAL, "cannot start workers");
	s->ready = ends[1];
	all = start_workers(s, run);
	close(ends[1]);
	s->ready = -1;
	while ((n = read(ends[0], &c, 1)) > 0 || (n < 0 && errno == EINTR))
		ready += n > 0;
	close(ends[0]);
	if (all && ready < s->workers)
		say_end();
	return all && ready == s->workers;
}

/* Ends all that there are, at the start, when one could not be set up. */
static void
give_up(void)
{
	pid_t pid;

	signal_all(SIGKILL);
	do
		pid = waitpid(-1, NULL, 0);
	while (pid > 0);
	exit(STATUS_LOCAL);
}

/* Returns when all have ended. */
static void
supervise(struct server *s, void (*run)(struct server *))
{
	int64_t kill_at = INT64_MAX;

	if (!start_all(s, run))
		give_up();
	signals_at_once(cut_down);
	server_ready(s, sandbox_supervisor, sandbox_supervisor_calls);
	while (server_is_open(s) || alive() > 0) {
		if (s->stopping && kill_at == INT64_MAX) {
			signal_all(SIGTERM);
			kill_at = s->now + s->drain + GRACE;
		}
		if (s->now >= kill_at)
			signal_all(SIGKILL);
		if (server_is_open(s))
			start_workers(s, run);
		else
			signal_all(SIGCHLD);	/* who sleeps, sees it too */
		net_poll(NULL, 0, patience(s, kill_at), &s->waiting_mask);
		server_woke(s);
		reap(s);
	}
}

int
server_run(struct server *s, void (*run)(struct server *))
{
	if (s->max_clients > 0 && s->max_clients < (uint64_t)s->workers)
		s->workers = (int)s->max_clients;	/* each has room */
	if (s->workers > 1)
		supervise(s, run);
	else
		run(s);
	if (s->verbosity >= NORMAL)
		log_totals(s);
	server_close_listeners(s);
	free(s->buffer);
	return STATUS_OK;
}
