/*
 * A server that is about to end, however slowly, may accept one more connection
 * into the queue of its listener, and reset it. Only an answer, or the end of a
 * conversation in good order, shows that it has survived.
 */
#include "survival.h"

#include <sys/socket.h>

#include "modes/lib/net.h"
#include "start.h"

/* How long a server may take to end after the conversation that ends it. */
static const int64_t DEATH_WAIT = 100 * NET_MS;

/* The pause between two attempts to connect to a server that may have ended. */
static const int64_t DEATH_POLL = 10 * NET_MS;

/* Holds another conversation. Returns false if it could not be opened. */
static bool
hold_reference_talk(struct talk *t, const struct plan *plan,
    struct target *target)
{
	if (talk_open(t, plan, target) < 0)
		return false;
	talk_run(t, 1);
	talk_close(t);
	return true;
}

/* Servers that wait for a line or the end of file answer this too. */
static const struct plan line_plan = { .message = { .content = TEXT,
	.text = "a\n", .size = 2 }, .flags = SEND_FIN };

/* One attempt of survival_look(); *was_reset: another one may decide. */
static enum survival
look_once(struct target *target, bool *was_reset)
{
	struct talk t;

	*was_reset = false;
	if (!hold_reference_talk(&t, &line_plan, target))
		return target->refuses ? SURVIVAL_ENDED : SURVIVAL_SILENT;
	*was_reset = t.received == 0 && t.end == TALK_ERROR;
	return t.received == 0 && t.end == TALK_TIMEOUT ? SURVIVAL_SILENT :
	    SURVIVAL_SERVES;
}

enum survival
survival_look(struct target *target, bool must_serve)
{
	int64_t until = INT64_MAX;
	enum survival survival;
	bool was_reset = false;

	if (target->is_started && start_has_ended(DEATH_WAIT))
		return SURVIVAL_ENDED;
	if (target->is_started && !must_serve)
		return SURVIVAL_SERVES;
	do {
		if (was_reset)
			net_poll(NULL, 0, DEATH_POLL);
		survival = look_once(target, &was_reset);
		if (until == INT64_MAX)
			until = net_now() + DEATH_WAIT;
	} while (was_reset && net_now() < until);
	return survival;
}

bool
survival_answers_line(struct target *target)
{
	struct talk t;

	return hold_reference_talk(&t, &line_plan, target) && t.received > 0;
}

bool
survival_answers_letters(struct target *target)
{
	struct plan plan = { .message = { .content = LETTERS, .size = 1 } };
	struct talk t;

	if (hold_reference_talk(&t, &plan, target) && t.received > 0)
		return true;
	plan.message.size = 30;
	return hold_reference_talk(&t, &plan, target) && t.received > 0;
}

bool
survival_reads(struct target *target)
{
	static const struct plan plan = { .message = { .content = LETTERS,
	    .size = 1024 * 1024 } };
	const int small = 16384;	/* bytes, so that the rest must be read */
	struct talk t;
	bool reads;

	if (talk_open(&t, &plan, target) < 0)
		return true;
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	talk_fill_buffers(&t, NET_SECOND);
	reads = t.sent == plan.message.size || t.write_failed;
	talk_close(&t);
	return reads;
}

bool
survival_answers_within(struct target *target, const struct plan *plan,
    int64_t ns)
{
	int64_t started;
	struct talk t;
	bool is_quick;

	if (talk_open(&t, plan, target) < 0)
		return false;
	started = net_now();
	talk_run(&t, 1);
	is_quick = talk_is_correct(&t) &&
	    net_now() - started < ns;
	talk_close(&t);
	return is_quick;
}
