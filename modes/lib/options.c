#include "options.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "args.h"

enum {
	MAX_OPTIONS = 64,	/* of one mode */
	MAX_GROUPS = 8,		/* of options that exclude each other */
	MAX_DEFAULT = 64,	/* bytes of a default */
	TEXT_COLUMN = 27,	/* where --help describes an option */
	LINE_WIDTH = 79
};

static bool
is_last_row(const struct option_row *row)
{
	return row->name == NULL && row->text == NULL;
}

/* The row with that key, or NULL. */
static const struct option_row *
find_row(const struct mode *mode, int key)
{
	const struct option_row *row = mode->options;

	for (; !is_last_row(row); row++)
		if (row->name != NULL && row->key == key)
			return row;
	return NULL;
}

/*
 * The tables of getopt_long(3): letters, and names with the index of the row.
 */
struct getopt_tables {
	char letters[2 + 2 * MAX_OPTIONS];
	struct option names[MAX_OPTIONS + 1];
};

static void
build_getopt_tables(struct getopt_tables *tables, const struct mode *mode)
{
	const struct option_row *row = mode->options;
	struct option *name = tables->names;
	char *letter = tables->letters;

	*letter++ = ':';	/* a missing value is reported as ':' */
	for (; !is_last_row(row) && name < tables->names + MAX_OPTIONS; row++) {
		if (row->name == NULL)
			continue;
		*name++ = (struct option){ row->name, row->argument == NULL ?
		    no_argument : required_argument, NULL,
		    OPTIONS_LONG + (int)(row - mode->options) };
		if (row->key >= OPTIONS_LONG)
			continue;
		*letter++ = (char)row->key;
		if (row->argument != NULL)
			*letter++ = ':';
	}
	*letter = '\0';
	*name = (struct option){ NULL, 0, NULL, 0 };
}

static void bad_option(char **argv, int problem) __attribute__((noreturn));

static void
bad_option(char **argv, int problem)
{
	const char letter[] = { '-', (char)optopt, '\0' };
	const char *word = args_shown(argv[optind - 1]);

	if (problem == ':')
		args_usage("option %s needs a value", word);
	if (optopt == 0)
		args_usage("unknown or ambiguous option %s", word);
	if (optopt >= OPTIONS_LONG)
		args_usage("option %s takes no value", word);
	args_usage("unknown option %s", args_shown(letter));
}

/* The row of the next option in argv, or NULL at the end. */
static const struct option_row *
next_option(int argc, char **argv, const struct mode *mode,
    const struct getopt_tables *tables)
{
	int found;

	opterr = 0;	/* this file prints messages, with err(3)'s name */
	found = getopt_long(argc, argv, tables->letters, tables->names, NULL);
	if (found == -1)
		return NULL;
	if (found == ':' || found == '?')
		bad_option(argv, found);
	return found >= OPTIONS_LONG ?
	    mode->options + (found - OPTIONS_LONG) : find_row(mode, found);
}

/* given contains, for each group, the option that was given so far. */
static void
check_group(const struct option_row *row, const struct option_row **given)
{
	const struct option_row **before = &given[row->group];

	if (row->group == 0)
		return;
	if (*before != NULL && *before != row)
		args_usage("--%s and --%s exclude each other",
		    (*before)->name, row->name);
	*before = row;
}

void
options_set_default(const struct mode *mode, int key, const char *value,
    options_set *set, void *settings)
{
	char copy[MAX_DEFAULT];

	snprintf(copy, sizeof(copy), "%s", value);
	set(settings, find_row(mode, key), copy);
}

void
options_parse(int argc, char **argv, const struct mode *mode,
    options_set *set, void *settings)
{
	const struct option_row *given[MAX_GROUPS] = { NULL };
	const struct option_row *row = mode->options;
	struct getopt_tables tables = { .letters = "" };

	for (; !is_last_row(row); row++)
		if (row->initial != NULL)
			options_set_default(mode, row->key, row->initial, set,
			    settings);
	build_getopt_tables(&tables, mode);
	while ((row = next_option(argc, argv, mode, &tables)) != NULL) {
		check_group(row, given);
		if (row->key == 'h') {
			options_help(mode);
			exit(STATUS_OK);
		}
		if (row->key == 'V') {
			args_print_version();
			exit(STATUS_OK);
		}
		set(settings, row, optarg);
	}
}

/* The length of the first word; text in parentheses is one word. */
static int
word_length(const char *text)
{
	size_t n = strcspn(text, " ");

	if (*text == '(' && strchr(text, ')') != NULL) {
		n = strcspn(text, ")");
		n += strcspn(text + n, " ");
	}
	return (int)n;
}

/*
 * Prints the words of text from that column on. A word that does not fit goes
 * to the next line, which begins with indent spaces.
 */
static void
print_wrapped(const char *text, int column, int indent)
{
	bool is_first = true;

	while (*text != '\0') {
		int n = word_length(text);

		if (is_first || column + 1 + n <= LINE_WIDTH)
			column += printf("%s%.*s", is_first ? "" : " ", n,
			    text);
		else
			column = printf("\n%*s%.*s", indent, "", n, text) - 1;
		is_first = false;
		text += n;
		text += strspn(text, " ");
	}
	putchar('\n');
}

/* " (default 5s)", or nothing. */
static const char *
default_text(const struct mode *mode, const struct option_row *row)
{
	static char text[MAX_DEFAULT + 16];
	char buffer[MAX_DEFAULT];
	const char *initial = row->initial;

	if (initial == NULL && mode->default_text != NULL)
		initial = mode->default_text(row, buffer, sizeof(buffer));
	if (initial == NULL)
		return "";
	snprintf(text, sizeof(text), " (default%s%s)",
	    *initial == '\0' ? "" : " ", initial);
	return text;
}

static void
print_option(const struct mode *mode, const struct option_row *row)
{
	char head[64], text[1024];
	int n;

	n = snprintf(head, sizeof(head), "--%s%s%s", row->name,
	    row->argument == NULL ? "" : "=",
	    row->argument == NULL ? "" : row->argument);
	if (row->key < OPTIONS_LONG)
		n += printf("  -%c, ", row->key);
	else
		n += printf("      ");
	printf("%s%*s", head, n < TEXT_COLUMN ? TEXT_COLUMN - n : 1, "");
	snprintf(text, sizeof(text), "%s%s", row->text,
	    default_text(mode, row));
	print_wrapped(text, TEXT_COLUMN, TEXT_COLUMN);
}

static bool
is_shown(const struct mode *mode, const struct option_row *row)
{
	return mode->has_option == NULL || mode->has_option(row);
}

/* "[--select | --epoll]": the options of group 1, at the start of the usage. */
static void
append_alternatives(char *line, size_t size, const struct mode *mode)
{
	const struct option_row *row = mode->options;
	const char *before = "[";
	size_t n = strlen(line);

	for (; !is_last_row(row) && n < size; row++) {
		if (row->group != 1 || !is_shown(mode, row))
			continue;
		n += (size_t)snprintf(line + n, size - n, "%s--%s", before,
		    row->name);
		before = " | ";
	}
	if (*before == ' ' && n < size)
		snprintf(line + n, size - n, "] ");
}

static void
print_usage(const struct mode *mode)
{
	char line[512];
	int indent;

	snprintf(line, sizeof(line), "usage: echo %s ", mode->name);
	indent = (int)strlen(line);
	append_alternatives(line, sizeof(line), mode);
	strncat(line, mode->synopsis, sizeof(line) - strlen(line) - 1);
	print_wrapped(line, 0, indent);
}

void
options_help(const struct mode *mode)
{
	const struct option_row *row = mode->options;

	print_usage(mode);
	for (; !is_last_row(row); row++)
		if (row->name == NULL)
			printf("%s\n", row->text);
		else if (is_shown(mode, row))
			print_option(mode, row);
	args_print_statuses();
	args_flush();
}
