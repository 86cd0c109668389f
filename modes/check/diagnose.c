/*
 * A diagnosis is a hypothesis that makes predictions. Each model (model.h)
 * predicts every conversation of the run so far. The candidates are the models
 * that explain the failure and contradict no other conversation, with as few
 * mistakes as possible. If the candidates name several causes, a probe decides;
 * a probe is one more short conversation. The sentence names the cause only if
 * a single cause remains; otherwise it states only the observation.
 */
#include "diagnose.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "change.h"
#include "difference.h"
#include "modes/lib/text.h"
#include "port.h"

/* " of 16 bytes", or nothing if the size is not known. */
static const char *
size_text(char out[64], const char *before, size_t size, const char *unknown)
{
	if (size > 0)
		snprintf(out, 64, "%s%zu bytes", before, size);
	return size > 0 ? out : unknown;
}

/* Whether the first bytes of the message are whole characters of UTF-8. */
static bool
is_utf8(const struct observation *o)
{
	unsigned char bytes[MODEL_MESSAGE];
	size_t n = message_bytes(&o->plan.message, 0, bytes,
	    sizeof(bytes)), i = 0, length = 1;

	while (i < n && length > 0)
		i += length = text_utf8_size(bytes + i, n - i);
	return i == n;
}

/* Writes the only cause of a verdict. */
static void
write_cause(char *out, const struct verdict *v, const struct observation *o)
{
	const struct model *m = &v->model;
	enum cause cause = v->cause;
	char size[64];
	size_t read_size = v->read_size;

	switch ((unsigned)cause) {
	case (unsigned)CAUSE_END + MODEL_SHORT_READ:
		snprintf(out, DIAGNOSE_SIZE, "takes a %s for the end of the "
		    "message", size_text(size, "recv of fewer than ",
		    read_size, "short recv"));
		break;
	case (unsigned)CAUSE_END + MODEL_ONE_READ:
		snprintf(out, DIAGNOSE_SIZE, "calls recv once per connection%s",
		    size_text(size, ", for at most ", read_size, ""));
		break;
	case (unsigned)CAUSE_END + MODEL_FEW_CHARACTERS:
		snprintf(out, DIAGNOSE_SIZE, "counts characters instead of "
		    "bytes to find the end of the message%s",
		    size_text(size, ", after each recv of ", read_size, ""));
		break;
	case (unsigned)CAUSE_END + MODEL_NOTHING_WAITING:
		snprintf(out, DIAGNOSE_SIZE, "takes the message for complete "
		    "as soon as no further byte is waiting");
		break;
	case (unsigned)CAUSE_END + MODEL_LIMIT:
		snprintf(out, DIAGNOSE_SIZE, "ends each connection after %zu "
		    "byte%s", m->read_size, PLURAL(m->read_size));
		break;
	case CAUSE_WAITS:
		snprintf(out, DIAGNOSE_SIZE, "waits for a %s before it "
		    "answers", size_text(size, "recv of fewer than ",
		    read_size, "short recv"));
		break;
	case CAUSE_AT_EOF:
		snprintf(out, DIAGNOSE_SIZE, "keeps the answer until the end "
		    "of file");
		break;
	case CAUSE_LINES:
		snprintf(out, DIAGNOSE_SIZE, "answers only complete lines");
		break;
	case CAUSE_ASCII:
		snprintf(out, DIAGNOSE_SIZE, "decodes the bytes as ASCII, and "
		    "fails at a byte above 127");
		break;
	case CAUSE_UTF8:
		snprintf(out, DIAGNOSE_SIZE, "decodes %s as UTF-8, and fails "
		    "at %s", size_text(size, "each recv of ", is_utf8(o) ?
		    read_size : 0, "the bytes of each recv"), is_utf8(o) ?
		    "a character that two recvs share" : "a byte that is not UTF-8");
		break;
	default:
		snprintf(out, DIAGNOSE_SIZE, "%s",
		    change_sentence(m->change));
	}
	if (m->stays_open && cause < CAUSE_CHANGE)
		strncat(out, ", and leaves the connection open",
		    DIAGNOSE_SIZE - strlen(out) - 1);
}

/* Writes the cause, if it is proven, and returns whether it is. */
static bool
find_cause(char *out, const struct verdict *v, const struct observation *o)
{
	const uint64_t text = CAUSE_BIT(CAUSE_UTF8) | CAUSE_BIT(CAUSE_ASCII);
	const uint64_t not_messages = ~(CAUSE_BIT(CAUSE_WAITS) - 1) |
	    CAUSE_BIT((unsigned)CAUSE_END + MODEL_LIMIT);
	uint64_t first_burst = o->plan.flags & AWAIT_FIRST ? 1 : o->plan.burst;

	if (v->causes == CAUSE_BIT(v->cause))
		write_cause(out, v, o);
	else if ((v->causes & ~text) == 0)
		snprintf(out, DIAGNOSE_SIZE, "decodes the bytes as text, and "
		    "fails at a byte above 127%s", is_utf8(o) ? ", or at a "
		    "character that two recvs share" : "");
	else if ((v->causes & not_messages) == 0 && o->received == first_burst)
		snprintf(out, DIAGNOSE_SIZE, "answers one message per "
		    "connection");
	else
		return false;
	return true;
}

/* Writes the received bytes, at most MODEL_REPLY. Returns their number. */
static size_t
reply_bytes(const struct observation *o, unsigned char *out)
{
	size_t same = (size_t)(o->differs ? o->differs_at : o->received), n;

	if (same > MODEL_REPLY)
		same = MODEL_REPLY;
	n = message_bytes(&o->plan.message, 0, out, same);
	same = o->wrong_size < MODEL_REPLY - n ? o->wrong_size :
	    MODEL_REPLY - n;
	memcpy(out + n, o->wrong, same);
	return n + same;
}

/* Whether the whole message is in the answer at the given place. */
static bool
is_echo_at(const struct observation *o, const unsigned char *reply,
    size_t size, size_t at)
{
	unsigned char message[MODEL_MESSAGE];
	size_t n = message_bytes(&o->plan.message, 0, message,
	    sizeof(message));

	return size >= at + n && memcmp(reply + at, message, n) == 0;
}

enum { MIN_GREETING = 4 };	/* bytes; fewer may be alike by chance */

static const struct plan letters_plan = { .message = {
    .content = LETTERS, .size = 29, .seed = 78 } };
static const struct plan line_plan = { .message = { .content = TEXT,
    .text = "Is this line sent back?\n", .size = 24 } };

/*
 * Describes the bytes with which the answers to the last message and to another
 * message began; is_all: neither answer had more bytes. A server that answers
 * only lines may have sent only a greeting, so one of the messages has to be a
 * line.
 */
static bool
describe_same_start(char *out, struct history *h, struct target *target,
    const unsigned char *a, size_t size, bool is_all)
{
	static unsigned char b[MODEL_REPLY];
	size_t b_size = size;

	if (!message_ends_line(&candidates_last(h)->plan.message)) {
		if (!candidates_hold_probe(h, &line_plan, target))
			return false;
		b_size = reply_bytes(candidates_last(h) - 1, b);
		if (b_size < size || memcmp(a, b, size) != 0)
			return false;
	}
	if (b_size == size && is_all)
		snprintf(out, DIAGNOSE_SIZE, "the same %zu byte%s came back "
		    "for two messages: the answer does not depend on the "
		    "message", size, PLURAL(size));
	else
		snprintf(out, DIAGNOSE_SIZE, "the same %zu byte%s came first "
		    "in several answers", size, PLURAL(size));
	return true;
}

/*
 * Sends another message to a server that answered with other bytes, and
 * compares both answers. Returns false if the answers have nothing in common.
 */
static bool
ask_again(char *out, struct history *h, struct target *target)
{
	static unsigned char a[MODEL_REPLY], b[MODEL_REPLY];
	const struct observation *o = candidates_last(h);
	const struct plan *other = message_ends_line(&o->plan.message) ?
	    &line_plan : &letters_plan;
	size_t a_size, b_size, least, same, prefix;

	if (o->plan.message.size == 0 || o->plan.message.size > MODEL_MESSAGE ||
	    o->is_dead || !candidates_hold_probe(h, other, target))
		return false;
	o = candidates_last(h);
	a_size = reply_bytes(o, a);
	b_size = reply_bytes(o - 1, b);
	least = a_size < b_size ? a_size : b_size;
	prefix = same = text_first_difference(a, b, least);
	while (prefix > 0 && !(is_echo_at(o, a, a_size, prefix) &&
	    is_echo_at(o - 1, b, b_size, prefix)))
		prefix--;
	if (prefix > 0)
		snprintf(out, DIAGNOSE_SIZE, "the same %zu byte%s came before "
		    "the echo of two messages", prefix, PLURAL(prefix));
	else if (same < least || (a_size != b_size && least < MIN_GREETING))
		return false;
	else
		return describe_same_start(out, h, target, a, least,
		    a_size == b_size);
	return true;
}

/* Whether the answer is HTTP, the most usual protocol of other servers. */
static bool
is_http(char *out, const struct observation *o)
{
	static const char start[] = "HTTP/1.";
	static unsigned char reply[MODEL_REPLY];

	if (reply_bytes(o, reply) < strlen(start) ||
	    memcmp(reply, start, strlen(start)) != 0)
		return false;
	snprintf(out, DIAGNOSE_SIZE, "the answer is HTTP: the server does not "
	    "echo bytes");
	return true;
}

/* The size of an answer, if it is the message and then NUL bytes, or else 0. */
static size_t
padded_size(const struct observation *o)
{
	static unsigned char reply[MODEL_REPLY];
	size_t size, n = (size_t)o->plan.message.size;

	if (!o->differs || o->differs_at != o->plan.message.size ||
	    n > MODEL_MESSAGE)
		return 0;
	size = reply_bytes(o, reply);
	while (n < size && reply[n] == '\0')
		n++;
	return n == size ? size : 0;
}

/*
 * Whether the answers to the last message and to a message of another size were
 * filled up with NUL bytes to the same size, or to a multiple of it.
 */
static bool
find_padding(char *out, const struct history *h)
{
	const struct observation *last = candidates_last(h);
	size_t size = padded_size(last), other;

	for (int i = 0; size > 0 && i < h->n - 1; i++) {
		const struct observation *o = &h->observations[i];

		if (o->plan.message.size == last->plan.message.size ||
		    (other = padded_size(o)) == 0 || size % other != 0 ||
		    size - last->plan.message.size >= other)
			continue;
		snprintf(out, DIAGNOSE_SIZE, "NUL bytes fill up each answer "
		    "to %s%zu bytes", size == other ? "" : "a multiple of ",
		    other);
		return true;
	}
	return false;
}

const char *
diagnose_probe_text(enum probe probe)
{
	switch (probe) {
	case PROBE_NEWLINE:
		return "a newline";
	case PROBE_CRLF:
		return "CR LF";
	case PROBE_NUL:
		return "a NUL byte";
	default:
		return "the client's end of file";
	}
}

static void
describe_timeout(char *out, const struct talk *t)
{
	uint64_t size = t->plan.message.size;
	char time[TEXT_TIME];

	if (t->received >= size)
		snprintf(out, DIAGNOSE_SIZE, "did not close after the "
		    "client's end of file");
	else if (t->is_slow)
		snprintf(out, DIAGNOSE_SIZE, "is slow: only %" PRIu64 " of %"
		    PRIu64 " bytes came back within %s", t->received, size,
		    text_time(time, talk_time_limit(t)));
	else if (t->received > 0 && t->received == t->plan.burst &&
	    t->plan.pause > 0 && t->plan.flags & AWAIT_ECHO)
		snprintf(out, DIAGNOSE_SIZE, "did not answer any more after a "
		    "pause");
	else if (t->received > 0)
		snprintf(out, DIAGNOSE_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes", t->probe == PROBE_LOST ? "lost the rest" :
		    "stopped", t->received, size);
	else if (t->probe == PROBE_LOST)
		snprintf(out, DIAGNOSE_SIZE, "answered only after %s, and the "
		    "answer does not begin with the message",
		    diagnose_probe_text(t->answered_after));
	else if (t->probe == PROBE_NOTHING)
		snprintf(out, DIAGNOSE_SIZE, "did not answer%s",
		    t->fin_sent && !(t->plan.flags & SEND_FIN) ? ", not even "
		    "after a newline, CR LF, a NUL byte and end of file" : "");
	if (t->received < size && t->probe != PROBE_NOTHING &&
	    t->probe != PROBE_LOST)
		snprintf(out, DIAGNOSE_SIZE, "answered only after %s",
		    diagnose_probe_text(t->probe));
}

/*
 * Whether timing decides if the client sees a close or a reset. A close with
 * unread input is a reset. Therefore both are possible if the client may have
 * sent further bytes, or if the server may have left bytes unread.
 */
static bool
is_close_or_reset(const struct talk *t)
{
	return t->received == 0 || t->plan.burst > 0 ||
	    t->plan.flags & AWAIT_FIRST || t->plan.message.size > t->whole;
}

static void
describe_close(char *out, const struct talk *t, bool is_dead)
{
	uint64_t size = t->plan.message.size;
	bool was_reset = t->end == TALK_ERROR;
	const char *how = t->received < size && is_close_or_reset(t) ?
	    "ended the connection" : was_reset ? "reset the connection" :
	    "closed";

	if (size > 0 && t->sent == 0 && !is_dead)
		snprintf(out, DIAGNOSE_SIZE, "%s before the client had sent "
		    "anything", how);
	else if (t->received >= size)
		snprintf(out, DIAGNOSE_SIZE, "%s%s", how, was_reset ?
		    " instead of closing it" : "");
	else if (t->received == 0)
		snprintf(out, DIAGNOSE_SIZE, "%s without an answer", how);
	else
		snprintf(out, DIAGNOSE_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes", how, t->received, size);
}

/* Writes the observation; is_dead: no connection was accepted afterwards. */
static void
describe_talk(char *out, const struct talk *t, bool is_dead)
{
	char difference[DIFFERENCE_SIZE];

	if (t->differs) {
		difference_describe(difference, t);
		snprintf(out, DIAGNOSE_SIZE, "%s", difference);
	} else if (t->end == TALK_TIMEOUT) {
		describe_timeout(out, t);
	} else {
		describe_close(out, t, is_dead);
	}
}

const char *
diagnose_observation(char out[DIAGNOSE_SIZE], const struct talk *t)
{
	describe_talk(out, t, false);
	return out;
}

/* Whether the server dropped the end of an answer because of the FIN. */
static bool
drops_output_at_fin(struct history *h, const struct talk *t)
{
	const struct observation *o = candidates_last(h);
	struct plan plan = t->plan;

	if (!(plan.flags & SEND_FIN) || t->differs ||
	    t->end == TALK_TIMEOUT || t->received >= plan.message.size ||
	    o->is_dead)
		return false;
	plan.flags &= AWAIT_FIRST;
	return candidates_hold_probe(h, &plan, t->target) &&
	    candidates_is_correct(candidates_last(h) - 1);
}

/*
 * Whether the same message, which was answered only after a probe, now comes
 * back without a probe: then the server was only late.
 */
static bool
was_late(struct history *h, const struct talk *t)
{
	return t->end == TALK_TIMEOUT && t->probe != PROBE_NOTHING &&
	    !candidates_last(h)->is_dead &&
	    candidates_hold_probe(h, &t->plan, t->target) &&
	    candidates_is_correct(candidates_last(h) - 1);
}

const char *
diagnose_talk(char out[DIAGNOSE_SIZE], struct history *h, const struct talk *t)
{
	char cause[DIAGNOSE_SIZE] = "", observed[DIAGNOSE_SIZE];
	bool is_dead = candidates_last(h)->is_dead;
	bool by_fin = drops_output_at_fin(h, t);
	bool ends_early = t->received < t->plan.message.size || t->differs;
	struct verdict verdict = { .causes = 0 };
	bool found = !by_fin && ends_early && t->sent > 0 && !t->is_slow &&
	    candidates_decide(&verdict, h, t->target) &&
	    find_cause(cause, &verdict, candidates_last(h));
	bool alone = found && verdict.cause >= CAUSE_CHANGE;

	if (!found && !by_fin && t->differs)
		alone = is_http(cause, candidates_last(h)) || ask_again(cause, h, t->target) ||
		    find_padding(cause, h);
	if (by_fin)
		snprintf(cause, sizeof(cause), "the server, or a proxy in "
		    "between, drops pending output at the client's end of "
		    "file");
	describe_talk(observed, t, is_dead);
	if (!found && !by_fin && was_late(h, t))
		snprintf(observed, sizeof(observed), "was late: the message "
		    "did not come back in time, but when it was sent again");
	snprintf(out, DIAGNOSE_SIZE, "%.110s%s%.160s%s",
	    alone ? cause : observed,
	    alone || *cause == '\0' ? "" : ": ", alone ? "" : cause,
	    is_dead && !t->target->is_started ?
	    "; the server has accepted no connection since" : "");
	return out;
}

const char *
diagnose_connect(char out[DIAGNOSE_SIZE], const struct target *target,
    int error, int opened_before, const char *accepted_in)
{
	int opened = target->opened - opened_before;

	if (error == ECONNREFUSED && target->is_started)
		snprintf(out, DIAGNOSE_SIZE, "connection refused, although "
		    "the server is running");
	else if (error == ECONNREFUSED && opened > 0)
		snprintf(out, DIAGNOSE_SIZE, "connection refused after the "
		    "server had accepted %d in this test", opened);
	else if (error == ECONNREFUSED)
		snprintf(out, DIAGNOSE_SIZE, "not tried: the server has not "
		    "accepted a connection since %s", accepted_in);
	else if (error == ETIMEDOUT && port_has_queue(&target->server.peer))
		snprintf(out, DIAGNOSE_SIZE, "cannot connect: timed out while "
		    "earlier connections waited in the queue of the server "
		    "(backlog)");
	else
		snprintf(out, DIAGNOSE_SIZE, "cannot connect: %s%s",
		    error == ETIMEDOUT ? "timed out" : strerror(error),
		    error == ETIMEDOUT && target->opened > 0 ? ", although "
		    "earlier connections had been accepted" : "");
	return out;
}
