#include "conn.h"

#include <errno.h>
#include <stddef.h>

const char CONN_EOF[] = "end of file";

static int
nothing_happened(ssize_t n)
{
	return n == -EAGAIN || n == -EINTR;
}

static void
ends(struct conn *c, const char *why)
{
	if (c->end == NULL && c->err == 0)
		c->end = why;
}

static void
breaks(struct conn *c, int error)
{
	if (c->err == 0)
		c->err = error;
	c->state = CONN_OVER;
}

/* A connection that has finished moves on once nothing is owed. */
static void
settle(struct conn *c)
{
	if (conn_owed(c) > 0)
		return;
	if (c->state == CONN_LAST)
		c->state = CONN_OVER;
	else if (c->state == CONN_FINISHING)
		c->state = CONN_LINGERING;
}

unsigned
conn_want(const struct conn *c)
{
	switch (c->state) {
	case CONN_ECHOING:
		return conn_owed(c) > 0 ? WANT_WRITE : WANT_READ;
	case CONN_LAST:
	case CONN_FINISHING:
		return WANT_WRITE;
	case CONN_LINGERING:
		return WANT_READ;
	case CONN_OVER:
		break;
	}
	return 0;
}

void
conn_got(struct conn *c, ssize_t n)
{
	if (c->state == CONN_OVER || nothing_happened(n))
		return;
	if (n < 0) {
		breaks(c, (int)-n);
		return;
	}
	if (n > 0) {
		if (c->state == CONN_ECHOING)
			c->in += (uint64_t)n;
		return;
	}
	ends(c, CONN_EOF);
	c->state = CONN_LAST;
	settle(c);
}

void
conn_sent(struct conn *c, ssize_t n)
{
	if (c->state == CONN_OVER || nothing_happened(n))
		return;
	if (n < 0) {
		breaks(c, (int)-n);
		return;
	}
	c->out += (uint64_t)n < conn_owed(c) ? (uint64_t)n : conn_owed(c);
	settle(c);
}

void
conn_finish(struct conn *c, const char *why)
{
	if (c->state != CONN_ECHOING)
		return;
	ends(c, why);
	c->state = CONN_FINISHING;
	settle(c);
}

void
conn_cut(struct conn *c, const char *why)
{
	if (c->state == CONN_OVER)
		return;
	ends(c, why);
	if (conn_owed(c) > 0)
		breaks(c, ETIMEDOUT);
	c->state = CONN_OVER;
}
