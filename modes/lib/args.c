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
#include "text.h"

#define DURATION_MAX (24 * 3600 * NET_SECOND)

struct unit {
	const char *name;
	uint64_t worth;
};

static const struct unit durations[] = {	/* in ns */
	{ "", NET_SECOND }, { "us", 1000 }, { "ms", NET_MS },
	{ "s", NET_SECOND }, { "m", 60 * NET_SECOND },
	{ "h", 3600 * NET_SECOND }, { NULL, 0 }
};

static const struct unit sizes[] = {		/* in bytes */
	{ "", 1 }, { "k", 1024 }, { "K", 1024 }, { "M", 1024 * 1024 },
	{ "G", 1024 * 1024 * 1024 }, { NULL, 0 }
};

void
args_program(char *name)
{
	/* What err(3) and warn(3) print, in glibc and in musl. */
	program_invocation_short_name = name;
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
	    program_invocation_short_name);
}

const char *
args_shown(const char *value)
{
	static char text[TEXT_QUOTED];

	return text_quote(text, value, strlen(value));
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
args_version(void)
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

/* Digits only, up to a unit; false if there are none or they overflow. */
static bool
digits(const char *value, uint64_t *number, const char **rest)
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

static bool
with_unit(const struct unit *units, const char *value, uint64_t *number)
{
	const char *rest;

	if (!digits(value, number, &rest))
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

	if (!digits(value, &number, &rest) || *rest != '\0' || number < low ||
	    number > high)
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

/* The port of a TCP service, 0 if the system knows none of that name. */
static uint16_t
service(const char *name)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
	    .ai_family = AF_INET };
	struct addrinfo *found;
	uint16_t port;

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

	if (digits(value, &number, &rest) && *rest == '\0' && number >= low &&
	    number <= UINT16_MAX)
		return (uint16_t)number;
	number = service(value);
	if (number == 0)
		args_usage("%s: %s is not a port from %u to 65535, nor a "
		    "service known here", what, args_shown(value), low);
	return (uint16_t)number;
}

int64_t
args_duration(const char *what, const char *value, int64_t low)
{
	uint64_t number;

	if (!with_unit(durations, value, &number) || number < (uint64_t)low ||
	    number > DURATION_MAX)
		args_usage("%s: %s is not a duration from %s to 24h such as "
		    "200ms, 2s or 1m", what, args_shown(value),
		    low == 0 ? "0" : low < NET_MS ? "1us" : "1ms");
	return (int64_t)number;
}

size_t
args_size(const char *what, const char *value, size_t low, size_t high)
{
	uint64_t number;

	if (!with_unit(sizes, value, &number) || number < low || number > high)
		args_usage("%s: %s is not a size from %zu to %zu bytes such "
		    "as 16, 64k or 1M", what, args_shown(value), low, high);
	return (size_t)number;
}

static bool
is_ipv6(char *host)
{
	struct in6_addr ignored;
	char *zone = strchr(host, '%');
	bool good;

	if (zone != NULL)
		*zone = '\0';
	good = inet_pton(AF_INET6, host, &ignored) == 1;
	if (zone != NULL)
		*zone = '%';
	return good;
}

/* Cuts [V6] or [V6]:PORT in two: where the port begins, or NULL. */
static char *
cut_bracketed(const char *what, char *value)
{
	const char *all = args_shown(value);
	char *end = strchr(value, ']');

	if (end == NULL)
		args_usage("%s: %s lacks a ]", what, all);
	*end++ = '\0';
	if (!is_ipv6(value + 1))
		args_usage("%s: %s has no IPv6 address in its []", what, all);
	if (*end != '\0' && *end != ':')
		args_usage("%s: %s has no : after its ]", what, all);
	return *end == ':' ? end + 1 : NULL;
}

/* Cuts HOST, HOST:PORT or :PORT in two. */
static char *
cut_plain(const char *what, char *value)
{
	char *colon = strchr(value, ':');

	if (*value == '\0')
		args_usage("%s: an address is HOST, HOST:PORT, [V6]:PORT, "
		    ":PORT, *, unix:/PATH or unix:@NAME, not \"\"", what);
	if (colon == NULL)
		return NULL;
	if (strchr(colon + 1, ':') != NULL)
		args_usage("%s: %s: an IPv6 address goes into brackets: [::1] "
		    "or [::1]:PORT", what, args_shown(value));
	*colon = '\0';
	return colon + 1;
}

struct address
args_address(const char *what, char *value, uint16_t port, uint16_t low)
{
	if (net_is_unix(value)) {
		if (!net_fits_unix(value))
			args_usage("%s: %s is longer than the name of a Unix "
			    "socket can be", what, args_shown(value));
		return (struct address){ .host = value };
	}

	bool bracketed = *value == '[';
	const char *own_port = bracketed ? cut_bracketed(what, value) :
	    cut_plain(what, value);
	struct address address = {
		.host = bracketed ? value + 1 :
		    *value == '\0' ? ARGS_DEFAULT_HOST :
		    strcmp(value, "*") == 0 ? NULL : value,
		.port = own_port == NULL ? port :
		    args_port(what, own_port, low)
	};

	/* inet_aton(3) would take 7 for the address 0.0.0.7. */
	if (address.host != NULL &&
	    address.host[strspn(address.host, "0123456789")] == '\0')
		args_usage("%s: %s is a number; a port without a host is "
		    ":PORT", what, args_shown(address.host));
	if (address.host != NULL && strlen(address.host) >= NI_MAXHOST)
		args_usage("%s: %s is longer than a name can be", what,
		    args_shown(address.host));
	return address;
}
