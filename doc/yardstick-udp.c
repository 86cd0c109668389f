/*
 * The yardsticks of `make bench` for UDP: a bare loop of recvfrom(2) and
 * sendto(2), as most UDP echo servers are, or with the argument "batch" one of
 * recvmmsg(2) and sendmmsg(2). Both reply from the address that the system
 * chooses and with the TTL that the system sets, and answer every source, because
 * a correct reply costs time.
 */
#include <sys/socket.h>

#include <err.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdlib.h>

enum { BATCH = 64 };

static char buffers[BATCH][65536 + 64];
static struct sockaddr_in from[BATCH];
static struct iovec parts[BATCH];
static struct mmsghdr messages[BATCH];

static void
echo_one(int fd)
{
	socklen_t size = sizeof(from[0]);
	ssize_t n = recvfrom(fd, buffers[0], sizeof(buffers[0]), 0,
	    (struct sockaddr *)&from[0], &size);

	if (n >= 0)
		sendto(fd, buffers[0], (size_t)n, 0,
		    (struct sockaddr *)&from[0], size);
}

/* A message that cannot be sent is left out, and with it the rest. */
static void
echo_batch(int fd)
{
	int n;

	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ buffers[i], 65536 };
		messages[i].msg_hdr = (struct msghdr){ .msg_name = &from[i],
		    .msg_namelen = sizeof(from[i]), .msg_iov = &parts[i],
		    .msg_iovlen = 1 };
	}
	n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
	for (int i = 0; i < n; i++)
		parts[i].iov_len = messages[i].msg_len;
	if (n > 0)
		sendmmsg(fd, messages, (unsigned)n, 0);
}

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
	for (;;)
		(argc > 2 ? echo_batch : echo_one)(fd);
}
