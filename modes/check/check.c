/*
 * Mode `check`: tests whether a server, written in any language, is a correct
 * echo server. This file selects the tests and prints their results as TAP
 * (testanything.org); the tests themselves are in tests.c.
 */
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "tests.h"

enum { OPTION_PROFILE = OPTIONS_LONG, OPTION_ONLY, OPTION_SKIP, OPTION_LIST };

static const struct option_row check_options[] = {
	OPTIONS_TEXT("\n"
	    "Tests whether the server at ADDRESS is a correct echo server, "
	    "and prints the\n"
	    "results as TAP. A failed test shows which byte was wrong and, if "
	    "it is proven, the\n"
	    "mistake. Each profile includes the one before it: homework (one "
	    "short message per\n"
	    "connection), rfc862 (every byte of a stream until its end), "
	    "robust (many clients,\n"
	    "clients that misbehave, large messages).\n"),
	DIAL_OPTIONS("the same as ADDRESS: " DIAL_ADDRESS_FORMS,
	    "time limit for the connection, and then for each period in which "
	    "no byte moves; after one timeout, later tests wait less"),
	{ OPTION_PROFILE, "profile", "PROFILE", "rfc862",
	    "homework, rfc862 or robust", 0, NULL },
	{ OPTION_ONLY, "only", "NAME[,...]", NULL,
	    "run only these tests, whatever their profile", 0, NULL },
	{ OPTION_SKIP, "skip", "NAME[,...]", NULL, "skip these tests", 0,
	    NULL },
	{ OPTION_LIST, "list", NULL, NULL, "print the name, the profile and "
	    "the purpose of each test", 0, NULL },
	DIAL_VERBOSITY("also print how long each test took",
	    "print no progress on a terminal"),
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds."),
	OPTIONS_END
};

static const char *const profile_names[] = { "homework", "rfc862", "robust" };

enum { MAX_TESTS = 64 };	/* room for tests_table */

struct settings {
	struct dial_options server;
	enum profile profile;
	bool has_only;		/* --only was given: run the tests in only */
	bool only[MAX_TESTS], skip[MAX_TESTS];	/* by index in tests_table */
	bool list;
};

static enum profile
parse_profile(const char *value)
{
	for (int i = HOMEWORK; i <= ROBUST; i++)
		if (strcmp(value, profile_names[i]) == 0)
			return (enum profile)i;
	args_usage("--profile: %s is not homework, rfc862 or robust",
	    args_shown(value));
}

/* Returns the index of the test with that name; exits if there is none. */
static int
find_test(const char *option, const char *name)
{
	for (int i = 0; tests_table[i].name != NULL; i++)
		if (strcmp(tests_table[i].name, name) == 0)
			return i;
	args_usage("%s: there is no test %s; --list prints all names",
	    option, args_shown(name));
}

/* Marks the tests in NAME[,NAME]..., and writes NULs into that list. */
static void
mark_tests(const char *option, char *names, bool marks[MAX_TESTS])
{
	char *name;

	while ((name = strsep(&names, ",")) != NULL)
		marks[find_test(option, name)] = true;
}

static void
check_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (dial_set_option(&set->server, row->key, value, NET_MS))
		return;
	switch (row->key) {
	case OPTION_PROFILE:
		set->profile = parse_profile(value);
		break;
	case OPTION_ONLY:
		set->has_only = true;
		mark_tests("--only", value, set->only);
		break;
	case OPTION_SKIP:
		mark_tests("--skip", value, set->skip);
		break;
	case OPTION_LIST:
		set->list = true;
		break;
	}
}

/* --list. Shell completion reads the first two columns. */
static void
print_test_list(void)
{
	for (const struct test *t = tests_table; t->name != NULL; t++)
		printf("%-13s  %-8s  %s\n", t->name,
		    profile_names[t->profile], t->shows);
	args_flush();
}

/* Whether the options select a test (--skip only reports it as skipped). */
static bool
is_selected(const struct settings *set, int test)
{
	return set->has_only ? set->only[test] :
	    tests_table[test].profile <= set->profile;
}

static int
count_selected(const struct settings *set)
{
	int n = 0;

	for (int i = 0; tests_table[i].name != NULL; i++)
		n += is_selected(set, i);
	return n;
}

static void bail_out(const struct dial_error *) __attribute__((noreturn));

/* Exits when no test can be run; the reason goes to stdout and to stderr. */
static void
bail_out(const struct dial_error *error)
{
	printf("Bail out! %s\n", error->text);
	args_flush();
	errx((int)error->status, "%s", error->text);
}

/* Opens the first connection, which the first test uses. */
static void
connect_to_target(struct target *target, const struct address *address)
{
	struct dial_error error;

	target->fd = dial_any(address, target->timeout, &target->server,
	    &error);
	if (target->fd < 0)
		bail_out(&error);
}

/* The YAML block of a failed test. */
static void
print_report(const struct report *r)
{
	char time[TEXT_TIME];

	printf("  ---\n"
	    "  message: \"%s\"\n", r->message);
	if (r->ended != NULL)
		printf("  sent: \"%s\"\n"
		    "  expected: %s\n"
		    "  got: %s\n"
		    "  offset: %" PRIu64 "\n"
		    "  ended: \"%s\"\n"
		    "  after: %s\n", r->sent, r->expected, r->got, r->offset,
		    r->ended, text_time(time, r->after));
	puts("  ...");
}

static void
print_outcome(int number, const char *name, enum outcome outcome,
    const struct report *r)
{
	printf("%sok %d - %s%s%s\n", outcome == FAIL ? "not " : "", number,
	    name, outcome == SKIP ? " # SKIP " : "",
	    outcome == SKIP ? r->message : "");
	if (outcome == FAIL)
		print_report(r);
	args_flush();
}

/* Shows the current test on a terminal; a NULL name clears the line. */
static void
check_show_progress(const struct settings *set, int number, int n,
    const char *name)
{
	if (set->server.verbosity < 0 || !isatty(STDERR_FILENO))
		return;
	if (name != NULL)
		fprintf(stderr, "\r%d of %d: %-20s", number, n, name);
	else
		fprintf(stderr, "\r%-40s\r", "");
}

static enum outcome
run_or_skip(struct test_run *run, const struct settings *set, int test)
{
	const char *name = tests_table[test].name;
	int64_t started = net_now();
	char time[TEXT_TIME];
	enum outcome outcome;

	if (set->skip[test]) {
		strcpy(run->report.message, "left out by --skip");
		return SKIP;
	}
	outcome = tests_run_one(run, &tests_table[test]);
	if (set->server.verbosity > 0)
		fprintf(stderr, "%s took %s\n", name,
		    text_time(time, net_now() - started));
	return outcome;
}

/* Runs the n selected tests, and returns how many failed. */
static int
run_selected(struct test_run *run, const struct settings *set, int n)
{
	int number = 0, failed = 0;

	for (int i = 0; tests_table[i].name != NULL; i++) {
		const char *name = tests_table[i].name;
		enum outcome outcome;

		if (!is_selected(set, i))
			continue;
		number++;
		check_show_progress(set, number, n, name);
		outcome = run_or_skip(run, set, i);
		check_show_progress(set, number, n, NULL);
		print_outcome(number, name, outcome, &run->report);
		failed += outcome == FAIL;
	}
	return failed;
}

/* Runs the tests against a server, and returns the exit status. */
static enum status
check_server(const struct settings *set, const struct address *address)
{
	static struct test_run run;
	struct target *target = &run.target;
	int n = count_selected(set), failed;

	printf("TAP version 13\n"
	    "1..%d\n", n);
	args_flush();
	target->timeout = set->server.timeout;
	target->answer_left = target->eof_left = target->timeout;
	connect_to_target(target, address);
	failed = run_selected(&run, set, n);
	printf("# %s: %d of %d test%s failed\n", target->server.name, failed,
	    n, PLURAL(n));
	args_flush();
	return failed > 0 ? STATUS_NO : STATUS_OK;
}

static int
check_run(int argc, char **argv)
{
	struct settings set = { .list = false };
	struct address address;

	options_parse(argc, argv, &mode_check, check_set, &set);
	if (optind < argc && set.server.address != NULL)
		args_usage("two addresses: --address and %s",
		    args_shown(argv[optind]));
	address = optind < argc ?
	    dial_address("ADDRESS", argv[optind++], set.server.port) :
	    dial_address("--address", set.server.address, set.server.port);
	args_no_operands(argc, argv);
	if (set.list) {
		print_test_list();
		return STATUS_OK;
	}
	return (int)check_server(&set, &address);
}

const struct mode mode_check = {
	.name = "check",
	.link = "echo_check",
	.summary = "test a server and explain its faults",
	.synopsis = "[ADDRESS] [-p PORT] [OPTION]...",
	.options = check_options,
	.run = check_run
};
