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

struct process {
	pid_t pid, parent;
	int64_t waited;		/* ns of descendants that were waited for */
	bool counts;		/* is the process asked for, or below it */
};

struct table {
	struct process *rows;
	size_t n, room;
};

static FILE *
open_file(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%ld/%s", (long)pid, name);
	return fopen(path, "re");
}

/*
 * The number that is the n-th word of a line, from 0; 0 if there is none. (For
 * sscanf(3) a static program would carry 12 KB.)
 */
static int64_t
word(const char *line, int n)
{
	static const char blanks[] = " \t\n";

	for (; n > 0; n--) {
		line += strspn(line, blanks);
		line += strcspn(line, blanks);
	}
	return strtoll(line, NULL, 10);
}

/* From /proc/PID/stat, as proc_pid_stat(5) has it; false if it is gone. */
static bool
read_process(struct process *p, pid_t pid)
{
	char line[1024], *rest;
	int64_t ticks;
	FILE *f = open_file(pid, "stat");

	if (f == NULL)
		return false;
	rest = fgets(line, sizeof(line), f);
	fclose(f);
	/* The name in front may itself have blanks and parentheses. */
	if (rest == NULL || (rest = strrchr(line, ')')) == NULL)
		return false;
	ticks = word(rest + 1, 13) + word(rest + 1, 14);
	*p = (struct process){ pid, (pid_t)word(rest + 1, 1), ticks *
	    (INT64_C(1000000000) / sysconf(_SC_CLK_TCK)), false };
	return true;
}

static bool
add(struct table *t, pid_t pid)
{
	if (t->n == t->room) {
		size_t room = t->room * 2 + 256;
		struct process *rows = reallocarray(t->rows, room,
		    sizeof(*rows));

		if (rows == NULL)
			return false;
		t->rows = rows;
		t->room = room;
	}
	t->n += read_process(&t->rows[t->n], pid);
	return true;
}

static int
compare(const void *a, const void *b)
{
	const struct process *x = a, *y = b;

	return x->pid < y->pid ? -1 : x->pid > y->pid;
}

static struct process *
find(const struct table *t, pid_t pid)
{
	struct process wanted = { .pid = pid };

	return t->n == 0 ? NULL :
	    bsearch(&wanted, t->rows, t->n, sizeof(*t->rows), compare);
}

/* All processes there are, in order of their numbers: 0 or -errno. */
static int
read_table(struct table *t)
{
	struct dirent *entry;
	DIR *dir = opendir("/proc");
	bool room = true;

	if (dir == NULL)
		return -errno;
	while (room && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char)entry->d_name[0]))
			room = add(t, (pid_t)strtol(entry->d_name, NULL, 10));
	closedir(dir);
	if (t->n > 0)
		qsort(t->rows, t->n, sizeof(*t->rows), compare);
	return room ? 0 : -ENOMEM;
}

/* Marks the process and all below it. A child may have the lower number. */
static int
mark(struct table *t, pid_t pid)
{
	struct process *top = find(t, pid);
	bool more = true;

	if (top == NULL)
		return -ESRCH;
	top->counts = true;
	while (more) {
		more = false;
		for (size_t i = 0; i < t->n; i++) {
			struct process *p = &t->rows[i], *parent;

			if (p->counts || (parent = find(t, p->parent)) == NULL)
				continue;
			p->counts = parent->counts;
			more = more || p->counts;
		}
	}
	return 0;
}

/* The sum of what each process of the tree costs, or -errno. */
static int64_t
sum(pid_t pid, int64_t (*cost)(const struct process *))
{
	struct table t = { NULL, 0, 0 };
	int64_t total = read_table(&t);

	if (total == 0)
		total = mark(&t, pid);
	if (total == 0)
		for (size_t i = 0; i < t.n; i++)
			if (t.rows[i].counts)
				total += cost(&t.rows[i]);
	free(t.rows);
	return total;
}

/*
 * Its processor clock counts in ns and has the time of threads that have
 * ended, which the sum over those in /proc/PID/task has not.
 */
static int64_t
time_of(const struct process *p)
{
	struct timespec time;
	clockid_t clock;

	if (clock_getcpuclockid(p->pid, &clock) != 0 ||
	    clock_gettime(clock, &time) != 0)
		return p->waited;	/* it has just ended */
	return p->waited + time.tv_sec * INT64_C(1000000000) + time.tv_nsec;
}

int64_t
process_time(pid_t pid)
{
	return sum(pid, time_of);
}

static int64_t
resident(pid_t pid)
{
	char line[256];
	int64_t pages = 0;
	FILE *f = open_file(pid, "statm");

	if (f == NULL)
		return 0;
	if (fgets(line, sizeof(line), f) != NULL)
		pages = word(line, 1);
	fclose(f);
	return pages * sysconf(_SC_PAGESIZE);
}

static int64_t
memory_of(const struct process *p)
{
	char line[256];
	int64_t kb = -1;
	FILE *f = open_file(p->pid, "smaps_rollup");

	if (f == NULL)
		return resident(p->pid);
	while (kb < 0 && fgets(line, sizeof(line), f) != NULL)
		if (strncmp(line, "Pss:", 4) == 0)
			kb = word(line, 1);
	fclose(f);
	return kb < 0 ? resident(p->pid) : kb * 1024;
}

int64_t
process_memory(pid_t pid)
{
	return sum(pid, memory_of);
}
