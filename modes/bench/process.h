/*
 * What a server on this machine costs: the processor time and the memory of
 * a process and all its descendants, for servers that fork a worker or one
 * process a client. Includes nothing of ours.
 */
#ifndef PROCESS_H
#define PROCESS_H

#include <sys/types.h>

#include <stdint.h>

/*
 * Processor time in ns, user and system, of all their threads and of those
 * descendants that have ended and were waited for; or -errno, -ESRCH if
 * there is no such process. Descendants that nobody waits for (SIGCHLD
 * ignored, see wait(2)) leave no trace when they end.
 */
int64_t process_time(pid_t);

/*
 * Memory in bytes: each page divided by how many share it (PSS), or, where
 * the kernel does not tell, what is resident. Or -errno.
 */
int64_t process_memory(pid_t);

#endif
