/*
 * The log of a server on standard error: at most three lines for each
 * connection, at most ten lines per second for datagrams, totals, and at most
 * one warning per second. For a connection without a valid PROXY header, the
 * log has one warning instead of the three lines.
 *
 * In the JSON format each line is an object (RFC 8259). It has the keys that
 * apply to the event, out of: time (UTC), event (connected, read, received,
 * closed, datagram, suppressed, stopping, totals, warning), peer, via,
 * bytes_in, bytes_out, duration_ms, reason, text (the first TEXT_SHOWN bytes),
 * clients, datagrams, datagram_bytes, refused, dropped.
 *
 * A line is written by one write(2), so that lines of several processes do not
 * mix. A log that cannot be written, or that is not read, does not stop the
 * server: its lines are dropped and counted.
 */
#ifndef LOG_H
#define LOG_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

union net_address;

enum log_level {
	LOG_WARNINGS = -1,	/* warnings and nothing else */
	LOG_CONNECTIONS = 0,	/* at most three lines for each connection */
	LOG_READS = 1		/* also a line for each read */
};

/*
 * The peer of a connection: a client, or a proxy that has connected for a
 * client. The log shows client and proxy: "203.0.113.7:5123 (via
 * 10.0.0.2:41002)".
 */
struct log_peer {
	const union net_address *address;
	const char *client;	/* behind a proxy, without control characters;
				   NULL: the peer is the client */
};

/*
 * Opens the log, and sets its level. To be called before privileges are
 * dropped, the sandbox is entered and workers start. Exits with STATUS_LOCAL if
 * there is no memory.
 */
void log_open(enum log_level, bool json);

/* Waits a short time until all lines of the log are on the terminal. */
void log_close(void);

/* System calls that log_close() needs in the sandbox (sandbox.h). */
const int *log_calls(void);

/* Whether events of that level are logged. */
bool log_has(enum log_level);

/* A client has connected. */
void log_connected(const struct log_peer *);

/* One read from the client returned size bytes at data. */
void log_read(const struct log_peer *, const char *data, uint64_t size);

/* The client has sent a message of size bytes; data has its first bytes. */
void log_received(const struct log_peer *, const char *data, uint64_t size);

/* The connection has ended, after ns, for that reason. */
void log_closed(const struct log_peer *, uint64_t in, uint64_t out, int64_t ns,
    const char *reason);

/*
 * A datagram of size bytes at data was answered. All workers together log ten
 * datagrams per second; now is the time in ns.
 */
void log_datagram(const union net_address *peer, const char *data,
    uint64_t size, int64_t now);

/* Logs the number of datagrams without a line, if that is due. */
void log_suppressed(int64_t now);

/* When to call log_suppressed(), in ns; INT64_MAX: it need not be called. */
int64_t log_suppressed_at(void);

/* The server stops, and waits at most drain ns for that number of clients. */
void log_stopping(uint64_t clients, int64_t drain);

/* What the server has done so far. */
struct log_totals {
	uint64_t connections;		/* accepted */
	uint64_t bytes;			/* sent back on connections */
	uint64_t answered;		/* datagrams */
	uint64_t answered_bytes;	/* in these datagrams */
	uint64_t refused, dropped;	/* datagrams */
	bool has_udp;			/* datagrams are logged */
};

void log_totals(const struct log_totals *);

/* A worker with that number of clients has ended; status is from waitpid(2). */
void log_worker_ended(pid_t, int status, uint64_t clients, bool is_replaced);

/*
 * "cannot accept, pausing": a system call failed with errno error, because a
 * resource is exhausted. All processes together log this at most once a second;
 * now is the time in ns.
 */
void log_pause(const char *what, int error, int64_t now);

/* A warning, as printf(3). */
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
