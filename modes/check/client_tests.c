#include "client_tests.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_diagnose.h"
#include "client_evidence.h"
#include "client_output.h"
#include "client_run.h"
#include "modes/lib/dial.h"

/* What a message consists of. */
enum client_content {
	CAPITALS,		/* letters that are rare in other output */
	WHOLE_CHARACTERS,	/* two bytes each, so that 16 bytes are 8 */
	SPLIT_CHARACTERS,	/* two bytes each, one split at byte 16 */
	SPACES,
	BINARY			/* all byte values */
};

/*
 * The rest of the reply comes this long after its first piece, so that a
 * client on a busy machine has read that piece by then.
 */
#define FIRST_PAUSE (250 * NET_MS)
#define LATER_PAUSE (60 * NET_MS)

/* The order of the members is that of the columns of the table. */
/* NOLINTNEXTLINE(clang-analyzer-optin.performance.Padding) */
static const struct client_test {
	enum profile profile;
	const char *name;	/* used in scripts: never renamed */
	const char *shows;	/* for --list */
	enum client_content content;
	struct client_plan plan;	/* without its message */
	const char *although;	/* the fault that a client must notice */
	bool stays_open;	/* with the fault, the server does not close */
} client_tests[] = {
	{ HOMEWORK, "client-stdout", "the reply is on standard output",
	    CAPITALS, { .size = 25 }, NULL, false },
	{ HOMEWORK, "client-1", "1 byte arrives and its reply is printed",
	    CAPITALS, { .size = 1 }, NULL, false },
	{ HOMEWORK, "client-16", "16 bytes, a chunk of the homework",
	    CAPITALS, { .size = 16 }, NULL, false },
	{ HOMEWORK, "client-17", "17 bytes, one more than a chunk",
	    CAPITALS, { .size = 17 }, NULL, false },
	{ HOMEWORK, "client-32", "32 bytes, two chunks",
	    CAPITALS, { .size = 32 }, NULL, false },
	{ HOMEWORK, "client-4096", "4 KiB",
	    CAPITALS, { .size = 4096 }, NULL, false },
	{ HOMEWORK, "client-utf8", "text that is not ASCII",
	    WHOLE_CHARACTERS, { .size = 40 }, NULL, false },
	{ HOMEWORK, "client-split", "a character across the end of a chunk",
	    SPLIT_CHARACTERS, { .size = 40 }, NULL, false },
	{ HOMEWORK, "client-spaces", "spaces at both ends and in between",
	    SPACES, { .size = 24 }, NULL, false },
	{ HOMEWORK, "client-binary", "all 256 byte values, on standard input",
	    BINARY, { .size = 256 }, NULL, false },
	{ HOMEWORK, "client-pieces", "the reply comes in pieces of 8 bytes",
	    CAPITALS, { .size = 44, .first = 8, .piece = 8,
	    .first_pause = FIRST_PAUSE, .pause = LATER_PAUSE }, NULL, false },
	{ HOMEWORK, "client-bytewise", "the reply comes byte by byte",
	    CAPITALS, { .size = 12, .first = 1, .piece = 1,
	    .first_pause = FIRST_PAUSE, .pause = LATER_PAUSE }, NULL, false },
	{ HOMEWORK, "client-late", "the reply comes half a second late",
	    CAPITALS, { .size = 40, .delay = 500 * NET_MS }, NULL, false },
	{ ROBUST, "client-no-reply", "the server closes without a reply",
	    CAPITALS, { .size = 40, .fault = "close=0" },
	    "nothing came back", false },
	{ ROBUST, "client-close", "the server closes after 10 of 40 bytes",
	    CAPITALS, { .size = 40, .fault = "close=10" },
	    "only 10 of 40 bytes came back", false },
	{ ROBUST, "client-reset", "the server resets after 10 of 40 bytes",
	    CAPITALS, { .size = 40, .fault = "reset=10" },
	    "the server reset the connection after 10 of 40 bytes", false },
	{ ROBUST, "client-corrupt", "one byte of the reply is wrong",
	    CAPITALS, { .size = 40, .fault = "corrupt=5" },
	    "one byte of the reply is wrong", true },
	{ ROBUST, "client-surplus", "one byte of the reply comes twice",
	    CAPITALS, { .size = 40, .fault = "double=5" },
	    "one byte of the reply came twice", true },
	{ ROBUST, "client-mute", "the server never answers",
	    CAPITALS, { .size = 40, .fault = "mute" },
	    "nothing came back", true },
	{ HOMEWORK, NULL, NULL, CAPITALS, { .size = 0 }, NULL, false }
};

/* The state of the tests. Each test and probe is run at most once. */
struct client_check {
	const struct client_options *options;
	struct client_target target;
	char messages[CLIENT_TESTS_MAX][4096];
	struct client_plan plans[CLIENT_TESTS_MAX];
	struct client_run runs[CLIENT_TESTS_MAX];
	struct client_result results[CLIENT_TESTS_MAX];
	bool has_run[CLIENT_TESTS_MAX];
	struct client_evidence evidence;
	bool has_evidence;	/* evidence has the results of tests */
	bool uses_stderr;	/* a reply was only on standard error */
	bool is_wrapped;	/* a reply was among other words or in parts */
	bool waits_always;	/* in all right runs, the server closed first */
	bool waits_after_short;	/* one of these runs had a size that is not a
				   multiple of the homework's chunk */
	int first_to_wait;	/* the first test of these runs, or -1 */
};

int
client_tests_find(const char *name)
{
	for (int i = 0; client_tests[i].name != NULL; i++)
		if (strcmp(client_tests[i].name, name) == 0)
			return i;
	return -1;
}

void
client_tests_list(const char *const profile_names[])
{
	for (const struct client_test *t = client_tests; t->name != NULL; t++)
		printf("%-15s  %-8s  %s\n", t->name,
		    profile_names[t->profile], t->shows);
	args_flush();
}

/* Characters of two bytes, U+00C0 and so on, and a last byte if one is left. */
static void
write_characters(char *out, size_t size)
{
	for (size_t i = 0; i + 1 < size; i += 2) {
		out[i] = '\xc3';
		out[i + 1] = (char)(0x80 + i / 2);
	}
	if (size % 2 != 0)
		out[size - 1] = 'Z';
}

static void
write_message(char *out, size_t size, enum client_content content,
    uint32_t seed)
{
	switch (content) {
	case CAPITALS:
		client_evidence_letters(out, size, seed);
		break;
	case WHOLE_CHARACTERS:
		write_characters(out, size);
		break;
	case SPLIT_CHARACTERS:
		client_evidence_letters(out, 15, seed);
		write_characters(out + 15, size - 15);
		break;
	case SPACES:
		memcpy(out, "  BDF GHJ  KLQ V WXY Z  ", size);
		break;
	case BINARY:
		for (size_t i = 0; i < size; i++)
			out[i] = (char)i;
		break;
	}
}

/* Runs a test unless it has run before. Keeps its run and its result. */
static const struct client_result *
run_client_test(struct client_check *check, int test)
{
	const struct client_test *t = &client_tests[test];
	struct client_plan *plan = &check->plans[test];

	if (check->has_run[test])
		return &check->results[test];
	*plan = t->plan;
	plan->message = check->messages[test];
	write_message(check->messages[test], plan->size, t->content,
	    (uint32_t)test + 1);
	client_run_plan(&check->runs[test], plan, &check->target);
	check->results[test] = client_evidence_judge(&check->evidence,
	    &check->runs[test]);
	check->has_run[test] = true;
	return &check->results[test];
}

/*
 * Collects the results that the hypotheses about a reply have to predict: all
 * tests with ASCII letters, and probes.
 */
static void
collect_evidence(struct client_check *check)
{
	struct client_evidence *evidence = &check->evidence;

	if (check->has_evidence)
		return;
	check->has_evidence = true;
	for (int i = 0; client_tests[i].name != NULL; i++)
		if (client_tests[i].profile == HOMEWORK &&
		    client_tests[i].content == CAPITALS)
			evidence->results[evidence->size++] =
			    *run_client_test(check, i);
	client_evidence_probe(evidence, &check->target);
}

/* Whether the reply is printed, but without the spaces at its ends. */
static bool
changes_spaces(const struct client_check *check, int test)
{
	const struct client_run *run = &check->runs[test];
	const char *text = check->messages[test];
	size_t size = run->plan->size;

	if (client_tests[test].content != SPACES)
		return false;
	while (size > 0 && text[0] == ' ')
		text++, size--;
	while (size > 0 && text[size - 1] == ' ')
		size--;
	return client_output_count(&run->command.record->out, text, size) >
	    check->evidence.own_out ||
	    client_output_count(&run->command.record->err, text, size) >
	    check->evidence.own_err;
}

static void
explain_reply(struct client_check *check, int test, char out[DIAGNOSE_SIZE])
{
	const struct client_result *r = &check->results[test];
	const struct client_result *ascii = run_client_test(check,
	    client_tests_find("client-late"));
	struct client_evidence *evidence = &check->evidence;
	bool is_text = client_tests[test].content == WHOLE_CHARACTERS ||
	    client_tests[test].content == SPLIT_CHARACTERS;

	if (evidence->prints_message) {
		snprintf(out, DIAGNOSE_SIZE,
		    "prints the message that it sent, and not the "
		    "reply");
		return;
	}
	if (changes_spaces(check, test)) {
		snprintf(out, DIAGNOSE_SIZE,
		    "prints the reply without some of its spaces");
		return;
	}
	if (is_text && ascii->is_right) {
		client_diagnose_text(out, r, run_client_test(check,
		    client_tests_find("client-utf8")));
		return;
	}
	collect_evidence(check);
	/* A hypothesis must explain this test as well as the other tests. */
	evidence->results[evidence->size] = *r;
	client_diagnose_reply(out, r, evidence->results, evidence->size + 1);
}

/* Writes why a test of the profile homework failed, or returns false. */
static bool
explain_homework(struct client_check *check, int test, char out[DIAGNOSE_SIZE])
{
	const struct client_result *r = run_client_test(check, test);

	if (!r->arrived)
		client_diagnose_message(out, &check->runs[test],
		    check->evidence.other_size > 0 ? check->evidence.other :
		    NULL, check->evidence.other_size);
	else if (r->printed < r->plan->size ||
	    (r->has_timed_out && client_tests[test].content != CAPITALS))
		explain_reply(check, test, out);
	else if (r->has_timed_out || r->status != 0)
		client_diagnose_end(out, r);
	else if (test == 0 && r->on_out < r->plan->size)
		snprintf(out, DIAGNOSE_SIZE,
		    "prints the reply only on standard error");
	else
		return false;
	return true;
}

/* The same for a test of the profile robust. */
static bool
explain_robust(struct client_check *check, int test, char out[DIAGNOSE_SIZE])
{
	const struct client_result *r = run_client_test(check, test);
	const struct client_test *t = &client_tests[test];

	if (!check->runs[test].is_connected)
		snprintf(out, DIAGNOSE_SIZE, "does not connect");
	else if (r->has_timed_out && t->stays_open)
		client_diagnose_end(out, r);
	else if (r->has_timed_out)
		snprintf(out, DIAGNOSE_SIZE, "does not terminate although %s",
		    t->although);
	else if (r->status == 0)
		snprintf(out, DIAGNOSE_SIZE, "exits 0 although %s",
		    t->although);
	else
		return false;
	return true;
}

/* Prints the YAML block of a failed test. */
static void
print_client_report(const struct client_check *check, int test,
    const char *sentence)
{
	const struct client_run *run = &check->runs[test];
	const struct client_result *r = &check->results[test];
	char text[TEXT_QUOTED], time[TEXT_TIME];
	const char *line;
	size_t size;

	printf("  ---\n"
	    "  message: \"%s\"\n", sentence);
	if (run->plan->fault == NULL)
		printf("  sent: \"%zu of %zu bytes\"\n"
		    "  printed: \"%zu on stdout, %zu on stderr\"\n",
		    run->arrived_size, run->plan->size, r->on_out, r->on_err);
	if (!r->arrived && run->arrived_size > 0)
		printf("  expected: %s\n",
		    text_quote(text, run->plan->message, run->plan->size));
	if (!r->arrived && run->arrived_size > 0)
		printf("  got: %s\n", text_quote(text, run->arrived,
		    run->arrived_size));
	if (r->has_timed_out)
		puts("  status: \"killed\"");
	else
		printf("  status: %d\n", r->status);
	size = client_output_error(&run->command.record->err, &line);
	if (size > 0)
		printf("  stderr: %s\n", text_quote(text, line, size));
	printf("  after: %s\n"
	    "  ...\n", text_time(time, run->took));
}

static bool
is_client_test_selected(const struct client_options *o, int test)
{
	return o->has_only ? o->only[test] :
	    client_tests[test].profile <= o->profile;
}

/* Records the facts for the comment lines at the end. */
static void
note_result(struct client_check *check, int test)
{
	const struct client_result *r = &check->results[test];

	if (client_tests[test].profile != HOMEWORK || !r->is_right)
		return;
	check->uses_stderr |= r->on_out < r->plan->size;
	check->is_wrapped |= r->on_out == r->plan->size && !r->out_is_plain;
	check->waits_always &= r->server_closed;
	check->waits_after_short |= r->server_closed && r->plan->size % 16 != 0;
	if (r->server_closed && check->first_to_wait < 0)
		check->first_to_wait = test;
}

/* Runs and reports a test. Returns whether it failed. */
static bool
report_client_test(struct client_check *check, int test, int number)
{
	const struct client_test *t = &client_tests[test];
	char sentence[DIAGNOSE_SIZE];
	const char *skip = check->options->skip[test] ? "left out by --skip" :
	    t->content == BINARY && check->target.has_message ?
	    "an argument cannot contain every byte" : NULL;
	bool failed = skip == NULL && (t->profile == HOMEWORK ?
	    explain_homework(check, test, sentence) :
	    explain_robust(check, test, sentence));

	printf("%sok %d - %s%s%s\n", failed ? "not " : "", number, t->name,
	    skip != NULL ? " # SKIP " : "", skip != NULL ? skip : "");
	if (failed)
		print_client_report(check, test, sentence);
	else if (skip == NULL)
		note_result(check, test);
	args_flush();
	return failed;
}

/*
 * Whether the client ends only when the server closes. In a test, the client
 * may only have been slower than the server's gap. Therefore the test is
 * repeated with a gap that is as long as the time that a client may take.
 */
static bool
needs_close(struct client_check *check, int test)
{
	struct client_plan plan = check->plans[test];
	struct client_run run;
	bool waits;

	plan.gap = check->options->timeout * 3 / 4;
	if (plan.gap < CLIENT_RUN_GAP)
		return true;
	client_run_plan(&run, &plan, &check->target);
	waits = run.server_closed || run.has_timed_out;
	client_run_free(&run);
	return waits;
}

static void
print_comments(struct client_check *check)
{
	int test = check->first_to_wait;

	if (test >= 0 && needs_close(check, test))
		printf(check->waits_always && check->waits_after_short ?
		    "# the client reads until end of file: it depends on the "
		    "server closing\n" :
		    "# in %s, the client depends on the server closing\n",
		    client_tests[test].name);
	if (check->uses_stderr)
		puts("# the reply was on standard error, where these tests "
		    "also looked for it");
	if (check->is_wrapped)
		puts("# the reply was printed among other words or in several "
		    "parts");
}

static int
count_client_tests(const struct client_options *options)
{
	int n = 0;

	for (int i = 0; client_tests[i].name != NULL; i++)
		n += is_client_test_selected(options, i);
	return n;
}

/* Where check listens, and how the command gets its message. */
static void
set_client_target(struct client_check *check)
{
	const struct client_options *options = check->options;
	struct client_target *target = &check->target;
	struct address address = *options->address;
	struct dial_error error;
	struct addrinfo *found;

	target->command = options->command;
	target->has_message = strstr(options->command, "{message}") != NULL;
	target->timeout = options->timeout;
	if (!options->has_port &&
	    strstr(options->command, "{port}") != NULL)
		address.port = 0;
	if (dial_resolve(&address, &found, &error) < 0)
		client_run_bail_out("cannot listen", error.text, error.status);
	target->listen.size = found->ai_addrlen;
	memcpy(&target->listen.address, found->ai_addr, found->ai_addrlen);
	net_free_addresses(found);
	snprintf(target->host, sizeof(target->host), "%s", address.host);
}

enum status
client_tests_run(const struct client_options *options)
{
	static struct client_check check;
	int n = count_client_tests(options), number = 0, failed = 0;

	check.options = options;
	check.waits_always = true;
	check.first_to_wait = -1;
	set_client_target(&check);
	printf("TAP version 13\n"
	    "1..%d\n", n);
	args_flush();
	client_evidence_prepare(&check.evidence, &check.target);
	for (int i = 0; client_tests[i].name != NULL; i++)
		if (is_client_test_selected(options, i))
			failed += report_client_test(&check, i, ++number);
	print_comments(&check);
	printf("# %s: %d of %d test%s failed\n", options->command, failed, n,
	    PLURAL(n));
	args_flush();
	return failed > 0 ? STATUS_NO : STATUS_OK;
}
