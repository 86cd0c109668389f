#include "datagram.h"

#include <sys/uio.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stddef.h>
#include <unistd.h>

#include "control.h"
#include "log.h"
#include "modes/lib/net.h"
#include "modes/mode.h"
#include "reply_rate.h"
#include "sandbox.h"

enum {
	PORT_UNPRIVILEGED = 1024,	/* the first port of any user */

	/*
	 * The TTL of a UDP socket. Most systems send datagrams with TTL 64, so
	 * the reply to a client on the same network has this TTL, and needs no
	 * control message. (Control messages cost time in the kernel.)
	 */
	SOCKET_TTL = 63,

	/*
	 * The space for a datagram: one byte more than the largest datagram.
	 * The additional 64 bytes put the beginnings of the spaces into
	 * different cache sets.
	 */
	SPACE = 65536 + 64
};

_Static_assert(NET_DATAGRAM_MAX < 65536, "the largest datagram has room");

/*
 * A batch. A page that no datagram has reached costs no memory: 64 datagrams of
 * up to 4 KiB use 512 KiB at most, and only 64 datagrams of the largest size
 * use all 4 MiB. The used memory is not returned to the system, because it is
 * limited, and returning it costs more than receiving into it.
 */
static struct batch {
	char data[DATAGRAM_BATCH][SPACE];
	_Alignas(struct cmsghdr) char received[DATAGRAM_BATCH][CONTROL_SIZE];
	_Alignas(struct cmsghdr) char sent[DATAGRAM_BATCH][CONTROL_SIZE];
	union net_address from[DATAGRAM_BATCH];
	struct iovec parts[DATAGRAM_BATCH];
	struct mmsghdr in[DATAGRAM_BATCH], out[DATAGRAM_BATCH];
} batch;

static size_t used = DATAGRAM_BATCH;	/* elements of in to prepare again */

/* The sendmmsg(2) of musl on 64 bits calls sendmsg(2) for each message. */
const int datagram_calls[] = {
	SYS_recvmmsg, SYS_sendmmsg, SYS_getsockopt,
#ifndef __GLIBC__
	SYS_sendmsg,
#endif
	SANDBOX_END
};

/*
 * Opening.
 */

static int
enable(int fd, int level, int option)
{
	return setsockopt(fd, level, option, &(int){ 1 }, sizeof(int)) < 0 ?
	    -errno : 0;
}

static int
socket_option(int fd, int level, int option)
{
	int value = -1;
	socklen_t size = sizeof(value);

	getsockopt(fd, level, option, &value, &size);
	return value;
}

/* connect(2) permits a broadcast address only with SO_BROADCAST (udp(7)). */
static bool
may_be_broadcast(const struct sockaddr *sa, socklen_t size)
{
	int probe = socket(sa->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool connects = probe >= 0 && connect(probe, sa, size) == 0;

	if (probe >= 0)
		close(probe);
	return !connects;
}

/*
 * Whether a socket is bound to one unicast address, so that each datagram was
 * sent to this address and each reply comes from it. A link-local address does
 * not count: it is valid on one interface only, and a reply needs that
 * interface.
 */
static bool
is_bound_to_unicast(int fd)
{
	struct net_peer self;
	const struct sockaddr_in *v4 = &self.address.v4;
	const struct in6_addr *v6 = &self.address.v6.sin6_addr;

	if (net_self(fd, &self) < 0)
		return false;
	if (self.address.any.sa_family == AF_INET6)
		return !IN6_IS_ADDR_UNSPECIFIED(v6) &&
		    !IN6_IS_ADDR_MULTICAST(v6) &&
		    !IN6_IS_ADDR_LINKLOCAL(v6) && !IN6_IS_ADDR_V4MAPPED(v6);
	return v4->sin_addr.s_addr != INADDR_ANY &&
	    !IN_MULTICAST(ntohl(v4->sin_addr.s_addr)) &&
	    !control_is_link_local(v4->sin_addr) &&
	    !may_be_broadcast(&self.address.any, self.size);
}

/*
 * Asks the kernel for the TTL of each datagram and, unless the socket has only
 * one address, for the address to which the datagram was sent. On a system that
 * does not give the TTL, only the other rules against loops apply. An inherited
 * IPv6 socket may receive IPv4, too.
 */
static int
ask_for_control(int fd, int family)
{
	int v4_error;

	enable(fd, IPPROTO_IP, IP_RECVTTL);
	if (family == AF_INET6)
		enable(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT);
	if (is_bound_to_unicast(fd))
		return 0;
	v4_error = enable(fd, IPPROTO_IP, IP_PKTINFO);
	return family == AF_INET ? v4_error :
	    enable(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO);
}

static int
prepare_socket(int fd, int family)
{
	net_enlarge_buffers(fd);
	return ask_for_control(fd, family);
}

int
datagram_bind(const struct sockaddr *sa, socklen_t size)
{
	int fd = net_bind_udp(sa, size), error;

	if (fd < 0)
		return fd;
	if ((error = prepare_socket(fd, sa->sa_family)) == 0)
		return fd;
	close(fd);
	return error;
}

/* Returns the address family of a socket, AF_UNSPEC if it has none. */
static int
socket_family(int fd)
{
	struct net_peer self;

	return net_self(fd, &self) < 0 ? AF_UNSPEC :
	    self.address.any.sa_family;
}

int
datagram_adopt(int fd)
{
	int flags = fcntl(fd, F_GETFL), family = socket_family(fd);

	if (socket_option(fd, SOL_SOCKET, SO_TYPE) != SOCK_DGRAM ||
	    (family != AF_INET && family != AF_INET6))
		return -EPROTOTYPE;
	if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
	    fcntl(fd, F_SETFD, FD_CLOEXEC) < 0)
		return -errno;
	return prepare_socket(fd, family);
}

void
datagram_open(struct datagrams *ds, const struct datagram_options *options)
{
	*ds = (struct datagrams){ .options = options };
	if (options->reply_rate > 0 && (ds->rate = reply_rate_new()) == NULL)
		err(STATUS_LOCAL, "no memory for --reply-rate");
}

void
datagram_add(struct datagrams *ds, int fd)
{
	int ttl = ds->options->ttl > 0 ? ds->options->ttl : SOCKET_TTL;
	int error;

	ds->ports[ds->port_count++] = htons(net_port(fd));
	error = setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	/* An inherited IPv6 socket may send IPv4, too. */
	if (socket_family(fd) == AF_INET6)
		error = setsockopt(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, &ttl,
		    sizeof(ttl));
	if (error < 0)
		err(STATUS_LOCAL, "cannot set the TTL of UDP replies");
}

bool
datagram_has_one_address(int fd)
{
	return socket_option(fd, IPPROTO_IP, IP_PKTINFO) <= 0 &&
	    socket_option(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO) <= 0;
}

/*
 * Receiving.
 */

/* Prepares the messages that the last batch has used for the next one. */
static void
prepare_to_receive(void)
{
	for (size_t i = 0; i < used; i++) {
		batch.parts[i] = (struct iovec){ batch.data[i], 65536 };
		batch.in[i].msg_hdr = (struct msghdr){
			.msg_name = &batch.from[i],
			.msg_namelen = sizeof(batch.from[i]),
			.msg_iov = &batch.parts[i],
			.msg_iovlen = 1,
			.msg_control = batch.received[i],
			.msg_controllen = CONTROL_SIZE
		};
	}
}

static bool
is_own_port(const struct datagrams *ds, in_port_t port)
{
	for (int i = 0; i < ds->port_count; i++)
		if (ds->ports[i] == port)
			return true;
	return false;
}

/* Whether a server that answers every reply may use the port of a sender. */
static bool
is_refused_port(const struct datagrams *ds, const union net_address *from)
{
	/* The port is at the same place for both families. */
	in_port_t port = from->v4.sin_port;

	if (port == 0)
		return true;
	return !ds->options->any_source &&
	    (ntohs(port) < PORT_UNPRIVILEGED || is_own_port(ds, port));
}

_Static_assert(offsetof(struct sockaddr_in, sin_port) ==
    offsetof(struct sockaddr_in6, sin6_port), "one place for the port");

/*
 * Returns the TTL of the reply. 0: there must be no reply. CONTROL_NO_TTL: the
 * reply has the TTL of the socket.
 */
static int
reply_ttl(const struct datagrams *ds, const struct control *control)
{
	if (ds->options->ttl > 0 || control->ttl == CONTROL_NO_TTL ||
	    control->ttl == SOCKET_TTL + 1)
		return CONTROL_NO_TTL;
	return control->ttl > 0 ? control->ttl - 1 : 0;
}

/*
 * Prepares the nth reply, which answers the ith datagram. Returns false if the
 * datagram must not be answered.
 */
static bool
prepare_reply(struct datagrams *ds, size_t i, size_t n, bool one_address,
    int64_t now)
{
	const struct mmsghdr *in = &batch.in[i];
	struct control control;
	int ttl;

	control_read(&in->msg_hdr, &control);
	ttl = reply_ttl(ds, &control);
	if (in->msg_hdr.msg_flags & MSG_TRUNC) {
		ds->tally->dropped++;
		return false;
	}
	if (one_address)
		control.family = batch.from[i].any.sa_family;
	if ((!one_address && !control_is_unicast(&control)) ||
	    is_refused_port(ds, &batch.from[i])) {
		ds->tally->refused++;
		return false;
	}
	if (ttl == 0 || (ds->rate != NULL && !reply_rate_allows(ds->rate,
	    &batch.from[i], ds->options->reply_rate, now))) {
		ds->tally->dropped++;
		return false;
	}
	batch.parts[i].iov_len = (size_t)in->msg_len;
	batch.out[n].msg_hdr = in->msg_hdr;
	batch.out[n].msg_hdr.msg_control = batch.sent[n];
	batch.out[n].msg_hdr.msg_controllen = control_write(batch.sent[n],
	    &control, ttl, one_address);
	return true;
}

size_t
datagram_receive(struct datagrams *ds, int fd, bool one_address, uint64_t most,
    int64_t now)
{
	unsigned asked = most < DATAGRAM_BATCH ? (unsigned)most :
	    DATAGRAM_BATCH;
	size_t n = 0;
	int received;

	prepare_to_receive();
	received = (int)recvmmsg(fd, batch.in, asked, MSG_DONTWAIT, NULL);
	ds->error = received < 0 ? errno : 0;
	for (int i = 0; i < received; i++)
		n += prepare_reply(ds, (size_t)i, n, one_address, now);
	used = ds->received = received > 0 ? (size_t)received : 0;
	return n;
}

/*
 * Replying.
 */

/*
 * Sends n replies. Replies that cannot be sent at once are dropped, as a
 * network drops datagrams. sendmmsg(2) stops at a message that fails, and
 * reports the reason only in the next call.
 */
static void
send_replies(struct datagrams *ds, int fd, size_t n)
{
	size_t done = 0, bytes = 0, dropped = 0;

	while (done < n) {
		int sent = (int)sendmmsg(fd, batch.out + done,
		    (unsigned)(n - done), MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent <= 0) {
			batch.out[done++].msg_len = UINT_MAX;
			dropped++;
			continue;
		}
		done += (size_t)sent;
	}
	for (size_t i = 0; i < n; i++)
		if (batch.out[i].msg_len != UINT_MAX)
			bytes += (size_t)batch.out[i].msg_len;
	ds->tally->dropped += dropped;
	ds->tally->answered += n - dropped;
	ds->tally->answered_bytes += bytes;
}

void
datagram_reply(struct datagrams *ds, int fd, size_t n, size_t count,
    int64_t now)
{
	send_replies(ds, fd, n);
	ds->tally->dropped += count - n;
	for (size_t i = 0; i < n && log_has(LOG_CONNECTIONS); i++) {
		const struct msghdr *out = &batch.out[i].msg_hdr;

		log_datagram(out->msg_name, out->msg_iov->iov_base,
		    out->msg_iov->iov_len, now);
	}
}
