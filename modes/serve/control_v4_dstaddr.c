/*
 * The broadcast address of a network is not recognized on these systems, but
 * the kernel does not send a reply from this address.
 */
#include "control_v4.h"

bool
control_v4_is_unicast(const struct in_pktinfo *info)
{
	uint32_t to = ntohl(info->ipi_addr.s_addr);

	return !IN_MULTICAST(to) && to != INADDR_BROADCAST;
}

unsigned
control_v4_interface(const struct in_pktinfo *info)
{
	(void)info;
	return 0;
}

struct in_pktinfo
control_v4_reply(const struct in_pktinfo *to, unsigned interface)
{
	(void)interface;
	return *to;
}
