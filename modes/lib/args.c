#include "args.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "net.h"
#include "program.h"
#include "text.h"

#define DURATION_MAX (24 * 3600 * NET_SECOND)

struct unit {
	const char *name;
	uint64_t worth;
};

static const struct unit durations[] = {	/* ns */
	{ "", NET_SECOND }, { "us", 1000 }, { "ms", NET_MS },
	{ "s", NET_SECOND }, { "m", 60 * NET_SECOND },
	{ "h", 3600 * NET_SECOND }, { NULL, 0 }
};

static const struct unit sizes[] = {		/* bytes */
	{ "", 1 }, { "k", 1024 }, { "K", 1024 }, { "M", 1024 * 1024 },
	{ "G", 1024 * 1024 * 1024 }, { NULL, 0 }
};

void
args_set_program(char *name)
{
	program_set_name(name);
}

void
args_usage(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	errx(STATUS_USAGE, "%s (see %s --help)", line,
	    program_name());
}

const char *
args_shown(const char *value)
{
	static char text[TEXT_QUOTED];

	return text_quote(text, value, strlen(value));
}

static int
smallest_of(int a, int b, int c)
{
	return a < b ? (a < c ? a : c) : (b < c ? b : c);
}

/*
 * The number of letters to insert, delete or replace to turn a into b
 * (Levenshtein distance), ignoring case. If the distance is above the limit,
 * the result is limit + 1, so that long words do not need more time.
 */
static int
edit_distance(const char *a, const char *b, int limit)
{
	if (limit < 0)
		return 0;
	if (*a == '\0' && *b == '\0')
		return 0;
	if (*a == '\0')
		return 1 + edit_distance(a, b + 1, limit - 1);
	if (*b == '\0')
		return 1 + edit_distance(a + 1, b, limit - 1);
	if (tolower((unsigned char)*a) == tolower((unsigned char)*b))
		return edit_distance(a + 1, b + 1, limit);
	return 1 + smallest_of(edit_distance(a + 1, b + 1, limit - 1),
	    edit_distance(a + 1, b, limit - 1),
	    edit_distance(a, b + 1, limit - 1));
}

const char *
args_nearer(const char *word, const char *nearest, const char *name)
{
	const int limit = 2;	/* more is not a typing error */
	int before = nearest == NULL ? limit + 1 :
	    edit_distance(word, nearest, limit);

	return edit_distance(word, name, limit) < before ? name : nearest;
}

void
args_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return;
	err(STATUS_LOCAL, "cannot write to standard output");
}

void
args_print_statuses(void)
{
	static const char *const meanings[] = STATUS_MEANINGS;

	fputs("\nexit status:\n", stdout);
	for (size_t i = 0; i < sizeof(meanings) / sizeof(*meanings); i++)
		printf("  %zu  %s\n", i, meanings[i]);
}

void
args_print_version(void)
{
	puts("echo " ECHO_VERSION " (echo server and client, RFC 862)");
	args_flush();
}

void
args_no_operands(int argc, char **argv)
{
	if (optind < argc)
		args_usage("unexpected argument %s", args_shown(argv[optind]));
}

/*
 * Parses the digits at the beginning of value; *rest points to the text after
 * them. Returns false if there are no digits or the number overflows.
 */
static bool
parse_digits(const char *value, uint64_t *number, const char **rest)
{
	*number = 0;
	*rest = value;
	for (; isdigit((unsigned char)**rest); ++*rest)
		if (__builtin_mul_overflow(*number, 10, number) ||
		    __builtin_add_overflow(*number,
		    (uint64_t)(**rest - '0'), number))
			return false;
	return *rest != value;
}

/* Parses a number with one of the units, and multiplies it by the unit. */
static bool
parse_with_unit(const struct unit *units, const char *value, uint64_t *number)
{
	const char *rest;

	if (!parse_digits(value, number, &rest))
		return false;
	for (; units->name != NULL; units++)
		if (strcmp(rest, units->name) == 0)
			return !__builtin_mul_overflow(*number, units->worth,
			    number);
	return false;
}

uint64_t
args_number(const char *what, const char *value, uint64_t low, uint64_t high)
{
	const char *rest;
	uint64_t number;

	if (!parse_digits(value, &number, &rest) || *rest != '\0' ||
	    number < low || number > high)
		args_usage("%s: %s is not a number from %" PRIu64 " to %"
		    PRIu64, what, args_shown(value), low, high);
	return number;
}

mode_t
args_mode(const char *what, const char *value)
{
	char *end;
	unsigned long mode = strtoul(value, &end, 8);

	if (*value < '0' || *value > '7' || *end != '\0' || mode > 0777)
		args_usage("%s: %s is not an octal mode from 0 to 777", what,
		    args_shown(value));
	return (mode_t)mode;
}

/* Returns the port of a service, or 0 if the system does not know it. */
static uint16_t
find_service_port(const char *name, int type)
{
	struct addrinfo hints = { .ai_socktype = type, .ai_family = AF_INET };
	struct addrinfo *found;
	uint16_t port;

	/* getaddrinfo(3) would accept the number 99999. */
	if (!isalnum((unsigned char)*name) ||
	    name[strspn(name, "0123456789")] == '\0' ||
	    getaddrinfo(NULL, name, &hints, &found) != 0)
		return 0;
	port = ntohs(((struct sockaddr_in *)(void *)found->ai_addr)->sin_port);
	freeaddrinfo(found);
	return port;
}

uint16_t
args_port(const char *what, const char *value, uint16_t low)
{
	const char *rest;
	uint64_t number;

	if (parse_digits(value, &number, &rest) && *rest == '\0' &&
	    number >= low && number <= UINT16_MAX)
		return (uint16_t)number;
	number = find_service_port(value, SOCK_STREAM);
	if (number == 0)
		number = find_service_port(value, SOCK_DGRAM);
	if (number == 0)
		args_usage("%s: %s is not a port from %u to 65535 or the name "
		    "of a service", what, args_shown(value), low);
	return (uint16_t)number;
}

int64_t
args_duration(const char *what, const char *value, int64_t low)
{
	uint64_t number;

	if (!parse_with_unit(durations, value, &number) ||
	    number < (uint64_t)low || number > DURATION_MAX)
		args_usage("%s: %s is not a duration from %s to 24h such as "
		    "200ms, 2s or 1m", what, args_shown(value),
		    low == 0 ? "0" : low < NET_MS ? "1us" : "1ms");
	return (int64_t)number;
}

size_t
args_size(const char *what, const char *value, size_t low, size_t high)
{
	uint64_t number;

	if (!parse_with_unit(sizes, value, &number) || number < low ||
	    number > high)
		args_usage("%s: %s is not a size from %zu to %zu bytes such "
		    "as 16, 64k or 1M", what, args_shown(value), low, high);
	return (size_t)number;
}

/* Returns whether host is an IPv6 address, with or without a zone. */
static bool
is_ipv6_host(char *host)
{
	struct in6_addr ignored;
	char *zone = strchr(host, '%');
	bool valid;

	if (zone != NULL)
		*zone = '\0';
	valid = inet_pton(AF_INET6, host, &ignored) == 1;
	if (zone != NULL)
		*zone = '%';
	return valid;
}

/* Splits [V6] or [V6]:PORT. Returns the port, or NULL if there is none. */
static char *
split_bracketed(const char *what, char *value)
{
	const char *shown = args_shown(value);
	char *end = strchr(value, ']');

	if (end == NULL)
		args_usage("%s: %s has no closing ]", what, shown);
	*end++ = '\0';
	if (!is_ipv6_host(value + 1))
		args_usage("%s: %s has no IPv6 address in its brackets", what,
		    shown);
	if (*end != '\0' && *end != ':')
		args_usage("%s: %s has something other than :PORT after its ]",
		    what, shown);
	return *end == ':' ? end + 1 : NULL;
}

/* Splits HOST, HOST:PORT or :PORT. Returns the port, or NULL. */
static char *
split_plain(const char *what, char *value)
{
	char *colon = strchr(value, ':');

	if (*value == '\0')
		args_usage("%s: an address is HOST, HOST:PORT, [V6]:PORT, "
		    ":PORT or *, after tcp: or udp: or not, or unix:/PATH or "
		    "unix:@NAME; not \"\"", what);
	if (colon == NULL)
		return NULL;
	if (strchr(colon + 1, ':') != NULL)
		args_usage("%s: %s: an IPv6 address needs brackets: [::1] or "
		    "[::1]:PORT", what, args_shown(value));
	*colon = '\0';
	return colon + 1;
}

static void
check_host(const char *what, const char *host)
{
	/* inet_aton(3) would accept 7 as the address 0.0.0.7. */
	if (host[strspn(host, "0123456789")] == '\0')
		args_usage("%s: %s is a number; a port without a host is "
		    ":PORT", what, args_shown(host));
	if (strlen(host) >= NI_MAXHOST)
		args_usage("%s: %s is longer than the %d bytes of a host name",
		    what, args_shown(host), NI_MAXHOST - 1);
}

/*
 * Skips tcp: or udp: at the beginning of value, and sets *is_udp accordingly.
 * Returns the rest.
 */
static char *
split_transport(const char *what, char *value, bool *is_udp)
{
	char *rest = value + strlen(NET_UDP);

	_Static_assert(sizeof(NET_UDP) == sizeof(NET_TCP), "equal lengths");
	if (strncmp(value, NET_UDP, strlen(NET_UDP)) == 0)
		*is_udp = true;
	else if (strncmp(value, NET_TCP, strlen(NET_TCP)) == 0)
		*is_udp = false;
	else
		rest = value;
	if (net_is_unix(rest) && (rest != value || *is_udp))
		args_usage("%s: %s: a Unix socket is a stream socket without "
		    "%s", what, args_shown(value), *is_udp ? "UDP" : NET_TCP);
	return rest;
}

/* Checks unix:/PATH or unix:@NAME. */
static void
check_unix(const char *what, const char *value)
{
	const char *path = net_unix_path(value);

	if (*path != '/' && *path != '@')
		args_usage("%s: %s: the path of a Unix socket must be "
		    "absolute: unix:/PATH", what, args_shown(value));
	if (strcmp(path, "@") == 0)
		args_usage("%s: %s has no name after the @: unix:@NAME", what,
		    args_shown(value));
	if (*path == '@' && !net_has_abstract_names)
		args_usage("%s: %s: this system has no abstract names of Unix "
		    "sockets; write unix:/PATH", what, args_shown(value));
	if (strlen(path) > NET_UNIX_MAX)
		args_usage("%s: %s is longer than the %d bytes of a Unix "
		    "socket's path", what, args_shown(value), NET_UNIX_MAX);
}

struct address
args_address(const char *what, char *value, uint16_t port, uint16_t low,
    bool is_udp)
{
	struct address address = { value, port, is_udp };
	const char *own_port;

	value = split_transport(what, value, &address.is_udp);
	address.host = value;
	if (net_is_unix(value)) {
		check_unix(what, value);
		return address;
	}
	if (*value == '[') {
		own_port = split_bracketed(what, value);
		address.host = value + 1;
	} else {
		own_port = split_plain(what, value);
		if (*value == '\0')
			address.host = ARGS_DEFAULT_HOST;
		else if (strcmp(value, "*") == 0)
			address.host = NULL;
	}
	if (own_port != NULL)
		address.port = args_port(what, own_port, low);
	if (address.host != NULL)
		check_host(what, address.host);
	return address;
}

void
args_refuse_udp(const char *what, const struct address *address)
{
	if (address->is_udp)
		args_usage("%s: UDP is not available here", what);
}
