/*
 * The same functions of net.h for systems other than Linux. Each system has its
 * own interface for the process at the other end of a Unix socket, and for the
 * number of bytes that the peer has not acknowledged.
 */
#include "net.h"

#include <sys/ioctl.h>
#include <sys/param.h>
#ifdef LOCAL_PEERCRED
#include <sys/ucred.h>
#endif

#include <errno.h>
#include <stddef.h>

enum { BUFFER_WANTED = 8 << 20 };	/* bytes of a buffer for datagrams */

const bool net_has_abstract_names = false;
const bool net_has_loopback_network = false;

#ifndef SOL_LOCAL
#define SOL_LOCAL 0
#endif

#if defined(LOCAL_PEERPID)		/* macOS */
struct identity { pid_t pid; };
enum { IDENTITY_LEVEL = SOL_LOCAL, IDENTITY_OPTION = LOCAL_PEERPID };
#define IDENTITY_PID(identity) (identity).pid
#elif defined(LOCAL_PEEREID)		/* NetBSD */
struct identity { struct unpcbid id; };
enum { IDENTITY_LEVEL = SOL_LOCAL, IDENTITY_OPTION = LOCAL_PEEREID };
#define IDENTITY_PID(identity) (identity).id.unp_pid
#elif defined(LOCAL_PEERCRED)		/* FreeBSD 13 */
struct identity { struct xucred id; };
enum { IDENTITY_LEVEL = SOL_LOCAL, IDENTITY_OPTION = LOCAL_PEERCRED };
#define IDENTITY_PID(identity) (identity).id.cr_pid
#elif defined(__OpenBSD__)
struct identity { struct sockpeercred id; };
enum { IDENTITY_LEVEL = SOL_SOCKET, IDENTITY_OPTION = SO_PEERCRED };
#define IDENTITY_PID(identity) (identity).id.pid
#else					/* Linux, with PORTABLE=1 */
struct identity { struct ucred id; };
enum { IDENTITY_LEVEL = SOL_SOCKET, IDENTITY_OPTION = SO_PEERCRED };
#define IDENTITY_PID(identity) (identity).id.pid
#endif

pid_t
net_peer_process(int fd)
{
	struct identity peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, IDENTITY_LEVEL, IDENTITY_OPTION, &peer,
	    &size) < 0 ? 0 : IDENTITY_PID(peer);
}

/* A size above the limit of the system is an error here, and not reduced. */
static void
enlarge_buffer(int fd, int option)
{
	int size = BUFFER_WANTED;

	while (size > 65536 &&
	    setsockopt(fd, SOL_SOCKET, option, &size, sizeof(size)) < 0)
		size = size / 4 * 3;
}

void
net_enlarge_buffers(int fd)
{
	enlarge_buffer(fd, SO_RCVBUF);
	enlarge_buffer(fd, SO_SNDBUF);
}

uint32_t
net_kernel_drops(int fd)
{
	(void)fd;
	return 0;
}

ssize_t
net_recv_from(int fd, void *buf, size_t size, struct net_peer *from)
{
	struct iovec part = { buf, size };
	struct msghdr message = { .msg_name = &from->address,
	    .msg_namelen = sizeof(from->address), .msg_iov = &part,
	    .msg_iovlen = 1 };
	ssize_t n;

	*from = (struct net_peer){ .size = 0 };
	n = recvmsg(fd, &message, MSG_DONTWAIT);
	from->size = message.msg_namelen;
	if (n >= 0 && (message.msg_flags & MSG_TRUNC))
		n++;
	return net_result(n);
}

void
net_ask_for_icmp(int fd)
{
	(void)fd;
}

void
net_discard_icmp(int fd)
{
	net_error(fd);
}

bool
net_has_fin(int fd, int64_t ns)
{
	struct pollfd peer = { fd, POLLIN, 0 };
	char byte;

	net_poll(&peer, 1, ns);
	return net_peek(fd, &byte, 1) == 0;
}

#ifdef SO_NWRITE			/* macOS */
int
net_unacknowledged(int fd)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	return getsockopt(fd, SOL_SOCKET, SO_NWRITE, &bytes, &size) == 0 ?
	    bytes : 0;
}
#else
#ifndef FIONWRITE			/* Linux; OpenBSD has neither */
#define FIONWRITE TIOCOUTQ
#endif
int
net_unacknowledged(int fd)
{
	int bytes;

	return ioctl(fd, FIONWRITE, &bytes) == 0 ? bytes : 0;
}
#endif
