#include "net.h"

#include <sys/ioctl.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/*
 * Clients that may wait to be accepted: as many as the system allows, which
 * is net.core.somaxconn (listen(2)). SOMAXCONN is 128 in musl, whatever that
 * says, and 4096 in glibc.
 */
enum { BACKLOG = INT_MAX };

static ssize_t
or_errno(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/* Closes fd and returns -errno as it was before. */
static int
give_up(int fd)
{
	int error = errno;

	close(fd);
	return -error;
}

static void
turn_on(int fd, int level, int option)
{
	setsockopt(fd, level, option, &(int){ 1 }, sizeof(int));
}

int
net_resolve(const char *host, uint16_t port, struct addrinfo **found)
{
	/* Named by number, the port needs no services database. */
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
	    .ai_flags = AI_NUMERICSERV | (host == NULL ? AI_PASSIVE : 0) };
	char service[8];

	snprintf(service, sizeof(service), "%u", port);
	return getaddrinfo(host, service, &hints, found);
}

const char *
net_name(char out[NET_NAME_MAX], const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN], scope[16] = "";

	if (sa->sa_family == AF_INET) {
		const struct sockaddr_in *v4 = (const void *)sa;

		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(out, NET_NAME_MAX, "%s:%u", host,
		    ntohs(v4->sin_port));
	} else {
		const struct sockaddr_in6 *v6 = (const void *)sa;

		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		if (v6->sin6_scope_id != 0)
			snprintf(scope, sizeof(scope), "%%%u",
			    v6->sin6_scope_id);
		snprintf(out, NET_NAME_MAX, "[%s%s]:%u", host, scope,
		    ntohs(v6->sin6_port));
	}
	return out;
}

int
net_listen(const struct sockaddr *sa, socklen_t size)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	turn_on(fd, SOL_SOCKET, SO_REUSEADDR);	/* in spite of TIME_WAIT */
	turn_on(fd, SOL_SOCKET, SO_OOBINLINE);
	turn_on(fd, IPPROTO_TCP, TCP_NODELAY);
	if (sa->sa_family == AF_INET6)		/* IPv4 has its own socket */
		turn_on(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (bind(fd, sa, size) < 0 || listen(fd, BACKLOG) < 0)
		return give_up(fd);
	return fd;
}

int
net_self(int fd, struct net_peer *self)
{
	*self = (struct net_peer){ .size = sizeof(self->address) };
	return (int)or_errno(getsockname(fd, &self->address.any,
	    &self->size));
}

uint16_t
net_port(int fd)
{
	struct net_peer self;

	if (net_self(fd, &self) < 0)
		return 0;
	return ntohs(self.address.any.sa_family == AF_INET6 ?
	    self.address.v6.sin6_port : self.address.v4.sin_port);
}

void
net_set_port(struct sockaddr *sa, uint16_t port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
	else
		((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
}

int
net_accept(int fd, union net_address *peer)
{
	socklen_t size = sizeof(*peer);

	/* Not blocking: for splice(2), which has no flag of its own for it. */
	return (int)or_errno(accept4(fd, &peer->any, &size,
	    SOCK_CLOEXEC | SOCK_NONBLOCK));
}

void
net_stop_listening(int fd)
{
	shutdown(fd, SHUT_RD);
}

int
net_connect(const struct sockaddr *sa, socklen_t size)
{
	return net_connect_from(NULL, sa, size);
}

int
net_connect_from(const struct net_peer *from, const struct sockaddr *sa,
    socklen_t size)
{
	int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	turn_on(fd, IPPROTO_TCP, TCP_NODELAY);
	if (from != NULL) {
		turn_on(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
		if (bind(fd, &from->address.any, from->size) < 0)
			return give_up(fd);
	}
	if (connect(fd, sa, size) < 0 && errno != EINPROGRESS &&
	    errno != EINTR)
		return give_up(fd);
	return fd;
}

int
net_error(int fd)
{
	int error;
	socklen_t size = sizeof(error);

	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -errno;
	return -error;
}

ssize_t
net_recv(int fd, void *buf, size_t size)
{
	return or_errno(recv(fd, buf, size, MSG_DONTWAIT));
}

ssize_t
net_send(int fd, const void *buf, size_t size, bool more)
{
	return or_errno(send(fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL |
	    (more ? MSG_MORE : 0)));
}

ssize_t
net_splice(int from, int to, size_t size, bool more)
{
	return or_errno(splice(from, NULL, to, NULL, size, SPLICE_F_NONBLOCK |
	    (more ? SPLICE_F_MORE : 0)));
}

bool
net_waiting(int fd)
{
	int bytes;

	return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

int
net_unacknowledged(int fd)
{
	int bytes;

	return ioctl(fd, TIOCOUTQ, &bytes) == 0 ? bytes : 0;
}

void
net_fin(int fd)
{
	shutdown(fd, SHUT_WR);
}

void
net_reset(int fd)
{
	struct linger now = { .l_onoff = 1, .l_linger = 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	close(fd);
}

int64_t
net_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NET_SECOND + now.tv_nsec;
}

const struct timespec *
net_timespec(struct timespec *time, int64_t ns)
{
	if (ns < 0)
		return NULL;
	time->tv_sec = (time_t)(ns / NET_SECOND);
	time->tv_nsec = (long)(ns % NET_SECOND);
	return time;
}

int
net_poll(struct pollfd *fds, nfds_t n, int64_t ns, const sigset_t *mask)
{
	struct timespec time;
	int ready = ppoll(fds, n, net_timespec(&time, ns), mask);

	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	return ready;
}
