/*
 * When the messages of `bench --rate` are due. The schedule does not depend on
 * the replies (open loop). The latency of a message counts from the time at
 * which it is due, and not from the time at which it is sent: a server that
 * pauses delays all messages that are due meanwhile. A closed loop sends none
 * of them, and so measures the pause only once (coordinated omission).
 *
 * The functions make no system call and read no clock.
 */
#ifndef SCHEDULE_H
#define SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "histogram.h"

enum { SCHEDULE_RATE_MAX = 10000000 };	/* messages per second */

struct schedule {
	uint64_t rate;		/* messages per second; 0: there is none */
	int64_t start;		/* when message 0 is due, ns */
	uint64_t next;		/* the next message to be sent, from 0 */
};

/* When a message is due, ns. */
int64_t schedule_due(const struct schedule *, uint64_t message);

/* The first message that is due at that time (ns) or later. */
uint64_t schedule_first(const struct schedule *, int64_t time);

/*
 * Whether more than 1 % of the messages were sent more than 1 ms after they
 * were due, so that the latencies describe bench rather than the server.
 */
bool schedule_is_missed(const struct histogram *delays);

#endif
