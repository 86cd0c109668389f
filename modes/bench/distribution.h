/*
 * The distribution of the latencies: as a drawing for a terminal, and as a
 * table in the text format of HdrHistogram.
 */
#ifndef DISTRIBUTION_H
#define DISTRIBUTION_H

#include "histogram.h"

/* Draws the distribution, width columns wide. The values are ns. */
void distribution_draw(const struct histogram *, unsigned width);

/*
 * Prints the distribution as HdrHistogram does (.hgrm), and as wrk2 prints it:
 * value in ms, percentile, number of values up to it, and 1/(1 - percentile).
 * Between each percentile and 1, half of the distance has five rows.
 */
void distribution_print(const struct histogram *);

#endif
