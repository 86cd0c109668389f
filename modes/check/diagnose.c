/*
 * The bytes that came are compared with what the usual mistakes would have
 * made of those that were sent: first the ones that change single bytes (case,
 * line ends, NUL, encodings), then those that lose or move whole blocks, which
 * is seen because no two places of a message are alike.
 */
#include "diagnose.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "talk.h"
#include "modes/lib/text.h"

enum {
	SEEN = 64,		/* bytes that a mistake has to explain */
	ENOUGH = 8,		/* bytes that are nowhere alike */
	FAR = 1024 * 1024,	/* how far off a block is looked for */
	LARGE = 4096		/* bytes that are not lost one by one */
};

/* What becomes of one byte; the number of bytes in out, at most 3. */
typedef size_t change(unsigned char, unsigned char out[3]);

static size_t
one(unsigned char byte, unsigned char *out)
{
	*out = byte;
	return 1;
}

static size_t
to_upper(unsigned char in, unsigned char *out)
{
	return one(in >= 'a' && in <= 'z' ? in & 0xdf : in, out);
}

static size_t
to_lower(unsigned char in, unsigned char *out)
{
	return one(in >= 'A' && in <= 'Z' ? in | 0x20 : in, out);
}

static size_t
with_cr(unsigned char in, unsigned char *out)
{
	if (in != '\n')
		return one(in, out);
	out[0] = '\r';
	out[1] = '\n';
	return 2;
}

static size_t
without_cr(unsigned char in, unsigned char *out)
{
	return in == '\r' ? 0 : one(in, out);
}

static size_t
without_newline(unsigned char in, unsigned char *out)
{
	return in == '\n' ? 0 : one(in, out);
}

static size_t
without_nul(unsigned char in, unsigned char *out)
{
	return in == '\0' ? 0 : one(in, out);
}

static size_t
without_control(unsigned char in, unsigned char *out)
{
	return in < ' ' ? 0 : one(in, out);
}

static size_t
without_high(unsigned char in, unsigned char *out)
{
	return in >= 0x80 ? 0 : one(in, out);
}

static size_t
seven_bits(unsigned char in, unsigned char *out)
{
	return one(in & 0x7f, out);
}

static size_t
question_mark(unsigned char in, unsigned char *out)
{
	return one(in >= 0x80 ? '?' : in, out);
}

static size_t
replacement(unsigned char in, unsigned char *out)
{
	if (in < 0x80)
		return one(in, out);
	out[0] = 0xef;		/* U+FFFD in UTF-8 */
	out[1] = 0xbf;
	out[2] = 0xbd;
	return 3;
}

static size_t
latin1_to_utf8(unsigned char in, unsigned char *out)
{
	if (in < 0x80)
		return one(in, out);
	out[0] = 0xc0 | in >> 6;
	out[1] = 0x80 | (in & 0x3f);
	return 2;
}

static size_t
doubled_255(unsigned char in, unsigned char *out)
{
	out[0] = out[1] = in;
	return in == 0xff ? 2 : 1;
}

static const struct {
	change *mistake;
	const char *says;
} changes[] = {
	{ to_upper, "lower case became upper case" },
	{ to_lower, "upper case became lower case" },
	{ with_cr, "a CR was put before a newline: a stream in text mode?" },
	{ without_cr, "a CR was dropped: a stream in text mode?" },
	{ without_newline, "a newline was dropped" },
	{ without_nul, "a NUL byte was dropped: a string function?" },
	{ without_control, "a control byte was dropped" },
	{ without_high, "bytes above 127 were dropped: is it for ASCII only?" },
	{ seven_bits, "the eighth bit was cleared: is it for ASCII only?" },
	{ question_mark, "bytes above 127 became ?: is it for ASCII only?" },
	{ replacement, "bytes that are not UTF-8 were replaced by U+FFFD: "
	    "does it decode text?" },
	{ latin1_to_utf8, "bytes above 127 were encoded as UTF-8: does it "
	    "decode them as Latin-1?" },
	{ doubled_255, "byte 255 was doubled: telnet's escape?" }
};

static size_t
smaller(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Whether that change, from the first wrong byte on, explains what came. */
static bool
explains(change *mistake, const struct talk *t)
{
	unsigned char sent[SEEN], made[3 * SEEN];
	size_t n = message_bytes(&t->plan.message, t->at, sent, SEEN);
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += mistake(sent[i], made + size);
	size = smaller(size, t->caught);
	return size > 0 && memcmp(made, t->got, size) == 0;
}

static const char *
changed(const struct talk *t)
{
	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++)
		if (explains(changes[i].mistake, t))
			return changes[i].says;
	return NULL;
}

/* What was sent around the first wrong byte. */
struct around {
	unsigned char *bytes;
	size_t size;
	size_t at;		/* where that byte is in it */
};

static bool
look_around(struct around *a, const struct talk *t)
{
	a->at = (size_t)(t->at < FAR ? t->at : FAR);
	a->bytes = malloc(2 * FAR);
	if (a->bytes == NULL)
		return false;
	a->size = message_bytes(&t->plan.message, t->at - a->at, a->bytes,
	    2 * FAR);
	return true;
}

/* How many bytes are enough to know a place again. */
static size_t
enough(const struct around *a, const struct talk *t)
{
	return smaller(ENOUGH, smaller(a->size - a->at, t->caught));
}

/* After how many bytes of what came it goes on as it was sent; 0: never. */
static size_t
inserted(const struct around *a, const struct talk *t)
{
	const unsigned char *here = a->bytes + a->at, *found;
	size_t rest = a->size - a->at;

	/* So few that they may be in what was put in as well. */
	if (rest < ENOUGH && t->caught > rest &&
	    memcmp(t->got + t->caught - rest, here, rest) == 0)
		return t->caught - rest;
	found = memmem(t->got, t->caught, here, enough(a, t));
	return found == NULL ? 0 : (size_t)(found - t->got);
}

/*
 * How many bytes are left out of what was sent; 0: that is not it. However
 * many: the rest of a short write may be megabytes.
 */
static uint64_t
lost(const struct around *a, const struct talk *t)
{
	static unsigned char bytes[FAR];
	size_t n = enough(a, t), size;

	for (uint64_t from = t->at; (size = message_bytes(&t->plan.message,
	    from, bytes, FAR)) >= n; from += FAR - n + 1) {
		const unsigned char *found = memmem(bytes, size, t->got, n);

		if (found != NULL)
			return from + (uint64_t)(found - bytes) - t->at;
	}
	return 0;
}

/* How far back in what was sent it starts again; 0: that is not it. */
static size_t
repeated(const struct around *a, const struct talk *t)
{
	const unsigned char *here = a->bytes + a->at;
	const unsigned char *found = memmem(a->bytes, a->at, t->got,
	    enough(a, t));

	return found == NULL ? 0 : (size_t)(here - found);
}

/* The size of a block that came back to front; 0: that is not it. */
static size_t
reversed(const struct around *a, const struct talk *t)
{
	const unsigned char *here = a->bytes + a->at, *found;
	unsigned char back[ENOUGH];
	size_t n = enough(a, t);

	for (size_t i = 0; i < n; i++)
		back[i] = t->got[n - 1 - i];
	found = memmem(here, a->size - a->at, back, n);
	return found == NULL ? 0 : (size_t)(found - here) + n;
}

/* A few bytes are others, in their places, between many that are right. */
static bool
is_damaged(char *out, const struct around *a, const struct talk *t)
{
	size_t n = smaller(t->caught, a->size - a->at), count = 0;

	for (size_t i = 0; i < n; i++)
		count += t->got[i] != a->bytes[a->at + i];
	if (t->caught > n || (count > 1 && count > n / 4))
		return false;
	if (count == 1)
		snprintf(out, BLAME_SIZE, "one byte is another: 0x%02x became "
		    "0x%02x at offset %" PRIu64, a->bytes[a->at], t->got[0],
		    t->at);
	else
		snprintf(out, BLAME_SIZE, "%zu of %zu bytes are others from "
		    "offset %" PRIu64 " on", count, n, t->at);
	return true;
}

static bool
is_moved(char *out, const struct around *a, const struct talk *t)
{
	size_t more = inserted(a, t);
	size_t again = repeated(a, t), block = reversed(a, t);
	uint64_t less = lost(a, t);

	if (more > 0 && less > 0)
		snprintf(out, BLAME_SIZE, "blocks of %zu and %" PRIu64
		    " bytes were swapped at offset %" PRIu64, more, less,
		    t->at);
	else if (again > 0 && (more == 0 || again == more))
		snprintf(out, BLAME_SIZE, "%zu byte%s doubled at offset %"
		    PRIu64, again, again == 1 ? " was" : "s were",
		    t->at - again);
	else if (more > 0 && t->at == 0)
		snprintf(out, BLAME_SIZE, "%zu byte%s came first that nobody "
		    "had sent: a banner?", more, PLURAL(more));
	else if (more > 0)
		snprintf(out, BLAME_SIZE, "%zu byte%s put in at offset %"
		    PRIu64, more, more == 1 ? " was" : "s were", t->at);
	else if (less > 0)
		snprintf(out, BLAME_SIZE, "%" PRIu64 " byte%s lost at offset %"
		    PRIu64 "%s", less, less == 1 ? " was" : "s were", t->at,
		    less >= LARGE ? ": the rest of a short write?" : "");
	else if (block > 1)
		snprintf(out, BLAME_SIZE, "a block of %zu bytes came back to "
		    "front at offset %" PRIu64, block, t->at);
	else
		return false;
	return true;
}

static void
blame_difference(char *out, const struct talk *t)
{
	const char *says = changed(t);
	struct around a;

	if (says != NULL) {
		snprintf(out, BLAME_SIZE, "%s", says);
		return;
	}
	if (!look_around(&a, t)) {
		snprintf(out, BLAME_SIZE, "other bytes than were sent");
		return;
	}
	if (!is_damaged(out, &a, t) && !is_moved(out, &a, t))
		snprintf(out, BLAME_SIZE, "other bytes than were sent from "
		    "offset %" PRIu64 " on", t->at);
	free(a.bytes);
}

/* It is all there, and there is more. */
static void
blame_surplus(char *out, const struct talk *t)
{
	unsigned char sent[SEEN];
	size_t n = message_bytes(&t->plan.message, 0, sent, SEEN);
	bool again = n > 0 && memcmp(t->got, sent, smaller(n, t->caught)) == 0;

	if (again && t->caught >= t->at)
		snprintf(out, BLAME_SIZE, "everything came twice");
	else if (again)
		snprintf(out, BLAME_SIZE, "the beginning came again");
	else if (t->at == 0)
		snprintf(out, BLAME_SIZE, "%zu byte%s came that nobody had "
		    "sent: a banner?", t->caught, PLURAL(t->caught));
	else if (t->got[0] == '\0')
		snprintf(out, BLAME_SIZE, "a NUL byte was added: does it send "
		    "the end of its string?");
	else if (t->got[0] == '\n' || t->got[0] == '\r')
		snprintf(out, BLAME_SIZE, "a line end was added");
	else
		snprintf(out, BLAME_SIZE, "%zu byte%s too many came after the "
		    "end", t->caught, PLURAL(t->caught));
}

/* What makes just the bytes vanish that are missing at the end. */
static const char *
vanished(const struct talk *t)
{
	unsigned char left[SEEN], made[3 * SEEN];
	size_t n = message_bytes(&t->plan.message, t->back, left, SEEN);

	for (size_t i = 0; i < sizeof(changes) / sizeof(*changes); i++) {
		size_t size = 0;

		for (size_t j = 0; j < n; j++)
			size += changes[i].mistake(left[j], made + size);
		if (size == 0)
			return changes[i].says;
	}
	return n > 0 && left[0] == '\0' ?
	    "what begins with a NUL byte was dropped: a string function?" :
	    NULL;
}

static bool
is_after_first_burst(const struct talk *t)
{
	return t->back > 0 && t->back == t->plan.burst;
}

static void
blame_silence(char *out, const struct talk *t)
{
	uint64_t size = t->plan.message.size;
	const char *says = vanished(t);

	if (t->back >= size)
		snprintf(out, BLAME_SIZE, "did not close after the client's "
		    "end of file");
	else if (t->held == UNTIL_NEWLINE)
		snprintf(out, BLAME_SIZE, "answered when a newline came, not "
		    "before: does it read lines?");
	else if (t->held == UNTIL_FIN)
		snprintf(out, BLAME_SIZE, "answered when the client had "
		    "finished, not before: does it read up to end of file, or "
		    "not flush?");
	else if (says != NULL)
		snprintf(out, BLAME_SIZE, "%s", says);
	else if (t->back == 0)
		snprintf(out, BLAME_SIZE, "did not answer%s",
		    t->held == DROPPED ? ", but to the next byte" : "");
	else if (is_after_first_burst(t) && t->plan.pause > 0)
		snprintf(out, BLAME_SIZE, "did not answer any more after a "
		    "pause");
	else
		snprintf(out, BLAME_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes", t->held == DROPPED ? "lost the rest" : "stopped",
		    t->back, size);
}

static void
blame_close(char *out, const struct talk *t)
{
	const char *how = t->ending == BROKEN ? "reset the connection" :
	    "closed";
	const char *why = is_after_first_burst(t) ?
	    "one message per connection?" : !t->finished ?
	    "one recv per connection?" : t->ending == BROKEN ?
	    "does it close with input unread?" :
	    "does it drop what it owes when the client has finished?";

	if (t->back >= t->plan.message.size)
		snprintf(out, BLAME_SIZE, "%s where end of file was due", how);
	else if (t->back == 0)
		snprintf(out, BLAME_SIZE, "%s without an answer%s%s", how,
		    t->finished ? ": " : "", t->finished ? why : "");
	else
		snprintf(out, BLAME_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes: %s", how, t->back, t->plan.message.size, why);
}

const char *
blame(char out[BLAME_SIZE], const struct talk *t)
{
	if (t->differs && t->at == t->plan.message.size)
		blame_surplus(out, t);
	else if (t->differs)
		blame_difference(out, t);
	else if (t->ending == LATE)
		blame_silence(out, t);
	else
		blame_close(out, t);
	return out;
}
