/*
 * The yardstick of `make bench`: a bare echo server with epoll(7), as fast as
 * such a server can be. It is correct in two points that matter: a short write
 * loses no byte, and no client waits for another client. It has no log, no
 * limits, no timeouts and no graceful shutdown, because these cost time.
 */
#include <sys/epoll.h>
#include <sys/socket.h>

#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct client {
	int fd;
	char *pending;		/* output that the socket did not accept */
	size_t size;		/* bytes of pending output */
};

static int epoll;
static char buffer[65536];

static void
watch_client(int op, struct client *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll, op, c->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static struct client *
add_client(int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		err(1, "calloc");
	c->fd = fd;
	watch_client(EPOLL_CTL_ADD, c, EPOLLIN);
	return c;
}

static void
close_client(struct client *c)
{
	close(c->fd);
	free(c->pending);
	free(c);
}

/*
 * Sends n bytes of data, which are the pending output or the bytes that were
 * just read. What the socket does not accept becomes the pending output, and
 * the client is not read until it is sent.
 */
static void
send_or_keep(struct client *c, const char *data, size_t n)
{
	ssize_t sent = send(c->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	size_t done = sent > 0 ? (size_t)sent : 0;

	if (sent < 0 && errno != EAGAIN) {
		close_client(c);
		return;
	}
	c->size = n - done;
	if (c->pending == NULL && c->size > 0) {
		if ((c->pending = malloc(c->size)) == NULL)
			err(1, "malloc");
		watch_client(EPOLL_CTL_MOD, c, EPOLLOUT);
		memcpy(c->pending, data + done, c->size);
	} else if (c->pending != NULL && c->size > 0)
		memmove(c->pending, data + done, c->size);
	else if (c->pending != NULL) {
		free(c->pending);
		c->pending = NULL;
		watch_client(EPOLL_CTL_MOD, c, EPOLLIN);
	}
}

static void
serve_client(struct client *c)
{
	ssize_t n;

	if (c->pending != NULL) {
		send_or_keep(c, c->pending, c->size);
		return;
	}
	n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n > 0)
		send_or_keep(c, buffer, (size_t)n);
	else
		close_client(c);
}

int
main(int argc, char **argv)
{
	struct sockaddr_in self = { .sin_family = AF_INET,
	    .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 10000)),
	    .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct client *listener;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
	if (bind(fd, (struct sockaddr *)&self, sizeof(self)) < 0 ||
	    listen(fd, SOMAXCONN) < 0)
		err(1, "listen");
	epoll = epoll_create1(0);
	listener = add_client(fd);
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr != listener)
				serve_client(events[i].data.ptr);
			else if ((fd = accept(listener->fd, NULL, NULL)) >= 0)
				add_client(fd);
		}
	}
}
