/*
 * One UDP client of `bench`: its sockets, and the system calls that transfer
 * several datagrams at once. The phases of a run are in udp_load.c.
 */
#ifndef UDP_CLIENT_H
#define UDP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"
#include "modes/lib/net.h"

enum { UDP_BATCH = 64 };	/* datagrams of one system call */

/*
 * A connected socket costs less per datagram, and reports ICMP errors. The
 * other socket has the same port, and receives datagrams that do not come from
 * the server, for example a reply from a wrong address.
 */
struct udp_client {
	int fd;			/* connected to the server */
	int other_fd;		/* for datagrams from other addresses */
	bool blocked;		/* not all could be sent */
	uint32_t dropped;	/* net_kernel_drops() when counting started */
	struct flow flow;
};

/* Datagrams that were received, and what they mean. */
struct udp_received {
	int64_t time;		/* of all of them, ns */
	size_t n;		/* latencies */
	int64_t latencies[UDP_BATCH];
};

/*
 * Allocates the buffer that all clients share, for datagrams of size bytes.
 * Returns false if there is no memory.
 */
bool udp_client_allocate(size_t size);
void udp_client_free(void);

/*
 * Connects to the server, without sending. Returns 0 or -errno; the client has
 * nothing to close then.
 */
int udp_client_open(struct udp_client *, const struct net_peer *server,
    struct payload_key, size_t window);
void udp_client_close(struct udp_client *);

/* Starts to count messages, datagrams from other addresses, and drops. */
void udp_client_start_counting(struct udp_client *);

/* The datagrams that were dropped because the client's buffer was full. */
uint32_t udp_client_dropped(const struct udp_client *);

/*
 * Sends the messages for which there is room in the window, and records that
 * time (ns) as their send time. Returns 0 or -errno. If the socket does not
 * accept a message, or if there is an error after the first message, the client
 * is blocked and the next call continues.
 */
int udp_client_send(struct udp_client *, int64_t now);

/*
 * Sends one message that is due at that time (ns), if there is room in the
 * window. Returns 0 or -errno; the client is blocked if the socket has not
 * accepted the message.
 */
int udp_client_send_scheduled(struct udp_client *, int64_t due);

/*
 * Receives at most UDP_BATCH datagrams from the server. Returns their number
 * or -errno, 0 if there are none.
 */
int udp_client_receive(struct udp_client *, struct udp_received *);

/* Counts at most UDP_BATCH datagrams from other addresses. */
void udp_client_receive_foreign(struct udp_client *);

#endif
