/*
 * A command of the user that check runs with /bin/sh -c: a server (--start) or
 * a client (--client). The command has its own process group and its standard
 * output and standard error are captured. No process of it is left after
 * command_stop(), nor after SIGINT, SIGTERM or SIGHUP to check.
 */
#ifndef COMMAND_H
#define COMMAND_H

#include <sys/types.h>

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	COMMAND_HEAD = 192 << 10,	/* bytes kept from the beginning */
	COMMAND_TAIL = 64 << 10,	/* and from the end, of each stream */
	COMMAND_FDS = 3			/* for command_poll_fds() */
};

/* What the command has written to one stream; the middle may be missing. */
struct command_output {
	int fd;			/* -1 after its end of file */
	char *data;
	size_t size;		/* bytes in data */
	uint64_t total;		/* bytes written by the command */
};

struct command {
	pid_t pid;		/* also the process group; 0: not running */
	int wait_status;	/* as from waitpid(2), when it has ended */
	struct command_output out, err;
	int in;			/* -1: nothing more to write to its stdin */
	const char *input;	/* not yet written to its stdin */
	size_t input_size;
};

/* A placeholder such as {port}, and the text that replaces it. */
struct command_word {
	const char *name;	/* "{port}" */
	const char *value;
};

/*
 * Replaces each placeholder by its value, quoted for the shell. The list ends
 * with a NULL name. Returns a string for free(3), or NULL if there is no
 * memory.
 */
char *command_substitute(const char *command, const struct command_word *);

/*
 * Starts the command. input is written to its standard input, which then ends;
 * a NULL input is /dev/null. Input must exist until the command has ended.
 * Returns 0 or -errno with nothing to be freed.
 */
int command_start(struct command *, const char *line, const char *input,
    size_t input_size);

/* Starts a program without a shell, in the same way and without input. */
int command_start_program(struct command *, const char *path,
    char *const *argv);

/*
 * Fills in what the caller has to poll for, beside its own descriptors: always
 * COMMAND_FDS entries, of which some may be -1.
 */
void command_poll_fds(const struct command *, struct pollfd *);

/* Reads and writes what is possible without blocking. */
void command_transfer(struct command *);

/* Whether the process of the command has ended; it is then reaped. */
bool command_has_ended(struct command *);

/*
 * Ends the command: sends SIGTERM to the process group, waits up to grace ns
 * until the process has ended, and then sends SIGKILL to what is left,
 * including processes that have left the group. With a grace of 0 only SIGKILL
 * is sent. Reads the last output.
 */
void command_stop(struct command *, int64_t grace);

/* Frees the output of a command that has been stopped. */
void command_free(struct command *);

/* The exit status as the shell shows it: 128+N after signal N. */
int command_status(const struct command *);

/*
 * The last line of the output that is not blank, without its newline. Returns
 * its size and points *line to it.
 */
size_t command_last_line(const struct command_output *, const char **line);

#endif
