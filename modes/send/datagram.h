/*
 * Sends datagrams to a UDP socket, one after the other, and compares each reply
 * byte by byte.
 *
 * Two sockets share one local address. The connected one receives what the
 * server sends and the ICMP errors. The other one receives the datagrams of all
 * other addresses, which a connected socket would hide. (With one unconnected
 * socket, IP_RECVERR would be needed for the errors. It also reports temporary
 * errors, such as a route that is missing for a short time. RFC 1122, section
 * 4.1.3.3, forbids that such errors end an exchange.)
 */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include "exchange.h"

/* How datagrams are sent. */
struct datagram_plan {
	size_t size;		/* bytes of each datagram of standard input */
	uint64_t retries;	/* how often a lost datagram is sent again */
	bool is_json;		/* only the result is printed */
};

/* The largest datagram, in bytes, to a server of that address. */
size_t datagram_limit(const struct net_peer *);

/*
 * Sends the message as one datagram, or all of the input, and receives the
 * replies. Sets the result in *x.
 */
void datagram_exchange(struct exchange *x, const struct datagram_plan *);

#endif
