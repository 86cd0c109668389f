/*
 * The signals of a server arrive through a pipe (the self-pipe trick), which
 * is watched like any other descriptor. So no signal is lost between a test
 * and a wait, no wait needs a signal mask, and a loop that is never without
 * something ready still sees them.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

/*
 * Catches TERM, INT, USR1 and CHLD, and opens the pipe of this process. After
 * fork(2), the child calls it again to have its own pipe. Returns the
 * descriptor that becomes readable when a signal has come; exits with
 * STATUS_LOCAL if there is none.
 */
int signals_open(void);

/* Holds signals back across a fork(2), until the child has its own pipe. */
void signals_block(void);
void signals_unblock(void);

/* Whether a signal has come that has not been taken. Makes no system call. */
bool signals_are_pending(void);

/* Empties the pipe. To be called before the signals are taken. */
void signals_read(void);

/*
 * Whether TERM or INT has come since the last call. Several that have come
 * before the call are one request; the next one after it calls the function of
 * signals_on_second_stop().
 */
bool signals_take_stop(void);

/* Whether USR1 has come since the last call. */
bool signals_take_totals(void);

/*
 * What a second TERM or INT does, in the signal handler. By default it exits
 * with STATUS_NO; NULL: nothing.
 */
void signals_on_second_stop(void (*)(void));

#endif
