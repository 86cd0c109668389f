/*
 * The options of a mode are a table with one row for each option.
 * getopt_long(3), the usage line and --help are made from the same rows, and a
 * default is set by the same code as a value from the command line. So --help
 * always agrees with the program.
 */
#ifndef OPTIONS_H
#define OPTIONS_H

#include "modes/mode.h"

/* Keys of options without a letter begin here. */
enum { OPTIONS_LONG = 256 };

struct option_row {
	int key;		/* its letter, or a value from OPTIONS_LONG on */
	const char *name;	/* --NAME; NULL: text is printed as it is */
	const char *argument;	/* the name of its value in --help, or NULL */
	const char *initial;	/* its default, or NULL */
	const char *text;	/* its description in --help; NULL: --help does
				   not list it */
	int group;		/* options of one group exclude each other;
				   0: none; 1: the usage begins with them */
	const void *value;	/* for the mode that owns the row */
};

/* A line of --help that is not an option: a heading or a note. */
#define OPTIONS_TEXT(words) { .text = (words) }

/* The rows that every mode has at its end. */
#define OPTIONS_COMMON \
	{ 'h', "help", NULL, NULL, "print this help", 0, NULL }, \
	{ 'V', "version", NULL, NULL, "print the version", 0, NULL }

/* After the last row. */
#define OPTIONS_END { .name = NULL }

/*
 * Sets an option in the settings of a mode. value is NULL if the option takes
 * no value. The function may modify value, and must not keep a pointer to the
 * value of a default.
 */
typedef void options_set(void *settings, const struct option_row *,
    char *value);

/*
 * Sets each default, and then each option in argv (getopt_long(3)). Handles
 * --help and --version. A wrong option ends the program with STATUS_USAGE.
 * Afterwards, the operands begin at argv[optind].
 */
void options_parse(int argc, char **argv, const struct mode *, options_set *,
    void *settings);

/* Sets one option, as if it were in argv, to a default of the mode's own. */
void options_set_default(const struct mode *, int key, const char *value,
    options_set *, void *settings);

/* Prints the usage, the options and the exit statuses on standard output. */
void options_help(const struct mode *);

#endif
