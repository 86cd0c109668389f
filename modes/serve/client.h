/*
 * The clients of one process: their bytes, their timeouts and their end. All
 * code that receives or sends a client's bytes is in client.c.
 *
 * client_received() and client_sent() take the results of recv(2) and send(2),
 * but do not make these calls. So a loop may get the results in another way.
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
	int64_t idle;		/* ns without progress after which a client
				   is disconnected; 0: never */
};

/*
 * Each client is in the queue of the event that the client waits for. All
 * clients of a queue have the same timeout, and each queue is in the order of
 * last activity. So the first client of a queue is the next one to time out,
 * and neither a heap nor a scan of all clients is needed.
 */
enum client_queue {
	QUEUE_SILENT,		/* waits for input */
	QUEUE_MESSAGE,		/* waits for the rest, or end, of a message */
	QUEUE_PENDING,		/* the peer does not accept pending output */
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

/* The only memory of an idle client: at most 128 bytes of malloc. */
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
	uint8_t full_reads;	/* full reads in a row, to find bulk streams */
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

/* Returns the client to which a watch of the kind WATCH_CLIENT belongs. */
struct client *client_of(struct watch *);

/*
 * Returns a new client on that socket, and closes the socket with the client.
 * Returns NULL if there is no memory; the caller then closes the socket.
 */
struct client *client_new(struct clients *, int fd, const union net_address *);

/* Returns any client that has not been freed yet, or NULL. */
struct client *client_first(const struct clients *);

/*
 * Takes the result of recv(2): n bytes at data, 0 at end of file, or -errno.
 * data is for the log; NULL: the bytes are not known.
 */
void client_received(struct clients *, struct client *, const char *data,
    ssize_t n);

/* Takes the result of send(2): n bytes were accepted, or -errno. */
void client_sent(struct clients *, struct client *, ssize_t n);

/*
 * Copies n bytes of pending output to the block that the client owns: before
 * the bytes of the block if is_first is set, or else after them. A lack of
 * memory ends the client.
 */
void client_keep(struct clients *, struct client *, const char *data,
    size_t n, bool is_first);

/*
 * To be called after client_received() or client_sent(): sends the FIN if it is
 * due, and watches for the event that the client waits for next.
 */
void client_update(struct clients *, struct client *);

/*
 * Whether more input waits after a read of n bytes. If so, the answers to both
 * reads should leave together, in full segments (MSG_MORE).
 */
bool client_has_more(const struct clients *, const struct client *, ssize_t n);

/*
 * Reads the part of an expected PROXY header that has arrived. Returns whether
 * the header is complete, so that the bytes after it may be read. If not, the
 * connection may have ended.
 */
bool client_read_header(struct clients *, struct client *);

/*
 * Serves a client that is ready: sends pending output, and echoes input until
 * there is no more input or it is another client's turn.
 */
void client_serve(struct clients *, struct client *);

/* Logs the end of a client whose connection is closed, and frees it. */
void client_free(struct clients *, struct client *);

/*
 * Frees all clients whose connection is closed and for which no request is in
 * flight, as client_free() does. Returns the number of these clients.
 */
size_t client_free_ended(struct clients *);

/* Returns the time, in ns, at which the next client times out, or INT64_MAX. */
int64_t client_next_timeout(const struct clients *);

/* Ends the clients that have timed out. */
void client_expire(struct clients *);

/*
 * To be called when the server begins to stop. From now on, the connection of a
 * client that is silent for longer than a gap is finished.
 */
void client_begin_stop(struct clients *);

/* Finishes all clients: sends back the bytes received so far, and then FIN. */
void client_finish_all(struct clients *);

/* Aborts the clients that have pending output or linger. */
void client_abort_all(struct clients *);

#endif
