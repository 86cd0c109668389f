/*
 * Sets the flags of a descriptor that was just opened, both on or off: some
 * systems let an accepted socket inherit O_NONBLOCK. Returns fd, or -1 with
 * errno; fd is then closed, or was -1.
 */
#ifndef COMPAT_FLAGS_H
#define COMPAT_FLAGS_H

#include "compat.h"

int compat_set_flags(int fd, int cloexec, int nonblock);

/* The same for two descriptors: 0, or -1, and then both are closed. */
int compat_set_flags_of_pair(const int ends[2], int cloexec, int nonblock);

#endif
