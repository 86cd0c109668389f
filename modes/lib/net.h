/*
 * The socket functions of servers and clients: addresses and their names,
 * listen, connect, accept, recv, send, poll and the clock. This file depends on
 * no other file of this program.
 *
 * A function that can fail returns -errno. Sockets are non-blocking and
 * close-on-exec. Only net_poll() and net_resolve() can block, and no send
 * raises SIGPIPE.
 */
#ifndef NET_H
#define NET_H

#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#define NET_MS INT64_C(1000000)		/* ns */
#define NET_SECOND (1000 * NET_MS)
#define NET_FOREVER INT64_C(-1)		/* no timeout */

/* A host with this prefix is a Unix socket: unix:/path, or unix:@abstract. */
#define NET_UNIX "unix:"

/* The prefix for the transport of an address; without a prefix it is TCP. */
#define NET_TCP "tcp:"
#define NET_UDP "udp:"

/*
 * The largest datagram. The length field of UDP (RFC 768) counts its header of
 * 8 bytes, that of IPv4 (RFC 791) also the IPv4 header of 20 bytes, and that of
 * IPv6 (RFC 8200) no IPv6 header.
 */
enum {
	NET_DATAGRAM_MAX_V4 = 65507,
	NET_DATAGRAM_MAX = 65527
};

enum {
	NET_NAME_MAX = 120,	/* bytes of "unix:/path" with its NUL */
	NET_UNIX_MAX = sizeof(((struct sockaddr_un *)0)->sun_path) - 1
				/* bytes of a path, or of @ and a name */
};

/* The address of a client. A local process has a process id instead. */
union net_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct {
		struct sockaddr header;	/* its family is AF_UNIX */
		pid_t pid;
	} local;
};

/* The address of a server, or of our end of a connection. */
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
 * Resolves a host for SOCK_STREAM or SOCK_DGRAM (getaddrinfo(3)), or makes the
 * address of a Unix socket. A NULL host is every interface. Returns 0 and a
 * list for net_free_addresses(), or an EAI_ code.
 */
int net_resolve(const char *host, uint16_t port, int type,
    struct addrinfo **);
void net_free_addresses(struct addrinfo *);

/*
 * Whether a Unix socket may have an abstract name (unix(7)), and whether all of
 * 127.0.0.0/8 is this host. Both are true only on Linux.
 */
extern const bool net_has_abstract_names, net_has_loopback_network;

/* Returns whether host is a Unix socket. */
bool net_is_unix(const char *host);

/* Returns the text after NET_UNIX in host, which must be a Unix socket. */
const char *net_unix_path(const char *host);

/* Formats "127.0.0.1:7", "[::1]:7" or "unix:/path". Returns out. */
const char *net_name(char out[NET_NAME_MAX], const struct sockaddr *);

/*
 * Formats "udp:127.0.0.1:7" or "udp:[::1]:7", which args_address() parses.
 * Returns out.
 */
const char *net_udp_name(char out[NET_NAME_MAX], const struct sockaddr *);

/* Formats a client's address; "unix:PID" for a local process. Returns out. */
const char *net_peer_name(char out[NET_NAME_MAX], const union net_address *);

/*
 * Returns a socket that listens at the address with the longest backlog that
 * the system allows. The accepted connections inherit TCP_NODELAY, because
 * Nagle's algorithm (RFC 896) and delayed ACKs together cost an echo 40 ms per
 * message, and SO_OOBINLINE, because an urgent byte (RFC 6093) must be echoed
 * like any other.
 */
int net_listen(const struct sockaddr *, socklen_t);

/*
 * Prepares an inherited listening socket (sd_listen_fds(3)) as net_listen()
 * does. Returns 0 or -errno; -EINVAL if it is not a listening stream socket.
 */
int net_adopt(int fd);

/*
 * Prepares a connection that another program has accepted (inetd(8)) as
 * net_accept() and net_set_echo_options() do, and gets the client's address.
 * Returns 0 or -errno; -ENOTCONN if the connection has ended already, -EINVAL
 * if the socket listens, -EPROTOTYPE if it is not a stream socket.
 */
int net_take_connection(int fd, union net_address *);

/*
 * Sets the options that accepted connections inherit from net_listen(), on a
 * connection that does not have them: Unix sockets do not inherit SO_OOBINLINE,
 * and connections that arrived before net_adopt() inherit no option.
 */
void net_set_echo_options(int fd);

/*
 * Probes the peer after each period in which it has sent nothing, in seconds
 * (SO_KEEPALIVE, tcp(7)), so that the connection ends if the peer has vanished.
 */
void net_set_keepalive(int fd, int seconds);

/*
 * Returns whether the descriptor is a connected stream socket with a local
 * address, as inetd(8) passes it. The socket pairs that some programs use as
 * pipes have no address.
 */
bool net_is_connection(int fd);

/* Gets the address to which a socket is bound. Returns 0 or -errno. */
int net_self(int fd, struct net_peer *);

/*
 * Returns the port of a bound socket, in host byte order; 0 if the socket has
 * no port.
 */
uint16_t net_port(int fd);

/* Sets the port, in host byte order, if addresses of that family have one. */
void net_set_port(struct sockaddr *, uint16_t port);

/*
 * Accepts a connection and gets the client's address. Returns a socket, or
 * -errno; -EAGAIN if no client is waiting.
 */
int net_accept(int fd, union net_address *);

/* Adds the process id to the address of a local process, which is connected. */
void net_set_process_id(int fd, union net_address *);

/*
 * Returns the id of the process at the other end of a Unix socket, 0 if it is
 * not known.
 */
pid_t net_peer_process(int fd);

/*
 * Returns the id of the process at the other end of a Unix socket, 0 if it is
 * not known.
 */
pid_t net_peer_process(int fd);

/*
 * Closes the port in all processes that have the socket open, and wakes the
 * processes that wait for a connection; accept then returns -EINVAL. Does
 * nothing on systems other than Linux, where the port is open until the last
 * process has closed the socket.
 */
void net_stop_listening(int fd);

/*
 * Returns a socket that is connecting. When it is writable, it is connected,
 * or net_error() returns why it is not.
 */
int net_connect(const struct sockaddr *, socklen_t);

/*
 * Does the same as net_connect(), from the given local address; NULL: the
 * system chooses the address. The port is chosen when the server is known
 * (IP_BIND_ADDRESS_NO_PORT), so each server may have as many connections from
 * that address as there are ports.
 */
int net_connect_from(const struct net_peer *, const struct sockaddr *,
    socklen_t);

/*
 * Returns a UDP socket that is bound to the address (port 0: the system chooses
 * a port), and not connected: it can send to every address of its family, and
 * receives from all of them. A socket for IPv6 does not receive IPv4.
 */
int net_bind_udp(const struct sockaddr *, socklen_t);

/*
 * Returns a UDP socket that is connected: it receives from that address only,
 * and an ICMP error (port unreachable) becomes the error of the next
 * net_recv(), -ECONNREFUSED.
 */
int net_connect_udp(const struct sockaddr *, socklen_t);

/*
 * Returns a UDP socket that is not connected, at the address and port of a
 * connected socket, or -errno. The connected socket receives the datagrams of
 * its peer, and the new socket receives the datagrams from all other addresses.
 */
int net_share_port(int fd);

/*
 * Enlarges the buffers of a UDP socket to the limit of the system. If this
 * limit is smaller than a burst needs, and the process has the privilege,
 * exceeds the limit.
 */
void net_enlarge_buffers(int fd);

/*
 * Returns the number of datagrams that the kernel has dropped because the
 * receive buffer of the socket was full, modulo 2^32; 0 if the system does not
 * report it.
 */
uint32_t net_kernel_drops(int fd);

/*
 * Receives one datagram and the address of its sender, without blocking.
 * Returns the whole size of the datagram, even if it is more than size
 * (MSG_TRUNC), or -errno. On a system that does not report the whole size,
 * returns size + 1 for every larger datagram. 0 is an empty datagram.
 */
ssize_t net_recv_from(int fd, void *buf, size_t size, struct net_peer *);

/* Sends one datagram to that address, without blocking. */
ssize_t net_send_to(int fd, const void *buf, size_t size,
    const struct net_peer *);

/*
 * net_ask_for_icmp() asks for the ICMP errors of a UDP socket that is not
 * connected, if the system can report them. net_discard_icmp() removes these
 * errors, so that the socket is no longer reported as ready.
 */
void net_ask_for_icmp(int fd);
void net_discard_icmp(int fd);

/* Returns and clears the error of a socket (SO_ERROR): 0 or -errno. */
int net_error(int fd);

/* The result of a system call: n, or -errno if it is -1. */
ssize_t net_result(ssize_t n);

/*
 * recv(2) and send(2), without blocking. If more is set, further data follows
 * at once, and may share a segment with this data (MSG_MORE).
 */
ssize_t net_recv(int fd, void *buf, size_t size);
ssize_t net_send(int fd, const void *buf, size_t size, bool more);

/* As net_recv(), but the data remains in the socket (MSG_PEEK). */
ssize_t net_peek(int fd, void *buf, size_t size);

/*
 * splice(2) from a socket to a pipe or from a pipe to a socket, without copying
 * and without blocking; more is the same as for net_send(). A result of 0 from
 * a socket is not always end of file: splice also stops at an urgent byte. Only
 * Linux has splice.
 */
ssize_t net_splice(int from, int to, size_t size, bool more);

/* Returns whether recv would return data now. */
bool net_waiting(int fd);

/*
 * Returns the number of sent bytes that the peer has not acknowledged
 * (SIOCOUTQ); 0 if the system does not report it.
 */
int net_unacknowledged(int fd);

/* The bytes that a segment of the connection can carry; 0 if unknown. */
size_t net_segment_size(int fd);

/* Sends FIN: shutdown(2) of the sending direction. */
void net_fin(int fd);

/*
 * Waits at most ns for input, and returns whether the peer has sent FIN. On
 * systems other than Linux the FIN is found only if no data is before it.
 */
bool net_has_fin(int fd, int64_t ns);

/* Closes the socket with a RST (SO_LINGER with a timeout of 0). */
void net_reset(int fd);

/* The monotonic clock, in ns. */
int64_t net_now(void);

/*
 * ppoll(2) for at most ns (NET_FOREVER: no limit), with the signal mask as it
 * is. Returns the number of ready descriptors, 0 after the timeout or a
 * signal, or -errno.
 */
int net_poll(struct pollfd *, nfds_t, int64_t ns);

/*
 * Returns whether poll(2) reports one of these events (POLLIN, POLLOUT), an
 * error or a hangup for fd now. False if fd is -1.
 */
bool net_is_ready(int fd, short events);

/* Converts a timeout for select(2) and poll(2); NULL for NET_FOREVER. */
const struct timespec *net_timespec(struct timespec *, int64_t ns);

/*
 * Converts a timeout for epoll_wait(2) to milliseconds, rounded up so that the
 * wait does not end early; -1 for NET_FOREVER.
 */
int net_milliseconds(int64_t ns);

#endif
