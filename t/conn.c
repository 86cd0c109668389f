/*
 * Unit tests of the conn machine, in TAP. It makes no system call, so they
 * make none: first cases, then the properties of t/conn.h under a million
 * random steps. The name of a failed test has its seed.
 */
#include "t/conn.h"
#include "t/tap.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>

static bool
is(const struct conn *c, enum conn_state state, unsigned want,
    uint64_t pending)
{
	if (c->state == state && conn_want(c) == want &&
	    conn_pending(c) == pending)
		return true;
	printf("# got state %d, want %u, pending %llu; "
	    "expected %d, %u, %llu\n", (int)c->state, conn_want(c),
	    (unsigned long long)conn_pending(c), (int)state, want,
	    (unsigned long long)pending);
	return false;
}

static void
test_echoing(void)
{
	struct conn c = { 0 };

	ok(is(&c, CONN_ECHOING, WANT_READ, 0), "a new connection is read");
	conn_received(&c, 16);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 16),
	    "while bytes are pending it is not read");
	conn_sent(&c, 10);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 6),
	    "after a short write the rest is pending");
	conn_sent(&c, -EAGAIN);
	conn_received(&c, -EINTR);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 6),
	    "EAGAIN and EINTR change nothing");
	conn_sent(&c, 6);
	ok(is(&c, CONN_ECHOING, WANT_READ, 0),
	    "when all is sent it is read again");
	ok(c.reason == CONN_NO_REASON && c.err == 0,
	    "and it has no reason to end");
}

static void
test_end_of_file(void)
{
	struct conn c = { 0 };

	conn_received(&c, 0);
	ok(is(&c, CONN_CLOSED, 0, 0),
	    "an end of file with nothing pending closes it");
	ok(c.reason == CONN_END_OF_FILE, "and that is the reason");

	c = (struct conn){ .in = 100, .out = 40 };
	conn_received(&c, 0);
	ok(is(&c, CONN_PEER_FINISHED, WANT_WRITE, 60),
	    "after a half-close pending bytes are sent");
	conn_finish(&c, CONN_END_OF_MESSAGE);
	ok(is(&c, CONN_PEER_FINISHED, WANT_WRITE, 60),
	    "which conn_finish() does not change");
	conn_sent(&c, 60);
	ok(is(&c, CONN_CLOSED, 0, 0), "when all is sent it is closed");
	ok(c.reason == CONN_END_OF_FILE, "the first reason stays");
}

static void
test_finish(void)
{
	struct conn c = { 0 };

	conn_finish(&c, CONN_IDLE);
	ok(is(&c, CONN_FIN_DUE, WANT_FIN, 0),
	    "a finished connection wants its FIN sent");
	conn_received(&c, 5);
	ok(is(&c, CONN_FIN_DUE, WANT_FIN, 0), "whatever is received");
	conn_fin_sent(&c);
	ok(is(&c, CONN_LINGERING, WANT_READ, 0), "then it lingers");
	conn_received(&c, 5);
	ok(is(&c, CONN_LINGERING, WANT_READ, 0), "input is discarded");
	ok(c.in == 0, "and not counted");
	conn_received(&c, 0);
	ok(is(&c, CONN_CLOSED, 0, 0), "until the peer's end of file");
	ok(c.reason == CONN_IDLE, "its reason is that of conn_finish()");

	c = (struct conn){ .in = 7 };
	conn_fin_sent(&c);
	ok(is(&c, CONN_ECHOING, WANT_WRITE, 7),
	    "a FIN that is not due changes nothing");
	conn_finish(&c, CONN_STOPPING);
	ok(is(&c, CONN_FINISHING, WANT_WRITE, 7),
	    "pending bytes are sent before the FIN");
	conn_received(&c, 3);
	ok(is(&c, CONN_FINISHING, WANT_WRITE, 7), "and no new ones");
	conn_sent(&c, 7);
	ok(is(&c, CONN_FIN_DUE, WANT_FIN, 0), "then the FIN is due");

	c = (struct conn){ .in = 7 };
	conn_finish(&c, CONN_STOPPING);
	conn_received(&c, 0);
	conn_sent(&c, 7);
	ok(is(&c, CONN_CLOSED, 0, 0),
	    "a peer that has finished meanwhile is not waited for");
}

static void
test_abort(void)
{
	struct conn c = { .in = 7 };

	conn_abort(&c, CONN_IDLE);
	ok(is(&c, CONN_CLOSED, 0, 7),
	    "an aborted connection is closed with bytes pending");
	ok(c.reason == CONN_IDLE && c.err == ETIMEDOUT,
	    "which is an error, with its reason");
	c = (struct conn){ 0 };
	conn_finish(&c, CONN_END_OF_MESSAGE);
	conn_abort(&c, CONN_IDLE);
	ok(is(&c, CONN_CLOSED, 0, 0) && c.reason == CONN_END_OF_MESSAGE &&
	    c.err == 0,
	    "with nothing pending it is no error, and the first reason stays");
}

static void
test_errors(void)
{
	struct conn c = { .in = 7 };

	conn_sent(&c, -EPIPE);
	ok(is(&c, CONN_CLOSED, 0, 7), "an error closes it with bytes pending");
	ok(c.err == EPIPE && c.reason == CONN_NO_REASON, "and is kept");
	conn_received(&c, -ECONNRESET);
	conn_received(&c, 10);
	conn_sent(&c, 7);
	conn_finish(&c, CONN_IDLE);
	conn_fin_sent(&c);
	ok(is(&c, CONN_CLOSED, 0, 7) && c.err == EPIPE &&
	    c.reason == CONN_NO_REASON, "after which nothing changes");

	c = (struct conn){ 0 };
	conn_finish(&c, CONN_IDLE);
	conn_received(&c, -ECONNRESET);
	ok(c.state == CONN_CLOSED && c.reason == CONN_IDLE &&
	    c.err == ECONNRESET, "a later error does not hide the reason");
}

static void
test_counts(void)
{
	struct conn c = { .in = 5 };

	conn_sent(&c, 9);
	ok(c.out == 5, "not more can be sent than is pending");
	c = (struct conn){ .in = UINT64_C(1) << 40, .out = UINT64_C(1) << 40 };
	conn_received(&c, 1);
	ok(conn_pending(&c) == 1, "a terabyte does not overflow a count");
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
		conn_finish(c, CONN_IDLE);
	else if ((r & 0x3ff) == 2)
		conn_abort(c, CONN_IDLE);
	else if ((r & 0x1f) == 4)
		conn_fin_sent(c);
	else if (r & 1)
		conn_received(c, n);
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
	test_abort();
	test_errors();
	test_counts();
	test_properties();
	return done();
}
