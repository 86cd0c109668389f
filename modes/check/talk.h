/*
 * One conversation with an echo server: sends a message, compares the reply,
 * and records what happened. The tests (tests.c) and diagnose.c decide what the
 * record means.
 */
#ifndef TALK_H
#define TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "message.h"
#include "modes/lib/dial.h"

enum { TALK_MAX = 50 };		/* conversations at the same time */

/* The server under test, and how much of the timeout it has used up. */
struct target {
	struct dial_server server;
	int fd;			/* a connection for the next talk, or -1 */
	int opened;		/* connections, in all */
	bool refuses;		/* it refused the last connection */
	bool is_started;	/* by check, so the server is known to run */
	bool is_probed;		/* by talk_probe() */
	bool queue_is_known;	/* resets_queue has been found out */
	bool resets_queue;	/* it resets its queue (queue.h) */
	int64_t timeout;	/* ns */
	int64_t answer_left;	/* ns of the timeout left for answers */
	int64_t eof_left;	/* ns of the timeout left for ends of file */
	int64_t slowest;	/* ns that the slowest answer took */
};

/*
 * The timeout, in ns, once the server has used up the whole timeout: a tenth
 * of it, or ten times the slowest answer if that is longer, but never more
 * than the whole.
 */
int64_t talk_short_timeout(const struct target *);

enum plan_flags {
	AWAIT_ECHO = 1,	/* send a burst after the previous echo */
	SEND_FIN = 2,	/* half-close right after the last byte */
	NO_READ = 4,	/* do not read until nothing more can be written */
	AWAIT_FIRST = 8	/* send the first byte alone, and wait for its echo;
			 * with SEND_FIN only a short time, because the server
			 * may answer only after the FIN */
};

/* What to send, and how. */
struct plan {
	struct message message;
	uint64_t burst;		/* bytes; 0: the whole message */
	int64_t pause;		/* ns between two bursts */
	unsigned flags;		/* enum plan_flags */
};

/* How the server's side of a conversation ended. */
enum talk_end { TALK_OPEN, TALK_EOF, TALK_ERROR, TALK_TIMEOUT };

/* The result of talk_probe() for a server that timed out. */
enum probe {
	PROBE_NOTHING,		/* no answer, or not probed */
	PROBE_NEWLINE,		/* it answered after a newline */
	PROBE_CRLF,		/* it answered after CR LF */
	PROBE_NUL,		/* it answered after a NUL byte */
	PROBE_FIN,		/* it answered after the client's FIN */
	PROBE_LOST		/* it answered with other bytes */
};

struct talk {
	struct plan plan;
	struct target *target;
	int64_t max_wait;	/* ns; 0: as long as the target's timeout */
	int fd;
	size_t whole;		/* bytes that are surely sent in one piece */
	bool fin_sent;
	bool write_failed;	/* there may still be bytes to read */
	bool reading;		/* false while NO_READ applies */
	uint64_t sent, received;	/* bytes */
	bool differs;		/* received bytes differ from sent bytes */
	uint64_t differs_at;	/* offset; the message's size for surplus */
	unsigned char *wrong;	/* bytes received from that offset on */
	size_t wrong_size;
	enum talk_end end;
	bool ended_first;	/* the server ended it before the client's FIN */
	bool is_slow;		/* timed out while bytes were still coming */
	enum probe probe;
	enum probe answered_after;	/* for PROBE_LOST: after which one */
	int error;		/* errno, for TALK_ERROR */
	/* Times as from net_now(), in ns; progress: bytes sent or received. */
	int64_t started, last_progress, last_write;
};

/* Connects. Returns 0, or -errno with nothing to be closed. */
int talk_open(struct talk *, const struct plan *, struct target *);

/* Closes the connection; the received bytes can still be read. */
void talk_hang_up(struct talk *);

/* Frees the conversation, and closes its connection if that is open. */
void talk_close(struct talk *);

/* How long a conversation may take in all, in ns. */
int64_t talk_time_limit(const struct talk *);

/*
 * Sends n messages and reads the replies, on n connections at once, until
 * each conversation is complete or has failed (at most TALK_MAX).
 */
void talk_run(struct talk *, size_t n);

/*
 * Sends FIN and reads until the server's end of file. Waits for the timeout if
 * the plan has SEND_FIN. Without SEND_FIN, gives the server a short time to
 * close before the client sends FIN, and then waits only long enough to receive
 * surplus bytes.
 */
void talk_finish(struct talk *);

/* Receives for the given time, in ns, and sends nothing. */
void talk_receive(struct talk *, int64_t ns);

/* After TALK_TIMEOUT: sends FIN, and waits until anything or the end comes. */
void talk_await_end(struct talk *);

/*
 * Sends without reading until the message is sent or nothing could be written
 * for the given time, in ns.
 */
void talk_fill_buffers(struct talk *, int64_t ns);

/*
 * After TALK_TIMEOUT: sends a newline, CR LF, a NUL byte, and then FIN, to find
 * out for which of them the server was waiting (t->probe). The conversation
 * cannot be continued afterwards.
 */
void talk_probe(struct talk *);

/* Whether the whole message came back, and nothing else so far. */
bool talk_is_correct(const struct talk *);

/* Whether the wrong bytes are those of the message of another talk. */
bool talk_is_mixed_up(const struct talk *, const struct talk *talks, int n);

/* Whether the server, or its system, reset the connection without an answer. */
bool talk_was_reset(const struct talk *);

#endif
