/*
 * The processes that a command has started, for the keeper. Includes no other
 * header of the project.
 */
#ifndef DESCENDANTS_H
#define DESCENDANTS_H

#include <sys/types.h>

#include <stdbool.h>

/* Makes descendants whose parent has ended children of this process. */
void descendants_adopt(void);

/*
 * Sends a signal to all descendants of this process, including those in other
 * process groups and sessions. On systems other than Linux, sends the signal
 * only to the process group of the command.
 */
void descendants_signal(pid_t command, int signal);

/*
 * Whether there may be a process of the command that is not a child of this
 * process.
 */
bool descendants_remain(pid_t command);

#endif
