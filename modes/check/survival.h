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
 * Finds out with another client what has become of the server. If check has
 * started it, the client is needed only to see whether it must serve others.
 */
enum survival survival_look(struct target *, bool must_serve);

/* Whether a line and an end of file are answered. */
bool survival_answers_line(struct target *);

/*
 * Whether another client that sends a line gets any answer, or an end, within
 * the whole timeout. Also true if it cannot connect.
 */
bool survival_serves_line(struct target *);

/* Whether one or 30 letters are answered, without a newline or end of file. */
bool survival_answers_letters(struct target *);

/* Whether the server reads 1 MiB, or ends the connection instead. */
bool survival_reads(struct target *);

/*
 * Whether a client that is alone gets its echo within ns, so that another
 * client must have been the reason if one did not get it.
 */
bool survival_answers_within(struct target *, const struct plan *, int64_t ns);

#endif
