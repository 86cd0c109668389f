#include "client_output.h"

#include <string.h>

/* Returns the end of the nth occurrence of the text; n 0: the beginning. */
static const char *
skip_occurrences(const struct keeper_output *o, const char *text,
    size_t size, size_t n)
{
	const char *from = o->data, *end = o->data + o->size, *found;

	while (n-- > 0 && (found = memmem(from, (size_t)(end - from), text,
	    size)) != NULL)
		from = found + size;
	return from;
}

size_t
client_output_count(const struct keeper_output *o, const char *text,
    size_t size)
{
	const char *from = o->data, *end = o->data + o->size, *found;
	size_t n = 0;

	while ((found = memmem(from, (size_t)(end - from), text, size)) !=
	    NULL) {
		from = found + size;
		n++;
	}
	return n;
}

/* Returns how many bytes at the beginning of a and b are equal, up to n. */
static size_t
common_bytes(const char *a, const char *b, size_t n)
{
	size_t i = 0;

	while (i < n && a[i] == b[i])
		i++;
	return i;
}

size_t
client_output_find(const struct keeper_output *o, const char *reply,
    size_t size, size_t part, size_t own)
{
	const char *end = o->data + o->size, *from, *found;
	size_t done = 0;

	if (client_output_count(o, reply, size) > own)
		return size;
	from = skip_occurrences(o, reply, size, own);
	while (done < size) {
		size_t left = size - done, room;

		found = memmem(from, (size_t)(end - from), reply + done,
		    left < part ? left : part);
		if (found == NULL)
			break;
		room = (size_t)(end - found);
		left = common_bytes(found, reply + done,
		    left < room ? left : room);
		done += left;
		from = found + left;
	}
	/* The beginning of the reply may be shorter than a part. */
	for (size_t n = part - 1; done == 0 && n > 0; n--)
		if (size > part && memmem(from, (size_t)(end - from), reply,
		    n) != NULL)
			done = n;
	return done;
}

bool
client_output_is_plain(const struct keeper_output *o, const char *reply,
    size_t size)
{
	size_t end = o->size;

	while (end > size && (o->data[end - 1] == '\n' ||
	    o->data[end - 1] == '\r'))
		end--;
	return end == size && memcmp(o->data, reply, size) == 0;
}

static bool
is_error_line(const char *line, size_t size)
{
	static const char *const words[] = { "rror", "xception", "panic" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (memmem(line, size, words[i], strlen(words[i])) != NULL)
			return true;
	return false;
}

size_t
client_output_error(const struct keeper_output *o, const char **line)
{
	size_t end = o->size;

	while (end > 0) {
		const char *newline = memrchr(o->data, '\n', end - 1);
		size_t start = newline == NULL ? 0 :
		    (size_t)(newline + 1 - o->data);

		if (is_error_line(o->data + start, end - start)) {
			while (o->data[end - 1] == '\n' ||
			    o->data[end - 1] == '\r')
				end--;
			*line = o->data + start;
			return end - start;
		}
		end = start;
	}
	return command_last_line(o, line);
}
