/*
 * Makes a header of the PROXY protocol, version 1 or 2 (proxy-protocol.txt of
 * HAProxy), as a load balancer sends it.
 */
#ifndef PROXY_HEADER_H
#define PROXY_HEADER_H

#include <stddef.h>

#include "modes/lib/net.h"

enum { PROXY_HEADER_MAX = 232 };	/* bytes */

/*
 * Writes the header for a connection from client to server, two addresses of
 * the same family. Version 1 has no Unix sockets, and calls them UNKNOWN.
 * Returns the size in bytes.
 */
size_t proxy_header_write(unsigned char out[PROXY_HEADER_MAX], int version,
    const struct net_peer *client, const struct net_peer *server);

#endif
