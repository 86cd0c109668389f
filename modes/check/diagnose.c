/*
 * Applies the usual mistakes to the bytes that were sent, and compares the
 * result with the bytes that came back. Mistakes that change single bytes
 * (case, line ends, NUL, encodings) are tried first, then mistakes that lose,
 * repeat or move whole blocks. A block is found again by its first bytes,
 * because no two places of a message are alike.
 */
#include "diagnose.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/text.h"
#include "talk.h"

enum {
	EXPLAINED = 64,		/* bytes that a changed byte has to explain */
	UNIQUE = 8,		/* bytes that occur once in a message */
	RANGE = 1024 * 1024,	/* how far a block is searched for, in bytes */
	LARGE = 4096		/* a loss of this size is a block, in bytes */
};

/*
 * A mistake that acts on single bytes: writes what becomes of one byte to out,
 * and returns the number of bytes, at most 3.
 */
typedef size_t byte_change(unsigned char in, unsigned char out[3]);

static size_t
put_byte(unsigned char byte, unsigned char *out)
{
	*out = byte;
	return 1;
}

static size_t
make_upper_case(unsigned char in, unsigned char *out)
{
	return put_byte(in >= 'a' && in <= 'z' ? in & 0xdf : in, out);
}

static size_t
make_lower_case(unsigned char in, unsigned char *out)
{
	return put_byte(in >= 'A' && in <= 'Z' ? in | 0x20 : in, out);
}

static size_t
insert_cr(unsigned char in, unsigned char *out)
{
	if (in != '\n')
		return put_byte(in, out);
	out[0] = '\r';
	out[1] = '\n';
	return 2;
}

static size_t
drop_cr(unsigned char in, unsigned char *out)
{
	return in == '\r' ? 0 : put_byte(in, out);
}

static size_t
drop_newline(unsigned char in, unsigned char *out)
{
	return in == '\n' ? 0 : put_byte(in, out);
}

static size_t
drop_nul(unsigned char in, unsigned char *out)
{
	return in == '\0' ? 0 : put_byte(in, out);
}

static size_t
drop_control(unsigned char in, unsigned char *out)
{
	return in < ' ' ? 0 : put_byte(in, out);
}

static size_t
drop_high(unsigned char in, unsigned char *out)
{
	return in >= 0x80 ? 0 : put_byte(in, out);
}

static size_t
clear_high_bit(unsigned char in, unsigned char *out)
{
	return put_byte(in & 0x7f, out);
}

static size_t
high_to_question_mark(unsigned char in, unsigned char *out)
{
	return put_byte(in >= 0x80 ? '?' : in, out);
}

static size_t
high_to_replacement(unsigned char in, unsigned char *out)
{
	if (in < 0x80)
		return put_byte(in, out);
	out[0] = 0xef;		/* U+FFFD in UTF-8 */
	out[1] = 0xbf;
	out[2] = 0xbd;
	return 3;
}

static size_t
latin1_to_utf8(unsigned char in, unsigned char *out)
{
	if (in < 0x80)
		return put_byte(in, out);
	out[0] = 0xc0 | in >> 6;
	out[1] = 0x80 | (in & 0x3f);
	return 2;
}

static size_t
double_255(unsigned char in, unsigned char *out)
{
	out[0] = out[1] = in;
	return in == 0xff ? 2 : 1;
}

static const struct {
	byte_change *apply;
	const char *sentence;
} byte_changes[] = {
	{ make_upper_case, "lower case became upper case" },
	{ make_lower_case, "upper case became lower case" },
	{ insert_cr,
	    "a CR was inserted before a newline: a stream in text mode?" },
	{ drop_cr, "a CR was dropped: a stream in text mode?" },
	{ drop_newline, "a newline was dropped" },
	{ drop_nul, "a NUL byte was dropped: a string function?" },
	{ drop_control, "a control byte was dropped" },
	{ drop_high,
	    "bytes above 127 were dropped: does the server expect ASCII?" },
	{ clear_high_bit,
	    "the eighth bit was cleared: does the server expect ASCII?" },
	{ high_to_question_mark,
	    "bytes above 127 became ?: does the server expect ASCII?" },
	{ high_to_replacement, "bytes that are not UTF-8 were replaced by "
	    "U+FFFD: does the server decode text?" },
	{ latin1_to_utf8, "bytes above 127 were encoded as UTF-8: does the "
	    "server decode them as Latin-1?" },
	{ double_255, "byte 255 was doubled: the escape of telnet?" }
};

enum { BYTE_CHANGES = sizeof(byte_changes) / sizeof(*byte_changes) };

static size_t
min_size(size_t a, size_t b)
{
	return a < b ? a : b;
}

/*
 * Applies a change to n bytes, at most EXPLAINED. Returns the number of bytes
 * written to out.
 */
static size_t
apply_change(byte_change *apply, const unsigned char *in, size_t n,
    unsigned char out[3 * EXPLAINED])
{
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += apply(in[i], out + size);
	return size;
}

/* Whether a change explains the bytes from the first wrong one on. */
static bool
change_explains(byte_change *apply, const struct talk *t)
{
	unsigned char sent[EXPLAINED], changed[3 * EXPLAINED];
	size_t n = talk_message_bytes(&t->plan.message, t->differs_at, sent,
	    EXPLAINED);
	size_t size = min_size(apply_change(apply, sent, n, changed),
	    t->wrong_size);

	return size > 0 && memcmp(changed, t->wrong, size) == 0;
}

/* The sentence for the change that explains the wrong bytes, or NULL. */
static const char *
find_byte_change(const struct talk *t)
{
	for (int i = 0; i < BYTE_CHANGES; i++)
		if (change_explains(byte_changes[i].apply, t))
			return byte_changes[i].sentence;
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
	c->size = talk_message_bytes(&t->plan.message, t->differs_at - c->at,
	    c->bytes, 2 * RANGE);
	return true;
}

/* How many bytes to compare when a place in the message is searched for. */
static size_t
search_size(const struct context *c, const struct talk *t)
{
	return min_size(UNIQUE, min_size(c->size - c->at, t->wrong_size));
}

/* After how many wrong bytes the right ones follow; 0: they do not follow. */
static size_t
count_inserted(const struct context *c, const struct talk *t)
{
	const unsigned char *right = c->bytes + c->at, *found;
	size_t rest = c->size - c->at;

	/*
	 * A rest this short may also occur within the inserted bytes, so look
	 * for it at the end.
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
	    (size = talk_message_bytes(&t->plan.message, from, bytes,
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

/* A few bytes have changed, and the many others are in their places. */
static bool
diagnose_damage(char *out, const struct context *c, const struct talk *t)
{
	size_t n = min_size(t->wrong_size, c->size - c->at), count = 0;

	for (size_t i = 0; i < n; i++)
		count += t->wrong[i] != c->bytes[c->at + i];
	if (t->wrong_size > n || (count > 1 && count > n / 4))
		return false;
	if (count == 1)
		snprintf(out, DIAGNOSE_SIZE, "one byte changed: 0x%02x became "
		    "0x%02x at offset %" PRIu64, c->bytes[c->at], t->wrong[0],
		    t->differs_at);
	else
		snprintf(out, DIAGNOSE_SIZE, "%zu of %zu bytes changed from "
		    "offset %" PRIu64 " on", count, n, t->differs_at);
	return true;
}

static const char *
was_or_were(uint64_t n)
{
	return n == 1 ? " was" : "s were";
}

/* Bytes were swapped, doubled, inserted, lost or reversed. */
static bool
diagnose_move(char *out, const struct context *c, const struct talk *t)
{
	size_t inserted = count_inserted(c, t);
	size_t repeated = count_repeated(c, t);
	size_t reversed = count_reversed(c, t);
	uint64_t lost = count_lost(c, t), at = t->differs_at;

	if (inserted > 0 && lost > 0)
		snprintf(out, DIAGNOSE_SIZE, "blocks of %zu and %" PRIu64
		    " bytes were swapped at offset %" PRIu64, inserted, lost,
		    at);
	else if (repeated > 0 && (inserted == 0 || repeated == inserted))
		snprintf(out, DIAGNOSE_SIZE, "%zu byte%s doubled at offset %"
		    PRIu64, repeated, was_or_were(repeated), at - repeated);
	else if (inserted > 0 && at == 0)
		snprintf(out, DIAGNOSE_SIZE, "%zu unexpected byte%s came "
		    "before the echo: a banner?", inserted, PLURAL(inserted));
	else if (inserted > 0)
		snprintf(out, DIAGNOSE_SIZE, "%zu byte%s inserted at offset %"
		    PRIu64, inserted, was_or_were(inserted), at);
	else if (lost > 0)
		snprintf(out, DIAGNOSE_SIZE, "%" PRIu64 " byte%s lost at "
		    "offset %" PRIu64 "%s", lost, was_or_were(lost), at,
		    lost >= LARGE ? ": the rest of a short write?" : "");
	else if (reversed > 1)
		snprintf(out, DIAGNOSE_SIZE, "a block of %zu bytes came back "
		    "in reverse order at offset %" PRIu64, reversed, at);
	else
		return false;
	return true;
}

static void
diagnose_difference(char *out, const struct talk *t)
{
	const char *sentence = find_byte_change(t);
	struct context c;

	if (sentence != NULL) {
		snprintf(out, DIAGNOSE_SIZE, "%s", sentence);
		return;
	}
	if (!load_context(&c, t)) {
		snprintf(out, DIAGNOSE_SIZE, "the bytes differ from those "
		    "that were sent");
		return;
	}
	if (!diagnose_damage(out, &c, t) && !diagnose_move(out, &c, t))
		snprintf(out, DIAGNOSE_SIZE, "the bytes differ from those "
		    "that were sent, from offset %" PRIu64 " on",
		    t->differs_at);
	free(c.bytes);
}

/* The whole message came back, and then more bytes. */
static void
diagnose_surplus(char *out, const struct talk *t)
{
	unsigned char sent[EXPLAINED];
	size_t n = talk_message_bytes(&t->plan.message, 0, sent, EXPLAINED);
	bool repeats = n > 0 &&
	    memcmp(t->wrong, sent, min_size(n, t->wrong_size)) == 0;

	if (repeats && t->wrong_size >= t->differs_at)
		snprintf(out, DIAGNOSE_SIZE, "the whole message came twice");
	else if (repeats)
		snprintf(out, DIAGNOSE_SIZE, "the beginning of the message "
		    "came again");
	else if (t->differs_at == 0)
		snprintf(out, DIAGNOSE_SIZE, "%zu byte%s came before the "
		    "client had sent any: a banner?", t->wrong_size,
		    PLURAL(t->wrong_size));
	else if (t->wrong[0] == '\0')
		snprintf(out, DIAGNOSE_SIZE, "a NUL byte was added: does the "
		    "server send the end of a C string?");
	else if (t->wrong[0] == '\n' || t->wrong[0] == '\r')
		snprintf(out, DIAGNOSE_SIZE, "a line end was added");
	else
		snprintf(out, DIAGNOSE_SIZE, "%zu surplus byte%s came after "
		    "the message", t->wrong_size, PLURAL(t->wrong_size));
}

/*
 * The sentence for a change that drops every byte of what is missing at the
 * end of the message, or NULL.
 */
static const char *
find_dropping_change(const struct talk *t)
{
	unsigned char missing[EXPLAINED], changed[3 * EXPLAINED];
	size_t n = talk_message_bytes(&t->plan.message, t->received, missing,
	    EXPLAINED);

	for (int i = 0; i < BYTE_CHANGES; i++)
		if (apply_change(byte_changes[i].apply, missing, n,
		    changed) == 0)
			return byte_changes[i].sentence;
	return n > 0 && missing[0] == '\0' ?
	    "the bytes from a NUL byte on were dropped: a string function?" :
	    NULL;
}

static bool
stopped_after_first_burst(const struct talk *t)
{
	return t->received > 0 && t->received == t->plan.burst;
}

static void
diagnose_timeout(char *out, const struct talk *t)
{
	const char *sentence = find_dropping_change(t);

	if (t->received >= t->plan.message.size)
		snprintf(out, DIAGNOSE_SIZE, "did not close after the "
		    "client's end of file");
	else if (t->probe == PROBE_NEWLINE)
		snprintf(out, DIAGNOSE_SIZE, "answered only after a newline: "
		    "does the server read lines?");
	else if (t->probe == PROBE_FIN)
		snprintf(out, DIAGNOSE_SIZE, "answered only after the "
		    "client's end of file: does the server read until then, "
		    "or not flush its output?");
	else if (sentence != NULL)
		snprintf(out, DIAGNOSE_SIZE, "%s", sentence);
	else if (t->received == 0)
		snprintf(out, DIAGNOSE_SIZE, "did not answer%s",
		    t->probe == PROBE_LOST ? ", but answered a later byte" :
		    "");
	else if (stopped_after_first_burst(t) && t->plan.pause > 0)
		snprintf(out, DIAGNOSE_SIZE, "did not answer any more after a "
		    "pause");
	else
		snprintf(out, DIAGNOSE_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes", t->probe == PROBE_LOST ? "lost the rest" :
		    "stopped", t->received, t->plan.message.size);
}

static const char *
question_about_close(const struct talk *t)
{
	if (stopped_after_first_burst(t))
		return "one message per connection?";
	if (!t->fin_sent)
		return "one recv per connection?";
	if (t->end == TALK_ERROR)
		return "does the server close with unread input?";
	return "does the server drop pending output at end of file?";
}

static void
diagnose_close(char *out, const struct talk *t)
{
	bool was_reset = t->end == TALK_ERROR;
	const char *how = was_reset ? "reset the connection" : "closed";
	const char *question = question_about_close(t);

	if (t->received >= t->plan.message.size)
		snprintf(out, DIAGNOSE_SIZE, "%s%s", how, was_reset ?
		    " instead of closing it" : "");
	else if (t->received == 0)
		snprintf(out, DIAGNOSE_SIZE, "%s without an answer%s%s", how,
		    t->fin_sent ? ": " : "", t->fin_sent ? question : "");
	else
		snprintf(out, DIAGNOSE_SIZE, "%s after %" PRIu64 " of %" PRIu64
		    " bytes: %s", how, t->received, t->plan.message.size,
		    question);
}

const char *
diagnose_talk(char out[DIAGNOSE_SIZE], const struct talk *t)
{
	if (t->differs && t->differs_at == t->plan.message.size)
		diagnose_surplus(out, t);
	else if (t->differs)
		diagnose_difference(out, t);
	else if (t->end == TALK_TIMEOUT)
		diagnose_timeout(out, t);
	else
		diagnose_close(out, t);
	return out;
}
