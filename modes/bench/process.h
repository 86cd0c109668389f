/*
 * The processor time and the memory of a server on this machine: of a process
 * and all its descendants, because a server may have worker processes or one
 * process per client. Includes no other header of the project.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

/* Whether this system has the figures below. If not, they are -ENOTSUP. */
extern const bool process_has_figures;

/*
 * User and system time in ns of all threads of these processes and of their
 * descendants that have ended and were waited for; or -errno, -ESRCH if there
 * is no such process. The time of a descendant that ends without being waited
 * for (SIGCHLD ignored, see wait(2)) is lost.
 */
int64_t process_time(pid_t);

/*
 * Memory in bytes, or -errno: the proportional set size (PSS), in which a page
 * shared by N processes counts 1/N, or the resident set size if the kernel
 * does not have the PSS (smaps_rollup in proc(5)).
 */
int64_t process_memory(pid_t);

#endif
