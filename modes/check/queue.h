/*
 * Some servers close their listener after each client and open another one. The
 * system then resets the clients that wait in the queue of the old listener
 * (its backlog). Timing decides which clients are reset, so such a reset shows
 * nothing about the message of the client.
 */
#ifndef QUEUE_H
#define QUEUE_H

#include <stdbool.h>

#include "talk.h"

/*
 * Whether the server resets a client that waits while another client is served.
 * The first call finds this out with two clients at the same time.
 */
bool queue_is_reset(struct target *);

/*
 * Whether a conversation has to be held again, because the server has reset it
 * in its queue. If so, the function has closed the conversation and waited for
 * a short time. attempt is the number of times that the conversation was held;
 * there is a limit.
 */
bool queue_must_repeat(struct talk *, int attempt);

#endif
