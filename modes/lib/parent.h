/*
 * A child process that must not outlive its parent, even if the parent is
 * killed. Linux sends the child a signal (PR_SET_PDEATHSIG). On other systems
 * the parent holds one end of a pipe for each child, and the system sends SIGIO
 * to the child when the pipe breaks (O_ASYNC).
 */
#ifndef PARENT_H
#define PARENT_H

#include <sys/types.h>

/* In the parent, before each fork(2). Returns 0 or -errno. */
int parent_prepare(void);

/* In the parent, after each fork(2), whether it has succeeded or not. */
void parent_forked(void);

/*
 * In the child: asks for the signal when the parent ends; the signal is sent at
 * once if the parent has already ended. Without parent_prepare(), or after
 * execve(2), the signal is sent only on Linux.
 */
void parent_follow(pid_t parent, int signal);

/* In the child: the descriptor that parent_follow() needs, or -1. */
int parent_descriptor(void);

#endif
