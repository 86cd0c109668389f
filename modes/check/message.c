#include "message.h"

#include <string.h>

/* A 32-bit hash of seed and index (after the finalizer of MurmurHash3). */
static uint32_t
hash_index(uint32_t seed, uint32_t index)
{
	uint32_t h = index * 0x9e3779b1U + seed * 0x85ebca77U;

	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

static unsigned char
letter_for_bits(uint32_t bits)
{
	static const unsigned char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return letters[bits & 63];
}

static unsigned char
letter_at(uint32_t seed, uint64_t offset)
{
	return letter_for_bits(hash_index(seed, (uint32_t)(offset / 4)) >>
	    8 * (offset % 4));
}

/* Four letters come from each hash. */
static void
generate_letters(uint32_t seed, uint64_t offset, unsigned char *out, size_t n)
{
	for (; n > 0 && offset % 4 != 0; n--)
		*out++ = letter_at(seed, offset++);
	for (; n >= 4; n -= 4, offset += 4, out += 4) {
		uint32_t hash = hash_index(seed, (uint32_t)(offset / 4));

		out[0] = letter_for_bits(hash);
		out[1] = letter_for_bits(hash >> 8);
		out[2] = letter_for_bits(hash >> 16);
		out[3] = letter_for_bits(hash >> 24);
	}
	for (; n > 0; n--)
		*out++ = letter_at(seed, offset++);
}

size_t
message_bytes(const struct message *m, uint64_t offset,
    unsigned char *out, size_t n)
{
	if (offset >= m->size)
		return 0;
	if (n > m->size - offset)
		n = (size_t)(m->size - offset);
	switch (m->content) {
	case TEXT:
		memcpy(out, m->text + offset, n);
		break;
	case LETTERS:
		generate_letters(m->seed, offset, out, n);
		break;
	case EVERY_BYTE:
		for (size_t i = 0; i < n; i++)
			out[i] = (unsigned char)(offset + i);
		break;
	case MARKED_BYTES:
		generate_letters(m->seed, offset, out, n);
		for (size_t i = 0; i < n; i++)
			if (offset + i >= MESSAGE_MARK)
				out[i] = (unsigned char)(offset + i -
				    MESSAGE_MARK);
		break;
	}
	return n;
}

bool
message_ends_line(const struct message *m)
{
	unsigned char last;

	return m->size > 0 && message_bytes(m, m->size - 1, &last, 1) == 1 &&
	    last == '\n';
}
