/*
 * Fuzz target: text_quote(), by which strangers' bytes get into a log. What it
 * makes is read back: a quote that ends, in it nothing but harmless
 * characters and escapes, which are the beginning of what was given.
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

/* The length of a character, by the grammar of RFC 3629, section 4; or 0. */
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

/* As bytes of UTF-8: C0 and C1 controls, what turns or breaks lines. */
static bool
is_harmful(const unsigned char *p, size_t n)
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

/* One escape or character of the quote into bytes; how far to go on. */
static size_t
read_back(const unsigned char *p, unsigned char *bytes, size_t *n)
{
	unsigned char first;
	char hex[3] = "";

	if (*p != '\\') {
		*n = character(p);
		must(*n > 0 && !is_harmful(p, *n));
		memcpy(bytes, p, *n);
		return *n;
	}
	must(p[1] == 'x');
	memcpy(hex, p + 2, 2);
	must(strspn(hex, "0123456789abcdef") == 2);
	first = (unsigned char)strtoul(hex, NULL, 16);
	/* What could have been shown is not escaped. */
	must(first < 0x20 || first >= 0x7f || first == '"' || first == '\\');
	*bytes = first;
	*n = 1;
	return 4;
}

static void
check(const unsigned char *data, size_t kept, uint64_t size)
{
	char out[TEXT_QUOTED];
	const unsigned char *p;
	unsigned char bytes[4];
	size_t n, at = 0;

	must(text_quote(out, data, size) == out);
	must(strlen(out) < sizeof(out) && out[0] == '"');
	for (p = (unsigned char *)out + 1; *p != '"'; at += n) {
		p += read_back(p, bytes, &n);
		must(at + n <= kept && memcmp(data + at, bytes, n) == 0);
	}
	must(strcmp((const char *)p, size > TEXT_SHOWN ? "\"..." : "\"") == 0);
	must(size > TEXT_SHOWN ? at > TEXT_SHOWN - 4 : at == size);
}

/*
 * The first byte of the input says how many more bytes than there are here the
 * text has, of which no more than TEXT_SHOWN may be read.
 */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned char *block, *copy;
	size_t kept;

	if (size < 1 || (block = malloc(TEXT_SHOWN)) == NULL)
		return 0;
	size--;
	kept = size < TEXT_SHOWN ? size : TEXT_SHOWN;
	copy = block + TEXT_SHOWN - kept;	/* nothing lies behind it */
	memcpy(copy, data + 1, kept);
	check(copy, kept, size < TEXT_SHOWN ? size : size + data[0]);
	free(block);
	return 0;
}
