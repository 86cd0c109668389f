/*
 * A model of an echo server, correct or with one or two of the usual mistakes.
 * It predicts what comes back in a conversation.
 */
#ifndef MODEL_H
#define MODEL_H

#include <stdbool.h>
#include <stddef.h>

#include "change.h"
#include "talk.h"

/* The event that the server takes for the end of the message. */
enum model_end {
	MODEL_EOF,		/* the end of file, which is correct */
	MODEL_SHORT_READ,	/* a recv of fewer bytes than it asked for */
	MODEL_ONE_READ,		/* one recv */
	MODEL_FEW_CHARACTERS,	/* fewer characters than bytes asked for */
	MODEL_NOTHING_WAITING,	/* no further bytes have arrived yet */
	MODEL_LIMIT,		/* the limit of bytes that it sends */
	MODEL_ENDS
};

/* When the server sends an answer. */
enum model_answer {
	MODEL_AT_ONCE,		/* after each recv, which is correct */
	MODEL_LINES,		/* after a newline */
	MODEL_AT_END		/* after the end of the message */
};

/* How the server decodes the bytes of a recv. */
enum model_text { MODEL_BYTES, MODEL_UTF8, MODEL_ASCII };

struct model {
	size_t read_size;	/* bytes that a recv asks for; for MODEL_LIMIT, */
				/* bytes that are sent in a connection */
	enum model_end end;
	enum model_answer answer;
	enum model_text text;
	bool sends_first;	/* sends what it received, then decodes it */
	bool stays_open;	/* at the end it stops reading, but does not */
				/* close the connection */
	int change;		/* as in change.h, or CHANGE_NONE */
};

enum {
	MODEL_MESSAGE = 16384,	/* bytes of the longest message predicted */
	MODEL_REPLY = CHANGE_GROWTH * MODEL_MESSAGE
};

enum prediction_kind {
	MODEL_UNKNOWN,		/* depends on how recvs divide the message */
	MODEL_CORRECT,		/* the message comes back */
	MODEL_REPLIES		/* the given bytes come back, not all correct */
};

struct prediction {
	enum prediction_kind kind;
	bool closes;		/* the server closes by itself */
	bool fails_to_decode;
	enum probe probe;	/* what makes a silent server answer */
	size_t size;		/* and bytes: not set for MODEL_CORRECT */
	unsigned char bytes[MODEL_REPLY];
};

/*
 * Returns the first bytes of a message, at most MODEL_MESSAGE. They are valid
 * until the next call.
 */
const unsigned char *model_message_bytes(const struct message *);

/*
 * Predicts a conversation with the given plan. A message of more than whole
 * bytes may be divided anywhere on its way.
 */
void model_predict(struct prediction *, const struct model *,
    const struct plan *, size_t whole);

/* How many mistakes the model makes; 0: it is correct. */
int model_mistakes(const struct model *);

/*
 * Calls a function with each model that makes the given number of mistakes (1
 * or 2). extra_size is tried as a read size, in addition to the usual sizes,
 * and as the limit of MODEL_LIMIT.
 */
void model_each(int mistakes, size_t extra_size,
    void (*)(const struct model *, void *), void *);

#endif
