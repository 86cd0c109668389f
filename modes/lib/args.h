/*
 * Parses the arguments of the command line strictly: numbers, ports, durations,
 * sizes and addresses have the same form in every mode. A wrong argument ends
 * the program with one line on standard error and STATUS_USAGE.
 */
#ifndef ARGS_H
#define ARGS_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "modes/mode.h"

#define ARGS_DEFAULT_HOST "127.0.0.1"	/* as in the homework */
#define ARGS_DEFAULT_PORT "10000"

/* A host and a port, or a Unix socket (net_is_unix()), which has no port. */
struct address {
	const char *host;	/* NULL: all interfaces; points into argv */
	uint16_t port;
	bool is_udp;		/* datagrams; otherwise TCP or a Unix socket */
};

/* Sets the name that begins each error message, such as "echo serve". */
void args_set_program(char *name);

/*
 * Prints an error message (printf(3)) that refers to --help, and exits with
 * STATUS_USAGE.
 */
void args_usage(const char *fmt, ...)
    __attribute__((noreturn, format(printf, 1, 2)));

/*
 * Returns an argument in a form for error messages: quoted, shortened and
 * without control bytes. The result is valid until the next call.
 */
const char *args_shown(const char *value);

/*
 * Finds the name that is most similar to a mistyped word, by one call for each
 * name. nearest is the result of the previous call, at first NULL. Returns
 * nearest or name, or NULL if neither is similar.
 */
const char *args_nearer(const char *word, const char *nearest,
    const char *name);

/* Exits with STATUS_USAGE if there is an operand from argv[optind] on. */
void args_no_operands(int argc, char **argv);

/*
 * Each of these functions parses all of value, which was given for the option
 * or operand that `what` names ("--port"). A function does not return if value
 * is malformed or not in the range low to high.
 */
uint64_t args_number(const char *what, const char *value, uint64_t low,
    uint64_t high);
/* A port, or the name of a service of TCP or, if there is none, of UDP. */
uint16_t args_port(const char *what, const char *value, uint16_t low);
/* Returns ns. The highest duration is 24h. */
int64_t args_duration(const char *what, const char *value, int64_t low);
/* Returns bytes. */
size_t args_size(const char *what, const char *value, size_t low,
    size_t high);
/* An octal file mode from 0 to 777. */
mode_t args_mode(const char *what, const char *value);

/*
 * Parses HOST, HOST:PORT, [V6]:PORT, :PORT or *, with tcp: or udp: before it,
 * or unix:/PATH or unix:@NAME. A missing host is ARGS_DEFAULT_HOST, and a
 * missing port is the given port. Without tcp: or udp:, the address is for UDP
 * if is_udp (--udp) is set; with is_udp, a Unix socket is a usage error. A port
 * in value must be at least low. Modifies value, and the result points into it.
 */
struct address args_address(const char *what, char *value, uint16_t port,
    uint16_t low, bool is_udp);

/* For a mode without UDP: exits with STATUS_USAGE if the address is for UDP. */
void args_refuse_udp(const char *what, const struct address *);

/* Prints the table of exit statuses on standard output. */
void args_print_statuses(void);

/* Prints the version on standard output. */
void args_print_version(void);

/*
 * Flushes standard output. Exits with STATUS_LOCAL if any output since the
 * start was lost.
 */
void args_flush(void);

#endif
