/*
 * Finds the mistake of a client. Each known mistake is a hypothesis that
 * predicts how much of a reply the client prints. The sentence of a hypothesis
 * is printed only if the prediction is right for all tests and probes. If there
 * is no such hypothesis, the sentence states the observation.
 */
#ifndef CLIENT_DIAGNOSE_H
#define CLIENT_DIAGNOSE_H

#include "client_run.h"
#include "diagnose.h"

/* The result of one run of a client, as the hypotheses use it. */
struct client_result {
	const struct client_plan *plan;
	bool is_right;		/* nothing is wrong with it */
	bool has_timed_out;
	bool server_closed;	/* before the client */
	bool arrived;		/* the message, complete and unchanged */
	bool sends_in_parts;	/* as in struct client_run */
	bool is_silent;		/* nothing was printed at all */
	bool out_is_plain;	/* standard output is the reply alone */
	int status;
	size_t on_out, on_err;	/* bytes of the reply that were printed */
	size_t printed;		/* the greater of both */
	bool decodes_parts;	/* according to an error message */
	bool decodes_ascii;	/* according to an error message */
};

/*
 * Each function writes one sentence without double quotes to out.
 *
 * The message did not arrive. other is the text that arrived in a run with
 * another message, or NULL.
 */
void client_diagnose_message(char out[DIAGNOSE_SIZE],
    const struct client_run *, const char *other, size_t other_size);

/*
 * The reply was not printed in full. evidence is the n runs with messages of
 * ASCII letters that the hypotheses have to predict.
 */
void client_diagnose_reply(char out[DIAGNOSE_SIZE],
    const struct client_result *, const struct client_result *evidence,
    size_t n);

/*
 * The same for a message that is not ASCII, if the client passes with an ASCII
 * message of the same size. whole is the run with a message whose first 16
 * bytes are whole characters.
 */
void client_diagnose_text(char out[DIAGNOSE_SIZE],
    const struct client_result *, const struct client_result *whole);

/* The client did not end, or failed, although it printed the reply. */
void client_diagnose_end(char out[DIAGNOSE_SIZE],
    const struct client_result *);

#endif
