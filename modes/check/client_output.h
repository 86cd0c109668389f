/*
 * Finds the reply in what a client has printed. Clients of the homework print
 * it in many ways: as it is, behind other words ("Server says: ..."), or in one
 * line for each recv ("received ..."); and some of them also print the message
 * before they send it.
 */
#ifndef CLIENT_OUTPUT_H
#define CLIENT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "command.h"

/* How often the whole text occurs in the output. */
size_t client_output_count(const struct keeper_output *, const char *text,
    size_t size);

/*
 * Returns how much of the reply is in the output, in bytes from its beginning.
 * The parts may be apart, in order, and have at least the given size each,
 * apart from the last. The first own occurrences of the whole reply do not
 * count: the client prints the message so often before it has sent it.
 */
size_t client_output_find(const struct keeper_output *, const char *reply,
    size_t size, size_t part, size_t own);

/* Whether the output is the reply alone, with or without a newline. */
bool client_output_is_plain(const struct keeper_output *, const char *reply,
    size_t size);

/*
 * The last line that looks like an error message, or else the last line that
 * is not blank. Returns its size and points *line to it.
 */
size_t client_output_error(const struct keeper_output *, const char **line);

#endif
