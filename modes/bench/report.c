#include "report.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/text.h"

/* How a figure is called. These keys are what scripts rely on. */
static const struct figure {
	const char *key;
	const char *title;	/* for people; NULL: not shown to them */
	int decimals;
} figures[FIGURES] = {
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
	{ "memory_bytes", "server memory, bytes", 0 }
};

enum { PER_SECOND = 2, MB_PER_SECOND = 4, P50 = 5 };

static const char *const modes[] = { "round-trips", "stream", "connect" };

static double
ratio(double a, double b)
{
	return b > 0 ? a / b : NAN;
}

static double
us(const struct histogram *h, unsigned per_mille)
{
	uint32_t quantile = per_mille * (HISTOGRAM_ALL / 1000);

	return h->count > 0 ? (double)histogram_quantile(h, quantile) / 1e3 :
	    NAN;
}

/* MB and GB are 10^6 and 10^9 bytes that came back: payload, one way. */
void
figures_take(struct figures *figure, const struct load_plan *plan,
    const struct load_result *r)
{
	const struct histogram *h = &r->latency;
	double seconds = (double)r->time / 1e9, bytes = (double)r->bytes;
	double n = plan->mode == STREAM ? NAN : (double)h->count;
	double cpu = r->processor < 0 ? NAN : (double)r->processor;
	const double of[FIGURES] = {
		seconds, n, ratio(n, seconds), bytes,
		ratio(bytes / 1e6, seconds),
		us(h, 500), us(h, 900), us(h, 990), us(h, 999), us(h, 1000),
		ratio(cpu / 1e3, n), ratio(cpu, bytes),
		r->memory < 0 ? NAN : (double)r->memory
	};

	memcpy(figure->of, of, sizeof(of));
}

/* A figure as text in out; what is not known is otherwise. */
static const char *
shown(char out[TEXT_TIME], size_t figure, double value, const char *otherwise)
{
	if (isnan(value))
		return otherwise;
	snprintf(out, TEXT_TIME, "%.*f", figures[figure].decimals, value);
	return out;
}

/* The name of a Unix socket may have any byte but NUL (RFC 8259, 7). */
static void
print_string(const char *s)
{
	putchar('"');
	for (; *s != '\0'; s++) {
		unsigned char byte = (unsigned char)*s;

		if (byte < ' ' || byte > '~' || byte == '"' || byte == '\\')
			printf("\\u%04x", byte);
		else
			putchar(byte);
	}
	putchar('"');
}

void
figures_json(const char *address, size_t round, const struct load_plan *plan,
    const struct figures *figure)
{
	char value[TEXT_TIME];

	printf("{\"address\":");
	print_string(address);
	printf(",\"mode\":\"%s\",\"connections\":%zu,\"size\":%zu,"
	    "\"window\":%zu,\"idle\":%zu,\"round\":%zu",
	    modes[plan->mode], plan->connections, plan->size, plan->window,
	    plan->idle, round);
	for (size_t i = 0; i < FIGURES; i++)
		printf(",\"%s\":%s", figures[i].key,
		    shown(value, i, figure->of[i], "null"));
	puts("}");
}

void
figures_line(FILE *to, const char *address, size_t round,
    const struct load_plan *plan, const struct figures *figure)
{
	char value[TEXT_TIME];

	fprintf(to, "%s round %zu: %s MB/s", address, round,
	    shown(value, MB_PER_SECOND, figure->of[MB_PER_SECOND], "-"));
	if (plan->mode != STREAM) {
		fprintf(to, ", %s %s", shown(value, PER_SECOND,
		    figure->of[PER_SECOND], "-"), figures[PER_SECOND].title);
		fprintf(to, ", p50 %s us", shown(value, P50, figure->of[P50],
		    "-"));
	}
	fputc('\n', to);
}

/* What was measured, up to the end of its line. */
static void
print_plan(const struct load_plan *plan)
{
	const char *s = PLURAL(plan->connections);

	switch (plan->mode) {
	case ROUND_TRIPS:
		printf("round trips of %zu byte%s, %zu in flight on each of "
		    "%zu connection%s", plan->size, PLURAL(plan->size),
		    plan->window, plan->connections, s);
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

void
figures_text(const char *address, const struct load_plan *plan,
    const struct figures *figure)
{
	char value[TEXT_TIME];

	printf("%s: ", address);
	print_plan(plan);
	for (size_t i = 0; i < FIGURES; i++)
		if (figures[i].title != NULL && !isnan(figure->of[i]))
			printf("  %-25s %12s\n", figures[i].title,
			    shown(value, i, figure->of[i], "-"));
}

static int
compare(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* The figure of a server in n rounds: median, least and most. */
struct summary {
	double median, least, most;
};

/* Of the rounds that have it; sorts them into room for n. */
static struct summary
summarize(const struct figures *rounds, size_t n, size_t figure, double *room)
{
	size_t known = 0;

	for (size_t i = 0; i < n; i++)
		if (!isnan(rounds[i].of[figure]))
			room[known++] = rounds[i].of[figure];
	if (known == 0)
		return (struct summary){ NAN, NAN, NAN };
	qsort(room, known, sizeof(*room), compare);
	return (struct summary){ (room[(known - 1) / 2] + room[known / 2]) / 2,
	    room[0], room[known - 1] };
}

static void
print_summary(const char *name, size_t figure, const struct summary *s,
    double first)
{
	char median[TEXT_TIME], least[TEXT_TIME], most[TEXT_TIME];

	printf("  %-25s %12s %12s %12s", name,
	    shown(median, figure, s->median, "-"),
	    shown(least, figure, s->least, "-"),
	    shown(most, figure, s->most, "-"));
	if (first > 0 && !isnan(s->median))
		printf(" %8.2f", s->median / first);
	putchar('\n');
}

void
figures_table(const struct load_target *targets, size_t servers,
    const struct load_plan *plan, const struct figures *all, size_t n)
{
	double *room = calloc(n * servers, sizeof(*room));
	struct summary *s = calloc(servers, sizeof(*s));

	print_plan(plan);
	for (size_t i = 0; i < FIGURES && room != NULL && s != NULL; i++) {
		size_t known = 0;

		for (size_t j = 0; j < servers; j++) {
			s[j] = summarize(all + j * n, n, i, room);
			known += isnan(s[j].median) ? 0 : 1;
		}
		if (figures[i].title == NULL || known == 0)
			continue;
		printf("%-27s %12s %12s %12s %8s\n", figures[i].title,
		    "median", "least", "most", "ratio");
		for (size_t j = 0; j < servers; j++)
			print_summary(targets[j].server.name, i, &s[j],
			    s[0].median);
	}
	free(room);
	free(s);
}

/*
 * The bounds of a drawing's rows: ten preferred numbers a decade (ISO 3),
 * from 100 ns on, of which each, each second or each fifth is used.
 */
static uint64_t
bound(unsigned i)
{
	static const unsigned short numbers[] = {
		100, 125, 160, 200, 250, 315, 400, 500, 630, 800
	};
	uint64_t b = numbers[i % 10];

	for (; i >= 10; i -= 10)
		b *= 10;
	return b;
}

enum { ROWS_MOST = 20, DECADES = 15, LABEL = 24 };

static unsigned
bound_above(uint64_t value)
{
	unsigned i = 0;

	while (i < 10 * DECADES && bound(i) <= value)
		i++;
	return i;
}

static void
draw_row(uint64_t low, uint64_t n, uint64_t most, unsigned width)
{
	uint64_t bar = most == 0 ? 0 : (n * width + most - 1) / most;

	printf("%12.1f %10" PRIu64 " ", (double)low / 1e3, n);
	for (uint64_t i = 0; i < bar; i++)
		putchar('#');
	putchar('\n');
}

void
figures_histogram(const struct histogram *h, unsigned width)
{
	unsigned from = bound_above(h->min), to = bound_above(h->max);
	unsigned step = to - from < ROWS_MOST ? 1 :
	    to - from < 2 * ROWS_MOST ? 2 : 5;
	uint64_t most = 0;

	from -= from > 0;
	if (h->count == 0)
		return;
	from -= from % step;
	for (unsigned i = from; i < to; i += step) {
		uint64_t n = histogram_count(h, bound(i), bound(i + step));

		most = n > most ? n : most;
	}
	printf("%12s %10s\n", "from us", "messages");
	for (unsigned i = from; i < to; i += step)
		draw_row(bound(i), histogram_count(h, i == from ? 0 :
		    bound(i), bound(i + step)), most,
		    width > 2 * LABEL ? width - LABEL : LABEL);
}
