/*
 * Conversations with a UDP echo server: datagrams are sent and retried, and
 * each datagram that comes back is compared with those that were sent. What
 * the result means is decided by datagram_tests.c and datagram_diagnose.c.
 *
 * UDP may lose, repeat and delay datagrams. Each try of a datagram of 8 bytes
 * or more has content of its own, made from a random number. A reply to an
 * earlier try is therefore an answer, and neither a duplicate nor wrong bytes.
 * Shorter datagrams are alike in each try; each has a socket of its own, and
 * counts as duplicated only if there are more replies than tries.
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
	DATAGRAM_SOURCE,	/* from another address than the one asked */
	DATAGRAM_CLIENT,	/* at the socket of another client */
	DATAGRAM_REPEATED	/* once more */
};

/* Datagrams that are on their way at the same time. */
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
	const struct datagram *faulty;	/* what it was to be */
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

/* Adds a datagram, which that socket sends. Its identity is new. */
void exchange_add(struct exchange *, int fd, enum content, uint64_t size);

/* The message of a try, from 0 on. */
struct message exchange_message(const struct datagram *, int attempt);

/*
 * Sends all datagrams at once, and then each one that is not answered alone,
 * until it is answered or there is no try left. The last try waits until the
 * current timeout of the target has passed. Ends at the first fault, at the
 * first datagram that is not answered, or when surplus datagrams have been
 * waited for. Returns whether all were answered without a fault.
 */
bool exchange_run(struct exchange *);

/* Waits for ns for more datagrams, until the first fault. */
void exchange_listen(struct exchange *, int64_t ns);

/* Sends each datagram once, and waits for no answer. */
void exchange_send_all(struct exchange *);

/* Closes the sockets. */
void exchange_close(struct exchange *);

/* Counts the tries, or those without an answer, of all datagrams. */
int exchange_count_tries(const struct exchange *);
int exchange_count_lost(const struct exchange *);

/* Returns whether two addresses and ports are the same. */
bool exchange_same_address(const struct net_peer *, const struct net_peer *);

/*
 * As dial_any(). Where the address has UDP, a datagram is sent to each of its
 * addresses, again and again, until one of them sends any datagram back.
 */
int exchange_dial(const struct address *, int64_t timeout,
    struct dial_server *, struct dial_error *);

#endif
