#include "signals.h"

#include <stddef.h>
#include <unistd.h>

#include "modes/mode.h"

static void
exit_at_once(void)
{
	_exit(STATUS_NO);
}

static volatile sig_atomic_t stops, totals;
static void (*at_once)(void) = exit_at_once;

static void
on_stop(int signal)
{
	(void)signal;
	if (stops > 0 && at_once != NULL)
		at_once();
	stops = 1;
}

static void
on_totals(int signal)
{
	(void)signal;
	totals = 1;
}

/* It only has to end a wait. */
static void
on_child(int signal)
{
	(void)signal;
}

void
signals_catch(sigset_t *waiting_mask)
{
	static const struct {
		int signal;
		void (*handler)(int);
	} table[] = {
		{ SIGTERM, on_stop },
		{ SIGINT, on_stop },
		{ SIGUSR1, on_totals },
		{ SIGCHLD, on_child }
	};
	sigset_t blocked;

	sigemptyset(&blocked);
	sigprocmask(SIG_BLOCK, NULL, waiting_mask);
	for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++) {
		struct sigaction action = { .sa_handler = table[i].handler };

		sigaddset(&blocked, table[i].signal);
		sigdelset(waiting_mask, table[i].signal);
		sigaction(table[i].signal, &action, NULL);
	}
	sigprocmask(SIG_BLOCK, &blocked, NULL);
}

bool
signals_stop(void)
{
	return stops > 0;
}

bool
signals_totals(void)
{
	bool asked = totals > 0;

	totals = 0;
	return asked;
}

void
signals_at_once(void (*then)(void))
{
	at_once = then;
}

void
signals_let_in(const sigset_t *waiting_mask)
{
	sigset_t blocked;

	sigprocmask(SIG_SETMASK, waiting_mask, &blocked);
	sigprocmask(SIG_SETMASK, &blocked, NULL);
}
