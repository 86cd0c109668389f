/*
 * The accounting of one UDP client of `bench`: which of its messages are in
 * flight, and how each received datagram counts. A flow makes no system call
 * and reads no clock; the caller gives the times.
 *
 * Each message ends in one of these states:
 * received	an intact reply arrived, in time or late
 * corrupted	a reply with wrong bytes or a wrong size arrived first
 * lost		no reply arrived
 *
 * A message without a reply is overdue after some time, and counts as lost.
 * Another message takes its place, but if its reply arrives after all, the
 * message is received, the reply is late, and nothing is lost or duplicated.
 */
#ifndef FLOW_H
#define FLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "payload.h"

enum {
	FLOW_OVERDUE = 4096	/* overdue messages that a flow remembers */
};

struct flow_message {
	uint64_t sequence;
	int64_t sent;		/* ns */
};

/* Messages in the order of their sequence numbers, and so of their times. */
struct flow_queue {
	struct flow_message *ring;
	size_t size, first, n;
};

/*
 * The results of the counted messages. A reply may be in several of the last
 * counts: a damaged copy of a reply is duplicated and corrupted.
 */
struct flow_counts {
	uint64_t sent;
	uint64_t received;
	uint64_t lost;		/* of those sent */
	uint64_t late;		/* of those received: after it was lost */
	uint64_t reordered;	/* of those received: in time, but after the
				   reply to a later message (RFC 4737) */
	uint64_t duplicated;	/* replies to messages with a reply before */
	uint64_t corrupted;	/* replies with wrong bytes or a wrong size */
	uint64_t foreign;	/* datagrams that are no reply to a message */
	uint64_t bursts;	/* runs of lost messages, one after another */
	uint64_t longest_burst;	/* messages in the longest of these */
};

struct flow {
	struct payload_key key;
	uint64_t next;		/* the sequence number of the next message */
	uint64_t newest;	/* the highest one received; 0: none */
	uint64_t counted_from;	/* the first message that is counted */
	uint64_t burst;		/* messages in the last run of losses */
	uint64_t burst_end;	/* the last message of this run */
	struct flow_queue in_flight, overdue;
	struct flow_counts counts;
	int64_t last_latency;	/* of the last reply counted, ns; or -1 */
	double jitter;		/* RFC 3550, section 6.4.1, in ns */
	double jitter_sum;	/* of its values after each reply, ... */
	uint64_t jitter_count;	/* ... and the number of these */
};

/*
 * Prepares a flow with at most window messages in flight, none of which is
 * counted. Returns false if there is no memory. flow_free() frees it.
 */
bool flow_init(struct flow *, struct payload_key, size_t window);
void flow_free(struct flow *);

/* The number of messages that may be sent now. */
size_t flow_room(const struct flow *);

/*
 * Notes that the next n messages, with the sequence numbers from next on, were
 * sent at that time. n is at most flow_room().
 */
void flow_sent(struct flow *, size_t n, int64_t now);

/* Counts the messages that are sent from now on, and only those. */
void flow_start_counting(struct flow *);

/*
 * Takes a datagram of size bytes that arrived from the server; only the first
 * key.size bytes need to be in memory. Returns the latency in ns if the
 * datagram is the first intact reply to a counted message, or else -1.
 */
int64_t flow_receive(struct flow *, const void *data, size_t size,
    int64_t now);

/* Counts a datagram that did not arrive from the server. */
void flow_foreign(struct flow *);

/* Marks messages that were sent at that time or before as overdue. */
void flow_expire(struct flow *, int64_t sent);

/* Ends the run: the messages that are overdue now form the bursts of losses. */
void flow_end(struct flow *);

#endif
