/*
 * What a server has most likely done wrong, from what came back.
 */
#ifndef BLAME_H
#define BLAME_H

#include "talk.h"

enum { BLAME_SIZE = 160 };

/* One sentence about a talk that is not right, without quotes; returns out. */
const char *blame(char out[BLAME_SIZE], const struct talk *);

#endif
