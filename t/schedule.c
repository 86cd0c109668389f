/*
 * Unit tests of the schedule of bench --rate, and of bench --search with
 * servers whose limit is known, in TAP.
 */
#include "modes/bench/schedule.h"
#include "modes/bench/search.h"
#include "t/tap.h"

static const int64_t SECOND = 1000000000;

static void
test_due(void)
{
	static const uint64_t rates[] = { 1, 3, 7, 1000, 999983,
	    SCHEDULE_RATE_MAX };
	bool even = true, found = true, exact = true;

	for (size_t i = 0; i < sizeof(rates) / sizeof(*rates); i++) {
		struct schedule s = { rates[i], 12345, 0 };
		int64_t step = SECOND / (int64_t)rates[i];

		for (uint64_t m = 0; m < 1000; m++) {
			int64_t due = schedule_due(&s, m);
			int64_t gap = schedule_due(&s, m + 1) - due;

			even = even && (gap == step || gap == step + 1);
			found = found && schedule_first(&s, due) == m &&
			    schedule_first(&s, due + 1) == m + 1;
		}
		exact = exact && schedule_due(&s, rates[i] * 86400) ==
		    12345 + 86400 * SECOND;
	}
	ok(even, "the messages are due at equal intervals");
	ok(exact, "after a day, a message is due to the nanosecond");
	ok(found, "the first message at or after a time");
}

static void
test_before_start(void)
{
	struct schedule s = { 1000, 5 * SECOND, 0 };

	ok(schedule_first(&s, 0) == 0 && schedule_first(&s, 5 * SECOND) == 0,
	    "message 0 is the first one before the start, and at the start");
}

static void
test_missed(void)
{
	static struct histogram delays;

	for (int i = 0; i < 99; i++)
		histogram_add(&delays, 1000);
	histogram_add(&delays, 50000000);
	ok(!schedule_is_missed(&delays), "1 % of the messages may be late");
	histogram_add(&delays, 50000000);
	ok(schedule_is_missed(&delays), "more than 1 % may not");
}

/* Searches for the limit of a server. Returns the rate that is found. */
static uint64_t
search_for(uint64_t limit, int *steps)
{
	struct search s = { .limit = 0 };
	uint64_t rate;

	for (*steps = 0; (rate = search_next(&s)) > 0; ++*steps)
		search_note(&s, rate, rate <= limit ? SEARCH_PASS :
		    SEARCH_SLOW);
	return s.good;
}

static void
test_search(void)
{
	bool close = true, quick = true;
	int steps;

	for (uint64_t limit = 1; limit < SCHEDULE_RATE_MAX;
	    limit += 1 + limit / 3) {
		uint64_t found = search_for(limit, &steps);

		close = close && found <= limit && limit - found <= limit / 49;
		quick = quick && steps < 30;
	}
	ok(close, "the rate that is found is at most 2 % too low");
	ok(quick, "in fewer than 30 measurements");
	ok(search_for(UINT64_MAX, &steps) == SCHEDULE_RATE_MAX,
	    "a server without a limit: the highest rate");
	ok(search_for(0, &steps) == 0,
	    "a server that answers too late at any rate: none");
}

/* A result with n latencies of a time (ns). */
static struct load_result *
make_result(uint64_t n, uint64_t latency)
{
	static struct load_result r;

	r = (struct load_result){ .time = SECOND };
	for (uint64_t i = 0; i < n; i++)
		histogram_add(&r.latency, latency);
	return &r;
}

static void
test_judge(void)
{
	struct search s = { .limit = 1000000 };
	struct load_result *r = make_result(1000, 900000);

	ok(search_judge(&s, false, r) == SEARCH_PASS, "TCP: passes");
	r->unanswered = 1;
	ok(search_judge(&s, false, r) == SEARCH_PASS,
	    "TCP: 0.1 % may be unanswered");
	r->unanswered = 2;
	ok(search_judge(&s, false, r) == SEARCH_LOSS,
	    "TCP: more than 0.1 % may not");
	r->unanswered = 0;
	r->datagrams.sent = 1001;
	r->datagrams.lost = 1;
	ok(search_judge(&s, true, r) == SEARCH_PASS, "UDP: 0.1 % may be lost");
	r->datagrams.lost = 2;
	ok(search_judge(&s, true, r) == SEARCH_LOSS,
	    "UDP: more than 0.1 % may not");
	ok(search_judge(&s, false, make_result(1000, 1100000)) == SEARCH_SLOW,
	    "the latency exceeds the limit");
	ok(search_judge(&s, false, make_result(0, 0)) == SEARCH_NONE,
	    "a measurement without a message");
	r = make_result(1000, 900000);
	histogram_add(&r->delays, 2000000);
	ok(search_judge(&s, false, r) == SEARCH_BENCH,
	    "bench does not keep to its schedule");
}

int
main(void)
{
	test_due();
	test_before_start();
	test_missed();
	test_search();
	test_judge();
	return done();
}
