/*
 * The part of the report on a failed test that describes the conversation.
 */
#include "report.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *
talk_end_text(const struct talk *t)
{
	switch (t->end) {
	case TALK_EOF:
		return "end of file";
	case TALK_ERROR:
		return strerror(t->error);
	case TALK_TIMEOUT:
		return "timed out";
	default:
		return "open";
	}
}

/* Describes the sent bytes: "70 of 140 bytes, 70 at a time every 400.0 ms". */
static void
describe_sent(char *out, size_t room, const struct talk *t)
{
	const struct plan *p = &t->plan;
	char bursts[48] = "", time[TEXT_TIME];

	if (p->burst > 0)
		snprintf(bursts, sizeof(bursts), ", %" PRIu64 " at a time%s%s",
		    p->burst, p->pause > 0 ? " every " : "", p->pause > 0 ?
		    text_time(time, p->pause) : "");
	snprintf(out, room, "%" PRIu64 " of %" PRIu64 " byte%s%s%s", t->sent,
	    p->message.size, PLURAL(p->message.size), bursts,
	    t->fin_sent ? ", then end of file" : "");
}

/* Quotes the bytes expected and received around the offset of the report. */
static void
quote_around_offset(struct report *r, const struct talk *t)
{
	enum { BEFORE = 8, FROM = 24 };
	unsigned char bytes[BEFORE + FROM];
	uint64_t from = r->offset > BEFORE ? r->offset - BEFORE : 0;
	size_t n = message_bytes(&t->plan.message, from, bytes,
	    sizeof(bytes));

	text_quote(r->expected, bytes, n);
	n = (size_t)(r->offset - from);
	if (t->differs) {
		size_t wrong = t->wrong_size < FROM ? t->wrong_size : FROM;

		memcpy(bytes + n, t->wrong, wrong);
		n += wrong;
	}
	text_quote(r->got, bytes, n);
}

void
report_describe(struct report *r, const struct talk *t)
{
	r->ended = talk_end_text(t);
	r->offset = t->differs ? t->differs_at : t->received;
	r->after = t->last_progress - t->started;
	describe_sent(r->sent, sizeof(r->sent), t);
	quote_around_offset(r, t);
}
