/*
 * The tests of `check --client`: check acts as the server, and runs the
 * client's command once per test.
 */
#ifndef CLIENT_TESTS_H
#define CLIENT_TESTS_H

#include <stdbool.h>
#include <stdint.h>

#include "modes/lib/args.h"
#include "tests.h"

enum { CLIENT_TESTS_MAX = 24 };	/* room for the table of tests */

struct client_options {
	const char *command;	/* NULL: --client was not given */
	const struct address *address;	/* where check listens */
	bool has_port;		/* the port in address was given */
	enum profile profile;
	int64_t timeout;	/* ns */
	int verbosity;		/* 1 with -v, -1 with -q */
	bool has_only;		/* --only was given */
	bool only[CLIENT_TESTS_MAX], skip[CLIENT_TESTS_MAX];
};

/*
 * Returns the index of a test in only and skip, or -1 if no test has that name.
 */
int client_tests_find(const char *name);

/* Prints the name, the profile and the purpose of each test (--list). */
void client_tests_list(const char *const profile_names[]);

/*
 * Runs the tests and reports in TAP. Returns the exit status. Does not return
 * if the client cannot be run or its port is taken.
 */
enum status client_tests_run(const struct client_options *);

#endif
