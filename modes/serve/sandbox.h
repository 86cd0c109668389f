/*
 * What a server gives up once it listens: root, and every system call that
 * serving does not take. Includes nothing of ours.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#include <stddef.h>

/*
 * Becomes that user for good, in its own group and no other. 0 or -errno:
 * -ENOENT if there is no such user, -EPERM for all but root, or if one could
 * come back.
 */
int sandbox_user(const char *name);

/*
 * From here on the process, and whatever it starts, is killed (SIGSYS) by any
 * system call but those that all servers make and the n in calls (SYS_*).
 * Entering again takes more away. 0, or -errno: the kernel has no such thing,
 * or it is built with a sanitizer, which needs calls of its own.
 */
int sandbox_enter(const int *calls, size_t n);

enum { SANDBOX_CALLS = 64 };	/* the most that n may be */

/* The calls of a supervisor: its own and those by which its workers begin. */
extern const int sandbox_supervisor[];
extern const size_t sandbox_supervisor_calls;

#endif
