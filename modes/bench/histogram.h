/*
 * A log-linear histogram of integers: every power of two is divided into
 * HISTOGRAM_STEPS buckets of equal width. So the relative error is the same
 * for small and large values, at most half a bucket (0.4 %), and the memory
 * needed is fixed. Includes no other header of the project.
 */
#ifndef HISTOGRAM_H
#define HISTOGRAM_H

#include <stdint.h>

enum {
	HISTOGRAM_BITS = 7,
	HISTOGRAM_STEPS = 1 << HISTOGRAM_BITS,
	HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS,
	HISTOGRAM_ALL = 1000000000	/* quantile of the largest value */
};

/* A histogram whose bytes are all zero is empty. */
struct histogram {
	uint64_t count;		/* values added */
	uint64_t min, max;	/* exact; valid if count > 0 */
	uint64_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_add(struct histogram *, uint64_t value);

/*
 * Returns the smallest value v such that quantile/HISTOGRAM_ALL of all values
 * are at most v (HISTOGRAM_ALL / 2: the median), or 0 if there are no values.
 * The results for 0 and HISTOGRAM_ALL are exact. The quantile is an integer
 * because the product of count and a fraction like 0.07 is not exact in
 * floating point, and differs between processors (x87).
 */
uint64_t histogram_quantile(const struct histogram *, uint32_t quantile);

/* The mean and the standard deviation; 0 if there are no values. */
double histogram_mean(const struct histogram *);
double histogram_deviation(const struct histogram *);

/* The number of values from low up to, but not including, high. */
uint64_t histogram_count(const struct histogram *, uint64_t low,
    uint64_t high);

#endif
