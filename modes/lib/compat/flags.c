#include "flags.h"

int
compat_set_flags(int fd, int cloexec, int nonblock)
{
	int status = fd < 0 ? -1 : fcntl(fd, F_GETFL), error;

	if (fd < 0)
		return -1;
	status = nonblock ? status | O_NONBLOCK : status & ~O_NONBLOCK;
	if (fcntl(fd, F_SETFL, status) == 0 &&
	    fcntl(fd, F_SETFD, cloexec ? FD_CLOEXEC : 0) == 0)
		return fd;
	error = errno;
	close(fd);
	errno = error;
	return -1;
}

int
compat_set_flags_of_pair(const int ends[2], int cloexec, int nonblock)
{
	for (int i = 0; i < 2; i++)
		if (compat_set_flags(ends[i], cloexec, nonblock) < 0) {
			close(ends[!i]);
			return -1;
		}
	return 0;
}
