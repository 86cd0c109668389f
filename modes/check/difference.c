/*
 * Compares the received bytes with the bytes that were sent, if no model
 * explains the difference. The sentence states which bytes changed, or which
 * blocks were lost, repeated or moved, but no cause. The first bytes of a block
 * identify its place, because all places of a message are different.
 */
#include "difference.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "change.h"
#include "modes/lib/text.h"

enum {
	EXPLAINED = 64,		/* bytes that a changed byte has to explain */
	CONVINCING = 16,	/* bytes that must have come back at least */
	UNIQUE = 8,		/* bytes that occur only once in a message */
	SEARCHED = 4,		/* fewer bytes may be equal by chance */
	MANY = 4096,		/* surplus bytes that are not counted */
	RANGE = 1024 * 1024	/* how far a block is searched for, in bytes */
};

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Whether a change explains the bytes from the first wrong one on. */
static bool
change_explains(int change, const struct talk *t)
{
	unsigned char sent[EXPLAINED], changed[CHANGE_GROWTH * EXPLAINED];
	size_t n = message_bytes(&t->plan.message, t->differs_at, sent,
	    EXPLAINED);
	size_t size = min_size(change_apply(change, sent, n, changed),
	    t->wrong_size);

	return size >= CONVINCING && memcmp(changed, t->wrong, size) == 0;
}

/* The sentence for the change of single bytes that explains t, or NULL. */
static const char *
find_byte_change(const struct talk *t)
{
	for (int i = 0; i < change_count; i++)
		if (!change_depends_on_reads(i) && change_explains(i, t))
			return change_sentence(i);
	return NULL;
}

/* The part of the message around the first wrong byte. */
struct context {
	unsigned char *bytes;
	size_t size;
	size_t at;		/* index of the first wrong byte */
};

/* Returns false if there is no memory. The caller frees c->bytes. */
static bool
load_context(struct context *c, const struct talk *t)
{
	c->at = (size_t)(t->differs_at < RANGE ? t->differs_at : RANGE);
	c->bytes = malloc(2 * RANGE);
	if (c->bytes == NULL)
		return false;
	c->size = message_bytes(&t->plan.message, t->differs_at - c->at,
	    c->bytes, 2 * RANGE);
	return true;
}

/* How many bytes to compare when a place in the message is searched for. */
static size_t
search_size(const struct context *c, const struct talk *t)
{
	return min_size(UNIQUE, min_size(c->size - c->at, t->wrong_size));
}

/* The number of wrong bytes before the right ones follow; 0: they do not. */
static size_t
count_inserted(const struct context *c, const struct talk *t)
{
	const unsigned char *right = c->bytes + c->at, *found;
	size_t rest = c->size - c->at;

	/*
	 * Such a short rest may also occur within the inserted bytes, so it is
	 * searched for at the end.
	 */
	if (rest < UNIQUE && t->wrong_size > rest &&
	    memcmp(t->wrong + t->wrong_size - rest, right, rest) == 0)
		return t->wrong_size - rest;
	found = memmem(t->wrong, t->wrong_size, right, search_size(c, t));
	return found == NULL ? 0 : (size_t)(found - t->wrong);
}

/*
 * How many bytes of the message are missing before the wrong bytes; 0: none.
 * The search has no limit, because a short write can lose megabytes.
 */
static uint64_t
count_lost(const struct context *c, const struct talk *t)
{
	static unsigned char bytes[RANGE];
	size_t n = search_size(c, t), size;

	for (uint64_t from = t->differs_at;
	    (size = message_bytes(&t->plan.message, from, bytes,
	    RANGE)) >= n; from += RANGE - n + 1) {
		const unsigned char *found = memmem(bytes, size, t->wrong, n);

		if (found != NULL)
			return from + (uint64_t)(found - bytes) -
			    t->differs_at;
	}
	return 0;
}

/* How many bytes before the first wrong one the message repeats; 0: none. */
static size_t
count_repeated(const struct context *c, const struct talk *t)
{
	const unsigned char *right = c->bytes + c->at;
	const unsigned char *found = memmem(c->bytes, c->at, t->wrong,
	    search_size(c, t));

	return found == NULL ? 0 : (size_t)(right - found);
}

/* The size of a block that came back in reverse order; 0: none did. */
static size_t
count_reversed(const struct context *c, const struct talk *t)
{
	const unsigned char *right = c->bytes + c->at, *found;
	unsigned char reversed[UNIQUE];
	size_t n = search_size(c, t);

	for (size_t i = 0; i < n; i++)
		reversed[i] = t->wrong[n - 1 - i];
	found = memmem(right, c->size - c->at, reversed, n);
	return found == NULL ? 0 : (size_t)(found - right) + n;
}

/* Whether the first two wrong bytes are the right ones in reverse order. */
static bool
is_exchange(const struct context *c, const struct talk *t)
{
	const unsigned char *right = c->bytes + c->at;

	return c->size - c->at > 1 && t->wrong_size > 1 &&
	    t->wrong[0] == right[1] && t->wrong[1] == right[0];
}

/* Describes a few changed bytes if all other bytes are in their places. */
static bool
describe_damage(char *out, const struct context *c, const struct talk *t)
{
	size_t n = min_size(t->wrong_size, c->size - c->at), count = 0;

	for (size_t i = 0; i < n; i++)
		count += t->wrong[i] != c->bytes[c->at + i];
	if (t->wrong_size > n || (count > 1 && count > n / 4 &&
	    !(count == 2 && is_exchange(c, t))))
		return false;
	if (count == 1)
		snprintf(out, DIFFERENCE_SIZE, "one byte changed: 0x%02x became "
		    "0x%02x at offset %" PRIu64, c->bytes[c->at], t->wrong[0],
		    t->differs_at);
	else if (count == 2 && is_exchange(c, t))
		snprintf(out, DIFFERENCE_SIZE, "two neighbouring bytes were "
		    "exchanged at offset %" PRIu64, t->differs_at);
	else
		snprintf(out, DIFFERENCE_SIZE, "%zu of %zu bytes changed from "
		    "offset %" PRIu64 " on", count, n, t->differs_at);
	return true;
}

static const char *
was_or_were(uint64_t n)
{
	return n == 1 ? " was" : "s were";
}

/* How many of the inserted bytes are the same as those before them. */
static size_t
count_doubled(const struct context *c, const struct talk *t, size_t inserted)
{
	return inserted <= c->at && memcmp(t->wrong, c->bytes + c->at -
	    inserted, inserted) == 0 ? inserted : 0;
}

/* Describes bytes that were swapped, doubled, inserted, lost or reversed. */
static bool
describe_move(char *out, const struct context *c, const struct talk *t)
{
	size_t inserted = count_inserted(c, t);
	size_t repeated = count_repeated(c, t);
	size_t reversed = count_reversed(c, t);
	size_t doubled = count_doubled(c, t, inserted);
	uint64_t lost = count_lost(c, t), at = t->differs_at;

	if (search_size(c, t) < SEARCHED)
		return false;
	if (doubled > 0)
		repeated = doubled;
	if (inserted > 0 && lost > 0 && doubled == 0)
		snprintf(out, DIFFERENCE_SIZE, "blocks of %zu and %" PRIu64
		    " bytes were swapped at offset %" PRIu64, inserted, lost,
		    at);
	else if (repeated > 0 && (inserted == 0 || repeated == inserted))
		snprintf(out, DIFFERENCE_SIZE, "%zu byte%s doubled at offset %"
		    PRIu64, repeated, was_or_were(repeated), at - repeated);
	else if (inserted > 0 && at == 0)
		snprintf(out, DIFFERENCE_SIZE, "%zu unexpected byte%s came "
		    "before the echo", inserted, PLURAL(inserted));
	else if (inserted > 0)
		snprintf(out, DIFFERENCE_SIZE, "%zu byte%s inserted at offset %"
		    PRIu64, inserted, was_or_were(inserted), at);
	else if (lost > 0)
		snprintf(out, DIFFERENCE_SIZE, "%" PRIu64 " byte%s lost at "
		    "offset %" PRIu64 "%s", lost, was_or_were(lost), at,
		    t->plan.flags & NO_READ ? ", while the client did not "
		    "read" : "");
	else if (reversed > 1)
		snprintf(out, DIFFERENCE_SIZE, "a block of %zu bytes came back "
		    "in reverse order at offset %" PRIu64, reversed, at);
	else
		return false;
	return true;
}

static void
describe_change(char *out, const struct talk *t)
{
	const char *sentence = find_byte_change(t);
	struct context c;

	if (sentence != NULL) {
		snprintf(out, DIFFERENCE_SIZE, "%s", sentence);
		return;
	}
	if (!load_context(&c, t)) {
		snprintf(out, DIFFERENCE_SIZE, "the bytes differ from those "
		    "that were sent");
		return;
	}
	if (!describe_damage(out, &c, t) && !describe_move(out, &c, t))
		snprintf(out, DIFFERENCE_SIZE, "the bytes differ from those "
		    "that were sent, from offset %" PRIu64 " on",
		    t->differs_at);
	free(c.bytes);
}

/* Whether all wrong bytes are NUL bytes. */
static bool
is_all_nul(const struct talk *t)
{
	size_t n = 0;

	while (n < t->wrong_size && t->wrong[n] == '\0')
		n++;
	return n == t->wrong_size;
}

static bool
is_line_end(const struct talk *t)
{
	return (t->wrong_size == 1 && t->wrong[0] == '\n') ||
	    (t->wrong_size == 2 && memcmp(t->wrong, "\r\n", 2) == 0);
}

/* Describes bytes that came back after the whole message. */
static void
describe_surplus(char *out, const struct talk *t)
{
	unsigned char sent[EXPLAINED];
	size_t n = message_bytes(&t->plan.message, 0, sent, EXPLAINED);
	const char *more = t->wrong_size > MANY ? "more than " : "";
	size_t count = t->wrong_size > MANY ? MANY : t->wrong_size;
	bool repeats = n > 0 &&
	    memcmp(t->wrong, sent, min_size(n, t->wrong_size)) == 0;

	if (repeats && t->wrong_size >= t->differs_at)
		snprintf(out, DIFFERENCE_SIZE, "the whole message came twice");
	else if (repeats)
		snprintf(out, DIFFERENCE_SIZE, "the beginning of the message "
		    "came again");
	else if (t->differs_at == 0)
		snprintf(out, DIFFERENCE_SIZE, "%s%zu byte%s came before the "
		    "client had sent any", more, count, PLURAL(count));
	else if (is_all_nul(t) && t->wrong_size == 1)
		snprintf(out, DIFFERENCE_SIZE, "a NUL byte was added");
	else if (is_all_nul(t))
		snprintf(out, DIFFERENCE_SIZE, "%s%zu NUL bytes were added",
		    more, count);
	else if (is_line_end(t))
		snprintf(out, DIFFERENCE_SIZE, "a line end was added");
	else
		snprintf(out, DIFFERENCE_SIZE, "%s%zu surplus byte%s came "
		    "after the message", more, count, PLURAL(count));
}

void
difference_describe(char out[DIFFERENCE_SIZE], const struct talk *t)
{
	if (t->differs_at == t->plan.message.size)
		describe_surplus(out, t);
	else
		describe_change(out, t);
}
