#include "control_v4.h"

#include <string.h>

/*
 * For a broadcast or multicast address, ipi_spec_dst is the address of the
 * interface that received the datagram. ipi_spec_dst is 0 for a datagram that
 * arrived before the socket had IP_PKTINFO, that is, before a service manager
 * started the server. For such a datagram, the broadcast address of a network
 * is not recognized, but the kernel does not send a reply from this address.
 */
bool
control_v4_is_unicast(const struct in_pktinfo *info)
{
	uint32_t to = ntohl(info->ipi_addr.s_addr);

	if (info->ipi_spec_dst.s_addr == INADDR_ANY)
		return !IN_MULTICAST(to) && to != INADDR_BROADCAST;
	return info->ipi_addr.s_addr == info->ipi_spec_dst.s_addr;
}

unsigned
control_v4_interface(const struct in_pktinfo *info)
{
	return (unsigned)info->ipi_ifindex;
}

struct in_pktinfo
control_v4_reply(const struct in_pktinfo *to, unsigned interface)
{
	struct in_pktinfo reply = { .ipi_spec_dst = to->ipi_addr };

	/* ipi_ifindex is an int on Linux and unsigned on macOS. */
	memcpy(&reply.ipi_ifindex, &interface, sizeof(reply.ipi_ifindex));
	return reply;
}
