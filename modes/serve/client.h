/*
 * The clients of one process: their bytes, their timeouts and their end. All
 * that moves a client's bytes is in client.c.
 *
 * What a result of recv(2) or send(2) means for a client (client_received,
 * client_sent) is separate from the call that produced it, so that a loop may
 * get its results in another way.
 */
#ifndef CLIENT_H
#define CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"
#include "header.h"
#include "link.h"
#include "modes/lib/net.h"
#include "tally.h"
#include "watch.h"

struct client_options {
	size_t chunk;		/* maximum bytes of one read */
	bool message;		/* a pause ends the connection */
	bool proxy;		/* a connection begins with a PROXY header */
	int64_t gap;		/* ns of that pause */
	int64_t idle;		/* ns without progress until a client is
				   disconnected; 0: never */
};

/*
 * What a client waits for decides its timeout. All clients of a queue have the
 * same timeout, and each queue is in the order of last activity, so that the
 * first of a queue is the next that times out: no heap, no scan.
 */
enum client_queue {
	QUEUE_SILENT,		/* waits for input */
	QUEUE_MESSAGE,		/* waits for more of a message, or the pause */
	QUEUE_PENDING,		/* the peer does not take pending output */
	QUEUE_LINGERING,	/* waits for the peer's FIN after ours */
	QUEUES,
	QUEUE_ENDED = QUEUES	/* to be closed after this round of events */
};

/* The PROXY header of a client. */
enum client_header {
	HEADER_READ,		/* complete, or not expected */
	HEADER_AWAITED,
	HEADER_MISSING		/* the connection ends without it; logged */
};

/* Output that the kernel did not accept, and that the client owns. */
struct pending {
	uint32_t start, end;	/* the bytes that are left */
	char data[];
};

/* An idle client costs this and nothing else: at most 128 bytes of malloc. */
struct client {
	struct link link;	/* first, so that a link is its client */
	struct conn conn;
	int64_t connected_at, active_at;	/* net_now() */
	struct pending *pending;	/* or NULL */
	char *text;		/* its first bytes, for the log, or NULL */
	union net_address peer;
	struct watch watch;
	int unacknowledged;	/* bytes in flight when last asked */
	uint8_t queue;		/* enum client_queue */
	uint8_t full_reads;	/* in a row: is it a bulk stream? */
	uint8_t header_state;	/* enum client_header */
	struct header header[];	/* one if options->proxy is set, else none */
};

struct clients {
	const struct client_options *options;
	struct tally *tally;
	char *buffer;		/* chunk bytes, for one read and its answer */
	struct {
		struct link clients;
		int64_t timeout;	/* ns; 0: none */
	} queues[QUEUES];
	struct link ended;
	enum conn_reason timeout_reason;	/* CONN_IDLE or CONN_STOPPING */
	int64_t now;		/* net_now() after the last wait */
	int64_t active_at;	/* when any client was last active */
};

/* Exits with STATUS_LOCAL if there is no memory. */
void client_open(struct clients *, const struct client_options *,
    struct tally *);
void client_close(struct clients *);

/* The client of a watch of the kind WATCH_CLIENT. */
struct client *client_of(struct watch *);

/*
 * A new client on that socket, which is the client's from now on. NULL: there
 * is no memory, and the socket is the caller's.
 */
struct client *client_new(struct clients *, int fd, const union net_address *);

/* Any client that has not been freed yet, or NULL. */
struct client *client_first(const struct clients *);

/*
 * recv(2) returned n bytes at data, 0 at end of file, or -errno. data is for
 * the log; NULL: not known.
 */
void client_received(struct clients *, struct client *, const char *data,
    ssize_t n);

/* send(2) accepted n bytes, or failed with -errno. */
void client_sent(struct clients *, struct client *, ssize_t n);

/*
 * Copies n bytes of pending output to the block that the client owns: before
 * the bytes that are there, or after them. A lack of memory ends the client.
 */
void client_keep(struct clients *, struct client *, const char *data,
    size_t n, bool is_first);

/*
 * Does what follows from the results: sends the FIN if it is due, and watches
 * for what the client wants next.
 */
void client_update(struct clients *, struct client *);

/*
 * Whether more input waits behind a read of n bytes. Then both answers should
 * leave together, in full segments (MSG_MORE).
 */
bool client_has_more(const struct clients *, const struct client *, ssize_t n);

/*
 * Reads what has arrived of a PROXY header that is awaited. Returns whether the
 * bytes that follow it may be read. Otherwise, the connection may have ended.
 */
bool client_read_header(struct clients *, struct client *);

/*
 * Serves a client that is ready: sends pending output, and echoes input until
 * there is no more or it is another client's turn.
 */
void client_serve(struct clients *, struct client *);

/* Logs the end of a client whose connection is closed, and frees it. */
void client_free(struct clients *, struct client *);

/*
 * The same for all whose connection is closed, and for which no request is in
 * flight. Returns how many there were.
 */
size_t client_free_ended(struct clients *);

/* The time in ns at which the next client times out, or INT64_MAX. */
int64_t client_next_timeout(const struct clients *);

/* Ends the clients that have timed out. */
void client_expire(struct clients *);

/*
 * The server stops: a client that is silent for longer than a gap has nothing
 * more to send, and is finished.
 */
void client_begin_stop(struct clients *);

/* Finishes all clients: what they have sent is sent back, and then FIN. */
void client_finish_all(struct clients *);

/* Aborts the clients that have pending output, or linger. */
void client_abort_all(struct clients *);

#endif
