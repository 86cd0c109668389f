/*
 * Engine: io_uring(7). Any number of clients in one process. Requests and their
 * completions pass through queues in memory that the kernel shares. So one
 * system call serves all clients that are ready, and the filter of the sandbox
 * (sandbox.h) checks one call instead of three calls for each message.
 *
 * A client that sends little at a time has one request to receive, which
 * completes again and again (multishot): the kernel puts the received bytes
 * into a buffer that it chooses, and the answer is a request to send that
 * buffer. A request to send does not wait, and is complete when the kernel has
 * taken it. A client has one request to send at a time, so the order of its
 * bytes is certain.
 *
 * All other clients are served by system calls as with the other engines
 * (client_serve): clients that send much at a time, whose output is pending, or
 * that have to send a PROXY header. Such a client waits by a request to poll.
 * Its request to receive is cancelled before, because this request would fill
 * one buffer after another with the input of a client that does not read.
 *
 * The kernel also accepts connections and closes sockets by requests. A client
 * is freed when none of its requests is in flight. So a completion never
 * belongs to a freed client, or to another client with the same descriptor.
 */
#include "engine.h"
#include "loop.h"
#include "ring.h"

#include <sys/syscall.h>

#include <err.h>
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "modes/mode.h"
#include "sandbox.h"
#include "server.h"

/* The kinds of requests: three bits beside the address of a watch. */
enum { POLL, ACCEPT, RECEIVE, SEND, CANCEL, KINDS = 8 };

/* Bits of watch.in_flight. */
enum {
	IN_POLL = 1 << POLL,
	IN_ACCEPT = 1 << ACCEPT,
	IN_RECEIVE = 1 << RECEIVE,
	IN_SEND = 1 << SEND,
	IN_CANCEL = 1 << CANCEL,
	IN_WAIT = IN_POLL | IN_ACCEPT | IN_RECEIVE
};

_Static_assert(_Alignof(struct watch) >= (size_t)KINDS, "three bits are free");

enum {
	/*
	 * After this number of small turns, a client that has sent much at a
	 * time is treated as a client that sends little.
	 */
	SMALL_TURNS = 8,

	/*
	 * With this number of sends, an additional call that does not wait is
	 * worth its cost: the buffers are then free when the kernel receives.
	 */
	MANY_SENDS = 8
};

/* The longest wait before the sent bytes are counted. */
static const int64_t ACCOUNT_TIME = 5 * NET_MS;

static struct server *server;	/* of this process */
static struct clients *clients;	/* of this process */

/*
 * The number of clients that are leaving the ring, and the buffers that are
 * kept until no client is leaving. As long as the kernel has buffers, it
 * continues to receive for such a client. Because the buffers are kept, it
 * receives at most one chunk.
 */
static struct {
	unsigned clients, n;
	unsigned buffers[RING_BUFFERS];
} held;

/* By buffer: the bytes that are being sent from the buffer. */
static struct {
	struct client *client;
	size_t size;
	int result;		/* bytes that were sent, or -errno */
} sending[RING_BUFFERS];

/* The buffers that are being sent, in the order of the requests. */
static struct {
	unsigned n;
	unsigned buffers[RING_BUFFERS];
} sends;

/* By listener: the next connection. */
static struct acceptance {
	union net_address peer;	/* the kernel writes it */
	socklen_t size;
	bool is_waiting;	/* it is in the backlog already */
} acceptances[LISTENERS_MAX];

/*
 * Whether a request lets the kernel accept on this listener. With several
 * workers there is no such request, because the kernel would give the
 * connection to one worker, even to a worker that is stopped.
 */
static bool
is_accepting(const struct watch *watch)
{
	return watch->kind == WATCH_LISTENER && watch->polled == 0 &&
	    server->options.workers == 1;
}

static struct acceptance *
acceptance_of(struct watch *watch)
{
	return &acceptances[listener_of(watch) - server->listeners.list];
}

static uint64_t
name_of(const struct watch *watch, unsigned kind)
{
	return (uint64_t)(uintptr_t)watch | kind;
}

/*
 * Waiting. A watch has at most one request that waits. To wait for another
 * event, this request is cancelled, and its completion starts another request.
 */

static void
request_poll(struct watch *watch, unsigned events)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_POLL_ADD;
	request->fd = watch->fd;
	request->poll_events = (uint16_t)((events & WATCH_READ ? POLLIN : 0) |
	    (events & WATCH_WRITE ? POLLOUT : 0));
	request->user_data = name_of(watch, POLL);
	watch->in_flight |= IN_POLL;
}

/*
 * Accepts one connection. The kernel then writes the address of the peer. If no
 * connection is waiting yet, the request first waits for one, because the
 * kernel opens a socket for each attempt, and closes it if the attempt fails.
 */
static void
request_accept(struct watch *watch)
{
	struct io_uring_sqe *request = ring_request();
	struct acceptance *a = acceptance_of(watch);

	a->size = sizeof(a->peer);
	request->opcode = IORING_OP_ACCEPT;
	request->ioprio = a->is_waiting ? 0 : ring_accept_poll_first();
	request->fd = watch->fd;
	request->addr = (uintptr_t)&a->peer;
	request->addr2 = (uintptr_t)&a->size;
	request->accept_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
	request->user_data = name_of(watch, ACCEPT);
	watch->in_flight |= IN_ACCEPT;
}

static void
request_receive(struct watch *watch)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_RECV;
	request->fd = watch->fd;
	request->ioprio = IORING_RECV_MULTISHOT;
	request->flags = IOSQE_BUFFER_SELECT;
	request->user_data = name_of(watch, RECEIVE);
	watch->in_flight |= IN_RECEIVE;
}

static struct io_uring_sqe *
request_cancel(const struct watch *watch, unsigned kind)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_ASYNC_CANCEL;
	request->fd = -1;
	request->addr = name_of(watch, kind);
	return request;
}

/* The request is cancelled or completes at the same time; both are handled. */
static void
cancel_once(const struct watch *watch, unsigned kind)
{
	struct io_uring_sqe *request = request_cancel(watch, kind);

	request->flags = IOSQE_CQE_SKIP_SUCCESS;
	request->user_data = CANCEL;
}

static void
cancel_receive(struct watch *watch)
{
	if (watch->in_flight & IN_CANCEL)
		return;
	request_cancel(watch, RECEIVE)->user_data = name_of(watch, CANCEL);
	watch->in_flight |= IN_CANCEL;
}

/* Whether a request lets the kernel receive for this watch. */
static bool
is_small_client(struct watch *watch, unsigned events)
{
	return watch->kind == WATCH_CLIENT && events == WATCH_READ &&
	    watch->polled == 0 && clients->options->chunk >= RING_SIZE &&
	    client_of(watch)->header_state == HEADER_READ;
}

static void
request_events(struct watch *watch, unsigned events)
{
	if (is_small_client(watch, events))
		request_receive(watch);
	else if (is_accepting(watch))
		request_accept(watch);
	else
		request_poll(watch, events);
}

static int
uring_set(struct watch *watch, unsigned events)
{
	if (watch->in_flight & IN_POLL)
		cancel_once(watch, POLL);
	else if (watch->in_flight & IN_ACCEPT)
		cancel_once(watch, ACCEPT);
	else if (watch->in_flight & IN_RECEIVE)
		cancel_receive(watch);
	else if (events != 0)
		request_events(watch, events);
	return 0;
}

/* Closes a descriptor. The request has a completion only after an error. */
static void
uring_close(int fd)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_CLOSE;
	request->fd = fd;
	request->flags = IOSQE_CQE_SKIP_SUCCESS;
	request->user_data = CANCEL;
}

/* To be called when a request has ended: renews it if the watch still waits. */
static void
renew(struct watch *watch)
{
	if (watch->events != 0 && !(watch->in_flight & IN_WAIT))
		request_events(watch, watch->events);
}

/*
 * Clients.
 */

/* Whether the client leaves the ring, but the kernel may still receive. */
static bool
is_leaving(const struct client *c)
{
	return c->watch.polled > 0 && c->watch.in_flight & IN_RECEIVE;
}

/* From now on, the client is served by system calls. */
static void
leave_ring(struct client *c)
{
	bool was_leaving = is_leaving(c);

	c->watch.polled = SMALL_TURNS;
	if (was_leaving || !is_leaving(c))
		return;
	held.clients++;
	cancel_receive(&c->watch);
}

/* The kernel does not receive for this client any more. */
static void
left_ring(void)
{
	if (--held.clients > 0)
		return;
	while (held.n > 0)
		ring_return(held.buffers[--held.n]);
}

static void
return_buffer(const struct client *c, unsigned buffer)
{
	if (is_leaving(c))
		held.buffers[held.n++] = buffer;
	else
		ring_return(buffer);
}

static void
request_send(struct client *c, unsigned buffer, size_t size, bool more)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_SEND;
	request->fd = c->watch.fd;
	request->addr = (uintptr_t)ring_buffer(buffer);
	request->len = (uint32_t)size;
	request->flags = IOSQE_CQE_SKIP_SUCCESS;
	request->msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL |
	    (more ? MSG_MORE : 0);
	request->user_data = (uint64_t)buffer * KINDS | SEND;
	sending[buffer].client = c;
	sending[buffer].size = size;
	sending[buffer].result = (int)size;
	sends.buffers[sends.n++] = buffer;
	c->watch.in_flight |= IN_SEND;
}

/*
 * Echoes the bytes of a buffer. While an earlier answer is in flight, this
 * answer is kept, because the kernel may execute two requests in another order.
 */
static void
echo_buffer(struct client *c, unsigned buffer, size_t size, bool more)
{
	uint64_t before = c->conn.in;
	char *data = ring_buffer(buffer);

	client_received(clients, c, data, (ssize_t)size);
	if (more)
		leave_ring(c);
	if (c->conn.in == before)
		return_buffer(c, buffer);	/* discards the bytes */
	else if (c->pending == NULL && !(c->watch.in_flight & IN_SEND))
		request_send(c, buffer, size, more);
	else {
		leave_ring(c);
		client_keep(clients, c, data, size, false);
		return_buffer(c, buffer);
	}
}

/* Calls client_update() when no answer is in flight any more. */
static void
update(struct client *c)
{
	if (c->watch.in_flight & IN_SEND)
		return;
	client_update(clients, c);
	renew(&c->watch);
}

static void
receive_ended(struct client *c)
{
	if (is_leaving(c))
		left_ring();
	c->watch.in_flight &= (uint8_t)~IN_RECEIVE;
}

static void
complete_receive(struct client *c, const struct io_uring_cqe *result)
{
	unsigned buffer = result->flags >> IORING_CQE_BUFFER_SHIFT;

	if (result->res > 0)
		echo_buffer(c, buffer, (size_t)result->res,
		    result->flags & IORING_CQE_F_SOCK_NONEMPTY);
	else if (result->flags & IORING_CQE_F_BUFFER)
		return_buffer(c, buffer);
	if (!(result->flags & IORING_CQE_F_MORE))
		receive_ended(c);
	if (result->res == -ENOBUFS)
		c->watch.polled = 1;
	else if (result->res <= 0 && result->res != -ECANCELED)
		client_received(clients, c, NULL, result->res);
	update(c);
}

/* If a request to receive could not be cancelled, it was just receiving. */
static void
complete_cancel(struct watch *watch)
{
	watch->in_flight &= (uint8_t)~IN_CANCEL;
	if (watch->in_flight & IN_RECEIVE && (watch->polled > 0 ||
	    watch->events != WATCH_READ))
		cancel_receive(watch);
}

static void
complete_send(unsigned buffer)
{
	struct client *c = sending[buffer].client;
	int result = sending[buffer].result;
	size_t sent = result > 0 ? (size_t)result : 0;
	size_t left = sending[buffer].size - sent;

	c->watch.in_flight &= (uint8_t)~IN_SEND;
	client_sent(clients, c, result);
	if (left > 0 && conn_want(&c->conn) & WANT_WRITE) {
		leave_ring(c);
		client_keep(clients, c, ring_buffer(buffer) + sent, left, true);
	}
	return_buffer(c, buffer);
	update(c);
}

/*
 * Completes the requests to send. The kernel has executed these requests
 * without waiting, and reports only the requests of which it has not sent all
 * bytes.
 */
static void
complete_sends(int completions)
{
	unsigned n = sends.n;

	for (int i = 0; i < completions; i++) {
		const struct io_uring_cqe *result = ring_peek(i);

		if (result->user_data % KINDS == SEND)
			sending[result->user_data / KINDS].result = result->res;
	}
	if (!ring_is_settled())
		return;
	sends.n = 0;
	for (unsigned i = 0; i < n; i++)
		complete_send(sends.buffers[i]);
}

static void
count_turn(struct client *c, uint64_t bytes)
{
	if (bytes > RING_BUFFER_SIZE)
		c->watch.polled = SMALL_TURNS;
	else if (c->watch.polled > 0)
		c->watch.polled--;
}

static void
serve_polled(struct client *c)
{
	uint64_t before = c->conn.in;

	client_serve(clients, c);
	count_turn(c, c->conn.in - before);
}

/*
 * A request to accept that does not first wait for a connection fails at once if
 * there is no free descriptor, even if no client is waiting. Therefore a listener
 * whose request has failed is polled: accept(2) then finds the error, or
 * succeeds.
 */
static void
complete_accept(struct server *s, struct watch *watch,
    const struct io_uring_cqe *result)
{
	struct acceptance *a = acceptance_of(watch);
	struct listener *l = listener_of(watch);
	struct client *c;

	a->is_waiting = result->flags & IORING_CQE_F_SOCK_NONEMPTY;
	watch->in_flight &= (uint8_t)~IN_ACCEPT;
	if (result->res < 0) {
		watch->polled = result->res != -ECANCELED;
		renew(watch);
		return;
	}
	watch->events = 0;
	listener_accepted(l, result->res, &a->peer);
	c = server_take(s, l, result->res, &a->peer);
	if (c != NULL)
		client_update(&s->clients, c);
}

static void
serve_ready(struct server *s, struct watch *watch)
{
	if (watch->kind == WATCH_CLIENT)
		serve_polled(client_of(watch));
	else {
		loop_serve(s, watch);
		watch->polled = 0;
	}
}

static void
complete_poll(struct server *s, struct watch *watch, int result)
{
	bool is_ready = watch->events != 0 && result != -ECANCELED;

	watch->in_flight &= (uint8_t)~IN_POLL;
	if (is_ready) {
		watch->events = 0;
		serve_ready(s, watch);
	}
	renew(watch);
}

/*
 * The loop.
 */

static void
complete(struct server *s, const struct io_uring_cqe *result)
{
	unsigned kind = result->user_data % KINDS;
	uintptr_t address = (uintptr_t)(result->user_data - kind);
	struct watch *watch = (void *)address;	/* NOLINT(*-no-int-to-ptr) */

	switch (kind) {
	case POLL:
		complete_poll(s, watch, result->res);
		break;
	case ACCEPT:
		complete_accept(s, watch, result);
		break;
	case RECEIVE:
		complete_receive(client_of(watch), result);
		break;
	case CANCEL:
		if (watch != NULL)
			complete_cancel(watch);
		break;
	}
}

static void
open_ring(void)
{
	int error = ring_open();

	if (error < 0)
		errx(STATUS_LOCAL, "the kernel refuses io_uring: %s (--epoll "
		    "does without it)", error == -EINVAL ?
		    "it is older than Linux 6.1" : strerror(-error));
}

/* Several workers would each report the same failure. */
static void
uring_check(void)
{
	open_ring();
	ring_close();
}

static const struct poller poller = {
	.fd_limit = INT_MAX,
	.set = uring_set,
	.close = uring_close
};

/*
 * Returns how long to wait. The timeouts of clients and the totals depend on
 * the sent bytes, which are counted after the wait.
 */
static int64_t
wait_time(const struct server *s)
{
	int64_t ns = server_wait_time(s);

	return sends.n > 0 && (ns == NET_FOREVER || ns > ACCOUNT_TIME) ?
	    ACCOUNT_TIME : ns;
}

/*
 * Waits. The kernel has sent before the wait, so the requests to send are
 * completed with the time at which the wait began.
 */
static int
wait_for_completions(struct server *s)
{
	int n;

	if (sends.n >= MANY_SENDS)
		complete_sends(ring_submit());
	n = ring_wait(wait_time(s));
	if (n < 0)
		errx(STATUS_LOCAL, "cannot wait: %s", strerror(-n));
	complete_sends(n);
	server_tick(s);
	return n;
}

/* Serves each completed request once, in the order of completion. */
static void
serve_completed(struct server *s, int n)
{
	while (n-- > 0) {
		struct io_uring_cqe result = ring_take();

		complete(s, &result);
	}
	watch_set(&s->signals, WATCH_READ);
}

static void
uring_run(struct server *s)
{
	server = s;
	clients = &s->clients;
	open_ring();
	loop_open(s, &poller);
	while (server_is_serving(s)) {
		listener_watch(&s->listeners, server_may_accept(s),
		    s->clients.now);
		serve_completed(s, wait_for_completions(s));
		server_expire(s);
		server_close_ended(s);
	}
	loop_close();
	ring_close();
}

static const int setup_calls[] = {
	SYS_io_uring_setup, SYS_io_uring_register, SANDBOX_END
};

static const int calls[] = { SYS_io_uring_enter, SANDBOX_END };

const struct engine engine_uring = {
	.message = false,
	.chunk = "64k",
	.idle = "60s",
	.calls = calls,
	.setup_calls = setup_calls,
	.check = uring_check,
	.run = uring_run
};
