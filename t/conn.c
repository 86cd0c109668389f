/*
 * Unit tests of the conn machine, in TAP. It makes no call, so neither do
 * they: cases first, then the properties of t/conn.h under a million random
 * steps, with the seed in the name of a test that fails.
 */
#include "t/conn.h"
#include "t/tap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool
is(const struct conn *c, enum conn_state state, unsigned want, uint64_t owed)
{
	if (c->state == state && conn_want(c) == want && conn_owed(c) == owed)
		return true;
	printf("# state %d, wants %u, owes %llu\n", (int)c->state,
	    conn_want(c), (unsigned long long)conn_owed(c));
	return false;
}

static void
test_echoing(void)
{
	struct conn c = { 0 };

	ok(is(&c, CONN_ECHOING, WANT_READ, 0), "a new one wants to read");
	conn_got(&c, 16);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 16),
	    "while it owes it reads no more");
	conn_sent(&c, 10);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 6), "a short write owes the rest");
	conn_sent(&c, -EAGAIN);
	conn_got(&c, -EINTR);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 6), "EAGAIN and EINTR are nothing");
	conn_sent(&c, 6);
	ok(is(&c, CONN_ECHOING, WANT_READ, 0), "paid, it reads again");
	ok(c.end == NULL && c.err == 0, "and has no cause of end");
}

static void
test_end_of_file(void)
{
	struct conn c = { 0 };

	conn_got(&c, 0);
	ok(is(&c, CONN_OVER, 0, 0), "an end of file with nothing owed: over");
	ok(c.end == CONN_EOF, "and that is its cause");

	c = (struct conn){ .in = 100, .out = 40 };
	conn_got(&c, 0);
	ok(is(&c, CONN_LAST, WANT_WRITE, 60), "a half-close leaves the debt");
	conn_finish(&c, "gap");
	ok(is(&c, CONN_LAST, WANT_WRITE, 60), "that a finish does not change");
	conn_sent(&c, 60);
	ok(is(&c, CONN_OVER, 0, 0), "paid, it is over");
	ok(c.end == CONN_EOF, "the first cause stays");
}

static void
test_finish(void)
{
	struct conn c = { 0 };

	conn_finish(&c, "idle");
	ok(is(&c, CONN_LINGERING, WANT_READ, 0), "finished, it lingers");
	conn_got(&c, 5);
	ok(is(&c, CONN_LINGERING, WANT_READ, 0), "what still comes is dropped");
	ok(c.in == 0, "and not counted");
	conn_got(&c, 0);
	ok(is(&c, CONN_OVER, 0, 0), "until the peer's end of file");
	ok(strcmp(c.end, "idle") == 0, "its cause is the finish");

	c = (struct conn){ .in = 7 };
	conn_finish(&c, "stop");
	ok(is(&c, CONN_FINISHING, WANT_WRITE, 7), "a debt is paid first");
	conn_got(&c, 3);
	ok(is(&c, CONN_FINISHING, WANT_WRITE, 7), "with no new one taken on");
	conn_sent(&c, 7);
	ok(is(&c, CONN_LINGERING, WANT_READ, 0), "then it lingers");

	c = (struct conn){ .in = 7 };
	conn_finish(&c, "stop");
	conn_got(&c, 0);
	conn_sent(&c, 7);
	ok(is(&c, CONN_OVER, 0, 0),
	    "a peer that finished meanwhile is not waited for");
}

static void
test_cut(void)
{
	struct conn c = { .in = 7 };

	conn_cut(&c, "idle");
	ok(is(&c, CONN_OVER, 0, 7), "cut, it is over, whatever is owed");
	ok(strcmp(c.end, "idle") == 0 && c.err == ETIMEDOUT,
	    "which is an error, with its cause");
	c = (struct conn){ 0 };
	conn_finish(&c, "gap");
	conn_cut(&c, "idle");
	ok(is(&c, CONN_OVER, 0, 0) && strcmp(c.end, "gap") == 0 && c.err == 0,
	    "with nothing owed it is none, and the first cause stays");
}

static void
test_errors(void)
{
	struct conn c = { .in = 7 };

	conn_sent(&c, -EPIPE);
	ok(is(&c, CONN_OVER, 0, 7), "an error ends it, whatever is owed");
	ok(c.err == EPIPE && c.end == NULL, "and is its cause");
	conn_got(&c, -ECONNRESET);
	conn_got(&c, 10);
	conn_sent(&c, 7);
	conn_finish(&c, "late");
	ok(is(&c, CONN_OVER, 0, 7) && c.err == EPIPE && c.end == NULL,
	    "after which nothing changes");

	c = (struct conn){ 0 };
	conn_finish(&c, "idle");
	conn_got(&c, -ECONNRESET);
	ok(c.state == CONN_OVER && strcmp(c.end, "idle") == 0 &&
	    c.err == ECONNRESET, "a later error does not hide the cause");
}

static void
test_counts(void)
{
	struct conn c = { .in = 5 };

	conn_sent(&c, 9);
	ok(c.out == 5, "more cannot be sent than is owed");
	c = (struct conn){ .in = UINT64_C(1) << 40, .out = UINT64_C(1) << 40 };
	conn_got(&c, 1);
	ok(conn_owed(&c) == 1, "a terabyte is no limit");
}

static uint64_t
next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

static void
random_step(struct conn *c, uint64_t *seed)
{
	static const int errors[] = { EAGAIN, EINTR, EAGAIN, EINTR, EAGAIN,
	    ECONNRESET, EPIPE, ETIMEDOUT };
	uint64_t r = next_random(seed);
	ssize_t n = (ssize_t)(r >> 16 & 0xfff);

	if ((r >> 8 & 7) == 0)
		n = -errors[r >> 32 & 7];
	else if ((r >> 8 & 31) == 1)
		n = 0;
	if ((r & 0x3f) == 0)
		conn_finish(c, "finish");
	else if ((r & 0x3ff) == 2)
		conn_cut(c, "cut");
	else if (r & 1)
		conn_got(c, n);
	else
		conn_sent(c, n);
}

static void
test_properties(void)
{
	char name[80] = "the properties hold under a million random steps";
	bool good = true;

	for (uint64_t start = 1; good && start <= 20000; start++) {
		uint64_t seed = start * UINT64_C(0x9e3779b97f4a7c15);
		struct conn c = { 0 }, before;

		for (int i = 0; good && i < 50; i++) {
			before = c;
			random_step(&c, &seed);
			good = holds(&c, &before);
		}
		if (!good)
			snprintf(name, sizeof(name), "the properties hold: "
			    "seed %llu", (unsigned long long)start);
	}
	ok(good, name);
}

int
main(void)
{
	test_echoing();
	test_end_of_file();
	test_finish();
	test_cut();
	test_errors();
	test_counts();
	test_properties();
	return done();
}
