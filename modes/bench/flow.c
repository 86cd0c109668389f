#include "flow.h"

#include <stdlib.h>

static const uint64_t COUNT_NOTHING = UINT64_MAX;

static struct flow_message *
flow_at(const struct flow_queue *queue, size_t i)
{
	i += queue->first;
	return &queue->ring[i < queue->size ? i : i - queue->size];
}

static void
flow_remove_first(struct flow_queue *queue)
{
	queue->first = queue->first + 1 < queue->size ? queue->first + 1 : 0;
	queue->n--;
}

/*
 * Appends a message. If the queue is full, its first message is forgotten: it
 * stays lost, and a reply to it would count as duplicated.
 */
static void
flow_append(struct flow_queue *queue, struct flow_message message)
{
	if (queue->n == queue->size)
		flow_remove_first(queue);
	*flow_at(queue, queue->n++) = message;
}

/* The index of the message with that sequence number, or n. */
static size_t
flow_find(const struct flow_queue *queue, uint64_t sequence)
{
	size_t low = 0, high = queue->n;

	/* Usually, the message is the first one. */
	while (low < high) {
		size_t i = low == 0 && high == queue->n ? 0 :
		    low + (high - low) / 2;
		uint64_t found = flow_at(queue, i)->sequence;

		if (found == sequence)
			return i;
		if (found < sequence)
			low = i + 1;
		else
			high = i;
	}
	return queue->n;
}

/* Removes the i-th message; the messages before it move up. */
static struct flow_message
flow_remove(struct flow_queue *queue, size_t i)
{
	struct flow_message message = *flow_at(queue, i);

	for (; i > 0; i--)
		*flow_at(queue, i) = *flow_at(queue, i - 1);
	flow_remove_first(queue);
	return message;
}

static bool
flow_is_counted(const struct flow *f, uint64_t sequence)
{
	return sequence >= f->counted_from;
}

/* Counts a final loss. To be called in the order of the message numbers. */
static void
flow_add_to_burst(struct flow *f, uint64_t sequence)
{
	if (!flow_is_counted(f, sequence))
		return;
	if (f->burst == 0 || sequence != f->burst_end + 1) {
		f->counts.bursts++;
		f->burst = 0;
	}
	f->burst_end = sequence;
	f->burst++;
	if (f->burst > f->counts.longest_burst)
		f->counts.longest_burst = f->burst;
}

void
flow_end(struct flow *f)
{
	for (; f->overdue.n > 0; flow_remove_first(&f->overdue))
		flow_add_to_burst(f, flow_at(&f->overdue, 0)->sequence);
}

/*
 * Remembers an overdue message. The memory is allocated for the first such
 * message. Without memory, the message is forgotten at once.
 */
static void
flow_remember(struct flow *f, struct flow_message message)
{
	if (f->overdue.ring == NULL) {
		f->overdue.ring = calloc(FLOW_OVERDUE,
		    sizeof(*f->overdue.ring));
		f->overdue.size = f->overdue.ring == NULL ? 0 : FLOW_OVERDUE;
	}
	if (f->overdue.n == f->overdue.size)	/* the oldest is forgotten */
		flow_add_to_burst(f, f->overdue.n == 0 ? message.sequence :
		    flow_at(&f->overdue, 0)->sequence);
	if (f->overdue.size > 0)
		flow_append(&f->overdue, message);
}

bool
flow_init(struct flow *f, struct payload_key key, size_t window)
{
	*f = (struct flow){ .key = key, .next = 1, .last_latency = -1,
	    .counted_from = COUNT_NOTHING,
	    .in_flight = { .size = window } };
	f->in_flight.ring = calloc(window, sizeof(*f->in_flight.ring));
	return f->in_flight.ring != NULL;
}

void
flow_free(struct flow *f)
{
	free(f->in_flight.ring);
	free(f->overdue.ring);
}

size_t
flow_room(const struct flow *f)
{
	return f->in_flight.size - f->in_flight.n;
}

void
flow_sent(struct flow *f, size_t n, int64_t now)
{
	for (; n > 0; n--) {
		f->counts.sent += flow_is_counted(f, f->next);
		flow_append(&f->in_flight,
		    (struct flow_message){ f->next++, now });
	}
}

void
flow_start_counting(struct flow *f)
{
	f->counted_from = f->next;
}

void
flow_expire(struct flow *f, int64_t sent)
{
	while (f->in_flight.n > 0 && flow_at(&f->in_flight, 0)->sent <= sent) {
		struct flow_message message = *flow_at(&f->in_flight, 0);

		flow_remove_first(&f->in_flight);
		f->counts.lost += flow_is_counted(f, message.sequence);
		flow_remember(f, message);
	}
}

/*
 * RFC 3550, section 6.4.1: the smoothed difference between the transit times of
 * two datagrams that arrive one after the other. One clock measures the whole
 * round trip, so that the transit time is the latency.
 */
static void
flow_add_jitter(struct flow *f, int64_t latency)
{
	if (f->last_latency >= 0) {
		int64_t d = latency > f->last_latency ?
		    latency - f->last_latency : f->last_latency - latency;

		f->jitter += ((double)d - f->jitter) / 16;
		f->jitter_sum += f->jitter;
		f->jitter_count++;
	}
	f->last_latency = latency;
}

/* Counts an intact reply that is the first reply to its message. */
static int64_t
flow_reply(struct flow *f, struct flow_message message, bool late,
    int64_t now)
{
	bool reordered = message.sequence < f->newest;

	if (!reordered)
		f->newest = message.sequence;
	if (!flow_is_counted(f, message.sequence))
		return -1;
	f->counts.received++;
	f->counts.late += late;
	f->counts.lost -= late;
	f->counts.reordered += reordered && !late;
	flow_add_jitter(f, now - message.sent);
	return now - message.sent;
}

/* Counts a reply to a message, intact or not. */
static int64_t
flow_answer(struct flow *f, uint64_t sequence, bool intact, int64_t now)
{
	bool counted = flow_is_counted(f, sequence);
	bool late = false;
	struct flow_queue *queue = &f->in_flight;
	size_t i = flow_find(queue, sequence);
	struct flow_message message;

	f->counts.corrupted += counted && !intact;
	if (i == queue->n) {
		late = true;
		queue = &f->overdue;
		i = flow_find(queue, sequence);
	}
	if (i == queue->n) {
		f->counts.duplicated += counted;
		return -1;
	}
	message = flow_remove(queue, i);
	if (intact)
		return flow_reply(f, message, late, now);
	f->counts.lost -= counted && late;
	return -1;
}

/*
 * Returns the message in flight that a datagram without a header resembles
 * most, or 0 if more than half of its bytes differ from every message.
 */
static uint64_t
flow_nearest(const struct flow *f, const void *data, size_t size)
{
	uint64_t nearest = 0;
	size_t least = SIZE_MAX;

	for (size_t i = 0; i < f->in_flight.n; i++) {
		uint64_t sequence = flow_at(&f->in_flight, i)->sequence;
		size_t compared, distance = payload_distance(&f->key,
		    sequence, data, size, &compared);

		if (distance < least && 2 * distance <= compared) {
			least = distance;
			nearest = sequence;
		}
	}
	return nearest;
}

void
flow_foreign(struct flow *f)
{
	f->counts.foreign += f->counted_from != COUNT_NOTHING;
}

int64_t
flow_receive(struct flow *f, const void *data, size_t size, int64_t now)
{
	uint64_t sequence = 0;
	enum payload_kind kind = payload_read(&f->key, data, size, &sequence);

	if (kind == PAYLOAD_UNKNOWN)
		sequence = flow_nearest(f, data, size);
	if (sequence == 0 || sequence >= f->next) {
		flow_foreign(f);
		return -1;
	}
	return flow_answer(f, sequence, kind == PAYLOAD_INTACT, now);
}
