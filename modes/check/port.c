#include "port.h"

#include <errno.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum {
	FIRST_CHOICE = 20000,	/* clients get ports from 32768 on (Linux) */
	CHOICES = 10000
};

/*
 * Whether no socket has the port at any address of a family, not even in
 * TIME_WAIT: because SO_REUSEADDR is not set, bind(2) fails if a socket has the
 * port.
 */
static bool
is_free(sa_family_t family, uint16_t port)
{
	struct net_peer any = { .size = sizeof(any.address.v6) };
	int fd, error = 0;

	if (family == AF_INET)
		any.size = sizeof(any.address.v4);
	any.address.any.sa_family = family;	/* the address is all zeros */
	net_set_port(&any.address.any, port);
	if ((fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) < 0)
		return true;	/* this system has no such addresses */
	if (bind(fd, &any.address.any, any.size) < 0)
		error = errno;
	close(fd);
	return error != EADDRINUSE;
}

bool
port_is_unused(uint16_t port)
{
	return is_free(AF_INET, port) && is_free(AF_INET6, port);
}

uint16_t
port_choose(void)
{
	static unsigned tried;

	/* Start at the process ID, so that parallel runs choose other ports. */
	for (int i = 0; i < CHOICES; i++) {
		uint16_t port = (uint16_t)(FIRST_CHOICE + ((unsigned)getpid() *
		    37 + tried++) % CHOICES);

		if (port_is_unused(port))
			return port;
	}
	return 0;
}
