/*
 * The address in a control message of IPv4. On Linux and macOS, the message
 * contains the address and the interface (IP_PKTINFO, struct in_pktinfo). On
 * the BSDs, it contains only the address (IP_RECVDSTADDR), and compat.h gives
 * it the same names. Includes no other header of the project.
 */
#ifndef CONTROL_V4_H
#define CONTROL_V4_H

#include <netinet/in.h>
#include <stdbool.h>

/* Whether a datagram was sent to this host alone. */
bool control_v4_is_unicast(const struct in_pktinfo *);

/* Returns the interface that received the datagram; 0: not known. */
unsigned control_v4_interface(const struct in_pktinfo *);

/* Returns the control message of the reply to a datagram. */
struct in_pktinfo control_v4_reply(const struct in_pktinfo *to,
    unsigned interface);

#endif
