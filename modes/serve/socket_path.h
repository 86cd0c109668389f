/*
 * The file of a Unix socket that a server listens on.
 *
 * A server that was killed leaves its file behind, and the next one replaces
 * it. That must not happen to a server that still runs, nor while several
 * servers start at once; and a server must not remove the file of another one
 * that has taken its path meanwhile.
 */
#ifndef SOCKET_PATH_H
#define SOCKET_PATH_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <stdbool.h>

struct socket_path {
	char *path;		/* NULL: there is no file that is ours */
	dev_t device;		/* of the file, to know it again */
	ino_t inode;
};

/*
 * Listens at that path, with a file of that mode. A file that no process
 * listens on is replaced. Returns a socket or -errno: -EADDRINUSE if a process
 * listens there, -EBUSY if another server has been starting in the same
 * directory for a second, -ENOMEM.
 */
int socket_path_listen(struct socket_path *, const struct sockaddr_un *,
    socklen_t size, mode_t mode);

/* Removes the file if it still is ours, and forgets it. */
void socket_path_remove(struct socket_path *);

/* Forgets the file, which another process removes. */
void socket_path_forget(struct socket_path *);

#endif
