/*
 * The workers share the listening sockets: the worker that accepts a connection
 * first serves it. So a worker that is busy, at its limit or stopped delays no
 * new client, and when a worker dies, only its own clients are lost. The
 * supervisor does not serve: it starts workers, replaces a worker that has
 * died, and passes a request to stop on to all workers.
 */
#include "workers.h"

#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "modes/lib/parent.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"
#include "signals.h"
#include "systemd.h"

/* A worker that dies at once is not replaced at once. */
static const int64_t MIN_LIFE = 500 * NET_MS;

/* Workers that still run this long after the drain time are killed. */
static const int64_t KILL_DELAY = NET_SECOND;

struct worker {
	pid_t pid;		/* 0: not running */
	int64_t start_at;	/* not to be started before this; net_now() */
};

/* Static, because a signal handler kills the workers. */
static struct supervisor {
	struct server *server;
	struct worker workers[WORKERS_MAX];
	int64_t now;
	bool is_stopping;
	int64_t kill_at;
} supervisor;

static int ready_fd = -1;	/* where a worker reports that it is ready */

static void
signal_workers(int signal)
{
	for (int i = 0; i < WORKERS_MAX; i++)
		if (supervisor.workers[i].pid > 0)
			kill(supervisor.workers[i].pid, signal);
}

/* Acts on a second request to stop; runs in a signal handler. */
static void
kill_workers(void)
{
	signal_workers(SIGKILL);
	_exit(STATUS_NO);
}

static bool
is_open(void)
{
	const struct server *s = supervisor.server;

	return !supervisor.is_stopping && server_is_open(s);
}

/*
 * A worker.
 */

/* Returns the ith of n shares of the whole. */
static uint64_t
share_of(uint64_t whole, int i, int n)
{
	return whole / (uint64_t)n + ((uint64_t)i < whole % (uint64_t)n);
}

static void
report_to_supervisor(struct server *s)
{
	(void)s;
	if (ready_fd < 0)
		return;
	if (write(ready_fd, "", 1) != 1)
		err(STATUS_LOCAL, "cannot report to the supervisor");
	close(ready_fd);
	ready_fd = -1;
}

static void
report_nothing(struct server *s)
{
	(void)s;
}

/*
 * Runs in the new process. Signals from a terminal or a service manager reach
 * the workers, too, but only the supervisor acts on a second request to stop,
 * and only the supervisor logs the totals.
 */
static void
worker_run(struct server *s, int i, pid_t supervisor_pid)
{
	signals_on_second_stop(NULL);
	s->signals.fd = signals_open();
	signal(SIGUSR1, SIG_IGN);
	parent_follow(supervisor_pid, SIGTERM);
	listener_forget_files(&s->listeners);
	systemd_close();
	s->on_ready = report_to_supervisor;
	s->on_stop = report_nothing;
	s->max_clients = share_of(s->options.max_clients, i,
	    s->options.workers);
	server_open_process(s, &s->shared->workers[i]);
	s->engine->run(s);
	exit(STATUS_OK);
}

/*
 * The supervisor.
 */

/* Starts a worker. Returns 0 or -errno. */
static int
start_worker(struct server *s, int i)
{
	struct worker *w = &supervisor.workers[i];
	pid_t self = getpid();
	int error;

	w->start_at = supervisor.now + MIN_LIFE;
	if ((error = parent_prepare()) < 0)
		return error;
	/* A signal to the child must not go to the pipe of this process. */
	signals_block();
	w->pid = fork();
	error = errno;
	if (w->pid == 0)
		worker_run(s, i, self);
	parent_forked();
	signals_unblock();
	return w->pid < 0 ? -error : 0;
}

/* Starts the workers that are due. False: a worker could not be started. */
static bool
start_workers(struct server *s)
{
	for (int i = 0; i < s->options.workers; i++) {
		struct worker *w = &supervisor.workers[i];
		int error;

		if (w->pid > 0 || w->start_at > supervisor.now)
			continue;
		if ((error = start_worker(s, i)) < 0) {
			log_warning("cannot start a worker: %s",
			    strerror(-error));
			return false;
		}
	}
	return true;
}

static bool
has_workers(void)
{
	for (int i = 0; i < WORKERS_MAX; i++)
		if (supervisor.workers[i].pid > 0)
			return true;
	return false;
}

static void
worker_exited(struct server *s, int i, int status)
{
	bool as_told = WIFEXITED(status) &&
	    WEXITSTATUS(status) == STATUS_OK && !is_open();

	if (!as_told)
		log_worker_ended(supervisor.workers[i].pid, status,
		    s->shared->workers[i].clients, is_open());
	supervisor.workers[i].pid = 0;
	s->shared->workers[i].clients = 0;
}

static void
reap_workers(struct server *s)
{
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (int i = 0; i < s->options.workers; i++)
			if (supervisor.workers[i].pid == pid)
				worker_exited(s, i, status);
}

/* The time until a worker is due or has to be killed; ns or NET_FOREVER. */
static int64_t
supervisor_wait_time(const struct server *s)
{
	int64_t retry = systemd_retry(), until = supervisor.kill_at;

	if (retry > 0 && supervisor.now + retry < until)
		until = supervisor.now + retry;
	for (int i = 0; i < s->options.workers && is_open(); i++) {
		const struct worker *w = &supervisor.workers[i];

		if (w->pid <= 0 && w->start_at < until)
			until = w->start_at;
	}
	if (until == INT64_MAX)
		return NET_FOREVER;
	return until > supervisor.now ? until - supervisor.now : 0;
}

/* Reports a worker that was killed before it was ready. */
static void
report_killed_worker(void)
{
	siginfo_t end = { 0 };

	waitid(P_ALL, 0, &end, WEXITED | WNOWAIT);
	if (end.si_code != CLD_EXITED)
		warnx("a worker was killed by signal %d (%s)", end.si_status,
		    strsignal(end.si_status));
}

/*
 * Starts all workers, and waits until each worker is ready or has exited; a
 * worker that is ready writes a byte to a pipe. False: a worker is not ready,
 * and the reason has been printed.
 */
static bool
start_all_workers(struct server *s)
{
	int ends[2], ready = 0;
	bool all_started;
	ssize_t n;
	char byte;

	if (pipe2(ends, O_CLOEXEC) < 0)
		err(STATUS_LOCAL, "cannot start workers");
	ready_fd = ends[1];
	all_started = start_workers(s);
	close(ends[1]);
	ready_fd = -1;
	while ((n = read(ends[0], &byte, 1)) > 0 ||
	    (n < 0 && errno == EINTR))
		ready += n > 0;
	close(ends[0]);
	if (all_started && ready < s->options.workers)
		report_killed_worker();
	return all_started && ready == s->options.workers;
}

/* At start-up, when a worker is not ready: ends the other workers. */
static void
give_up(void)
{
	signal_workers(SIGKILL);
	for (int i = 0; i < WORKERS_MAX; i++)
		if (supervisor.workers[i].pid > 0)
			waitpid(supervisor.workers[i].pid, NULL, 0);
	exit(STATUS_LOCAL);
}

static void
stop_workers(struct server *s)
{
	if (supervisor.is_stopping)
		return;
	supervisor.is_stopping = true;
	supervisor.kill_at = supervisor.now + s->options.drain + KILL_DELAY;
	server_report_stopping(s);
	signal_workers(SIGTERM);
}

static void
supervisor_read_signals(struct server *s)
{
	signals_read();
	if (signals_take_totals())
		server_log_totals(s);
	if (signals_take_stop())
		stop_workers(s);
}

static void
supervisor_wait(struct server *s)
{
	struct pollfd signals = { .fd = s->signals.fd, .events = POLLIN };

	net_poll(&signals, 1, supervisor_wait_time(s));
	supervisor.now = net_now();
	supervisor_read_signals(s);
	reap_workers(s);
}

/* Returns when all workers have exited. */
static void
supervise(struct server *s)
{
	supervisor.server = s;
	supervisor.kill_at = INT64_MAX;
	supervisor.now = net_now();
	if (!start_all_workers(s))
		give_up();
	signals_on_second_stop(kill_workers);
	sandbox_allow(sandbox_supervisor);
	sandbox_allow(s->engine->setup_calls);
	server_ready(s);
	while (is_open() || has_workers()) {
		if (supervisor.now >= supervisor.kill_at)
			signal_workers(SIGKILL);
		if (is_open())
			start_workers(s);
		else {
			listener_close(&s->listeners);
			/* Wakes a worker that has not noticed the count. */
			signal_workers(SIGCHLD);
		}
		supervisor_wait(s);
	}
}

int
workers_run(struct server *s)
{
	struct server_options *options = &s->options;

	if (s->engine->check != NULL)
		s->engine->check();
	/* Each worker has room for a client. */
	if (options->max_clients > 0 &&
	    options->max_clients < (uint64_t)options->workers)
		options->workers = (int)options->max_clients;
	if (options->workers > 1)
		supervise(s);
	else {
		s->max_clients = options->max_clients;
		server_open_process(s, s->shared->workers);
		s->engine->run(s);
		client_close(&s->clients);
	}
	log_suppressed(INT64_MAX);
	if (log_has(LOG_CONNECTIONS))
		server_log_totals(s);
	listener_close(&s->listeners);
	log_close();
	return STATUS_OK;
}
