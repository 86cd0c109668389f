/*
 * Keeps the observations from the conversations of a run, and finds the models
 * of a server that can explain them.
 */
#ifndef CANDIDATES_H
#define CANDIDATES_H

#include <stdbool.h>
#include <stdint.h>

#include "model.h"
#include "talk.h"

enum {
	CANDIDATES_OBSERVATIONS = 96,
	CANDIDATES_WRONG = 4096	/* wrong bytes that are kept */
};

/* What makes a server fail. CAUSE_CHANGE is the first change of change.h. */
enum cause {
	CAUSE_END,		/* and the other ends of enum model_end */
	CAUSE_WAITS = MODEL_ENDS,	/* waits for a short recv, which */
				/* never came */
	CAUSE_AT_EOF,
	CAUSE_LINES,
	CAUSE_UTF8,
	CAUSE_ASCII,
	CAUSE_CHANGE
};

#define CAUSE_BIT(cause) (UINT64_C(1) << (cause))

/* The observations from one conversation. */
struct observation {
	struct plan plan;
	size_t whole;
	uint64_t received, differs_at;
	bool differs;
	bool ended_first;
	bool is_slow;
	bool is_dead;		/* no connection was accepted afterwards */
	enum talk_end end;
	enum probe probe;
	size_t wrong_size;
	unsigned char wrong[CANDIDATES_WRONG];
};

/* The observations of a run: the first ones, and the last. */
struct history {
	int n;
	bool deaths_tell;	/* it never ended after a correct echo */
	struct observation observations[CANDIDATES_OBSERVATIONS];
};

/*
 * Keeps a conversation for later diagnoses. is_dead: the server accepted no
 * connection afterwards.
 */
void candidates_record(struct history *, const struct talk *, bool is_dead);

/* The last conversation recorded. */
const struct observation *candidates_last(const struct history *);

/* Whether the whole message came back, and nothing else. */
bool candidates_is_correct(const struct observation *);

/* Whether any conversation recorded had an answer. */
bool candidates_any_answer(const struct history *);

/*
 * Holds a conversation from connecting to its end, for candidates_record().
 * Returns 0, and the caller then closes the conversation; or -errno.
 */
int candidates_hold_talk(struct talk *, const struct plan *, struct target *);

/*
 * Holds one more conversation, and records it before the last one. Returns
 * false if the server does not accept a connection.
 */
bool candidates_hold_probe(struct history *, const struct plan *,
    struct target *);

/* The properties that all candidates share. */
struct verdict {
	uint64_t causes;	/* all causes of candidates, as CAUSE_BIT() */
	enum cause cause;	/* of the first candidate */
	struct model model;	/* the first candidate */
	size_t read_size;	/* bytes; 0 if they differ in it */
};

/*
 * Finds the candidates for the last conversation recorded, which is not
 * correct. Holds probes if they are needed to decide. Returns false if no
 * mistake is proven.
 */
bool candidates_decide(struct verdict *, struct history *, struct target *);

#endif
