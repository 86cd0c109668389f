/*
 * A command of the user that check runs with /bin/sh -c: a server (--start) or
 * a client (--client); and `echo faulty`, which check runs in the same way. The
 * command has its own process group, and its output is captured.
 *
 * Each command is the child of a separate process, the keeper (keeper.h). No
 * process of the command is left after command_stop(), or after this program
 * has ended for any reason. SIGINT, SIGTERM and SIGHUP stop all commands before
 * they end this program. If SIGKILL ends this program, the keeper reads end of
 * file from its socket, and then stops the command.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <sys/types.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "keeper.h"

struct command {
	pid_t keeper;			/* 0: not running */
	int control;			/* its socket, readable when the */
					/* command has ended */
	bool has_ended;
	struct keeper_record *record;	/* NULL: never started */
};

/* A placeholder such as {port}, and the text that replaces it. */
struct command_word {
	const char *name;	/* "{port}" */
	const char *value;
};

/*
 * Replaces each placeholder by its value, quoted for the shell if necessary.
 * The list ends with a NULL name. Returns a string for free(3), or NULL if
 * there is no memory.
 */
char *command_substitute(const char *command, const struct command_word *);

/*
 * Starts the command. Returns 0, or -errno with nothing to be freed. The plan
 * is not needed after this call.
 */
int command_start(struct command *, const struct keeper_plan *);

/* Waits at most ns for the end of the command. Returns whether it has ended. */
bool command_has_ended(struct command *, int64_t ns);

/*
 * Ends all remaining processes of the command, including processes that have
 * left its process group, and waits until they have ended. Does nothing if the
 * command is not running.
 */
void command_stop(struct command *);

/* Frees the record of a command that has been stopped. */
void command_free(struct command *);

/*
 * The exit status as the shell shows it: 128+N after signal N. Valid when the
 * command has ended or was stopped.
 */
int command_status(const struct command *);

/*
 * The last line of the output that is not blank, without its newline. Returns
 * its size and points *line to it.
 */
size_t command_last_line(const struct keeper_output *, const char **line);

#endif
