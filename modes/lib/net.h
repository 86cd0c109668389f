/*
 * The one socket helper, shared by servers and clients: names, listen,
 * connect, accept, recv, send, waiting, the clock.
 *
 * What can fail returns -errno. No call here blocks but net_poll() and
 * net_resolve(): not blocking is asked for call by call (MSG_DONTWAIT), and
 * no send raises SIGPIPE. Includes nothing of ours.
 */
#ifndef NET_H
#define NET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define NET_MS INT64_C(1000000)		/* in ns */
#define NET_SECOND (1000 * NET_MS)
#define NET_FOREVER INT64_C(-1)

enum { NET_NAME_MAX = 120 };	/* "unix:/path" and its NUL */

#define NET_UNIX "unix:"	/* a host: unix:/path, or unix:@abstract */

/* Who a connection is from. A process on this machine has no address. */
union net_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct {
		sa_family_t family;	/* AF_UNIX */
		pid_t pid;
	} local;
};

/* Where a connection goes to. */
struct net_peer {
	socklen_t size;
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
		struct sockaddr_un path;
	} address;
};

/*
 * getaddrinfo(3) for a TCP port, or the address of a Unix socket (host begins
 * with NET_UNIX); host NULL is every interface. 0 and a list for
 * net_free_addresses(), or an EAI_ code.
 */
int net_resolve(const char *host, uint16_t port, struct addrinfo **);
void net_free_addresses(struct addrinfo *);

/* Whether host is a Unix socket's; whether its name is not too long. */
bool net_is_unix(const char *host);
bool net_fits_unix(const char *host);

/* Its name, "127.0.0.1:7", "[::1]:7" or "unix:/path", in out. */
const char *net_name(char out[NET_NAME_MAX], const struct sockaddr *);

/* The same for who a connection is from; "unix:PID" for a local process. */
const char *net_peer_name(char out[NET_NAME_MAX], const union net_address *);

/*
 * A socket that listens there, with the system's longest backlog. Its
 * connections inherit TCP_NODELAY, for Nagle's algorithm (RFC 896) against
 * delayed ACKs costs an echo 40 ms a message, and SO_OOBINLINE, for an urgent
 * byte (RFC 6093) is a byte to be echoed.
 */
int net_listen(const struct sockaddr *, socklen_t);

/*
 * The same for the file of a Unix socket, of that mode; one that is there
 * already is replaced if nobody listens on it.
 */
int net_listen_unix(const struct sockaddr_un *, socklen_t, mode_t);

/*
 * Makes one that another process listens on, and has passed to us, the same.
 * 0 or -errno: -EINVAL if nobody listens on it.
 */
int net_adopt(int fd);

/*
 * The address a socket is bound to, 0 or -errno; ports in host byte order,
 * where there are such.
 */
int net_self(int fd, struct net_peer *);
uint16_t net_port(int fd);		/* 0 if it cannot be told */
void net_set_port(struct sockaddr *, uint16_t port);

/* The next connection and who it is from; -EAGAIN if there is none. */
int net_accept(int fd, union net_address *);

/*
 * Nobody listens on it any more, in whatever process it is open: the port is
 * closed, and whoever waits for a connection wakes up (accept: -EINVAL).
 */
void net_stop_listening(int fd);

/*
 * A socket that is being connected: writable means that it is, or that
 * net_error() says why not.
 */
int net_connect(const struct sockaddr *, socklen_t);

/*
 * The same, from that address of ours. Its port is chosen for the server it
 * goes to, so that each server may have as many from there as there are ports.
 */
int net_connect_from(const struct net_peer *, const struct sockaddr *,
    socklen_t);
int net_error(int fd);			/* 0 or -errno (SO_ERROR) */

/* recv(2) and send(2); more: the rest follows at once, fill the segment. */
ssize_t net_recv(int fd, void *buf, size_t size);
ssize_t net_send(int fd, const void *buf, size_t size, bool more);

/*
 * splice(2), from a socket to a pipe or back, without copying and without
 * waiting; more as above. 0 from a socket is not always its end: splice stops
 * at an urgent byte.
 */
ssize_t net_splice(int from, int to, size_t size, bool more);

/* Whether there is input that recv would return at once. */
bool net_waiting(int fd);

/* Bytes sent that the peer's system has not acknowledged (SIOCOUTQ). */
int net_unacknowledged(int fd);

void net_fin(int fd);			/* our FIN: shutdown(SHUT_WR) */
void net_reset(int fd);			/* closes it, with a RST */

/* Monotonic time in ns. */
int64_t net_now(void);

/*
 * ppoll(2) for at most ns (NET_FOREVER: no limit) with the given signal
 * mask (NULL: as it is). The number ready; 0 if none, also after a signal;
 * or -errno.
 */
int net_poll(struct pollfd *, nfds_t, int64_t ns, const sigset_t *);

/*
 * Returns whether poll(2) reports one of these events (POLLIN, POLLOUT), an
 * error or a hangup for fd now. False if fd is -1.
 */
bool net_is_ready(int fd, short events);

/* ns as select(2) and its kin take it; NULL for NET_FOREVER. */
const struct timespec *net_timespec(struct timespec *, int64_t ns);

/*
 * ns as a timeout of epoll_wait(2): whole milliseconds, rounded up so that the
 * wait does not end before the time; -1 for NET_FOREVER.
 */
int net_milliseconds(int64_t ns);

#endif
