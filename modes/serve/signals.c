#include "signals.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <unistd.h>

#include "modes/mode.h"

static void
exit_at_once(void)
{
	_exit(STATUS_NO);
}

static int pipe_ends[2] = { -1, -1 };
static volatile sig_atomic_t stop_requested, totals_requested, is_stopping;
static void (*second_stop)(void) = exit_at_once;

/* A full pipe is readable already, so a failed write loses nothing. */
static void
wake_up(void)
{
	int error = errno;

	(void)!write(pipe_ends[1], "", 1);
	errno = error;
}

static void
on_stop(int signal)
{
	(void)signal;
	if (is_stopping && second_stop != NULL)
		second_stop();
	stop_requested = 1;
	wake_up();
}

static void
on_totals(int signal)
{
	(void)signal;
	totals_requested = 1;
	wake_up();
}

static void
on_child(int signal)
{
	(void)signal;
	wake_up();
}

static const struct {
	int signal;
	void (*handler)(int);
} handlers[] = {
	{ SIGTERM, on_stop },
	{ SIGINT, on_stop },
	{ SIGUSR1, on_totals },
	{ SIGCHLD, on_child }
};

enum { HANDLERS = sizeof(handlers) / sizeof(*handlers) };

static void
change_mask(int how)
{
	sigset_t caught;

	sigemptyset(&caught);
	for (size_t i = 0; i < HANDLERS; i++)
		sigaddset(&caught, handlers[i].signal);
	sigprocmask(how, &caught, NULL);
}

void
signals_block(void)
{
	change_mask(SIG_BLOCK);
}

void
signals_unblock(void)
{
	change_mask(SIG_UNBLOCK);
}

int
signals_open(void)
{
	for (int i = 0; i < 2; i++)
		if (pipe_ends[i] >= 0)
			close(pipe_ends[i]);
	if (pipe2(pipe_ends, O_CLOEXEC | O_NONBLOCK) < 0)
		err(STATUS_LOCAL, "cannot open a pipe for signals");
	for (size_t i = 0; i < HANDLERS; i++) {
		struct sigaction action = {
			.sa_handler = handlers[i].handler,
			.sa_flags = SA_RESTART
		};

		sigaction(handlers[i].signal, &action, NULL);
	}
	signals_unblock();	/* also signals that the parent has blocked */
	return pipe_ends[0];
}

bool
signals_are_pending(void)
{
	return stop_requested != 0 || totals_requested != 0;
}

void
signals_read(void)
{
	char buffer[64];

	while (read(pipe_ends[0], buffer, sizeof(buffer)) > 0)
		;
}

bool
signals_take_stop(void)
{
	bool requested = stop_requested != 0;

	if (requested)
		is_stopping = 1;
	stop_requested = 0;
	return requested;
}

bool
signals_take_totals(void)
{
	bool requested = totals_requested != 0;

	totals_requested = 0;
	return requested;
}

void
signals_on_second_stop(void (*function)(void))
{
	second_stop = function;
}
