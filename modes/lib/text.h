/*
 * Text for people and for JSON: bytes of unknown origin as quoted strings,
 * durations, counts, and the comparison of bytes. It depends on no other file
 * of this program.
 */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The plural ending of "%" PRIu64 " byte%s". */
#define PLURAL(n) ((n) == 1 ? "" : "s")

enum {
	TEXT_SHOWN = 64,		/* bytes that text_quote() shows */
	TEXT_QUOTED = 4 * TEXT_SHOWN + 6,	/* size of the result */
	TEXT_TIME = 32
};

/*
 * Quotes the size bytes at data "like this". Of more than TEXT_SHOWN bytes,
 * only the first are read, and "..." follows. Returns out.
 *
 * The following bytes are shown as \xHH, so that no data can forge a log line
 * or control a terminal: control characters (C0 and C1), quotes, backslashes,
 * bytes that are not valid UTF-8 (RFC 3629), and the characters that break
 * lines or change the direction of text (Unicode Zl, Zp, Bidi_Control).
 */
const char *text_quote(char out[TEXT_QUOTED], const void *data, uint64_t size);

/*
 * The length of the UTF-8 character at p, of at most size bytes; 0 if the
 * bytes are not a whole character (RFC 3629).
 */
size_t text_utf8_size(const unsigned char *p, size_t size);

/*
 * The same as a JSON string (RFC 8259) of at most max bytes of data. out has
 * TEXT_JSON(max) bytes. An invalid byte becomes U+FFFD, because JSON strings
 * contain only characters. Every string in JSON output is written by this
 * function.
 */
#define TEXT_JSON(max) (6 * (max) + 3)
const char *text_json(char *out, const void *data, uint64_t size, size_t max);

/* Returns whether the size bytes at data are UTF-8 (RFC 3629). */
bool text_is_utf8(const void *data, size_t size);

/*
 * Copies the size bytes of a line to out, which has size + 1 bytes. Writes ?
 * instead of a character that text_quote() shows as \xHH, except tabs, quotes
 * and backslashes, which remain. Leaves out blanks at the end. Returns out.
 */
const char *text_safe_line(char *out, const void *data, size_t size);

/*
 * Joins first and the words of the NULL-terminated list with spaces, as echo(1)
 * does. Returns a string for free(3), or NULL if there is no memory.
 */
char *text_join(const char *first, char *const *rest);

/* Formats a duration in ns for people: "0.3 ms", "61.2 s". */
const char *text_time(char out[TEXT_TIME], int64_t ns);

/* Formats a duration in ns as milliseconds for JSON: "0.283". */
const char *text_milliseconds(char out[TEXT_TIME], int64_t ns);

/* The offset of the first byte in which a and b differ; n if none does. */
size_t text_first_difference(const void *a, const void *b, size_t n);

#endif
