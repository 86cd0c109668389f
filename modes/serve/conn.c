#include "conn.h"

#include <errno.h>

static bool
is_no_result(ssize_t n)
{
	return n == -EAGAIN || n == -EINTR;
}

static void
set_reason(struct conn *c, enum conn_reason reason)
{
	if (c->reason == CONN_NO_REASON && c->err == 0)
		c->reason = (uint8_t)reason;
}

static void
set_error(struct conn *c, int error)
{
	if (c->err == 0)
		c->err = error;
	c->state = CONN_CLOSED;
}

/* Enters the next state of a finished connection when no byte is pending. */
static void
advance(struct conn *c)
{
	if (conn_pending(c) > 0)
		return;
	if (c->state == CONN_PEER_FINISHED)
		c->state = CONN_CLOSED;
	else if (c->state == CONN_FINISHING)
		c->state = CONN_FIN_DUE;
}

unsigned
conn_want(const struct conn *c)
{
	switch (c->state) {
	case CONN_ECHOING:
		return conn_pending(c) > 0 ? WANT_WRITE : WANT_READ;
	case CONN_PEER_FINISHED:
	case CONN_FINISHING:
		return WANT_WRITE;
	case CONN_FIN_DUE:
		return WANT_FIN;
	case CONN_LINGERING:
		return WANT_READ;
	default:
		return 0;
	}
}

void
conn_received(struct conn *c, ssize_t n)
{
	if (c->state == CONN_CLOSED || is_no_result(n))
		return;
	if (n < 0) {
		set_error(c, (int)-n);
		return;
	}
	if (n > 0) {
		if (c->state == CONN_ECHOING)
			c->in += (uint64_t)n;
		return;
	}
	set_reason(c, CONN_END_OF_FILE);
	c->state = CONN_PEER_FINISHED;
	advance(c);
}

void
conn_sent(struct conn *c, ssize_t n)
{
	if (c->state == CONN_CLOSED || is_no_result(n))
		return;
	if (n < 0) {
		set_error(c, (int)-n);
		return;
	}
	c->out += (uint64_t)n < conn_pending(c) ? (uint64_t)n :
	    conn_pending(c);
	advance(c);
}

void
conn_finish(struct conn *c, enum conn_reason reason)
{
	if (c->state != CONN_ECHOING)
		return;
	set_reason(c, reason);
	c->state = CONN_FINISHING;
	advance(c);
}

void
conn_fin_sent(struct conn *c)
{
	if (c->state == CONN_FIN_DUE)
		c->state = CONN_LINGERING;
}

void
conn_abort(struct conn *c, enum conn_reason reason)
{
	if (c->state == CONN_CLOSED)
		return;
	set_reason(c, reason);
	if (conn_pending(c) > 0)
		set_error(c, ETIMEDOUT);
	c->state = CONN_CLOSED;
}
