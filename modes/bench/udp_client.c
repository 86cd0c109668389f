#include "udp_client.h"

#include <sys/uio.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The datagrams that are being sent or received, one client at a time. */
static struct {
	unsigned char *input;	/* UDP_BATCH spaces of size bytes */
	size_t size;
	unsigned char headers[UDP_BATCH][PAYLOAD_HEADER];
	struct iovec parts[UDP_BATCH][2];	/* header and body */
	struct iovec spaces[UDP_BATCH];
	struct mmsghdr out[UDP_BATCH], in[UDP_BATCH];
} batch;

bool
udp_client_allocate(size_t size)
{
	batch.size = size;
	batch.input = malloc(UDP_BATCH * size);
	for (size_t i = 0; i < UDP_BATCH; i++) {
		batch.spaces[i] = (struct iovec){ batch.input + i * size,
		    size };
		batch.in[i].msg_hdr = (struct msghdr){
		    .msg_iov = &batch.spaces[i], .msg_iovlen = 1 };
		batch.parts[i][0] = (struct iovec){ batch.headers[i],
		    PAYLOAD_HEADER };
		batch.out[i].msg_hdr = (struct msghdr){
		    .msg_iov = batch.parts[i], .msg_iovlen = 2 };
	}
	return batch.input != NULL;
}

void
udp_client_free(void)
{
	free(batch.input);
	batch.input = NULL;
}

/*
 * If no server listens at a port of loopback, the system may give this port to
 * the client. The socket is then connected to itself.
 */
static bool
udp_client_is_self_connected(int fd, const struct net_peer *server)
{
	struct net_peer self;

	return net_self(fd, &self) == 0 && self.size == server->size &&
	    memcmp(&self.address, &server->address, self.size) == 0;
}

int
udp_client_open(struct udp_client *c, const struct net_peer *server,
    struct payload_key key, size_t window)
{
	*c = (struct udp_client){ .other_fd = -1 };
	c->fd = net_connect_udp(&server->address.any, server->size);
	if (c->fd < 0)
		return c->fd;
	c->other_fd = udp_client_is_self_connected(c->fd, server) ?
	    -ECONNREFUSED : net_share_port(c->fd);
	if (c->other_fd < 0) {
		close(c->fd);
		return c->other_fd;
	}
	net_enlarge_buffers(c->fd);
	if (flow_init(&c->flow, key, window))
		return 0;
	udp_client_close(c);
	return -ENOMEM;
}

void
udp_client_close(struct udp_client *c)
{
	close(c->fd);
	close(c->other_fd);
	flow_free(&c->flow);
}

void
udp_client_start_counting(struct udp_client *c)
{
	flow_start_counting(&c->flow);
	c->dropped = net_kernel_drops(c->fd);
}

uint32_t
udp_client_dropped(const struct udp_client *c)
{
	return net_kernel_drops(c->fd) - c->dropped;
}

/* Prepares the n messages that are sent next. */
static void
udp_client_prepare(const struct flow *f, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		payload_header(batch.headers[i], &f->key, f->next + i);
		/* sendmsg(2) does not write to what an iovec points to. */
		batch.parts[i][1] = (struct iovec){
		    (void *)payload_body(&f->key, f->next + i),
		    f->key.size - PAYLOAD_HEADER };
	}
}

/* Sends at most n messages, at most UDP_BATCH. Returns 0 or -errno. */
static int
udp_client_send_batch(struct udp_client *c, size_t n, int64_t now)
{
	int sent;

	udp_client_prepare(&c->flow, n);
	sent = (int)sendmmsg(c->fd, batch.out, (unsigned)n,
	    MSG_DONTWAIT | MSG_NOSIGNAL);
	if (sent < 0 && errno != EAGAIN && errno != EINTR && errno != ENOBUFS)
		return -errno;
	sent = sent < 0 ? 0 : sent;
	flow_sent(&c->flow, (size_t)sent, now);
	c->blocked = (size_t)sent < n;
	return 0;
}

int
udp_client_send(struct udp_client *c, int64_t now)
{
	size_t room;
	int error = 0;

	c->blocked = false;
	while (error == 0 && !c->blocked && (room = flow_room(&c->flow)) > 0)
		error = udp_client_send_batch(c, room < UDP_BATCH ? room :
		    UDP_BATCH, now);
	return error;
}

int
udp_client_send_scheduled(struct udp_client *c, int64_t due)
{
	c->blocked = flow_room(&c->flow) == 0;
	return c->blocked ? 0 : udp_client_send_batch(c, 1, due);
}

/*
 * Returns the number of datagrams to ask for: the number of expected replies.
 * With a larger number, recvmmsg(2) would try once too often in each call. The
 * next call receives a datagram that is not expected.
 */
static unsigned
udp_client_expected(const struct udp_client *c)
{
	size_t n = c->flow.in_flight.n;

	return n == 0 ? 1 : n < UDP_BATCH ? (unsigned)n : UDP_BATCH;
}

/*
 * Returns the whole size of a datagram, even if it is larger than its space
 * (MSG_TRUNC). If the system does not give this size, returns a size that is
 * larger than the space.
 */
static size_t
udp_client_size(const struct mmsghdr *message)
{
	bool is_cut = message->msg_hdr.msg_flags & MSG_TRUNC &&
	    (size_t)message->msg_len <= batch.size;

	return is_cut ? batch.size + 1 : (size_t)message->msg_len;
}

int
udp_client_receive(struct udp_client *c, struct udp_received *r)
{
	int n = (int)recvmmsg(c->fd, batch.in, udp_client_expected(c),
	    MSG_DONTWAIT | MSG_TRUNC, NULL);

	r->n = 0;
	r->time = 0;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	r->time = net_now();
	for (int i = 0; i < n; i++) {
		int64_t latency = flow_receive(&c->flow,
		    batch.spaces[i].iov_base, udp_client_size(&batch.in[i]),
		    r->time);

		if (latency >= 0)
			r->latencies[r->n++] = latency;
	}
	return n;
}

void
udp_client_receive_foreign(struct udp_client *c)
{
	char byte;

	for (int i = 0; i < UDP_BATCH &&
	    net_recv(c->other_fd, &byte, 1) >= 0; i++)
		flow_foreign(&c->flow);
}
