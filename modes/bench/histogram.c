#include "histogram.h"

/*
 * Numbers below HISTOGRAM_STEPS have a bucket each. Of the others, the bits
 * behind the first one choose the bucket within their power of two.
 */
static unsigned
bucket_of(uint64_t value)
{
	unsigned shift;

	if (value < HISTOGRAM_STEPS)
		return (unsigned)value;
	shift = 63 - HISTOGRAM_BITS - (unsigned)__builtin_clzll(value);
	return (shift << HISTOGRAM_BITS) + (unsigned)(value >> shift);
}

/* The number that stands for all of a bucket: the one in its middle. */
static uint64_t
middle_of(unsigned bucket)
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
	if (h->count == 0 || value < h->least)
		h->least = value;
	if (value > h->most)
		h->most = value;
	h->count++;
	h->buckets[bucket_of(value)]++;
}

/* No number is outside of what is known exactly. */
static uint64_t
within(const struct histogram *h, uint64_t value)
{
	if (value < h->least)
		return h->least;
	return value > h->most ? h->most : value;
}

uint64_t
histogram_quantile(const struct histogram *h, double part)
{
	double wanted = part * (double)h->count;
	uint64_t seen = 0;

	if (part <= 0)
		return h->least;
	if (part >= 1)
		return h->most;
	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		seen += h->buckets[i];
		if (seen > 0 && (double)seen >= wanted)
			return within(h, middle_of(i));
	}
	return h->most;
}

uint64_t
histogram_between(const struct histogram *h, uint64_t low, uint64_t high)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
		uint64_t middle;

		if (h->buckets[i] == 0)
			continue;
		middle = within(h, middle_of(i));
		if (middle >= low && middle < high)
			sum += h->buckets[i];
	}
	return sum;
}
