/*
 * The message of a test. Each byte of a message is computed from its position,
 * once for sending and once for comparing. Therefore a message needs no memory,
 * whatever its size.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum content {
	TEXT,			/* the given text */
	LETTERS,		/* mixed letters, digits, - and _ */
	EVERY_BYTE,		/* 0 to 255, repeated */
	MARKED_BYTES		/* 8 of LETTERS, then EVERY_BYTE */
};

enum { MESSAGE_MARK = 8 };		/* letters before MARKED_BYTES */

struct message {
	enum content content;
	const char *text;
	uint64_t size;		/* bytes */
	uint32_t seed;		/* of LETTERS: another seed, other letters */
};

/*
 * Writes up to n bytes of the message to out, starting at the given offset.
 * Returns the number of bytes, which is less than n at the end of the message.
 */
size_t message_bytes(const struct message *, uint64_t offset,
    unsigned char *out, size_t n);

/* Whether the last byte of the message is a newline. */
bool message_ends_line(const struct message *);

#endif
