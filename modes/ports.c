/*
 * Mode `ports`: lists the services that the system's database (services(5))
 * assigns to a range of ports.
 *
 * One pass over getservent(3) reads the database. musl's getservent() returns
 * nothing; then the file /etc/services is read. If there is no such file, as in
 * an empty container, a list that is compiled in is used.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mode.h"
#include "modes/lib/args.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"
#include "services.h"

#define SERVICES_FILE "/etc/services"

enum { PORTS_TCP = OPTIONS_LONG, PORTS_UDP };

enum { ALIASES_MAX = 63 };	/* of one service; more are ignored */

static const struct option_row ports_options[] = {
	OPTIONS_TEXT("\n"
	    "Lists the services that the system's database assigns to the "
	    "ports LOW to HIGH\n"
	    "(default 1 to 1023; LOW alone: that port), with their "
	    "aliases.\n"),
	{ PORTS_TCP, "tcp", NULL, NULL, "list only the services of TCP",
	    1, "tcp" },
	{ PORTS_UDP, "udp", NULL, NULL, "list only the services of UDP",
	    1, "udp" },
	OPTIONS_COMMON,
	OPTIONS_END
};

struct entry {
	uint16_t port;
	size_t index;		/* in the database */
	char *protocol;
	char *names;		/* the name, then its aliases */
};

/* What the command line asks for, and the entries found. */
struct list {
	uint16_t low, high;
	const char *protocol;	/* NULL: any */
	size_t seen;		/* entries in the database, listed or not */
	struct entry *entries;
	size_t n, room;
};

static void
ports_check_memory(const void *p)
{
	if (p == NULL)
		err(STATUS_LOCAL, "no memory for the list of services");
}

static void
ports_append(struct list *list, const struct servent *service)
{
	struct entry *e;

	if (list->n == list->room) {
		list->room = list->room * 2 + 256;
		list->entries = reallocarray(list->entries, list->room,
		    sizeof(*list->entries));
		ports_check_memory(list->entries);
	}
	e = &list->entries[list->n++];
	e->port = ntohs((uint16_t)service->s_port);
	e->index = list->seen;
	e->protocol = strdup(service->s_proto);
	ports_check_memory(e->protocol);
	e->names = text_join(service->s_name, service->s_aliases);
	ports_check_memory(e->names);
}

/* Counts an entry of the database, and keeps it if it was asked for. */
static void
ports_add(struct list *list, const struct servent *service)
{
	uint16_t port = ntohs((uint16_t)service->s_port);

	if (port >= list->low && port <= list->high && (list->protocol ==
	    NULL || strcmp(service->s_proto, list->protocol) == 0))
		ports_append(list, service);
	list->seen++;
}

/*
 * Orders by port, protocol and position in the database: getservbyport(3)
 * returns the first entry of a port.
 */
static int
ports_compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int by_protocol = strcmp(x->protocol, y->protocol);

	if (x->port != y->port)
		return x->port < y->port ? -1 : 1;
	if (by_protocol != 0)
		return by_protocol;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Splits "22/tcp". Returns false if the port is not a number up to 65535. */
static bool
ports_split(char *text, struct servent *service)
{
	unsigned long port;
	char *slash;

	if (!isdigit((unsigned char)*text))	/* strtoul(3) allows a sign */
		return false;
	port = strtoul(text, &slash, 10);
	if (port > UINT16_MAX || slash[0] != '/' || slash[1] == '\0')
		return false;
	service->s_port = htons((uint16_t)port);
	service->s_proto = slash + 1;
	return true;
}

/*
 * Reads a line as services(5) defines it: a name, PORT/PROTOCOL, aliases and a
 * comment. Ignores a line without a valid port. Modifies line.
 */
static void
ports_read_line(struct list *list, char *line)
{
	static const char blanks[] = " \t\r\n";
	char *aliases[ALIASES_MAX + 1], *port, *rest;
	struct servent service = { .s_aliases = aliases };
	size_t n = 0;

	line[strcspn(line, "#")] = '\0';
	service.s_name = strtok_r(line, blanks, &rest);
	port = service.s_name == NULL ? NULL : strtok_r(NULL, blanks, &rest);
	if (port == NULL || !ports_split(port, &service))
		return;
	do
		aliases[n] = strtok_r(NULL, blanks, &rest);
	while (aliases[n] != NULL && ++n < ALIASES_MAX);
	aliases[n] = NULL;
	ports_add(list, &service);
}

static void
ports_read_system(struct list *list)
{
	const struct servent *service;

	setservent(1);
	while ((service = getservent()) != NULL)
		ports_add(list, service);
	endservent();
}

/* Returns false, with errno set, if the file cannot be opened. */
static bool
ports_read_file(struct list *list)
{
	FILE *f = fopen(SERVICES_FILE, "re");
	size_t room = 0;
	char *line = NULL;

	if (f == NULL)
		return false;
	while (getline(&line, &room, f) >= 0)
		ports_read_line(list, line);
	if (!feof(f))
		err(STATUS_LOCAL, "cannot read " SERVICES_FILE);
	free(line);
	fclose(f);
	return true;
}

static void
ports_read_builtin(struct list *list)
{
	char line[80];
	const char *next = services;

	warnx("%s: %s (listing " SERVICES_ORIGIN " instead; on Debian the "
	    "package netbase has the file)", SERVICES_FILE, strerror(errno));
	for (; *next != '\0'; next += strlen(next) + 1) {
		snprintf(line, sizeof(line), "%s", next);
		ports_read_line(list, line);
	}
}

/* Fills the list and sorts it. */
static void
ports_read(struct list *list)
{
	ports_read_system(list);
	if (list->seen == 0 && !ports_read_file(list))
		ports_read_builtin(list);
	if (list->n > 0)
		qsort(list->entries, list->n, sizeof(*list->entries),
		    ports_compare);
}

/* Formats "22/tcp" and returns its length. */
static int
ports_format(char *out, size_t size, const struct entry *e)
{
	return snprintf(out, size, "%u/%s", e->port, e->protocol);
}

static void
ports_print(const struct list *list)
{
	char column[64];
	int width = 0;

	for (size_t i = 0; i < list->n; i++) {
		int n = ports_format(column, sizeof(column),
		    &list->entries[i]);

		width = n > width ? n : width;
	}
	for (size_t i = 0; i < list->n; i++) {
		ports_format(column, sizeof(column), &list->entries[i]);
		printf("%-*s  %s\n", width, column, list->entries[i].names);
	}
	args_flush();
}

static void
ports_free(struct list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		free(list->entries[i].protocol);
		free(list->entries[i].names);
	}
	free(list->entries);
}

static uint16_t
ports_bound(const char *what, const char *value)
{
	return (uint16_t)args_number(what, value, 0, UINT16_MAX);
}

/*
 * Reads LOW, LOW HIGH or LOW-HIGH. Without operands the bounds keep their
 * values.
 */
static void
ports_read_range(int n, char **operands, uint16_t *low, uint16_t *high)
{
	char *dash;

	if (n == 0)
		return;
	/* "-5" is a number below 0, not a range. */
	dash = operands[0][0] == '\0' ? NULL : strchr(operands[0] + 1, '-');
	if (n > 1 && dash != NULL)
		args_usage("%s is a complete range: nothing may follow",
		    args_shown(operands[0]));
	if (n > 2)
		args_usage("a range is LOW, LOW HIGH or LOW-HIGH, not %d "
		    "words", n);
	if (dash != NULL)
		*dash = '\0';
	*low = ports_bound("LOW", operands[0]);
	*high = dash != NULL ? ports_bound("HIGH", dash + 1) :
	    n == 2 ? ports_bound("HIGH", operands[1]) : *low;
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
	ports_read_range(argc - optind, argv + optind, &list.low, &list.high);
	ports_read(&list);
	if (list.n == 0) {
		warnx("no service is assigned to the ports %u to %u%s%s",
		    list.low, list.high, list.protocol == NULL ? "" : " of ",
		    list.protocol == NULL ? "" : list.protocol);
		return STATUS_NO;
	}
	ports_print(&list);
	ports_free(&list);
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
