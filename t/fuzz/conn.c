/*
 * Fuzz target: any sequence of calls of conn.c. Two bytes of the input are one
 * call: the function and its argument. The conditions of t/conn.h must hold
 * after each call.
 */
#include "t/conn.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* A value that recv(2) and send(2) may return. */
static ssize_t
io_result(uint8_t byte)
{
	static const ssize_t results[] = { 0, 1, 2, 16, 65536, 1 << 30,
	    SSIZE_MAX, -EAGAIN, -EINTR, -ECONNRESET, -EPIPE, -ETIMEDOUT,
	    -ENOMEM };

	if (byte >= 128)
		return byte;
	return results[byte % (sizeof(results) / sizeof(*results))];
}

static void
call_function(struct conn *c, uint8_t function, uint8_t argument)
{
	switch (function % 9) {
	case 0:
		conn_finish(c, CONN_IDLE);
		break;
	case 1:
		conn_abort(c, CONN_IDLE);
		break;
	case 2:
	case 3:
	case 4:
		conn_received(c, io_result(argument));
		break;
	case 5:
		conn_fin_sent(c);
		break;
	default:
		conn_sent(c, io_result(argument));
		break;
	}
}

/* The counters may overflow only after 2^63 bytes, which takes years. */
static bool
is_near_overflow(const struct conn *c)
{
	return c->in > UINT64_MAX / 2;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct conn c = { .state = CONN_ECHOING }, before;

	for (size_t i = 0; i + 1 < size && !is_near_overflow(&c); i += 2) {
		before = c;
		call_function(&c, data[i], data[i + 1]);
		if (!holds(&c, &before))
			abort();
	}
	return 0;
}
