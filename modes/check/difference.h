/*
 * Describes how the received bytes differ from the bytes that were sent.
 */
#ifndef DIFFERENCE_H
#define DIFFERENCE_H

#include "talk.h"

enum { DIFFERENCE_SIZE = 160 };	/* room for a sentence, in bytes */

/* Writes one sentence about a conversation whose bytes differ to out. */
void difference_describe(char out[DIFFERENCE_SIZE], const struct talk *);

#endif
