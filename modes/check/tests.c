/*
 * The tests of mode `check`, in order: first what every echo server can do,
 * then all of RFC 862, then the load that a server on the Internet must
 * survive.
 *
 * Each test opens its own connections and closes them, so that a server that
 * serves one client at a time reaches the next test. A test avoids everything
 * that is not its subject (for example, most messages consist of letters), so a
 * mistake fails only the tests that are about this mistake.
 *
 * Chance decides how the network divides a message of several segments, and the
 * behaviour of some servers depends on this division. Therefore the first byte
 * of such a message is sent alone, so that each run gives the same result.
 */
#include "tests.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "queue.h"
#include "survival.h"

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)

/* A plan with the first n bytes of a text in which no byte occurs twice. */
#define ALPHABET(n) { .message = { .content = TEXT, .size = (n), \
	.text = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" } }
/* A plan with the given words. */
#define WORDS(words) { .message = { .content = TEXT, \
	.size = sizeof(words) - 1, .text = (words) } }
/* The message of a plan: n mixed letters. */
#define MIXED(n) .message = { .content = LETTERS, .size = (n) }

enum {
	REPEATS = 100,		/* connections of a test that repeats */
	STDIO_BUFFER = 4096	/* bytes that a libc buffers for a socket */
};

/* How long a silent client waits for a banner. */
static const int64_t BANNER_WAIT = 200 * NET_MS;

/* The pause between two bursts; some servers stop after such a pause. */
static const int64_t BURST_PAUSE = 400 * NET_MS;

/* If nothing could be written for this time, the buffers are taken as full. */
static const int64_t FULL_WAIT = 300 * NET_MS;

/* How long a second client may wait for the first. */
static const int64_t SECOND_CLIENT_WAIT = NET_SECOND;

enum outcome
tests_report(struct test_run *run, enum outcome outcome, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(run->report.message, sizeof(run->report.message), fmt, ap);
	va_end(ap);
	return outcome;
}

/* Fails the test, unless this system has no resources to connect. */
static enum outcome
report_failed_connect(struct test_run *run, int error)
{
	struct dial_error reason;
	char sentence[DIAGNOSE_SIZE];

	dial_explain(&reason, &run->target.server, error);
	if (reason.status == STATUS_LOCAL)
		return tests_report(run, SKIP, "%s", reason.text);
	return tests_report(run, FAIL, "%s", diagnose_connect(sentence,
	    &run->target, error, run->opened_before, run->accepted_in));
}

static enum outcome
report_sentence(struct test_run *run, const struct talk *t,
    const char *sentence, const char *which)
{
	report_describe(&run->report, t);
	return tests_report(run, FAIL, "%s%s", sentence, which);
}

/* Fails the test with the observation and the name of the connection. */
static enum outcome
report_fault(struct test_run *run, const struct talk *t, const char *which)
{
	char sentence[DIAGNOSE_SIZE];

	return report_sentence(run, t, diagnose_observation(sentence, t),
	    which);
}

/* The same with the cause. The conversation is the last one recorded. */
static enum outcome
report_diagnosis(struct test_run *run, const struct talk *t, const char *which)
{
	char sentence[DIAGNOSE_SIZE];

	return report_sentence(run, t, diagnose_talk(sentence, &run->history,
	    t), which);
}

/* The test's plan; each n gives the connection another message. */
static struct plan
plan_for_connection(const struct test_run *run, uint32_t n)
{
	struct plan plan = run->test->plan;

	plan.message.seed = (uint32_t)(run->test - tests_table) * 1000 + n;
	return plan;
}

/*
 * Decides whether later tests wait for this server. They skip the wait only if
 * the server does not answer other messages, either, because the result of a
 * test must not depend on the tests before it.
 */
static void
update_answer_state(struct test_run *run, const struct talk *t)
{
	if (t->received > 0 || t->end != TALK_TIMEOUT || t->sent == 0 ||
	    t->probe == PROBE_LOST)
		return;
	if (t->probe != PROBE_NOTHING && (run->answers_letters ||
	    run->needs_since != NULL))
		return;
	run->answers_letters = survival_answers_letters(&run->target);
	if (run->answers_letters)
		return;
	if (t->probe != PROBE_NOTHING) {
		run->needs_since = run->test->name;
		run->needs = t->probe;
		if (t->probe == PROBE_NEWLINE &&
		    !survival_serves_line(&run->target))
			run->stuck_since = run->test->name;
	} else if (!survival_answers_line(&run->target)) {
		run->no_answer_since = run->test->name;
		run->target.eof_left = 0;
		run->reads_nothing = !survival_reads(&run->target);
	}
}

/*
 * If the message may end the server, another client first checks whether the
 * server still serves, so that this test is not blamed for an earlier test.
 */
static void
look_before(struct test_run *run, const struct plan *plan)
{
	bool may_end = plan->message.content == EVERY_BYTE ||
	    strncmp(run->test->name, "utf8", 4) == 0;

	if (may_end && run->target.fd < 0 && run->target.opened > 0)
		survival_look(&run->target, false);
}

/*
 * Checks whether the server has ended because of a conversation, and whether it
 * still serves other clients. Each check needs one more connection, so it is
 * made only if there is a reason.
 */
static void
look_at_server(struct test_run *run, struct talk *t)
{
	bool correct = talk_is_correct(t), is_first = run->target.opened == 1;
	/*
	 * Only an answer shows that the server has served this client, and a
	 * short timeout does not show that it serves no other client.
	 */
	bool is_open = !t->differs && t->fin_sent && t->received > 0 &&
	    t->received >= t->plan.message.size &&
	    run->target.answer_left > run->target.timeout / 2 &&
	    (t->end == TALK_OPEN || t->end == TALK_TIMEOUT);
	enum survival survival = SURVIVAL_SERVES;

	talk_hang_up(t);
	if (is_open || is_first || t->plan.message.size == 0 ||
	    t->differs || t->end == TALK_ERROR ||
	    (t->end == TALK_EOF && !correct) ||
	    (t->ended_first && !run->ends_first))
		survival = survival_look(&run->target, is_open);
	run->is_dead = survival == SURVIVAL_ENDED;
	run->serves_next = !is_open || survival != SURVIVAL_SILENT;
	run->is_first = is_first;
	if (is_first)
		run->ends_first = t->ended_first && !run->is_dead;
}

/*
 * Holds and records one conversation from connecting to its end. Returns 0, and
 * the caller then closes the conversation; or -errno.
 */
static int
hold_talk(struct test_run *run, struct talk *t, const struct plan *plan)
{
	int error;

	look_before(run, plan);
	if ((error = candidates_hold_talk(t, plan, &run->target)) < 0)
		return error;
	look_at_server(run, t);
	update_answer_state(run, t);
	candidates_record(&run->history, t, run->is_dead);
	return 0;
}

/* Fails a test after which the server serves no client any more. */
static enum outcome
report_unserved_next(struct test_run *run, const struct talk *t)
{
	const char *echoed = t->plan.message.size > 0 ?
	    "the echo was correct, but " : "";

	run->stuck_since = run->test->name;
	if (run->is_dead)
		return tests_report(run, FAIL, "%sthe server has accepted no "
		    "connection since%s", echoed, run->is_first ?
		    ": it serves one client only" : "");
	return tests_report(run, FAIL, "the echo was correct, but then the "
	    "server neither closed at the client's end of file nor served "
	    "another client after this one had closed");
}

static enum outcome
test_once(struct test_run *run)
{
	struct plan plan = plan_for_connection(run, 0);
	struct talk t;
	int error = hold_talk(run, &t, &plan);
	enum outcome outcome = PASS;

	if (error < 0)
		return report_failed_connect(run, -error);
	if (!run->serves_next || (run->is_dead && talk_is_correct(&t) &&
	    !run->target.is_started))
		outcome = report_unserved_next(run, &t);
	else if (!talk_is_correct(&t))
		outcome = report_diagnosis(run, &t, run->stuck_since ==
		    run->test->name ? "; the server served no other client "
		    "after this one had closed" : run->reads_nothing &&
		    run->no_answer_since == run->test->name ?
		    ", and did not read 1 MiB either" : "");
	talk_close(&t);
	return outcome;
}

/*
 * Holds a conversation, and closes it when its echo is complete, unless the
 * test is about the end of file. Surplus bytes are left to tests of one
 * connection.
 */
static int
hold_short_talk(struct test_run *run, struct talk *t, const struct plan *plan)
{
	int attempt = 0, error;

	do {
		if ((error = talk_open(t, plan, &run->target)) < 0)
			return error;
		talk_run(t, 1);
		if (t->end == TALK_TIMEOUT)
			talk_probe(t);
		else if (plan->flags & SEND_FIN || t->differs)
			talk_finish(t);
	} while (queue_must_repeat(t, ++attempt));
	return 0;
}

/*
 * Whether a server of --start had ended before it served a later client of a
 * test. Chance decides whether the system still accepts such a connection.
 */
static bool
is_not_reached(const struct test_run *run, const struct talk *t)
{
	return run->is_dead && run->target.is_started && talk_was_reset(t);
}

/* Many connections, with message sizes that grow up to the plan's size. */
static enum outcome
test_repeatedly(struct test_run *run)
{
	enum outcome outcome = PASS;
	struct talk t;
	char which[48];

	for (uint32_t i = 1; i <= REPEATS && outcome == PASS; i++) {
		struct plan plan = plan_for_connection(run, i);
		int error;

		plan.message.size = 1 + plan.message.size * i / REPEATS;
		if ((error = hold_short_talk(run, &t, &plan)) < 0)
			return report_failed_connect(run, -error);
		if (!talk_is_correct(&t)) {
			look_at_server(run, &t);
			candidates_record(&run->history, &t, run->is_dead);
			snprintf(which, sizeof(which), " (connection %" PRIu32
			    " of %d)", i, REPEATS);
			outcome = i > 1 && is_not_reached(run, &t) ?
			    tests_report(run, FAIL, "the server has ended") :
			    report_diagnosis(run, &t, which);
		}
		talk_close(&t);
	}
	return outcome;
}

/* Clients that connect one after another, some while another one is served. */
static enum outcome
test_one_by_one(struct test_run *run)
{
	enum outcome outcome = test_repeatedly(run);

	if (outcome == PASS && queue_is_reset(&run->target))
		outcome = tests_report(run, FAIL, "each client has its echo, "
		    "but one that waits while another is served is reset: "
		    "this happens where the listener is closed after each "
		    "client");
	return outcome;
}

/* The client sends nothing, and expects to receive nothing. */
static enum outcome
test_no_banner(struct test_run *run)
{
	struct plan plan = plan_for_connection(run, 0);
	enum outcome outcome = PASS;
	enum survival survival;
	bool must_serve;
	struct talk t;
	int error = talk_open(&t, &plan, &run->target);

	if (error < 0)
		return report_failed_connect(run, -error);
	talk_receive(&t, BANNER_WAIT);
	if (t.end != TALK_OPEN)
		outcome = report_fault(run, &t, ", although the client had not "
		    "finished");
	if (t.differs)
		outcome = report_fault(run, &t, "");
	talk_hang_up(&t);
	must_serve = candidates_any_answer(&run->history) &&
	    run->target.answer_left > run->target.timeout / 2;
	survival = survival_look(&run->target, must_serve);
	run->is_dead = survival == SURVIVAL_ENDED;
	if (must_serve && survival == SURVIVAL_SILENT)
		run->stuck_since = run->test->name;
	if (outcome == PASS && run->is_dead && !run->target.is_started)
		outcome = tests_report(run, FAIL, "the server has accepted no "
		    "connection since the client closed without a message");
	else if (outcome == PASS && run->stuck_since == run->test->name)
		outcome = tests_report(run, FAIL, "the server served no other "
		    "client after one that had closed without a message");
	talk_close(&t);
	return outcome;
}

/*
 * Another client, which must be served while the first client is connected. The
 * report of a timeout says what the first client does meanwhile. If the server
 * answers when the first client has closed, the report also names the cause.
 */
static enum outcome
serve_second_client(struct test_run *run, struct talk *first,
    const char *meanwhile, const char *cause)
{
	struct plan plan = plan_for_connection(run, 2);
	enum outcome outcome = PASS;
	struct talk t;
	char which[96];
	int error;

	plan.message.size = 1000;
	plan.flags = 0;
	if ((error = talk_open(&t, &plan, &run->target)) < 0)
		return report_failed_connect(run, -error);
	t.max_wait = SECOND_CLIENT_WAIT;
	talk_run(&t, 1);
	if (t.differs)
		talk_finish(&t);
	if (!talk_is_correct(&t)) {
		bool is_silent = t.end == TALK_TIMEOUT && t.received == 0;

		talk_hang_up(&t);
		talk_hang_up(first);
		if (is_silent && !survival_answers_within(&run->target, &plan,
		    SECOND_CLIENT_WAIT / 2))
			cause = "";
		snprintf(which, sizeof(which), "%s%s", is_silent ? meanwhile :
		    " (second client)", is_silent ? cause : "");
		outcome = report_fault(run, &t, which);
	}
	talk_close(&t);
	return outcome;
}

/* Lets the first client send and receive the rest of its message. */
static enum outcome
complete_first_client(struct test_run *run, struct talk *first)
{
	first->reading = true;
	talk_run(first, 1);
	return talk_is_correct(first) ? PASS : report_fault(run, first,
	    " (first client, after the second)");
}

static enum outcome
test_beside_silent_client(struct test_run *run)
{
	struct plan plan = plan_for_connection(run, 1);
	enum outcome outcome;
	struct talk first;
	int error = talk_open(&first, &plan, &run->target);

	if (error < 0)
		return report_failed_connect(run, -error);
	outcome = serve_second_client(run, &first, " while another client was "
	    "silent", ": serves one client at a time");
	if (outcome == PASS)
		outcome = complete_first_client(run, &first);
	talk_close(&first);
	return outcome;
}

static enum outcome
test_beside_client_without_read(struct test_run *run)
{
	struct plan plan = plan_for_connection(run, 1);
	enum outcome outcome;
	struct talk first;
	int error = talk_open(&first, &plan, &run->target);

	if (error < 0)
		return report_failed_connect(run, -error);
	talk_fill_buffers(&first, FULL_WAIT);
	outcome = serve_second_client(run, &first, " while another client did "
	    "not read", ": waits until each client reads");
	first.plan.message.size = first.sent;
	if (outcome == PASS)
		outcome = complete_first_client(run, &first);
	talk_close(&first);
	return outcome;
}

static enum outcome
report_first_fault(struct test_run *run, struct talk *talks, int n)
{
	char which[80];

	for (int i = 0; i < n; i++) {
		if (talk_is_correct(&talks[i]))
			continue;
		if (talks[i].differs)
			talk_finish(&talks[i]);
		snprintf(which, sizeof(which), " (client %d of %d%s)", i + 1,
		    n, talk_is_mixed_up(&talks[i], talks, n) ?
		    ", received the bytes of another client" : "");
		return report_fault(run, &talks[i], which);
	}
	return PASS;
}

/* All clients stay connected until each of them has its echo. */
static enum outcome
test_many_clients(struct test_run *run)
{
	struct talk talks[TALK_MAX];
	enum outcome outcome;
	int n, error = 0;

	for (n = 0; n < TALK_MAX && error == 0; n++) {
		struct plan plan = plan_for_connection(run, (uint32_t)n);

		error = talk_open(&talks[n], &plan, &run->target);
	}
	if (error < 0) {
		outcome = report_failed_connect(run, -error);
		n--;
	} else {
		talk_run(talks, (size_t)n);
		outcome = report_first_fault(run, talks, n);
	}
	while (n > 0)
		talk_close(&talks[--n]);
	return outcome;
}

/*
 * Clients that reset the connection: before the first byte, while they send,
 * and every other one while the server answers. A correct client follows.
 */
static enum outcome
test_after_resets(struct test_run *run)
{
	bool answers = true;

	for (uint32_t i = 0; i < REPEATS; i++) {
		struct plan plan = plan_for_connection(run, i);
		struct talk t;
		int error;

		plan.message.size = UINT64_C(3000) * i;
		if ((error = talk_open(&t, &plan, &run->target)) < 0)
			return report_failed_connect(run, -error);
		talk_fill_buffers(&t, 0);
		if (i % 2 == 1 && answers) {
			struct pollfd server = { t.fd, POLLIN, 0 };

			answers = net_poll(&server, 1,
			    talk_short_timeout(&run->target)) > 0;
		}
		net_reset(t.fd);
	}
	return test_once(run);
}

#define ONCE(name, shows) name, shows, test_once

const struct test tests_table[] = {
	/* One connection per message; FIN after the whole echo. */
	{ HOMEWORK, ONCE("bytes-1", "1 byte"), ALPHABET(1) },
	{ HOMEWORK, ONCE("bytes-13", "13 bytes"), ALPHABET(13) },
	{ HOMEWORK, ONCE("bytes-15", "15 bytes, one less than a chunk"),
	    ALPHABET(15) },
	{ HOMEWORK, ONCE("bytes-16", "16 bytes, a chunk of the homework"),
	    ALPHABET(16) },
	{ HOMEWORK, ONCE("bytes-17", "17 bytes, one more than a chunk"),
	    ALPHABET(17) },
	{ HOMEWORK, ONCE("bytes-32", "32 bytes, two chunks"), ALPHABET(32) },
	{ HOMEWORK, ONCE("bytes-52", "52 bytes, three chunks and a rest"),
	    ALPHABET(52) },
	{ HOMEWORK, ONCE("utf8", "text that is not ASCII"),
	    WORDS("Gr\u00fc\u00dfe, \u043c\u0438\u0440, \u4e16\u754c "
	    "\U0001f44b") },
	{ HOMEWORK, ONCE("text", "text without a newline"),
	    WORDS("This is a test message.") },
	{ HOMEWORK, ONCE("line", "text that ends with a newline"),
	    WORDS("This is a test message.\n") },
	{ HOMEWORK, ONCE("utf8-split", "a character that two chunks share"),
	    WORDS("Hello, \u043f\u0440\u0438\u0432\u0435\u0442") },
	{ HOMEWORK, ONCE("again", "the server still works after these tests"),
	    WORDS("This is a test message.") },

	{ RFC862, "no-banner", "the server sends nothing before the client",
	    test_no_banner, { MIXED(0) } },
	{ RFC862, ONCE("every-byte", "all 256 byte values"),
	    { .message = { .content = EVERY_BYTE, .size = 256 } } },
	{ RFC862, ONCE("bytes-4096", "4 KiB"), { MIXED(4096) } },
	{ RFC862, ONCE("bytes-65536", "64 KiB, after one byte"),
	    { MIXED(64 * KIB + 1), 0, 0, AWAIT_FIRST } },
	{ RFC862, ONCE("bytes-1M", "1 MiB, written and read at the same time"),
	    { MIXED(MIB), 0, 0, AWAIT_FIRST } },
	{ RFC862, ONCE("byte-by-byte", "each byte in a packet of its own"),
	    { MIXED(100), 1, NET_MS, AWAIT_FIRST } },
	{ RFC862, ONCE("at-once", "each byte is answered before the next"),
	    { MIXED(20), 1, 0, AWAIT_ECHO } },
	{ RFC862, ONCE("messages", "several messages on one connection"),
	    { MIXED(70 * 20), 70, 0, AWAIT_ECHO } },
	{ RFC862, ONCE("two-bursts", "two messages with a pause between them"),
	    { MIXED(2 * 70), 70, BURST_PAUSE, AWAIT_ECHO } },
	{ RFC862, ONCE("fin", "data sent just before the FIN comes back, then "
	    "end of file"), { MIXED(1000), 0, 0, SEND_FIN } },
	{ RFC862, ONCE("fin-1M", "the same with 1 MiB, written before any is "
	    "read"), { MIXED(MIB), 0, 0, SEND_FIN | NO_READ | AWAIT_FIRST } },
	{ RFC862, ONCE("empty", "a connection without data: only end of file"),
	    { MIXED(0), 0, 0, SEND_FIN } },
	{ RFC862, "one-by-one", "100 connections one after another",
	    test_one_by_one, { MIXED(100) } },
	{ RFC862, "fin-100", "data and FIN together, on 100 connections",
	    test_repeatedly, { MIXED(5000), 0, 0, SEND_FIN } },

	{ ROBUST, "second-client", "a second client while the first is silent",
	    test_beside_silent_client, { MIXED(1000) } },
	{ ROBUST, "50-at-once", "50 clients at the same time",
	    test_many_clients, { MIXED(5000) } },
	{ ROBUST, ONCE("write-first", "8 MiB, written before any is read"),
	    { MIXED(8 * MIB), 0, 0, NO_READ | AWAIT_FIRST } },
	{ ROBUST, "no-stall", "a client that does not read delays no other",
	    test_beside_client_without_read, { MIXED(32 * MIB), 0, 0,
	    NO_READ } },
	{ ROBUST, "resets", "one client after 100 that reset the connection",
	    test_after_resets, { MIXED(1000) } },
	{ ROBUST, ONCE("odd-pieces", "8 MiB in pieces of an odd size"),
	    { MIXED(8 * MIB + 1), 10007, 0, AWAIT_FIRST } },
	{ ROBUST, ONCE("bytes-64M", "64 MiB, then end of file"),
	    { MIXED(64 * MIB), 0, 0, SEND_FIN | AWAIT_FIRST } },
	{ .name = NULL }
};

/* Whether the server has to answer before the client's end of file. */
static bool
needs_answer_before_fin(const struct plan *plan)
{
	return plan->message.size > 0 && !(plan->flags & SEND_FIN);
}

/*
 * Fails a test without running it if it would only time out again. A server
 * that answers at end of file may have a buffer that it does not flush.
 * Therefore messages that are larger than such a buffer are still tested.
 */
static enum outcome
fail_without_waiting(struct test_run *run)
{
	const struct plan *plan = &run->test->plan;

	if (run->stuck_since != NULL && !run->is_dead)
		return tests_report(run, FAIL, "not tried: the server served no "
		    "other client after %s", run->stuck_since);
	if (run->no_answer_since != NULL && plan->message.size > 0)
		return tests_report(run, FAIL, "not tried: the server did not "
		    "answer %s", run->no_answer_since);
	if (!needs_answer_before_fin(plan))
		return PASS;
	if (run->needs_since == NULL || (run->needs == PROBE_NEWLINE &&
	    message_ends_line(&plan->message)) || (run->needs == PROBE_FIN &&
	    plan->message.size >= STDIO_BUFFER))
		return PASS;
	return tests_report(run, FAIL, "not tried: the server did not answer "
	    "%s before %s", run->needs_since, diagnose_probe_text(run->needs));
}

void
tests_server_restarted(struct test_run *run)
{
	run->is_dead = false;
	run->stuck_since = NULL;
	run->target.refuses = false;
}

enum outcome
tests_run_one(struct test_run *run, const struct test *test)
{
	enum outcome outcome;

	run->test = test;
	run->report = (struct report){ .ended = NULL };
	run->opened_before = run->target.opened;
	outcome = fail_without_waiting(run) == FAIL ? FAIL : test->run(run);
	if (run->target.opened > run->opened_before)
		run->accepted_in = test->name;
	return outcome;
}
