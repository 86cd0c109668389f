/*
 * The process that runs one command for command.c.
 *
 * The keeper is the parent of the command. It writes the command's input, reads
 * what the command prints, notices its end, and ends all processes that it has
 * left when the keeper is asked to, or when this program ends for any reason,
 * even by SIGKILL: the keeper then reads end of file from its socket. The
 * keeper itself ends last. When it has been waited for, no process is left.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KEEPER_HEAD = 192 << 10,	/* bytes kept from the beginning */
	KEEPER_TAIL = 64 << 10		/* and from the end, of each stream */
};

/*
 * What the command has written to one stream; the middle may be missing. The
 * keeper appends to it until the command has ended.
 */
struct keeper_output {
	_Atomic size_t size;		/* bytes in data */
	uint64_t total;			/* bytes written by the command */
	char data[KEEPER_HEAD + KEEPER_TAIL];
};

/* What to run. */
struct keeper_plan {
	const char *line;	/* for /bin/sh -c; NULL: run the program */
	const char *program;	/* its path, instead of line */
	char *const *argv;	/* of the program */
	const char *input;	/* for its standard input; NULL: /dev/null */
	size_t input_size;
	bool may_detach;	/* it runs on in the processes that it has */
				/* left when it ends with status 0 */
	int64_t grace;		/* ns from SIGTERM to SIGKILL; 0: no SIGTERM */
};

/* What the keeper records, in memory that it shares with this program. */
struct keeper_record {
	int wait_status;		/* as from waitpid(2) */
	struct keeper_output out, err;
};

/* The signals that end this program, and its commands before it. */
enum { KEEPER_SIGNALS = 3 };
extern const int keeper_signals[KEEPER_SIGNALS];

/*
 * The life of the keeper, after fork(2). A byte is written to the socket when
 * the command has ended and is recorded; the end of file of the socket asks the
 * keeper to stop the command. mask is the signal mask of the command.
 */
void keeper_run(int socket, const struct keeper_plan *,
    struct keeper_record *, const sigset_t *mask) __attribute__((noreturn));

#endif
