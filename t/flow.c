/*
 * Unit tests of the accounting of a UDP client and of its datagrams, in TAP:
 * what each datagram counts as, and that no order of events makes one count as
 * another.
 */
#include "modes/bench/flow.h"
#include "modes/bench/pattern.h"
#include "t/tap.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 100, WINDOW = 4, LIMIT = 50 };	/* LIMIT: replies are late */

static const struct payload_key key = { 0xabcd1234, SIZE };
static unsigned char datagram[SIZE + 100];

/* Makes the intact datagram with that sequence number. */
static void
make_datagram(const struct payload_key *k, uint64_t sequence)
{
	payload_header(datagram, k, sequence);
	memcpy(datagram + PAYLOAD_HEADER, payload_body(k, sequence),
	    k->size - PAYLOAD_HEADER);
}

/* Delivers the intact reply to a message. Returns its latency or -1. */
static int64_t
deliver(struct flow *f, uint64_t sequence, int64_t now)
{
	make_datagram(&f->key, sequence);
	return flow_receive(f, datagram, f->key.size, now);
}

/* A flow that counts, with n messages in flight, sent at the times 1 to n. */
static struct flow
sent_flow(size_t n)
{
	struct flow f;

	if (!flow_init(&f, key, WINDOW))
		abort();
	flow_start_counting(&f);
	for (size_t i = 1; i <= n; i++)
		flow_sent(&f, 1, (int64_t)i);
	return f;
}

/* Compares all counts, given as text in the order of struct flow_counts. */
static void
counts_are(struct flow *f, const char *expected, const char *name)
{
	const struct flow_counts *c = &f->counts;
	char got[256];
	bool good;

	snprintf(got, sizeof(got), "sent %" PRIu64 " received %" PRIu64
	    " lost %" PRIu64 " late %" PRIu64 " reordered %" PRIu64
	    " duplicated %" PRIu64 " corrupted %" PRIu64 " foreign %" PRIu64,
	    c->sent, c->received, c->lost, c->late, c->reordered,
	    c->duplicated, c->corrupted, c->foreign);
	good = strcmp(got, expected) == 0;
	if (!good)
		printf("# got %s\n# expected %s\n", got, expected);
	ok(good, name);
	flow_free(f);
}

static void
test_replies(void)
{
	struct flow f = sent_flow(3);
	bool good = deliver(&f, 1, 11) == 10 && deliver(&f, 2, 12) == 10 &&
	    deliver(&f, 3, 33) == 30;

	ok(good && flow_room(&f) == WINDOW, "the latencies of three replies");
	/* The differences of the latencies are 0 and 20. */
	ok(f.jitter > 1.24 && f.jitter < 1.26 && f.jitter_count == 2,
	    "their jitter: 20 / 16");
	counts_are(&f, "sent 3 received 3 lost 0 late 0 reordered 0 "
	    "duplicated 0 corrupted 0 foreign 0", "replies");
}

static void
test_lost(void)
{
	struct flow f = sent_flow(2);

	deliver(&f, 2, 12);
	flow_expire(&f, 100 - LIMIT);
	ok(flow_room(&f) == WINDOW, "a lost message leaves the window");
	counts_are(&f, "sent 2 received 1 lost 1 late 0 reordered 0 "
	    "duplicated 0 corrupted 0 foreign 0", "a lost message");
}

/* A reply after the time limit is not a loss and a duplicate. */
static void
test_late(void)
{
	struct flow f = sent_flow(2);

	flow_expire(&f, 100 - LIMIT);
	flow_sent(&f, 1, 100);
	deliver(&f, 3, 110);
	ok(deliver(&f, 1, 120) == 119, "the latency of a late reply");
	deliver(&f, 1, 130);
	counts_are(&f, "sent 3 received 2 lost 1 late 1 reordered 0 "
	    "duplicated 1 corrupted 0 foreign 0",
	    "a late reply, its copy, and a lost message");
}

static void
test_duplicated(void)
{
	struct flow f = sent_flow(2);

	deliver(&f, 1, 11);
	ok(deliver(&f, 1, 12) == -1, "a copy has no latency");
	ok(flow_room(&f) == WINDOW - 1, "a copy does not end a message");
	counts_are(&f, "sent 2 received 1 lost 0 late 0 reordered 0 "
	    "duplicated 1 corrupted 0 foreign 0", "a copy of a reply");
}

static void
test_reordered(void)
{
	struct flow f = sent_flow(4);

	deliver(&f, 3, 11);
	deliver(&f, 1, 12);
	deliver(&f, 2, 13);
	deliver(&f, 4, 14);
	counts_are(&f, "sent 4 received 4 lost 0 late 0 reordered 2 "
	    "duplicated 0 corrupted 0 foreign 0", "replies in another order");
}

/* Every byte, also those of the header; and every other size. */
static void
test_corrupted(void)
{
	bool good = true;

	for (size_t i = 0; i < SIZE + 100; i++) {
		struct flow f = sent_flow(3);

		make_datagram(&key, 2);
		datagram[i] ^= 0x20;
		good = flow_receive(&f, datagram, SIZE, 10) ==
		    (i < SIZE ? -1 : 8) && good;
		good = f.counts.corrupted == (i < SIZE) &&
		    f.counts.received == (i >= SIZE) && good;
		good = f.counts.foreign == 0 && flow_room(&f) == 2 && good;
		good = deliver(&f, 1, 10) == 9 && deliver(&f, 3, 10) == 7 &&
		    good;
		flow_free(&f);
	}
	ok(good, "one wrong byte, wherever it is, belongs to its message");
	for (size_t size = 8; size < SIZE + 100; size++) {
		struct flow f = sent_flow(3);

		make_datagram(&key, 2);
		flow_receive(&f, datagram, size, 10);
		good = f.counts.corrupted == (size != SIZE) &&
		    f.counts.received == (size == SIZE) &&
		    deliver(&f, 1, 10) == 9 && deliver(&f, 3, 10) == 7 && good;
		flow_free(&f);
	}
	ok(good, "so does one that is too short or too long");
}

/* The shortest message is only a header. */
static void
test_shortest(void)
{
	const struct payload_key shortest = { 7, PAYLOAD_HEADER };
	bool good = true;

	for (size_t i = 0; i < PAYLOAD_HEADER; i++) {
		struct flow f;

		if (!flow_init(&f, shortest, WINDOW))
			abort();
		flow_start_counting(&f);
		flow_sent(&f, WINDOW, 1);
		make_datagram(&shortest, 3);
		datagram[i] ^= 1;
		flow_receive(&f, datagram, PAYLOAD_HEADER, 10);
		good = f.counts.corrupted == 1 && deliver(&f, 1, 10) == 9 &&
		    deliver(&f, 2, 10) == 9 && deliver(&f, 4, 10) == 9 && good;
		flow_free(&f);
	}
	ok(good, "one wrong byte in 16");
}

static void
test_foreign(void)
{
	struct payload_key other = { key.flow + 1, SIZE };
	struct flow f = sent_flow(3);

	make_datagram(&other, 1);	/* of another client */
	flow_receive(&f, datagram, SIZE, 10);
	make_datagram(&key, 4);		/* not sent yet */
	flow_receive(&f, datagram, SIZE, 10);
	memset(datagram, 0, SIZE);
	flow_receive(&f, datagram, SIZE, 10);
	memset(datagram, 'x', SIZE);
	flow_receive(&f, datagram, 5, 10);
	flow_foreign(&f);
	ok(flow_room(&f) == 1, "foreign datagrams end no message");
	counts_are(&f, "sent 3 received 0 lost 0 late 0 reordered 0 "
	    "duplicated 0 corrupted 0 foreign 5", "foreign datagrams");
}

/* Only messages that were sent after counting began. */
static void
test_counting(void)
{
	struct flow f;

	if (!flow_init(&f, key, WINDOW))
		abort();
	flow_sent(&f, WINDOW, 1);
	flow_foreign(&f);
	flow_start_counting(&f);
	ok(deliver(&f, 1, 10) == -1, "no latency of a message before");
	deliver(&f, 1, 11);
	make_datagram(&key, 2);
	flow_receive(&f, datagram, SIZE - 1, 12);
	flow_sent(&f, 1, 13);
	deliver(&f, 5, 14);
	deliver(&f, 3, 15);
	flow_expire(&f, 100);
	deliver(&f, 4, 101);
	counts_are(&f, "sent 1 received 1 lost 0 late 0 reordered 0 "
	    "duplicated 0 corrupted 0 foreign 0",
	    "messages before counting began do not count");
}

/* With one message that is lost for ever, and all others answered. */
static void
test_many(void)
{
	struct flow f = sent_flow(1);
	bool good = true;

	for (uint64_t i = 2; i < 100000; i++) {
		flow_sent(&f, 1, 1);
		good = deliver(&f, i, 11) == 10 && good;
		if (i == 50000)
			flow_expire(&f, 1);
	}
	good = f.counts.lost == 1 && deliver(&f, 1, 1001) == 1000 && good;
	good = f.counts.lost == 0 && f.counts.late == 1 &&
	    f.counts.duplicated == 0 && f.counts.reordered == 0 && good;
	ok(good, "a reply that is late by 100,000 messages");
	flow_free(&f);
}

/* A flow remembers FLOW_OVERDUE lost messages, and forgets the oldest. */
static void
test_forgotten(void)
{
	struct flow f = sent_flow(0);
	bool good;

	for (int i = 0; i <= FLOW_OVERDUE; i++) {
		flow_sent(&f, 1, i);
		flow_expire(&f, i);
	}
	good = deliver(&f, 1, FLOW_OVERDUE) == -1 && f.counts.duplicated == 1;
	good = deliver(&f, 2, FLOW_OVERDUE + 1) == FLOW_OVERDUE && good;
	ok(good && f.counts.lost == FLOW_OVERDUE,
	    "the oldest of many lost messages is forgotten");
	flow_free(&f);
}

/* Messages 1 to 10, of which 3, 4, 7 and 10 get no reply, and 9 a late one. */
static void
test_bursts(void)
{
	struct flow f;

	if (!flow_init(&f, key, 10))
		abort();
	flow_sent(&f, 1, 0);		/* not counted */
	flow_start_counting(&f);
	flow_expire(&f, 0);
	flow_sent(&f, 9, 1);
	for (uint64_t i = 2; i <= 10; i++)
		if (i != 3 && i != 4 && i != 7 && i != 9 && i != 10)
			deliver(&f, i, 2);
	flow_expire(&f, 1);
	deliver(&f, 9, 3);
	flow_end(&f);
	ok(f.counts.bursts == 3 && f.counts.longest_burst == 2,
	    "bursts of losses: 3 and 4, 7, 10");
	flow_free(&f);
}

/* More lost messages than a flow remembers are one burst. */
static void
test_long_burst(void)
{
	struct flow f = sent_flow(0);

	for (int i = 0; i < 3 * FLOW_OVERDUE; i++) {
		flow_sent(&f, 1, i);
		flow_expire(&f, i);
	}
	flow_end(&f);
	ok(f.counts.bursts == 1 && f.counts.longest_burst == 3 * FLOW_OVERDUE,
	    "a burst of more messages than a flow remembers");
	flow_free(&f);
}

int
main(void)
{
	pattern_fill();
	test_replies();
	test_lost();
	test_late();
	test_duplicated();
	test_reordered();
	test_corrupted();
	test_shortest();
	test_foreign();
	test_counting();
	test_many();
	test_forgotten();
	test_bursts();
	test_long_burst();
	return done();
}
