/*
 * Mode `bench`: measures how fast an echo server is. This file has the options,
 * and decides which servers are measured, in what order, and how the results
 * are printed. The load is in load.c, the figures are in report.c.
 *
 * The load on a machine changes over time. Therefore several servers are
 * measured in turn, and their ratios are more reliable than single figures.
 * Other load disturbs the processor time of a server (--pid) less than its
 * speed.
 */
#include <sys/ioctl.h>

#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "distribution.h"
#include "load.h"
#include "measure.h"
#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "process.h"
#include "report.h"
#include "search.h"
#include "udp_load.h"

enum {
	MAX_SERVERS = 64,
	MAX_CONNECTIONS = 1000000,
	MAX_WINDOW = 1024,
	MAX_ROUNDS = 1000,
	MAX_SIZE = 1024 * 1024 * 1024,
	DEFAULT_SIZE = 64,
	DEFAULT_WINDOW = 1,
	DEFAULT_ROUNDS = 5,	/* for several servers */
	OPTION_STREAM = OPTIONS_LONG, OPTION_CONNECT, OPTION_IDLE,
	OPTION_ROUNDS, OPTION_PID, OPTION_JSON, OPTION_LATE, OPTION_RATE,
	OPTION_SLEEP, OPTION_PERCENTILES, OPTION_SEARCH, OPTION_LIMIT
};

static const struct option_row bench_options[] = {
	OPTIONS_TEXT("\n"
	    "Measures the echo server at ADDRESS: round trips per second, MB/s "
	    "and latency.\n"
	    "Every byte is compared. Several servers are measured in turn and "
	    "compared with\n"
	    "the first of them. With UDP, lost, late, duplicated, reordered, "
	    "corrupted and\n"
	    "foreign datagrams are counted.\n"),
	DIAL_OPTIONS("the same as ADDRESS: " DIAL_ADDRESS_FORMS,
	    "time limit to connect, and then to receive the next byte; "
	    "0: no limit"),
	DIAL_UDP("UDP for an ADDRESS without tcp: or udp: before it; only "
	    "round trips"),
	{ 'c', "connections", "N", "1", "busy connections, or UDP clients", 0,
	    NULL },
	{ 's', "size", "SIZE", NULL, "bytes per message, or per send of "
	    "--stream, which is at most 64k; UDP: 16 to 65507 (IPv6: 65527)", 0,
	    NULL },
	{ 'w', "window", "N", NULL, "messages in flight per connection", 0,
	    NULL },
	{ 'd', "duration", "DURATION", "2s", "how long to measure, after a "
	    "warm-up of a fifth of this time, at most 1s", 0, NULL },
	{ OPTION_RATE, "rate", "N", NULL, "send N messages per second in all, "
	    "on schedule, even if replies are missing; the latency counts "
	    "from the time at which a message is due", 2, NULL },
	{ OPTION_SEARCH, "search", NULL, NULL, "find the highest rate at "
	    "which at most 0.1 % of the messages are lost and the latency p99 "
	    "is at most --limit", 2, NULL },
	{ OPTION_LIMIT, "limit", "DURATION", "1ms", "the limit of --search", 0,
	    NULL },
	{ OPTION_SLEEP, "sleep", NULL, NULL, "wait for replies like an "
	    "ordinary client; by default bench polls for 100us before it "
	    "sleeps, which makes the latency and the server's processor time "
	    "of few connections smaller than ordinary clients see", 0, NULL },
	{ OPTION_LATE, "late", "DURATION", "200ms", "UDP: how long "
	    "a reply may take before another message is sent in place of the "
	    "lost one; a reply after that is late, but counts", 0, NULL },
	{ OPTION_STREAM, "stream", NULL, NULL, "no messages: send and receive "
	    "as fast as possible, then half-close and wait for the end of "
	    "file", 1, NULL },
	{ OPTION_CONNECT, "connect", NULL, NULL,
	    "a new connection for each message", 1, NULL },
	{ OPTION_IDLE, "idle", "N", "0",
	    "idle connections in addition to the busy ones", 0, NULL },
	{ OPTION_ROUNDS, "rounds", "N", NULL, "measure each server N times, "
	    "in turn", 0, NULL },
	{ OPTION_PID, "pid", "PID", NULL, "process of the server, to report "
	    "its processor time and memory, with those of its descendants; for "
	    "several servers, give the option for each, in the order of the "
	    "addresses", 0, NULL },
	{ OPTION_PERCENTILES, "percentiles", NULL, NULL, "also print the "
	    "distribution of the latency in the text format of HdrHistogram", 0,
	    NULL },
	{ OPTION_JSON, "json", NULL, NULL, "print each measurement as a JSON "
	    "object on a line of its own, with the keys address, mode "
	    "(round-trips, stream or connect), connections, size, window, "
	    "idle, round, seconds, messages, messages_per_s, bytes, mb_per_s, "
	    "p50_us, p90_us, p99_us, p99_9_us, max_us, cpu_us_per_message, "
	    "cpu_s_per_gb, memory_bytes, and with UDP sent, lost, late, "
	    "duplicated, reordered, corrupted, foreign, dropped, jitter_us, "
	    "loss_bursts, longest_loss_burst, and with --rate rate, "
	    "unanswered, delay_p99_us, delay_max_us; null: unknown. Messages and bytes are counted when they have come "
	    "back", 0, NULL },
	DIAL_VERBOSITY("also print each measurement when it ends",
	    "print no progress on a terminal"),
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "DURATION: 200ms, 2s, 1m; a bare number is seconds. SIZE: 16, "
	    "64k, 1M.\n"
	    "The first Ctrl-C ends the measurement early and prints the "
	    "figures so far."),
	OPTIONS_END
};

struct settings {
	struct dial_options server;
	struct load_plan plan;	/* size and window 0: not given */
	pid_t pids[MAX_SERVERS];
	size_t npids;
	size_t rounds;		/* 0: not given */
	bool stream, connect, json, percentiles, search;
	int64_t limit;		/* of --search, ns */
};

struct bench {
	const struct settings *set;
	struct load_target targets[MAX_SERVERS];
	size_t n;			/* servers */
	struct report *reports;		/* rounds of each server in turn */
	struct load_result result;	/* of the last measurement */
	bool measured;			/* at least one measurement exists */
	uint64_t corrupted;		/* datagrams, in all measurements */
};

/* The defaults that depend on other options, for --help. */
static const char *
bench_default_text(const struct option_row *row, char *out, size_t size)
{
	switch (row->key) {
	case 's':
		snprintf(out, size, "%d, --stream %dk", DEFAULT_SIZE,
		    LOAD_SEND_MAX / 1024);
		return out;
	case 'w':
		snprintf(out, size, "%d", DEFAULT_WINDOW);
		return out;
	case OPTION_ROUNDS:
		snprintf(out, size, "%d; 1 for a single server",
		    DEFAULT_ROUNDS);
		return out;
	default:
		return NULL;
	}
}

static bool
bench_has_option(const struct option_row *row)
{
	return row->key != OPTION_PID || process_has_figures;
}

static void
bench_add_pid(struct settings *set, const char *value)
{
	if (!process_has_figures)
		args_usage("--pid: not on this system");
	if (set->npids == MAX_SERVERS)
		args_usage("--pid: more than %d", MAX_SERVERS);
	set->pids[set->npids++] = (pid_t)args_number("--pid", value, 1,
	    INT_MAX);
}

static size_t
bench_number(const char *what, const char *value, uint64_t low, uint64_t high)
{
	return (size_t)args_number(what, value, low, high);
}

static void
bench_set_option(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (dial_set_option(&set->server, row->key, value, 0))
		return;
	switch (row->key) {
	case 'c':
		set->plan.connections = bench_number("--connections",
		    value, 1, MAX_CONNECTIONS);
		break;
	case 's':
		set->plan.size = args_size("--size", value, 1, MAX_SIZE);
		break;
	case 'w':
		set->plan.window = bench_number("--window", value, 1,
		    MAX_WINDOW);
		break;
	case 'd':
		set->plan.duration = args_duration("--duration", value,
		    NET_MS);
		break;
	case OPTION_LATE:
		set->plan.late_after = args_duration("--late", value,
		    NET_MS);
		break;
	case OPTION_STREAM:
		set->stream = true;
		break;
	case OPTION_CONNECT:
		set->connect = true;
		break;
	case OPTION_IDLE:
		set->plan.idle = bench_number("--idle", value, 0,
		    MAX_CONNECTIONS);
		break;
	case OPTION_ROUNDS:
		set->rounds = bench_number("--rounds", value, 1,
		    MAX_ROUNDS);
		break;
	case OPTION_PID:
		bench_add_pid(set, value);
		break;
	case OPTION_JSON:
		set->json = true;
		break;
	case OPTION_RATE:
		set->plan.rate = args_number("--rate", value, 1,
		    SCHEDULE_RATE_MAX);
		break;
	case OPTION_SLEEP:
		set->plan.sleeps = true;
		break;
	case OPTION_PERCENTILES:
		set->percentiles = true;
		break;
	case OPTION_SEARCH:
		set->search = true;
		break;
	case OPTION_LIMIT:
		set->limit = args_duration("--limit", value, 1);
		break;
	}
}

/*
 * With a rate, returns how many messages of a UDP client may be in flight:
 * twice the number of messages that are due during the time of --late.
 */
static size_t
bench_scheduled_window(const struct load_plan *plan)
{
	uint64_t sent = plan->rate * (uint64_t)(plan->late_after / NET_MS) /
	    1000 / plan->connections;

	return 2 * (size_t)sent + MAX_WINDOW;
}

/* Sets the rate of the next measurement. */
static void
bench_set_rate(struct load_plan *plan, uint64_t rate)
{
	plan->rate = rate;
	plan->window = bench_scheduled_window(plan);
}

/* Checks combinations of options, and sets options that were not given. */
static void
bench_resolve_options(struct settings *set)
{
	struct load_plan *plan = &set->plan;

	if (plan->window != 0 && (set->stream || set->connect))
		args_usage("--window is for round trips, not for %s",
		    set->stream ? "--stream" : "--connect");
	if (set->search)
		plan->rate = 1;		/* any value; the search sets it */
	if (plan->rate > 0 && (set->stream || set->connect ||
	    plan->window != 0))
		args_usage("%s is for round trips without %s", set->search ?
		    "--search" : "--rate", set->stream ? "--stream" :
		    set->connect ? "--connect" : "--window");
	if (set->json && set->percentiles)
		args_usage("--json and --percentiles exclude each other");
	plan->mode = set->stream ? STREAM : set->connect ? CONNECT :
	    ROUND_TRIPS;
	if (plan->size == 0)
		plan->size = set->stream ? LOAD_SEND_MAX : DEFAULT_SIZE;
	if (set->stream && plan->size > LOAD_SEND_MAX)
		args_usage("--size: with --stream it is at most %d",
		    LOAD_SEND_MAX);
	if (plan->window == 0)
		plan->window = DEFAULT_WINDOW;
	if (plan->rate > 0)
		bench_set_rate(plan, plan->rate);
	plan->timeout = set->server.timeout;
}

/* There are no connections to open, to keep idle or to close with UDP. */
static void
bench_reach_udp(struct load_target *target, const struct address *address,
    const struct settings *set)
{
	if (set->stream || set->connect || set->plan.idle > 0)
		args_usage("%s is for TCP, and not for UDP", set->stream ?
		    "--stream" : set->connect ? "--connect" : "--idle");
	target->is_udp = true;
	udp_load_reach(address, set->plan.size, set->server.timeout,
	    &target->server);
}

/*
 * Resolves the address and checks that a server is there. The connection for
 * this check is closed without being used.
 */
static void
bench_reach(struct load_target *target, const char *what, char *value,
    const struct settings *set)
{
	struct address address = dial_address(what, value, set->server.port,
	    set->server.is_udp);
	struct dial_error why;
	int fd;

	if (address.is_udp) {
		bench_reach_udp(target, &address, set);
		return;
	}
	fd = dial_any(&address, set->server.timeout, &target->server, &why);
	if (fd < 0)
		errx((int)why.status, "%s", why.text);
	close(fd);
}

/*
 * All servers are reached before the first is measured, so that a missing
 * server is reported at once.
 */
static void
bench_reach_all(struct bench *b, size_t n, char **operands)
{
	const struct settings *set = b->set;

	if (n > 0 && set->server.address != NULL)
		args_usage("--address and ADDRESS exclude each other");
	if (n > MAX_SERVERS)
		args_usage("more than %d addresses", MAX_SERVERS);
	b->n = n > 0 ? n : 1;
	if (set->npids > b->n)
		args_usage("--pid: given %zu times for %zu address%s",
		    set->npids, b->n, b->n == 1 ? "" : "es");
	for (size_t i = 0; i < b->n; i++) {
		bench_reach(&b->targets[i], n > 0 ? "ADDRESS" : "--address",
		    n > 0 ? operands[i] : set->server.address, set);
		b->targets[i].pid = i < set->npids ? set->pids[i] : 0;
	}
}

/* Shows the progress on a terminal; NULL removes it. */
static void
bench_show_progress(const struct load_target *target,
    const struct load_result *r)
{
	if (r == NULL)
		fprintf(stderr, "\r%-60s\r", "");
	else
		fprintf(stderr, "\r%s: %.1f s, %" PRIu64 " bytes",
		    target->server.name, (double)r->time / 1e9, r->bytes);
}

static void
bench_show_no_progress(const struct load_target *target,
    const struct load_result *r)
{
	(void)target;
	(void)r;
}

/* Measures a server, and prints the output of --verbose and --json. */
static void
bench_measure(struct bench *b, size_t server, size_t round)
{
	const struct settings *set = b->set;
	const struct load_target *target = &b->targets[server];
	struct report *report = &b->reports[server * set->rounds + round];
	bool shown = set->server.verbosity >= 0 && isatty(STDERR_FILENO);

	(target->is_udp ? udp_load_run : load_run)(&set->plan, target,
	    shown ? bench_show_progress : bench_show_no_progress, &b->result);
	if (b->result.time == 0)	/* interrupted before the measurement */
		return;
	if (!set->search)
		udp_load_check_result(target, &b->result);
	b->measured = true;
	b->corrupted += b->result.datagrams.corrupted;
	report_compute(report, &set->plan, target, &b->result);
	if (set->server.verbosity > 0)
		report_line(stderr, target->server.name, round + 1,
		    &set->plan, report);
	if (set->search)
		return;
	if (set->plan.rate > 0 && schedule_is_missed(&b->result.delays))
		warnx("more than 1 %% of the messages left more than 1 ms "
		    "late: the figures describe bench rather than %s",
		    target->server.name);
	if (set->json) {
		report_json(target, round + 1, &set->plan, report);
		args_flush();
	}
}

static unsigned
bench_terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

/* Prints the figures of all measurements as text. */
static void
bench_print(const struct bench *b)
{
	const struct settings *set = b->set;

	if (b->n * set->rounds > 1)
		report_table(b->targets, b->n, &set->plan, b->reports,
		    set->rounds);
	else {
		report_text(&b->targets[0], &set->plan, b->reports);
		if (set->percentiles)
			distribution_print(&b->result.latency);
		else if (isatty(STDOUT_FILENO))
			distribution_draw(&b->result.latency,
			    bench_terminal_width());
	}
	args_flush();
}

static void
bench_allocate_reports(struct bench *b)
{
	size_t n = b->n * b->set->rounds;

	b->reports = calloc(n, sizeof(*b->reports));
	if (b->reports == NULL)
		err(STATUS_LOCAL, "no memory for the figures");
	for (size_t i = 0; i < n; i++)
		report_clear(&b->reports[i]);
}

/*
 * The first SIGINT stops the load, the second one ends the program. If the
 * first one interrupts a write of the figures, the write is restarted.
 */
static void
bench_catch_interrupt(void)
{
	struct sigaction action = { .sa_handler = measure_stop,
	    .sa_flags = (int)SA_RESETHAND | SA_RESTART };

	sigaction(SIGINT, &action, NULL);
}

/* Prints the result of the search. */
static void
bench_print_search(const struct bench *b, const struct search *s)
{
	const struct load_target *target = &b->targets[0];

	if (s->good == 0)
		errx(STATUS_NO, "%s: not even 1 message per second: %s",
		    target->server.name, search_reason(s->why));
	if (b->set->json)
		report_json(target, 1, &b->set->plan, b->reports);
	else
		bench_print(b);
	args_flush();
	if (s->bad > 0 && b->set->server.verbosity >= 0)
		fprintf(stderr, "at %" PRIu64 " per second: %s\n", s->bad,
		    search_reason(s->why));
}

/*
 * Measures one server with different rates. A rate that fails is tried once
 * more, because another program may have had the processor.
 */
static void
bench_search(struct bench *b, struct settings *set)
{
	static struct load_result best;		/* of the highest rate */
	struct search s = { .limit = set->limit };
	uint64_t rate;

	while ((rate = search_next(&s)) > 0 && !measure_is_stopped()) {
		enum search_verdict verdict = SEARCH_LOSS;

		bench_set_rate(&set->plan, rate);
		for (int i = 0; i < 2 && verdict != SEARCH_PASS &&
		    verdict != SEARCH_NONE && !measure_is_stopped(); i++) {
			bench_measure(b, 0, 0);
			verdict = search_judge(&s, b->targets[0].is_udp,
			    &b->result);
		}
		if (measure_is_stopped())
			break;
		search_note(&s, rate, verdict);
		if (verdict == SEARCH_PASS)
			best = b->result;
	}
	if (measure_is_stopped())
		errx(STATUS_NO, "interrupted before the end of the search");
	bench_set_rate(&set->plan, s.good);
	b->result = best;
	report_compute(b->reports, &set->plan, b->targets, &best);
	bench_print_search(b, &s);
}

static int
bench_run(int argc, char **argv)
{
	static struct bench b;		/* too large for the stack */
	struct settings set = { .json = false };

	options_parse(argc, argv, &mode_bench, bench_set_option, &set);
	bench_resolve_options(&set);
	b.set = &set;
	bench_reach_all(&b, (size_t)(argc - optind), argv + optind);
	if (set.rounds == 0)
		set.rounds = b.n > 1 ? DEFAULT_ROUNDS : 1;
	if ((set.search || set.percentiles) && b.n * set.rounds > 1)
		args_usage("%s is for one server, and not for --rounds",
		    set.search ? "--search" : "--percentiles");
	bench_allocate_reports(&b);
	bench_catch_interrupt();
	if (set.search)
		bench_search(&b, &set);
	for (size_t i = 0; i < b.n * set.rounds && !set.search; i++)
		bench_measure(&b, i % b.n, i / b.n);
	if (!b.measured)
		errx(STATUS_NO, "interrupted before anything was measured");
	if (!set.json && !set.search)
		bench_print(&b);
	free(b.reports);
	if (b.corrupted > 0)
		errx(STATUS_NO, "%" PRIu64 " datagram%s came back with wrong "
		    "bytes or a wrong size", b.corrupted, PLURAL(b.corrupted));
	return STATUS_OK;
}

const struct mode mode_bench = {
	.name = "bench",
	.link = "echo_bench",
	.summary = "measure how fast a server echoes",
	.synopsis = "[-u] [ADDRESS]... [-p PORT] [OPTION]...",
	.options = bench_options,
	.default_text = bench_default_text,
	.has_option = bench_has_option,
	.run = bench_run
};
