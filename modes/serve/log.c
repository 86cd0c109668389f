#include "log.h"

#include <sys/wait.h>

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "server.h"
#include "modes/lib/text.h"

static const int64_t WARN_EVERY = NET_SECOND;

static uint64_t dropped;	/* lines, since the last that was written */

static bool
would_block(void)
{
	struct pollfd log = { STDERR_FILENO, POLLOUT, 0 };

	return net_poll(&log, 1, 0, NULL) == 0;
}

static void
write_line(char *line, size_t n, size_t room)
{
	if (n > room - 2)
		n = room - 2;
	line[n] = '\n';
	if (would_block() || write(STDERR_FILENO, line, n + 1) < 0)
		dropped++;
}

static void
say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void
say(const char *fmt, ...)
{
	char line[1024];
	va_list ap;

	if (dropped > 0 && !would_block()) {
		int n = snprintf(line, sizeof(line), "%s: %" PRIu64 " line%s "
		    "of the log lost", program_invocation_short_name, dropped,
		    PLURAL(dropped));

		dropped = 0;
		write_line(line, (size_t)n, sizeof(line));
	}
	va_start(ap, fmt);
	write_line(line, (size_t)vsnprintf(line, sizeof(line), fmt, ap),
	    sizeof(line));
	va_end(ap);
}

/* "2026-11-23T09:14:32.123456Z" (RFC 3339). */
static const char *
timestamp(void)
{
	static char out[96];
	struct timespec now;
	struct tm utc;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	snprintf(out, sizeof(out), "%04d-%02d-%02dT%02d:%02d:%02d.%06ldZ",
	    utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour,
	    utc.tm_min, utc.tm_sec, now.tv_nsec / 1000);
	return out;
}

/* An event as JSON: its name, and its other keys with a comma before each. */
static void
event(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
event(const char *name, const char *fmt, ...)
{
	char keys[768];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(keys, sizeof(keys), fmt, ap);
	va_end(ap);
	say("{\"time\":\"%s\",\"event\":\"%s\"%s}", timestamp(), name, keys);
}

/* Something that the one who runs the server should know. */
static void
warn_of(const struct server *s, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
warn_of(const struct server *s, const char *fmt, ...)
{
	char text[256], json[TEXT_JSON(sizeof(text))];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (s->json)
		event("warning", ",\"reason\":%s", text_json(json, text,
		    strlen(text), sizeof(text)));
	else
		say("%s: %s", program_invocation_short_name, text);
}

void
log_open(const struct server *s)
{
	if (s->json)
		timestamp();	/* the first gmtime_r(3) may read a file */
}

static const char *
peer(const struct client *c)
{
	static char name[NET_NAME_MAX];

	return net_peer_name(name, &c->peer);
}

void
log_connected(const struct server *s, const struct client *c)
{
	if (s->verbosity < NORMAL)
		return;
	if (s->json)
		event("connected", ",\"peer\":\"%s\"", peer(c));
	else
		say("%s connected", peer(c));
}

/* So many bytes have come, which begin so. */
static void
say_bytes(const struct server *s, const struct client *c, const char *verb,
    const char *data, uint64_t bytes)
{
	char quoted[TEXT_QUOTED], json[TEXT_JSON(TEXT_SHOWN)];

	if (s->json)
		event(verb, ",\"peer\":\"%s\",\"bytes_in\":%" PRIu64
		    ",\"text\":%s", peer(c), bytes, text_json(json, data,
		    bytes, TEXT_SHOWN));
	else
		say("%s %s %" PRIu64 " byte%s %s", peer(c), verb, bytes,
		    PLURAL(bytes), text_quote(quoted, data, bytes));
}

/* The first bytes of a message, which is logged when it is over. */
static void
keep_text(struct client *c, const char *data, size_t n)
{
	uint64_t have = c->conn.in - n;

	if (have >= TEXT_SHOWN || (have > 0 && c->text == NULL))
		return;
	if (c->text == NULL && (c->text = malloc(TEXT_SHOWN)) == NULL)
		return;
	memcpy(c->text + have, data,
	    n < TEXT_SHOWN - have ? n : TEXT_SHOWN - (size_t)have);
}

void
log_read(const struct server *s, struct client *c, const char *data, size_t n)
{
	if (s->verbosity < NORMAL)
		return;
	if (s->verbosity >= VERBOSE)
		say_bytes(s, c, "read", data, n);
	if (s->message)
		keep_text(c, data, n);
	else if (c->conn.in == n)
		say_bytes(s, c, "received", data, n);
}

static const char *
cause(const struct server *s, const struct conn *conn)
{
	if (conn->end == NULL)
		return strerror(conn->err);
	if (conn->end == CONN_EOF && s->message)
		return SERVER_MESSAGE_OVER;
	return conn->end;
}

void
log_closed(const struct server *s, const struct client *c)
{
	const struct conn *conn = &c->conn;
	char lost[64] = "", time[TEXT_TIME];
	int64_t took;

	if (s->verbosity < NORMAL)
		return;
	if (s->message && c->text != NULL)
		say_bytes(s, c, "received", c->text, conn->in);
	took = net_now() - c->since;
	if (s->json) {
		event("closed", ",\"peer\":\"%s\",\"bytes_in\":%" PRIu64
		    ",\"bytes_out\":%" PRIu64 ",\"duration_ms\":%.3f,"
		    "\"reason\":\"%s\"", peer(c), conn->in, conn->out,
		    (double)took / 1e6, cause(s, conn));
		return;
	}
	if (conn_owed(conn) > 0)
		snprintf(lost, sizeof(lost), "; %" PRIu64 " byte%s not taken",
		    conn_owed(conn), PLURAL(conn_owed(conn)));
	say("%s closed after %" PRIu64 " byte%s, %s: %s%s", peer(c), conn->out,
	    PLURAL(conn->out), text_time(time, took), cause(s, conn), lost);
}

void
log_stopping(const struct server *s)
{
	uint64_t clients = 0;
	char time[TEXT_TIME];

	for (int i = 0; i < s->workers; i++)
		clients += s->shared->workers[i].clients;
	if (s->verbosity < NORMAL || clients == 0)
		return;
	if (s->json)
		event("stopping", ",\"clients\":%" PRIu64 ",\"duration_ms\":"
		    "%.3f", clients, (double)s->drain / 1e6);
	else
		say("stopping: %" PRIu64 " client%s under way, for at most %s; "
		    "a second signal stops at once", clients, PLURAL(clients),
		    text_time(time, s->drain));
}

void
log_totals(const struct server *s)
{
	uint64_t served = 0, bytes = 0;

	for (int i = 0; i < s->workers; i++) {
		served += s->shared->workers[i].served;
		bytes += s->shared->workers[i].bytes;
	}
	if (s->json)
		event("totals", ",\"clients\":%" PRIu64 ",\"bytes_out\":%"
		    PRIu64, served, bytes);
	else
		say("served %" PRIu64 " client%s, %" PRIu64 " byte%s", served,
		    PLURAL(served), bytes, PLURAL(bytes));
}

void
log_worker(const struct server *s, int i, pid_t pid, int how)
{
	uint64_t lost = s->shared->workers[i].clients;
	const char *then = server_is_open(s) ? ", another takes its place" : "";

	if (WIFSIGNALED(how))
		warn_of(s, "worker %d was killed by signal %d (%s), its %"
		    PRIu64 " client%s lost%s", (int)pid, WTERMSIG(how),
		    strsignal(WTERMSIG(how)), lost, PLURAL(lost), then);
	else
		warn_of(s, "worker %d ended with status %d, its %" PRIu64
		    " client%s lost%s", (int)pid, WEXITSTATUS(how), lost,
		    PLURAL(lost), then);
}

void
log_no_worker(const struct server *s, int error)
{
	warn_of(s, "cannot start a worker: %s", strerror(error));
}

void
log_no_sandbox(const struct server *s, int error)
{
	if (s->verbosity >= VERBOSE)
		warn_of(s, "no sandbox: %s", strerror(error));
}

void
log_cannot_accept(struct server *s, int error)
{
	int64_t last = s->shared->warned_at;
	char before[64] = "";

	if (s->now - last < WARN_EVERY || !atomic_compare_exchange_strong(
	    &s->shared->warned_at, &last, s->now)) {
		s->shared->unwarned++;
		return;
	}
	if (s->shared->unwarned > 0)
		snprintf(before, sizeof(before), " (%" PRIu64 " more such "
		    "before)", s->shared->unwarned);
	warn_of(s, "cannot accept, pausing: %s%s", strerror(error), before);
	s->shared->unwarned = 0;
}
