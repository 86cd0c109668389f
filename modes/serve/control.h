/*
 * The control messages of a datagram: the address that it was sent to and its
 * TTL, and the same for the reply (ip(7), ipv6(7), RFC 3542). Makes no system
 * call.
 *
 * IPv6 calls the TTL the hop limit. An IPv6 socket that also receives IPv4 has
 * the control messages of IPv4 for an IPv4 datagram.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <sys/socket.h>

#include <netinet/in.h>
#include <stdbool.h>

enum {
	CONTROL_SIZE = 256,	/* bytes; more than all that is asked for */
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

/* Reads the control messages of a datagram. Others than these are ignored. */
void control_read(const struct msghdr *, struct control *);

/*
 * Whether the datagram was sent to this host alone: not to a broadcast or
 * multicast address, and not to an unknown one.
 */
bool control_is_unicast(const struct control *);

/* Whether an IPv4 address is link-local: 169.254.0.0/16 (RFC 3927). */
bool control_is_link_local(struct in_addr);

/*
 * Writes the control messages of the reply into out, CONTROL_SIZE bytes that
 * are aligned for struct cmsghdr: it leaves from the address that the datagram
 * was sent to, and with that TTL, or the TTL of the socket if ttl is
 * CONTROL_NO_TTL. A socket that has one address needs no control message for
 * it. Returns their size in bytes.
 */
socklen_t control_write(void *out, const struct control *, int ttl,
    bool one_address);

#endif
