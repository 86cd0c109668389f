/*
 * What servers say on standard error: at most three lines a connection,
 * totals, and warnings not more often than once a second.
 *
 * With s->json each line is an object (RFC 8259) with these keys, those that
 * fit the event: time (UTC), event (connected, read, received, closed,
 * stopping, totals, warning), peer, bytes_in, bytes_out, duration_ms, reason,
 * text (the first TEXT_SHOWN bytes), clients.
 *
 * A line is one write(2), so that lines of several processes do not mix. A
 * log that cannot be written, or that nobody reads, is no reason to stop
 * serving: its lines are dropped and counted.
 */
#ifndef LOG_H
#define LOG_H

#include <sys/types.h>

#include <stddef.h>

struct client;
struct server;

/* To be called before the sandbox is entered. */
void log_open(const struct server *);

void log_connected(const struct server *, const struct client *);

/* n bytes at data have just been taken from the client. */
void log_read(const struct server *, struct client *, const char *data,
    size_t n);

/* The connection is over, and why. */
void log_closed(const struct server *, const struct client *);

/* It has been told to stop, which may take a while. */
void log_stopping(const struct server *);

void log_totals(const struct server *);

/* A worker, the i-th, has ended: how, as waitpid(2) tells. */
void log_worker(const struct server *, int i, pid_t, int how);

/* fork(2) failed with errno error. */
void log_no_worker(const struct server *, int error);

/* The kernel, or this build, has no sandbox: errno error. */
void log_no_sandbox(const struct server *, int error);

/* accept(2) failed for want of something: errno error. */
void log_cannot_accept(struct server *, int error);

#endif
