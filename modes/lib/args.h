/*
 * The command line, the same in every mode: help, version, and numbers,
 * ports, durations, sizes and addresses read strictly. What is wrong with an
 * argument ends the program with one line and STATUS_USAGE.
 */
#ifndef ARGS_H
#define ARGS_H

#include <sys/types.h>

#include <stdint.h>
#include <stdio.h>

#include "modes/mode.h"

#define ARGS_DEFAULT_HOST "127.0.0.1"	/* as in the homework */
#define ARGS_DEFAULT_PORT "10000"

struct address {
	const char *host;	/* NULL: all interfaces; points into argv */
				/* may be a Unix socket's: net_is_unix() */
	uint16_t port;
};

/* Sets the name that errors begin with and getopt(3) sees: "echo serve". */
void args_program(char *name);

/* printf(3) for what ends with STATUS_USAGE; adds where help is. */
void args_usage(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/*
 * An argument as it may be shown: quoted, short and without control bytes.
 * In a static buffer, until the next call.
 */
const char *args_shown(const char *value);

/* Refuses operands from argv[optind] on. */
void args_no_operands(int argc, char **argv);

/*
 * Each of these reads all of value, which was given for what ("--port"), and
 * does not return if it is not of the form or not within low..high.
 */
uint64_t args_number(const char *what, const char *value, uint64_t low,
    uint64_t high);
uint16_t args_port(const char *what, const char *value, uint16_t low);
int64_t args_duration(const char *what, const char *value,
    int64_t low);				/* ns; at most 24h */
size_t args_size(const char *what, const char *value, size_t low,
    size_t high);				/* bytes */
mode_t args_mode(const char *what, const char *value);	/* octal, to 777 */

/*
 * HOST, HOST:PORT, [V6]:PORT, :PORT, *, unix:/PATH or unix:@NAME, with the
 * default host and the given port (>= low) for what is left out. Cuts value up.
 */
struct address args_address(const char *what, char *value, uint16_t port,
    uint16_t low);

/* Print the table of exit statuses, or the version, on standard output. */
void args_print_statuses(void);
void args_version(void);

/* Flushes standard output; if anything written was lost: one line, exit. */
void args_flush(void);

#endif
