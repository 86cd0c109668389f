#include "descendants.h"

#include <sys/prctl.h>

#include <ctype.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_FOUND = 1024 };	/* processes that one signal is sent to */

/* The parent of a process (proc_pid_stat(5)); 0 if the process has ended. */
static pid_t
parent_of(const char *pid)
{
	char path[300], line[512], *rest;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	if ((f = fopen(path, "re")) == NULL)
		return 0;
	rest = fgets(line, sizeof(line), f);
	fclose(f);
	/* The name of the program may contain blanks and parentheses. */
	if (rest == NULL || (rest = strrchr(line, ')')) == NULL ||
	    strlen(rest) < 4)
		return 0;
	return (pid_t)strtol(rest + 4, NULL, 10);
}

/* Adds the children of a process to the n found, and returns how many. */
static int
find_children(pid_t parent, pid_t *found, int n)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");

	if (dir == NULL)
		return n;
	while (n < MAX_FOUND && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)*entry->d_name) &&
		    parent_of(entry->d_name) == parent)
			found[n++] = (pid_t)strtol(entry->d_name, NULL, 10);
	closedir(dir);
	return n;
}

void
descendants_adopt(void)
{
	prctl(PR_SET_CHILD_SUBREAPER, 1);
}

/* Without /proc, only the process group of the command is known. */
void
descendants_signal(pid_t command, int signal)
{
	pid_t found[MAX_FOUND];
	int n = find_children(getpid(), found, 0);

	for (int i = 0; i < n; i++)
		n = find_children(found[i], found, n);
	for (int i = 0; i < n; i++)
		kill(found[i], signal);
	if (n == 0)
		kill(-command, signal);
}

/* All processes of the command are children or descendants of this process. */
bool
descendants_remain(pid_t command)
{
	(void)command;
	return false;
}
