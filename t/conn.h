/*
 * The properties of a conn machine (modes/serve/conn.h) that must hold after
 * any call, given its state before: for its unit tests and its fuzz target.
 */
#ifndef T_CONN_H
#define T_CONN_H

#include "modes/serve/conn.h"

#include <stdbool.h>
#include <stddef.h>

static inline bool
holds(const struct conn *c, const struct conn *before)
{
	unsigned want = conn_want(c);

	return c->out <= c->in && c->in >= before->in &&
	    c->out >= before->out && c->state <= CONN_CLOSED &&
	    (want == 0) == (c->state == CONN_CLOSED) &&
	    (want != 0 || conn_pending(c) == 0 || c->err != 0) &&
	    (!(want & WANT_READ) || conn_pending(c) == 0) &&
	    (!(want & WANT_FIN) || conn_pending(c) == 0) &&
	    (!(want & WANT_WRITE) || conn_pending(c) > 0) &&
	    (want != 0 || c->reason != CONN_NO_REASON || c->err != 0) &&
	    (before->reason == CONN_NO_REASON ||
	    c->reason == before->reason) &&
	    (conn_want(before) != 0 || want == 0);
}

#endif
