/*
 * Mode `bench`: how fast is an echo server? Any server, in any language.
 * Which servers are measured, how often and in what order, and what is said
 * of it; the load itself is in load.c, the figures in figures.c.
 *
 * A busy machine is not equally busy all the time, so several servers are
 * measured in turn, and it is their ratios that tell something. What a server
 * costs (--pid) is disturbed less than how fast it is.
 */
#include <sys/ioctl.h>

#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "report.h"
#include "load.h"
#include "modes/mode.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"

enum {
	MOST = 64,			/* servers */
	ROUNDS = 5,			/* where there are several of them */
	OPTION_STREAM = OPTIONS_LONG, OPTION_CONNECT, OPTION_IDLE,
	OPTION_ROUNDS, OPTION_PID, OPTION_JSON
};

static const size_t MAX_SIZE = 1024 * 1024 * 1024;

static const struct option_row bench_options[] = {
	OPTIONS_TEXT("\n"
	    "Measures the echo server at ADDRESS: round trips per second, MB/s "
	    "and latency.\n"
	    "Every byte is compared. Several servers are measured in turn and "
	    "compared with\n"
	    "the first of them.\n"),
	DIAL_OPTIONS("the same as ADDRESS: " DIAL_ADDRESS_FORMS,
	    "time limit for the connection, and then for each period in which "
	    "no byte moves; 0: no limit"),
	{ 'c', "connections", "N", "1", "busy connections", 0, NULL },
	{ 's', "size", "SIZE", NULL, "bytes in a message (default 64), or in "
	    "a send of --stream (default and maximum 64k)", 0, NULL },
	{ 'w', "window", "N", NULL,
	    "messages in flight on a connection (default 1)", 0, NULL },
	{ 'd', "duration", "DURATION", "2s", "how long to measure, after a "
	    "warm-up of a fifth of it, at most 1s", 0, NULL },
	{ OPTION_STREAM, "stream", NULL, NULL, "no messages: send and receive "
	    "as fast as possible, then half-close and wait for the end of "
	    "file", 1, NULL },
	{ OPTION_CONNECT, "connect", NULL, NULL,
	    "a new connection for each message", 1, NULL },
	{ OPTION_IDLE, "idle", "N", "0",
	    "silent connections in addition to the busy ones", 0, NULL },
	{ OPTION_ROUNDS, "rounds", "N", NULL, "measure each server N times, "
	    "in turn (default 5; 1 for a single server)", 0, NULL },
	{ OPTION_PID, "pid", "PID", NULL, "process of the server, to report "
	    "the processor time and memory of it and its descendants; for "
	    "several servers, give it for each, in the same order", 0, NULL },
	{ OPTION_JSON, "json", NULL, NULL, "print each measurement as a JSON "
	    "object on a line of its own, with the keys address, mode "
	    "(round-trips, stream or connect), connections, size, window, "
	    "idle, round, seconds, messages, messages_per_s, bytes, mb_per_s, "
	    "p50_us, p90_us, p99_us, p99_9_us, max_us, cpu_us_per_message, "
	    "cpu_s_per_gb, memory_bytes; null: unknown. A message and a byte "
	    "count when they have come back", 0, NULL },
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
	struct load_plan plan;
	pid_t pids[MOST];
	size_t npids, rounds;
	bool stream, connect, json;
};

/* All servers, and rounds figures of each in turn. */
struct bench {
	const struct settings *set;
	struct load_target targets[MOST];
	size_t n;
	struct figures *figures;
	struct load_result result;	/* the last one */
	bool measured;			/* anything at all */
};

static void
add_pid(struct settings *set, const char *value)
{
	if (set->npids == MOST)
		args_usage("--pid: more than %d", MOST);
	set->pids[set->npids++] = (pid_t)args_number("--pid", value, 1,
	    INT_MAX);
}

static size_t
number(const char *what, const char *value, uint64_t low, uint64_t high)
{
	return (size_t)args_number(what, value, low, high);
}

static void
bench_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	if (dial_set_option(&set->server, row->key, value, 0))
		return;
	switch (row->key) {
	case 'c':
		set->plan.connections = number("--connections", value, 1,
		    1000000);
		break;
	case 's':
		set->plan.size = args_size("--size", value, 1, MAX_SIZE);
		break;
	case 'w':
		set->plan.window = number("--window", value, 1, 1024);
		break;
	case 'd':
		set->plan.duration = args_duration("--duration", value,
		    NET_MS);
		break;
	case OPTION_STREAM:
		set->stream = true;
		break;
	case OPTION_CONNECT:
		set->connect = true;
		break;
	case OPTION_IDLE:
		set->plan.idle = number("--idle", value, 0, 1000000);
		break;
	case OPTION_ROUNDS:
		set->rounds = number("--rounds", value, 1, 1000);
		break;
	case OPTION_PID:
		add_pid(set, value);
		break;
	case OPTION_JSON:
		set->json = true;
		break;
	}
}

/* What the options mean together; size and window are 0 if not given. */
static void
settle(struct settings *set)
{
	struct load_plan *plan = &set->plan;

	if (plan->window != 0 && (set->stream || set->connect))
		args_usage("--window is for round trips, not for %s",
		    set->stream ? "--stream" : "--connect");
	plan->mode = set->stream ? STREAM : set->connect ? CONNECT :
	    ROUND_TRIPS;
	if (plan->size == 0)
		plan->size = set->stream ? LOAD_PIECE : 64;
	if (set->stream && plan->size > LOAD_PIECE)
		args_usage("--size: with --stream it is at most %d",
		    LOAD_PIECE);
	if (plan->window == 0)
		plan->window = 1;
	plan->timeout = set->server.timeout;
}

/*
 * All of them before the first is measured, so that one that is not there is
 * told at once. The connection is not used: dial_any() is who knows whether
 * there is a server at all (see dial_is_self_connected() there).
 */
static void
reach(struct load_target *target, const char *what, char *value,
    const struct settings *set)
{
	struct address address = dial_address(what, value, set->server.port);
	struct dial_error why;
	int fd = dial_any(&address, set->server.timeout, &target->server,
	    &why);

	if (fd < 0)
		errx((int)why.status, "%s", why.text);
	close(fd);
}

static void
reach_all(struct bench *b, size_t n, char **operands)
{
	const struct settings *set = b->set;

	if (n > 0 && set->server.address != NULL)
		args_usage("--address and ADDRESS exclude each other");
	if (n > MOST)
		args_usage("more than %d addresses", MOST);
	b->n = n > 0 ? n : 1;
	if (set->npids > b->n)
		args_usage("--pid: given %zu times for %zu address%s",
		    set->npids, b->n, b->n == 1 ? "" : "es");
	for (size_t i = 0; i < b->n; i++) {
		reach(&b->targets[i], n > 0 ? "ADDRESS" : "--address",
		    n > 0 ? operands[i] : set->server.address, set);
		b->targets[i].pid = i < set->npids ? set->pids[i] : 0;
	}
}

/* On a terminal, how far it has come; NULL takes it away again. */
static void
show_progress(const struct load_target *target, const struct load_result *r)
{
	if (r == NULL)
		fprintf(stderr, "\r%-60s\r", "");
	else
		fprintf(stderr, "\r%s: %.1f s, %" PRIu64 " bytes",
		    target->server.name, (double)r->time / 1e9, r->bytes);
}

static void
show_nothing(const struct load_target *target, const struct load_result *r)
{
	(void)target;
	(void)r;
}

/* Measures a server, and tells at once what is told of each measurement. */
static void
measure(struct bench *b, size_t server, size_t round)
{
	const struct settings *set = b->set;
	const struct load_target *target = &b->targets[server];
	struct figures *figures = &b->figures[server * set->rounds + round];
	bool shown = set->server.verbosity >= 0 && isatty(STDERR_FILENO);

	load_run(&set->plan, target, shown ? show_progress : show_nothing,
	    &b->result);
	if (b->result.time == 0)	/* stopped before it began */
		return;
	b->measured = true;
	figures_take(figures, &set->plan, &b->result);
	if (set->server.verbosity > 0)
		figures_line(stderr, target->server.name, round + 1,
		    &set->plan, figures);
	if (set->json) {
		figures_json(target->server.name, round + 1, &set->plan,
		    figures);
		args_flush();
	}
}

static unsigned
terminal_width(void)
{
	struct winsize size;

	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
		return 80;
	return size.ws_col;
}

static void
tell(const struct bench *b)
{
	const struct settings *set = b->set;

	if (b->n * set->rounds > 1)
		figures_table(b->targets, b->n, &set->plan, b->figures,
		    set->rounds);
	else {
		figures_text(b->targets[0].server.name, &set->plan,
		    b->figures);
		if (isatty(STDOUT_FILENO))
			figures_histogram(&b->result.latency,
			    terminal_width());
	}
	args_flush();
}

/* Room for all of them, unknown yet. */
static void
expect_figures(struct bench *b)
{
	size_t n = b->n * b->set->rounds;

	b->figures = calloc(n, sizeof(*b->figures));
	if (b->figures == NULL)
		err(STATUS_LOCAL, "no memory for the figures");
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < FIGURES; j++)
			b->figures[i].of[j] = NAN;
}

/* The second signal ends the program as it always does. */
static void
stop_at_interrupt(void)
{
	struct sigaction action = { .sa_handler = load_stop,
	    .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
}

static int
bench_run(int argc, char **argv)
{
	static struct bench b;		/* too large for a stack */
	struct settings set = { .json = false };

	options_parse(argc, argv, &mode_bench, bench_set, &set);
	settle(&set);
	b.set = &set;
	reach_all(&b, (size_t)(argc - optind), argv + optind);
	if (set.rounds == 0)
		set.rounds = b.n > 1 ? ROUNDS : 1;
	expect_figures(&b);
	stop_at_interrupt();
	for (size_t i = 0; i < b.n * set.rounds; i++)
		measure(&b, i % b.n, i / b.n);
	if (!b.measured)
		errx(STATUS_NO, "stopped before anything was measured");
	if (!set.json)
		tell(&b);
	free(b.figures);
	return STATUS_OK;
}

const struct mode mode_bench = {
	.name = "bench",
	.link = "echo_bench",
	.summary = "measure how fast a server echoes",
	.synopsis = "[ADDRESS]... [-p PORT] [OPTION]...",
	.options = bench_options,
	.run = bench_run
};
