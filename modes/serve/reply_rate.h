/*
 * Limits the replies to one source address (--reply-rate), and so limits a loop
 * between two echo servers.
 *
 * All workers share one table of fixed size. An address is found by a hash with
 * a random key. The table has places for four addresses with the same hash. A
 * fifth address replaces the address with the fewest replies in this second, so
 * the address of a loop keeps its place. Makes no system call after
 * reply_rate_new().
 */
#ifndef REPLY_RATE_H
#define REPLY_RATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "modes/lib/net.h"

enum { REPLY_RATE_MAX = 1000000 };	/* replies per second */

struct reply_rate;

/* Returns a table that processes share after fork(2), or NULL: no memory. */
struct reply_rate *reply_rate_new(void);

/*
 * Counts a reply to that address at the time now, as from net_now(). Returns
 * false if the address would get more than limit replies in this second.
 */
bool reply_rate_allows(struct reply_rate *, const union net_address *,
    uint32_t limit, int64_t now);

#endif
