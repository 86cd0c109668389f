/*
 * The usual ways in which an echo server changes the bytes of a message, as
 * functions that can be applied to the bytes that were sent.
 */
#ifndef CHANGE_H
#define CHANGE_H

#include <stdbool.h>
#include <stddef.h>

enum { CHANGE_NONE = -1, CHANGE_GROWTH = 3 };

extern const int change_count;

/*
 * Applies a change to the n bytes of one recv, and writes the result to out,
 * which has room for CHANGE_GROWTH * n bytes. Returns the number of bytes
 * written.
 */
size_t change_apply(int change, const unsigned char *in, size_t n,
    unsigned char *out);

/* Whether the result depends on how the bytes are divided into recvs. */
bool change_depends_on_reads(int change);

/* Returns one sentence that says what the change does. */
const char *change_sentence(int change);

#endif
