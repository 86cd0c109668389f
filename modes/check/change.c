/*
 * Most changes act on single bytes (case, line ends, NUL, encodings); the other
 * changes act on all bytes of one recv. A sentence states the result, and names
 * a cause only if no other cause is possible.
 */
#include "change.h"

#include <string.h>

#include "modes/lib/text.h"

/*
 * Writes the result for one byte to out, and returns the number of written
 * bytes, at most CHANGE_GROWTH.
 */
typedef size_t byte_change(unsigned char in, unsigned char *out);

/* The same for the n bytes of one recv. */
typedef size_t read_change(const unsigned char *in, size_t n,
    unsigned char *out);

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

/*
 * Returns the number of bytes at p that begin an incomplete UTF-8 character, at
 * least 1. Decoders replace these bytes together (Unicode 15, 3.9, "maximal
 * subparts").
 */
static size_t
broken_size(const unsigned char *p, size_t n)
{
	size_t needed = *p < 0xc2 || *p > 0xf4 ? 1 : *p < 0xe0 ? 2 :
	    *p < 0xf0 ? 3 : 4;
	unsigned char low = *p == 0xe0 ? 0xa0 : *p == 0xf0 ? 0x90 : 0x80;
	unsigned char high = *p == 0xed ? 0x9f : *p == 0xf4 ? 0x8f : 0xbf;
	size_t size = 1;

	while (size < needed && size < n && p[size] >= low &&
	    p[size] <= high) {
		size++;
		low = 0x80;
		high = 0xbf;
	}
	return size;
}

/* Writes text for bytes that are not part of a UTF-8 character. */
static size_t
replace_invalid(const unsigned char *in, size_t n, unsigned char *out,
    const char *text)
{
	unsigned char *end = out;

	for (size_t i = 0; i < n;) {
		size_t size = text_utf8_size(in + i, n - i);

		end = size > 0 ? mempcpy(end, in + i, size) :
		    mempcpy(end, text, strlen(text));
		i += size > 0 ? size : broken_size(in + i, n - i);
	}
	return (size_t)(end - out);
}

static size_t
invalid_to_replacement(const unsigned char *in, size_t n, unsigned char *out)
{
	return replace_invalid(in, n, out, "\xef\xbf\xbd");	/* U+FFFD */
}

static size_t
drop_invalid(const unsigned char *in, size_t n, unsigned char *out)
{
	return replace_invalid(in, n, out, "");
}

static size_t
cut_at_nul(const unsigned char *in, size_t n, unsigned char *out)
{
	size_t size = strnlen((const char *)in, n);

	memcpy(out, in, size);
	return size;
}

static size_t
strip_end(const unsigned char *in, size_t n, unsigned char *out)
{
	while (n > 0 && (in[n - 1] == ' ' ||
	    (in[n - 1] >= '\t' && in[n - 1] <= '\r')))
		n--;
	memcpy(out, in, n);
	return n;
}

static size_t
strip_both_ends(const unsigned char *in, size_t n, unsigned char *out)
{
	while (n > 0 && (*in == ' ' || (*in >= '\t' && *in <= '\r'))) {
		in++;
		n--;
	}
	return strip_end(in, n, out);
}

static size_t
drop_last_newline(const unsigned char *in, size_t n, unsigned char *out)
{
	if (n > 0 && in[n - 1] == '\n')
		n--;
	memcpy(out, in, n);
	return n;
}

static size_t
add_nul(const unsigned char *in, size_t n, unsigned char *out)
{
	memcpy(out, in, n);
	out[n] = '\0';
	return n + 1;
}

static size_t
add_newline(const unsigned char *in, size_t n, unsigned char *out)
{
	memcpy(out, in, n);
	out[n] = '\n';
	return n + 1;
}

static size_t
send_twice(const unsigned char *in, size_t n, unsigned char *out)
{
	memcpy(out, in, n);
	memcpy(out + n, in, n);
	return 2 * n;
}

static const struct {
	byte_change *byte;
	read_change *read;
	const char *sentence;
} changes[] = {
	{ make_upper_case, NULL, "lower case became upper case" },
	{ make_lower_case, NULL, "upper case became lower case" },
	{ insert_cr, NULL, "a CR was inserted before a newline" },
	{ drop_cr, NULL, "a CR was dropped" },
	{ drop_newline, NULL, "a newline was dropped" },
	{ drop_nul, NULL, "a NUL byte was dropped" },
	{ drop_control, NULL, "a control byte was dropped" },
	{ drop_high, NULL, "bytes above 127 were dropped" },
	{ clear_high_bit, NULL, "the eighth bit was cleared" },
	{ high_to_question_mark, NULL, "bytes above 127 became ?" },
	{ latin1_to_utf8, NULL, "bytes above 127 were encoded as UTF-8: the "
	    "server decodes them as Latin-1" },
	{ double_255, NULL, "byte 255 was doubled" },
	{ NULL, invalid_to_replacement, "bytes that are not UTF-8 were "
	    "replaced by U+FFFD: the server decodes text" },
	{ NULL, drop_invalid, "bytes that are not UTF-8 were dropped: the "
	    "server decodes text" },
	{ NULL, cut_at_nul, "the bytes from a NUL byte on were dropped, as by "
	    "a string function of C" },
	{ NULL, drop_last_newline, "a newline at the end was dropped" },
	{ NULL, strip_end, "white space at the end was stripped" },
	{ NULL, strip_both_ends, "white space at both ends was stripped" },
	{ NULL, add_nul, "a NUL byte was added" },
	{ NULL, add_newline, "a newline was added" },
	{ NULL, send_twice, "the whole message came twice" }
};

const int change_count = sizeof(changes) / sizeof(*changes);

size_t
change_apply(int change, const unsigned char *in, size_t n, unsigned char *out)
{
	size_t size = 0;

	if (changes[change].read != NULL)
		return changes[change].read(in, n, out);
	for (size_t i = 0; i < n; i++)
		size += changes[change].byte(in[i], out + size);
	return size;
}

bool
change_depends_on_reads(int change)
{
	return changes[change].read != NULL;
}

const char *
change_sentence(int change)
{
	return changes[change].sentence;
}
