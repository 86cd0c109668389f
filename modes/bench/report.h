/*
 * The report of `bench`: the figures of a measurement, printed as text, as a
 * table that compares several servers, or as JSON.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stddef.h>
#include <stdio.h>

#include "plan.h"

enum { REPORT_FIGURES = 28 };

/* The figures of one measurement; NAN where a figure is unknown. */
struct report {
	double figures[REPORT_FIGURES];
};

/* A report in which all figures are unknown. */
void report_clear(struct report *);

/* Fills the report with the figures of a result. */
void report_compute(struct report *, const struct load_plan *,
    const struct load_target *, const struct load_result *);

/* Prints the most important figures of one measurement in one line. */
void report_line(FILE *, const char *address, size_t round,
    const struct load_plan *, const struct report *);

/* Prints one JSON object on one line of standard output. */
void report_json(const struct load_target *, size_t round,
    const struct load_plan *, const struct report *);

/* Prints the figures of a single measurement as text, one per line. */
void report_text(const struct load_target *, const struct load_plan *,
    const struct report *);

/*
 * Prints a table that compares servers: for each figure and server the
 * median, minimum and maximum of all rounds, and the ratio of the median to
 * that of the first server. The array has the rounds of the first server,
 * then those of the second, and so on.
 */
void report_table(const struct load_target *, size_t servers,
    const struct load_plan *, const struct report *, size_t rounds);

#endif
