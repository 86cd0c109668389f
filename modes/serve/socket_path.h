/*
 * The file of a Unix socket that a server listens on.
 *
 * A server that was killed leaves its file behind, and the next server replaces
 * this file. A server must not replace the file of a server that still runs,
 * even if several servers start at once. A server must not remove the file of
 * another server that has taken the path in the meantime.
 */
#ifndef SOCKET_PATH_H
#define SOCKET_PATH_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <stdbool.h>

struct socket_path {
	char *path;		/* NULL: this server owns no file */
	dev_t device;		/* of the file, to recognize the file */
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

/* Removes the file if this server still owns it, and forgets the path. */
void socket_path_remove(struct socket_path *);

/* Forgets the path without removing the file: another process removes it. */
void socket_path_forget(struct socket_path *);

#endif
