/*
 * The tests of mode `check`: what each is called, what it shows, and what it
 * says of a server.
 */
#ifndef CHECK_H
#define CHECK_H

#include <stddef.h>
#include <stdint.h>

#include "diagnose.h"
#include "talk.h"
#include "modes/lib/text.h"

enum profile { HOMEWORK, RFC862, ROBUST };	/* each includes those before */

enum outcome { PASS, FAIL, SKIP };

/* Why a test did not pass. */
struct report {
	char message[BLAME_SIZE + 80];
	const char *ended;	/* how the connection did; NULL: that is all */
	char sent[96];
	char expected[TEXT_QUOTED], got[TEXT_QUOTED];	/* around offset */
	uint64_t offset;
	int64_t after;		/* ns */
};

struct check {
	struct target target;
	const struct test *test;	/* the one that is being made */
	struct report report;		/* of it */
	bool answered;			/* the server did, some time */
	int unanswered;			/* tests in a row that were not */
	const char *mute;		/* the test since which it is not */
	const char *lines;		/* the test that needed a newline */
	const char *whole;		/* the test that needed end of file */
};

struct test {
	enum profile profile;
	const char *name;	/* stable */
	const char *shows;
	enum outcome (*make)(struct check *);
	struct plan plan;
};

extern const struct test check_tests[];	/* the last one has no name */

/* Makes that test, and reports if it does not pass. */
enum outcome check_make(struct check *, const struct test *);

#endif
