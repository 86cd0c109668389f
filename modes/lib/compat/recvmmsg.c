/* recvmmsg(2) and sendmmsg(2), with one call for each datagram. */
#include "compat.h"

int
compat_recvmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags,
    struct timespec *timeout)
{
	unsigned i;

	(void)timeout;
	for (i = 0; i < n; i++) {
		ssize_t size = recvmsg(fd, &messages[i].msg_hdr, flags);

		if (size < 0)
			break;
		messages[i].msg_len = (unsigned)size;
	}
	return i == 0 && n > 0 ? -1 : (int)i;
}

int
compat_sendmmsg(int fd, struct mmsghdr *messages, unsigned n, int flags)
{
	unsigned i;

	for (i = 0; i < n; i++) {
		ssize_t size = sendmsg(fd, &messages[i].msg_hdr, flags);

		if (size < 0)
			break;
		messages[i].msg_len = (unsigned)size;
	}
	return i == 0 && n > 0 ? -1 : (int)i;
}
