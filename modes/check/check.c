/*
 * Mode `check`: tests whether a server, written in any language, is a correct
 * echo server. This file selects the tests and prints their results as TAP
 * (testanything.org); the tests themselves are in tests.c.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client_tests.h"
#include "exchange.h"
#include "datagram_tests.h"
#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "start.h"
#include "tests.h"

enum {
	OPTION_PROFILE = OPTIONS_LONG, OPTION_ONLY, OPTION_SKIP, OPTION_LIST,
	OPTION_START, OPTION_DIRECT, OPTION_CLIENT
};

static const struct option_row check_options[] = {
	OPTIONS_TEXT("\n"
	    "Tests whether the server at ADDRESS is a correct echo server, "
	    "and prints the\n"
	    "results as TAP. A failed test shows which byte was wrong and, if "
	    "it is proven,\n"
	    "the mistake. Each profile includes the one before it: homework "
	    "(one short\n"
	    "message per connection), rfc862 (every byte of a stream until "
	    "its end), robust\n"
	    "(many clients, clients that misbehave, large messages).\n"),
	DIAL_OPTIONS("the same as ADDRESS: " DIAL_ADDRESS_FORMS,
	    "time limit for the connection, and then for each period in which "
	    "no byte moves; after one timeout, later tests wait less"),
	DIAL_UDP("test a UDP server, as udp: before ADDRESS does; each profile "
	    "has tests of its own"),
	{ OPTION_CLIENT, "client", "COMMAND", NULL,
	    "test an echo client: listen at ADDRESS and run COMMAND with "
	    "/bin/sh once per test; {message}, {host} and {port} are replaced, "
	    "and without {message} it is passed on standard input; the port "
	    "is free if {port} is in COMMAND and no port is given", 2, NULL },
	{ OPTION_PROFILE, "profile", "PROFILE", "rfc862",
	    "homework, rfc862 or robust", 0, NULL },
	{ OPTION_ONLY, "only", "NAME[,...]", NULL,
	    "run only these tests, whatever their profile", 0, NULL },
	{ OPTION_SKIP, "skip", "NAME[,...]", NULL, "skip these tests", 0,
	    NULL },
	{ OPTION_LIST, "list", NULL, NULL, "print the name, the profile and "
	    "the purpose of each test; with --client, of the tests of clients",
	    0, NULL },
	{ OPTION_START, "start", "COMMAND", NULL, "start the server with a "
	    "shell command, again after each crash, and stop it at the end; "
	    "{host} and {port} (a free port unless -p is given) are replaced",
	    2, NULL },
	{ OPTION_DIRECT, "direct", "ADDRESS", NULL, "the address of the "
	    "same server without the proxy in between; a test that fails is "
	    "repeated there", 2, NULL },
	DIAL_VERBOSITY("also print how long each test took",
	    "print no progress on a terminal"),
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds."),
	OPTIONS_END
};

static const char *const profile_names[] = { "homework", "rfc862", "robust" };

enum { MAX_TESTS = 64 };	/* room for each of the tables */

/* The tests of TCP and of UDP servers. */
static const struct test *const tables[] = { tests_table,
    datagram_tests_table };

struct settings {
	struct dial_options server;
	enum profile profile;
	bool has_only;		/* --only was given: run the tests in only */
	bool only[2][MAX_TESTS], skip[2][MAX_TESTS];	/* as tables */
	bool list;
	bool has_port;		/* --port was given, not only its default */
	struct start start;	/* command is NULL without --start */
	char *direct_value;	/* of --direct, or NULL */
	struct address address, direct;
	struct client_options client;	/* --client */
};

/* A run of check. */
struct session {
	const struct settings *set;
	struct test_run run;
	struct test_run direct;		/* its timeout is 0 until connected */
	struct dial_error start_error;	/* why the server is not started */
	bool given_up;			/* no attempt to start it is left */
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

/* Marks the test of that name in one of the tables; false if there is none. */
static bool
mark_test(const char *name, bool marks[2][MAX_TESTS])
{
	for (int udp = 0; udp < 2; udp++) {
		for (int i = 0; tables[udp][i].name != NULL; i++) {
			if (strcmp(tables[udp][i].name, name) != 0)
				continue;
			return marks[udp][i] = true;
		}
	}
	return false;
}

/* The tests of the server at the address of the settings. */
static const struct test *
used_table(const struct settings *set)
{
	return tables[set->address.is_udp];
}

/*
 * Marks the tests in NAME[,NAME]..., of servers or of clients, and writes NULs
 * into that list.
 */
static void
mark_tests(const char *option, char *names, bool marks[2][MAX_TESTS],
    bool client_marks[CLIENT_TESTS_MAX])
{
	char *name;

	while ((name = strsep(&names, ",")) != NULL) {
		int of_client = client_tests_find(name);

		if (mark_test(name, marks))
			continue;
		if (of_client >= 0)
			client_marks[of_client] = true;
		else
			args_usage("%s: there is no test %s; --list prints "
			    "all names", option, args_shown(name));
	}
}

/* Exits if a marked test does not belong to this run. */
static void
refuse_marks(const bool *marks, int n, const char *what)
{
	for (int i = 0; i < n; i++)
		if (marks[i])
			args_usage("--only and --skip: %s", what);
}

static void
check_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (row->key == 'p')	/* the default is set by an earlier call */
		set->has_port = set->server.port != 0;
	if (dial_set_option(&set->server, row->key, value, NET_MS))
		return;
	switch (row->key) {
	case OPTION_PROFILE:
		set->profile = parse_profile(value);
		break;
	case OPTION_ONLY:
		set->has_only = true;
		mark_tests("--only", value, set->only, set->client.only);
		break;
	case OPTION_SKIP:
		mark_tests("--skip", value, set->skip, set->client.skip);
		break;
	case OPTION_CLIENT:
		if (*value == '\0')
			args_usage("--client: the command is empty");
		set->client.command = value;
		break;
	case OPTION_LIST:
		set->list = true;
		break;
	case OPTION_START:
		if (*value == '\0')
			args_usage("--start: the command is empty");
		set->start.command = value;
		break;
	case OPTION_DIRECT:
		set->direct_value = value;
		break;
	}
}

/* --list. Shell completion reads the first two columns. */
static void
print_test_list(const struct settings *set)
{
	for (const struct test *t = used_table(set); t->name != NULL; t++)
		printf("%-13s  %-8s  %s\n", t->name,
		    profile_names[t->profile], t->shows);
	args_flush();
}

/* Whether the options select a test (--skip only reports it as skipped). */
static bool
is_selected(const struct settings *set, int test)
{
	return set->has_only ? set->only[set->address.is_udp][test] :
	    used_table(set)[test].profile <= set->profile;
}

static int
count_selected(const struct settings *set)
{
	int n = 0;

	for (int i = 0; used_table(set)[i].name != NULL; i++)
		n += is_selected(set, i);
	return n;
}

/* A test that has been run. */
struct result {
	enum outcome outcome;
	bool crashed;		/* the server has ended in this test */
	/* Text after the message; it may contain the message of another run. */
	char more[NET_NAME_MAX + sizeof(((struct report *)0)->message) + 80];
};

static void bail_out(const struct dial_error *) __attribute__((noreturn));

/* Exits when no test can be run; the reason goes to stdout and to stderr. */
static void
bail_out(const struct dial_error *error)
{
	printf("Bail out! %s\n", error->text);
	args_flush();
	errx((int)error->status, "%s", error->text);
}

static void
init_target(struct target *target, const struct settings *set)
{
	target->fd = -1;
	target->timeout = set->server.timeout;
	target->answer_left = target->eof_left = target->timeout;
}

/*
 * If a server resets each connection at once, the reset may arrive before this
 * program sees that the connection is open. Such a server counts as found, and
 * the tests report the resets.
 */
static bool
is_server_found(const struct target *target, const struct dial_error *error)
{
	return target->fd >= 0 || error->error == ECONNRESET;
}

/* Opens the first connection, which the first test uses. */
static void
connect_to_target(struct target *target, const struct settings *set)
{
	struct dial_error error;

	init_target(target, set);
	target->is_started = set->start.command != NULL;
	if (target->is_started)
		target->fd = start_server(&set->start, &target->server,
		    &error);
	else
		target->fd = exchange_dial(&set->address, target->timeout,
		    &target->server, &error);
	if (is_server_found(target, &error))
		return;
	if (target->is_started)
		start_print_comments();
	bail_out(&error);
}

/* The YAML block of a failed test. */
static void
print_report(const struct result *result, const struct report *r)
{
	char time[TEXT_TIME];

	printf("  ---\n"
	    "  message: \"%s%s\"\n", r->message, result->more);
	if (r->ended != NULL)
		printf("  sent: \"%s\"\n"
		    "  expected: %s\n"
		    "  got: %s\n"
		    "  offset: %" PRIu64 "\n"
		    "  ended: \"%s\"\n"
		    "  after: %s\n", r->sent, r->expected, r->got, r->offset,
		    r->ended, text_time(time, r->after));
	if (result->crashed)
		start_print_yaml();
	puts("  ...");
}

static void
print_test_result(int number, const char *name, const struct result *result,
    const struct report *r)
{
	printf("%sok %d - %s%s%s\n", result->outcome == FAIL ? "not " : "",
	    number, name, result->outcome == SKIP ? " # SKIP " : "",
	    result->outcome == SKIP ? r->message : "");
	if (result->outcome == FAIL)
		print_report(result, r);
	if (*r->comment != '\0')
		printf("# %s: %s\n", name, r->comment);
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

/*
 * Starts the server again if it has ended in an earlier test. The connection
 * that shows that the server is ready becomes the first connection of the next
 * test, even if the server has ended since: this connection may be the reason.
 * Returns PASS, or the outcome of a test that cannot be run.
 */
static enum outcome
ensure_started(struct session *s)
{
	struct target *target = &s->run.target;
	struct dial_error *error = &s->start_error;

	if (!target->is_started || target->fd >= 0 || !start_has_ended(0))
		return PASS;
	if (!s->given_up)
		target->fd = start_server(&s->set->start, &target->server,
		    error);
	if (is_server_found(target, error)) {
		tests_server_restarted(&s->run);
		return PASS;
	}
	/* If this system is the cause, another attempt may succeed. */
	s->given_up = error->status != STATUS_LOCAL;
	snprintf(s->run.report.message, sizeof(s->run.report.message),
	    "not tried: the server was not started again: %.*s",
	    START_SIZE, error->text);
	return s->given_up ? FAIL : SKIP;
}

/*
 * Describes the event before the end of a server that had passed the test until
 * then. The time at which check notices the end depends on chance, so no other
 * part of the report mentions the end.
 */
static const char *
before_end_text(const struct test_run *run)
{
	if (run->test->plan.message.size == 0)
		return " after the client had closed without a message";
	return run->is_first ? " after it had answered: it serves one client "
	    "only" : " after it had answered";
}

/* Fails the test if the server has ended because of the test. */
static void
look_for_crash(struct result *result, struct test_run *run)
{
	char *message = run->report.message, end[START_SIZE];

	if (!start_has_died())
		return;
	if (run->target.fd >= 0)
		close(run->target.fd);	/* the test has not used it */
	run->target.fd = -1;
	result->crashed = true;
	if (result->outcome == FAIL && run->report.ended == NULL)
		*message = '\0';	/* it could not be reached: it had died */
	snprintf(result->more, sizeof(result->more), "%sthe server %s%s",
	    *message != '\0' ? "; " : "", start_end_text(end),
	    result->outcome == PASS ? before_end_text(run) : "");
	result->outcome = FAIL;
}

/*
 * Resolves the direct address and connects to it when a test fails for the
 * first time. An earlier connection would be a client that does nothing.
 */
static bool
connect_direct(struct session *s, struct result *result)
{
	struct target *target = &s->direct.target;
	struct dial_error error;

	if (target->timeout > 0)
		return true;
	init_target(target, s->set);
	target->fd = exchange_dial(&s->set->direct, target->timeout,
	    &target->server, &error);
	if (is_server_found(target, &error))
		return true;
	target->timeout = 0;
	snprintf(result->more, sizeof(result->more), "; %.*s",
	    DIAGNOSE_SIZE, error.text);
	return false;
}

/*
 * Repeats a failed test at the direct address, and reports which side failed.
 */
static void
ask_direct(struct session *s, const struct test *test, struct result *result)
{
	const char *name = s->direct.target.server.name;
	const char *there = s->direct.report.message;
	enum outcome outcome;

	if (s->set->direct.host == NULL || !connect_direct(s, result))
		return;
	outcome = tests_run_one(&s->direct, test);
	if (outcome == PASS)
		snprintf(result->more, sizeof(result->more),
		    "; correct at %s, so the fault is in between", name);
	else if (strcmp(there, s->run.report.message) == 0)
		snprintf(result->more, sizeof(result->more),
		    "; the same fault at %s", name);
	else
		snprintf(result->more, sizeof(result->more), "; at %s: %s",
		    name, there);
}

static struct result
run_test(struct session *s, const struct test *test)
{
	struct result result = { .outcome = ensure_started(s) };

	if (result.outcome != PASS)
		return result;
	result.outcome = tests_run_one(&s->run, test);
	if (s->run.target.is_started)
		look_for_crash(&result, &s->run);
	if (result.outcome == FAIL)
		ask_direct(s, test, &result);
	return result;
}

static struct result
run_or_skip(struct session *s, int i)
{
	struct result result = { .outcome = SKIP };
	int64_t started = net_now();
	char time[TEXT_TIME];

	s->run.report = (struct report){ .ended = NULL };
	if (s->set->skip[s->set->address.is_udp][i]) {
		strcpy(s->run.report.message, "left out by --skip");
		return result;
	}
	result = run_test(s, &used_table(s->set)[i]);
	if (s->set->server.verbosity > 0)
		fprintf(stderr, "%s took %s\n", used_table(s->set)[i].name,
		    text_time(time, net_now() - started));
	return result;
}

/* Runs the n selected tests, and returns how many failed. */
static int
run_selected(struct session *s, int n)
{
	int number = 0, failed = 0;

	for (int i = 0; used_table(s->set)[i].name != NULL; i++) {
		const char *name = used_table(s->set)[i].name;
		struct result result;

		if (!is_selected(s->set, i))
			continue;
		number++;
		check_show_progress(s->set, number, n, name);
		result = run_or_skip(s, i);
		check_show_progress(s->set, number, n, NULL);
		print_test_result(number, name, &result, &s->run.report);
		failed += result.outcome == FAIL;
	}
	return failed;
}

/* Runs the tests against a server, and returns the exit status. */
static enum status
check_server(const struct settings *set)
{
	static struct session s;
	int n = count_selected(set), failed;
	bool udp = set->address.is_udp;
	const char *wrong = udp ? "a test of TCP servers with --udp" :
	    "a test of UDP servers without --udp";

	refuse_marks(set->only[!udp], MAX_TESTS, wrong);
	refuse_marks(set->skip[!udp], MAX_TESTS, wrong);
	s.set = set;
	printf("TAP version 13\n"
	    "1..%d\n", n);
	args_flush();
	connect_to_target(&s.run.target, set);
	failed = run_selected(&s, n);
	if (set->start.command != NULL)
		start_stop();
	printf("# %s: %d of %d test%s failed\n", s.run.target.server.name,
	    failed, n, PLURAL(n));
	args_flush();
	return failed > 0 ? STATUS_NO : STATUS_OK;
}

/*
 * Sets the address of the server. If check starts the server, a host or port
 * that is not given remains NULL or 0, and start_server() chooses it.
 */
static void
set_address(struct settings *set, char *value, const char *what)
{
	bool starts = set->start.command != NULL;
	uint16_t port = starts && !set->has_port ? 0 : set->server.port;

	if (value == NULL && starts)
		set->address = (struct address){ .port = port,
		    .is_udp = set->server.is_udp };
	else
		set->address = dial_address(what, value, port,
		    set->server.is_udp);
	if (!starts)
		return;
	set->start.address = set->address;
	set->start.timeout = set->server.timeout;
	start_prepare(&set->start);
}

/* Runs the tests against a client (--client), and returns the exit status. */
static enum status
check_client(struct settings *set, const struct address *address)
{
	struct client_options *client = &set->client;

	if (net_is_unix(address->host))
		args_usage("--client: the address must have a port");
	args_refuse_udp("--client", address);
	for (int udp = 0; udp < 2; udp++) {
		refuse_marks(set->only[udp], MAX_TESTS,
		    "a test of servers with --client");
		refuse_marks(set->skip[udp], MAX_TESTS,
		    "a test of servers with --client");
	}
	client->address = address;
	/* If the port differs from the default, the address contains a port. */
	client->has_port = set->has_port || address->port != set->server.port;
	client->profile = set->profile;
	client->timeout = set->server.timeout;
	client->has_only = set->has_only;
	return client_tests_run(client);
}

static int
check_run(int argc, char **argv)
{
	struct settings set = { .list = false };

	options_parse(argc, argv, &mode_check, check_set, &set);
	if (optind < argc && set.server.address != NULL)
		args_usage("two addresses: --address and %s",
		    args_shown(argv[optind]));
	if (optind < argc)
		set_address(&set, argv[optind++], "ADDRESS");
	else
		set_address(&set, set.server.address, "--address");
	args_no_operands(argc, argv);
	if (set.direct_value != NULL)
		set.direct = dial_address("--direct", set.direct_value,
		    set.server.port, set.address.is_udp);
	if (set.direct_value != NULL &&
	    set.direct.is_udp != set.address.is_udp)
		args_usage("--direct: one address has TCP and one has UDP");
	if (set.list) {
		if (set.client.command != NULL)
			client_tests_list(profile_names);
		else
			print_test_list(&set);
		return STATUS_OK;
	}
	if (set.client.command != NULL)
		return (int)check_client(&set, &set.address);
	refuse_marks(set.client.only, CLIENT_TESTS_MAX,
	    "a test of clients without --client");
	refuse_marks(set.client.skip, CLIENT_TESTS_MAX,
	    "a test of clients without --client");
	return (int)check_server(&set);
}

const struct mode mode_check = {
	.name = "check",
	.link = "echo_check",
	.summary = "test a server or a client, and explain its faults",
	.synopsis = "[ADDRESS] [--start=COMMAND | --client=COMMAND] [-p PORT] "
	    "[OPTION]...",
	.options = check_options,
	.run = check_run
};
