#include "reply_rate.h"

#include <sys/mman.h>

#include <stdatomic.h>
#include <string.h>

#include "modes/lib/random.h"

/*
 * An entry is one number, so that it can be replaced in one step. It consists
 * of a part of the hash, which distinguishes addresses, the current second, and
 * the number of replies in this second.
 */
enum {
	SETS = 1024,		/* a power of two */
	PLACES = 4,		/* in a set */
	TAG_BITS = 28,
	SECOND_BITS = 16,
	COUNT_BITS = 20		/* REPLY_RATE_MAX fits */
};

_Static_assert(REPLY_RATE_MAX < 1 << COUNT_BITS, "a count has room");
_Static_assert(TAG_BITS + SECOND_BITS + COUNT_BITS == 64, "one number");

#define LOW_BITS(n) ((UINT64_C(1) << (n)) - 1)

struct reply_rate {
	uint64_t keys[2];
	_Atomic uint64_t entries[SETS][PLACES];
};

struct reply_rate *
reply_rate_new(void)
{
	struct reply_rate *table = mmap(NULL, sizeof(*table),
	    PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (table == MAP_FAILED)
		return NULL;
	/* Early after boot there is no randomness; then the clock is used. */
	if (!random_fill(table->keys, sizeof(table->keys)))
		table->keys[0] = (uint64_t)net_now();
	return table;
}

/* Vigna's splitmix64. */
static uint64_t
mix(uint64_t z)
{
	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t
hash_address(const struct reply_rate *table, const union net_address *address)
{
	uint64_t words[2] = { 0, 0 };

	if (address->any.sa_family == AF_INET6)
		memcpy(words, &address->v6.sin6_addr, sizeof(words));
	else
		words[0] = address->v4.sin_addr.s_addr;
	return mix(mix(words[0] ^ table->keys[0]) ^ words[1] ^ table->keys[1]);
}

static uint64_t
count_of(uint64_t entry)
{
	return entry & LOW_BITS(COUNT_BITS);
}

/* Returns the entry of an address in this second, without its count. */
static uint64_t
entry_at(uint64_t hash, int64_t now)
{
	uint64_t tag = hash >> (64 - TAG_BITS);
	uint64_t second = (uint64_t)(now / NET_SECOND) &
	    LOW_BITS(SECOND_BITS);

	return tag << (SECOND_BITS + COUNT_BITS) | second << COUNT_BITS;
}

static bool
has_tag(uint64_t entry, uint64_t own)
{
	return entry >> (SECOND_BITS + COUNT_BITS) ==
	    own >> (SECOND_BITS + COUNT_BITS);
}

/* Returns the replies of an entry in the second of own; 0 if it is older. */
static uint64_t
count_now(uint64_t entry, uint64_t own)
{
	uint64_t second = LOW_BITS(SECOND_BITS) << COUNT_BITS;

	return (entry & second) == (own & second) ? count_of(entry) : 0;
}

/* Returns the place of that address in its set, or the place to replace. */
static _Atomic uint64_t *
find_place(_Atomic uint64_t *set, uint64_t own)
{
	_Atomic uint64_t *least = set;

	for (int i = 0; i < PLACES; i++) {
		if (has_tag(set[i], own))
			return &set[i];
		if (count_now(set[i], own) < count_now(*least, own))
			least = &set[i];
	}
	return least;
}

bool
reply_rate_allows(struct reply_rate *table, const union net_address *address,
    uint32_t limit, int64_t now)
{
	uint64_t hash = hash_address(table, address);
	uint64_t own = entry_at(hash, now), entry, count;
	_Atomic uint64_t *set = table->entries[hash & (SETS - 1)], *place;

	do {	/* again if another worker has changed it in between */
		place = find_place(set, own);
		entry = *place;
		count = has_tag(entry, own) ? count_now(entry, own) : 0;
		if (count >= limit)
			return false;
	} while (!atomic_compare_exchange_weak(place, &entry,
	    own | (count + 1)));
	return true;
}
