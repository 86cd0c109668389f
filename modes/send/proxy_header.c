#include "proxy_header.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum { PATH_SIZE = 108 };	/* bytes of a path in version 2 */

/* Formats the address of a family without its port. */
static const char *
format_host(char out[INET6_ADDRSTRLEN], const struct net_peer *peer)
{
	const void *address = peer->address.any.sa_family == AF_INET ?
	    (const void *)&peer->address.v4.sin_addr :
	    (const void *)&peer->address.v6.sin6_addr;

	return inet_ntop(peer->address.any.sa_family, address, out,
	    INET6_ADDRSTRLEN);
}

static uint16_t
peer_port(const struct net_peer *peer)
{
	return ntohs(peer->address.any.sa_family == AF_INET ?
	    peer->address.v4.sin_port : peer->address.v6.sin6_port);
}

static size_t
write_v1(unsigned char *out, const struct net_peer *client,
    const struct net_peer *server)
{
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];

	if (client->address.any.sa_family == AF_UNIX)
		return (size_t)snprintf((char *)out, PROXY_HEADER_MAX,
		    "PROXY UNKNOWN\r\n");
	return (size_t)snprintf((char *)out, PROXY_HEADER_MAX,
	    "PROXY TCP%c %s %s %u %u\r\n",
	    client->address.any.sa_family == AF_INET ? '4' : '6',
	    format_host(from, client), format_host(to, server),
	    peer_port(client), peer_port(server));
}

static unsigned char *
append_bytes(unsigned char *out, const void *data, size_t size)
{
	memcpy(out, data, size);
	return out + size;
}

static unsigned char *
append_path(unsigned char *out, const struct net_peer *peer)
{
	const char *path = peer->address.path.sun_path;

	memset(out, 0, PATH_SIZE);
	memcpy(out, path, sizeof(peer->address.path.sun_path) < PATH_SIZE ?
	    sizeof(peer->address.path.sun_path) : PATH_SIZE);
	return out + PATH_SIZE;
}

/* Appends both addresses, and sets the byte for family and transport. */
static unsigned char *
append_addresses(unsigned char *out, unsigned char *family,
    const struct net_peer *client, const struct net_peer *server)
{
	switch (client->address.any.sa_family) {
	case AF_INET:
		*family = 0x11;
		out = append_bytes(out, &client->address.v4.sin_addr, 4);
		out = append_bytes(out, &server->address.v4.sin_addr, 4);
		out = append_bytes(out, &client->address.v4.sin_port, 2);
		return append_bytes(out, &server->address.v4.sin_port, 2);
	case AF_INET6:
		*family = 0x21;
		out = append_bytes(out, &client->address.v6.sin6_addr, 16);
		out = append_bytes(out, &server->address.v6.sin6_addr, 16);
		out = append_bytes(out, &client->address.v6.sin6_port, 2);
		return append_bytes(out, &server->address.v6.sin6_port, 2);
	default:
		*family = 0x31;
		return append_path(append_path(out, client), server);
	}
}

static size_t
write_v2(unsigned char *out, const struct net_peer *client,
    const struct net_peer *server)
{
	/* The signature, version 2 with the command PROXY, and 3 bytes. */
	static const unsigned char head[] = "\r\n\r\n\0\r\nQUIT\n\x21\0\0";
	unsigned char *addresses = append_bytes(out, head, sizeof(head));
	unsigned char *end = append_addresses(addresses, out + 13, client,
	    server);

	out[14] = 0;
	out[15] = (unsigned char)(end - addresses);
	return (size_t)(end - out);
}

size_t
proxy_header_write(unsigned char out[PROXY_HEADER_MAX], int version,
    const struct net_peer *client, const struct net_peer *server)
{
	return version == 1 ? write_v1(out, client, server) :
	    write_v2(out, client, server);
}
