#ifndef RANDOM_H
#define RANDOM_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Fills the buffer, of at most 256 bytes, with random bytes, without blocking.
 * Returns false if the system has no random bytes yet.
 */
bool random_fill(void *, size_t);

#endif
