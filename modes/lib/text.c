#include "text.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a UTF-8 character with this first byte is, 0 if none has it. */
static size_t
length(unsigned char first)
{
	return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 :
	    first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/*
 * The length of the UTF-8 character at p, of which left bytes are there, and
 * its code point; 0 if there is none (RFC 3629, section 3).
 */
static size_t
decode(const unsigned char *p, size_t left, uint32_t *code)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = length(*p);

	if (n == 0 || n > left)
		return 0;
	*code = n == 1 ? *p : *p & (0xffU >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	if (*code < least[n] || *code > 0x10ffff ||
	    (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

static bool
harmless(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	if (code == '"' || code == '\\')
		return false;
	return code != 0x061c && code != 0x200e && code != 0x200f &&
	    !(code >= 0x2028 && code <= 0x202e) &&
	    !(code >= 0x2066 && code <= 0x2069);
}

/* A harmful character of n bytes, or a byte that is none (n is 0). */
static char *
escape(char *out, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < (n > 0 ? n : 1); i++)
		out += sprintf(out, "\\x%02x", p[i]);
	return out;
}

/* The same as JSON has it, which has no way to tell of a stray byte. */
static char *
escape_json(char *out, size_t n, uint32_t code)
{
	return out + sprintf(out, "\\u%04x", n > 0 ? (unsigned)code : 0xfffdU);
}

/* Up to most of size bytes, quoted; not half a character where it cuts. */
static char *
quote(char *out, const unsigned char *p, uint64_t size, size_t most, bool json)
{
	size_t shown = size < most ? (size_t)size : most;
	uint32_t code = 0;

	*out++ = '"';
	for (size_t i = 0; i < shown;) {
		size_t n = decode(p + i, shown - i, &code);

		if (size > shown && length(p[i]) > shown - i)
			break;
		if (n > 0 && harmless(code))
			out = mempcpy(out, p + i, n);
		else
			out = json ? escape_json(out, n, code) :
			    escape(out, p + i, n);
		i += n > 0 ? n : 1;
	}
	*out++ = '"';
	*out = '\0';
	return out;
}

const char *
text_quote(char out[TEXT_QUOTED], const void *data, uint64_t size)
{
	char *end = quote(out, data, size, TEXT_SHOWN, false);

	if (size > TEXT_SHOWN)
		memcpy(end, "...", sizeof("..."));
	return out;
}

const char *
text_json(char *out, const void *data, uint64_t size, size_t most)
{
	quote(out, data, size, most, true);
	return out;
}

char *
text_join(const char *first, char *const *rest)
{
	size_t size = strlen(first) + 1;
	char *joined, *end;

	for (char *const *word = rest; *word != NULL; word++)
		size += 1 + strlen(*word);
	if ((joined = malloc(size)) == NULL)
		return NULL;
	end = stpcpy(joined, first);
	for (; *rest != NULL; rest++)
		end = stpcpy(stpcpy(end, " "), *rest);
	return joined;
}

const char *
text_time(char out[TEXT_TIME], int64_t ns)
{
	if (ns < INT64_C(1000000000))
		snprintf(out, TEXT_TIME, "%.1f ms", (double)ns / 1e6);
	else
		snprintf(out, TEXT_TIME, "%.1f s", (double)ns / 1e9);
	return out;
}

const char *
text_milliseconds(char out[TEXT_TIME], int64_t ns)
{
	snprintf(out, TEXT_TIME, "%.3f", (double)ns / 1e6);
	return out;
}

size_t
text_first_difference(const void *a, const void *b, size_t n)
{
	const unsigned char *x = a, *y = b;
	size_t i = 0;

	if (memcmp(a, b, n) == 0)	/* much faster than the loop */
		return n;
	while (x[i] == y[i])
		i++;
	return i;
}
