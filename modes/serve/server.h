/*
 * The part of a server that does not depend on the engine: accepting, shutdown,
 * totals.
 *
 * serve.c sets the options, opens the listeners, and calls server_open() and
 * workers_run(), which has the engine serve in one or in several processes. The
 * engines use the functions that follow.
 */
#ifndef SERVER_H
#define SERVER_H

#include <sys/types.h>

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client.h"
#include "datagram.h"
#include "listen.h"
#include "log.h"

enum { WORKERS_MAX = 256 };

struct server_options {
	struct client_options client;
	struct datagram_options datagram;
	int64_t drain;		/* ns; time limit for graceful shutdown */
	int64_t spin;		/* ns of busy-polling after the last activity */
	uint64_t count;		/* connections and datagrams; 0: no limit */
	uint64_t max_clients;	/* at once; 0: no limit */
	int workers;		/* processes that serve */
	mode_t socket_mode;	/* of the file of a Unix socket */
	enum log_level log_level;
	bool log_json;
	bool sandbox;
};

/* Memory that all workers share. */
struct shared {
	_Atomic uint64_t accepted;	/* for --count */
	struct tally workers[];
};

struct engine;

struct server {
	struct server_options options;
	const struct engine *engine;
	struct listeners listeners;
	struct clients clients;
	struct datagrams datagrams;
	bool has_udp;
	struct watch signals;
	bool is_inetd;		/* serves the connection on standard input */
	union net_address inetd_peer;	/* of this connection */
	struct shared *shared;
	uint64_t max_clients;	/* of this process; 0: no limit */
	bool is_stopping;
	int64_t finish_at;	/* from then on, no input is echoed */
	int64_t abort_at;	/* from then on, no client is waited for */

	/*
	 * Called when this process is ready to serve, and when it begins to
	 * stop. The main process reports this for the whole server; a worker
	 * reports it only to its supervisor.
	 */
	void (*on_ready)(struct server *);
	void (*on_stop)(struct server *);
};

/*
 * Prepares the log, the signals and the memory. To be called after names have
 * been resolved, which may take long and should be interruptible. Exits with
 * STATUS_LOCAL if the preparation fails.
 */
void server_open(struct server *);

/*
 * Prepares a process that serves; the tally is its part of the shared memory.
 */
void server_open_process(struct server *, struct tally *);

/*
 * Reports that the server is ready, and enters the sandbox, if that is enabled,
 * with the system calls of the engine.
 */
void server_ready(struct server *);

/* on_ready and on_stop of the process that reports for the whole server. */
void server_report_ready(struct server *);
void server_report_stopping(struct server *);

/* Logs what all workers have done so far. */
void server_log_totals(const struct server *);

/* The functions below are for the loops of the engines. */

/* Whether more connections may be accepted, now or later. */
bool server_is_open(const struct server *);

/* Whether a connection may be accepted now. */
bool server_may_accept(const struct server *);

/* Whether the server is open, or has clients. */
bool server_is_serving(const struct server *);

/*
 * Accepts a connection on a listener that is ready. Returns NULL if there was
 * no connection, or if it could not be kept.
 */
struct client *server_accept(struct server *, struct listener *);

/*
 * The same for an engine that accepts by itself: accepted is the socket of a
 * connection, or -errno. The connection is served even if the server begins to
 * stop before this call.
 */
struct client *server_take(struct server *, struct listener *, int accepted,
    const union net_address *peer);

/*
 * If the server was started with --inetd, the first call returns the client on
 * standard input. Every other call returns NULL. Exits with STATUS_LOCAL if
 * there is no memory.
 */
struct client *server_adopt(struct server *);

/*
 * Answers the datagrams of a UDP socket that is ready: at most DATAGRAM_BATCH,
 * or more if the server has no other sockets. Returns whether more datagrams
 * may be waiting.
 */
bool server_answer(struct server *, struct listener *);

/*
 * Returns how long to wait at most, in ns or NET_FOREVER. To be called before
 * each wait, because it also repeats a failed notification of the service
 * manager.
 */
int64_t server_wait_time(const struct server *);

/* After each wait: reads the clock. */
void server_tick(struct server *);

/* The pipe of the signals is readable: acts on the signals. */
void server_read_signals(struct server *);

/* Ends clients that have timed out, or that a stop no longer waits for. */
void server_expire(struct server *);

/* Logs and frees a client whose connection is closed. */
void server_close_client(struct server *, struct client *);

/* Logs and frees all clients whose connection is closed. */
void server_close_ended(struct server *);

#endif
