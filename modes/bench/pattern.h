/*
 * The bytes that all messages are taken from: pseudo-random (xorshift32), with
 * a period that is a prime number. Messages that begin at different positions
 * have different bytes, so that a server which mixes up two messages, or sends
 * bytes from an earlier use of a buffer, sends wrong bytes. Includes no other
 * header of the project.
 */
#ifndef PATTERN_H
#define PATTERN_H

#include <stdint.h>

enum {
	PATTERN_PERIOD = 65521,
	PATTERN_MIN = 65536	/* bytes after every position, at least */
};

/* Fills the pattern, which must happen before it is used. */
void pattern_fill(void);

/* The bytes from that position on, at least PATTERN_MIN. */
const unsigned char *pattern_at(uint64_t position);

#endif
