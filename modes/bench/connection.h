/*
 * One connection of the load: opens it, sends, compares the received bytes, and
 * closes it, each within a time limit. The phases of a run and the wait for
 * events are in load.c.
 */
#ifndef CONNECTION_H
#define CONNECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "plan.h"
#include "schedule.h"

enum connection_state {
	STARTING,	/* its first byte has not come back yet */
	IDLE,		/* its first byte has come back */
	BUSY,		/* it carries the load */
	FIN_SENT	/* all bytes are back; the server's FIN is expected */
};

/*
 * Positions count the bytes of a connection from 0:
 * received <= sent <= send_limit.
 */
struct connection {
	int fd;			/* -1: closed or queued */
	enum connection_state state;
	unsigned events;	/* EVENTS_* that are waited for; 0: none yet */
	uint32_t oldest;	/* index of the oldest message in flight in
				   the ring of send times */
	uint64_t number;	/* of this connection in the run, from 1 */
	uint64_t sent, received;
	uint64_t send_limit;	/* send up to this position for now */
	uint64_t load_start;	/* where its first message of the load begins */
	uint64_t message_end;	/* where the oldest message in flight ends */
	int64_t waiting_since;	/* last byte received, or start of waiting */
	bool queued;		/* waits for room in the server's backlog */
	struct connection *next_queued;
};

/* The state of a run, which all its connections share. */
struct load {
	const struct load_plan *plan;
	const struct load_target *target;
	load_progress *progress;
	struct load_result *result;
	enum load_phase phase;
	int64_t now;		/* time of the last events, ns */
	int64_t phase_end;	/* of WARM_UP, MEASURING and CLOSING */
	int64_t next_check;	/* time of the next periodic checks */
	int64_t measure_start, measure_end;	/* of MEASURING; 0: not begun */
	int64_t closing_limit;	/* duration of CLOSING at most, ns */
	int64_t spin_until;	/* do not sleep before */
	struct connection *connections;	/* the busy ones, then the idle ones */
	size_t n;			/* connections in the array */
	size_t next;			/* the next one to open */
	size_t starting, open;		/* connections in this state */
	struct connection *queue, **queue_end;	/* for the backlog, in order */
	int64_t retry_at;		/* when to try the queue again */
	int64_t *send_times;	/* of messages in flight: one ring of window
				   entries per busy connection */
	struct schedule schedule;	/* of a load with a rate; message i is
				   of connection i modulo their number */
	uint64_t opened;	/* connections opened in this run */
};

/*
 * Connects with a first message of size bytes, which is sent at once. For a
 * connection in state BUSY (CONNECT mode) the message is timed from here on.
 * If the server's backlog is full, the connection is queued.
 */
void connection_open(struct load *, struct connection *,
    enum connection_state, uint64_t size);

/* Opens queued connections, as far as the backlog has room for them. */
void connection_retry_queued(struct load *);

/* Makes an idle connection carry the load. */
void connection_start_load(struct load *, struct connection *);

/*
 * Sends the next message of a schedule, or as much of it as the socket accepts;
 * the rest follows when the socket has room.
 */
void connection_send_scheduled(struct load *, struct connection *);

/*
 * Gives up the messages of a schedule that begin at that position or later.
 * Messages of the measurement are counted as unanswered. Their latency is the
 * time until now, because their real latency would have been at least as long.
 */
void connection_cancel(struct load *, struct connection *, uint64_t from);

/* Sends FIN; the server's FIN is expected next. */
void connection_send_fin(struct load *, struct connection *);

void connection_close(struct load *, struct connection *);

/* Handles EVENTS_* bits. A fault of the server ends the program. */
void connection_handle(struct load *, struct connection *, unsigned events);

/* Ends the program, or closes the connection, if its time is up. */
void connection_check_timeout(struct load *, struct connection *);

#endif
