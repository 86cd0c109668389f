/*
 * Fuzz target: the conn machine under any sequence of calls. Two bytes of the
 * input are a call: which, and how much; what t/conn.h says must hold after
 * each of them.
 */
#include "t/conn.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* What recv and send may return. */
static ssize_t
result(uint8_t byte)
{
	static const ssize_t results[] = { 0, 1, 2, 16, 65536, 1 << 30,
	    SSIZE_MAX, -EAGAIN, -EINTR, -ECONNRESET, -EPIPE, -ETIMEDOUT,
	    -ENOMEM };

	if (byte >= 128)
		return byte;
	return results[byte % (sizeof(results) / sizeof(*results))];
}

static void
call(struct conn *c, uint8_t which, uint8_t much)
{
	switch (which % 9) {
	case 0:
		conn_finish(c, CONN_IDLE);
		break;
	case 1:
		conn_abort(c, CONN_IDLE);
		break;
	case 2:
	case 3:
	case 4:
		conn_received(c, result(much));
		break;
	case 5:
		conn_fin_sent(c);
		break;
	default:
		conn_sent(c, result(much));
		break;
	}
}

/* Counts that would overflow are no server's: that takes 2^63 bytes. */
static bool
is_full(const struct conn *c)
{
	return c->in > UINT64_MAX / 2;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conn c = { .state = CONN_ECHOING }, before;

	for (size_t i = 0; i + 1 < size && !is_full(&c); i += 2) {
		before = c;
		call(&c, data[i], data[i + 1]);
		if (!holds(&c, &before))
			abort();
	}
	return 0;
}
