/*
 * The control messages of a datagram and of the reply: for a datagram, its TTL
 * and the address to which it was sent; for the reply, its TTL and the address
 * from which it is sent (ip(7), ipv6(7), RFC 3542). Makes no system call.
 *
 * IPv6 calls the TTL the hop limit. If an IPv6 socket receives an IPv4
 * datagram, the control messages of this datagram are those of IPv4.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <sys/socket.h>

#include <netinet/in.h>
#include <stdbool.h>

enum {
	CONTROL_SIZE = 256,	/* bytes; enough for all control messages */
	CONTROL_NO_TTL = -1
};

struct control {
	int family;		/* AF_INET or AF_INET6; 0: no address */
	int ttl;		/* 0 to 255, or CONTROL_NO_TTL */
	union {
		struct in_pktinfo v4;
		struct in6_pktinfo v6;
	} to;
};

/* Reads the address and the TTL; ignores all other control messages. */
void control_read(const struct msghdr *, struct control *);

/*
 * Whether the datagram was sent to this host alone: not to a broadcast or
 * multicast address, and not to an unknown one.
 */
bool control_is_unicast(const struct control *);

/* Whether an IPv4 address is link-local: 169.254.0.0/16 (RFC 3927). */
bool control_is_link_local(struct in_addr);

/*
 * Writes the control messages of the reply into out, which has CONTROL_SIZE
 * bytes and is aligned for struct cmsghdr. The reply leaves from the address to
 * which the datagram was sent, and with the given TTL, or with the TTL of the
 * socket if ttl is CONTROL_NO_TTL. If the socket has one address, the address
 * needs no control message. Returns the size of the control messages in bytes.
 */
socklen_t control_write(void *out, const struct control *, int ttl,
    bool one_address);

#endif
