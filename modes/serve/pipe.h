/*
 * The pipe of bulk streams: through it, bytes pass from socket to socket
 * without being copied (splice(2)). A process has one pipe, which is empty
 * between the turns of two clients.
 */
#ifndef PIPE_H
#define PIPE_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>

/*
 * Opens the pipe. Without a pipe, bulk streams are served like other clients.
 */
void pipe_open(void);
void pipe_close(void);
bool pipe_is_open(void);

/*
 * Moves at most size bytes from a socket into the pipe, or from the pipe to a
 * socket, as net_splice() does.
 */
ssize_t pipe_fill(int from, size_t size);
ssize_t pipe_drain(int to, size_t size, bool more);

/* Reads the size bytes that are left in the pipe. */
void pipe_read(char *to, size_t size);

#endif
