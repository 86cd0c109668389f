/*
 * A histogram of whole numbers, log-linear: every power of two is divided
 * into HISTOGRAM_STEPS equal buckets, so that all sizes of number are told
 * with the same relative error, at most half a bucket (0.4 %), in a fixed
 * amount of memory. Includes nothing of ours.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_BITS = 7,
	HISTOGRAM_STEPS = 1 << HISTOGRAM_BITS,
	HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS
};

/* All zeros is an empty one. */
struct histogram {
	uint64_t count;		/* numbers in it */
	uint64_t least, most;	/* of them, exactly; if there are any */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *, uint64_t value);

/*
 * The least number that part (0 to 1) of all numbers are not above, 0 if
 * there are none. 0 and 1 are the exact least and most.
 */
uint64_t histogram_quantile(const struct histogram *, double part);

/* How many numbers are from low up to, but not including, high. */
uint64_t histogram_between(const struct histogram *, uint64_t low,
    uint64_t high);

#endif
