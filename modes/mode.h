/*
 * The interface between echo.c and the modes, and the exit statuses of all
 * modes.
 */
#ifndef MODE_H
#define MODE_H

#include <stdbool.h>
#include <stddef.h>

#define ECHO_VERSION "1.0.0"

enum status {
	STATUS_OK,
	STATUS_NO,
	STATUS_USAGE,
	STATUS_NAME,
	STATUS_REFUSED,
	STATUS_TIMEOUT,
	STATUS_RESET,
	STATUS_LOCAL
};

/* What each status means, for --help. */
#define STATUS_MEANINGS { \
	[STATUS_OK] = "success; of a client: every byte came back", \
	[STATUS_NO] = "negative result: bytes differ, a test failed, nothing " \
	    "found, stopped early", \
	[STATUS_USAGE] = "usage error", \
	[STATUS_NAME] = "name not resolved", \
	[STATUS_REFUSED] = "connection refused", \
	[STATUS_TIMEOUT] = "timeout", \
	[STATUS_RESET] = "connection reset, closed early or unreachable", \
	[STATUS_LOCAL] = "local failure: no descriptor, cannot bind, cannot " \
	    "write" \
}

struct option_row;

struct mode {
	const char *name;	/* echo NAME */
	const char *link;	/* the name of the link to run it */
	const char *summary;	/* its line in `echo help` */
	const char *synopsis;	/* what follows the name in the usage line */
	const struct option_row *options;	/* modes/lib/options.h */

	/*
	 * Returns the default of an option whose row has none, in out or as a
	 * constant, or NULL if there is none. The pointer may be NULL.
	 */
	const char *(*default_text)(const struct option_row *, char *out,
	    size_t size);

	/*
	 * Whether this system supports an option; --help shows only supported
	 * options. The pointer may be NULL: all options are supported.
	 */
	bool (*has_option)(const struct option_row *);

	int (*run)(int argc, char **argv);	/* returns an enum status */
};

extern const struct mode mode_bench, mode_check, mode_faulty, mode_ports,
    mode_send, mode_serve;

#endif
