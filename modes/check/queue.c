/*
 * To provoke the reset, a second client connects before the first one sends its
 * message. A server that limits the number of its clients ends the second
 * connection at once. A server that closes its listener ends it only after the
 * message of the first client.
 */
#include "queue.h"

#include "modes/lib/net.h"
#include "survival.h"

enum { ATTEMPTS = 5 };		/* for a conversation, or for the proof */

/* The pause before the second attempt; the later ones are longer. */
static const int64_t PAUSE = 20 * NET_MS;

/* How soon a server with a limit ends the second connection. */
static const int64_t LIMIT_WAIT = 500 * NET_MS;

static const struct plan line_plan = { .message = { .content = TEXT,
    .text = "a\n", .size = 2 } };

/* The result with two clients at the same time. */
enum proof { NOT_RESET, RESET, UNDECIDED };

/* Lets the first client send its message and close, then the second one. */
static enum proof
serve_in_turn(struct talk *first, struct talk *second)
{
	first->max_wait = talk_short_timeout(first->target);
	talk_run(first, 1);
	if (first->end == TALK_TIMEOUT)
		talk_await_end(first);
	talk_hang_up(first);
	if (first->received == 0)
		return UNDECIDED;
	second->max_wait = first->max_wait;
	talk_run(second, 1);
	return second->end == TALK_ERROR && second->received == 0 ? RESET :
	    NOT_RESET;
}

/* Waits for some time before the first client sends its message. */
static enum proof
connect_two(struct target *target, int64_t wait)
{
	struct talk first, second;
	enum proof proof = UNDECIDED;

	if (talk_open(&first, &line_plan, target) < 0)
		return UNDECIDED;
	if (talk_open(&second, &line_plan, target) == 0) {
		talk_receive(&second, wait);
		proof = second.end == TALK_OPEN ?
		    serve_in_turn(&first, &second) : NOT_RESET;
		talk_close(&second);
	}
	talk_close(&first);
	return proof;
}

bool
queue_is_reset(struct target *target)
{
	int64_t wait = 0;

	for (int i = 0; i < ATTEMPTS && !target->queue_is_known; i++) {
		enum proof proof = connect_two(target, wait);

		if (proof == UNDECIDED)
			net_poll(NULL, 0, PAUSE);
		else if (proof == RESET && wait == 0)
			wait = LIMIT_WAIT;	/* try once more */
		else
			target->queue_is_known = true;
		target->resets_queue = target->queue_is_known &&
		    proof == RESET;
	}
	return target->resets_queue;
}

bool
queue_must_repeat(struct talk *t, int attempt)
{
	struct target *target = t->target;

	if (!talk_was_reset(t) || attempt >= ATTEMPTS ||
	    (target->queue_is_known && !target->resets_queue))
		return false;
	talk_hang_up(t);
	if (survival_look(target, false) == SURVIVAL_ENDED ||
	    !queue_is_reset(target))
		return false;
	talk_close(t);
	net_poll(NULL, 0, attempt * PAUSE);
	return true;
}
