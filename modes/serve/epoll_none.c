/*
 * This system has no epoll(7).
 */
#include "engine.h"

#include <stddef.h>

const struct engine engine_epoll = { .run = NULL };
