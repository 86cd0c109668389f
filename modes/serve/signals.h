/*
 * The signals of a server. They are blocked but while it waits, so that none
 * is lost between looking and waiting; the handlers only take note.
 */
#ifndef SIGNALS_H
#define SIGNALS_H

#include <signal.h>
#include <stdbool.h>

/*
 * Catches TERM, INT, USR1 and CHLD and blocks them; the mask to wait with
 * (ppoll(2) and its kin) is what was there before.
 */
void signals_catch(sigset_t *waiting_mask);

/* Asked to stop by TERM or INT. */
bool signals_stop(void);

/* Asked by USR1, since the last call, to say the totals. */
bool signals_totals(void);

/*
 * What a second TERM or INT does, in the handler; exiting with STATUS_NO
 * unless this is called. NULL: nothing.
 */
void signals_at_once(void (*)(void));

/* Lets in those that have come, without waiting. */
void signals_let_in(const sigset_t *waiting_mask);

#endif
