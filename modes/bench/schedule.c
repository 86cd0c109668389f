#include "schedule.h"

static const uint64_t SECOND = 1000000000;

/* Whole seconds and the rest separately, so that no product overflows. */
int64_t
schedule_due(const struct schedule *s, uint64_t message)
{
	uint64_t ns = message / s->rate * SECOND +
	    message % s->rate * SECOND / s->rate;

	return s->start + (int64_t)ns;
}

uint64_t
schedule_first(const struct schedule *s, int64_t time)
{
	uint64_t ns = time > s->start ? (uint64_t)(time - s->start) : 0;
	uint64_t message = ns / SECOND * s->rate +
	    ns % SECOND * s->rate / SECOND;

	/* Both divisions round down, so this one may be due earlier. */
	while (schedule_due(s, message) < time)
		message++;
	return message;
}

bool
schedule_is_missed(const struct histogram *delays)
{
	return histogram_quantile(delays, HISTOGRAM_ALL / 100 * 99) >
	    SECOND / 1000;
}
