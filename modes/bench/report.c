#include "report.h"

#include <err.h>
#include <inttypes.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/text.h"

static const struct figure {
	const char *key;	/* in JSON, for scripts; NULL: not in JSON */
	const char *title;	/* in text; NULL: not printed */
	int decimals;
} figures[REPORT_FIGURES] = {
	{ "seconds", NULL, 3 },
	{ "messages", NULL, 0 },
	{ "messages_per_s", "round trips/s", 1 },
	{ "bytes", NULL, 0 },
	{ "mb_per_s", "MB/s", 2 },
	{ "p50_us", "p50, us", 1 },
	{ "p90_us", "p90, us", 1 },
	{ "p99_us", "p99, us", 1 },
	{ "p99_9_us", "p99.9, us", 1 },
	{ "max_us", "max, us", 1 },
	{ "cpu_us_per_message", "server CPU, us/round trip", 2 },
	{ "cpu_s_per_gb", "server CPU, s/GB", 3 },
	{ "memory_bytes", "server memory, bytes", 0 },
	{ "sent", "datagrams sent", 0 },
	{ "lost", "lost", 0 },
	{ NULL, "lost, %", 4 },
	{ "late", "late", 0 },
	{ "duplicated", "duplicated", 0 },
	{ "reordered", "reordered", 0 },
	{ "corrupted", "corrupted", 0 },
	{ "foreign", "foreign", 0 },
	{ "dropped", "dropped by bench", 0 },
	{ "jitter_us", "jitter, us", 1 },
	{ "loss_bursts", "loss bursts", 0 },
	{ "longest_loss_burst", "longest loss burst", 0 },
	{ "unanswered", "due but not answered", 0 },
	{ "delay_p99_us", "delay of bench p99, us", 1 },
	{ "delay_max_us", "delay of bench max, us", 1 }
};

/* Indexes into the table of figures. */
enum {
	PER_SECOND = 2, MB_PER_SECOND = 4, P50 = 5,
	UDP_FIGURES = 13, LATE = 16, DROPPED = 21, BURSTS = 23,
	RATE_FIGURES = 25
};

/* The names of enum load_mode in JSON. */
static const char *const mode_names[] = { "round-trips", "stream", "connect" };

static double
report_ratio(double a, double b)
{
	return b > 0 ? a / b : NAN;
}

/* The latency in us that per_mille/1000 of the messages do not exceed. */
static double
report_latency(const struct histogram *h, unsigned per_mille)
{
	uint32_t quantile = per_mille * (HISTOGRAM_ALL / 1000);

	return h->count > 0 ? (double)histogram_quantile(h, quantile) / 1e3 :
	    NAN;
}

void
report_clear(struct report *report)
{
	for (size_t i = 0; i < REPORT_FIGURES; i++)
		report->figures[i] = NAN;
}

/* Sets the figures of datagrams, in the order of the table of figures. */
static void
report_compute_udp(struct report *report, const struct load_result *r)
{
	const struct flow_counts *n = &r->datagrams;
	double sent = (double)n->sent, lost = (double)n->lost;
	const double values[RATE_FIGURES - UDP_FIGURES] = {
		sent, lost, report_ratio(100 * lost, sent), (double)n->late,
		(double)n->duplicated, (double)n->reordered,
		(double)n->corrupted, (double)n->foreign, (double)r->dropped,
		r->jitter < 0 ? NAN : r->jitter / 1e3, (double)n->bursts,
		(double)n->longest_burst
	};

	memcpy(report->figures + UDP_FIGURES, values, sizeof(values));
}

/* Sets the figures of a load with a rate. */
static void
report_compute_rate(struct report *report, const struct load_result *r)
{
	double *f = report->figures + RATE_FIGURES;

	f[0] = (double)r->unanswered;
	f[1] = report_latency(&r->delays, 990);
	f[2] = report_latency(&r->delays, 1000);
}

/*
 * The number of messages that were answered during the measurement. With a rate
 * and TCP, the histogram also contains messages that were answered later.
 */
static double
report_messages(const struct load_plan *plan, bool is_udp,
    const struct load_result *r)
{
	if (plan->mode == STREAM)
		return NAN;
	if (plan->rate > 0 && !is_udp)
		return (double)r->bytes / (double)plan->size;
	return (double)(r->latency.count - r->unanswered);
}

/*
 * MB and GB are 10^6 and 10^9 bytes that came back: payload, counted in one
 * direction. The order is that of the table of figures.
 */
void
report_compute(struct report *report, const struct load_plan *plan,
    const struct load_target *target, const struct load_result *r)
{
	const struct histogram *h = &r->latency;
	double seconds = (double)r->time / 1e9, bytes = (double)r->bytes;
	double n = report_messages(plan, target->is_udp, r);
	double cpu = r->processor < 0 ? NAN : (double)r->processor;
	const double values[UDP_FIGURES] = {
		seconds, n, report_ratio(n, seconds), bytes,
		report_ratio(bytes / 1e6, seconds),
		report_latency(h, 500), report_latency(h, 900),
		report_latency(h, 990), report_latency(h, 999),
		report_latency(h, 1000),
		report_ratio(cpu / 1e3, n), report_ratio(cpu, bytes),
		r->memory < 0 ? NAN : (double)r->memory
	};

	report_clear(report);
	memcpy(report->figures, values, sizeof(values));
	if (target->is_udp)
		report_compute_udp(report, r);
	if (plan->rate > 0)
		report_compute_rate(report, r);
}

/* Writes a figure as text to out; an unknown figure as the text unknown. */
static const char *
report_format(char out[TEXT_TIME], size_t figure, double value,
    const char *unknown)
{
	if (isnan(value))
		return unknown;
	snprintf(out, TEXT_TIME, "%.*f", figures[figure].decimals, value);
	return out;
}

/* Whether a figure belongs to that kind of load, even if it is unknown. */
static bool
report_has_figure(size_t figure, bool is_udp, const struct load_plan *plan)
{
	if (figure < UDP_FIGURES)
		return true;
	return figure < RATE_FIGURES ? is_udp : plan->rate > 0;
}

void
report_json(const struct load_target *target, size_t round,
    const struct load_plan *plan, const struct report *report)
{
	const char *address = target->server.name;
	char name[TEXT_JSON(NET_NAME_MAX)], value[TEXT_TIME];

	printf("{\"address\":%s,\"mode\":\"%s\",\"connections\":%zu,"
	    "\"size\":%zu,\"window\":%zu,\"idle\":%zu,\"round\":%zu",
	    text_json(name, address, strlen(address), NET_NAME_MAX),
	    mode_names[plan->mode], plan->connections, plan->size,
	    plan->window, plan->idle, round);
	if (plan->rate > 0)
		printf(",\"rate\":%" PRIu64, plan->rate);
	for (size_t i = 0; i < REPORT_FIGURES; i++)
		if (figures[i].key != NULL &&
		    report_has_figure(i, target->is_udp, plan))
			printf(",\"%s\":%s", figures[i].key, report_format(
			    value, i, report->figures[i], "null"));
	puts("}");
}

void
report_line(FILE *to, const char *address, size_t round,
    const struct load_plan *plan, const struct report *report)
{
	const double *f = report->figures;
	char value[TEXT_TIME];

	fprintf(to, "%s round %zu: %s MB/s", address, round,
	    report_format(value, MB_PER_SECOND, f[MB_PER_SECOND], "-"));
	if (plan->mode != STREAM) {
		fprintf(to, ", %s %s", report_format(value, PER_SECOND,
		    f[PER_SECOND], "-"), figures[PER_SECOND].title);
		fprintf(to, ", p50 %s us", report_format(value, P50, f[P50],
		    "-"));
	}
	fputc('\n', to);
}

/*
 * Prints the kind of the measurement, as the end of a line. Clients are called
 * UDP clients if all servers use UDP.
 */
static void
report_plan(const struct load_plan *plan, bool is_udp)
{
	const char *s = PLURAL(plan->connections);

	switch (plan->mode) {
	case ROUND_TRIPS:
		printf("round trips of %zu byte%s, ", plan->size,
		    PLURAL(plan->size));
		if (plan->rate > 0)
			printf("%" PRIu64 " per second on ", plan->rate);
		else
			printf("%zu in flight on each of ", plan->window);
		printf("%zu %s%s", plan->connections,
		    is_udp ? "UDP client" : "connection", s);
		break;
	case STREAM:
		printf("%zu stream%s", plan->connections, s);
		break;
	case CONNECT:
		printf("connections of one message of %zu byte%s, %zu at a "
		    "time", plan->size, PLURAL(plan->size),
		    plan->connections);
		break;
	}
	if (plan->idle > 0)
		printf(", %zu idle besides", plan->idle);
	putchar('\n');
}

/* Whether the figure only gives details of the figure for lost datagrams. */
static bool
report_is_burst(size_t figure)
{
	return figure == BURSTS || figure == BURSTS + 1;
}

void
report_text(const struct load_target *target, const struct load_plan *plan,
    const struct report *report)
{
	char value[TEXT_TIME];

	printf("%s: ", target->server.name);
	report_plan(plan, target->is_udp);
	for (size_t i = 0; i < REPORT_FIGURES; i++)
		if (figures[i].title != NULL && !isnan(report->figures[i]) &&
		    !(report_is_burst(i) && report->figures[i] == 0))
			printf("  %-25s %12s\n", figures[i].title,
			    report_format(value, i, report->figures[i], "-"));
}

static int
report_compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* A figure of a server over several rounds; NAN if it is unknown in all. */
struct summary {
	double median, min, max;
};

/* Sorts the known values of a figure into scratch, which has room for n. */
static struct summary
report_summarize(const struct report *rounds, size_t n, size_t figure,
    double *scratch)
{
	size_t known = 0;

	for (size_t i = 0; i < n; i++)
		if (!isnan(rounds[i].figures[figure]))
			scratch[known++] = rounds[i].figures[figure];
	if (known == 0)
		return (struct summary){ NAN, NAN, NAN };
	qsort(scratch, known, sizeof(*scratch), report_compare);
	return (struct summary){ (scratch[(known - 1) / 2] +
	    scratch[known / 2]) / 2, scratch[0], scratch[known - 1] };
}

/* One row of the table; first is the median of the first server. */
static void
report_row(const char *name, size_t figure, const struct summary *s,
    double first)
{
	char median[TEXT_TIME], min[TEXT_TIME], max[TEXT_TIME];

	printf("  %-25s %12s %12s %12s", name,
	    report_format(median, figure, s->median, "-"),
	    report_format(min, figure, s->min, "-"),
	    report_format(max, figure, s->max, "-"));
	if (first > 0 && !isnan(s->median))
		printf(" %8.2f", s->median / first);
	putchar('\n');
}

/*
 * Whether the figure is a count that is 0 for all servers. The table leaves out
 * such a figure, except the count of lost datagrams: 0 losses are a result.
 */
static bool
report_is_no_event(size_t figure, const struct summary *s, size_t servers)
{
	if ((figure < LATE || figure > DROPPED) && !report_is_burst(figure) &&
	    figure != RATE_FIGURES)
		return false;
	for (size_t i = 0; i < servers; i++)
		if (s[i].max > 0)
			return false;
	return true;
}

void
report_table(const struct load_target *targets, size_t servers,
    const struct load_plan *plan, const struct report *reports, size_t rounds)
{
	double *scratch = calloc(rounds, sizeof(*scratch));
	struct summary *s = calloc(servers, sizeof(*s));
	bool is_udp = true;

	for (size_t i = 0; i < servers; i++)
		is_udp = is_udp && targets[i].is_udp;
	if (scratch == NULL || s == NULL)
		err(STATUS_LOCAL, "no memory for the table");
	report_plan(plan, is_udp);
	for (size_t i = 0; i < REPORT_FIGURES; i++) {
		size_t known = 0;

		for (size_t j = 0; j < servers; j++) {
			s[j] = report_summarize(reports + j * rounds, rounds,
			    i, scratch);
			known += isnan(s[j].median) ? 0 : 1;
		}
		if (figures[i].title == NULL || known == 0 ||
		    report_is_no_event(i, s, servers))
			continue;
		printf("%-27s %12s %12s %12s %8s\n", figures[i].title,
		    "median", "least", "most", "ratio");
		for (size_t j = 0; j < servers; j++)
			report_row(targets[j].server.name, i, &s[j],
			    s[0].median);
	}
	free(scratch);
	free(s);
}
