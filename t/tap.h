/*
 * What the unit tests in C share: output in TAP (testanything.org).
 */
#ifndef TAP_H
#define TAP_H

#include <stdbool.h>
#include <stdio.h>

static int tests, failed;

static void
ok(bool good, const char *name)
{
	printf("%sok %d - %s\n", good ? "" : "not ", ++tests, name);
	failed += !good;
}

/* Prints the plan. Returns the exit status. */
static int
done(void)
{
	printf("1..%d\n", tests);
	return failed > 0;
}

#endif
