/*
 * What `bench` tells of a measurement: a row of figures, told as text, as a
 * comparison of several, or as JSON.
 */
#ifndef FIGURES_H
#define FIGURES_H

#include <stddef.h>

#include "load.h"

enum { FIGURES = 13 };

/* Those of one measurement; what is not known is NAN. */
struct figures {
	double of[FIGURES];
};

void figures_take(struct figures *, const struct load_plan *,
    const struct load_result *);

/* One line for a measurement as it ends: the most important ones. */
void figures_line(FILE *, const char *address, size_t round,
    const struct load_plan *, const struct figures *);

/* One JSON object on one line of standard output. */
void figures_json(const char *address, size_t round,
    const struct load_plan *, const struct figures *);

/* A measurement for a person to read, and how its latencies are spread. */
void figures_text(const char *address, const struct load_plan *,
    const struct figures *);
void figures_histogram(const struct histogram *, unsigned width);

/*
 * Several rounds of several servers: for each figure and server the median,
 * the least and the most, and how the median relates to the first server's.
 * all has n rows for each server in turn.
 */
void figures_table(const struct load_target *, size_t servers,
    const struct load_plan *, const struct figures *all, size_t n);

#endif
