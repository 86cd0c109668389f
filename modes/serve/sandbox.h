/*
 * What a server gives up once it listens: root, and every system call that
 * serving does not need. Includes nothing of ours.
 */
#ifndef SANDBOX_H
#define SANDBOX_H

#ifdef __linux__
#include <sys/syscall.h>
#endif

#include <stdbool.h>

enum { SANDBOX_END = -1 };	/* ends a list of calls */

/* Whether this system has a filter of system calls. */
extern const bool sandbox_exists;

/*
 * Becomes that user for good, in its own group and no other. Returns 0 or
 * -errno: -ENOENT if there is no such user, -EPERM for all users but root, or
 * if the process could become root again.
 */
int sandbox_user(const char *name);

/*
 * Adds system calls (SYS_*, SANDBOX_END at the end) to those that the next
 * sandbox_enter() allows.
 */
void sandbox_allow(const int *calls);

/*
 * From here on the process, and whatever it starts, is killed (SIGSYS) by any
 * system call but those that all servers make and those that were added with
 * sandbox_allow(). To enter again takes more away. Returns 0, or -errno: the
 * kernel or this build has no such filter. A build with a sanitizer has none,
 * because the sanitizer needs calls of its own (seccomp(2)).
 */
int sandbox_enter(void);

/* For a server that owns the files of Unix sockets. */
extern const int sandbox_remove_file[];

/* For a supervisor: its own calls, and those with which a worker begins. */
extern const int sandbox_supervisor[];

#endif
