/*
 * The tests of mode `check`, in order: first what every echo server can do,
 * then RFC 862 to the letter, then what a server on the open Internet meets.
 *
 * Each has its own connections and closes them, so that a server of one
 * client at a time gets to the next test. What is not the point of a test is
 * kept out of it (its message is made of letters, say), so that one mistake
 * makes those tests fail that are about it.
 */
#include "check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "modes/lib/dial.h"
#include "modes/lib/net.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

/* The first n of bytes none of which is like another. */
#define UNLIKE(n) { .message = { .content = TEXT, .size = (n), \
	.text = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" } }
#define SAYING(words) { .message = { .content = TEXT, \
	.size = sizeof(words) - 1, .text = (words) } }
#define MIXED(n) .message = { .content = LETTERS, .size = (n) }

enum {
	TIMES = 100,
	BUFFER = 4096		/* of a libc that writes to a socket */
};

static const int64_t QUIET = 200 * NET_MS;	/* nothing comes in */
static const int64_t AWHILE = 400 * NET_MS;	/* a pause between bursts */
static const int64_t FULL = 300 * NET_MS;	/* until buffers are full */
static const int64_t AT_ONCE = NET_SECOND;	/* not to be kept waiting */

static enum outcome
say(struct check *c, enum outcome outcome, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum outcome
say(struct check *c, enum outcome outcome, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(c->report.message, sizeof(c->report.message), fmt, ap);
	va_end(ap);
	return outcome;
}

/* No connection: the server's fault, unless it is for lack of means here. */
static enum outcome
not_connected(struct check *c, int error)
{
	struct dial_error why;

	dial_explain(&why, &c->target.server, error);
	if (why.status == STATUS_LOCAL)
		return say(c, SKIP, "%s", why.text);
	if (error == ECONNREFUSED)
		return say(c, FAIL, "connection refused: has the server ended "
		    "after a client?");
	return say(c, FAIL, "%s", why.text);
}

static const char *
ending(const struct talk *t)
{
	switch (t->ending) {
	case END_OF_FILE:
		return "end of file";
	case BROKEN:
		return strerror(t->error);
	case LATE:
		return "timed out";
	default:
		return "open";
	}
}

/* The words for what was sent, and how. */
static void
describe(char *out, size_t room, const struct talk *t)
{
	const struct plan *p = &t->plan;
	char bursts[48] = "", time[TEXT_TIME];

	if (p->burst > 0)
		snprintf(bursts, sizeof(bursts), ", %" PRIu64 " at a time%s%s",
		    p->burst, p->pause > 0 ? " every " : "", p->pause > 0 ?
		    text_time(time, p->pause) : "");
	snprintf(out, room, "%" PRIu64 " of %" PRIu64 " byte%s%s%s", t->sent,
	    p->message.size, PLURAL(p->message.size), bursts,
	    t->finished ? ", then end of file" : "");
}

/* Quotes what was expected, and got, from a little before the offset on. */
static void
excerpts(struct report *r, const struct talk *t)
{
	enum { BEFORE = 8, FROM = 24 };
	unsigned char bytes[BEFORE + FROM];
	uint64_t from = r->offset > BEFORE ? r->offset - BEFORE : 0;
	size_t n = message_bytes(&t->plan.message, from, bytes, sizeof(bytes));

	text_quote(r->expected, bytes, n);
	n = (size_t)(r->offset - from);
	if (t->differs) {
		size_t more = t->caught < FROM ? t->caught : FROM;

		memcpy(bytes + n, t->got, more);
		n += more;
	}
	text_quote(r->got, bytes, n);
}

/* What a talk shows that is not right; then fmt about which one it was. */
static enum outcome
faulty(struct check *c, const struct talk *t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

static enum outcome
faulty(struct check *c, const struct talk *t, const char *fmt, ...)
{
	struct report *r = &c->report;
	char why[BLAME_SIZE], which[80];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(which, sizeof(which), fmt, ap);
	va_end(ap);
	r->ended = ending(t);
	r->offset = t->differs ? t->at : t->back;
	r->after = t->moved - t->started;
	describe(r->sent, sizeof(r->sent), t);
	excerpts(r, t);
	return say(c, FAIL, "%s%s", blame(why, t), which);
}

/* The plan of the test, with a message that no other connection has. */
static struct plan
plan_for(const struct check *c, uint32_t round)
{
	struct plan plan = c->test->plan;

	plan.message.seed = (uint32_t)(c->test - check_tests) * 1000 + round;
	return plan;
}

/* What the server's silence means for the tests that follow. */
static void
remember(struct check *c, const struct talk *t)
{
	if (t->back > 0 || t->held == DROPPED) {
		c->answered = true;
		c->unanswered = 0;
	}
	if (t->back > 0 || t->ending != LATE || t->sent == 0)
		return;
	if (t->held == UNTIL_NEWLINE && !c->answered)
		c->lines = c->test->name;
	if (t->held == UNTIL_FIN && !c->answered && c->whole == NULL)
		c->whole = c->test->name;
	if (t->held != NOT_HELD || (c->unanswered++ == 0 && c->answered))
		return;
	c->mute = c->test->name;
	c->target.end = 0;
}

/* One conversation from connecting to the end; it is left to be closed. */
static int
converse(struct check *c, struct talk *t, const struct plan *plan)
{
	int error = talk_open(t, plan, &c->target);

	if (error < 0)
		return error;
	talk_run(t, 1);
	if (t->ending == LATE)
		talk_probe(t);
	else
		talk_end(t);
	remember(c, t);
	return 0;
}

static enum outcome
once(struct check *c)
{
	struct plan plan = plan_for(c, 0);
	struct talk t;
	int error = converse(c, &t, &plan);
	enum outcome outcome = PASS;

	if (error < 0)
		return not_connected(c, -error);
	if (!talk_is_right(&t))
		outcome = faulty(c, &t, "%s", "");
	talk_close(&t);
	return outcome;
}

/*
 * Sizes from small to the plan's. Unless its end is the point, a connection
 * is closed as soon as it is known: what could come late has been seen.
 */
static enum outcome
again_and_again(struct check *c)
{
	enum outcome outcome = PASS;
	struct talk t;

	for (uint32_t i = 1; i <= TIMES && outcome == PASS; i++) {
		struct plan plan = plan_for(c, i);
		int error;

		plan.message.size = 1 + plan.message.size * i / TIMES;
		error = talk_open(&t, &plan, &c->target);
		if (error < 0)
			return not_connected(c, -error);
		talk_run(&t, 1);
		if (plan.manner & FIN_BEHIND || t.differs)
			talk_end(&t);
		if (!talk_is_right(&t))
			outcome = faulty(c, &t, " (connection %" PRIu32 " of "
			    "%d)", i, TIMES);
		talk_close(&t);
	}
	return outcome;
}

/* A connection on which we say nothing, and then that it was all. */
static enum outcome
nothing_unasked(struct check *c)
{
	struct plan plan = plan_for(c, 0);
	enum outcome outcome = PASS;
	struct talk t;
	int error = talk_open(&t, &plan, &c->target);

	if (error < 0)
		return not_connected(c, -error);
	talk_listen(&t, QUIET);
	if (t.ending != OPEN)
		outcome = faulty(c, &t, ", though the client was still there");
	if (t.differs)
		outcome = faulty(c, &t, "%s", "");
	talk_close(&t);
	return outcome;
}

/*
 * Another client, which has to be served while the first is as it is;
 * meanwhile says how that was.
 */
static enum outcome
second_client(struct check *c, const char *meanwhile)
{
	struct plan plan = plan_for(c, 2);
	enum outcome outcome = PASS;
	struct talk t;
	int error;

	plan.message.size = 1000;
	plan.manner = 0;
	if ((error = talk_open(&t, &plan, &c->target)) < 0)
		return not_connected(c, -error);
	t.limit = AT_ONCE;
	talk_run(&t, 1);
	if (t.differs)
		talk_end(&t);
	if (!talk_is_right(&t))
		outcome = faulty(c, &t, "%s", t.ending == LATE && t.back == 0 ?
		    meanwhile : " (second client)");
	talk_close(&t);
	return outcome;
}

/* What the first client still has to say, or to hear, when it is its turn. */
static enum outcome
then_first(struct check *c, struct talk *first)
{
	first->deaf = false;
	talk_run(first, 1);
	return talk_is_right(first) ? PASS : faulty(c, first,
	    " (first client, after the second)");
}

static enum outcome
beside_silent(struct check *c)
{
	struct plan plan = plan_for(c, 1);
	enum outcome outcome;
	struct talk first;
	int error = talk_open(&first, &plan, &c->target);

	if (error < 0)
		return not_connected(c, -error);
	outcome = second_client(c, " while another client was silent: one "
	    "client at a time?");
	if (outcome == PASS)
		outcome = then_first(c, &first);
	talk_close(&first);
	return outcome;
}

static enum outcome
beside_deaf(struct check *c)
{
	struct plan plan = plan_for(c, 1);
	enum outcome outcome;
	struct talk first;
	int error = talk_open(&first, &plan, &c->target);

	if (error < 0)
		return not_connected(c, -error);
	talk_stuff(&first, FULL);
	outcome = second_client(c, " while another client did not read: does "
	    "it wait for each?");
	first.plan.message.size = first.sent;
	if (outcome == PASS)
		outcome = then_first(c, &first);
	talk_close(&first);
	return outcome;
}

/* Whether these are the bytes that some other client should have got. */
static bool
are_of_another(const struct talk *t, const struct talk *talks, int n)
{
	unsigned char other[8];

	for (int i = 0; t->differs && i < n; i++) {
		size_t size = message_bytes(&talks[i].plan.message, t->at,
		    other, sizeof(other));

		if (size == sizeof(other) && t->caught >= size &&
		    memcmp(t->got, other, size) == 0)
			return true;
	}
	return false;
}

static enum outcome
judge_all(struct check *c, struct talk *talks, int n)
{
	for (int i = 0; i < n; i++) {
		if (talk_is_right(&talks[i]))
			continue;
		if (talks[i].differs)
			talk_end(&talks[i]);
		return faulty(c, &talks[i], " (client %d of %d%s)", i + 1, n,
		    are_of_another(&talks[i], talks, n) ?
		    ": it got the bytes of another one" : "");
	}
	return PASS;
}

/* None of them leaves before all have been answered. */
static enum outcome
crowd(struct check *c)
{
	struct talk talks[TALKS];
	enum outcome outcome;
	int n, error = 0;

	for (n = 0; n < TALKS && error == 0; n++) {
		struct plan plan = plan_for(c, (uint32_t)n);

		error = talk_open(&talks[n], &plan, &c->target);
	}
	if (error < 0) {
		outcome = not_connected(c, -error);
		n--;
	} else {
		talk_run(talks, (size_t)n);
		outcome = judge_all(c, talks, n);
	}
	while (n > 0)
		talk_close(&talks[--n]);
	return outcome;
}

/*
 * Clients that break off: before a byte, in the middle of sending and, every
 * other one, while the server answers. Then one that does not.
 */
static enum outcome
resets(struct check *c)
{
	bool answers = true;

	for (uint32_t i = 0; i < TIMES; i++) {
		struct plan plan = plan_for(c, i);
		struct talk t;
		int error;

		plan.message.size = UINT64_C(3000) * i;
		if ((error = talk_open(&t, &plan, &c->target)) < 0)
			return not_connected(c, -error);
		talk_stuff(&t, 0);
		if (i % 2 == 1 && answers) {
			struct pollfd server = { t.fd, POLLIN, 0 };

			answers = net_poll(&server, 1,
			    target_quick(&c->target), NULL) > 0;
		}
		net_reset(t.fd);
	}
	return once(c);
}

#define ONCE(name, shows) name, shows, once

const struct test check_tests[] = {
	/* A new connection per message; finished only once it is all back. */
	{ HOMEWORK, ONCE("bytes-1", "1 byte comes back"), UNLIKE(1) },
	{ HOMEWORK, ONCE("bytes-13", "13 bytes come back"), UNLIKE(13) },
	{ HOMEWORK, ONCE("bytes-15", "one less than a chunk"), UNLIKE(15) },
	{ HOMEWORK, ONCE("bytes-16", "a chunk of 16 bytes"), UNLIKE(16) },
	{ HOMEWORK, ONCE("bytes-17", "one more than a chunk"), UNLIKE(17) },
	{ HOMEWORK, ONCE("bytes-32", "two chunks"), UNLIKE(32) },
	{ HOMEWORK, ONCE("bytes-52", "three chunks and a bit"), UNLIKE(52) },
	{ HOMEWORK, ONCE("utf8", "text that is not ASCII"),
	    SAYING("Gr\u00fc\u00dfe, \u043c\u0438\u0440, \u4e16\u754c "
	    "\U0001f44b") },
	{ HOMEWORK, ONCE("text", "text without a newline"),
	    SAYING("This is a test message.") },
	{ HOMEWORK, ONCE("line", "text with a newline at its end"),
	    SAYING("This is a test message.\n") },
	{ HOMEWORK, ONCE("again", "the same server is there after all these"),
	    SAYING("This is a test message.") },

	{ RFC862, "no-banner", "nothing comes unasked", nothing_unasked,
	    { MIXED(0) } },
	{ RFC862, ONCE("every-byte", "each of the 256 values of a byte"),
	    { .message = { .content = EVERY_BYTE, .size = 256 } } },
	{ RFC862, ONCE("bytes-4096", "4 KiB"), { MIXED(4096) } },
	{ RFC862, ONCE("bytes-65536", "64 KiB"), { MIXED(64 * KIB) } },
	{ RFC862, ONCE("bytes-1M", "1 MiB, written and read at once"),
	    { MIXED(MIB) } },
	{ RFC862, ONCE("byte-by-byte", "every byte in a packet of its own"),
	    { MIXED(100), 1, NET_MS, 0 } },
	{ RFC862, ONCE("at-once", "each byte is answered before the next"),
	    { MIXED(20), 1, 0, IN_STEP } },
	{ RFC862, ONCE("messages", "several messages on one connection"),
	    { MIXED(70 * 20), 70, 0, IN_STEP } },
	{ RFC862, ONCE("two-bursts", "two messages with a pause between them"),
	    { MIXED(2 * 70), 70, AWHILE, IN_STEP } },
	{ RFC862, ONCE("fin", "what was sent before the FIN comes back, then "
	    "end of file"), { MIXED(1000), 0, 0, FIN_BEHIND } },
	{ RFC862, ONCE("fin-1M", "the same with 1 MiB written before any is "
	    "read"), { MIXED(MIB), 0, 0, FIN_BEHIND | DEAF } },
	{ RFC862, ONCE("empty", "an empty connection ends, and empty"),
	    { MIXED(0), 0, 0, FIN_BEHIND } },
	{ RFC862, "one-by-one", "100 connections one after another",
	    again_and_again, { MIXED(100) } },
	{ RFC862, "fin-100", "the FIN right behind the data, 100 times",
	    again_and_again, { MIXED(5000), 0, 0, FIN_BEHIND } },

	{ ROBUST, "second-client", "a second client while the first is silent",
	    beside_silent, { MIXED(1000) } },
	{ ROBUST, "50-at-once", "50 clients at once", crowd,
	    { MIXED(5000) } },
	{ ROBUST, ONCE("write-first", "8 MiB are written before any is read"),
	    { MIXED(8 * MIB), 0, 0, DEAF } },
	{ ROBUST, "no-stall", "one that does not read stalls no other",
	    beside_deaf, { MIXED(32 * MIB), 0, 0, DEAF } },
	{ ROBUST, "resets", "100 clients that break off in mid-stream", resets,
	    { MIXED(1000) } },
	{ ROBUST, ONCE("odd-pieces", "8 MiB in pieces of odd sizes"),
	    { MIXED(8 * MIB + 1), 10007, 0, 0 } },
	{ ROBUST, ONCE("bytes-64M", "64 MiB, right to the last byte"),
	    { MIXED(64 * MIB), 0, 0, FIN_BEHIND } },
	{ .name = NULL }
};

/* Whether the server has to answer before the client has finished. */
static bool
is_open(const struct plan *plan)
{
	return plan->message.size > 0 && !(plan->manner & FIN_BEHIND);
}

static bool
is_line(const struct message *m)
{
	return m->content == TEXT && m->text[m->size - 1] == '\n';
}

/*
 * Waiting in vain is not done twice. A server that answers at end of file may
 * have a buffer that it does not flush: what is larger is tried.
 */
static enum outcome
not_tried(struct check *c)
{
	const struct plan *plan = &c->test->plan;

	if (c->mute != NULL && plan->message.size > 0)
		return say(c, FAIL, "not tried: the server did not answer %s",
		    c->mute);
	if (c->lines != NULL && is_open(plan) && !is_line(&plan->message))
		return say(c, FAIL, "not tried: the server did not answer %s "
		    "before a newline", c->lines);
	if (c->whole != NULL && is_open(plan) &&
	    plan->message.size < BUFFER)
		return say(c, FAIL, "not tried: the server did not answer %s "
		    "before end of file", c->whole);
	return PASS;
}

enum outcome
check_make(struct check *c, const struct test *test)
{
	c->test = test;
	c->report = (struct report){ .ended = NULL };
	return not_tried(c) == FAIL ? FAIL : test->make(c);
}
