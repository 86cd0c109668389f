/*
 * Unit tests of the histogram, in TAP: what it says is compared with what the
 * numbers themselves say, sorted, for distributions of several kinds.
 */
#include "modes/bench/histogram.h"
#include "t/tap.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { NUMBERS = 20000 };

static uint64_t
next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static uint64_t
constant(uint64_t *seed)
{
	(void)seed;
	return 123456789;
}

static uint64_t
small(uint64_t *seed)
{
	return next(seed) % 100;
}

static uint64_t
even(uint64_t *seed)
{
	return 20000 + next(seed) % 60000;
}

/* All orders of magnitude alike, up to the largest number there is. */
static uint64_t
every_size(uint64_t *seed)
{
	return next(seed) >> next(seed) % 64;
}

/* As latencies are: most of them near 30 us, few ten and a thousand times. */
static uint64_t
tailed(uint64_t *seed)
{
	uint64_t n = 25000 + next(seed) % 10000, r = next(seed) % 1000;

	return r == 0 ? n * 1000 : r < 20 ? n * 10 : n;
}

static int
compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The least number that part of all, in order, are not above. */
static uint64_t
exactly(const uint64_t *sorted, size_t n, double part)
{
	size_t i = 0;

	while (i + 1 < n && (double)(i + 1) < part * (double)n)
		i++;
	return sorted[i];
}

static bool
is_near(uint64_t got, uint64_t wanted)
{
	uint64_t off = got > wanted ? got - wanted : wanted - got;

	if (off <= wanted / 100)
		return true;
	printf("# %" PRIu64 " for %" PRIu64 "\n", got, wanted);
	return false;
}

static void
test_quantiles(const char *name, uint64_t (*draw)(uint64_t *))
{
	static const double parts[] = { 0.001, 0.1, 0.25, 0.5, 0.9, 0.99,
	    0.999, 0.9999 };
	static struct histogram h;
	static uint64_t numbers[NUMBERS];
	uint64_t seed = UINT64_C(0x9e3779b97f4a7c15);
	bool good = true;

	h = (struct histogram){ 0 };
	for (size_t i = 0; i < NUMBERS; i++)
		histogram_add(&h, numbers[i] = draw(&seed));
	qsort(numbers, NUMBERS, sizeof(*numbers), compare);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		good = is_near(histogram_quantile(&h, parts[i]),
		    exactly(numbers, NUMBERS, parts[i])) && good;
	good = good && h.count == NUMBERS &&
	    histogram_quantile(&h, 0) == numbers[0] &&
	    histogram_quantile(&h, 1) == numbers[NUMBERS - 1];
	ok(good, name);
}

/* Each number alone, around every bound of a bucket. */
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
			good = is_near(histogram_quantile(&h, 0.5), n);
		}
	ok(good, "numbers around all powers of two");
}

static void
test_between(void)
{
	static struct histogram h;
	uint64_t seed = 1;

	h = (struct histogram){ 0 };
	for (int i = 0; i < 1000; i++)
		histogram_add(&h, even(&seed));
	ok(histogram_between(&h, 0, 20000) == 0, "none below the least");
	ok(histogram_between(&h, 0, UINT64_MAX) == 1000, "all of them");
	ok(histogram_between(&h, 0, 50000) + histogram_between(&h, 50000,
	    UINT64_MAX) == 1000, "each in one part only");
	ok(histogram_between(&h, 0, 50000) > 400 &&
	    histogram_between(&h, 0, 50000) < 600, "about half in the half");
}

static void
test_empty(void)
{
	static struct histogram h;

	ok(histogram_quantile(&h, 0.5) == 0 && histogram_quantile(&h, 1) == 0 &&
	    histogram_between(&h, 0, UINT64_MAX) == 0, "nothing in it");
}

int
main(void)
{
	test_empty();
	test_quantiles("quantiles: one number again and again", constant);
	test_quantiles("quantiles: small numbers", small);
	test_quantiles("quantiles: evenly spread", even);
	test_quantiles("quantiles: all orders of magnitude", every_size);
	test_quantiles("quantiles: a long tail", tailed);
	test_every_bucket();
	test_between();
	return done();
}
