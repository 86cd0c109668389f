/*
 * UDP: each datagram is sent back to its sender once, whole, from the address
 * that it was sent to (RFC 862). There is no client and no state for each.
 *
 * Two echo servers that answer each other would do so for ever, and a sender
 * can forge the datagram that begins it (CVE-1999-0103, CVE-2024-2169). The
 * server refuses datagrams from ports of such services, and from its own, and
 * those for broadcast and multicast addresses. The TTL of a reply is one less
 * than that of the datagram, so that a loop between servers which do this ends.
 *
 * Datagrams arrive in batches, because a system call costs more than what it
 * does for a small datagram.
 */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include <sys/socket.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tally.h"

enum {
	DATAGRAM_BATCH = 64,	/* at most, before other sockets are served */
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
 * Opens a UDP socket at that address, with what serving needs. Returns it or
 * -errno.
 */
int datagram_bind(const struct sockaddr *, socklen_t);

/*
 * Prepares an inherited UDP socket in the same way. Returns 0 or -errno;
 * -EPROTOTYPE if it is not one.
 */
int datagram_adopt(int fd);

/* Exits with STATUS_LOCAL if there is no memory. */
void datagram_open(struct datagrams *, const struct datagram_options *);

/*
 * Adds a socket, which is bound: its port is one of ours. Exits with
 * STATUS_LOCAL if its TTL cannot be set.
 */
void datagram_add(struct datagrams *, int fd);

/*
 * Whether all datagrams of a socket are sent to one unicast address. Then they
 * need no control message with the address, which costs time.
 */
bool datagram_has_one_address(int fd);

/*
 * Receives at most that many datagrams from a socket that is ready, at the time
 * now, and prepares the replies; one_address as from
 * datagram_has_one_address(). Returns how many there are; the datagrams without
 * a reply have been counted. Sets received and error.
 */
size_t datagram_receive(struct datagrams *, int fd, bool one_address,
    uint64_t most, int64_t now);

/*
 * Sends the first n of the replies that datagram_receive() has prepared, and
 * drops the rest of the count.
 */
void datagram_reply(struct datagrams *, int fd, size_t n, size_t count,
    int64_t now);

#endif
