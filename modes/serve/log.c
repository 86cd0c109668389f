#include "log.h"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/lib/parent.h"
#include "modes/lib/program.h"
#include "modes/lib/text.h"
#include "modes/mode.h"
#include "sandbox.h"

static const int64_t WARNING_INTERVAL = NET_SECOND;
static const int64_t COPIER_TIME = 500 * NET_MS;	/* for the last lines */

enum {
	LINE_MAX_SIZE = 1024,
	REASON_MAX = 96,	/* bytes of why a connection ended */
	FDS_CLOSED = 256,	/* the copier closes descriptors below this */
	DATAGRAM_LINES = 10	/* per second */
};

static enum log_level level;
static bool is_json;
static int log_fd = STDERR_FILENO;
static bool is_socket;
static pid_t copier;		/* a child that copies to a terminal, or 0 */
static uint64_t dropped;	/* lines since the last one that was written */

/* The rest of a partly written line, which must be written first. */
static char rest[LINE_MAX_SIZE];
static size_t rest_size;

/* Shared by all workers: events of which not all are logged. */
static struct limited {
	struct {
		_Atomic int64_t logged_at;	/* when the last one was */
		_Atomic uint64_t suppressed;	/* not logged since */
	} failures;				/* of accept(2) */
	struct {
		_Atomic int64_t since;		/* when the second began */
		_Atomic uint64_t seen;		/* in this second */
		_Atomic uint64_t suppressed;	/* and not logged */
	} datagrams;
} *limited;

/*
 * Writes without blocking. Returns the same value as write(2). A pipe or a file
 * that poll(2) reports as writable accepts a line without blocking. A terminal
 * or a socket may accept only a part of the line, so it is written to in
 * non-blocking mode.
 */
static ssize_t
write_some(const char *data, size_t size)
{
	struct pollfd log = { log_fd, POLLOUT, 0 };

	if (net_poll(&log, 1, 0) == 0)
		return -1;
	return is_socket ? send(log_fd, data, size, MSG_DONTWAIT) :
	    write(log_fd, data, size);
}

/* Writes the rest of a partly written line. False: a rest is still left. */
static bool
write_rest(void)
{
	ssize_t n;

	if (rest_size == 0)
		return true;
	if ((n = write_some(rest, rest_size)) > 0) {
		rest_size -= (size_t)n;
		memmove(rest, rest + n, rest_size);
	}
	return rest_size == 0;
}

/* Writes n bytes and a newline; truncates the line to size bytes. */
static bool
write_line(char *line, size_t n, size_t size)
{
	ssize_t written;

	if (n > size - 2)
		n = size - 2;
	line[n++] = '\n';
	if (!write_rest() || (written = write_some(line, n)) <= 0)
		return false;
	rest_size = n - (size_t)written;
	memcpy(rest, line + written, rest_size);
	return true;
}

static void report_dropped_lines(void);

static void print_line(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

static void
print_line(const char *fmt, ...)
{
	char line[LINE_MAX_SIZE];
	va_list ap;
	int n;

	if (dropped > 0)
		report_dropped_lines();
	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (!write_line(line, (size_t)n, sizeof(line)))
		dropped++;
}

/* "2026-11-23T09:14:32.123456Z" (RFC 3339), in a static buffer. */
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

/* Prints an event as JSON; fmt has its own keys, with a comma before each. */
static void print_event(const char *name, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

static void
print_event(const char *name, const char *fmt, ...)
{
	char keys[896];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(keys, sizeof(keys), fmt, ap);
	va_end(ap);
	print_line("{\"time\":\"%s\",\"event\":\"%s\"%s}", timestamp(), name,
	    keys);
}

/*
 * A terminal whose output is not read blocks a write(2) even if it has some
 * room. O_NONBLOCK would also affect the other processes that share the open
 * terminal, so this function opens the terminal again. Returns a descriptor or
 * -1.
 */
static int
reopen_terminal(void)
{
	int flags = O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
	int fd = open("/proc/self/fd/2", flags);
	const char *name;

	if (fd < 0 && (name = ttyname(STDERR_FILENO)) != NULL)
		fd = open(name, flags);
	return fd;
}

/*
 * If the terminal cannot be opened again (after sudo(8), or without /proc), a
 * child process copies the log from a pipe to the terminal, and blocks instead
 * of the server. The child ends when the pipe is closed, or else with the
 * server.
 */
static void
start_copier(void)
{
	char data[LINE_MAX_SIZE];
	pid_t parent = getpid();
	int ends[2];
	ssize_t n;

	if (parent_prepare() < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return;
	if ((copier = fork()) != 0) {
		parent_forked();
		close(ends[0]);
		if (copier < 0)
			close(ends[1]);
		else
			log_fd = ends[1];
		return;
	}
	dup2(ends[0], STDIN_FILENO);
	close(STDOUT_FILENO);
	parent_follow(parent, SIGKILL);
	for (int fd = STDERR_FILENO + 1; fd < FDS_CLOSED; fd++)
		if (fd != parent_descriptor())
			close(fd);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	while (getppid() == parent && (n = read(STDIN_FILENO, data,
	    sizeof(data))) > 0)
		if (write(STDERR_FILENO, data, (size_t)n) < 0)
			break;
	_exit(STATUS_OK);
}

static void
open_output(void)
{
	struct stat status;

	if (fstat(STDERR_FILENO, &status) == 0)
		is_socket = S_ISSOCK(status.st_mode);
	if (!isatty(STDERR_FILENO))
		return;
	if ((log_fd = reopen_terminal()) < 0) {
		log_fd = STDERR_FILENO;
		start_copier();
	}
}

void
log_open(enum log_level new_level, bool json)
{
	level = new_level;
	is_json = json;
	if (is_json)
		timestamp();	/* the first gmtime_r(3) may read a file */
	open_output();
	limited = mmap(NULL, sizeof(*limited), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (limited == MAP_FAILED)
		err(STATUS_LOCAL, "no memory for the log");
	limited->failures.logged_at = INT64_MIN / 2;
}

void
log_close(void)
{
	int64_t until = net_now() + COPIER_TIME;

	if (copier <= 0)
		return;
	close(log_fd);
	log_fd = STDERR_FILENO;
	while (waitpid(copier, NULL, WNOHANG) == 0 && net_now() < until)
		net_poll(NULL, 0, 10 * NET_MS);
	copier = 0;
}

const int *
log_calls(void)
{
	static const int none[] = { SANDBOX_END };
	static const int wait_calls[] = { SYS_wait4, SANDBOX_END };

	return copier > 0 ? wait_calls : none;
}

bool
log_has(enum log_level asked)
{
	return level >= asked;
}

static const char *
peer_name(const struct log_peer *peer)
{
	static char name[2 * NET_NAME_MAX + sizeof(" (via )")];
	char address[NET_NAME_MAX];

	net_peer_name(address, peer->address);
	if (peer->client == NULL)
		snprintf(name, sizeof(name), "%s", address);
	else
		snprintf(name, sizeof(name), "%s (via %s)", peer->client,
		    address);
	return name;
}

/* The value of the key peer and, if it applies, the key via with its value. */
static const char *
peer_json(const struct log_peer *peer)
{
	static char json[2 * TEXT_JSON(NET_NAME_MAX) + sizeof(",\"via\":")];
	char address[NET_NAME_MAX], *end = json;

	net_peer_name(address, peer->address);
	if (peer->client != NULL) {
		text_json(json, peer->client, strlen(peer->client),
		    NET_NAME_MAX);
		end = stpcpy(json + strlen(json), ",\"via\":");
	}
	text_json(end, address, strlen(address), NET_NAME_MAX);
	return json;
}

void
log_connected(const struct log_peer *peer)
{
	if (!log_has(LOG_CONNECTIONS))
		return;
	if (is_json)
		print_event("connected", ",\"peer\":%s", peer_json(peer));
	else
		print_line("%s connected", peer_name(peer));
}

static void
log_bytes(const struct log_peer *peer, const char *event, const char *data,
    uint64_t size)
{
	char quoted[TEXT_QUOTED], json[TEXT_JSON(TEXT_SHOWN)];

	if (is_json)
		print_event(event, ",\"peer\":%s,\"bytes_in\":%" PRIu64
		    ",\"text\":%s", peer_json(peer), size, text_json(json,
		    data, size, TEXT_SHOWN));
	else
		print_line("%s %s %" PRIu64 " byte%s %s", peer_name(peer),
		    event, size, PLURAL(size), text_quote(quoted, data, size));
}

void
log_read(const struct log_peer *peer, const char *data, uint64_t size)
{
	if (log_has(LOG_READS))
		log_bytes(peer, "read", data, size);
}

void
log_received(const struct log_peer *peer, const char *data, uint64_t size)
{
	if (log_has(LOG_CONNECTIONS))
		log_bytes(peer, "received", data, size);
}

void
log_closed(const struct log_peer *peer, uint64_t in, uint64_t out, int64_t ns,
    const char *reason)
{
	char lost[64] = "", time[TEXT_TIME], json[TEXT_JSON(REASON_MAX)];

	if (!log_has(LOG_CONNECTIONS))
		return;
	if (is_json) {
		print_event("closed", ",\"peer\":%s,\"bytes_in\":%" PRIu64
		    ",\"bytes_out\":%" PRIu64 ",\"duration_ms\":%s,"
		    "\"reason\":%s", peer_json(peer), in, out,
		    text_milliseconds(time, ns), text_json(json, reason,
		    strlen(reason), REASON_MAX));
		return;
	}
	if (in > out)
		snprintf(lost, sizeof(lost), "; %" PRIu64 " byte%s not taken",
		    in - out, PLURAL(in - out));
	print_line("%s closed after %" PRIu64 " byte%s, %s: %s%s",
	    peer_name(peer), out, PLURAL(out), text_time(time, ns), reason,
	    lost);
}

void
log_stopping(uint64_t clients, int64_t drain)
{
	char time[TEXT_TIME];

	if (!log_has(LOG_CONNECTIONS))
		return;
	if (is_json)
		print_event("stopping", ",\"clients\":%" PRIu64
		    ",\"duration_ms\":%s", clients,
		    text_milliseconds(time, drain));
	else
		print_line("stopping: %" PRIu64 " client%s under way, for at "
		    "most %s; a second signal stops at once", clients,
		    PLURAL(clients), text_time(time, drain));
}

void
log_suppressed(int64_t now)
{
	int64_t since = limited->datagrams.since;
	uint64_t n;

	if (now - since < NET_SECOND || !atomic_compare_exchange_strong(
	    &limited->datagrams.since, &since, now))
		return;
	limited->datagrams.seen = 0;
	n = atomic_exchange(&limited->datagrams.suppressed, 0);
	if (n == 0 || !log_has(LOG_CONNECTIONS))
		return;
	if (is_json)
		print_event("suppressed", ",\"datagrams\":%" PRIu64, n);
	else
		print_line("%" PRIu64 " more datagram%s not logged", n,
		    PLURAL(n));
}

int64_t
log_suppressed_at(void)
{
	return limited->datagrams.suppressed == 0 ? INT64_MAX :
	    limited->datagrams.since + NET_SECOND;
}

void
log_datagram(const union net_address *address, const char *data,
    uint64_t size, int64_t now)
{
	const struct log_peer peer = { .address = address };
	char quoted[TEXT_QUOTED];

	log_suppressed(now);
	if (limited->datagrams.seen++ >= DATAGRAM_LINES)
		limited->datagrams.suppressed++;
	else if (is_json)
		log_bytes(&peer, "datagram", data, size);
	else
		print_line("%s sent %" PRIu64 " byte%s %s", peer_name(&peer),
		    size, PLURAL(size), text_quote(quoted, data, size));
}

static void
log_totals_json(const struct log_totals *t)
{
	char datagrams[160] = "";

	if (t->has_udp)
		snprintf(datagrams, sizeof(datagrams), ",\"datagrams\":%"
		    PRIu64 ",\"datagram_bytes\":%" PRIu64 ",\"refused\":%"
		    PRIu64 ",\"dropped\":%" PRIu64, t->answered,
		    t->answered_bytes, t->refused, t->dropped);
	print_event("totals", ",\"clients\":%" PRIu64 ",\"bytes_out\":%" PRIu64
	    "%s", t->connections, t->bytes, datagrams);
}

void
log_totals(const struct log_totals *t)
{
	char datagrams[160] = "";

	if (is_json) {
		log_totals_json(t);
		return;
	}
	if (t->has_udp)
		snprintf(datagrams, sizeof(datagrams), "; answered %" PRIu64
		    " datagram%s, %" PRIu64 " byte%s; refused %" PRIu64
		    ", dropped %" PRIu64, t->answered, PLURAL(t->answered),
		    t->answered_bytes, PLURAL(t->answered_bytes), t->refused,
		    t->dropped);
	print_line("served %" PRIu64 " client%s, %" PRIu64 " byte%s%s",
	    t->connections, PLURAL(t->connections), t->bytes,
	    PLURAL(t->bytes), datagrams);
}

void
log_warning(const char *fmt, ...)
{
	char text[256], json[TEXT_JSON(sizeof(text))];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (is_json)
		print_event("warning", ",\"reason\":%s", text_json(json, text,
		    strlen(text), sizeof(text)));
	else
		print_line("%s: %s", program_name(), text);
}

static void
report_dropped_lines(void)
{
	uint64_t lines = dropped;

	dropped = 0;
	log_warning("%" PRIu64 " line%s of the log lost", lines,
	    PLURAL(lines));
	if (dropped > 0)	/* the line about lost lines was dropped, too */
		dropped = lines;
}

void
log_worker_ended(pid_t pid, int status, uint64_t clients, bool is_replaced)
{
	const char *then = is_replaced ? ", another takes its place" : "";

	if (WIFSIGNALED(status))
		log_warning("worker %d was killed by signal %d (%s), its %"
		    PRIu64 " client%s lost%s", (int)pid, WTERMSIG(status),
		    strsignal(WTERMSIG(status)), clients, PLURAL(clients),
		    then);
	else
		log_warning("worker %d ended with status %d, its %" PRIu64
		    " client%s lost%s", (int)pid, WEXITSTATUS(status), clients,
		    PLURAL(clients), then);
}

void
log_pause(const char *what, int error, int64_t now)
{
	int64_t last = limited->failures.logged_at;
	uint64_t before;

	if (now - last < WARNING_INTERVAL || !atomic_compare_exchange_strong(
	    &limited->failures.logged_at, &last, now)) {
		limited->failures.suppressed++;
		return;
	}
	if ((before = atomic_exchange(&limited->failures.suppressed,
	    0)) > 0)
		log_warning("cannot %s, pausing: %s (%" PRIu64 " more since "
		    "the last warning)", what, strerror(error), before);
	else
		log_warning("cannot %s, pausing: %s", what, strerror(error));
}
