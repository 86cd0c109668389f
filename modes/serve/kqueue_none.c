/*
 * This system has no kqueue(2).
 */
#include "engine.h"

#include <stddef.h>

const struct engine engine_kqueue = { .run = NULL };
