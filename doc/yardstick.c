/*
 * The yardstick of `make bench`: the echo server that a person would write by
 * hand over epoll(7), as fast as that goes and right where it matters: no
 * byte is lost to a short write, no client waits for another. It lacks all
 * that costs: a log, limits, timeouts, an orderly stop.
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
	char *rest;		/* what the client would not take */
	size_t left;		/* bytes of it */
};

static int epoll;
static char buffer[65536];

static void
watch(int op, struct client *c, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.ptr = c };

	if (epoll_ctl(epoll, op, c->fd, &event) < 0)
		err(1, "epoll_ctl");
}

static struct client *
add(int fd)
{
	struct client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		err(1, "calloc");
	c->fd = fd;
	watch(EPOLL_CTL_ADD, c, EPOLLIN);
	return c;
}

static void
drop(struct client *c)
{
	close(c->fd);
	free(c->rest);
	free(c);
}

/*
 * Sends n bytes at data, the rest kept earlier or what was read just now. What
 * the client does not take now is kept until it does.
 */
static void
answer(struct client *c, const char *data, size_t n)
{
	ssize_t sent = send(c->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
	size_t done = sent > 0 ? (size_t)sent : 0;

	if (sent < 0 && errno != EAGAIN) {
		drop(c);
		return;
	}
	c->left = n - done;
	if (c->rest == NULL && c->left > 0) {
		if ((c->rest = malloc(c->left)) == NULL)
			err(1, "malloc");
		watch(EPOLL_CTL_MOD, c, EPOLLOUT);
		memcpy(c->rest, data + done, c->left);
	} else if (c->rest != NULL && c->left > 0)
		memmove(c->rest, data + done, c->left);
	else if (c->rest != NULL) {
		free(c->rest);
		c->rest = NULL;
		watch(EPOLL_CTL_MOD, c, EPOLLIN);
	}
}

static void
serve(struct client *c)
{
	ssize_t n;

	if (c->rest != NULL) {
		answer(c, c->rest, c->left);
		return;
	}
	n = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
	if (n > 0)
		answer(c, buffer, (size_t)n);
	else
		drop(c);
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
	listener = add(fd);
	for (;;) {
		struct epoll_event events[64];
		int n = epoll_wait(epoll, events, 64, -1);

		for (int i = 0; i < n; i++) {
			if (events[i].data.ptr != listener)
				serve(events[i].data.ptr);
			else if ((fd = accept(listener->fd, NULL, NULL)) >= 0)
				add(fd);
		}
	}
}
