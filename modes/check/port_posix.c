/*
 * There is no list of connections that exists on every system. Therefore
 * connect(2) finds out whether a program listens, and bind(2) whether a port is
 * in use although no program listens.
 */
#include "port.h"

#include <unistd.h>

static const int64_t CONNECT_TIME = NET_SECOND;

static void
set_loopback(struct net_peer *end, uint16_t port)
{
	*end = (struct net_peer){ .size = sizeof(end->address.v4) };
	end->address.v4.sin_family = AF_INET;
	end->address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	net_set_port(&end->address.any, port);
}

int
port_is_listening(uint16_t port)
{
	(void)port;
	return -1;
}

bool
port_is_taken(uint16_t port)
{
	struct net_peer to;
	struct pollfd connected = { .events = POLLOUT };
	bool is_taken;

	set_loopback(&to, port);
	connected.fd = net_connect(&to.address.any, to.size);
	if (connected.fd < 0)
		return false;
	is_taken = net_poll(&connected, 1, CONNECT_TIME) > 0 &&
	    net_error(connected.fd) == 0;
	close(connected.fd);
	return is_taken;
}

bool
port_has_queue(const struct net_peer *server)
{
	(void)server;
	return false;
}

bool
port_is_for_clients(uint16_t port)
{
	(void)port;
	return true;
}

bool
port_is_waiting(uint16_t port)
{
	return port != 0 && !port_is_unused(port) &&
	    !port_is_taken(port);
}

void
port_clear(uint16_t port)
{
	(void)port;
}
