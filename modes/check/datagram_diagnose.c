/*
 * The message states the observation. A cause follows only if further datagrams
 * have shown it: for example, a size that comes back whole while one byte more
 * does not, or another client that is answered while this client is not. A
 * single lost datagram is never a proof, so each of these datagrams is sent
 * again, too.
 */
#include "datagram_diagnose.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "difference.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"

enum {
	CONTROL = 23,		/* bytes of a datagram that a server returns */
	CUT_PROOFS = 3		/* tries in which the rest has to be missing */
};

/* How long a server that splits a datagram may take to send the rest. */
static const int64_t REST_WAIT = 100 * NET_MS;

/*
 * Describes an exchange, with or without a received datagram, as a conversation
 * (talk.h), so that the functions for the report and for differences can be
 * those of TCP.
 */
static struct talk
describe_as_talk(struct exchange *x, const struct datagram *d, int attempt)
{
	struct talk t = { .plan.message = exchange_message(d, attempt),
	    .target = x->target, .fd = -1, .end = TALK_TIMEOUT,
	    .started = x->started, .last_progress = x->ended };
	size_t size = (size_t)d->message.size, same = 0;
	unsigned char byte;

	t.sent = size;
	if (x->fault == DATAGRAM_CORRECT)
		return t;
	t.end = TALK_OPEN;
	t.received = x->size;
	while (same < x->size && same < size && message_bytes(
	    &t.plan.message, same, &byte, 1) == 1 && byte == x->bytes[same])
		same++;
	if (same < x->size) {
		t.differs = true;
		t.differs_at = same;
		t.wrong = x->bytes + same;
		t.wrong_size = x->size - same;
	}
	return t;
}

static void
describe_exchange(struct test_run *run, const struct talk *t)
{
	report_describe(&run->report, t);
	run->report.ended = t->end == TALK_TIMEOUT ? "no datagram came back" :
	    "a datagram came back";
}

/* Sends one datagram from a new socket. Returns whether it was answered. */
static bool
ask_with(struct test_run *run, struct exchange *x, uint64_t size)
{
	bool is_correct;
	int fd = exchange_open(exchange_family(&run->target));

	exchange_init(x, &run->target);
	if (fd < 0)
		return false;
	exchange_add(x, fd, LETTERS, size);
	is_correct = exchange_run(x);
	close(fd);
	return is_correct;
}

bool
datagram_diagnose_returns(struct test_run *run, uint64_t size)
{
	struct exchange x;

	return ask_with(run, &x, size);
}

/* The result of a datagram that has one byte more than a size. */
enum cut { CUT_NOT, CUT_UNCLEAR, CUT_REST_LOST, CUT_REST_FOLLOWS };

/*
 * Whether a datagram of size + 1 bytes comes back with size bytes, and whether
 * another datagram follows. If the datagram was sent more than once, the other
 * one may be the reply to another try.
 */
static enum cut
try_cut(struct test_run *run, uint64_t size)
{
	int fd = exchange_open(exchange_family(&run->target));
	struct pollfd more = { fd, POLLIN, 0 };
	struct exchange x;
	enum cut cut = CUT_NOT;

	if (fd < 0)
		return CUT_NOT;
	exchange_init(&x, &run->target);
	exchange_add(&x, fd, LETTERS, size + 1);
	if (!exchange_run(&x) && x.fault == DATAGRAM_DIFFERS &&
	    x.size == size)
		cut = x.datagrams[0].tries > 1 ? CUT_UNCLEAR :
		    net_poll(&more, 1, REST_WAIT) > 0 ? CUT_REST_FOLLOWS :
		    CUT_REST_LOST;
	exchange_close(&x);
	return cut;
}

/*
 * Whether the server truncates datagrams at that size. One try does not prove
 * that the server sends no rest, because the rest may have been lost.
 */
static enum cut
find_cut(struct test_run *run, uint64_t size)
{
	int proofs = 0;

	if (size > 0 && !datagram_diagnose_returns(run, size))
		return CUT_NOT;
	for (int i = 0; i < DATAGRAM_TRIES && proofs < CUT_PROOFS; i++) {
		enum cut cut = try_cut(run, size);

		if (cut == CUT_NOT || cut == CUT_REST_FOLLOWS)
			return cut;
		proofs += cut == CUT_REST_LOST;
	}
	return proofs == CUT_PROOFS ? CUT_REST_LOST : CUT_UNCLEAR;
}

/* Explains a reply that has too few bytes, all of them correct. */
static enum outcome
explain_short(struct test_run *run, size_t got, uint64_t sent)
{
	enum cut cut = find_cut(run, got);

	if (cut == CUT_REST_FOLLOWS)
		return tests_report(run, FAIL, "%zu of %" PRIu64
		    " bytes came back, and then another datagram: the server "
		    "splits datagrams of more than %zu bytes", got, sent, got);
	if (cut == CUT_REST_LOST)
		return tests_report(run, FAIL, "%zu of %" PRIu64
		    " bytes came back: the server truncates datagrams at %zu "
		    "bytes", got, sent, got);
	return tests_report(run, FAIL, "%zu of %" PRIu64 " bytes came "
	    "back", got, sent);
}

/*
 * Whether the wrong bytes, which follow a whole message, belong to another try
 * than this message.
 */
static bool
continues_with(const struct exchange *x, const struct talk *t,
    const struct datagram *d, int attempt)
{
	struct message m = exchange_message(d, attempt);
	unsigned char start[MESSAGE_MARK];
	size_t n = message_bytes(&m, 0, start, MESSAGE_MARK);

	return (d != x->faulty || attempt != x->faulty_try) && n > 0 &&
	    t->wrong_size >= n && memcmp(t->wrong, start, n) == 0;
}

/*
 * Finds the datagram whose message follows another one in a received datagram.
 */
static const struct datagram *
find_joined(const struct exchange *x, const struct talk *t)
{
	for (int i = 0; i < x->n; i++)
		for (int j = 0; j < x->datagrams[i].tries; j++)
			if (continues_with(x, t, &x->datagrams[i], j))
				return &x->datagrams[i];
	return NULL;
}

static enum outcome
explain_bytes(struct test_run *run, struct exchange *x,
    const struct talk *t)
{
	const struct datagram *other;
	char sentence[DIFFERENCE_SIZE];

	if (!t->differs)
		return explain_short(run, x->size, t->sent);
	if (t->differs_at == t->sent && (other = find_joined(x, t)) != NULL)
		return tests_report(run, FAIL, "one datagram of %zu "
		    "bytes came back for two of %" PRIu64 " and %" PRIu64
		    " bytes: the server joins datagrams", x->size, t->sent,
		    other->message.size);
	if (t->sent == 0)
		return tests_report(run, FAIL, "%zu byte%s came back "
		    "for an empty datagram", x->size, PLURAL(x->size));
	difference_describe(sentence, t);
	return tests_report(run, FAIL, "%s", sentence);
}

static enum outcome
explain_fault(struct test_run *run, struct exchange *x, const struct talk *t)
{
	char from[NET_NAME_MAX], to[NET_NAME_MAX];

	switch (x->fault) {
	case DATAGRAM_SOURCE:
		return tests_report(run, FAIL, "the reply came from "
		    "%s, but the datagram was sent to %s",
		    net_udp_name(from, &x->from.address.any),
		    net_udp_name(to, &x->to.address.any));
	case DATAGRAM_CLIENT:
		return tests_report(run, FAIL, "a client received the "
		    "datagram of another client");
	case DATAGRAM_REPEATED:
		return tests_report(run, FAIL, "the same datagram came "
		    "back more than once");
	default:
		return explain_bytes(run, x, t);
	}
}

/*
 * Whether the first client of this run is answered. Late replies to its first
 * datagrams are removed.
 */
static bool
serves_first_client(struct test_run *run)
{
	struct exchange x = { .fault = DATAGRAM_DIFFERS };
	bool is_served = false;
	char byte;

	for (int i = 0; i < DATAGRAM_TRIES && run->target.fd >= 0 &&
	    x.fault == DATAGRAM_DIFFERS; i++) {
		while (recv(run->target.fd, &byte, 1, MSG_DONTWAIT) >= 0)
			;
		exchange_init(&x, &run->target);
		exchange_add(&x, run->target.fd, LETTERS, CONTROL);
		is_served = exchange_run(&x);
	}
	return is_served;
}

/*
 * Finds the largest size that is answered; good is a size that is answered, and
 * bad is one that is not. Returns 0, for no limit, if a datagram comes back
 * wrong.
 */
static uint64_t
find_size_limit(struct test_run *run, uint64_t good, uint64_t bad)
{
	while (bad - good > 1) {
		uint64_t size = good + (bad - good) / 2;
		struct exchange x;

		if (ask_with(run, &x, size))
			good = size;
		else if (x.fault == DATAGRAM_CORRECT && x.error == 0)
			bad = size;
		else
			return 0;
	}
	return good;
}

/* Explains a datagram that is not answered although others are. */
static enum outcome
explain_size(struct test_run *run, uint64_t size, int tries)
{
	uint64_t limit;

	if (size == 0)
		return tests_report(run, FAIL, "an empty datagram is "
		    "not answered (%d tries)", tries);
	if (size > CONTROL &&
	    (limit = find_size_limit(run, CONTROL, size)) > 0 &&
	    datagram_diagnose_returns(run, limit))
		return tests_report(run, FAIL, "%" PRIu64 " bytes are "
		    "not answered (%d tries): the largest datagram that is "
		    "answered has %" PRIu64 " bytes", size, tries, limit);
	return tests_report(run, FAIL, "a datagram of %" PRIu64
	    " byte%s is not answered (%d tries)", size, PLURAL(size), tries);
}

static enum outcome
explain_silence(struct test_run *run, const struct exchange *x,
    const struct datagram *d)
{
	bool is_only_client = run->target.slowest == 0;	/* no other answer */

	if (datagram_diagnose_returns(run, CONTROL))
		return explain_size(run, d->message.size, d->tries);
	if (!x->is_refused || !run->target.is_started)
		run->no_answer_since = run->test->name;
	if (x->is_refused)
		return tests_report(run, FAIL, "the server has closed "
		    "its port: ICMP port unreachable (%d tries)", d->tries);
	if (serves_first_client(run))
		return tests_report(run, FAIL, "%s", is_only_client ?
		    "only the first client is answered" : "the first client is "
		    "still answered, but no new client");
	if (d->message.size == 0)
		return tests_report(run, FAIL, "an empty datagram is "
		    "not answered, and no other datagram after it (%d tries)",
		    d->tries);
	return tests_report(run, FAIL, "no datagram is answered any "
	    "more (%d tries)", d->tries);
}

/* This system could not send: a firewall or a missing route, for example. */
static enum outcome
explain_send_error(struct test_run *run, int error)
{
	return tests_report(run, dial_status(error) == STATUS_LOCAL ?
	    SKIP : FAIL, "cannot send: %s", strerror(error));
}

enum outcome
datagram_diagnose(struct test_run *run, struct exchange *x)
{
	const struct datagram *d = x->datagrams;
	int attempt = x->faulty_try;
	struct talk t;

	if (x->fault == DATAGRAM_CORRECT && x->error != 0)
		return explain_send_error(run, x->error);
	if (x->fault != DATAGRAM_CORRECT) {
		d = x->faulty;
	} else {
		while (d->is_answered)	/* one datagram is not answered */
			d++;
		attempt = d->tries - 1;
	}
	t = describe_as_talk(x, d, attempt);
	describe_exchange(run, &t);
	if (x->fault != DATAGRAM_CORRECT)
		return explain_fault(run, x, &t);
	return explain_silence(run, x, d);
}
