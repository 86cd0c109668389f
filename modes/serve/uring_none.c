/*
 * This system, or the headers of its kernel, have no io_uring(7).
 */
#include "engine.h"

#include <stddef.h>

const struct engine engine_uring = { .run = NULL };
