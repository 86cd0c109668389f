/*
 * The search of `bench --search` for the highest rate that a server can answer:
 * the rate is doubled until a measurement fails. Then the interval between the
 * highest rate that passed and the lowest rate that failed is halved again and
 * again.
 */
#ifndef SEARCH_H
#define SEARCH_H

#include <stdbool.h>
#include <stdint.h>

#include "plan.h"

enum search_verdict {
	SEARCH_PASS,
	SEARCH_LOSS,	/* more than 0.1 % of the messages were not answered */
	SEARCH_SLOW,	/* the latency p99 exceeds the limit */
	SEARCH_BENCH,	/* bench itself was too late for its schedule */
	SEARCH_NONE	/* no message was due during the measurement */
};

struct search {
	int64_t limit;			/* of the latency p99, ns */
	uint64_t good, bad;		/* messages per second; 0: none yet */
	enum search_verdict why;	/* the measurement of bad failed */
};

/* The rate to be measured next; 0: the search has ended. */
uint64_t search_next(const struct search *);

/* Judges a measurement. */
enum search_verdict search_judge(const struct search *, bool is_udp,
    const struct load_result *);

/* Continues the search with the verdict on that rate. */
void search_note(struct search *, uint64_t rate, enum search_verdict);

/* Why a measurement failed, in words. */
const char *search_reason(enum search_verdict);

#endif
