/*
 * Whether a server has survived a conversation.
 */
#ifndef SURVIVAL_H
#define SURVIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "talk.h"

enum survival {
	SURVIVAL_SERVES,	/* another client got an answer, or an end */
	SURVIVAL_SILENT,	/* it got nothing before the timeout */
	SURVIVAL_ENDED		/* no connection is accepted any more */
};

/*
 * Finds out with another client whether the server still serves. If check has
 * started the server, check sees its end without a client, and a client
 * connects only if must_serve is set.
 */
enum survival survival_look(struct target *, bool must_serve);

/* Whether the server answers a line that is followed by an end of file. */
bool survival_answers_line(struct target *);

/*
 * Whether another client that sends a line gets any answer, or an end, within
 * the whole timeout. Also true if this client cannot connect.
 */
bool survival_serves_line(struct target *);

/* Whether one or 30 letters are answered, without a newline or end of file. */
bool survival_answers_letters(struct target *);

/* Whether the server reads 1 MiB, or ends the connection instead. */
bool survival_reads(struct target *);

/*
 * Whether a single client gets its echo within ns. If it does, and a client
 * beside another one does not, the other client is the reason.
 */
bool survival_answers_within(struct target *, const struct plan *, int64_t ns);

#endif
