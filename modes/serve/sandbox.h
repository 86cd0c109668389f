/*
 * The privileges that a server drops when it listens: those of root, and every
 * system call that serving does not need. Includes no other header of the
 * project.
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
 * Becomes that user permanently, with the groups of that user and no other
 * group. Returns 0 or -errno: -ENOENT if there is no such user, -EPERM if the
 * process is not root or could become root again.
 */
int sandbox_user(const char *name);

/*
 * Adds system calls (SYS_*, SANDBOX_END at the end) to those that the next
 * sandbox_enter() allows.
 */
void sandbox_allow(const int *calls);

/*
 * From now on, this process and its children may make only the system calls
 * that all servers make, and those that were added with sandbox_allow(). Any
 * other call kills the process (SIGSYS). A second call of this function
 * restricts the process further. Returns 0, or -errno if the kernel or this
 * build has no such filter (seccomp(2)). A build with a sanitizer has no
 * filter, because the sanitizer needs additional system calls.
 */
int sandbox_enter(void);

/* For a server that owns the files of Unix sockets. */
extern const int sandbox_remove_file[];

/* For a supervisor: its own calls, and the first calls of a worker. */
extern const int sandbox_supervisor[];

#endif
