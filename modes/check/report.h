/*
 * The report on a test that failed or was skipped.
 */
#ifndef REPORT_H
#define REPORT_H

#include <stdint.h>

#include "diagnose.h"
#include "modes/lib/text.h"
#include "talk.h"

/*
 * Why the last test failed or was skipped, and the other facts for the report.
 */
struct report {
	char message[DIAGNOSE_SIZE + 80];
	const char *ended;	/* how the connection ended; NULL: there is */
				/* only a message */
	char sent[96];
	char expected[TEXT_QUOTED], got[TEXT_QUOTED];	/* around offset */
	uint64_t offset;
	int64_t after;		/* ns */
	char comment[160];	/* a line about a test that may have passed */
};

/* Fills in everything but the message. */
void report_describe(struct report *, const struct talk *);

#endif
