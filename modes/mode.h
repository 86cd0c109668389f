/*
 * What echo.c may know of a mode, and what every mode promises its caller.
 */
#ifndef MODE_H
#define MODE_H

#include <stddef.h>

#define ECHO_VERSION "1.0.0"	/* the one place it is written */

/* The exit status of every mode; args.c prints this table in each --help. */
enum status {
	STATUS_OK = 0,		/* done; for a client: every byte came back */
	STATUS_NO = 1,		/* it ran and the answer is no (or was cut) */
	STATUS_USAGE = 2,
	STATUS_NAME = 3,	/* name not resolved */
	STATUS_REFUSED = 4,
	STATUS_TIMEOUT = 5,
	STATUS_RESET = 6,	/* reset, closed early or unreachable */
	STATUS_LOCAL = 7	/* no descriptor, cannot bind, cannot write */
};

struct option_row;

struct mode {
	const char *name;	/* echo NAME */
	const char *link;	/* the name of the link that means echo NAME */
	const char *summary;	/* its line in `echo help` */
	const char *synopsis;	/* what follows the name in the usage line */
	const struct option_row *options;	/* modes/lib/options.h */

	/*
	 * The default of an option whose row has none, in out or constant;
	 * NULL: it has none. May be NULL.
	 */
	const char *(*default_text)(const struct option_row *, char *out,
	    size_t size);

	int (*run)(int argc, char **argv);	/* returns an enum status */
};

extern const struct mode mode_bench, mode_check, mode_ports, mode_send,
    mode_serve;

#endif
