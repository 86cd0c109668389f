/*
 * UDP: each datagram is sent back to its sender once and whole, from the
 * address to which it was sent (RFC 862). The server keeps no state for a
 * client.
 *
 * Two echo servers can answer each other for ever, and one datagram with a
 * forged source address starts such a loop (CVE-1999-0103, CVE-2024-2169). The
 * server refuses datagrams from ports of such services, from its own ports, and
 * to broadcast and multicast addresses. The TTL of a reply is the TTL of the
 * datagram minus 1, so a loop between servers that follow this rule ends.
 *
 * Datagrams are received and sent in batches, because for a small datagram most
 * of the cost is the system call itself.
 */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally.h"

enum {
	DATAGRAM_BATCH = 64,	/* datagrams before other sockets are served */
	DATAGRAM_PORTS_MAX = 64
};

struct datagram_options {
	bool any_source;	/* answer every source port except 0 */
	int ttl;		/* of all replies; 0: one less than received */
	uint32_t reply_rate;	/* per second and source address; 0: no limit */
};

struct reply_rate;

struct datagrams {
	const struct datagram_options *options;
	struct tally *tally;
	struct reply_rate *rate;	/* for all workers; NULL: no limit */
	uint16_t ports[DATAGRAM_PORTS_MAX];	/* of our sockets; big-endian */
	int port_count;
	size_t received;	/* datagrams, with the last call */
	int error;		/* errno of the last call; 0: none */
};

/* System calls that datagrams need in the sandbox (sandbox.h). */
extern const int datagram_calls[];

/*
 * Opens a UDP socket at that address, and sets its options for serving. Returns
 * the socket or -errno.
 */
int datagram_bind(const struct sockaddr *, socklen_t);

/*
 * Sets the same options of an inherited UDP socket. Returns 0 or -errno;
 * -EPROTOTYPE if the descriptor is not a UDP socket.
 */
int datagram_adopt(int fd);

/* Exits with STATUS_LOCAL if there is no memory. */
void datagram_open(struct datagrams *, const struct datagram_options *);

/*
 * Adds a bound socket, and its port to the ports of the server. Exits with
 * STATUS_LOCAL if the TTL of the socket cannot be set.
 */
void datagram_add(struct datagrams *, int fd);

/*
 * Whether all datagrams of a socket are sent to one unicast address. Such
 * datagrams need no control message with the address, which would cost time.
 */
bool datagram_has_one_address(int fd);

/*
 * Receives at most `most` datagrams from a socket that is ready, and prepares
 * the replies. now is the current time; one_address is the result of
 * datagram_has_one_address(). Returns the number of replies; the datagrams
 * without a reply have been counted. Sets received and error.
 */
size_t datagram_receive(struct datagrams *, int fd, bool one_address,
    uint64_t most, int64_t now);

/*
 * Sends the first n of the count replies that datagram_receive() has prepared,
 * and drops the other replies.
 */
void datagram_reply(struct datagrams *, int fd, size_t n, size_t count,
    int64_t now);

#endif
