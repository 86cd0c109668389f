/*
 * Mode `ports`: the services that the system's database (services(5)) assigns
 * to a range of ports, from one pass over it. The database is what
 * getservent(3) knows; musl's knows nothing, so next comes the file itself,
 * and where there is none, as in a bare container, a list of our own.
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "mode.h"
#include "services.h"
#include "modes/lib/text.h"

#define SERVICES_FILE "/etc/services"

enum { OPTION_TCP = OPTIONS_LONG, OPTION_UDP, MOST_ALIASES = 63 };

static const struct option_row ports_options[] = {
	OPTIONS_TEXT("\n"
	    "Lists the services that the system's database assigns to the "
	    "ports from LOW\n"
	    "to HIGH (default 1-1023; LOW alone: that port), with their other "
	    "names.\n"),
	{ OPTION_TCP, "tcp", NULL, NULL, "list only the services of TCP",
	    1, "tcp" },
	{ OPTION_UDP, "udp", NULL, NULL, "list only the services of UDP",
	    1, "udp" },
	OPTIONS_COMMON,
	OPTIONS_END
};

struct entry {
	uint16_t port;
	size_t order;		/* in the database: its first name counts */
	char *protocol;
	char *names;		/* the official one, then aliases */
};

/* What is asked for, and what was found of it. */
struct list {
	uint16_t low, high;
	const char *protocol;	/* NULL: any */
	size_t seen;		/* in the database, asked for or not */
	struct entry *entries;
	size_t n, room;
};

static void
no_memory(const void *p)
{
	if (p == NULL)
		err(STATUS_LOCAL, "no memory for the list of services");
}

static char *
join_names(const struct servent *service)
{
	char *names = text_join(service->s_name, service->s_aliases);

	no_memory(names);
	return names;
}

static void
add(struct list *list, const struct servent *service)
{
	struct entry *e;

	if (list->n == list->room) {
		list->room = list->room * 2 + 256;
		list->entries = reallocarray(list->entries, list->room,
		    sizeof(*list->entries));
		no_memory(list->entries);
	}
	e = &list->entries[list->n++];
	e->port = ntohs((uint16_t)service->s_port);
	e->order = list->seen;
	no_memory(e->protocol = strdup(service->s_proto));
	e->names = join_names(service);
}

/* Adds it if it is asked for. */
static void
see(struct list *list, const struct servent *service)
{
	uint16_t port = ntohs((uint16_t)service->s_port);

	if (port >= list->low && port <= list->high && (list->protocol ==
	    NULL || strcmp(service->s_proto, list->protocol) == 0))
		add(list, service);
	list->seen++;
}

static int
compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int by_protocol = strcmp(x->protocol, y->protocol);

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (by_protocol != 0)
		return by_protocol;
	return x->order < y->order ? -1 : x->order > y->order;
}

/*
 * Sees what a line of services(5) assigns: a name, PORT/PROTOCOL, aliases, and
 * perhaps a comment. Cuts it up.
 */
static void
see_line(struct list *list, char *line)
{
	static const char blanks[] = " \t\r\n";
	char *aliases[MOST_ALIASES + 1], *port, *rest;
	struct servent service = { .s_aliases = aliases };
	size_t n = 0;

	line[strcspn(line, "#")] = '\0';
	service.s_name = strtok_r(line, blanks, &rest);
	port = service.s_name == NULL ? NULL : strtok_r(NULL, blanks, &rest);
	if (port == NULL || (service.s_proto = strchr(port, '/')) == NULL)
		return;
	*service.s_proto++ = '\0';
	service.s_port = htons((uint16_t)strtoul(port, NULL, 10));
	do
		aliases[n] = strtok_r(NULL, blanks, &rest);
	while (aliases[n] != NULL && ++n < MOST_ALIASES);
	aliases[n] = NULL;
	see(list, &service);
}

static void
see_system(struct list *list)
{
	const struct servent *service;

	setservent(1);
	while ((service = getservent()) != NULL)
		see(list, service);
	endservent();
}

/* False, with errno set: there is none. */
static bool
see_file(struct list *list)
{
	FILE *f = fopen(SERVICES_FILE, "re");
	size_t room = 0;
	char *line = NULL;

	if (f == NULL)
		return false;
	while (getline(&line, &room, f) >= 0)
		see_line(list, line);
	if (!feof(f))
		err(STATUS_LOCAL, "cannot read " SERVICES_FILE);
	free(line);
	fclose(f);
	return true;
}

static void
see_own(struct list *list)
{
	char line[80];
	const char *next = services;

	warnx("%s: %s (listing " SERVICES_ORIGIN " instead; on Debian the "
	    "file comes with the package netbase)", SERVICES_FILE,
	    strerror(errno));
	for (; *next != '\0'; next += strlen(next) + 1) {
		snprintf(line, sizeof(line), "%s", next);
		see_line(list, line);
	}
}

/* Fills in the list, in order. */
static void
find(struct list *list)
{
	see_system(list);
	if (list->seen == 0 && !see_file(list))
		see_own(list);
	if (list->n > 0)
		qsort(list->entries, list->n, sizeof(*list->entries), compare);
}

static int
port_column(char *out, size_t size, const struct entry *e)
{
	return snprintf(out, size, "%u/%s", e->port, e->protocol);
}

static void
print(const struct list *list)
{
	char column[64];
	int width = 0;

	for (size_t i = 0; i < list->n; i++) {
		int n = port_column(column, sizeof(column), &list->entries[i]);

		width = n > width ? n : width;
	}
	for (size_t i = 0; i < list->n; i++) {
		port_column(column, sizeof(column), &list->entries[i]);
		printf("%-*s  %s\n", width, column, list->entries[i].names);
	}
	args_flush();
}

static void
release(struct list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->entries[i].protocol);
		free(list->entries[i].names);
	}
	free(list->entries);
}

static uint16_t
bound(const char *what, const char *value)
{
	return (uint16_t)args_number(what, value, 0, UINT16_MAX);
}

/* LOW, LOW HIGH or LOW-HIGH; nothing leaves the bounds as they are. */
static void
read_range(int n, char **operands, uint16_t *low, uint16_t *high)
{
	char *dash;

	if (n == 0)
		return;
	/* A dash in front is no range but a number below 0. */
	dash = operands[0][0] == '\0' ? NULL : strchr(operands[0] + 1, '-');
	if (n > 1 && dash != NULL)
		args_usage("%s is a range by itself: nothing may follow",
		    args_shown(operands[0]));
	if (n > 2)
		args_usage("a range is LOW, LOW HIGH or LOW-HIGH, not %d "
		    "words", n);
	if (dash != NULL)
		*dash = '\0';
	*low = bound("LOW", operands[0]);
	*high = dash != NULL ? bound("HIGH", dash + 1) :
	    n == 2 ? bound("HIGH", operands[1]) : *low;
	if (*low > *high)
		args_usage("LOW %u is above HIGH %u", *low, *high);
}

static void
ports_set(void *settings, const struct option_row *row, char *value)
{
	struct list *list = settings;

	(void)value;
	list->protocol = row->value;
}

static int
ports_run(int argc, char **argv)
{
	struct list list = { .low = 1, .high = 1023 };

	options_parse(argc, argv, &mode_ports, ports_set, &list);
	read_range(argc - optind, argv + optind, &list.low, &list.high);
	find(&list);
	if (list.n == 0) {
		warnx("no service is assigned to the ports %u to %u%s%s",
		    list.low, list.high, list.protocol == NULL ? "" : " of ",
		    list.protocol == NULL ? "" : list.protocol);
		return STATUS_NO;
	}
	print(&list);
	release(&list);
	return STATUS_OK;
}

const struct mode mode_ports = {
	.name = "ports",
	.link = "echo_ports",
	.summary = "list the services of a range of ports",
	.synopsis = "[LOW [HIGH] | LOW-HIGH]",
	.options = ports_options,
	.run = ports_run
};
