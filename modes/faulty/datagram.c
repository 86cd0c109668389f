#include "datagram.h"

#include <sys/uio.h>

#include <err.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/children.h"
#include "modes/lib/net.h"
#include "modes/lib/text.h"
#include "modes/mode.h"

/* How long reorder keeps an answer if no other datagram comes. */
static const int64_t REORDER_TIME = 100 * NET_MS;

enum {
	PORT_UNPRIVILEGED = 1024,	/* the first port of any user */
	MAX_WAITING = 1000		/* answers that delay keeps at most */
};

/* A datagram that has been received, or one of the answers to it. */
struct datagram {
	struct net_peer client;
	_Alignas(struct cmsghdr) char control[128];	/* our address */
	size_t control_size;
	size_t size;			/* bytes of data */
	char data[65536];
};

/* An answer that waits for its time. */
struct waiting {
	struct waiting *next;
	int64_t due;			/* net_now() */
	bool is_held;			/* by reorder */
	int fd;
	struct datagram *datagram;	/* its data end after its size */
};

struct server {
	const struct datagram_plan *plan;
	int fd;
	int other;		/* for other-source */
	uint16_t port;
	struct waiting *first;	/* in the order in which they are due */
	int waiting;		/* their number */
};

static bool
log_is_read(const struct server *s, int verbosity)
{
	return s->plan->verbosity >= verbosity &&
	    net_is_ready(STDERR_FILENO, POLLOUT);
}

/* Receives a datagram and the address to which it was sent. */
static bool
receive_datagram(const struct server *s, struct datagram *d)
{
	struct iovec part = { d->data, sizeof(d->data) };
	struct msghdr message = { .msg_name = &d->client.address,
	    .msg_namelen = sizeof(d->client.address), .msg_iov = &part,
	    .msg_iovlen = 1, .msg_control = d->control,
	    .msg_controllen = sizeof(d->control) };
	ssize_t n = recvmsg(s->fd, &message, MSG_DONTWAIT);

	if (n < 0)
		return false;
	d->client.size = message.msg_namelen;
	d->control_size = message.msg_controllen;
	d->size = (size_t)n;
	return true;
}

/* Sends an answer from the address to which the datagram was sent. */
static void
send_datagram(const struct server *s, int fd, struct datagram *d)
{
	struct iovec part = { d->data, d->size };
	struct msghdr message = { .msg_name = &d->client.address,
	    .msg_namelen = d->client.size, .msg_iov = &part, .msg_iovlen = 1,
	    .msg_control = d->control,
	    .msg_controllen = (socklen_t)d->control_size };
	char name[NET_NAME_MAX];
	bool is_sent = sendmsg(fd, &message, 0) >= 0;

	net_name(name, &d->client.address.any);
	if (!is_sent && log_is_read(s, -1))
		warn("cannot answer %s", name);
	else if (is_sent && log_is_read(s, 1))
		fprintf(stderr, "%s answered with %zu byte%s\n", name, d->size,
		    PLURAL(d->size));
}

/*
 * Adds an answer to the list, after the answers that are due at the same time.
 */
static void
insert_waiting(struct server *s, struct waiting *w)
{
	struct waiting **at = &s->first;

	while (*at != NULL && (*at)->due <= w->due)
		at = &(*at)->next;
	w->next = *at;
	*at = w;
}

static void
free_waiting(struct server *s, struct waiting *w)
{
	free(w->datagram);
	free(w);
	s->waiting--;
}

/* Sends the answers that are due. Returns how long the next one waits. */
static int64_t
send_due(struct server *s)
{
	struct waiting *w;
	int64_t now = net_now();

	while ((w = s->first) != NULL && w->due <= now) {
		s->first = w->next;
		send_datagram(s, w->fd, w->datagram);
		free_waiting(s, w);
	}
	return w == NULL ? NET_FOREVER : w->due - now;
}

static void
make_wait(struct server *s, int fd, const struct datagram *d, int64_t due,
    bool is_held)
{
	size_t size = offsetof(struct datagram, data) + d->size;
	struct waiting *w = malloc(sizeof(*w));
	struct datagram *copy = malloc(size);

	if (w == NULL || copy == NULL)
		err(STATUS_LOCAL, "no memory for an answer");
	memcpy(copy, d, size);
	*w = (struct waiting){ .due = due, .is_held = is_held, .fd = fd,
	    .datagram = copy };
	insert_waiting(s, w);
	s->waiting++;
}

static bool
is_same_client(const struct net_peer *a, const struct net_peer *b)
{
	return a->size == b->size &&
	    memcmp(&a->address, &b->address, a->size) == 0;
}

/* The place in the list of the first answer that reorder holds, or NULL. */
static struct waiting **
find_held(struct server *s, const struct net_peer *client)
{
	struct waiting **at = &s->first;

	for (; *at != NULL; at = &(*at)->next)
		if ((*at)->is_held &&
		    is_same_client(&(*at)->datagram->client, client))
			return at;
	return NULL;
}

/* Makes the held answers due, after the answers that are due at that time. */
static void
release_held(struct server *s, const struct net_peer *client, int64_t due)
{
	struct waiting **at, *w;

	while ((at = find_held(s, client)) != NULL) {
		w = *at;
		*at = w->next;
		w->is_held = false;
		w->due = due;
		insert_waiting(s, w);
	}
}

/* Changes the bytes of a datagram as the faults demand. */
static void
change_datagram(struct faults_chosen *c, struct datagram *d)
{
	static char changed[FAULTS_BYTE_MAX * sizeof(d->data) + 1];
	const char *constant = c->set->text[CONSTANT];
	size_t size = faults_strip(c, d->data, d->size);
	char *end = changed;

	if (faults_has(c, CONSTANT))
		end = mempcpy(changed, constant, strnlen(constant,
		    sizeof(d->data)));
	for (size_t i = 0; i < size && !faults_has(c, CONSTANT); i++)
		end = faults_change_byte(c, d->data[i], end);
	if (c->held >= 0)
		*end++ = (char)c->held;
	d->size = (size_t)(end - changed);
	if (d->size > sizeof(d->data))
		d->size = sizeof(d->data);	/* no socket sends as much */
	memcpy(d->data, changed, d->size);
	if (c->number[CORRUPT] == FAULTS_NO_VALUE && d->size > 0)
		d->data[faults_random(c, CORRUPT, 0, d->size - 1)]++;
	if (d->size > c->number[CUT])
		d->size = (size_t)c->number[CUT];
}

/* Returns whether there is no answer at all. */
static bool
is_unanswered(const struct faults_chosen *c, const struct datagram *d)
{
	if (faults_has(c, LOSE) &&
	    faults_random(c, LOSE, 0, 99) < c->number[LOSE])
		return true;
	return faults_has(c, MUTE) ||
	    (faults_has(c, DECODE) && !text_is_utf8(d->data, d->size));
}

/* Puts an answer into the list, in pieces if pieces is on. */
static void
answer_at(struct server *s, const struct faults_chosen *c,
    const struct datagram *d, int64_t due, bool is_held)
{
	static struct datagram piece;
	int fd = faults_has(c, OTHER_SOURCE) ? s->other : s->fd;
	size_t rest = d->size;

	piece = *d;
	do {
		piece.size = rest < c->number[PIECES] ? rest :
		    (size_t)c->number[PIECES];
		memcpy(piece.data, d->data + d->size - rest, piece.size);
		make_wait(s, fd, &piece, due, is_held);
		rest -= piece.size;
	} while (rest > 0);
}

/* Answers a datagram as the faults demand. */
static void
answer_datagram(struct server *s, struct faults_chosen *c,
    struct datagram *d)
{
	int64_t due = net_now() +
	    (faults_has(c, DELAY) ? (int64_t)c->number[DELAY] : 0);
	bool is_second = find_held(s, &d->client) != NULL;
	bool is_held = faults_has(c, REORDER) && !is_second;

	change_datagram(c, d);
	if (is_held)
		due += REORDER_TIME;
	answer_at(s, c, d, due, is_held);
	if (c->number[DOUBLE] == FAULTS_NO_VALUE)
		answer_at(s, c, d, due, is_held);
	if (is_second)
		release_held(s, &d->client, due);
}

static uint16_t
client_port(const struct datagram *d)
{
	return ntohs(d->client.address.any.sa_family == AF_INET6 ?
	    d->client.address.v6.sin6_port : d->client.address.v4.sin_port);
}

/* Receives the nth datagram. Returns false if there is none. */
static bool
serve_datagram(struct server *s, uint64_t n)
{
	static struct datagram d;
	struct faults_chosen chosen;
	char name[NET_NAME_MAX];
	const char *text;
	bool is_answered;

	if (!receive_datagram(s, &d))
		return false;
	text = faults_choose(&chosen, s->plan->faults, n);
	is_answered = client_port(&d) >= PORT_UNPRIVILEGED &&
	    client_port(&d) != s->port && !is_unanswered(&chosen, &d);
	if (log_is_read(s, 0))
		fprintf(stderr, "%s sent %zu byte%s: %s%s\n",
		    net_name(name, &d.client.address.any), d.size,
		    PLURAL(d.size), text, is_answered ? "" : ", not answered");
	if (is_answered)
		answer_datagram(s, &chosen, &d);
	return true;
}

/* Asks the kernel for the address to which each datagram was sent. */
static void
ask_for_address(int fd, int family)
{
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &(int){ 1 },
		    sizeof(int));
	else
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &(int){ 1 },
		    sizeof(int));
}

/* Returns a socket at another port of the server's address. */
static int
open_other(int fd)
{
	struct net_peer self;
	int other;

	net_self(fd, &self);
	net_set_port(&self.address.any, 0);
	other = net_bind_udp(&self.address.any, self.size);
	if (other < 0)
		errx(STATUS_LOCAL, "cannot open another port: %s",
		    strerror(-other));
	return other;
}

void
datagram_answer_all(int fd, const struct datagram_plan *plan)
{
	struct server s = { .plan = plan, .fd = fd, .port = net_port(fd) };
	uint64_t count = plan->count > 0 ? plan->count : UINT64_MAX, n = 0;
	struct net_peer self;

	net_self(fd, &self);
	ask_for_address(fd, self.address.any.sa_family);
	s.other = open_other(fd);
	while (!children_stopped() && (n < count || s.waiting > 0)) {
		int64_t wait = send_due(&s);
		bool may_receive = n < count && s.waiting < MAX_WAITING;

		if (n == count && s.waiting == 0)
			break;
		if (children_wait(may_receive ? fd : -1, wait) &&
		    serve_datagram(&s, n + 1))
			n++;
	}
	while (s.first != NULL) {
		struct waiting *next = s.first->next;

		free_waiting(&s, s.first);
		s.first = next;
	}
	close(s.other);
	close(fd);
}
