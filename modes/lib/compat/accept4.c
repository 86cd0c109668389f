/*
 * accept4(2): accept(2), then fcntl(2). Another thread could start a program
 * between the two calls, but this program has no threads.
 */
#include "flags.h"

int
compat_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	return compat_set_flags(accept(fd, address, size),
	    flags & SOCK_CLOEXEC, flags & SOCK_NONBLOCK);
}
