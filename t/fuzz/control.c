/*
 * Fuzz target: the reader of the control messages of a datagram. What it reads
 * is compared with a second implementation, which walks over the bytes. Then
 * the control messages of a reply are written, and must be read again with the
 * same result.
 */
#include "modes/serve/control.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { HEADER = sizeof(struct cmsghdr), WORD = sizeof(size_t) };

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static bool
is_kind(const struct cmsghdr *header, int level, int type, size_t size)
{
	return header->cmsg_level == level && header->cmsg_type == type &&
	    header->cmsg_len >= HEADER + size;
}

static void
expect_message(struct control *c, const struct cmsghdr *header,
    const uint8_t *value)
{
	int ttl;

	if (is_kind(header, IPPROTO_IP, IP_PKTINFO, sizeof(c->to.v4))) {
		memcpy(&c->to.v4, value, sizeof(c->to.v4));
		c->family = AF_INET;
	}
	if (is_kind(header, IPPROTO_IPV6, IPV6_PKTINFO, sizeof(c->to.v6)) &&
	    c->family != AF_INET) {
		memcpy(&c->to.v6, value, sizeof(c->to.v6));
		c->family = AF_INET6;
	}
	if (!is_kind(header, IPPROTO_IP, IP_TTL, sizeof(ttl)) &&
	    !is_kind(header, IPPROTO_IPV6, IPV6_HOPLIMIT, sizeof(ttl)))
		return;
	memcpy(&ttl, value, sizeof(ttl));
	if (ttl >= 0 && ttl <= 255)
		c->ttl = ttl;
}

/* The second implementation. A message that is not whole ends the list. */
static void
expect(struct control *c, const uint8_t *data, size_t size)
{
	size_t at = 0;

	*c = (struct control){ .family = 0, .ttl = CONTROL_NO_TTL };
	while (size - at >= HEADER) {
		struct cmsghdr header;

		memcpy(&header, data + at, HEADER);
		if (header.cmsg_len < HEADER || header.cmsg_len > size - at)
			return;
		expect_message(c, &header, data + at + HEADER);
		if (size - at - header.cmsg_len < WORD - 1)
			return;
		at += (header.cmsg_len + WORD - 1) / WORD * WORD;
		if (at > size)
			return;
	}
}

static void
must_be_equal(const struct control *a, const struct control *b)
{
	must(a->family == b->family && a->ttl == b->ttl);
	if (a->family == AF_INET)
		must(memcmp(&a->to.v4, &b->to.v4, sizeof(a->to.v4)) == 0);
	else if (a->family == AF_INET6)
		must(memcmp(&a->to.v6, &b->to.v6, sizeof(a->to.v6)) == 0);
}

/* The reply leaves from the address that the datagram was sent to. */
static void
write_and_read(const struct control *c)
{
	_Alignas(struct cmsghdr) char out[CONTROL_SIZE];
	struct msghdr reply = { .msg_control = out };
	struct control again;

	if (c->family == 0)
		return;
	reply.msg_controllen = control_write(out, c, c->ttl, false);
	must(reply.msg_controllen <= 64);
	control_read(&reply, &again);
	must(again.family == c->family && again.ttl == c->ttl);
	if (c->family == AF_INET)
		must(again.to.v4.ipi_spec_dst.s_addr ==
		    c->to.v4.ipi_addr.s_addr);
	else
		must(memcmp(&again.to.v6.ipi6_addr, &c->to.v6.ipi6_addr,
		    sizeof(struct in6_addr)) == 0);
	control_is_unicast(&again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy = malloc(size + 1);	/* aligned, and of that size */
	struct msghdr msg = { .msg_control = copy, .msg_controllen = size };
	struct control got, expected;

	if (copy == NULL)
		return 0;
	memcpy(copy, data, size);
	control_read(&msg, &got);
	expect(&expected, data, size);
	must_be_equal(&got, &expected);
	write_and_read(&got);
	free(copy);
	return 0;
}
