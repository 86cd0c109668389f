/*
 * Mode `check`: is what listens there a right echo server? Any server, in any
 * language. Which tests, and what they say, as TAP (testanything.org); the
 * tests themselves are in check_tests.c.
 */
#include "check.h"

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/mode.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"

enum { OPTION_PROFILE = OPTIONS_LONG, OPTION_ONLY, OPTION_SKIP, OPTION_LIST };

static const struct option_row check_options[] = {
	OPTIONS_TEXT("\n"
	    "Tests whether the server at ADDRESS is a correct echo server. "
	    "Reports in TAP\n"
	    "which byte was wrong and what the mistake may be. Each profile "
	    "includes the\n"
	    "one before it: homework (one short message per connection), "
	    "rfc862 (every byte\n"
	    "of a stream, up to its end), robust (many clients, clients that "
	    "misbehave, bulk).\n"),
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

static const char *const profiles[] = { "homework", "rfc862", "robust" };

enum { MOST = 64 };		/* tests that there may be */

struct settings {
	struct dial_options server;
	enum profile profile;
	bool some;		/* only those that are named */
	bool named[MOST], skipped[MOST];
	bool list;
};

static enum profile
read_profile(const char *value)
{
	for (int i = HOMEWORK; i <= ROBUST; i++)
		if (strcmp(value, profiles[i]) == 0)
			return (enum profile)i;
	args_usage("--profile: %s is not homework, rfc862 or robust",
	    args_shown(value));
}

static int
test_named(const char *what, const char *name)
{
	for (int i = 0; check_tests[i].name != NULL; i++)
		if (strcmp(check_tests[i].name, name) == 0)
			return i;
	args_usage("%s: there is no test %s; --list names them",
	    what, args_shown(name));
}

/* Marks those of NAME[,NAME]...; cuts the names up. */
static void
read_names(const char *what, char *names, bool marks[MOST])
{
	char *name;

	while ((name = strsep(&names, ",")) != NULL)
		marks[test_named(what, name)] = true;
}

static void
check_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (dial_set_option(&set->server, row->key, value, NET_MS))
		return;
	switch (row->key) {
	case OPTION_PROFILE:
		set->profile = read_profile(value);
		break;
	case OPTION_ONLY:
		set->some = true;
		read_names("--only", value, set->named);
		break;
	case OPTION_SKIP:
		read_names("--skip", value, set->skipped);
		break;
	case OPTION_LIST:
		set->list = true;
		break;
	}
}

static void
list(void)
{
	for (const struct test *t = check_tests; t->name != NULL; t++)
		printf("%-13s  %-8s  %s\n", t->name, profiles[t->profile],
		    t->shows);
	args_flush();
}

static bool
is_wanted(const struct settings *set, int test)
{
	return set->some ? set->named[test] :
	    check_tests[test].profile <= set->profile;
}

static int
count_wanted(const struct settings *set)
{
	int n = 0;

	for (int i = 0; check_tests[i].name != NULL; i++)
		n += is_wanted(set, i);
	return n;
}

/* Ends a run that cannot be made, in the words of TAP and in ours. */
static void
bail_out(enum status, const char *fmt, ...)
    __attribute__((noreturn, format(printf, 2, 3)));

static void
bail_out(enum status status, const char *fmt, ...)
{
	char why[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, sizeof(why), fmt, ap);
	va_end(ap);
	printf("Bail out! %s\n", why);
	args_flush();
	errx((int)status, "%s", why);
}

/* The first connection, which the first test will have. */
static void
reach(struct check *c, const struct address *address)
{
	struct target *target = &c->target;
	struct dial_error why;

	target->fd = dial_any(address, target->timeout, &target->server, &why);
	if (target->fd < 0)
		bail_out(why.status, "%s", why.text);
}

/* YAML, as TAP has it under a test that failed. */
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

/* On a terminal, which test is being made; NULL takes it away again. */
static void
show_progress(const struct settings *set, int number, int n, const char *name)
{
	if (set->server.verbosity < 0 || !isatty(STDERR_FILENO))
		return;
	if (name != NULL)
		fprintf(stderr, "\r%d of %d: %-20s", number, n, name);
	else
		fprintf(stderr, "\r%-40s\r", "");
}

static enum outcome
make(struct check *c, const struct settings *set, int test)
{
	const char *name = check_tests[test].name;
	int64_t started = net_now();
	char time[TEXT_TIME];
	enum outcome outcome;

	if (set->skipped[test]) {
		strcpy(c->report.message, "left out by --skip");
		return SKIP;
	}
	outcome = check_make(c, &check_tests[test]);
	if (set->server.verbosity > 0)
		fprintf(stderr, "%s took %s\n", name,
		    text_time(time, net_now() - started));
	return outcome;
}

/* The tests that are wanted, n of them; how many failed. */
static int
make_all(struct check *c, const struct settings *set, int n)
{
	int number = 0, failed = 0;

	for (int i = 0; check_tests[i].name != NULL; i++) {
		const char *name = check_tests[i].name;
		enum outcome outcome;

		if (!is_wanted(set, i))
			continue;
		number++;
		show_progress(set, number, n, name);
		outcome = make(c, set, i);
		show_progress(set, number, n, NULL);
		print_outcome(number, name, outcome, &c->report);
		failed += outcome == FAIL;
	}
	return failed;
}

static int
check_run(int argc, char **argv)
{
	static struct check c;
	struct settings set = { .list = false };
	struct address address;
	int n, failed;

	options_parse(argc, argv, &mode_check, check_set, &set);
	if (optind < argc && set.server.address != NULL)
		args_usage("two addresses: --address and %s",
		    args_shown(argv[optind]));
	address = optind < argc ?
	    dial_address("ADDRESS", argv[optind++], set.server.port) :
	    dial_address("--address", set.server.address, set.server.port);
	args_no_operands(argc, argv);
	if (set.list) {
		list();
		return STATUS_OK;
	}
	n = count_wanted(&set);
	printf("TAP version 13\n"
	    "1..%d\n", n);
	args_flush();
	c.target.timeout = c.target.answer = c.target.end = set.server.timeout;
	reach(&c, &address);
	failed = make_all(&c, &set, n);
	printf("# %s: %d of %d test%s failed\n", c.target.server.name, failed,
	    n, PLURAL(n));
	args_flush();
	return failed > 0 ? STATUS_NO : STATUS_OK;
}

const struct mode mode_check = {
	.name = "check",
	.link = "echo_check",
	.summary = "test a server and explain its faults",
	.synopsis = "[ADDRESS] [-p PORT] [OPTION]...",
	.options = check_options,
	.run = check_run
};
