/*
 * The properties of the parser of PROXY headers (modes/serve/proxy.h) that must
 * hold after any input, for its unit tests and its fuzz target.
 */
#ifndef T_PROXY_H
#define T_PROXY_H

#include "modes/serve/proxy.h"

#include <stdbool.h>
#include <string.h>

enum { PROXY_V2_MAX = PROXY_V2_HEAD + 65535 };

/* After a call with size bytes, of which the parser used n. */
static inline bool
proxy_holds(const struct proxy *p, size_t size, size_t n)
{
	bool is_v1 = p->read > 0 && p->data[0] == 'P';

	return n <= size && p->state <= PROXY_WRONG &&
	    (n == size || p->state != PROXY_INCOMPLETE) &&
	    (p->state == PROXY_WRONG) == (p->error != NULL) &&
	    p->read <= (is_v1 ? PROXY_V1_MAX : PROXY_V2_MAX) &&
	    p->kept <= PROXY_KEPT && p->kept <= p->read &&
	    (p->state == PROXY_COMPLETE ||
	    p->client.any.sa_family == AF_UNSPEC ||
	    (p->state == PROXY_INCOMPLETE && p->skip > 0));
}

/* Whether two parsers have come to the same result. */
static inline bool
proxy_same(const struct proxy *a, const struct proxy *b)
{
	return a->state == b->state && a->read == b->read &&
	    a->error == b->error && a->is_local == b->is_local &&
	    memcmp(&a->client, &b->client, sizeof(a->client)) == 0;
}

#endif
