#include "text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/*
 * The length of a UTF-8 character with that first byte; 0 if no character
 * begins with it (RFC 3629, section 4).
 */
static size_t
utf8_length(unsigned char first)
{
	return first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 :
	    first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
}

/*
 * Decodes the UTF-8 character at p, of at most size bytes. Returns its length
 * and its code point; 0 if the bytes are not a character (RFC 3629, section 3).
 */
static size_t
utf8_decode(const unsigned char *p, size_t size, uint32_t *code)
{
	static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = utf8_length(*p);

	if (n == 0 || n > size)
		return 0;
	*code = n == 1 ? *p : *p & (0xffU >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		*code = *code << 6 | (p[i] & 0x3f);
	}
	if (*code < lowest[n] || *code > 0x10ffff ||
	    (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

bool
text_is_utf8(const void *data, size_t size)
{
	const unsigned char *p = data;
	uint32_t code;
	size_t n;

	for (; size > 0; p += n, size -= n)
		if ((n = utf8_decode(p, size, &code)) == 0)
			return false;
	return true;
}

size_t
text_utf8_size(const unsigned char *p, size_t size)
{
	uint32_t code;

	return size == 0 ? 0 : utf8_decode(p, size, &code);
}

/* Returns whether a character may be shown unchanged (see text_quote()). */
static bool
is_safe_character(uint32_t code)
{
	if (code < 0x20 || (code >= 0x7f && code < 0xa0))
		return false;
	if (code == '"' || code == '\\')
		return false;
	return code != 0x061c && code != 0x200e && code != 0x200f &&
	    !(code >= 0x2028 && code <= 0x202e) &&
	    !(code >= 0x2066 && code <= 0x2069);
}

/* Writes the n bytes of a character as \xHH; n is 0 for an invalid byte. */
static char *
write_hex_escape(char *out, const unsigned char *p, size_t n)
{
	for (size_t i = 0; i < (n > 0 ? n : 1); i++)
		out += sprintf(out, "\\x%02x", p[i]);
	return out;
}

/* Writes a character as \uHHHH. An invalid byte (n is 0) becomes U+FFFD. */
static char *
write_json_escape(char *out, size_t n, uint32_t code)
{
	return out + sprintf(out, "\\u%04x", n > 0 ? (unsigned)code : 0xfffdU);
}

/*
 * Writes at most max of the size bytes at p in quotes. Leaves out a character
 * that ends after max bytes.
 */
static char *
write_quoted(char *out, const unsigned char *p, uint64_t size, size_t max,
    bool json)
{
	size_t shown = size < max ? (size_t)size : max;
	uint32_t code = 0;

	*out++ = '"';
	for (size_t i = 0; i < shown;) {
		size_t n = utf8_decode(p + i, shown - i, &code);

		if (size > shown && utf8_length(p[i]) > shown - i)
			break;
		if (n > 0 && is_safe_character(code))
			out = mempcpy(out, p + i, n);
		else
			out = json ? write_json_escape(out, n, code) :
			    write_hex_escape(out, p + i, n);
		i += n > 0 ? n : 1;
	}
	*out++ = '"';
	*out = '\0';
	return out;
}

const char *
text_quote(char out[TEXT_QUOTED], const void *data, uint64_t size)
{
	char *end = write_quoted(out, data, size, TEXT_SHOWN, false);

	if (size > TEXT_SHOWN)
		memcpy(end, "...", sizeof("..."));
	return out;
}

const char *
text_json(char *out, const void *data, uint64_t size, size_t max)
{
	write_quoted(out, data, size, max, true);
	return out;
}

const char *
text_safe_line(char *out, const void *data, size_t size)
{
	const unsigned char *p = data;
	char *end = out;
	uint32_t code = 0;

	while (size > 0 && strchr(" \t\r", p[size - 1]) != NULL)
		size--;
	for (size_t i = 0; i < size;) {
		size_t n = utf8_decode(p + i, size - i, &code);

		if (n > 0 && (is_safe_character(code) || code == '\t' ||
		    code == '"' || code == '\\'))
			end = mempcpy(end, p + i, n);
		else
			*end++ = '?';
		i += n > 0 ? n : 1;
	}
	*end = '\0';
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
