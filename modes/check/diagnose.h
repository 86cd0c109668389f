/*
 * Finds the most likely mistake of a server from the bytes that came back.
 */
#ifndef DIAGNOSE_H
#define DIAGNOSE_H

#include "talk.h"

enum { DIAGNOSE_SIZE = 160 };	/* room for a sentence, in bytes */

/*
 * Writes one sentence about a conversation that is not correct to out, and
 * returns out. The sentence contains no double quotes.
 */
const char *diagnose_talk(char out[DIAGNOSE_SIZE], const struct talk *);

#endif
