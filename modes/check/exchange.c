#include "exchange.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/lib/random.h"
#include "modes/lib/text.h"

enum {
	IDENTIFIED = 8,		/* bytes that distinguish messages */
	CONTACT = 23,		/* bytes of the first datagram */
	REMEMBERED = 2048,	/* datagrams */
	RECEIVE_BUFFER = 4 * 1024 * 1024
};

/* How long a server may take for the second copy of a datagram. */
static const int64_t DUPLICATE_WAIT = 100 * NET_MS;

/* The shortest wait before a datagram is sent again. */
static const int64_t RETRY_WAIT = 50 * NET_MS;

/* Shared by all exchanges: the last datagram, and the expected bytes. */
static unsigned char received[NET_DATAGRAM_MAX + 1];
static unsigned char expected[NET_DATAGRAM_MAX];

/*
 * The last datagrams that were sent, each with the port that sent it. The
 * sockets of earlier exchanges are closed. Therefore a later client may have
 * the port of an earlier one when a slow server replies to the earlier client.
 */
static struct {
	struct message message;
	uint16_t port;
} remembered[REMEMBERED];
static size_t remembered_next;

static int64_t
longer_time(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

/* A window of large datagrams needs more than the default buffer. */
int
exchange_open(int family)
{
	struct net_peer any = { .size = family == AF_INET6 ?
	    sizeof(any.address.v6) : sizeof(any.address.v4) };
	int fd;

	any.address.any.sa_family = (sa_family_t)family;
	if ((fd = net_bind_udp(&any.address.any, any.size)) < 0)
		return fd;
	net_ask_for_icmp(fd);
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){ RECEIVE_BUFFER },
	    sizeof(int));
	return fd;
}

int
exchange_family(const struct target *target)
{
	return target->server.peer.address.any.sa_family;
}

void
exchange_init(struct exchange *x, struct target *target)
{
	*x = (struct exchange){ .target = target, .to = target->server.peer };
}

/* Returns a number that is unique in this run, and rarely used in another. */
static uint32_t
new_identity(void)
{
	static uint32_t next;

	if (next == 0 && !random_fill(&next, sizeof(next)))
		next = (uint32_t)net_now() ^ (uint32_t)getpid() << 16;
	return next += DATAGRAM_TRIES;
}

/* Must not be called for TEXT: the same text may come from any port. */
static void
remember_datagram(const struct datagram *d)
{
	size_t i = remembered_next++ % REMEMBERED;

	remembered[i].message = d->message;
	remembered[i].port = net_port(d->fd);
}

void
exchange_add(struct exchange *x, int fd, enum content content, uint64_t size)
{
	struct datagram *d = &x->datagrams[x->n++];

	*d = (struct datagram){ .fd = fd,
	    .message = { .content = content, .size = size,
	    .seed = new_identity() } };
	if (content != TEXT)
		remember_datagram(d);
}

static bool
is_identified(const struct datagram *d)
{
	return d->message.size >= IDENTIFIED && d->message.content != TEXT;
}

struct message
exchange_message(const struct datagram *d, int attempt)
{
	struct message m = d->message;

	if (is_identified(d))
		m.seed += (uint32_t)attempt;
	return m;
}

bool
exchange_same_address(const struct net_peer *a, const struct net_peer *b)
{
	char a_name[NET_NAME_MAX], b_name[NET_NAME_MAX];

	return strcmp(net_name(a_name, &a->address.any),
	    net_name(b_name, &b->address.any)) == 0;
}

static int
count_answers(const struct datagram *d)
{
	int n = 0;

	for (int i = 0; i < d->tries; i++)
		n += d->answers[i];
	return n;
}

int
exchange_count_tries(const struct exchange *x)
{
	int n = 0;

	for (int i = 0; i < x->n; i++)
		n += x->datagrams[i].tries;
	return n;
}

/* If all tries have the same bytes, replies count for the first one. */
static int
count_unanswered_tries(const struct datagram *d)
{
	int n = 0;

	if (!is_identified(d))
		return d->tries - count_answers(d);
	for (int i = 0; i < d->tries; i++)
		n += d->answers[i] == 0;
	return n;
}

int
exchange_count_lost(const struct exchange *x)
{
	int n = 0;

	for (int i = 0; i < x->n; i++)
		n += count_unanswered_tries(&x->datagrams[i]);
	return n;
}

static bool
are_all_answered(const struct exchange *x)
{
	for (int i = 0; i < x->n; i++)
		if (!x->datagrams[i].is_answered)
			return false;
	return true;
}

static void
send_try(struct exchange *x, struct datagram *d)
{
	struct message m = exchange_message(d, d->tries);
	size_t n = message_bytes(&m, 0, expected, sizeof(expected));
	struct pollfd writable = { d->fd, POLLOUT, 0 };
	ssize_t sent;

	x->is_refused = false;
	d->sent_at[d->tries++] = net_now();
	do {
		sent = net_send_to(d->fd, expected, n, &x->to);
		if (sent == -EAGAIN || sent == -ENOBUFS)
			net_poll(&writable, 1, RETRY_WAIT);
	} while ((sent == -EAGAIN || sent == -ENOBUFS) &&
	    net_now() < d->sent_at[d->tries - 1] + NET_SECOND);
	if (sent == -ECONNREFUSED)	/* of an earlier datagram */
		sent = net_send_to(d->fd, expected, n, &x->to);
	if (sent < 0)
		x->error = (int)-sent;
}

void
exchange_send_all(struct exchange *x)
{
	x->started = x->started != 0 ? x->started : net_now();
	for (int i = 0; i < x->n; i++)
		if (!x->datagrams[i].is_answered)
			send_try(x, &x->datagrams[i]);
}

/* How many bytes at the beginning of the last datagram are equal to a try. */
static size_t
count_same(const struct datagram *d, int attempt, size_t n)
{
	struct message m = exchange_message(d, attempt);
	size_t size = message_bytes(&m, 0, expected, sizeof(expected));

	return text_first_difference(received, expected, n < size ? n : size);
}

/* Whether the last datagram of n bytes is a try of a datagram. */
static bool
is_try_of(const struct datagram *d, size_t n)
{
	for (int i = 0; i < DATAGRAM_TRIES && n == d->message.size; i++)
		if (count_same(d, i, n) == n)
			return true;
	return false;
}

/* Whether the last datagram answers an earlier one from the same port. */
static bool
is_late_reply(int fd, size_t n)
{
	uint16_t port = net_port(fd);

	for (size_t i = 0; i < REMEMBERED; i++) {
		struct datagram earlier = { .message = remembered[i].message };

		if (remembered[i].port == port && is_try_of(&earlier, n))
			return true;
	}
	return false;
}

/*
 * Finds the try whose message is equal to the last datagram, which has n bytes.
 * If no try is equal, *found is the datagram of this socket that has the most
 * bytes at its beginning in common with the last datagram, or NULL. Returns the
 * number of these bytes. Messages without an identity are compared at their own
 * socket only.
 */
static size_t
find_try(struct exchange *x, int fd, size_t n, struct datagram **found,
    int *attempt)
{
	size_t best = 0;

	*found = NULL;
	for (struct datagram *d = x->datagrams; d < x->datagrams + x->n; d++) {
		for (int i = 0; i < d->tries; i++) {
			size_t same = count_same(d, i, n);
			bool is_whole = same == n && n == d->message.size;

			if (d->fd != fd && !(is_whole && is_identified(d)))
				continue;
			if (*found != NULL && !is_whole && same <= best)
				continue;
			*found = d;
			*attempt = i;
			best = same;
			if (is_whole)
				return same;
		}
	}
	return best;
}

static void
record_fault(struct exchange *x, enum datagram_fault fault,
    const struct datagram *d, int attempt)
{
	if (x->fault != DATAGRAM_CORRECT)
		return;
	x->fault = fault;
	x->faulty = d;
	x->faulty_try = attempt;
	x->bytes = received;
}

/* Records an identical reply at the socket that has sent the datagram. */
static void
record_answer(struct exchange *x, struct datagram *d, int attempt)
{
	int64_t took = net_now() - d->sent_at[attempt];

	d->is_answered = true;
	d->answers[attempt]++;
	/* If all tries have the same bytes, this may answer the last one. */
	if (!is_identified(d))
		took = net_now() - d->sent_at[d->tries - 1];
	x->target->slowest = longer_time(x->target->slowest, took);
	if (is_identified(d) ? d->answers[attempt] > 1 :
	    count_answers(d) > d->tries)
		record_fault(x, DATAGRAM_REPEATED, d, attempt);
}

/* Compares a datagram that a socket has received with all that were sent. */
static void
judge_datagram(struct exchange *x, int fd, size_t n)
{
	bool is_foreign = !exchange_same_address(&x->from, &x->to), is_whole;
	struct datagram *d;
	int attempt = 0;
	size_t same = find_try(x, fd, n, &d, &attempt);

	x->size = n;
	is_whole = d != NULL && same == n && n == d->message.size;
	if (d == NULL || (is_foreign && !is_whole && same < IDENTIFIED))
		return;		/* it does not belong to this exchange */
	if (!is_whole && !is_foreign && is_late_reply(fd, n))
		return;
	if (!is_whole)
		record_fault(x, DATAGRAM_DIFFERS, d, attempt);
	else if (d->fd != fd)
		record_fault(x, DATAGRAM_CLIENT, d, attempt);
	else if (is_foreign)
		record_fault(x, DATAGRAM_SOURCE, d, attempt);
	else
		record_answer(x, d, attempt);
}

/* Reads what a socket has received. Returns whether there was a datagram. */
static bool
receive_datagrams(struct exchange *x, int fd)
{
	bool any = false;

	while (x->fault == DATAGRAM_CORRECT) {
		ssize_t n = net_recv_from(fd, received, sizeof(received),
		    &x->from);

		if (n >= 0) {
			judge_datagram(x, fd, (size_t)n);
			any = true;
			continue;
		}
		if (n == -ECONNREFUSED)
			x->is_refused = true;
		if (n != -EAGAIN && n != -EINTR)
			net_discard_icmp(fd);
		break;
	}
	return any;
}

/* Waits for at most ns until a socket has received a datagram or an error. */
static bool
receive_any(struct exchange *x, int64_t ns)
{
	struct pollfd fds[DATAGRAM_WINDOW];
	nfds_t n = 0;
	bool any = false;

	for (int i = 0; i < x->n; i++) {
		nfds_t j = 0;

		while (j < n && fds[j].fd != x->datagrams[i].fd)
			j++;
		if (j == n)
			fds[n++] = (struct pollfd){ x->datagrams[i].fd,
			    POLLIN, 0 };
	}
	if (net_poll(fds, n, ns) <= 0)
		return false;
	for (nfds_t i = 0; i < n; i++)
		if (fds[i].revents != 0)
			any |= receive_datagrams(x, fds[i].fd);
	return any;
}

void
exchange_listen(struct exchange *x, int64_t ns)
{
	int64_t until = net_now() + ns, left;

	while (x->fault == DATAGRAM_CORRECT && (left = until - net_now()) > 0)
		receive_any(x, left);
	x->ended = net_now();
}

/* How long to wait for a datagram before it is sent again. */
static int64_t
retry_wait(const struct target *target)
{
	int64_t wait = longer_time(RETRY_WAIT, 10 * target->slowest);

	return wait < target->timeout ? wait : target->timeout;
}

/* Waits until all are answered, or no answer has come for some time. */
static void
await_all(struct exchange *x)
{
	int64_t until = net_now() + retry_wait(x->target), left;

	while (x->fault == DATAGRAM_CORRECT && !are_all_answered(x) &&
	    !x->is_refused && (left = until - net_now()) > 0)
		if (receive_any(x, left))
			until = net_now() + retry_wait(x->target);
}

/* Waits until this datagram is answered. */
static void
await_one(struct exchange *x, const struct datagram *d, int64_t ns)
{
	int64_t until = net_now() + ns, left;

	while (x->fault == DATAGRAM_CORRECT && !d->is_answered &&
	    !x->is_refused && (left = until - net_now()) > 0)
		receive_any(x, left);
	if (x->is_refused && !d->is_answered)	/* the server may restart */
		net_poll(NULL, 0, RETRY_WAIT);
}

/* Sends one datagram until it is answered. Returns whether it was. */
static bool
retry_datagram(struct exchange *x, struct datagram *d)
{
	struct target *target = x->target;
	int64_t limit = net_now() + (target->answer_left > 0 ?
	    target->timeout : talk_short_timeout(target));

	while (!d->is_answered && d->tries < DATAGRAM_TRIES &&
	    x->fault == DATAGRAM_CORRECT && x->error == 0) {
		send_try(x, d);
		await_one(x, d, retry_wait(target));
	}
	if (!x->is_refused && x->error == 0)
		await_one(x, d, limit - net_now());
	if (!d->is_answered && x->fault == DATAGRAM_CORRECT)
		target->answer_left = 0;
	return d->is_answered;
}

bool
exchange_run(struct exchange *x)
{
	exchange_send_all(x);
	await_all(x);
	for (int i = 0; i < x->n && x->fault == DATAGRAM_CORRECT; i++) {
		struct datagram *d = &x->datagrams[i];

		if (!d->is_answered && !retry_datagram(x, d))
			break;
	}
	x->ended = net_now();
	if (are_all_answered(x) && !x->is_quick)
		exchange_listen(x, DUPLICATE_WAIT);
	return x->fault == DATAGRAM_CORRECT && are_all_answered(x);
}

void
exchange_close(struct exchange *x)
{
	for (int i = 0; i < x->n; i++)
		if (i == 0 || x->datagrams[i].fd != x->datagrams[i - 1].fd)
			close(x->datagrams[i].fd);
	x->n = 0;
}

/*
 * Opens a socket that does not have the port of the server. Without a server, a
 * socket with this port could send its datagrams to itself.
 */
static int
open_beside(const struct dial_server *server)
{
	uint16_t port = ntohs(server->peer.address.v4.sin_port);
	int family = server->peer.address.any.sa_family;
	int fd = exchange_open(family), other;

	if (fd < 0 || net_port(fd) != port)	/* v6: at the same place */
		return fd;
	other = exchange_open(family);
	close(fd);
	return other;
}

/*
 * Sends datagrams to a server, at first in short intervals, until any datagram
 * comes back. Returns the socket, or -errno.
 */
static int
contact_server(const struct dial_server *server, int64_t timeout)
{
	struct target target = { .server = *server, .timeout = timeout };
	int64_t until = net_now() + timeout, wait = RETRY_WAIT, left;
	int fd = open_beside(server);
	struct exchange x;
	char byte;

	if (fd < 0)
		return fd;
	exchange_init(&x, &target);
	exchange_add(&x, fd, LETTERS, CONTACT);
	while ((left = until - net_now()) > 0) {
		struct pollfd answer = { fd, POLLIN, 0 };

		if (x.datagrams[0].tries == DATAGRAM_TRIES)
			x.datagrams[0].tries = 0;
		send_try(&x, &x.datagrams[0]);
		if (x.error != 0)
			break;
		if (net_poll(&answer, 1, wait < left ? wait : left) > 0) {
			if (recv(fd, &byte, 1, MSG_PEEK) >= 0)
				return fd;
			if (errno != EAGAIN && errno != EINTR) {
				x.error = errno;
				break;
			}
		}
		wait = wait < NET_SECOND ? 2 * wait : wait;
	}
	close(fd);
	return x.error != 0 ? -x.error : -ETIMEDOUT;
}

int
exchange_dial(const struct address *address, int64_t timeout,
    struct dial_server *server, struct dial_error *why)
{
	struct addrinfo *found;
	char time[TEXT_TIME];
	int fd = -EAFNOSUPPORT;

	if (!address->is_udp)
		return dial_any(address, timeout, server, why);
	snprintf(server->name, sizeof(server->name), "%s", address->host);
	if (dial_resolve(address, &found, why) < 0)
		return -1;
	for (struct addrinfo *a = found; a != NULL && fd < 0; a = a->ai_next) {
		memcpy(&server->peer.address, a->ai_addr, a->ai_addrlen);
		server->peer.size = a->ai_addrlen;
		net_udp_name(server->name, a->ai_addr);
		fd = contact_server(server, timeout);
	}
	net_free_addresses(found);
	if (fd >= 0)
		return fd;
	dial_explain(why, server, -fd);
	if (fd == -ETIMEDOUT)
		snprintf(why->text, sizeof(why->text), "%s has answered no "
		    "datagram within %s", server->name,
		    text_time(time, timeout));
	return -1;
}
