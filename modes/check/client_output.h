/*
 * Finds the reply in the output of a client. Clients of the homework print the
 * reply in many ways: unchanged, after other words ("Server says: ..."), or in
 * one line for each recv ("received ..."). Some clients also print the message
 * before they send it.
 */
#ifndef CLIENT_OUTPUT_H
#define CLIENT_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>

#include "command.h"

/* Returns how often the whole text occurs in the output. */
size_t client_output_count(const struct keeper_output *, const char *text,
    size_t size);

/*
 * Returns how many bytes of the reply, from its beginning, are in the output.
 * The output may contain the reply in separate parts, which must be in order.
 * Each part except the last one must have at least the given size. The first
 * `own` occurrences of the whole reply do not count: the client itself prints
 * its message that many times.
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
