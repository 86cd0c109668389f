/*
 * Unit tests of the parser of PROXY headers, in TAP. It makes no system call, so
 * they make none. Each header is parsed whole, byte by byte, and in two pieces
 * with each possible split; bytes that follow it must not be used.
 */
#include "t/proxy.h"
#include "t/tap.h"

#include <arpa/inet.h>
#include <stdlib.h>

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"

/* A header as a string literal, which may contain NULs. */
#define HEADER(text) (text), sizeof(text) - 1

static char message[256];	/* why parse_all() failed */

static bool
parse_pieces(struct proxy *p, const char *data, size_t size, size_t first,
    size_t piece)
{
	size_t used = proxy_parse(p, data, first);

	if (!proxy_holds(p, first, used))
		return false;
	while (p->state == PROXY_INCOMPLETE && used < size) {
		size_t n = size - used < piece ? size - used : piece;
		size_t taken = proxy_parse(p, data + used, n);

		if (!proxy_holds(p, n, taken))
			return false;
		used += taken;
	}
	return used == p->read;
}

/*
 * Parses the header, with bytes behind it, in all ways. Returns whether they
 * have the same result, which is then in *p.
 */
static bool
parse_all(struct proxy *p, const char *header, size_t size)
{
	static const char next[] = "PROXY\r\n";
	size_t total = size + sizeof(next);
	char *data = malloc(total);
	bool good;

	memcpy(data, header, size);
	memcpy(data + size, next, sizeof(next));
	*p = (struct proxy){ 0 };
	good = parse_pieces(p, data, total, 0, total);
	for (size_t first = 0; good && first <= size && first < 600; first++) {
		struct proxy other = { 0 };

		good = parse_pieces(&other, data, total, first, total) &&
		    proxy_same(p, &other);
		if (!good)
			snprintf(message, sizeof(message), "split at %zu",
			    first);
	}
	for (size_t piece = 1; good && piece < 20; piece += 6) {
		struct proxy other = { 0 };

		good = parse_pieces(&other, data, total, 0, piece) &&
		    proxy_same(p, &other);
		if (!good)
			snprintf(message, sizeof(message), "pieces of %zu",
			    piece);
	}
	free(data);
	return good;
}

/* "203.0.113.7 5123", "unix /path", or "none". */
static const char *
client_text(const struct proxy *p)
{
	static char text[128];
	char host[INET6_ADDRSTRLEN];

	switch (p->client.any.sa_family) {
	case AF_INET:
		snprintf(text, sizeof(text), "%s %d", inet_ntop(AF_INET,
		    &p->client.v4.sin_addr, host, sizeof(host)),
		    ntohs(p->client.v4.sin_port));
		break;
	case AF_INET6:
		snprintf(text, sizeof(text), "%s %d", inet_ntop(AF_INET6,
		    &p->client.v6.sin6_addr, host, sizeof(host)),
		    ntohs(p->client.v6.sin6_port));
		break;
	case AF_UNIX:
		snprintf(text, sizeof(text), "unix %.108s",
		    p->client.path.sun_path);
		break;
	default:
		return p->is_local ? "local" : "none";
	}
	return text;
}

static void
accepts(const char *name, const char *header, size_t size, const char *client)
{
	struct proxy p;
	bool good;

	*message = '\0';
	good = parse_all(&p, header, size) && p.state == PROXY_COMPLETE &&
	    p.read == size && strcmp(client_text(&p), client) == 0;
	if (!good)
		printf("# state %d, %u of %zu bytes, client %s, error %s; %s\n",
		    p.state, (unsigned)p.read, size, client_text(&p),
		    p.error == NULL ? "none" : p.error, message);
	ok(good, name);
}

/* error is a part of the reason; read is the number of bytes it takes. */
static void
refuses(const char *header, size_t size, size_t read, const char *error)
{
	struct proxy p;
	bool good;

	*message = '\0';
	good = parse_all(&p, header, size) && p.state == PROXY_WRONG &&
	    p.read == read && strstr(p.error, error) != NULL;
	if (!good)
		printf("# state %d, %u of %zu bytes, expected %zu, error %s; "
		    "%s\n", p.state, (unsigned)p.read, size, read,
		    p.error == NULL ? "none" : p.error, message);
	ok(good, error);
}

static void
test_v1(void)
{
	accepts("v1: TCP4", HEADER("PROXY TCP4 203.0.113.7 10.0.0.1 5123 7\r\n"),
	    "203.0.113.7 5123");
	accepts("v1: the lowest and the highest values",
	    HEADER("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
	    "0.0.0.0 0");
	accepts("v1: TCP6",
	    HEADER("PROXY TCP6 2001:db8::7 ::1 65535 10000\r\n"),
	    "2001:db8::7 65535");
	accepts("v1: the longest line", HEADER("PROXY UNKNOWN "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff "
	    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n"),
	    "none");
	accepts("v1: UNKNOWN", HEADER("PROXY UNKNOWN\r\n"), "none");
	accepts("v1: UNKNOWN, and anything up to the end of the line",
	    HEADER("PROXY UNKNOWN \0\xff  TCP4 x\r\n"), "none");
}

static void
test_v1_errors(void)
{
	static char line[PROXY_V1_MAX + 2] = "PROXY TCP4 ";

	memset(line + 11, '1', sizeof(line) - 13);
	line[sizeof(line) - 2] = '\r';
	line[sizeof(line) - 1] = '\n';
	refuses(line, sizeof(line), PROXY_V1_MAX, "more than 107 bytes");
	refuses(HEADER("GET / HTTP/1.0\r\n"), 1, "begins neither");
	refuses(HEADER("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 1,
	    "begins neither");
	refuses(HEADER("POST / HTTP/1.0\r\n"), 2, "begins neither");
	refuses(HEADER("PROXYTCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 6,
	    "begins neither");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), 31, "a CR");
	refuses(HEADER("PROXY \n"), 7, "a CR");
	refuses(HEADER("PROXY \r\n"), 8, "the protocol");
	refuses(HEADER("PROXY TCP 1.2.3.4 1.2.3.4 1 2\r\n"), 31,
	    "the protocol");
	refuses(HEADER("PROXY UNKNOWNS\r\n"), 16, "the protocol");
	refuses(HEADER("PROXY TCP4\r\n"), 12, "two addresses");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), 30,
	    "two addresses");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"), 33,
	    "two addresses");
	refuses(HEADER("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"), 33,
	    "two addresses");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3 1 2\r\n"), 30, "an address");
	refuses(HEADER("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"), 34,
	    "an address");
	refuses(HEADER("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"), 33,
	    "an address");
	refuses(HEADER("PROXY TCP4 ::1 ::1 1 2\r\n"), 24, "an address");
	refuses(HEADER("PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n"), 32,
	    "an address");
	refuses(HEADER("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), 31, "an address");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), 36,
	    "a port");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"), 33, "a port");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"), 31, "a port");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n"), 33, "a port");
	refuses(HEADER("PROXY TCP4 1.2.3.4 1.2.3.4 1 2a\r\n"), 33, "a port");
}

static void
test_v2(void)
{
	accepts("v2: TCP over IPv4", HEADER(SIGNATURE "\x21\x11\0\x0c"
	    "\xcb\0\x71\x07" "\x0a\0\0\1" "\x14\x03" "\0\7"),
	    "203.0.113.7 5123");
	accepts("v2: UDP over IPv4", HEADER(SIGNATURE "\x21\x12\0\x0c"
	    "\xcb\0\x71\x07" "\x0a\0\0\1" "\x14\x03" "\0\7"),
	    "203.0.113.7 5123");
	accepts("v2: IPv4 and TLVs", HEADER(SIGNATURE "\x21\x11\0\x13"
	    "\xcb\0\x71\x07" "\x0a\0\0\1" "\x14\x03" "\0\7" "\1\0\4echo"),
	    "203.0.113.7 5123");
	accepts("v2: IPv6", HEADER(SIGNATURE "\x21\x21\0\x24"
	    "\x20\1\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\7"
	    "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1" "\x14\x03" "\0\7"),
	    "2001:db8::7 5123");
	accepts("v2: LOCAL", HEADER(SIGNATURE "\x20\0\0\0"), "local");
	accepts("v2: LOCAL with an unknown family and other bytes",
	    HEADER(SIGNATURE "\x20\xff\0\3abc"), "local");
	accepts("v2: no address", HEADER(SIGNATURE "\x21\0\0\0"), "none");
	accepts("v2: no address, and TLVs",
	    HEADER(SIGNATURE "\x21\0\0\3\4\0\0"), "none");
}

static void
test_v2_sizes(void)
{
	static char header[PROXY_V2_MAX + 2] = SIGNATURE "\x21\x31\0\xd8";

	memset(header + PROXY_V2_HEAD, 'x', sizeof(header) - PROXY_V2_HEAD);
	memcpy(header + PROXY_V2_HEAD, "/run/client", 12);
	accepts("v2: a Unix socket", header, PROXY_KEPT, "unix /run/client");
	memset(header + PROXY_V2_HEAD, 'y', PROXY_UNIX_SIZE);
	accepts("v2: a path of 108 bytes", header, PROXY_KEPT, "unix "
	    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy"
	    "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
	memset(header + 14, 0xff, 2);
	memcpy(header + PROXY_V2_HEAD, "/long", 6);
	accepts("v2: the longest header", header, PROXY_V2_MAX, "unix /long");
}

static void
test_v2_errors(void)
{
	refuses(HEADER("\r\n\r\n\0\r\nQUIX\n\x21\x11\0\0"), 11,
	    "begins neither");
	refuses(HEADER("\r\n\r\n\r\nQUIT\n"), 5, "begins neither");
	refuses(HEADER("\n"), 1, "begins neither");
	refuses(HEADER("\0"), 1, "begins neither");
	refuses(HEADER(SIGNATURE "\x11\x11\0\x0c"), 16, "the version");
	refuses(HEADER(SIGNATURE "\x31\x11\0\x0c"), 16, "the version");
	refuses(HEADER(SIGNATURE "\x22\x11\0\x0c"), 16, "the command");
	refuses(HEADER(SIGNATURE "\x21\x10\0\x0c"), 16, "the address family");
	refuses(HEADER(SIGNATURE "\x21\x01\0\x0c"), 16, "the address family");
	refuses(HEADER(SIGNATURE "\x21\x41\0\x0c"), 16, "the address family");
	refuses(HEADER(SIGNATURE "\x21\x13\0\x0c"), 16, "the address family");
	refuses(HEADER(SIGNATURE "\x21\x11\0\x0b"), 16, "too short");
	refuses(HEADER(SIGNATURE "\x21\x21\0\x23"), 16, "too short");
	refuses(HEADER(SIGNATURE "\x21\x31\0\xd7"), 16, "too short");
}

int
main(void)
{
	test_v1();
	test_v1_errors();
	test_v2();
	test_v2_sizes();
	test_v2_errors();
	ok(sizeof(struct proxy) <= 536, "the state has at most 536 bytes");
	return done();
}
