/*
 * echo: selects the mode by the name of the program or by its first argument,
 * and runs it. The modes are in modes/; modes/serve/blocking.c is a good file
 * to read first.
 */
#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "modes/lib/program.h"
#include "modes/mode.h"

static const struct mode *const modes[] = {
	&mode_serve, &mode_send, &mode_ports, &mode_check,
	&mode_bench, &mode_faulty
};

enum { MODES = sizeof(modes) / sizeof(*modes) };

static void
print_modes(FILE *to)
{
	fputs("usage: echo MODE [OPTION]... [OPERAND]...\n"
	    "\n"
	    "modes:\n", to);
	for (int i = 0; i < MODES; i++)
		fprintf(to, "  %-7s %-37s (or %s)\n", modes[i]->name,
		    modes[i]->summary, modes[i]->link);
	fputs("\n"
	    "Run echo MODE --help for the options of MODE, echo --version for "
	    "the version.\n", to);
}

static const struct mode *
find_mode_by_name(const char *name)
{
	for (int i = 0; i < MODES; i++)
		if (strcmp(name, modes[i]->name) == 0)
			return modes[i];
	return NULL;
}

static const struct mode *
find_mode_by_link(const char *link)
{
	for (int i = 0; i < MODES; i++)
		if (strcmp(link, modes[i]->link) == 0)
			return modes[i];
	return NULL;
}

static int
report_unknown_mode(const char *word)
{
	const char *similar = NULL;

	for (int i = 0; i < MODES; i++)
		similar = args_nearer(word, similar, modes[i]->name);
	if (similar != NULL)
		warnx("unknown mode %s (did you mean %s?)", args_shown(word),
		    similar);
	else
		warnx("unknown mode %s", args_shown(word));
	print_modes(stderr);
	return STATUS_USAGE;
}

/* Runs `echo help` and, if name is not NULL, `echo help MODE`. */
static int
run_help(const char *name)
{
	if (name == NULL) {
		print_modes(stdout);
		args_flush();
	} else if (find_mode_by_name(name) == NULL)
		return report_unknown_mode(name);
	else
		options_help(find_mode_by_name(name));
	return STATUS_OK;
}

static bool
is_any_of(const char *word, const char *a, const char *b, const char *c)
{
	return strcmp(word, a) == 0 || strcmp(word, b) == 0 ||
	    strcmp(word, c) == 0;
}

/* Runs the mode that argv[1] names. */
static int
run_first_word(int argc, char **argv)
{
	static char name[64];
	const struct mode *mode;

	args_set_program(argv[0]);
	if (argc < 2) {
		warnx("no mode");
		print_modes(stderr);
		return STATUS_USAGE;
	}
	if (is_any_of(argv[1], "help", "-h", "--help"))
		return run_help(argv[2]);
	if (is_any_of(argv[1], "version", "-V", "--version")) {
		args_print_version();
		return STATUS_OK;
	}
	if ((mode = find_mode_by_name(argv[1])) == NULL)
		return report_unknown_mode(argv[1]);
	snprintf(name, sizeof(name), "%s %s", argv[0], mode->name);
	args_set_program(name);
	return mode->run(argc - 1, argv + 1);
}

/*
 * Opens each standard descriptor that is closed, so that the first socket does
 * not become descriptor 0, 1 or 2. The opened descriptors can be neither read
 * nor written.
 */
static void
fill_standard_descriptors(void)
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
	static char *no_arguments[] = { name, NULL };
	const struct mode *mode;

	fill_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);	/* write(2) then returns EPIPE */
	signal(SIGXFSZ, SIG_IGN);	/* write(2) then returns EFBIG */
	if (argc < 1)
		argv = no_arguments;
	program_remember(argv[0]);
	argv[0] = base_name(argv[0]);
	if (*argv[0] == '\0')
		argv[0] = name;
	if ((mode = find_mode_by_link(argv[0])) == NULL)
		return run_first_word(argc, argv);
	args_set_program(argv[0]);
	return mode->run(argc, argv);
}
