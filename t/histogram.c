/*
 * Unit tests of the histogram, in TAP. What the histogram says is compared
 * with the sorted values themselves, for distributions of several kinds.
 */
#include "modes/bench/histogram.h"
#include "t/tap.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { VALUES = 20000 };

static uint64_t
draw_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t
draw_constant(uint64_t *seed)
{
	(void)seed;
	return 123456789;
}

static uint64_t
draw_small(uint64_t *seed)
{
	return draw_random(seed) % 100;
}

static uint64_t
draw_uniform(uint64_t *seed)
{
	return 20000 + draw_random(seed) % 60000;
}

/* All orders of magnitude are equally frequent, up to the largest number. */
static uint64_t
draw_any_magnitude(uint64_t *seed)
{
	return draw_random(seed) >> draw_random(seed) % 64;
}

/* Like latencies: most are near 30 us, a few 10 and 1000 times as long. */
static uint64_t
draw_long_tail(uint64_t *seed)
{
	uint64_t n = 25000 + draw_random(seed) % 10000;
	uint64_t r = draw_random(seed) % 1000;

	return r == 0 ? n * 1000 : r < 20 ? n * 10 : n;
}

static int
histogram_test_compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The quantile as it is defined, found by counting in sorted values. */
static uint64_t
exact_quantile(const uint64_t *sorted, uint64_t n, uint32_t quantile)
{
	uint64_t i = 0;

	while (i + 1 < n && (i + 1) * HISTOGRAM_ALL < n * quantile)
		i++;
	return sorted[i];
}

static bool
is_equal(uint64_t got, uint64_t expected)
{
	if (got != expected)
		printf("# got %" PRIu64 ", expected %" PRIu64 "\n", got,
		    expected);
	return got == expected;
}

/* Within 1 %. */
static bool
is_near(uint64_t got, uint64_t expected)
{
	uint64_t off = got > expected ? got - expected : expected - got;

	return off <= expected / 100 || is_equal(got, expected);
}

static void
test_quantiles(const char *name, uint64_t (*draw)(uint64_t *))
{
	static const uint32_t quantiles[] = { 1000000, 100000000, 250000000,
	    500000000, 900000000, 990000000, 999000000, 999900000 };
	static struct histogram h;
	static uint64_t values[VALUES];
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
	bool good = true;

	h = (struct histogram){ 0 };
	for (size_t i = 0; i < VALUES; i++)
		histogram_add(&h, values[i] = draw(&seed));
	qsort(values, VALUES, sizeof(*values), histogram_test_compare);
	for (size_t i = 0; i < sizeof(quantiles) / sizeof(*quantiles); i++)
		good = is_near(histogram_quantile(&h, quantiles[i]),
		    exact_quantile(values, VALUES, quantiles[i])) && good;
	good = is_equal(h.count, VALUES) && good;
	good = is_equal(histogram_quantile(&h, 0), values[0]) && good;
	good = is_equal(histogram_quantile(&h, HISTOGRAM_ALL),
	    values[VALUES - 1]) && good;
	ok(good, name);
}

/*
 * The values 1 to 100 have a bucket each, so every quantile is exact. This
 * needs integers: in floating point 0.07 * 100 is more than 7, and on an x87
 * processor, which computes with more digits, other products are not exact.
 */
static void
test_exact_ranks(void)
{
	static struct histogram h;
	bool good = true;

	h = (struct histogram){ 0 };
	for (uint64_t n = 1; n <= 100; n++)
		histogram_add(&h, n);
	for (uint32_t percent = 1; percent <= 100; percent++)
		good = is_equal(histogram_quantile(&h,
		    percent * (HISTOGRAM_ALL / 100)), percent) && good;
	good = is_equal(histogram_quantile(&h, HISTOGRAM_ALL / 1000), 1) &&
	    good;
	ok(good, "quantiles of 1 to 100 are exact");
}

/* More values than HISTOGRAM_ALL, up to what 64 bits can count. */
static void
test_many_values(void)
{
	static struct histogram h;
	bool good = true;

	h = (struct histogram){ .count = UINT64_MAX, .min = 1, .max = 3 };
	h.buckets[1] = UINT64_MAX / 2;
	h.buckets[2] = UINT64_MAX / 2 - 1;
	h.buckets[3] = 2;
	good = is_equal(histogram_quantile(&h, 499999999), 1) && good;
	good = is_equal(histogram_quantile(&h, 500000001), 2) && good;
	good = is_equal(histogram_quantile(&h, 999999999), 2) && good;
	good = is_equal(histogram_quantile(&h, HISTOGRAM_ALL), 3) && good;
	ok(good, "quantiles of 2^64 - 1 values");
}

/* Values around the bounds of the buckets, each in a histogram of its own. */
static void
test_every_bucket(void)
{
	static struct histogram h;
	bool good = true;

	for (unsigned bit = 0; good && bit < 64; bit++)
		for (int off = -3; good && off <= 3; off++) {
			uint64_t n = (UINT64_C(1) << bit) + (uint64_t)off;

			h = (struct histogram){ 0 };
			histogram_add(&h, n);
			histogram_add(&h, UINT64_MAX);
			histogram_add(&h, 0);
			good = is_near(histogram_quantile(&h,
			    HISTOGRAM_ALL / 2), n);
		}
	ok(good, "values around all powers of two");
}

static void
test_count(void)
{
	static struct histogram h;
	uint64_t seed = 1, lower, upper;
	bool good;

	h = (struct histogram){ 0 };
	for (int i = 0; i < 1000; i++)
		histogram_add(&h, draw_uniform(&seed));
	ok(is_equal(histogram_count(&h, 0, 20000), 0),
	    "no value below the minimum");
	ok(is_equal(histogram_count(&h, 0, UINT64_MAX), 1000), "all values");
	lower = histogram_count(&h, 0, 50000);
	upper = histogram_count(&h, 50000, UINT64_MAX);
	ok(is_equal(lower + upper, 1000), "each value in one part only");
	good = lower > 400 && lower < 600;
	if (!good)
		printf("# got %" PRIu64 ", expected 400 to 600\n", lower);
	ok(good, "about half of them in the lower half");
}

static void
test_empty(void)
{
	static struct histogram h;

	ok(is_equal(histogram_quantile(&h, HISTOGRAM_ALL / 2), 0) &&
	    is_equal(histogram_quantile(&h, HISTOGRAM_ALL), 0) &&
	    is_equal(histogram_count(&h, 0, UINT64_MAX), 0), "empty");
}

int
main(void)
{
	test_empty();
	test_quantiles("quantiles: a constant value", draw_constant);
	test_quantiles("quantiles: small values", draw_small);
	test_quantiles("quantiles: a uniform distribution", draw_uniform);
	test_quantiles("quantiles: all orders of magnitude",
	    draw_any_magnitude);
	test_quantiles("quantiles: a long tail", draw_long_tail);
	test_exact_ranks();
	test_many_values();
	test_every_bucket();
	test_count();
	return done();
}
