#include "histogram.h"

/*
 * A value below HISTOGRAM_STEPS has a bucket of its own. For larger values,
 * the HISTOGRAM_BITS bits after the highest one choose the bucket within the
 * power of two.
 */
static unsigned
histogram_bucket(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	shift = 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
	return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* The value in the middle of a bucket, which stands for the whole bucket. */
static uint64_t
histogram_middle(unsigned bucket)
{
	unsigned shift;
	uint64_t low;

	if (bucket < HISTOGRAM_STEPS)
		return bucket;
	shift = (bucket >> HISTOGRAM_BITS) - 1;
	low = (uint64_t)(bucket - (shift << HISTOGRAM_BITS)) << shift;
	return low + ((UINT64_C(1) << shift) >> 1);
}

void
histogram_add(struct histogram *h, uint64_t value)
{
	if (h->count == 0 || value < h->min)
		h->min = value;
	if (value > h->max)
		h->max = value;
	h->count++;
	h->buckets[histogram_bucket(value)]++;
}

/* Limits a value to the exact minimum and maximum. */
static uint64_t
histogram_clamp(const struct histogram *h, uint64_t value)
{
	if (value < h->min)
		return h->min;
	return value > h->max ? h->max : value;
}

/*
 * The rank of a quantile, from 1: count * quantile / HISTOGRAM_ALL, rounded
 * up. The count is divided first, so that no product exceeds 64 bits.
 */
static uint64_t
histogram_rank(uint64_t count, uint32_t quantile)
{
	uint64_t whole = count / HISTOGRAM_ALL * quantile;
	uint64_t rest = count % HISTOGRAM_ALL * quantile;

	return whole + (rest + HISTOGRAM_ALL - 1) / HISTOGRAM_ALL;
}

uint64_t
histogram_quantile(const struct histogram *h, uint32_t quantile)
{
	uint64_t rank = histogram_rank(h->count, quantile), seen = 0;

	if (quantile == 0)
		return h->min;
	if (quantile >= HISTOGRAM_ALL)
		return h->max;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > 0 && seen >= rank)
			return histogram_clamp(h, histogram_middle(i));
	}
	return h->max;
}

uint64_t
histogram_count(const struct histogram *h, uint64_t low, uint64_t high)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t middle;

		if (h->buckets[i] == 0)
			continue;
		middle = histogram_clamp(h, histogram_middle(i));
		if (middle >= low && middle < high)
			sum += h->buckets[i];
	}
	return sum;
}

double
histogram_mean(const struct histogram *h)
{
	double sum = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
		sum += (double)h->buckets[i] * (double)histogram_clamp(h,
		    histogram_middle(i));
	return h->count > 0 ? sum / (double)h->count : 0;
}

/* By Newton's method: sqrt(3) is not in libc, but in a library of its own. */
static double
square_root(double x)
{
	double root = x > 1 ? x : 1, last;

	do {
		last = root;
		root = (root + x / root) / 2;
	} while (root < last);
	return last;
}

double
histogram_deviation(const struct histogram *h)
{
	double mean = histogram_mean(h), sum = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		double distance = (double)histogram_clamp(h,
		    histogram_middle(i)) - mean;

		sum += (double)h->buckets[i] * distance * distance;
	}
	return h->count > 0 ? square_root(sum / (double)h->count) : 0;
}
