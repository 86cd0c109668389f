/*
 * The tests of mode `check`: the table of all tests, the state of a run, and
 * the report on a failed test.
 */
#ifndef TESTS_H
#define TESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "diagnose.h"
#include "modes/lib/text.h"
#include "talk.h"

enum profile { HOMEWORK, RFC862, ROBUST };	/* each includes those before */

enum outcome { PASS, FAIL, SKIP };

/* Why the last test failed or was skipped. */
struct report {
	char message[DIAGNOSE_SIZE + 80];
	const char *ended;	/* how the connection ended; NULL: there is */
				/* only a message */
	char sent[96];
	char expected[TEXT_QUOTED], got[TEXT_QUOTED];	/* around offset */
	uint64_t offset;
	int64_t after;		/* ns */
};

/*
 * The state of a run. The names of tests are those after which waiting again
 * is pointless: the server did not answer, or not until a newline or FIN.
 */
struct test_run {
	struct target target;
	const struct test *test;	/* the current one */
	struct report report;		/* on the current one */
	bool has_answered;		/* the server has, at least once */
	int unanswered;			/* tests since the last answer */
	const char *no_answer_since;	/* name of a test, or NULL */
	const char *needs_newline_since;	/* the same */
	const char *needs_fin_since;		/* the same */
};

struct test {
	enum profile profile;
	const char *name;	/* used in scripts: never renamed */
	const char *shows;	/* for --list */
	enum outcome (*run)(struct test_run *);
	struct plan plan;
};

extern const struct test tests_table[];	/* ends with a NULL name */

/* Runs a test; run->report is set unless it passes. */
enum outcome tests_run_one(struct test_run *run, const struct test *);

#endif
