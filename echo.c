/*
 * echo: finds the mode, by the name it was called by or by its first word.
 * What a mode does is in modes/; blocking.c there is the place to start.
 */
#include <ctype.h>
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "modes/mode.h"

static const struct mode *const modes[] = {
	&mode_serve, &mode_send, &mode_ports, &mode_check,
	&mode_bench
};

enum { MODES = sizeof(modes) / sizeof(*modes) };

static void
list_modes(FILE *to)
{
	fputs("usage: echo MODE [OPTION]... [OPERAND]...\n"
	    "\n"
	    "modes:\n", to);
	for (int i = 0; i < MODES; i++)
		fprintf(to, "  %-7s %-37s (or %s)\n", modes[i]->name,
		    modes[i]->summary, modes[i]->link);
	fputs("\n"
	    "echo help MODE or echo MODE --help tells more, echo --version "
	    "the version.\n", to);
}

static int
least(int a, int b)
{
	return a < b ? a : b;
}

/* How many letters must be put in, left out or changed (Levenshtein). */
static int
distance(const char *a, const char *b)
{
	if (*a == '\0' || *b == '\0')
		return (int)(strlen(a) + strlen(b));
	if (tolower((unsigned char)*a) == tolower((unsigned char)*b))
		return distance(a + 1, b + 1);
	return 1 + least(distance(a + 1, b + 1),
	    least(distance(a + 1, b), distance(a, b + 1)));
}

static const struct mode *
nearest(const char *word)
{
	const struct mode *best = NULL;
	int least_distance = 3;		/* further off is no typing mistake */

	if (strlen(word) > 8)		/* distance() is exponential */
		return NULL;
	for (int i = 0; i < MODES; i++) {
		int d = distance(word, modes[i]->name);

		if (d < least_distance) {
			least_distance = d;
			best = modes[i];
		}
	}
	return best;
}

static const struct mode *
named(const char *word)
{
	for (int i = 0; i < MODES; i++)
		if (strcmp(word, modes[i]->name) == 0)
			return modes[i];
	return NULL;
}

static const struct mode *
linked(const char *name)
{
	for (int i = 0; i < MODES; i++)
		if (strcmp(name, modes[i]->link) == 0)
			return modes[i];
	return NULL;
}

/* The word names no mode: what there is, and what may have been meant. */
static int
unknown(const char *word)
{
	const struct mode *near = nearest(word);

	if (near != NULL)
		warnx("unknown mode %s (did you mean %s?)", args_shown(word),
		    near->name);
	else
		warnx("unknown mode %s", args_shown(word));
	list_modes(stderr);
	return STATUS_USAGE;
}

static int
help(const char *word)
{
	if (word == NULL) {
		list_modes(stdout);
		args_flush();
	} else if (named(word) == NULL)
		return unknown(word);
	else
		options_help(named(word));
	return STATUS_OK;
}

static bool
is_one_of(const char *word, const char *a, const char *b, const char *c)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0 ||
	    strcmp(word, c) == 0;
}

/* By first word: argv[0] is the program's name, argv[1] the mode. */
static int
dispatch(int argc, char **argv)
{
	static char name[64];
	const struct mode *mode;

	args_program(argv[0]);
	if (argc < 2) {
		warnx("no mode");
		list_modes(stderr);
		return STATUS_USAGE;
	}
	if (is_one_of(argv[1], "help", "-h", "--help"))
		return help(argv[2]);
	if (is_one_of(argv[1], "version", "-V", "--version")) {
		args_version();
		return STATUS_OK;
	}
	if ((mode = named(argv[1])) == NULL)
		return unknown(argv[1]);
	snprintf(name, sizeof(name), "%s %s", argv[0], mode->name);
	args_program(name);
	return mode->run(argc - 1, argv + 1);
}

/*
 * A standard descriptor that is closed is taken by one that cannot be read
 * or written, or the first socket would be mistaken for it.
 */
static void
take_standard_descriptors(void)
{
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH) < 0)
			_exit(STATUS_LOCAL);
}

static char *
base_name(char *path)
{
	char *slash = strrchr(path, '/');

	return slash == NULL ? path : slash + 1;
}

int
main(int argc, char **argv)
{
	static char name[] = "echo";
	static char *nothing[] = { name, NULL };
	const struct mode *mode;

	take_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);	/* a broken stdout is an error */
	if (argc < 1)
		argv = nothing;
	argv[0] = base_name(argv[0]);
	if (*argv[0] == '\0')
		argv[0] = name;
	if ((mode = linked(argv[0])) == NULL)
		return dispatch(argc, argv);
	args_program(argv[0]);
	return mode->run(argc, argv);
}
