/*
 * Fuzz target: the numbers, ports, durations, sizes and addresses of the
 * command line. What args.c returns is compared with a second implementation
 * of the rules in this file.
 *
 * A refused value ends the program by errx(3). The linker replaces it (ld
 * --wrap) with a function that checks the message and returns by longjmp(3).
 */
#include "modes/lib/args.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* NOLINTBEGIN(bugprone-reserved-identifier) */
_Noreturn void __wrap_errx(int, const char *, ...)
    __attribute__((format(printf, 2, 3)));
int __wrap_getaddrinfo(const char *, const char *, const struct addrinfo *,
    struct addrinfo **);
/* NOLINTEND(bugprone-reserved-identifier) */

static jmp_buf refused;

static void
must(bool holds)
{
	if (!holds)
		abort();
}

_Noreturn void
__wrap_errx(int status, const char *fmt, ...)
{
	char line[2048];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	must(status == STATUS_USAGE && n > 0 && n < 600);
	must(strncmp(line, "--what: ", 8) == 0);
	for (int i = 0; i < n; i++)
		must((unsigned char)line[i] >= 0x20 && line[i] != 0x7f);
	longjmp(refused, 1);
}

/* No service has a name, so that the result depends on the input alone. */
int
__wrap_getaddrinfo(const char *node, const char *service,
    const struct addrinfo *hints, struct addrinfo **found)
{
	(void)node;
	(void)service;
	(void)hints;
	(void)found;
	return EAI_SERVICE;
}

/*
 * The second implementation of the rules.
 */

/* Digits only, in the range low to high; converted by strtoull(3). */
static bool
is_number(const char *text, uint64_t low, uint64_t high, uint64_t *number)
{
	if (*text == '\0' || text[strspn(text, "0123456789")] != '\0')
		return false;
	errno = 0;
	*number = strtoull(text, NULL, 10);
	return errno == 0 && *number >= low && *number <= high;
}

/* A number and a unit. The units are given as "=1;k=1024;M=1048576;". */
static bool
is_amount(const char *text, const char *units, uint64_t low, uint64_t high,
    uint64_t *amount)
{
	char digits[64] = "", name[8];
	size_t n = strspn(text, "0123456789"), length;
	const char *zeros = text;
	uint64_t worth, number;

	for (; n > 1 && *zeros == '0'; n--)
		zeros++;
	if (n >= sizeof(digits))
		return false;
	memcpy(digits, zeros, n);
	for (; *units != '\0'; units = strchr(units, ';') + 1) {
		length = strcspn(units, "=");
		memcpy(name, units, length);
		name[length] = '\0';
		if (strcmp(zeros + n, name) != 0)
			continue;
		worth = strtoull(units + length + 1, NULL, 10);
		if (!is_number(digits, 0, UINT64_MAX / worth, &number))
			return false;
		*amount = number * worth;
		return *amount >= low && *amount <= high;
	}
	return false;
}

static bool
is_ipv6_address(const char *text, size_t n)
{
	char address[2048];
	struct in6_addr ignored;

	n = strcspn(text, "%]") < n ? strcspn(text, "%]") : n;
	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = '\0';
	return inet_pton(AF_INET6, address, &ignored) == 1;
}

/*
 * Finds the n bytes of the host, and the port or NULL. The result says whether
 * it is for UDP; before, is_udp is the default.
 */
static bool
is_address(const char *text, const char **host, size_t *n, const char **port,
    bool *is_udp)
{
	bool has_transport = strncmp(text, "udp:", 4) == 0 ||
	    strncmp(text, "tcp:", 4) == 0;
	const char *colon, *bracket;

	if (has_transport) {
		*is_udp = *text == 'u';
		text += 4;
	}
	colon = strrchr(text, ':');
	bracket = strchr(text, ']');
	*port = NULL;
	*host = text;
	if (strncmp(text, "unix:", 5) == 0) {
		if (has_transport || *is_udp)
			return false;
		*n = strlen(text);
		return (text[5] == '/' || (text[5] == '@' && *n > 6)) &&
		    *n - 5 < 108;	/* unix(7) */
	}
	if (*text == '[') {
		if (bracket == NULL || (bracket[1] != '\0' &&
		    bracket[1] != ':'))
			return false;
		*host = text + 1;
		*n = (size_t)(bracket - *host);
		if (bracket[1] == ':')
			*port = bracket + 2;
		return is_ipv6_address(*host, *n) && *n < NI_MAXHOST;
	}
	*n = colon == NULL ? strlen(text) : (size_t)(colon - text);
	if (colon != NULL)
		*port = colon + 1;
	return *text != '\0' && strchr(text, ':') == colon &&
	    *n < NI_MAXHOST && (*n == 0 ||
	    strspn(text, "0123456789") < *n);
}

/*
 * One function for each kind of value. args.c must return what the second
 * implementation returns, or refuse the text if that does.
 */

static void
compare_number(const char *text, uint8_t choice)
{
	static const uint64_t ranges[][2] = { { 0, UINT64_MAX },
	    { 1, 1000000 }, { 1, INT64_MAX }, { 7, 7 } };
	const uint64_t *range = ranges[choice % 4];
	uint64_t expected = 0;
	bool valid = is_number(text, range[0], range[1], &expected);

	if (setjmp(refused) != 0)
		must(!valid);
	else
		must(args_number("--what", text, range[0], range[1]) ==
		    expected && valid);
}

static void
compare_port(const char *text, uint8_t choice)
{
	uint64_t expected = 0;
	bool valid = is_number(text, choice % 2, UINT16_MAX, &expected);

	if (setjmp(refused) != 0)
		must(!valid);
	else
		must(args_port("--what", text, choice % 2) == expected &&
		    valid);
}

static void
compare_duration(const char *text, uint8_t choice)
{
	static const char units[] = "=1000000000;us=1000;ms=1000000;"
	    "s=1000000000;m=60000000000;h=3600000000000;";
	static const int64_t least[] = { 0, 1000, 1000000 };
	int64_t low = least[choice % 3];
	uint64_t expected = 0;
	bool valid = is_amount(text, units, (uint64_t)low,
	    UINT64_C(86400000000000), &expected);

	if (setjmp(refused) != 0)
		must(!valid);
	else
		must((uint64_t)args_duration("--what", text, low) ==
		    expected && valid);
}

static void
compare_size(const char *text, uint8_t choice)
{
	static const char units[] = "=1;k=1024;K=1024;M=1048576;G=1073741824;";
	size_t low = choice % 2, high = choice & 2 ? SIZE_MAX : 1048576;
	uint64_t expected = 0;
	bool valid = is_amount(text, units, low, high, &expected);

	if (setjmp(refused) != 0)
		must(!valid);
	else
		must(args_size("--what", text, low, high) == expected && valid);
}

static void
compare_address(const char *text, uint8_t choice)
{
	const char *host = NULL, *port = NULL;
	uint64_t expected = 10000;
	size_t n = 0;
	bool given_udp = choice & 2, is_udp = given_udp;
	bool valid = is_address(text, &host, &n, &port, &is_udp) &&
	    (port == NULL ||
	    is_number(port, choice % 2, UINT16_MAX, &expected));
	char *copy = strdup(text);

	if (copy == NULL)
		return;
	if (setjmp(refused) != 0)
		must(!valid);
	else {
		struct address address = args_address("--what", copy, 10000,
		    choice % 2, given_udp);

		must(address.is_udp == is_udp);
		must(valid && (address.port == expected ||
		    strncmp(text, "unix:", 5) == 0));
		if (address.host == NULL)
			must(n == 1 && *host == '*');
		else if (n == 0)
			must(strcmp(address.host, "127.0.0.1") == 0);
		else
			must(strlen(address.host) == n &&
			    memcmp(address.host, host, n) == 0);
	}
	free(copy);
}

/* Random input hardly ever begins with "unix:" or "udp:". */
static void
compare_prefixed(const char *text, uint8_t choice)
{
	static const char *const prefixes[] = { "unix:", "tcp:", "udp:",
	    "udp:unix:" };
	char *address;

	if (asprintf(&address, "%s%s", prefixes[choice / 4 % 4], text) < 0)
		return;
	compare_address(address, choice);
	free(address);
}

/* The first two bytes choose the kind and the range; the rest is the text. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(const char *, uint8_t) = { compare_number,
	    compare_port, compare_duration, compare_size, compare_address,
	    compare_prefixed };
	char *text;

	if (size < 2 || (text = strndup((const char *)data + 2, size - 2)) ==
	    NULL)
		return 0;
	kinds[data[0] % 6](text, data[1]);
	free(text);
	return 0;
}
