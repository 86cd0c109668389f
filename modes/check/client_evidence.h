/*
 * Judges each run of a client, and collects the results that the hypotheses
 * about a failed test (client_diagnose.c) have to predict.
 */
#ifndef CLIENT_EVIDENCE_H
#define CLIENT_EVIDENCE_H

#include "client_diagnose.h"
#include "client_run.h"

enum {
	CLIENT_EVIDENCE_PROBES = 12,	/* probes at most */
	CLIENT_EVIDENCE_MAX = 40	/* results of tests and probes */
};

/* The knowledge about a client, in addition to the results of its tests. */
struct client_evidence {
	/* From a run with a reply that differs from the message. */
	size_t own_out, own_err;	/* how often the client itself prints
					   the message */
	bool prints_message;	/* and not the reply */
	char other[64];		/* the bytes that it sent */
	size_t other_size;
	/* Results for client_diagnose_reply(). */
	struct client_result results[CLIENT_EVIDENCE_MAX];
	size_t size;
	struct client_plan probes[CLIENT_EVIDENCE_PROBES];
};

/*
 * Writes size letters in an order that depends on the seed. Other words in the
 * output of a client seldom contain several of these letters, so the parts of a
 * reply can be recognised.
 */
void client_evidence_letters(char *out, size_t size, uint32_t seed);

/*
 * Runs the client with a reply that differs from its message. This run shows
 * how often the client prints the message itself. Exits if the client cannot be
 * run.
 */
void client_evidence_prepare(struct client_evidence *, struct client_target *);

struct client_result client_evidence_judge(const struct client_evidence *,
    const struct client_run *);

/*
 * Runs the client with replies in two pieces, until the first piece of a reply
 * fills the client's buffer and the client continues to read. Adds the results
 * to the evidence.
 */
void client_evidence_probe(struct client_evidence *, struct client_target *);

#endif
