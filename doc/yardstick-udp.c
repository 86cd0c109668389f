/*
 * The yardstick of `make bench` for UDP: a bare loop of recvfrom(2) and
 * sendto(2), as most UDP echo servers are. It replies from the address that the
 * system chooses and with the TTL that the system sets, and answers every
 * source, because a correct reply costs time.
 */
#include <sys/socket.h>

#include <err.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>

static char buffer[65536];

int
main(int argc, char **argv)
{
	struct sockaddr_in self = { .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 10000)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ 1 << 23 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0)
		err(1, "bind");
	for (;;) {
		struct sockaddr_in from;
		socklen_t size = sizeof(from);
		ssize_t n = recvfrom(fd, buffer, sizeof(buffer), 0,
		    (struct sockaddr *)&from, &size);

		if (n >= 0)
			sendto(fd, buffer, (size_t)n, 0,
			    (struct sockaddr *)&from, size);
	}
}
