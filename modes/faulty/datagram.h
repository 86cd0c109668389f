/*
 * A faulty UDP server. One process answers all clients, because a datagram
 * needs no connection. answer_datagram() decides what happens to a datagram;
 * read it first.
 *
 * Apart from its faults, the server is correct: a reply leaves from the address
 * to which the datagram was sent, because the control message with this address
 * (IP_PKTINFO, ip(7)) is sent back with the reply. Datagrams from ports below
 * 1024 and from the server's own port are not answered, because another echo
 * server would answer the answer, without end (CVE-2024-2169). Unlike serve,
 * this server does not lower the TTL: a loop with a server on another port
 * needs a forged datagram, and by default only this host can send such a
 * datagram.
 */
#ifndef DATAGRAM_H
#define DATAGRAM_H

#include <stdint.h>

#include "faults.h"

struct datagram_plan {
	const struct faults *faults;
	uint64_t count;			/* of datagrams; 0: no limit */
	int verbosity;			/* 1 with -v, -1 with -q */
};

/*
 * Answers datagrams at a bound socket until SIGTERM or SIGINT comes, or until
 * the last datagram has been answered. Signals are caught before
 * (children_catch_signals()).
 */
void datagram_answer_all(int fd, const struct datagram_plan *);

#endif
