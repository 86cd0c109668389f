/*
 * Fuzz target: text_quote() and text_json(), which write the data of clients
 * into a log. Their results are decoded: a quoted string that contains only
 * safe characters and escapes, and these are the first bytes of the input.
 */
#include "modes/lib/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void
must(bool holds)
{
	if (!holds)
		abort();
}

static bool
within(const unsigned char *p, unsigned char low, unsigned char high)
{
	return *p >= low && *p <= high;
}

static bool
are_tails(const unsigned char *p, int n)
{
	for (int i = 0; i < n; i++)
		if (!within(p + i, 0x80, 0xbf))
			return false;
	return true;
}

/* The length of a character by the grammar of RFC 3629, section 4; or 0. */
static size_t
character(const unsigned char *p)
{
	if (within(p, 0x00, 0x7f))
		return 1;
	if (within(p, 0xc2, 0xdf) && are_tails(p + 1, 1))
		return 2;
	if (((*p == 0xe0 && within(p + 1, 0xa0, 0xbf)) ||
	    (*p == 0xed && within(p + 1, 0x80, 0x9f)) ||
	    (within(p, 0xe1, 0xef) && *p != 0xed)) && are_tails(p + 1, 2))
		return 3;
	if (((*p == 0xf0 && within(p + 1, 0x90, 0xbf)) ||
	    (*p == 0xf4 && within(p + 1, 0x80, 0x8f)) ||
	    within(p, 0xf1, 0xf3)) && are_tails(p + 1, 3))
		return 4;
	return 0;
}

/*
 * Control characters (C0 and C1) and the characters that break lines or change
 * the direction of text.
 */
static bool
is_unsafe(const unsigned char *p, size_t n)
{
	static const char *const marks[] = { "\u061c", "\u200e", "\u200f",
	    "\u2028", "\u2029", "\u202a", "\u202b", "\u202c", "\u202d",
	    "\u202e", "\u2066", "\u2067", "\u2068", "\u2069" };

	if (n == 1)
		return *p < 0x20 || *p == 0x7f;
	if (n == 2 && *p == 0xc2)
		return p[1] < 0xa0;
	for (size_t i = 0; i < sizeof(marks) / sizeof(*marks); i++)
		if (strlen(marks[i]) == n && memcmp(marks[i], p, n) == 0)
			return true;
	return false;
}

/*
 * Decodes one character or escape at p into n bytes. Returns its length at p.
 */
static size_t
decode_hex(const unsigned char *p, unsigned char *bytes, size_t *n)
{
	unsigned char first;
	char hex[3] = "";

	if (*p != '\\') {
		*n = character(p);
		must(*n > 0 && !is_unsafe(p, *n));
		memcpy(bytes, p, *n);
		return *n;
	}
	must(p[1] == 'x');
	memcpy(hex, p + 2, 2);
	must(strspn(hex, "0123456789abcdef") == 2);
	first = (unsigned char)strtoul(hex, NULL, 16);
	/* A byte that may be shown is not escaped. */
	must(first < 0x20 || first >= 0x7f || first == '"' || first == '\\');
	*bytes = first;
	*n = 1;
	return 4;
}

/* Of the size bytes at data, only the first are there. */
static void
check_quote(const unsigned char *data, size_t present, uint64_t size)
{
	char out[TEXT_QUOTED];
	const unsigned char *p;
	unsigned char bytes[4];
	size_t n, at = 0;

	must(text_quote(out, data, size) == out);
	must(strlen(out) < sizeof(out) && out[0] == '"');
	for (p = (unsigned char *)out + 1; *p != '"'; at += n) {
		p += decode_hex(p, bytes, &n);
		must(at + n <= present && memcmp(data + at, bytes, n) == 0);
	}
	must(strcmp((const char *)p, size > TEXT_SHOWN ? "\"..." : "\"") == 0);
	must(size > TEXT_SHOWN ? at > TEXT_SHOWN - 4 : at == size);
}

/* Writes a character of the basic plane as UTF-8. Returns its length. */
static size_t
encode(unsigned code, unsigned char *bytes)
{
	if (code < 0x80) {
		bytes[0] = (unsigned char)code;
		return 1;
	}
	if (code < 0x800) {
		bytes[0] = (unsigned char)(0xc0 | code >> 6);
		bytes[1] = (unsigned char)(0x80 | (code & 0x3f));
		return 2;
	}
	bytes[0] = (unsigned char)(0xe0 | code >> 12);
	bytes[1] = (unsigned char)(0x80 | (code >> 6 & 0x3f));
	bytes[2] = (unsigned char)(0x80 | (code & 0x3f));
	return 3;
}

/* As decode_hex(), for JSON (RFC 8259, section 7). */
static size_t
decode_json(const unsigned char *p, unsigned char *bytes, size_t *n)
{
	char hex[5] = "";

	if (*p != '\\') {
		*n = character(p);
		must(*n > 0 && !is_unsafe(p, *n));
		memcpy(bytes, p, *n);
		return *n;
	}
	must(p[1] == 'u');
	memcpy(hex, p + 2, 4);
	must(strspn(hex, "0123456789abcdef") == 4);
	*n = encode((unsigned)strtoul(hex, NULL, 16), bytes);
	return 6;
}

/* U+FFFD stands for one byte that is not part of a character. */
static bool
is_replacement(const unsigned char *bytes, size_t n)
{
	return n == 3 && memcmp(bytes, "\xef\xbf\xbd", 3) == 0;
}

static void
check_json(const unsigned char *data, size_t present, uint64_t size)
{
	char out[TEXT_JSON(TEXT_SHOWN)];
	const unsigned char *p;
	unsigned char bytes[4];
	size_t n, at = 0;

	must(text_json(out, data, size, TEXT_SHOWN) == out);
	must(strlen(out) < sizeof(out) && out[0] == '"');
	for (p = (unsigned char *)out + 1; *p != '"'; at += n) {
		p += decode_json(p, bytes, &n);
		if (is_replacement(bytes, n) && (at + n > present ||
		    memcmp(data + at, bytes, n) != 0))
			n = 1;
		else
			must(at + n <= present &&
			    memcmp(data + at, bytes, n) == 0);
	}
	must(p[1] == '\0');
	must(size > TEXT_SHOWN ? at > TEXT_SHOWN - 4 : at == size);
}

/*
 * The first byte of the input is the number of bytes that the text is longer
 * than what is there: no more than TEXT_SHOWN bytes may be read.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *block, *copy;
	uint64_t claimed;
	size_t present;

	if (size < 1 || (block = malloc(TEXT_SHOWN)) == NULL)
		return 0;
	size--;
	present = size < TEXT_SHOWN ? size : TEXT_SHOWN;
	claimed = size < TEXT_SHOWN ? size : size + data[0];
	copy = block + TEXT_SHOWN - present;	/* at the end of the block */
	memcpy(copy, data + 1, present);
	check_quote(copy, present, claimed);
	check_json(copy, present, claimed);
	free(block);
	return 0;
}
