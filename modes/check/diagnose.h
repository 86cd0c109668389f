/*
 * Finds the mistake of a server from everything that its conversations have
 * shown so far.
 */
#ifndef DIAGNOSE_H
#define DIAGNOSE_H

#include "candidates.h"
#include "talk.h"

enum { DIAGNOSE_SIZE = 336 };	/* room for a sentence, in bytes */

/*
 * Writes one sentence about the last conversation recorded, which is not
 * correct: what was observed, the mistake that causes it if that is proven, and
 * whether the server accepts connections, unless check itself has started it.
 * To decide between several mistakes it holds further conversations. Returns
 * out. The sentence contains no double quotes.
 */
const char *diagnose_talk(char out[DIAGNOSE_SIZE], struct history *,
    const struct talk *);

/* The same without a cause. */
const char *diagnose_observation(char out[DIAGNOSE_SIZE], const struct talk *);

/*
 * Writes why there is no connection; error is the errno. accepted_in is the
 * name of the last test that had one, and opened_before the number of
 * connections before the current test. Returns out.
 */
const char *diagnose_connect(char out[DIAGNOSE_SIZE], const struct target *,
    int error, int opened_before, const char *accepted_in);

/* What makes a silent server answer, for "answered only after %s". */
const char *diagnose_probe_text(enum probe);

#endif
