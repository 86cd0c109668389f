#include "control.h"

#include <string.h>

#include "control_v4.h"

bool
control_is_link_local(struct in_addr address)
{
	return ntohl(address.s_addr) >> 16 == 0xa9fe;
}

/*
 * Copies a value of size bytes from a control message, if the message has such
 * a value and is within the `left` bytes that remain.
 */
static bool
copy_value(void *out, const struct cmsghdr *message, size_t size, size_t left)
{
	if (message->cmsg_len < CMSG_LEN(size) || message->cmsg_len > left)
		return false;
	memcpy(out, CMSG_DATA(message), size);
	return true;
}

static void
read_control_message(struct control *c, const struct cmsghdr *message, size_t left)
{
	bool is_v4 = message->cmsg_level == IPPROTO_IP;
	struct in6_pktinfo v6;
	int type = message->cmsg_type, ttl;

	if (!is_v4 && message->cmsg_level != IPPROTO_IPV6)
		return;
	if (is_v4 && type == IP_PKTINFO) {
		if (copy_value(&c->to.v4, message, sizeof(c->to.v4), left))
			c->family = AF_INET;
	} else if (type == (is_v4 ? IP_TTL : IPV6_HOPLIMIT)) {
		if (copy_value(&ttl, message, sizeof(ttl), left) && ttl >= 0 &&
		    ttl <= 255)
			c->ttl = ttl;
	} else if (!is_v4 && type == IPV6_PKTINFO && c->family != AF_INET &&
	    copy_value(&v6, message, sizeof(v6), left)) {
		c->to.v6 = v6;
		c->family = AF_INET6;
	}
}

void
control_read(const struct msghdr *msg, struct control *c)
{
	const char *end = (const char *)msg->msg_control + msg->msg_controllen;
	struct msghdr whole = *msg;	/* CMSG_NXTHDR takes no const */

	*c = (struct control){ .family = 0, .ttl = CONTROL_NO_TTL };
	for (struct cmsghdr *message = CMSG_FIRSTHDR(&whole); message != NULL;
	    message = CMSG_NXTHDR(&whole, message)) {
		size_t left = (size_t)(end - (const char *)message);

		read_control_message(c, message, left);
		if (message->cmsg_len < sizeof(*message) ||
		    message->cmsg_len > left)
			break;
	}
}

bool
control_is_unicast(const struct control *c)
{
	switch (c->family) {
	case AF_INET:
		return control_v4_is_unicast(&c->to.v4);
	case AF_INET6:
		return !IN6_IS_ADDR_MULTICAST(&c->to.v6.ipi6_addr);
	default:
		return false;
	}
}

/* Adds a control message at out. Returns its size with its padding. */
static socklen_t
add_message(char *out, int level, int type, const void *value, size_t size)
{
	struct cmsghdr header = { .cmsg_len = (socklen_t)CMSG_LEN(size),
	    .cmsg_level = level, .cmsg_type = type };

	memcpy(out, &header, sizeof(header));
	memcpy(out + CMSG_LEN(0), value, size);
	return (socklen_t)CMSG_SPACE(size);
}

/*
 * Returns the interface on which a link-local address is valid. 0: the route
 * decides by which interface the reply leaves.
 */
static unsigned
interface_of(const struct control *c)
{
	if (c->family == AF_INET)
		return control_is_link_local(c->to.v4.ipi_addr) ?
		    control_v4_interface(&c->to.v4) : 0;
	return IN6_IS_ADDR_LINKLOCAL(&c->to.v6.ipi6_addr) ?
	    c->to.v6.ipi6_ifindex : 0;
}

static socklen_t
add_reply_address(char *out, const struct control *c)
{
	unsigned interface = interface_of(c);
	struct in6_pktinfo v6 = { c->to.v6.ipi6_addr, interface };
	struct in_pktinfo v4;

	if (c->family != AF_INET)
		return add_message(out, IPPROTO_IPV6, IPV6_PKTINFO, &v6,
		    sizeof(v6));
	v4 = control_v4_reply(&c->to.v4, interface);
	return add_message(out, IPPROTO_IP, IP_PKTINFO, &v4, sizeof(v4));
}

socklen_t
control_write(void *out, const struct control *c, int ttl, bool one_address)
{
	socklen_t n = one_address ? 0 : add_reply_address(out, c);

	if (ttl == CONTROL_NO_TTL)
		return n;
	return n + (c->family == AF_INET ?
	    add_message((char *)out + n, IPPROTO_IP, IP_TTL, &ttl,
	    sizeof(ttl)) :
	    add_message((char *)out + n, IPPROTO_IPV6, IPV6_HOPLIMIT, &ttl,
	    sizeof(ttl)));
}
