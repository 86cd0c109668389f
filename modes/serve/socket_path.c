#include "socket_path.h"

#include <sys/file.h>
#include <sys/stat.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum { LOCK_TRIES = 100 };
static const int64_t LOCK_INTERVAL = 10 * NET_MS;

/*
 * Locks the directory of the path against other servers that start in it.
 * Returns a descriptor that holds the lock, -EBUSY, or -EACCES if the directory
 * cannot be read and therefore cannot be locked.
 */
static int
lock_directory(const char *path)
{
	const char *slash = strrchr(path, '/');
	char directory[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
	size_t n = slash == path ? 1 : (size_t)(slash - path);
	int fd;

	memcpy(directory, path, n);
	directory[n] = '\0';
	fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -EACCES;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return fd;
		net_poll(NULL, 0, LOCK_INTERVAL);
	}
	close(fd);
	return -EBUSY;
}

/*
 * Whether the file at that path is a socket that no process has bound any more.
 * To find out, a datagram socket connects to the path. This fails with
 * EPROTOTYPE if a process has bound a stream socket there, even before that
 * process listens, and the process does not notice it. It fails with
 * ECONNREFUSED if the file is left over.
 */
static bool
is_left_over(const struct sockaddr_un *un, socklen_t size)
{
	struct stat file;
	int fd, error;

	if (lstat(un->sun_path, &file) < 0 || !S_ISSOCK(file.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	error = connect(fd, (const struct sockaddr *)un, size) < 0 ? errno : 0;
	close(fd);
	return error == ECONNREFUSED;
}

/* Listens, with the lock held. */
static int
listen_or_replace(const struct sockaddr_un *un, socklen_t size, mode_t mode)
{
	const struct sockaddr *sa = (const struct sockaddr *)un;
	/*
	 * With chmod(2) after bind(2), other users could connect for a moment.
	 */
	mode_t before = umask(0777 & ~mode);
	int fd = net_listen(sa, size);

	if (fd == -EADDRINUSE && is_left_over(un, size) &&
	    unlink(un->sun_path) == 0)
		fd = net_listen(sa, size);
	umask(before);
	return fd;
}

static int
remember_file(struct socket_path *file, const char *path)
{
	struct stat status;

	if (lstat(path, &status) < 0)
		return -errno;
	if ((file->path = strdup(path)) == NULL)
		return -ENOMEM;
	file->device = status.st_dev;
	file->inode = status.st_ino;
	return 0;
}

int
socket_path_listen(struct socket_path *file, const struct sockaddr_un *un,
    socklen_t size, mode_t mode)
{
	int lock = lock_directory(un->sun_path), fd, error;

	if (lock == -EBUSY)
		return lock;
	fd = listen_or_replace(un, size, mode);
	if (fd >= 0 && (error = remember_file(file, un->sun_path)) < 0) {
		close(fd);
		fd = error;
	}
	if (lock >= 0)
		close(lock);
	return fd;
}

void
socket_path_remove(struct socket_path *file)
{
	struct stat now;

	if (file->path != NULL &&
	    fstatat(AT_FDCWD, file->path, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
	    now.st_dev == file->device && now.st_ino == file->inode)
		unlinkat(AT_FDCWD, file->path, 0);
	socket_path_forget(file);
}

void
socket_path_forget(struct socket_path *file)
{
	free(file->path);
	file->path = NULL;
}
