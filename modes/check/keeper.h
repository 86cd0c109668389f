/*
 * Runs one command in the background, and ends all of its processes.
 *
 * The command is the child of a process of its own, the keeper. The keeper
 * reads what the command prints, notices its end, and ends all processes that
 * it has left when the keeper is asked to, or when this program ends for any
 * reason, even by SIGKILL: the keeper then reads end of file from its socket.
 * The keeper itself ends last. When it has been waited for, no process is left.
 */
#ifndef KEEPER_H
#define KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { KEEPER_TAIL = 4096 };	/* bytes kept of what a command prints */

/* The last bytes that a command has printed. */
struct keeper_tail {
	size_t size;
	char bytes[KEEPER_TAIL];
};

struct keeper_report {
	int status;		/* as from waitpid(2) */
	struct keeper_tail out, err;
};

/*
 * Runs a command with /bin/sh -c, in its own process group, with standard input
 * from /dev/null. The command that ran before must have been stopped. From
 * then on SIGINT, SIGTERM and SIGHUP stop the command before they end this
 * program. Returns 0 or -errno.
 */
int keeper_start(const char *command);

/* Waits at most ns for the end of the command. Returns whether it has ended. */
bool keeper_has_ended(int64_t ns);

/*
 * Sends SIGTERM to all processes of the command that are left, and SIGKILL
 * after a second, and waits until they have ended. Does nothing if no command
 * was started.
 */
void keeper_stop(void);

/*
 * What the last command printed, and how it ended; valid when keeper_has_ended()
 * has returned true, or after keeper_stop(), if the command was ended by it.
 */
const struct keeper_report *keeper_last_report(void);

#endif
