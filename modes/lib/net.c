#include "net.h"

#include <sys/ioctl.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * The kernel lowers the backlog to net.core.somaxconn (listen(2)). The
 * constant SOMAXCONN is 128 in musl and 4096 in glibc, whatever the kernel
 * allows.
 */
enum { BACKLOG = INT_MAX };

ssize_t
net_result(ssize_t n)
{
	return n < 0 ? -errno : n;
}

/* Closes fd and returns the -errno of the call that failed before. */
static int
close_failed(int fd)
{
	int error = errno;

	close(fd);
	return -error;
}

static void
enable_option(int fd, int level, int option)
{
	setsockopt(fd, level, option, &(int){ 1 }, sizeof(int));
}

bool
net_is_unix(const char *host)
{
	return strncmp(host, NET_UNIX, strlen(NET_UNIX)) == 0;
}

const char *
net_unix_path(const char *host)
{
	return host + strlen(NET_UNIX);
}

/*
 * Makes the address of /PATH or @NAME. An abstract name begins with a NUL and
 * has no NUL at its end (unix(7)).
 */
static int
make_unix_address(const char *name, struct addrinfo **found)
{
	struct {
		struct addrinfo info;
		struct sockaddr_un address;
	} *memory = calloc(1, sizeof(*memory));

	if (memory == NULL)
		return EAI_MEMORY;
	memory->address.sun_family = AF_UNIX;
	strncpy(memory->address.sun_path, name,
	    sizeof(memory->address.sun_path) - 1);
	memory->info.ai_family = AF_UNIX;
	memory->info.ai_addr = (struct sockaddr *)&memory->address;
	memory->info.ai_addrlen = (socklen_t)
	    (offsetof(struct sockaddr_un, sun_path) + strlen(name) +
	    (*name != '@'));
	if (*name == '@')
		*memory->address.sun_path = '\0';
	*found = &memory->info;
	return 0;
}

int
net_resolve(const char *host, uint16_t port, int type,
    struct addrinfo **found)
{
	/* With AI_NUMERICSERV no services database is read. */
	struct addrinfo hints = { .ai_socktype = type,
	    .ai_flags = AI_NUMERICSERV | (host == NULL ? AI_PASSIVE : 0) };
	char service[8];

	if (host != NULL && net_is_unix(host))
		return make_unix_address(net_unix_path(host), found);
	snprintf(service, sizeof(service), "%u", port);
	return getaddrinfo(host, service, &hints, found);
}

void
net_free_addresses(struct addrinfo *list)
{
	if (list->ai_family == AF_UNIX)
		free(list);
	else
		freeaddrinfo(list);
}

const char *
net_name(char out[NET_NAME_MAX], const struct sockaddr *sa)
{
	char host[INET6_ADDRSTRLEN], scope[16] = "";

	if (sa->sa_family == AF_UNIX) {
		const struct sockaddr_un *un = (const void *)sa;
		bool abstract = *un->sun_path == '\0';

		snprintf(out, NET_NAME_MAX, NET_UNIX "%s%.*s",
		    abstract ? "@" : "", (int)sizeof(un->sun_path) - abstract,
		    un->sun_path + abstract);
	} else if (sa->sa_family == AF_INET) {
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

const char *
net_udp_name(char out[NET_NAME_MAX], const struct sockaddr *sa)
{
	char name[NET_NAME_MAX];

	snprintf(out, NET_NAME_MAX, NET_UDP "%.*s",
	    (int)(sizeof(name) - sizeof(NET_UDP)), net_name(name, sa));
	return out;
}

const char *
net_peer_name(char out[NET_NAME_MAX], const union net_address *peer)
{
	if (peer->any.sa_family != AF_UNIX)
		return net_name(out, &peer->any);
	snprintf(out, NET_NAME_MAX, NET_UNIX "%d", (int)peer->local.pid);
	return out;
}

static int
open_socket(int family, int type)
{
	return (int)net_result(socket(family, type | SOCK_NONBLOCK |
	    SOCK_CLOEXEC, 0));
}

void
net_set_echo_options(int fd)
{
	enable_option(fd, SOL_SOCKET, SO_OOBINLINE);
	enable_option(fd, IPPROTO_TCP, TCP_NODELAY);
}

void
net_set_keepalive(int fd, int seconds)
{
	enable_option(fd, SOL_SOCKET, SO_KEEPALIVE);
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
}

int
net_listen(const struct sockaddr *sa, socklen_t size)
{
	int fd = open_socket(sa->sa_family, SOCK_STREAM);

	if (fd < 0)
		return fd;
	enable_option(fd, SOL_SOCKET, SO_REUSEADDR);	/* ignore TIME_WAIT */
	net_set_echo_options(fd);
	if (sa->sa_family == AF_INET6)		/* IPv4 gets its own socket */
		enable_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	if (bind(fd, sa, size) < 0 || listen(fd, BACKLOG) < 0)
		return close_failed(fd);
	return fd;
}

/* Makes an inherited socket non-blocking and close-on-exec: 0 or -errno. */
static int
set_descriptor_flags(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return 0;
}

int
net_adopt(int fd)
{
	int listens, type;
	socklen_t size = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) < 0)
		return -errno;
	if (!listens || type != SOCK_STREAM)
		return -EINVAL;
	net_set_echo_options(fd);
	return set_descriptor_flags(fd);
}

int
net_self(int fd, struct net_peer *self)
{
	*self = (struct net_peer){ .size = sizeof(self->address) };
	return (int)net_result(getsockname(fd, &self->address.any,
	    &self->size));
}

uint16_t
net_port(int fd)
{
	struct net_peer self;

	if (net_self(fd, &self) < 0)
		return 0;
	switch (self.address.any.sa_family) {
	case AF_INET:
		return ntohs(self.address.v4.sin_port);
	case AF_INET6:
		return ntohs(self.address.v6.sin6_port);
	default:
		return 0;
	}
}

void
net_set_port(struct sockaddr *sa, uint16_t port)
{
	if (sa->sa_family == AF_INET6)
		((struct sockaddr_in6 *)(void *)sa)->sin6_port = htons(port);
	else if (sa->sa_family == AF_INET)
		((struct sockaddr_in *)(void *)sa)->sin_port = htons(port);
}

void
net_set_process_id(int fd, union net_address *peer)
{
	if (peer->any.sa_family == AF_UNIX)
		peer->local.pid = net_peer_process(fd);
}

int
net_accept(int fd, union net_address *peer)
{
	socklen_t size = sizeof(*peer);

	/* Some systems return no address of a local process. */
	peer->any.sa_family = AF_UNIX;
	/* Non-blocking for splice(2), which has no flag like MSG_DONTWAIT. */
	fd = accept4(fd, &peer->any, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0)
		return -errno;
	net_set_process_id(fd, peer);
	return fd;
}

int
net_take_connection(int fd, union net_address *peer)
{
	socklen_t size = sizeof(*peer), int_size = sizeof(int);
	int listens = 0, type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &int_size) < 0)
		return -errno;
	if (type != SOCK_STREAM)
		return -EPROTOTYPE;
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &int_size);
	if (listens)
		return -EINVAL;
	if (getpeername(fd, &peer->any, &size) < 0)
		return -errno;
	net_set_process_id(fd, peer);
	net_set_echo_options(fd);
	return set_descriptor_flags(fd);
}

bool
net_is_connection(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_storage storage;
	} address;
	socklen_t size = sizeof(address);
	socklen_t type_size = sizeof(int);
	int type;

	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_size) < 0 ||
	    type != SOCK_STREAM ||
	    getpeername(fd, &address.any, &size) < 0)
		return false;
	size = sizeof(address);
	return getsockname(fd, &address.any, &size) == 0 &&
	    size > sizeof(sa_family_t);
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
	int fd = open_socket(sa->sa_family, SOCK_STREAM);

	if (fd < 0)
		return fd;
	enable_option(fd, IPPROTO_TCP, TCP_NODELAY);
	if (from != NULL) {
		enable_option(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT);
		if (bind(fd, &from->address.any, from->size) < 0)
			return close_failed(fd);
	}
	if (connect(fd, sa, size) < 0 && errno != EINPROGRESS &&
	    errno != EINTR)
		return close_failed(fd);
	return fd;
}

int
net_bind_udp(const struct sockaddr *sa, socklen_t size)
{
	int fd = open_socket(sa->sa_family, SOCK_DGRAM);

	if (fd < 0)
		return fd;
	if (sa->sa_family == AF_INET6)
		enable_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
	return bind(fd, sa, size) < 0 ? close_failed(fd) : fd;
}

int
net_connect_udp(const struct sockaddr *sa, socklen_t size)
{
	int fd = open_socket(sa->sa_family, SOCK_DGRAM);

	if (fd < 0)
		return fd;
	return connect(fd, sa, size) < 0 ? close_failed(fd) : fd;
}

/*
 * The port of the connected socket was free when the system chose it, because
 * at that time the socket did not permit sharing of its port (SO_REUSEADDR).
 */
int
net_share_port(int fd)
{
	struct net_peer self;
	int other, error = net_self(fd, &self);

	if (error < 0)
		return error;
	other = open_socket(self.address.any.sa_family, SOCK_DGRAM);
	if (other < 0)
		return other;
	enable_option(fd, SOL_SOCKET, SO_REUSEADDR);
	enable_option(other, SOL_SOCKET, SO_REUSEADDR);
	return bind(other, &self.address.any, self.size) < 0 ?
	    close_failed(other) : other;
}

ssize_t
net_send_to(int fd, const void *buf, size_t size, const struct net_peer *to)
{
	return net_result(sendto(fd, buf, size, MSG_DONTWAIT |
	    MSG_NOSIGNAL, &to->address.any, to->size));
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
	return net_result(recv(fd, buf, size, MSG_DONTWAIT));
}

ssize_t
net_peek(int fd, void *buf, size_t size)
{
	return net_result(recv(fd, buf, size, MSG_DONTWAIT | MSG_PEEK));
}

ssize_t
net_send(int fd, const void *buf, size_t size, bool more)
{
	return net_result(send(fd, buf, size, MSG_DONTWAIT | MSG_NOSIGNAL |
	    (more ? MSG_MORE : 0)));
}

bool
net_waiting(int fd)
{
	int bytes;

	return ioctl(fd, FIONREAD, &bytes) == 0 && bytes > 0;
}

size_t
net_segment_size(int fd)
{
	int bytes = 0;
	socklen_t size = sizeof(bytes);

	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &bytes, &size);
	return bytes > 0 ? (size_t)bytes : 0;
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
net_milliseconds(int64_t ns)
{
	int64_t ms = ns / NET_MS + (ns % NET_MS > 0);

	return ns < 0 ? -1 : ms > INT_MAX ? INT_MAX : (int)ms;
}

int
net_poll(struct pollfd *fds, nfds_t n, int64_t ns)
{
	struct timespec time;
	int ready = ppoll(fds, n, net_timespec(&time, ns), NULL);

	if (ready < 0)
		return errno == EINTR ? 0 : -errno;
	return ready;
}

bool
net_is_ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return net_poll(&p, 1, 0) > 0;
}
