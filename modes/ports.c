/*
 * Mode `ports`: the services that the system's database (services(5)) assigns
 * to a range of ports, from one pass over it.
 */
#include <arpa/inet.h>
#include <err.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "args.h"
#include "mode.h"

enum { OPTION_TCP = 256, OPTION_UDP };

static const struct option longs[] = {
	{ "tcp", no_argument, NULL, OPTION_TCP },
	{ "udp", no_argument, NULL, OPTION_UDP },
	ARGS_COMMON
};

static const char usage[] =
"usage: echo ports [--tcp | --udp] [LOW [HIGH] | LOW-HIGH]\n"
"\n"
"Lists the services that the system's database assigns to the ports from LOW\n"
"to HIGH (default 1-1023; LOW alone: that port), with their other names.\n"
"\n"
"      --tcp      only those of TCP\n"
"      --udp      only those of UDP\n"
"  -h, --help     show this\n"
"  -V, --version  show the version\n";

struct entry {
	uint16_t port;
	size_t order;		/* in the database: its first name counts */
	char *protocol;
	char *names;		/* the official one, then aliases */
};

struct list {
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
	size_t size;
	char *names;
	FILE *f = open_memstream(&names, &size);

	no_memory(f);
	fputs(service->s_name, f);
	for (char **alias = service->s_aliases; *alias != NULL; alias++)
		fprintf(f, " %s", *alias);
	if (fclose(f) != 0)
		no_memory(NULL);
	return names;
}

static void
add(struct list *list, const struct servent *service, size_t order)
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
	e->order = order;
	no_memory(e->protocol = strdup(service->s_proto));
	e->names = join_names(service);
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

/* Those from low to high with that protocol (NULL: any), in order. */
static struct list
find(uint16_t low, uint16_t high, const char *protocol)
{
	struct list list = { NULL, 0, 0 };
	const struct servent *service;
	size_t seen = 0;

	setservent(1);
	while ((service = getservent()) != NULL) {
		uint16_t port = ntohs((uint16_t)service->s_port);

		if (port >= low && port <= high && (protocol == NULL ||
		    strcmp(service->s_proto, protocol) == 0))
			add(&list, service, seen);
		seen++;
	}
	endservent();
	if (seen == 0 && access(_PATH_SERVICES, R_OK) != 0)
		err(STATUS_LOCAL, "no services database: %s (on Debian it "
		    "comes with the package netbase)", _PATH_SERVICES);
	if (list.n > 0)
		qsort(list.entries, list.n, sizeof(*list.entries), compare);
	return list;
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

static int
run(int argc, char **argv)
{
	uint16_t low = 1, high = 1023;
	bool tcp = false, udp = false;
	struct list list;
	int option;

	while ((option = args_next(argc, argv, &mode_ports)) != -1) {
		tcp = tcp || option == OPTION_TCP;
		udp = udp || option == OPTION_UDP;
	}
	if (tcp && udp)
		args_usage("--tcp and --udp exclude each other");
	read_range(argc - optind, argv + optind, &low, &high);
	list = find(low, high, tcp ? "tcp" : udp ? "udp" : NULL);
	if (list.n == 0) {
		warnx("no service is assigned to the ports %u to %u%s", low,
		    high, tcp ? " of TCP" : udp ? " of UDP" : "");
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
	.usage = usage,
	.shorts = ":hV",
	.longs = longs,
	.run = run
};
