/*
 * The process that runs one command for command.c.
 *
 * The keeper is the parent of the command. It writes the command's input, reads
 * the command's output, and notices the command's end. It ends all remaining
 * processes of the command when this program asks for it or ends for any
 * reason, even by SIGKILL: the keeper then reads end of file from its socket.
 * The keeper itself ends last, so no process is left when this program has
 * waited for the keeper.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KEEPER_HEAD = 192 << 10,	/* bytes kept from its start */
	KEEPER_TAIL = 64 << 10		/* and from its end; per stream */
};

/*
 * The output of the command on one stream; its middle may be missing. The
 * keeper appends to the output until the command has ended.
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
	bool may_detach;	/* after status 0, its other processes count */
				/* as the command, and it continues to run */
	int64_t grace;		/* ns from SIGTERM to SIGKILL; 0: no SIGTERM */
};

/* The record of the keeper, in memory that it shares with this program. */
struct keeper_record {
	int wait_status;		/* as from waitpid(2) */
	struct keeper_output out, err;
};

/* The signals that end first all commands, and then this program. */
enum { KEEPER_SIGNALS = 3 };
extern const int keeper_signals[KEEPER_SIGNALS];

/*
 * Runs the keeper, after fork(2). The keeper writes a byte to the socket when
 * the command has ended and the record is complete. End of file on the socket
 * asks the keeper to stop the command. mask is the signal mask of the command.
 */
void keeper_run(int socket, const struct keeper_plan *,
    struct keeper_record *, const sigset_t *mask) __attribute__((noreturn));

#endif
