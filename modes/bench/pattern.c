#include "pattern.h"

#include <stddef.h>

static unsigned char pattern[PATTERN_PERIOD + PATTERN_MIN];

void
pattern_fill(void)
{
	uint32_t x = 2463534242;

	for (size_t i = 0; i < PATTERN_PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (unsigned char)(x >> 16);
	}
	for (size_t i = PATTERN_PERIOD; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PATTERN_PERIOD];
}

const unsigned char *
pattern_at(uint64_t position)
{
	return pattern + position % PATTERN_PERIOD;
}
