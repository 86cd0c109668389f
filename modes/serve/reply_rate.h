/*
 * Limits the replies to one source address (--reply-rate), and with them a loop
 * between two echo servers.
 *
 * All workers share one table of fixed size. An address is found by a hash with
 * a random key. Four addresses with the same hash have places; of more, the
 * one with the fewest replies in this second loses its place, so that a loop
 * keeps its own. Makes no system call after reply_rate_new().
 */
#ifndef REPLY_RATE_H
#define REPLY_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modes/lib/net.h"

enum { REPLY_RATE_MAX = 1000000 };	/* replies per second */

struct reply_rate;

/* A table in memory that processes share after fork(2). NULL: no memory. */
struct reply_rate *reply_rate_new(void);

/*
 * Counts a reply to that address at that time, net_now(). False: it would be
 * more than limit replies in this second.
 */
bool reply_rate_allows(struct reply_rate *, const union net_address *,
    uint32_t limit, int64_t now);

#endif
