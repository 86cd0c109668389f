/*
 * The echo protocol (RFC 862 over TCP) as a machine that does no I/O.
 *
 * Told what was read and what was written, it answers what the connection
 * wants next. It keeps counts, not bytes, so one machine serves a blocking
 * loop, a readiness loop, a pipe in the kernel and a completion ring, and its
 * tests need no network.
 *
 * Held under any sequence of calls: out <= in; nothing is wanted once it is
 * over; it is over only with nothing owed, or with an error; WANT_READ is
 * never there while bytes are owed, for then there is no room to keep more.
 */
#ifndef CONN_H
#define CONN_H

#include <sys/types.h>

#include <stdint.h>

enum conn_want {
	WANT_READ = 1,
	WANT_WRITE = 2
};

enum conn_state {
	CONN_ECHOING,
	CONN_LAST,	/* the peer has finished; what is owed is being paid */
	CONN_FINISHING,	/* we have; what is owed is being paid */
	CONN_LINGERING,	/* our FIN is due or out; what still comes is dropped */
	CONN_OVER
};

/* All zero is a new connection. To be read by anyone, changed by conn_*(). */
struct conn {
	uint64_t in, out;	/* bytes to echo, bytes echoed */
	const char *end;	/* the first cause of its end, or NULL */
	int err;		/* errno of what broke it, or 0 */
	enum conn_state state;
};

/* Bytes taken from the peer that have not gone back to it. */
static inline uint64_t
conn_owed(const struct conn *c)
{
	return c->in - c->out;
}

/* The cause when the peer finished first. */
extern const char CONN_EOF[];

/* What to do next: WANT_* bits. 0: it is over, close it. */
unsigned conn_want(const struct conn *);

/*
 * recv(2) returned n bytes, 0 for the peer's end of file, or failed: -errno.
 * -EAGAIN and -EINTR mean that nothing happened.
 */
void conn_got(struct conn *, ssize_t n);

/* send(2) took n bytes or failed: -errno, as above. */
void conn_sent(struct conn *, ssize_t n);

/*
 * The server ends it: what is owed is paid, then comes our FIN (the caller
 * sends it when the state becomes CONN_LINGERING), then what still comes is
 * dropped until the peer's FIN, lest closing with unread input make a reset
 * that destroys bytes under way (RFC 2525, 2.17). why must outlive c.
 */
void conn_finish(struct conn *, const char *why);

/* The server gives it up: it is over, whatever is owed (err: ETIMEDOUT). */
void conn_cut(struct conn *, const char *why);

#endif
