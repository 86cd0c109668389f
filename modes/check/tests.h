/*
 * The tests of mode `check`: the table of all tests, the state of a run, and
 * the report on a failed test.
 */
#ifndef TESTS_H
#define TESTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "candidates.h"
#include "report.h"
#include "talk.h"

enum profile { HOMEWORK, RFC862, ROBUST };	/* each includes those before */

enum outcome { PASS, FAIL, SKIP };

/*
 * The state of a run. The members no_answer_since, stuck_since and needs_since
 * name a test after which later tests need not wait again: the server did not
 * answer, or answered only after bytes that most messages do not contain.
 */
struct test_run {
	struct target target;
	const struct test *test;	/* the current one */
	struct report report;		/* on the current one */
	struct history history;
	int opened_before;		/* connections, before the test */
	bool ends_first;		/* the server ends connections first */
	bool is_first;			/* the last conversation was the first */
	bool is_dead;			/* after the last conversation */
	bool serves_next;		/* after it, another client is served */
	const char *accepted_in;	/* name of the last test that connected */
	bool answers_letters;		/* it has, without a newline or FIN */
	bool reads_nothing;		/* nor does it answer anything */
	const char *no_answer_since;	/* name of a test, or NULL */
	const char *stuck_since;	/* the same: no other client is served */
	const char *needs_since;	/* the same: answers only after needs */
	enum probe needs;
};

struct test {
	enum profile profile;
	const char *name;	/* used in scripts: never renamed */
	const char *shows;	/* for --list */
	enum outcome (*run)(struct test_run *);
	struct plan plan;
};

extern const struct test tests_table[];	/* ends with a NULL name */

/* To be called when the server was started again: forgets earlier failures. */
void tests_server_restarted(struct test_run *);

/* Sets the message of the report, and returns the outcome. */
enum outcome tests_report(struct test_run *, enum outcome, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Runs a test; run->report is set unless it passes. */
enum outcome tests_run_one(struct test_run *run, const struct test *);

#endif
