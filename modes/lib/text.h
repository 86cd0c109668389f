/*
 * What the program says, made safe and readable: bytes from strangers as
 * quoted text, durations, counts. Includes nothing of ours.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>
#include <stdint.h>

/* For "%" PRIu64 " byte%s". */
#define PLURAL(n) ((n) == 1 ? "" : "s")

enum {
	TEXT_SHOWN = 64,			/* bytes of a text to show */
	TEXT_QUOTED = 4 * TEXT_SHOWN + 6,	/* room for them, all escaped */
	TEXT_TIME = 32
};

/*
 * Quotes the size bytes at data into out, which it returns: "like this", or
 * "the first TEXT_SHOWN of them"... where there are more; no others are read.
 * Control bytes, quotes, backslashes, what is not valid UTF-8 (RFC 3629), C1
 * controls and the characters that turn or break lines (Unicode Bidi_Control,
 * Zl, Zp) come out as \xHH, so that no text forges a line of a log or drives a
 * terminal.
 */
const char *text_quote(char out[TEXT_QUOTED], const void *data, uint64_t size);

/*
 * The same as a string of JSON (RFC 8259): up to most bytes, in TEXT_JSON(most)
 * of room; a byte that is no UTF-8 comes out as U+FFFD, for JSON has no bytes.
 */
#define TEXT_JSON(most) (6 * (most) + 3)
const char *text_json(char *out, const void *data, uint64_t size, size_t most);

/*
 * The word and those of the list, which ends with NULL, joined by single
 * spaces, as echo(1) does. For free(3); NULL if there is no memory.
 */
char *text_join(const char *first, char *const *rest);

/* Formats a duration in ns for people: "0.3 ms", "61.2 s". */
const char *text_time(char out[TEXT_TIME], int64_t ns);

/* Formats a duration in ns as milliseconds for JSON: "0.283". */
const char *text_milliseconds(char out[TEXT_TIME], int64_t ns);

/* The offset of the first byte in which a and b differ; n if none does. */
size_t text_first_difference(const void *a, const void *b, size_t n);

#endif
