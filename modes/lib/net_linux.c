/*
 * The functions of net.h that need features of Linux.
 */
#include "net.h"

#include <sys/ioctl.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <stddef.h>

/* Bytes of a buffer for datagrams, if the process may exceed the limit. */
enum { BUFFER_WANTED = 8 << 20 };

const bool net_has_abstract_names = true;
const bool net_has_loopback_network = true;

pid_t
net_peer_process(int fd)
{
	struct ucred process;
	socklen_t size = sizeof(process);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &process, &size) < 0 ?
	    0 : process.pid;
}

/* The kernel counts the size twice (socket(7)). */
static void
enlarge_buffer(int fd, int option, int option_of_root)
{
	int wanted = INT_MAX, size = 0;
	socklen_t length = sizeof(size);

	setsockopt(fd, SOL_SOCKET, option, &wanted, sizeof(wanted));
	wanted = BUFFER_WANTED;
	if (getsockopt(fd, SOL_SOCKET, option, &size, &length) < 0 ||
	    size / 2 < wanted)
		setsockopt(fd, SOL_SOCKET, option_of_root, &wanted,
		    sizeof(wanted));
}

void
net_enlarge_buffers(int fd)
{
	enlarge_buffer(fd, SO_RCVBUF, SO_RCVBUFFORCE);
	enlarge_buffer(fd, SO_SNDBUF, SO_SNDBUFFORCE);
}

uint32_t
net_kernel_drops(int fd)
{
	uint32_t memory[SK_MEMINFO_VARS] = { 0 };
	socklen_t size = sizeof(memory);

	/*
	 * SO_RXQ_OVFL would tell it with the next datagram only, and not after
	 * the last one.
	 */
	if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) < 0)
		return 0;
	return memory[SK_MEMINFO_DROPS];
}

ssize_t
net_recv_from(int fd, void *buf, size_t size, struct net_peer *from)
{
	*from = (struct net_peer){ .size = sizeof(from->address) };
	return net_result(recvfrom(fd, buf, size, MSG_DONTWAIT | MSG_TRUNC,
	    &from->address.any, &from->size));
}

/* Both options report them to a socket that is not connected (ip(7), ipv6(7)). */
void
net_ask_for_icmp(int fd)
{
	setsockopt(fd, IPPROTO_IP, IP_RECVERR, &(int){ 1 }, sizeof(int));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVERR, &(int){ 1 }, sizeof(int));
}

void
net_discard_icmp(int fd)
{
	char part[64];

	while (recv(fd, part, sizeof(part), MSG_ERRQUEUE | MSG_DONTWAIT) >= 0)
		;
	net_error(fd);
}

bool
net_has_fin(int fd, int64_t ns)
{
	struct pollfd peer = { fd, POLLIN | POLLRDHUP, 0 };

	net_poll(&peer, 1, ns);
	return (peer.revents & POLLRDHUP) != 0;
}

ssize_t
net_splice(int from, int to, size_t size, bool more)
{
	return net_result(splice(from, NULL, to, NULL, size,
	    SPLICE_F_NONBLOCK | (more ? SPLICE_F_MORE : 0)));
}

int
net_unacknowledged(int fd)
{
	int bytes;

	return ioctl(fd, TIOCOUTQ, &bytes) == 0 ? bytes : 0;
}
