/*
 * Whether a server has survived a conversation.
 */
#ifndef SURVIVAL_H
#define SURVIVAL_H

#include <stdbool.h>
#include <stdint.h>

#include "talk.h"

/*
 * Whether the server still accepts connections, after 100 ms at most. The next
 * conversation uses the connection, because some servers do not bear one
 * without data.
 */
bool survival_accepts(struct target *);

/* Whether another client gets an answer. */
bool survival_serves(struct target *);

/*
 * Whether a client that is alone gets its echo within ns, so that another
 * client must have been the reason if one did not get it.
 */
bool survival_answers_within(struct target *, const struct plan *, int64_t ns);

/* Whether the server sends or ends something within 100 ms. */
bool survival_has_closed(int fd);

#endif
