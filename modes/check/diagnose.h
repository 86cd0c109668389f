/*
 * Finds the mistake of a server from the observations of all conversations so
 * far.
 */
#ifndef DIAGNOSE_H
#define DIAGNOSE_H

#include "candidates.h"
#include "talk.h"

enum { DIAGNOSE_SIZE = 336 };	/* room for a sentence, in bytes */

/*
 * Writes one sentence about the last recorded conversation, which is not
 * correct: the observation, the mistake that causes it, if it is proven, and,
 * unless check has started the server, whether the server accepts connections.
 * Holds further conversations to decide between several mistakes. Returns out.
 * The sentence contains no double quotes.
 */
const char *diagnose_talk(char out[DIAGNOSE_SIZE], struct history *,
    const struct talk *);

/* The same without a cause. */
const char *diagnose_observation(char out[DIAGNOSE_SIZE], const struct talk *);

/*
 * Writes why there is no connection; error is the errno. accepted_in is the
 * name of the last test that had a connection, and opened_before is the number
 * of connections before the current test. Returns out.
 */
const char *diagnose_connect(char out[DIAGNOSE_SIZE], const struct target *,
    int error, int opened_before, const char *accepted_in);

/* The words for a probe in the sentence "answered only after %s". */
const char *diagnose_probe_text(enum probe);

#endif
