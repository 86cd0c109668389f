/*
 * This system has no io_uring(7), or the headers of its kernel do not know it.
 */
#include "engine.h"

#include <stddef.h>

const struct engine engine_uring = { .run = NULL };
