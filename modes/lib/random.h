#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Fills the buffer, of at most 256 bytes, with random bytes, without blocking.
 * False: the system has none yet.
 */
bool random_fill(void *, size_t);

#endif
