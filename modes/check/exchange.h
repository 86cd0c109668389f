/*
 * Conversations with a UDP echo server: datagrams are sent and retried, and
 * each received datagram is compared with the datagrams that were sent.
 * datagram_tests.c and datagram_diagnose.c decide what the result means.
 *
 * UDP may lose, repeat and delay datagrams. Each try of a datagram of 8 bytes
 * or more has different content, made from a random number. Therefore a reply
 * to an earlier try is recognized as an answer, and is neither a duplicate nor
 * wrong bytes. The tries of a shorter datagram are identical. Each shorter
 * datagram has its own socket, and counts as duplicated only if there are more
 * replies than tries.
 *
 * The sockets are not connected, so that a reply from another address is seen.
 */
#ifndef EXCHANGE_H
#define EXCHANGE_H

#include "talk.h"

enum {
	DATAGRAM_TRIES = 12,	/* of each datagram, at most */
	DATAGRAM_WINDOW = 50	/* datagrams of one exchange, at most */
};

struct datagram {
	struct message message;	/* of the first try */
	int fd;			/* the socket that sends it */
	int tries;		/* how often it was sent */
	int64_t sent_at[DATAGRAM_TRIES];	/* as from net_now() */
	int answers[DATAGRAM_TRIES];	/* identical replies, by try */
	bool is_answered;
};

/* What is wrong with a datagram that was received. */
enum datagram_fault {
	DATAGRAM_CORRECT,
	DATAGRAM_DIFFERS,	/* other bytes, or more, or fewer */
	DATAGRAM_SOURCE,	/* not from the address of the request */
	DATAGRAM_CLIENT,	/* at the socket of another client */
	DATAGRAM_REPEATED	/* received more than once */
};

/* Datagrams that are in flight at the same time. */
struct exchange {
	struct target *target;
	struct net_peer to;	/* the address that is asked */
	struct datagram datagrams[DATAGRAM_WINDOW];
	int n;
	bool is_quick;		/* do not wait for duplicates at the end */
	bool is_refused;	/* ICMP port unreachable for the last try */
	int error;		/* errno of a failed send, or 0 */
	int64_t started, ended;	/* as from net_now() */

	/* The first wrong datagram; bytes are valid until the next receive. */
	enum datagram_fault fault;
	const struct datagram *faulty;	/* the datagram that it answers */
	int faulty_try;
	unsigned char *bytes;
	size_t size;
	struct net_peer from;
};

/*
 * Returns a UDP socket of that family for close(2), or -errno. It reports ICMP
 * port unreachable.
 */
int exchange_open(int family);

/* The address family of a target. */
int exchange_family(const struct target *);

/* An exchange with the address of the target, without a datagram. */
void exchange_init(struct exchange *, struct target *);

/* Adds a datagram with a new identity, to be sent by that socket. */
void exchange_add(struct exchange *, int fd, enum content, uint64_t size);

/* The message of a try, from 0 on. */
struct message exchange_message(const struct datagram *, int attempt);

/*
 * Sends all datagrams at once. Then sends each unanswered datagram separately,
 * until it is answered or no try is left. The last try waits until the current
 * timeout of the target has passed. Ends at the first fault, at the first
 * datagram that is never answered, or, without these, after a wait for surplus
 * datagrams. Returns whether all datagrams were answered without a fault.
 */
bool exchange_run(struct exchange *);

/* Receives further datagrams for ns, or until the first fault. */
void exchange_listen(struct exchange *, int64_t ns);

/* Sends each datagram once, without waiting for answers. */
void exchange_send_all(struct exchange *);

/* Closes the sockets. */
void exchange_close(struct exchange *);

/* Counts the tries, or the unanswered tries, of all datagrams. */
int exchange_count_tries(const struct exchange *);
int exchange_count_lost(const struct exchange *);

/* Returns whether two addresses and ports are the same. */
bool exchange_same_address(const struct net_peer *, const struct net_peer *);

/*
 * Does the same as dial_any(). For a UDP address, sends a datagram again and
 * again to each address that the name has, until any datagram comes back.
 */
int exchange_dial(const struct address *, int64_t timeout,
    struct dial_server *, struct dial_error *);

#endif
