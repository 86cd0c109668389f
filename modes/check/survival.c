/*
 * While a server is ending, its listener may still accept a connection into its
 * queue, and later reset it. Therefore only an answer, or a regular end of a
 * conversation, shows that the server has survived.
 */
#include "survival.h"

#include <sys/socket.h>

#include <errno.h>

#include "modes/lib/net.h"
#include "start.h"

/* How long a server may take to end after the conversation that ends it. */
static const int64_t DEATH_WAIT = 100 * NET_MS;

/* The pause between two attempts to connect to a server that may have ended. */
static const int64_t DEATH_POLL = 10 * NET_MS;

/*
 * Another client sends a line, and closes the connection when it has received
 * the echo. Only if it receives no echo, it sends its end of file before it
 * closes. Returns -errno if it cannot connect.
 */
static int
hold_line_talk(struct talk *t, struct target *target, int64_t max_wait)
{
	static const struct plan plan = { .message = { .content = TEXT,
	    .text = "a\n", .size = 2 } };
	int error = talk_open(t, &plan, target);

	if (error < 0)
		return error;
	t->max_wait = max_wait;
	talk_run(t, 1);
	if (t->end == TALK_TIMEOUT && t->received == 0)
		talk_await_end(t);
	else
		talk_finish(t);
	talk_close(t);
	return 0;
}

/* One attempt of survival_look(); *was_reset: another attempt may decide. */
static enum survival
look_once(struct target *target, bool *was_reset)
{
	struct talk t;

	int error = hold_line_talk(&t, target, talk_short_timeout(target));

	*was_reset = error == 0 && talk_was_reset(&t);
	if (error < 0)
		return error == -ECONNREFUSED ? SURVIVAL_ENDED :
		    SURVIVAL_SILENT;
	return t.received == 0 && t.end == TALK_TIMEOUT ? SURVIVAL_SILENT :
	    SURVIVAL_SERVES;
}

enum survival
survival_look(struct target *target, bool must_serve)
{
	int64_t until = INT64_MAX;
	enum survival survival;
	bool was_reset = false;

	if (target->is_started && start_has_died())
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

	return hold_line_talk(&t, target, talk_short_timeout(target)) == 0 &&
	    t.received > 0;
}

bool
survival_serves_line(struct target *target)
{
	int64_t left = target->answer_left;
	struct talk t;
	bool serves;

	target->answer_left = target->timeout;
	serves = hold_line_talk(&t, target, target->timeout) < 0 ||
	    t.received > 0 || t.end != TALK_TIMEOUT;
	target->answer_left = left;
	return serves;
}

bool
survival_answers_letters(struct target *target)
{
	static const uint64_t sizes[] = { 1, 30 };
	uint64_t received = 0;
	struct talk t;

	for (int i = 0; i < 2 && received == 0; i++) {
		struct plan plan = { .message = { .content = LETTERS,
		    .size = sizes[i] } };

		if (talk_open(&t, &plan, target) < 0)
			return false;
		talk_run(&t, 1);
		if (t.end == TALK_TIMEOUT)
			talk_probe(&t);	/* some servers end without a newline */
		received = t.received;
		talk_close(&t);
	}
	return received > 0;
}

bool
survival_reads(struct target *target)
{
	static const struct plan plan = { .message = { .content = LETTERS,
	    .size = 1024 * 1024 } };
	const int small = 16384;	/* bytes, so that the rest must be read */
	const int64_t pause = 3 * NET_SECOND;	/* of a busy machine, at most */
	struct talk t;
	bool reads;

	if (talk_open(&t, &plan, target) < 0)
		return true;
	setsockopt(t.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small));
	talk_fill_buffers(&t, pause);
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
