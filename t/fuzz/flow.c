/*
 * Fuzz target: the reader of the datagrams of bench -u (payload.c), and what
 * they count as (flow.c). The first two bytes of the input are the size of the
 * messages and of the window; then each step sends messages, lets time pass, or
 * delivers a datagram: intact, changed, or made of the input.
 *
 * What payload_read() returns is compared with a second implementation, and
 * the counts of the flow with those of a model: an array with the state of
 * each message.
 */
#include "modes/bench/flow.h"
#include "modes/bench/pattern.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { MESSAGES = 4000, DATAGRAM_MAX = 2000, LIMIT = 50 };

/* The input that is not used yet. */
struct input {
	const uint8_t *data;
	size_t size;
};

struct model {
	enum { UNSENT, IN_FLIGHT, OVERDUE, ANSWERED } state[MESSAGES];
	int64_t sent[MESSAGES];
	bool is_counted[MESSAGES];
	struct flow_counts counts;
	uint64_t next, newest;
	bool counting;
};

static struct model model;
static unsigned char datagram[DATAGRAM_MAX];

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static uint8_t
take(struct input *in)
{
	if (in->size == 0)
		return 0;
	in->size--;
	return *in->data++;
}

static void
make_datagram(const struct payload_key *key, uint64_t sequence)
{
	payload_header(datagram, key, sequence);
	memcpy(datagram + PAYLOAD_HEADER, payload_body(key, sequence),
	    key->size - PAYLOAD_HEADER);
}

/* Reads the datagram as payload_read() does, by making what it should be. */
static enum payload_kind
read_again(const struct payload_key *key, const unsigned char *data,
    size_t size, uint64_t *sequence)
{
	uint64_t number = 0;

	for (size_t i = 8; i < 16 && i < size; i++)
		number = number * 256 + data[i];
	make_datagram(key, number);
	if (size < 16 || memcmp(data, datagram, 16) != 0)
		return PAYLOAD_UNKNOWN;
	*sequence = number;
	return size == key->size && memcmp(data, datagram, size) == 0 ?
	    PAYLOAD_INTACT : PAYLOAD_DAMAGED;
}

/*
 * What a reply with a known sequence number is. Returns its latency or -1, as
 * flow_receive() does.
 */
static int64_t
model_answer(uint64_t sequence, bool intact, int64_t now)
{
	struct flow_counts *c = &model.counts;
	bool late = model.state[sequence] == OVERDUE;
	bool counted = model.is_counted[sequence];
	bool reordered = sequence < model.newest;

	c->corrupted += counted && !intact;
	if (model.state[sequence] == ANSWERED) {
		c->duplicated += counted;
		return -1;
	}
	model.state[sequence] = ANSWERED;
	c->lost -= counted && late;
	if (intact && sequence > model.newest)
		model.newest = sequence;
	if (!intact || !counted)
		return -1;
	c->received++;
	c->late += late;
	c->reordered += reordered && !late;
	return now - model.sent[sequence];
}

static size_t
model_count(int state)
{
	size_t n = 0;

	for (uint64_t i = 1; i < model.next; i++)
		n += (int)model.state[i] == state;
	return n;
}

/*
 * A datagram whose header is damaged ends the message that it resembles, so the
 * model looks which one that was.
 */
static void
follow_unknown(struct flow *f, const unsigned char *data, size_t size,
    int64_t now)
{
	uint64_t foreign = f->counts.foreign;
	size_t room = flow_room(f);

	must(flow_receive(f, data, size, now) == -1);
	if (flow_room(f) == room) {
		must(f->counts.foreign == foreign + model.counting);
		model.counts.foreign += model.counting;
		return;
	}
	must(flow_room(f) == room + 1);
	for (uint64_t i = 1; i < model.next; i++) {
		bool still = false;

		for (size_t j = 0; j < f->in_flight.n; j++)
			still = still || f->in_flight.ring[(f->in_flight.first
			    + j) % f->in_flight.size].sequence == i;
		if (model.state[i] == IN_FLIGHT && !still)
			model_answer(i, false, now);
	}
}

/* Delivers a datagram, in a block that ends where it may be read. */
static void
receive(struct flow *f, const unsigned char *bytes, size_t size, int64_t now)
{
	size_t present = size < f->key.size ? size : f->key.size;
	unsigned char *block = malloc(present + 1), *data;
	uint64_t got = 0, expected = 0;
	enum payload_kind kind;

	if (block == NULL)
		return;
	data = block + 1;
	memcpy(data, bytes, present);
	kind = payload_read(&f->key, data, size, &got);
	must(kind == read_again(&f->key, data, size, &expected));
	must(got == expected);
	if (kind == PAYLOAD_UNKNOWN || got == 0)
		follow_unknown(f, data, size, now);
	else if (got >= model.next) {
		must(flow_receive(f, data, size, now) == -1);
		model.counts.foreign += model.counting;
	} else
		must(flow_receive(f, data, size, now) ==
		    model_answer(got, kind == PAYLOAD_INTACT, now));
	free(block);
}

static void
send_messages(struct flow *f, size_t n, int64_t now)
{
	if (n > flow_room(f))
		n = flow_room(f);
	if (n > MESSAGES - model.next)
		n = MESSAGES - model.next;
	flow_sent(f, n, now);
	for (; n > 0; n--, model.next++) {
		model.state[model.next] = IN_FLIGHT;
		model.sent[model.next] = now;
		model.is_counted[model.next] = model.counting;
		model.counts.sent += model.counting;
	}
}

static void
expire(struct flow *f, int64_t now)
{
	flow_expire(f, now - LIMIT);
	for (uint64_t i = 1; i < model.next; i++)
		if (model.state[i] == IN_FLIGHT &&
		    model.sent[i] <= now - LIMIT) {
			model.state[i] = OVERDUE;
			model.counts.lost += model.is_counted[i];
		}
}

/* Makes one of the last 256 messages, and changes it as the input says. */
static void
deliver_changed(struct flow *f, struct input *in, bool changed, int64_t now)
{
	uint64_t back = take(in);
	size_t size = f->key.size;

	if (back >= model.next)
		return;
	make_datagram(&f->key, model.next - back);
	if (changed) {
		datagram[take(in) % size] ^= take(in);
		size = size + take(in) - 128;
		size = size < DATAGRAM_MAX ? size : 0;
	}
	receive(f, datagram, size, now);
}

static void
deliver_input(struct flow *f, struct input *in, int64_t now)
{
	size_t size = take(in);

	size = size < in->size ? size : in->size;
	receive(f, in->data, size, now);
	in->data += size;
	in->size -= size;
}

static void
step(struct flow *f, struct input *in, int64_t *now)
{
	switch (take(in) % 8) {
	case 0:
	case 1:
		send_messages(f, take(in), *now);
		break;
	case 2:
		*now += take(in);
		expire(f, *now);
		break;
	case 3:
		if (!model.counting)
			flow_start_counting(f);
		model.counting = true;
		break;
	case 4:
		deliver_input(f, in, *now);
		break;
	case 5:
		deliver_changed(f, in, true, *now);
		break;
	default:
		deliver_changed(f, in, false, *now);
		break;
	}
	must(memcmp(&f->counts, &model.counts, sizeof(model.counts)) == 0);
	must(f->in_flight.n == model_count(IN_FLIGHT));
	must(f->overdue.n == model_count(OVERDUE));
}

_Static_assert((int)MESSAGES <= (int)FLOW_OVERDUE, "no message is forgotten");

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = { data, size };
	struct payload_key key = { 0x12345678, 0 };
	struct flow f;
	int64_t now = 1000;

	if (*pattern_at(0) == 0)
		pattern_fill();
	key.size = PAYLOAD_HEADER + take(&in) * 4U;
	if (!flow_init(&f, key, 1U + take(&in)))
		return 0;
	memset(&model, 0, sizeof(model));
	model.next = 1;
	while (in.size > 0)
		step(&f, &in, &now);
	flow_free(&f);
	return 0;
}
