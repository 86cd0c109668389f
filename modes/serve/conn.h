/*
 * The echo protocol (RFC 862 over TCP) as a state machine without I/O.
 *
 * The caller passes the results of recv(2), send(2) and shutdown(2) to the
 * machine, and asks what the connection wants next. The machine keeps counts,
 * not bytes. Therefore the same machine serves a blocking loop, a readiness
 * loop, a pipe in the kernel and a completion ring, and its tests need no
 * network. It makes no system call and reads no clock.
 *
 * These properties hold after any sequence of calls: out <= in; a closed
 * connection wants nothing; a connection is closed only if no byte is pending
 * or an error is set; WANT_READ is never set while bytes are pending, because
 * there is no room for more pending bytes.
 */
#ifndef CONN_H
#define CONN_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

enum conn_want {
	WANT_READ = 1,
	WANT_WRITE = 2,
	WANT_FIN = 4		/* shutdown(SHUT_WR), which does not wait */
};

enum conn_state {
	CONN_ECHOING,
	CONN_PEER_FINISHED,	/* the peer sent FIN; bytes are pending */
	CONN_FINISHING,		/* the server ends it; bytes are pending */
	CONN_FIN_DUE,		/* the server ends it; its FIN is next */
	CONN_LINGERING,		/* the FIN is sent; input is discarded */
	CONN_CLOSED
};

/* Why a connection ended, if no error ended it. */
enum conn_reason {
	CONN_NO_REASON,
	CONN_END_OF_FILE,	/* the peer finished first */
	CONN_END_OF_MESSAGE,	/* a pause ended the message */
	CONN_IDLE,
	CONN_STOPPING,		/* the server stops */
	CONN_NO_HEADER		/* the PROXY header is wrong */
};

/* All zero is a new connection. Only conn_*() may change it. */
struct conn {
	uint64_t in, out;	/* bytes to echo, bytes echoed */
	int err;		/* errno that ended the connection, or 0 */
	uint8_t state;		/* enum conn_state */
	uint8_t reason;		/* enum conn_reason: the first one */
};

/* Bytes received from the peer that have not been sent back yet. */
static inline uint64_t
conn_pending(const struct conn *c)
{
	return c->in - c->out;
}

/* Returns what to do next: WANT_* bits. 0: the connection is closed. */
unsigned conn_want(const struct conn *);

/*
 * Takes the result of recv(2): n bytes, 0 for the peer's end of file, or
 * -errno. -EAGAIN and -EINTR change nothing.
 */
void conn_received(struct conn *, ssize_t n);

/* Takes the result of send(2): n bytes, or -errno as in conn_received(). */
void conn_sent(struct conn *, ssize_t n);

/*
 * Lets the server end the connection: pending bytes are sent, then FIN, and
 * then input is discarded until the peer's FIN. Closing with unread input would
 * cause an RST, which destroys bytes in flight (RFC 2525, section 2.17).
 */
void conn_finish(struct conn *, enum conn_reason);

/* To be called after WANT_FIN, when the FIN has been sent. */
void conn_fin_sent(struct conn *);

/*
 * Lets the server give up: the connection is closed at once. If bytes are
 * pending, the error ETIMEDOUT is set.
 */
void conn_abort(struct conn *, enum conn_reason);

#endif
