/*
 * The plan of a run of the load, and its result. These types connect the
 * options, the load and the report.
 */
#ifndef PLAN_H
#define PLAN_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "flow.h"
#include "histogram.h"
#include "modes/lib/dial.h"

enum { LOAD_SEND_MAX = 65536 };	/* bytes in one send */

enum load_mode {
	ROUND_TRIPS,	/* a fixed number of messages in flight, or a fixed
			   number per second; TCP or UDP */
	STREAM,		/* send and receive without pause */
	CONNECT		/* one connection per message */
};

enum load_phase { OPENING, WARM_UP, MEASURING, CLOSING };

struct load_plan {
	enum load_mode mode;
	size_t connections, idle;	/* busy and idle connections */
	size_t size;			/* bytes per message, or per send */
	size_t window;		/* messages in flight per connection; with a
				   rate, those that a UDP client remembers */
	uint64_t rate;		/* messages per second of all connections, on
				   schedule (schedule.h); 0: none */
	bool sleeps;		/* never poll for replies instead of sleeping */
	int64_t duration, timeout;	/* ns; timeout 0: no limit */
	int64_t late_after;	/* UDP: a reply is late after this time, ns */
};

struct load_target {
	struct dial_server server;
	bool is_udp;
	pid_t pid;	/* the server's process, to measure; 0: unknown */
};

/* The measured figures, without the warm-up and closing. */
struct load_result {
	int64_t time;			/* ns */
	uint64_t bytes;			/* received */
	struct histogram latency;	/* ns per message; not for STREAM */
	int64_t processor, memory;	/* of the server: ns, bytes; or -1 */
	struct flow_counts datagrams;	/* UDP: the sum of all clients */
	uint64_t dropped;	/* UDP: received, but lost in a socket of bench
				   whose buffer was full */
	double jitter;		/* UDP: the mean, ns; or -1 */
	struct histogram delays;	/* with a rate: ns from the time at which
				   a message was due until bench sent it */
	uint64_t unanswered;	/* with a rate: messages that were due, but not
				   sent or not awaited until the end */
};

/*
 * A function that is called ten times per second with the result so far, and
 * with NULL at the end of a run and before an error message.
 */
typedef void load_progress(const struct load_target *,
    const struct load_result *);

#endif
