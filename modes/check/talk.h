/*
 * A conversation with an echo server, and what came of it: for whoever has to
 * judge a server. What is sent tells by itself where it stands, and is made
 * again to compare with, so that no amount needs memory.
 */
#ifndef TALK_H
#define TALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modes/lib/dial.h"

enum { TALKS = 50 };		/* at once, at most */

enum content {
	TEXT,			/* the text */
	LETTERS,		/* letters, digits, - and _, mixed */
	EVERY_BYTE		/* 0 to 255, again and again */
};

struct message {
	enum content content;
	const char *text;
	uint64_t size;		/* bytes */
	uint32_t seed;		/* of LETTERS: no two alike */
};

/* Makes n bytes of the message, from position at on; none after its end. */
size_t message_bytes(const struct message *, uint64_t at, unsigned char *out,
    size_t n);

/* Where the server is, and how much waiting it has cost. */
struct target {
	struct dial_server server;
	int fd;			/* the first connection, if unused; or -1 */
	int64_t timeout;	/* ns */
	int64_t answer, end;	/* what is left of it to wait for each */
	int64_t slowest;	/* longest that an answer took, ns */
};

/*
 * A deadline is spent once. Then the server is given as long as it took when
 * it did answer, ten times over.
 */
int64_t target_quick(const struct target *);

enum manner {
	IN_STEP = 1,	/* the next burst when all before it has come back */
	FIN_BEHIND = 2,	/* half-closes right behind the last byte */
	DEAF = 4	/* reads only when it cannot write any more */
};

/* What is to be said, and how. */
struct plan {
	struct message message;
	uint64_t burst;		/* bytes; 0: all in one */
	int64_t pause;		/* ns, after each burst */
	unsigned manner;
};

enum ending { OPEN, END_OF_FILE, BROKEN, LATE };

/* What a server that did not answer was waiting for; DROPPED: for nothing. */
enum held { NOT_HELD, UNTIL_NEWLINE, UNTIL_FIN, DROPPED };

struct talk {
	struct plan plan;
	struct target *target;
	int64_t limit;		/* ns without progress, if not the target's */
	int fd;
	bool finished;		/* our FIN is out */
	bool mute;		/* sending failed; there may be bytes to read */
	bool deaf;		/* not reading, for now */
	uint64_t sent, back;	/* bytes */
	bool differs;		/* from position at on; at the message's size */
	uint64_t at;		/* if it is right but there is more */
	unsigned char *got;	/* what came from there on, for a while */
	size_t caught;		/* bytes of it */
	enum ending ending;
	enum held held;
	int error;		/* errno, if BROKEN */
	int64_t started, moved, wrote;
};

/* Connects: 0, or -errno and nothing to be closed. */
int talk_open(struct talk *, const struct plan *, struct target *);
void talk_close(struct talk *);

/*
 * Says it all and listens, on n connections at once, until on each of them
 * it is decided: everything is back, or nothing more can be hoped for.
 */
void talk_run(struct talk *, size_t n);

/*
 * Finishes, and waits for the server's end of file: for as long as the server
 * may take if the plan was FIN_BEHIND, else only so that surplus is seen.
 */
void talk_end(struct talk *);

/* Takes what comes unasked, for ns. */
void talk_listen(struct talk *, int64_t ns);

/* Sends without reading until nothing moves for ns, or all is sent. */
void talk_stuff(struct talk *, int64_t ns);

/* Finds out what a server is waiting for that is LATE. Spoils the talk. */
void talk_probe(struct talk *);

/* Everything came back, and nothing else up to now. */
bool talk_is_right(const struct talk *);

#endif
