#include "payload.h"

#include <string.h>

#include "modes/lib/net.h"
#include "pattern.h"

enum {
	COMPARED_MAX = 64,	/* bytes that payload_distance() compares */
	CHECK_AT = 4, SEQUENCE_AT = 8	/* offsets in the header */
};

_Static_assert(NET_DATAGRAM_MAX - (int)PAYLOAD_HEADER <= (int)PATTERN_MIN,
    "every body is a part of the pattern");

/*
 * The check: each bit of the flow and of the sequence number affects all bits
 * of the check (the finalizer of MurmurHash3, fmix64). Therefore a header with
 * one changed byte never looks like the header of another message.
 */
static uint32_t
payload_check(uint32_t flow, uint64_t sequence)
{
	uint64_t x = sequence ^ (uint64_t)flow << 32;

	x ^= x >> 33;
	x *= UINT64_C(0xff51afd7ed558ccd);
	x ^= x >> 33;
	x *= UINT64_C(0xc4ceb9fe1a85ec53);
	return (uint32_t)(x >> 32 ^ x);
}

static void
payload_put(unsigned char *out, uint64_t number, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, number >>= 8)
		out[i] = (unsigned char)number;
}

static uint64_t
payload_get(const unsigned char *in, int bytes)
{
	uint64_t number = 0;

	for (int i = 0; i < bytes; i++)
		number = number << 8 | in[i];
	return number;
}

void
payload_header(unsigned char out[PAYLOAD_HEADER],
    const struct payload_key *key, uint64_t sequence)
{
	payload_put(out, key->flow, 4);
	payload_put(out + CHECK_AT, payload_check(key->flow, sequence), 4);
	payload_put(out + SEQUENCE_AT, sequence, 8);
}

const unsigned char *
payload_body(const struct payload_key *key, uint64_t sequence)
{
	return pattern_at(payload_check(key->flow, sequence));
}

enum payload_kind
payload_read(const struct payload_key *key, const void *data, size_t size,
    uint64_t *sequence)
{
	const unsigned char *bytes = data;
	unsigned char header[PAYLOAD_HEADER];
	uint64_t number;

	if (size < PAYLOAD_HEADER)
		return PAYLOAD_UNKNOWN;
	number = payload_get(bytes + SEQUENCE_AT, 8);
	payload_header(header, key, number);
	if (memcmp(bytes, header, sizeof(header)) != 0)
		return PAYLOAD_UNKNOWN;
	*sequence = number;
	if (size != key->size || memcmp(bytes + PAYLOAD_HEADER,
	    payload_body(key, number), size - PAYLOAD_HEADER) != 0)
		return PAYLOAD_DAMAGED;
	return PAYLOAD_INTACT;
}

size_t
payload_distance(const struct payload_key *key, uint64_t sequence,
    const void *data, size_t size, size_t *compared)
{
	const unsigned char *bytes = data;
	const unsigned char *body = payload_body(key, sequence);
	unsigned char header[PAYLOAD_HEADER];
	size_t distance = 0, n = size < key->size ? size : key->size;

	if (n > COMPARED_MAX)
		n = COMPARED_MAX;
	payload_header(header, key, sequence);
	for (size_t i = 0; i < n; i++)
		distance += bytes[i] != (i < PAYLOAD_HEADER ? header[i] :
		    body[i - PAYLOAD_HEADER]);
	*compared = n;
	return distance;
}
