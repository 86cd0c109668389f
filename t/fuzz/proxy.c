/*
 * Fuzz target: PROXY headers (proxy.c). The first byte is the size of the pieces
 * in which the rest arrives. The conditions of t/proxy.h must hold, and the
 * pieces must not matter.
 */
#include "t/proxy.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

/* Gives the parser the bytes in pieces of that size. Returns how many it used. */
static size_t
parse_pieces(struct proxy *p, const uint8_t *data, size_t size, size_t piece)
{
	size_t used = 0;

	while (used < size && p->state == PROXY_INCOMPLETE) {
		size_t n = size - used < piece ? size - used : piece;
		size_t taken = proxy_parse(p, data + used, n);

		if (!proxy_holds(p, n, taken))
			abort();
		used += taken;
	}
	return used;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proxy whole = { 0 }, pieces = { 0 };
	size_t used;

	if (size == 0)
		return 0;
	used = parse_pieces(&whole, data + 1, size - 1, size);
	if (used != whole.read || parse_pieces(&pieces, data + 1, size - 1,
	    (size_t)*data + 1) != used || !proxy_same(&whole, &pieces))
		abort();
	return 0;
}
