/*
 * A shell passes the path of a program, or a name that it has found in PATH.
 */
#include "program.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *started_by = "echo";

void
program_remember(const char *word)
{
	started_by = word;
}

/* Looks for the name in a folder of PATH. Returns out or NULL. */
static const char *
find_in(const char *folder, size_t n, char out[PATH_MAX])
{
	int size = snprintf(out, PATH_MAX, "%.*s/%s", (int)n,
	    n == 0 ? "." : folder, started_by);

	return size > 0 && size < PATH_MAX && access(out, X_OK) == 0 ? out :
	    NULL;
}

const char *
program_path(void)
{
	static char path[PATH_MAX];
	const char *folders = getenv("PATH");

	if (strchr(started_by, '/') != NULL)
		return started_by;
	while (folders != NULL) {
		size_t n = strcspn(folders, ":");

		if (find_in(folders, n, path) != NULL)
			return path;
		folders = folders[n] == ':' ? folders + n + 1 : NULL;
	}
	return started_by;
}

void
program_set_name(char *name)
{
	setprogname(name);
}

const char *
program_name(void)
{
	return getprogname();
}
