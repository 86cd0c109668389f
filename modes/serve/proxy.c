/*
 * The first byte shows the version. A byte that no valid header can have at its
 * place is refused at once, so a client that does not send a header does not
 * wait for a timeout.
 */
#include "proxy.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>

static const char v1_begin[] = "PROXY ";
static const char v2_begin[] = "\r\n\r\n\0\r\nQUIT\n";	/* the signature */

enum {
	V1_BEGIN_SIZE = sizeof(v1_begin) - 1,
	V2_BEGIN_SIZE = sizeof(v2_begin) - 1
};

/*
 * Version 2: a byte with the version and the command, one with the address
 * family and the transport, and two with the length of what follows.
 */
enum {
	COMMAND_OFFSET = 12,
	FAMILY_OFFSET = 13,
	LENGTH_OFFSET = 14,

	COMMAND_LOCAL = 0x20,
	COMMAND_PROXY = 0x21,

	UNSPECIFIED = 0x00,
	IPV4_STREAM = 0x11,
	IPV4_DATAGRAM = 0x12,
	IPV6_STREAM = 0x21,
	IPV6_DATAGRAM = 0x22,
	UNIX_STREAM = 0x31,
	UNIX_DATAGRAM = 0x32,

	IPV4_SIZE = 12,		/* bytes of two addresses and two ports */
	IPV6_SIZE = 36,
	UNIX_SIZE = 2 * PROXY_UNIX_SIZE
};

/* A part of a line of version 1, without a NUL. */
struct field {
	const char *text;
	size_t size;
};

static const char wrong_begin[] = "it begins neither with \"PROXY \" nor with "
    "the signature of version 2";

static void
set_wrong(struct proxy *p, const char *error)
{
	p->state = PROXY_WRONG;
	p->error = error;
}

/*
 * Version 1.
 */

static bool
field_is(const struct field *field, const char *text)
{
	return field->size == strlen(text) &&
	    memcmp(field->text, text, field->size) == 0;
}

/*
 * Splits the line, without its CR LF, at each space. Returns the number of
 * fields, or max + 1 if there are more than max.
 */
static int
split_fields(const struct proxy *p, struct field *fields, int max)
{
	const char *text = (const char *)p->data + V1_BEGIN_SIZE;
	const char *end = (const char *)p->data + p->kept - 2;
	int n = 0;

	for (;;) {
		const char *space = memchr(text, ' ', (size_t)(end - text));

		if (n == max)
			return max + 1;
		fields[n++] = (struct field){ text,
		    (size_t)((space == NULL ? end : space) - text) };
		if (space == NULL)
			return n;
		text = space + 1;
	}
}

static bool
parse_address(const struct field *field, int family, void *address)
{
	char text[INET6_ADDRSTRLEN];

	if (field->size >= sizeof(text) ||
	    memchr(field->text, '\0', field->size) != NULL)
		return false;
	memcpy(text, field->text, field->size);
	text[field->size] = '\0';
	return inet_pton(family, text, address) == 1;
}

/* Parses a decimal number from 0 to 65535, without zeros before it. */
static bool
parse_port(const struct field *field, in_port_t *port)
{
	uint32_t number = 0;

	if (field->size < 1 || field->size > 5 ||
	    (field->size > 1 && *field->text == '0'))
		return false;
	for (size_t i = 0; i < field->size; i++) {
		if (field->text[i] < '0' || field->text[i] > '9')
			return false;
		number = 10 * number + (uint32_t)(field->text[i] - '0');
	}
	*port = htons((uint16_t)number);
	return number <= UINT16_MAX;
}

/* The fields are the protocol, two addresses and two ports. */
static void
parse_client(struct proxy *p, const struct field *fields)
{
	bool is_v4 = field_is(&fields[0], "TCP4");
	int family = is_v4 ? AF_INET : AF_INET6;
	void *address = is_v4 ? (void *)&p->client.v4.sin_addr :
	    (void *)&p->client.v6.sin6_addr;
	struct in6_addr server;
	in_port_t port, server_port;

	if (!parse_address(&fields[1], family, address) ||
	    !parse_address(&fields[2], family, &server)) {
		set_wrong(p, "an address is wrong");
		return;
	}
	if (!parse_port(&fields[3], &port) ||
	    !parse_port(&fields[4], &server_port)) {
		set_wrong(p, "a port is wrong");
		return;
	}
	if (is_v4)
		p->client.v4.sin_port = port;
	else
		p->client.v6.sin6_port = port;
	p->client.any.sa_family = (sa_family_t)family;
	p->state = PROXY_COMPLETE;
}

/* Parses a line that ends with LF. After UNKNOWN the rest is ignored. */
static void
parse_line(struct proxy *p)
{
	enum { FIELDS = 5 };
	struct field fields[FIELDS];
	int n;

	if (p->data[p->kept - 2] != '\r') {
		set_wrong(p, "the line ends without a CR");
		return;
	}
	n = split_fields(p, fields, FIELDS);
	if (field_is(&fields[0], "UNKNOWN"))
		p->state = PROXY_COMPLETE;
	else if (!field_is(&fields[0], "TCP4") && !field_is(&fields[0], "TCP6"))
		set_wrong(p, "the protocol is not TCP4, TCP6 or UNKNOWN");
	else if (n != FIELDS)
		set_wrong(p, "the line does not have two addresses and two "
		    "ports");
	else
		parse_client(p, fields);
}

static void
add_v1_byte(struct proxy *p)
{
	if (p->kept <= V1_BEGIN_SIZE) {
		if (memcmp(p->data, v1_begin, p->kept) != 0)
			set_wrong(p, wrong_begin);
	} else if (p->data[p->kept - 1] == '\n')
		parse_line(p);
	else if (p->kept == PROXY_V1_MAX)
		set_wrong(p, "the line has more than 107 bytes");
}

/*
 * Version 2.
 */

/* The size of the addresses of a family and transport; -1: not permitted. */
static int
addresses_size(unsigned family)
{
	switch (family) {
	case UNSPECIFIED:
		return 0;
	case IPV4_STREAM:
	case IPV4_DATAGRAM:
		return IPV4_SIZE;
	case IPV6_STREAM:
	case IPV6_DATAGRAM:
		return IPV6_SIZE;
	case UNIX_STREAM:
	case UNIX_DATAGRAM:
		return UNIX_SIZE;
	default:
		return -1;
	}
}

/*
 * Parses the first PROXY_V2_HEAD bytes, and sets how many bytes after them are
 * kept and skipped. The addresses of LOCAL are ignored.
 */
static void
parse_v2_head(struct proxy *p)
{
	unsigned command = p->data[COMMAND_OFFSET];
	int size = command == COMMAND_LOCAL ? 0 :
	    addresses_size(p->data[FAMILY_OFFSET]);
	int length = p->data[LENGTH_OFFSET] << 8 | p->data[LENGTH_OFFSET + 1];

	if (command >> 4 != 2)
		set_wrong(p, "the version is not 2");
	else if (command > COMMAND_PROXY)
		set_wrong(p, "the command is neither LOCAL nor PROXY");
	else if (size < 0)
		set_wrong(p, "the address family or the transport is unknown");
	else if (length < size)
		set_wrong(p, "it is too short for its addresses");
	p->is_local = command == COMMAND_LOCAL;
	p->wanted = (uint16_t)(PROXY_V2_HEAD + size);
	p->skip = (uint16_t)(length - size);
}

static void
read_addresses(struct proxy *p)
{
	const unsigned char *from = p->data + PROXY_V2_HEAD;

	switch (p->wanted - PROXY_V2_HEAD) {
	case IPV4_SIZE:
		p->client.v4.sin_family = AF_INET;
		memcpy(&p->client.v4.sin_addr, from, 4);
		memcpy(&p->client.v4.sin_port, from + 8, 2);
		break;
	case IPV6_SIZE:
		p->client.v6.sin6_family = AF_INET6;
		memcpy(&p->client.v6.sin6_addr, from, 16);
		memcpy(&p->client.v6.sin6_port, from + 32, 2);
		break;
	case UNIX_SIZE:
		p->client.path.sun_family = AF_UNIX;
		memcpy(p->client.path.sun_path, from,
		    sizeof(p->client.path.sun_path) < PROXY_UNIX_SIZE ?
		    sizeof(p->client.path.sun_path) : PROXY_UNIX_SIZE);
		break;
	}
}

static void
add_v2_byte(struct proxy *p)
{
	if (p->kept <= V2_BEGIN_SIZE &&
	    memcmp(p->data, v2_begin, p->kept) != 0)
		set_wrong(p, wrong_begin);
	if (p->kept == PROXY_V2_HEAD)
		parse_v2_head(p);
	if (p->state != PROXY_INCOMPLETE || p->kept != p->wanted)
		return;
	read_addresses(p);
	if (p->skip == 0)
		p->state = PROXY_COMPLETE;
}

/*
 * Both versions.
 */

static size_t
skip_bytes(struct proxy *p, size_t size)
{
	size_t n = size < p->skip ? size : p->skip;

	p->skip = (uint16_t)(p->skip - n);
	if (p->skip == 0)
		p->state = PROXY_COMPLETE;
	return n;
}

size_t
proxy_parse(struct proxy *p, const void *data, size_t size)
{
	const unsigned char *bytes = data;
	size_t n = 0;

	while (n < size && p->state == PROXY_INCOMPLETE) {
		if (p->skip > 0 && p->kept == p->wanted)
			n += skip_bytes(p, size - n);
		else {
			p->data[p->kept++] = bytes[n++];
			if (p->data[0] == 'P')
				add_v1_byte(p);
			else
				add_v2_byte(p);
		}
	}
	p->read += (uint32_t)n;
	return n;
}
