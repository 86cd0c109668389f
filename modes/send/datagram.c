#include "datagram.h"

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/lib/text.h"

/* How long to wait for surplus datagrams after the last reply. */
static const int64_t SURPLUS_TIME = 200 * NET_MS;

enum {
	RECENT = 16,		/* datagrams whose late replies are recognised */
	RECEIVE_SIZE = 65536	/* more than any datagram has */
};

/*
 * A datagram that was sent. If it was sent again, its replies may arrive late,
 * when the next datagrams are in flight.
 */
struct sent_datagram {
	uint64_t number;	/* from 1; 0: none */
	uint64_t awaited;	/* copies that were sent and not answered */
	size_t size;		/* bytes */
	unsigned char data[NET_DATAGRAM_MAX];
};

struct datagrams {
	struct exchange *x;
	const struct datagram_plan *plan;
	int other;		/* the socket for other addresses */
	uint64_t number;	/* datagrams sent so far */
	struct sent_datagram recent[RECENT];
	unsigned char received[RECEIVE_SIZE];
	char stranger[NET_NAME_MAX];	/* the first other address, or "" */
	size_t stranger_size;	/* bytes that it sent */
};

enum answer { ANSWER_NONE, ANSWER_CORRECT, ANSWER_FAILURE };

size_t
datagram_limit(const struct net_peer *peer)
{
	return peer->address.any.sa_family == AF_INET ? NET_DATAGRAM_MAX_V4 :
	    NET_DATAGRAM_MAX;
}

/*
 * Fills a datagram from standard input. On a terminal, each line is a datagram,
 * so that it is answered at once.
 */
static void
read_datagram(struct datagrams *s, struct sent_datagram *d)
{
	struct pollfd readable = { s->x->input, POLLIN, 0 };
	bool is_terminal = isatty(s->x->input);

	while (d->size < s->plan->size && (!is_terminal || d->size == 0)) {
		ssize_t n = exchange_read_input(s->x, d->data + d->size,
		    s->plan->size - d->size);

		if (n == 0)
			return;
		if (n > 0)
			d->size += (size_t)n;
		else
			net_poll(&readable, 1, NET_FOREVER);
	}
}

/*
 * Returns the next datagram, or NULL after the last one. An empty message or an
 * empty input is one empty datagram. If no datagram were sent, the client would
 * report success even without a server.
 */
static struct sent_datagram *
next_datagram(struct datagrams *s)
{
	struct sent_datagram *d = &s->recent[s->number % RECENT];

	if (s->x->input < 0 && s->number > 0)
		return NULL;
	d->number = 0;
	d->size = 0;
	d->awaited = 0;
	if (s->x->input < 0) {
		d->size = s->x->message_left;
		memcpy(d->data, s->x->message, d->size);
	} else {
		read_datagram(s, d);
		if (d->size == 0 && s->number > 0)
			return NULL;
	}
	d->number = ++s->number;
	s->x->sent += d->size;
	return d;
}

/* Explains a failure of the socket. */
static enum answer
datagram_failed(struct datagrams *s, int error)
{
	s->x->status = dial_status(error);
	snprintf(s->x->why, EXCHANGE_WHY, "failed after %" PRIu64 " of %" PRIu64
	    " datagrams: %s%s", s->x->datagrams, s->number, strerror(error),
	    error == ECONNREFUSED ? " (ICMP port unreachable: is a UDP server "
	    "running there? echo_server -u is one)" : "");
	return ANSWER_FAILURE;
}

/*
 * Sends a datagram. EMSGSIZE may be the error of an earlier datagram (see
 * receive_answer()), so only a second EMSGSIZE is final.
 */
static enum answer
send_one(struct datagrams *s, struct sent_datagram *d)
{
	struct pollfd writable = { s->x->fd, POLLOUT, 0 };
	ssize_t n;
	int too_long = 0;

	while ((n = net_send(s->x->fd, d->data, d->size, false)) < 0) {
		if (n == -EAGAIN)
			net_poll(&writable, 1, NET_SECOND);
		else if (n != -EINTR && (n != -EMSGSIZE || too_long++ > 0))
			return datagram_failed(s, (int)-n);
	}
	d->awaited++;
	return ANSWER_NONE;
}

/*
 * Finds the recent datagram that the n received bytes answer. If several are
 * equal, prefers a datagram whose reply is still missing. NULL if there is no
 * such datagram.
 */
static struct sent_datagram *
find_recent(struct datagrams *s, size_t n)
{
	struct sent_datagram *found = NULL;

	for (struct sent_datagram *d = s->recent; d < s->recent + RECENT; d++)
		if (d->number > 0 && d->size == n &&
		    memcmp(d->data, s->received, n) == 0 &&
		    (found == NULL || found->awaited == 0))
			found = d;
	return found;
}

/* Explains what is wrong with a reply of n bytes to a datagram. */
static void
explain_difference(struct datagrams *s, const struct sent_datagram *d, size_t n)
{
	size_t least = n < d->size ? n : d->size;
	size_t at = text_first_difference(d->data, s->received, least);
	char of[64] = "";

	if (d->number > 1)
		snprintf(of, sizeof(of), " of datagram %" PRIu64, d->number);
	if (at < least)
		snprintf(s->x->why, EXCHANGE_WHY, "differs at byte %zu%s: sent "
		    "0x%02x, got 0x%02x", at + 1, of, d->data[at],
		    s->received[at]);
	else if (n > d->size)
		snprintf(s->x->why, EXCHANGE_WHY, "sent %zu byte%s too many "
		    "after %zu%s", n - d->size, PLURAL(n - d->size), d->size,
		    of);
	else
		snprintf(s->x->why, EXCHANGE_WHY, "returned only %zu of %zu "
		    "bytes%s", n, d->size, of);
}

/*
 * Judges n bytes that were received during the wait for the reply to d, or for
 * surplus datagrams if d is NULL. A datagram that was sent again may be
 * answered several times.
 */
static enum answer
judge_answer(struct datagrams *s, struct sent_datagram *d, size_t n)
{
	bool is_correct = d != NULL && n == d->size &&
	    memcmp(d->data, s->received, n) == 0;
	struct sent_datagram *recent = is_correct ? d : find_recent(s, n);

	if (recent != NULL && recent->awaited > 0 && !is_correct) {
		recent->awaited--;
		return ANSWER_NONE;
	}
	s->x->progress = net_now();
	exchange_print(s->x, s->received, n);
	if (is_correct) {
		d->awaited--;
		s->x->returned += n;
		s->x->datagrams++;
		return ANSWER_CORRECT;
	}
	s->x->status = STATUS_NO;
	if (recent != NULL)
		snprintf(s->x->why, EXCHANGE_WHY, "returned datagram %" PRIu64
		    " twice", recent->number);
	else if (d != NULL)
		explain_difference(s, d, n);
	else
		snprintf(s->x->why, EXCHANGE_WHY, "sent a datagram of %zu "
		    "byte%s too many", n, PLURAL(n));
	return ANSWER_FAILURE;
}

/* Receives one datagram or error of the server. */
static enum answer
receive_answer(struct datagrams *s, struct sent_datagram *d)
{
	ssize_t n = net_recv(s->x->fd, s->received, sizeof(s->received));

	if (n >= 0)
		return judge_answer(s, d, (size_t)n);
	if (d == NULL || n == -EAGAIN || n == -EINTR)
		return ANSWER_NONE;
	/*
	 * A router has reported that the datagram needs fragments (RFC 1191,
	 * RFC 8201). If the datagram is sent again, the system makes fragments.
	 * Two copies can arrive only if the report was wrong.
	 */
	if (n == -EMSGSIZE)
		return send_one(s, d);
	return datagram_failed(s, (int)-n);
}

/* Receives one datagram from another address; it does not count as a reply. */
static void
receive_from_stranger(struct datagrams *s)
{
	struct net_peer from;
	ssize_t n = net_recv_from(s->other, s->received, sizeof(s->received),
	    &from);

	if (n < 0 || *s->stranger != '\0')
		return;
	net_udp_name(s->stranger, &from.address.any);
	s->stranger_size = (size_t)n;
}

/* Waits for the reply to d, or for surplus if d is NULL. */
static enum answer
await_answer(struct datagrams *s, struct sent_datagram *d, int64_t until)
{
	struct pollfd fds[] = { { s->x->fd, POLLIN, 0 },
	    { s->other, POLLIN, 0 } };
	enum answer answer = ANSWER_NONE;
	int64_t now;

	while (answer == ANSWER_NONE && (now = net_now()) < until) {
		if (net_poll(fds, 2, until - now) <= 0)
			continue;
		if (fds[1].revents != 0)
			receive_from_stranger(s);
		if (fds[0].revents != 0)
			answer = receive_answer(s, d);
	}
	return answer;
}

/* Explains that no copy of the datagram was answered. */
static void
explain_loss(struct datagrams *s, const struct sent_datagram *d)
{
	char time[TEXT_TIME], again[64] = "";

	if (s->plan->retries > 0)
		snprintf(again, sizeof(again), " each of the %" PRIu64 " times",
		    s->plan->retries + 1);
	s->x->status = STATUS_TIMEOUT;
	snprintf(s->x->why, EXCHANGE_WHY, "lost 1 of %" PRIu64 " datagram%s: "
	    "received no reply to datagram %" PRIu64 " within %s%s", s->number,
	    PLURAL(s->number), d->number, text_time(time, s->x->timeout),
	    again);
}

/* Sends a datagram, again if it is lost, and waits for the reply. */
static enum answer
exchange_one(struct datagrams *s, struct sent_datagram *d)
{
	for (uint64_t tries = 0; tries <= s->plan->retries; tries++) {
		int64_t until = s->x->timeout > 0 ?
		    net_now() + s->x->timeout : INT64_MAX;
		enum answer answer;

		if (tries > 0)
			s->x->repeated++;
		if ((answer = send_one(s, d)) == ANSWER_NONE)
			answer = await_answer(s, d, until);
		if (answer != ANSWER_NONE)
			return answer;
	}
	explain_loss(s, d);
	return ANSWER_FAILURE;
}

/* Reports the other address; after a failure, in the line of the failure. */
static void
report_stranger(const struct datagrams *s)
{
	size_t n = strlen(s->x->why);

	if (*s->stranger == '\0')
		return;
	if (n > 0)
		snprintf(s->x->why + n, EXCHANGE_WHY - n, "; %zu byte%s came "
		    "from %s, which does not count", s->stranger_size,
		    PLURAL(s->stranger_size), s->stranger);
	else if (!s->plan->is_json)
		warnx("%zu byte%s came from %s, which does not count",
		    s->stranger_size, PLURAL(s->stranger_size), s->stranger);
}

void
datagram_exchange(struct exchange *x, const struct datagram_plan *plan)
{
	static struct datagrams s;	/* too large for the stack */
	struct sent_datagram *d;

	s.x = x;
	s.plan = plan;
	s.other = net_share_port(x->fd);
	if (s.other < 0)
		errx(STATUS_LOCAL, "cannot open a second socket: %s",
		    strerror(-s.other));
	x->started = x->progress = net_now();
	while (x->status == STATUS_OK && (d = next_datagram(&s)) != NULL)
		exchange_one(&s, d);
	if (x->status == STATUS_OK)
		await_answer(&s, NULL, net_now() + SURPLUS_TIME);
	report_stranger(&s);
	close(s.other);
}
