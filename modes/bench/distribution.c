#include "distribution.h"

#include <inttypes.h>
#include <stdio.h>

enum {
	DRAWN_ROWS = 20,	/* approximate maximum of rows of a drawing */
	DECADES = 15,		/* from 100 ns on */
	LABEL_WIDTH = 24,	/* columns to the left of the bars */
	TICKS = 5		/* rows of the table per halving of the rest */
};

/*
 * The i-th bound of the rows of a drawing, in ns: the ten preferred numbers
 * per decade of ISO 3 (R10), from 100 ns on. A drawing uses every bound, every
 * second or every fifth one.
 */
static uint64_t
distribution_bound(unsigned i)
{
	static const unsigned short numbers[] = {
		100, 125, 160, 200, 250, 315, 400, 500, 630, 800
	};
	uint64_t bound = numbers[i % 10];

	for (; i >= 10; i -= 10)
		bound *= 10;
	return bound;
}

/* The index of the first bound that is larger than the value. */
static unsigned
distribution_bound_above(uint64_t value)
{
	unsigned i = 0;

	while (i < 10 * DECADES && distribution_bound(i) <= value)
		i++;
	return i;
}

/* Draws one row: n messages from low ns on. The longest bar is max messages. */
static void
distribution_bar(uint64_t low, uint64_t n, uint64_t max, unsigned width)
{
	uint64_t bar = max == 0 ? 0 : (n * width + max - 1) / max;

	printf("%12.1f %10" PRIu64 " ", (double)low / 1e3, n);
	for (uint64_t i = 0; i < bar; i++)
		putchar('#');
	putchar('\n');
}

void
distribution_draw(const struct histogram *h, unsigned width)
{
	unsigned from = distribution_bound_above(h->min);
	unsigned to = distribution_bound_above(h->max);
	unsigned step = to - from < DRAWN_ROWS ? 1 :
	    to - from < 2 * DRAWN_ROWS ? 2 : 5;
	uint64_t max = 0;

	if (h->count == 0)
		return;
	from -= from > 0;
	from -= from % step;
	for (unsigned i = from; i < to; i += step) {
		uint64_t n = histogram_count(h, distribution_bound(i),
		    distribution_bound(i + step));

		max = n > max ? n : max;
	}
	printf("%12s %10s\n", "from us", "messages");
	for (unsigned i = from; i < to; i += step)
		distribution_bar(distribution_bound(i), histogram_count(h, i == from ? 0 :
		    distribution_bound(i), distribution_bound(i + step)), max,
		    width > 2 * LABEL_WIDTH ? width - LABEL_WIDTH :
		    LABEL_WIDTH);
}

/* One row of the table. */
static void
distribution_row(const struct histogram *h, double level)
{
	uint32_t quantile = (uint32_t)(level * (double)HISTOGRAM_ALL + 0.5);
	uint64_t value = histogram_quantile(h, quantile > 0 ? quantile : 1);
	uint64_t n = histogram_count(h, 0, value + 1);

	printf("%12.3f %.12f %10" PRIu64, (double)value / 1e6, level, n);
	if (level < 1)
		printf(" %14.2f", 1 / (1 - level));
	putchar('\n');
}

/* The next level: each halving of the distance to 1 has TICKS steps. */
static double
distribution_next_level(double level)
{
	double rest = 1;

	while (rest > 1 - level)
		rest /= 2;
	return level + rest / (double)TICKS;
}

void
distribution_print(const struct histogram *h)
{
	double level = 0;

	printf("%12s %14s %10s %14s\n\n", "Value", "Percentile",
	    "TotalCount", "1/(1-Percentile)");
	while (h->count > 0 && (1 - level) * (double)h->count >= 0.5) {
		distribution_row(h, level);
		level = distribution_next_level(level);
	}
	if (h->count > 0)
		distribution_row(h, 1);
	printf("#[Mean    = %12.3f, StdDeviation   = %12.3f]\n",
	    histogram_mean(h) / 1e6, histogram_deviation(h) / 1e6);
	printf("#[Max     = %12.3f, Total count    = %12" PRIu64 "]\n",
	    (double)h->max / 1e6, h->count);
	printf("#[Buckets = %12d, SubBuckets     = %12d]\n",
	    64 - HISTOGRAM_BITS + 1, HISTOGRAM_STEPS);
}
