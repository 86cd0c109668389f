#include "port.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

#ifndef IP_LOCAL_PORT_RANGE
#define IP_LOCAL_PORT_RANGE 51	/* include/uapi/linux/in.h */
#endif

/* States, as in include/net/tcp_states.h of Linux. */
enum { STATE_SYN_RECV = 3, STATE_TIME_WAIT = 6, STATE_LISTEN = 10 };

/* A line of /proc/net/tcp. */
struct connection {
	struct net_peer local, remote;
	uint16_t local_port, remote_port;	/* in host byte order */
	int state;
	unsigned long waiting;	/* of a listener: clients in its queue */
};

/*
 * Parses "0100007F:2710": an address of one or four words, in the byte order of
 * the memory, and a port.
 */
static uint16_t
parse_end(struct net_peer *end, const char *text)
{
	size_t words = strcspn(text, ":") / 8;
	uint16_t port = (uint16_t)strtoul(text + 8 * words + 1, NULL, 16);
	uint32_t address[4] = { 0 };
	char word[9] = "";

	for (size_t i = 0; i < words && i < 4; i++) {
		memcpy(word, text + 8 * i, 8);
		address[i] = (uint32_t)strtoul(word, NULL, 16);
	}
	*end = (struct net_peer){ .size = sizeof(end->address.v4) };
	if (words == 1) {
		end->address.v4.sin_family = AF_INET;
		memcpy(&end->address.v4.sin_addr, address, 4);
	} else {
		end->size = sizeof(end->address.v6);
		end->address.v6.sin6_family = AF_INET6;
		memcpy(&end->address.v6.sin6_addr, address, 16);
	}
	net_set_port(&end->address.any, port);
	return port;
}

/* Parses a line; false if it is the heading. */
static bool
parse_connection(struct connection *c, char *line)
{
	char *words[5], *rest = line, *queues;
	int n = 0;

	while (n < 5 && (words[n] = strsep(&rest, " \n")) != NULL)
		n += *words[n] != '\0';
	if (n < 5 || strchr(words[1], ':') == NULL ||
	    (queues = strchr(words[4], ':')) == NULL)
		return false;
	c->local_port = parse_end(&c->local, words[1]);
	c->remote_port = parse_end(&c->remote, words[2]);
	c->state = (int)strtol(words[3], NULL, 16);
	c->waiting = strtoul(queues + 1, NULL, 16);
	return true;
}

/*
 * Calls a function with each connection of both lists (IPv4 and IPv6). If the
 * function returns false, the rest of the list is skipped. Returns false if
 * there is no list.
 */
static bool
each_connection(bool (*visit)(const struct connection *, void *), void *to)
{
	static const char *const lists[] = { "/proc/net/tcp",
	    "/proc/net/tcp6" };
	struct connection c;
	bool found = false;
	char line[512];

	for (size_t i = 0; i < 2; i++) {
		FILE *f = fopen(lists[i], "re");

		if (f == NULL)
			continue;
		found = true;
		while (fgets(line, sizeof(line), f) != NULL)
			if (parse_connection(&c, line) && !visit(&c, to))
				break;
		fclose(f);
	}
	return found;
}

/* A port, and how many connections were found there. */
struct search {
	uint16_t port;
	int found;
};

/*
 * Whether a connection to 127.0.0.1 or ::1 reaches a listener at that address.
 */
static bool
is_local_address(const struct net_peer *end)
{
	const struct in6_addr *v6 = &end->address.v6.sin6_addr;
	uint32_t v4 = end->address.v4.sin_addr.s_addr;

	if (end->address.any.sa_family == AF_INET)
		return v4 == htonl(INADDR_ANY) || v4 == htonl(INADDR_LOOPBACK);
	return IN6_IS_ADDR_UNSPECIFIED(v6) || IN6_IS_ADDR_LOOPBACK(v6) ||
	    IN6_IS_ADDR_V4MAPPED(v6);
}

/*
 * Whether listeners may follow in the list. Linux prints the listeners before
 * all connections (until Linux 4.4, connections in SYN_RECV are between the
 * listeners). There may be many thousands of connections, most of them in
 * TIME_WAIT, and a search for listeners need not read them.
 */
static bool
may_listeners_follow(const struct connection *c)
{
	return c->state == STATE_LISTEN || c->state == STATE_SYN_RECV;
}

static bool
count_listening(const struct connection *c, void *to)
{
	struct search *s = to;

	s->found += c->state == STATE_LISTEN && c->local_port == s->port &&
	    is_local_address(&c->local);
	return may_listeners_follow(c);
}

int
port_is_listening(uint16_t port)
{
	struct search s = { .port = port };

	return each_connection(count_listening, &s) ? s.found > 0 : -1;
}

bool
port_is_taken(uint16_t port)
{
	return port_is_listening(port) == 1;
}

static bool
count_in_queue(const struct connection *c, void *to)
{
	struct search *s = to;

	s->found += c->state == STATE_LISTEN && c->local_port == s->port &&
	    is_local_address(&c->local) && c->waiting > 0;
	return may_listeners_follow(c);
}

bool
port_has_queue(const struct net_peer *server)
{
	struct search s = {
	    .port = ntohs(server->address.v4.sin_port) };	/* v6: alike */

	return server->address.any.sa_family != AF_UNIX &&
	    is_local_address(server) && each_connection(count_in_queue, &s) &&
	    s.found > 0;
}

bool
port_is_for_clients(uint16_t port)
{
	FILE *f = fopen("/proc/sys/net/ipv4/ip_local_port_range", "re");
	char line[32] = "", *rest;
	unsigned long first, last;

	if (f == NULL)
		return true;
	(void)!fgets(line, sizeof(line), f);
	fclose(f);
	first = strtoul(line, &rest, 10);
	last = strtoul(rest, NULL, 10);
	return last == 0 || (port >= first && port <= last);
}

static bool
count_waiting(const struct connection *c, void *to)
{
	struct search *s = to;

	s->found += c->state == STATE_TIME_WAIT && c->local_port == s->port;
	return true;
}

bool
port_is_waiting(uint16_t port)
{
	struct search s = { .port = port };

	return each_connection(count_waiting, &s) && s.found > 0;
}

/*
 * Lets the next connect(2) of a socket use that local port, even if other
 * sockets use it, as long as the combination of both addresses and ports is new
 * (ip(7); since Linux 6.3). An older system allows the port only if no other
 * socket uses it.
 */
static int
bind_client(int fd, const struct net_peer *end, uint16_t port)
{
	uint32_t range = (uint32_t)port << 16 | port;
	struct net_peer from = *end;

	if (setsockopt(fd, IPPROTO_IP, IP_LOCAL_PORT_RANGE, &range,
	    sizeof(range)) == 0) {
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT,
		    &(int){ 1 }, sizeof(int));
		net_set_port(&from.address.any, 0);
	}
	return bind(fd, &from.address.any, from.size);
}

/*
 * Connects from the address and port of the other end of a connection in
 * TIME_WAIT. Because no server listens at the port, the system answers the SYN
 * with the acknowledgement of the old connection. The new socket does not
 * expect this acknowledgement and sends a reset, which ends TIME_WAIT (RFC
 * 1337; Linux ignores the reset if net.ipv4.tcp_rfc1337 is set).
 */
static bool
clear_connection(const struct connection *c, void *to)
{
	struct search *s = to;
	int fd;

	if (c->state != STATE_TIME_WAIT || c->local_port != s->port)
		return true;
	fd = socket(c->local.address.any.sa_family, SOCK_STREAM |
	    SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return true;
	if (bind_client(fd, &c->remote, c->remote_port) == 0)
		(void)!connect(fd, &c->local.address.any, c->local.size);
	close(fd);
	return true;
}

void
port_clear(uint16_t port)
{
	struct search s = { .port = port };

	each_connection(clear_connection, &s);
}
