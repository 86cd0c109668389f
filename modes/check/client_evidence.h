/*
 * What the runs of a client show: judges each run, and collects what the
 * hypotheses about a failed test (client_diagnose.c) have to predict.
 */
#ifndef CLIENT_EVIDENCE_H
#define CLIENT_EVIDENCE_H

#include "client_diagnose.h"
#include "client_run.h"

enum {
	CLIENT_EVIDENCE_PROBES = 12,	/* probes at most */
	CLIENT_EVIDENCE_MAX = 40	/* results of tests and probes */
};

/* What is known of a client apart from its tests. */
struct client_evidence {
	/* From a run with a reply that differs from the message. */
	size_t own_out, own_err;	/* how often the client itself prints
					   the message */
	bool prints_message;	/* and not the reply */
	char other[64];		/* what it sent */
	size_t other_size;
	/* Results for client_diagnose_reply(). */
	struct client_result results[CLIENT_EVIDENCE_MAX];
	size_t size;
	struct client_plan probes[CLIENT_EVIDENCE_PROBES];
};

/*
 * Writes size letters in an order that depends on the seed. Words of other
 * output seldom contain several of them, so that parts of a reply are
 * recognised.
 */
void client_evidence_letters(char *out, size_t size, uint32_t seed);

/*
 * Runs the client with a reply that differs from its message. Then it is known
 * how often the client prints the message itself, without any reply. Exits if
 * the client cannot be run.
 */
void client_evidence_prepare(struct client_evidence *, struct client_target *);

struct client_result client_evidence_judge(const struct client_evidence *,
    const struct client_run *);

/*
 * Runs the client with replies in two pieces, until one is found whose first
 * piece fills the client's buffer, so that the client continues after it. Adds
 * the results to the evidence.
 */
void client_evidence_probe(struct client_evidence *, struct client_target *);

#endif
