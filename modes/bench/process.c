#include "process.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const bool process_has_figures = true;

struct process {
	pid_t pid, parent;
	int64_t waited;		/* ns used by descendants that were waited for */
	bool selected;		/* the given process or a descendant of it */
};

struct process_table {
	struct process *rows;
	size_t n, allocated;
};

static FILE *
process_open(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	return fopen(path, "re");
}

/*
 * The number that is the n-th word of a line, counted from 0; 0 if there is
 * none. (sscanf(3) would add 12 KB to a static program.)
 */
static int64_t
process_word(const char *line, int n)
{
	static const char blanks[] = " \t\n";

	for (; n > 0; n--) {
		line += strspn(line, blanks);
		line += strcspn(line, blanks);
	}
	return strtoll(line, NULL, 10);
}

/*
 * Reads /proc/PID/stat, see proc_pid_stat(5); false if the process has ended.
 * The fields are counted from the last ')', because the name of the program,
 * which is in parentheses, may contain blanks and parentheses.
 */
static bool
process_read(struct process *p, pid_t pid)
{
	char line[1024], *rest;
	int64_t ticks;
	FILE *f = process_open(pid, "stat");

	if (f == NULL)
		return false;
	rest = fgets(line, sizeof(line), f);
	fclose(f);
	if (rest == NULL || (rest = strrchr(line, ')')) == NULL)
		return false;
	ticks = process_word(rest + 1, 13) + process_word(rest + 1, 14);
	*p = (struct process){ pid, (pid_t)process_word(rest + 1, 1), ticks *
	    (INT64_C(1000000000) / sysconf(_SC_CLK_TCK)), false };
	return true;
}

/* Adds a process, unless it has ended; false if there is no memory. */
static bool
process_add(struct process_table *t, pid_t pid)
{
	if (t->n == t->allocated) {
		size_t n = t->allocated * 2 + 256;
		struct process *rows = reallocarray(t->rows, n,
		    sizeof(*rows));

		if (rows == NULL)
			return false;
		t->rows = rows;
		t->allocated = n;
	}
	t->n += process_read(&t->rows[t->n], pid);
	return true;
}

static int
process_compare(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct process *
process_find(const struct process_table *t, pid_t pid)
{
	struct process key = { .pid = pid };

	return t->n == 0 ? NULL : bsearch(&key, t->rows, t->n,
	    sizeof(*t->rows), process_compare);
}

/* Reads all processes of the system, sorted by process id; 0 or -errno. */
static int
process_read_all(struct process_table *t)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	bool good = true;

	if (dir == NULL)
		return -errno;
	while (good && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			good = process_add(t,
			    (pid_t)strtol(entry->d_name, NULL, 10));
	closedir(dir);
	if (t->n > 0)
		qsort(t->rows, t->n, sizeof(*t->rows), process_compare);
	return good ? 0 : -ENOMEM;
}

/* Selects the children of selected processes; true if there were any. */
static bool
process_select_children(struct process_table *t)
{
	bool found = false;

	for (size_t i = 0; i < t->n; i++) {
		struct process *p = &t->rows[i], *parent;

		if (p->selected || (parent = process_find(t, p->parent)) == NULL)
			continue;
		p->selected = parent->selected;
		found = found || p->selected;
	}
	return found;
}

/*
 * Selects a process and its descendants; 0 or -ESRCH. One pass over the table
 * does not find all, because a child may have a lower id than its parent.
 */
static int
process_select(struct process_table *t, pid_t pid)
{
	struct process *root = process_find(t, pid);
	bool found = true;

	if (root == NULL)
		return -ESRCH;
	root->selected = true;
	while (found)
		found = process_select_children(t);
	return 0;
}

/* The sum of a value over a process and its descendants, or -errno. */
static int64_t
process_sum(pid_t pid, int64_t (*value)(const struct process *))
{
	struct process_table t = { NULL, 0, 0 };
	int64_t total = process_read_all(&t);

	if (total == 0)
		total = process_select(&t, pid);
	if (total == 0)
		for (size_t i = 0; i < t.n; i++)
			if (t.rows[i].selected)
				total += value(&t.rows[i]);
	free(t.rows);
	return total;
}

/*
 * The processor clock of a process counts in ns, and it includes threads that
 * have ended, which are not in /proc/PID/task.
 */
static int64_t
process_time_of(const struct process *p)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(p->pid, &clock) != 0 ||
	    clock_gettime(clock, &time) != 0)
		return p->waited;	/* the process has just ended */
	return p->waited + time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t
process_time(pid_t pid)
{
	return process_sum(pid, process_time_of);
}

static int64_t
process_resident_memory(pid_t pid)
{
	char line[256];
	int64_t pages = 0;
	FILE *f = process_open(pid, "statm");

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL)
		pages = process_word(line, 1);
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static int64_t
process_memory_of(const struct process *p)
{
	char line[256];
	int64_t kb = -1;
	FILE *f = process_open(p->pid, "smaps_rollup");

	if (f == NULL)
		return process_resident_memory(p->pid);
	while (kb < 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "Pss:", 4) == 0)
			kb = process_word(line, 1);
	fclose(f);
	return kb < 0 ? process_resident_memory(p->pid) : kb * 1024;
}

int64_t
process_memory(pid_t pid)
{
	return process_sum(pid, process_memory_of);
}
