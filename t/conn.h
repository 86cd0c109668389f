/*
 * What must hold of a conn machine (modes/conn.h) after any call, given how it
 * stood before: for its unit tests and its fuzz target.
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
	    c->out >= before->out && c->state >= CONN_ECHOING &&
	    c->state <= CONN_OVER && (want == 0) == (c->state == CONN_OVER) &&
	    (want != 0 || conn_owed(c) == 0 || c->err != 0) &&
	    (!(want & WANT_READ) || conn_owed(c) == 0) &&
	    (!(want & WANT_WRITE) || conn_owed(c) > 0) &&
	    (want != 0 || c->end != NULL || c->err != 0) &&
	    (before->end == NULL || c->end == before->end) &&
	    (conn_want(before) != 0 || want == 0);
}

#endif
