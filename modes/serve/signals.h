/*
 * The signals of a server arrive through a pipe (the self-pipe trick), which is
 * watched like any other descriptor. So no signal is lost between a test and a
 * wait, no wait needs a signal mask, and a loop whose descriptors are always
 * ready still notices the signals.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <stdbool.h>

/*
 * Catches TERM, INT, USR1 and CHLD, and opens the pipe of this process. After
 * fork(2), the child calls this function again to have its own pipe. Returns
 * the descriptor that becomes readable when a signal has arrived; exits with
 * STATUS_LOCAL if there is no free descriptor.
 */
int signals_open(void);

/* Holds signals back across a fork(2), until the child has its own pipe. */
void signals_block(void);
void signals_unblock(void);

/* Whether a signal has arrived that was not taken. Makes no system call. */
bool signals_are_pending(void);

/* Empties the pipe. To be called before the signals are taken. */
void signals_read(void);

/*
 * Whether TERM or INT has arrived since the last call. Several of these signals
 * before the call are one request to stop. The next one after the call runs the
 * function of signals_on_second_stop().
 */
bool signals_take_stop(void);

/* Whether USR1 has arrived since the last call. */
bool signals_take_totals(void);

/*
 * Sets the function that a second TERM or INT calls, in the signal handler. By
 * default, the program exits with STATUS_NO; NULL: nothing happens.
 */
void signals_on_second_stop(void (*)(void));

#endif
