/*
 * What all servers share, whichever way they wait: listeners, clients and
 * their limits, the order in which they fall idle, the totals, stopping; and
 * in loop.c the loop of those that wait for many clients at once.
 *
 *	set the options in a struct server (all else zero), then
 *	server_listen..., server_open, and server_run with an engine's run:
 *	blocking.c has a loop of its own, the others call server_loop()
 */
#ifndef SERVER_H
#define SERVER_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conn.h"
#include "modes/lib/net.h"

enum verbosity {
	QUIET = -1,		/* warnings only */
	NORMAL = 0,		/* at most three lines a connection */
	VERBOSE = 1		/* and a line per read */
};

struct link {
	struct link *next, *prev;
};

/*
 * What a client is waiting for decides when its time is up. All in one queue
 * have the same time, so each queue, kept in order of last activity, has the
 * next deadline at its head: no heap, no scan.
 */
enum queue {
	QUEUE_SILENT,		/* for its next bytes */
	QUEUE_MESSAGE,		/* for more of a message, or its end (--gap) */
	QUEUE_OWING,		/* for it to take what it is owed */
	QUEUE_LINGERING,	/* for its FIN after ours */
	QUEUES,
	QUEUE_NONE = QUEUES
};

/* What a client would not take yet. */
struct debt {
	uint32_t at;		/* where in data the unpaid bytes begin */
	char data[];
};

/* All that an idle client costs: no more than 128 bytes with malloc's own. */
struct client {
	struct link link;	/* first: a queue's link is its client */
	struct conn conn;
	int64_t since, last;	/* net_now() of its arrival, last activity */
	struct debt *debt;	/* while it owes us the taking, or NULL */
	char *text;		/* its first bytes, for the log, or NULL */
	union net_address peer;
	int fd;
	int unacknowledged;	/* bytes on their way when last asked */
	uint8_t queue;		/* enum queue */
	uint8_t want;		/* what the engine watches it for */
	uint8_t full_reads;	/* in a row: is it a bulk stream? */
};

/*
 * A way to wait for many descriptors. It reports and does no more: errors
 * and hang-ups are "ready", and the next recv or send finds them.
 */
struct poller {
	int fds;		/* takes descriptors below this */
	const int *calls;	/* SYS_* that it makes to watch and wait */
	size_t ncalls;

	/*
	 * From now on reports client when fd is ready for want (WANT_* bits),
	 * NULL for listeners; until now it did for had. 0: not at all. Those
	 * that end are told so, and closed before the next wait.
	 * 0 or -errno.
	 */
	int (*watch)(int fd, unsigned had, unsigned want, struct client *);

	/*
	 * Waits for at most ns (NET_FOREVER: no limit) with the signal mask.
	 * How many are ready, at most SERVER_EVENTS, or -errno; after
	 * -EINTR it is asked again.
	 */
	int (*wait)(struct client **ready, int64_t ns, const sigset_t *);
};

enum { SERVER_EVENTS = 1024 };
enum { SERVER_LISTENERS = 64 };
enum { SERVER_WORKERS = 256 };

/* What one worker has done, in memory that all of them share. */
struct tally {
	_Alignas(64) _Atomic uint64_t served;	/* connections accepted */
	_Atomic uint64_t bytes;			/* echoed */
	_Atomic uint64_t clients;		/* connected now */
};

/* What the workers of a server know of each other. */
struct shared {
	_Atomic uint64_t taken;		/* connections, towards --count */
	_Atomic int64_t warned_at;	/* that it cannot accept */
	_Atomic uint64_t unwarned;	/* such warnings held back since */
	struct tally workers[];
};

struct address;

struct server {
	/* Options. Times in ns. */
	size_t chunk;		/* most bytes one read takes */
	bool message;		/* one message a connection */
	int64_t gap;		/* silence that ends a message */
	int64_t idle;		/* stillness that ends a client, 0: never */
	int64_t drain;		/* most that stopping may wait for clients */
	uint64_t count;		/* connections to serve, 0: no limit */
	uint64_t max_clients;	/* at once, 0: no limit */
	int64_t spin;		/* so long it does not sleep after an event */
	int workers;		/* processes that serve */
	bool json;		/* the log, for machines */
	bool sandbox;		/* no system calls but those it takes */
	mode_t socket_mode;	/* of the files of Unix sockets */
	enum verbosity verbosity;

	/* The rest is the server's own. */
	char *buffer;		/* chunk bytes, lent for one read and send */
	int listeners[SERVER_LISTENERS];
	char *files[SERVER_LISTENERS];	/* where they are Unix sockets' */
	bool has_files;
	int listening;		/* how many */
	int inherited;		/* of them, the first so many */
	int next;		/* the listener whose turn it is */
	int reserve;		/* descriptor kept to turn a client away with */
	const struct poller *poller;	/* NULL: nobody watches */
	bool watching;		/* the engine watches the listeners */
	struct {
		struct link clients;
		int64_t after;	/* time of this queue, 0: never */
	} queues[QUEUES];
	struct link over;	/* to be closed after a turn's events */
	struct shared *shared;
	struct tally *tally;	/* this process's own, in shared */
	bool supervised;	/* another process speaks for the server */
	int ready;		/* where a worker tells that it is, or -1 */
	int64_t now;		/* net_now() at the last waking */
	int64_t moved_at;	/* the last time that anything happened */
	unsigned guesses;	/* that an only client is ready */
	int64_t pause_until;	/* no accepting before that */
	bool full;		/* nobody has left since descriptors ran out */
	bool stopping;
	int64_t finish_at;	/* stopping: no more input is echoed */
	int64_t cut_at;		/* stopping: nobody is waited for */
	sigset_t waiting_mask;	/* signal mask while waiting */
	int64_t signals_at;	/* when they were last let in */
};

/* Why a message that paused was ended. */
extern const char SERVER_MESSAGE_OVER[];

/*
 * Listens on those sockets that a service manager has passed (systemd.h). How
 * many; exits STATUS_LOCAL if one is not for listening.
 */
int server_inherit(struct server *);

/*
 * Listens on every address the name has. Exits with STATUS_NAME or
 * STATUS_LOCAL and one line if it can on none, or if one is taken.
 */
void server_listen(struct server *, const struct address *);

/*
 * Takes hold of the signals, the memory for a chunk and the time; not before
 * the names are resolved, which may take a while and want to be interrupted.
 * Exits STATUS_LOCAL if it cannot.
 */
void server_open(struct server *);

/*
 * Says on standard output what it listens on; exits if it cannot. For
 * server_ready() and a supervisor.
 */
void server_announce(const struct server *);

/*
 * Serves, in s->workers processes that each call run, until stopped, and says
 * the totals. Returns an exit status.
 */
int server_run(struct server *, void (*run)(struct server *));

/* Serves with that engine until stopped; for run, in one process. */
void server_loop(struct server *, const struct poller *);

/* The parts, for the loops of loop.c and blocking.c. */

/*
 * It is set up, and only has to serve from here on: says where it listens, or
 * that a worker is ready, and enters the sandbox, if there is to be one, with
 * the n calls (SYS_*) of this way to wait.
 */
void server_ready(struct server *, const int *calls, size_t n);

/* Whether there may still be new clients; once false, false for good. */
bool server_is_open(const struct server *);

/* Whether one may be accepted now. */
bool server_may_accept(const struct server *);

/* The next client, or NULL: none waits, or it could not be had. */
struct client *server_accept(struct server *);

/* The client, if there is no other, and no more than its bytes are awaited. */
struct client *server_only_client(const struct server *);

/* Whether it is too soon after the last event to sleep (--spin). */
bool server_is_spinning(const struct server *);

/* How long to wait at most, in ns or NET_FOREVER. */
int64_t server_patience(const struct server *);

/* After waiting: looks at the clock and at the signals. */
void server_woke(struct server *);

/* Ends those clients whose time is up, and who are not ready. */
void server_expire(struct server *);

/* One read into s->buffer, one write; as recv(2) and send(2), or -errno. */
ssize_t server_recv(struct server *, struct client *);
ssize_t server_send(struct server *, struct client *, const char *data,
    size_t size, bool more);

/* The same by other means: so many bytes came or went, or -errno. */
void server_got(struct server *, struct client *, ssize_t n);
void server_sent(struct server *, struct client *, ssize_t n);

/*
 * Whether more input waits behind a read of n bytes: then their answer had
 * better leave together with that one's, in full segments.
 */
bool server_more(const struct server *, const struct client *, ssize_t n);

/* Has the engine watch for what the client wants now; for listeners. */
void server_watch(struct server *, struct client *);
void server_watch_listeners(struct server *, bool on);

/* Logs the end of a client whose connection is over, closes and frees it. */
void server_close(struct server *, struct client *);

/* The same for all those that are over. */
void server_close_all(struct server *);

/* Nobody more is let in, here; without a file, nobody finds the way. */
void server_close_listeners(struct server *);
void server_remove_files(struct server *);

#endif
