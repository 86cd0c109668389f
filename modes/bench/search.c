#include "search.h"

#include "schedule.h"

enum {
	FIRST_RATE = 1000,	/* messages per second */
	PRECISION = 50,		/* the interval ends at a 50th of the rate */
	LOSS_PART = 1000	/* one of 1000 may be lost */
};

uint64_t
search_next(const struct search *s)
{
	if (s->bad == 0)
		return s->good == SCHEDULE_RATE_MAX ? 0 :
		    s->good > SCHEDULE_RATE_MAX / 2 ? SCHEDULE_RATE_MAX :
		    s->good > 0 ? 2 * s->good : FIRST_RATE;
	if (s->bad - s->good <= s->good / PRECISION || s->bad - s->good == 1)
		return 0;
	return s->good + (s->bad - s->good) / 2;
}

enum search_verdict
search_judge(const struct search *s, bool is_udp,
    const struct load_result *r)
{
	uint64_t missing = r->unanswered + (is_udp ? r->datagrams.lost : 0);
	uint64_t all = is_udp ? r->datagrams.sent + r->unanswered :
	    r->latency.count;

	if (all == 0)
		return SEARCH_NONE;
	if (schedule_is_missed(&r->delays))
		return SEARCH_BENCH;
	if (missing * LOSS_PART > all)
		return SEARCH_LOSS;
	return (int64_t)histogram_quantile(&r->latency, HISTOGRAM_ALL / 100 *
	    99) > s->limit ? SEARCH_SLOW : SEARCH_PASS;
}

void
search_note(struct search *s, uint64_t rate, enum search_verdict verdict)
{
	if (verdict == SEARCH_PASS) {
		s->good = rate;
		return;
	}
	s->bad = rate;
	s->why = verdict;
}

const char *
search_reason(enum search_verdict verdict)
{
	switch (verdict) {
	case SEARCH_LOSS:
		return "more than 0.1 % of the messages are not answered";
	case SEARCH_SLOW:
		return "the latency p99 exceeds the limit";
	case SEARCH_BENCH:
		return "bench itself does not keep to its schedule";
	case SEARCH_NONE:
		return "the measurement is too short for one message";
	default:
		return "it passes";
	}
}
