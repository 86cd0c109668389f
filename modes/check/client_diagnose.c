#include "client_diagnose.h"

#include <stdio.h>
#include <string.h>

#include "modes/lib/text.h"

/*
 * The reply as it arrives: the sizes of its pieces, one after another. Each
 * call returns the next one, and 0 at the end.
 */
static size_t
next_piece(const struct client_plan *plan, size_t sent)
{
	size_t left = plan->size - sent;
	size_t piece = sent == 0 ? plan->first : plan->piece;

	return piece == 0 || piece > left ? left : piece;
}

/* recv is called once. */
static size_t
predict_first_recv(const struct client_plan *plan, size_t buffer)
{
	size_t piece = next_piece(plan, 0);

	return piece < buffer ? piece : buffer;
}

/* recv is called until it returns fewer bytes than the buffer has. */
static size_t
predict_short_read(const struct client_plan *plan, size_t buffer)
{
	size_t sent = 0, piece;

	while ((piece = next_piece(plan, sent)) > 0) {
		sent += piece;
		if (piece % buffer != 0)
			break;
	}
	return sent;
}

/* The same, but the client does not print the bytes of the last recv. */
static size_t
predict_lost_end(const struct client_plan *plan, size_t buffer)
{
	return predict_short_read(plan, buffer) / buffer * buffer;
}

/* The client reads until no bytes have arrived for a short time. */
static size_t
predict_impatient(const struct client_plan *plan, size_t buffer)
{
	(void)buffer;
	return plan->delay > 0 ? 0 : next_piece(plan, 0);
}

static const struct reply_model {
	const char *sentence;	/* %zu is the size of the buffer */
	const char *general;	/* if several sizes explain the results; NULL:
				   the sentence has no size */
	size_t (*predict)(const struct client_plan *, size_t buffer);
} reply_models[] = {
	/*
	 * If the buffer is larger than every piece, the first recv is also a
	 * short read. The sentence about the first recv is true in both cases,
	 * so this row comes first.
	 */
	{ "prints only what the first recv returned", NULL,
	    predict_first_recv },
	{ "stops at a read shorter than %zu bytes",
	    "stops at a read shorter than its buffer", predict_short_read },
	{ "does not print the last read, if that is shorter than %zu bytes",
	    "does not print the last read, if that is shorter than its buffer",
	    predict_lost_end },
	{ "stops when the reply pauses", NULL, predict_impatient },
	{ NULL, NULL, NULL }
};

enum { HOMEWORK_READ = 16, MAX_BUFFER = 16384 };	/* bytes */

/*
 * Whether a model predicts the results. A model that predicts no reply at all
 * explains nothing. No model describes a client that reads between the parts of
 * its message.
 */
static bool
model_explains(const struct reply_model *model, size_t buffer,
    const struct client_result *evidence, size_t n)
{
	size_t printed = 0;

	for (size_t i = 0; i < n; i++) {
		if (evidence[i].has_timed_out || evidence[i].sends_in_parts ||
		    evidence[i].printed !=
		    model->predict(evidence[i].plan, buffer))
			return false;
		printed += evidence[i].printed;
	}
	return printed > 0;
}

/*
 * Returns the number of buffer sizes with which the model explains the
 * evidence, and sets *buffer to one of them.
 */
static int
count_buffers(const struct reply_model *model, size_t *buffer,
    const struct client_result *evidence, size_t n)
{
	int fitting = 0;

	for (size_t b = 1; b <= MAX_BUFFER; b++)
		if (model_explains(model, b, evidence, n)) {
			*buffer = b;
			fitting++;
		}
	return fitting;
}

/*
 * Describes a reply that was not printed in full. If the client was killed, its
 * output may have been lost in its buffer.
 */
static void
describe_printed(char out[DIAGNOSE_SIZE], const struct client_result *r)
{
	if (r->has_timed_out)
		client_diagnose_end(out, r);
	else if (r->is_silent)
		snprintf(out, DIAGNOSE_SIZE, "exits %d and prints nothing",
		    r->status);
	else if (r->printed == 0)
		snprintf(out, DIAGNOSE_SIZE, "exits %d, and its output does "
		    "not contain the reply", r->status);
	else
		snprintf(out, DIAGNOSE_SIZE, "prints only %zu of the %zu bytes "
		    "of the reply", r->printed, r->plan->size);
}

void
client_diagnose_reply(char out[DIAGNOSE_SIZE], const struct client_result *r,
    const struct client_result *evidence, size_t n)
{
	const struct reply_model *model = reply_models;
	size_t buffer = 0;
	int fitting = 0;

	while (model->sentence != NULL && (fitting = count_buffers(model,
	    &buffer, evidence, n)) == 0)
		model++;
	if (model->sentence == NULL || r->has_timed_out)
		describe_printed(out, r);
	else if (model->general == NULL || fitting > 1)
		snprintf(out, DIAGNOSE_SIZE, "%s", model->general == NULL ?
		    model->sentence : model->general);
	else {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(out, DIAGNOSE_SIZE, model->sentence, buffer);
#pragma GCC diagnostic pop
	}
}

/* The number of characters in UTF-8. */
static size_t
count_whole_characters(const char *text, size_t size)
{
	size_t n = 0;

	for (size_t i = 0; i < size; i++)
		n += ((unsigned char)text[i] & 0xc0) != 0x80;
	return n;
}

/*
 * Whether the result is that of a client that compares a number of characters
 * with a number of bytes. With a message of whole characters, such a client
 * stops after a read of fewer characters than its buffer has bytes, or when it
 * has as many bytes as the message has characters. Or it prints the whole
 * reply, and then still waits for as many characters as the message has bytes.
 */
static bool
counts_characters(const struct client_result *r)
{
	size_t characters = count_whole_characters(r->plan->message, r->plan->size);

	if (r->has_timed_out)
		return r->printed == r->plan->size;
	return r->printed > 0 && r->printed < r->plan->size &&
	    (r->printed % HOMEWORK_READ == 0 || r->printed == characters);
}

/*
 * Whether the client fails at a read that ends within a character. Such a
 * client does not print the first 16 bytes if the last one begins a character,
 * but prints 16 bytes of whole characters.
 */
static bool
fails_at_parts(const struct client_result *r, const struct client_result *whole)
{
	return r != whole && !r->has_timed_out &&
	    (whole->is_right || whole->printed >= HOMEWORK_READ) &&
	    (whole->is_right || r->printed < HOMEWORK_READ);
}

void
client_diagnose_text(char out[DIAGNOSE_SIZE], const struct client_result *r,
    const struct client_result *whole)
{
	if (r->decodes_ascii)
		snprintf(out, DIAGNOSE_SIZE, "decodes the reply as ASCII");
	else if (r->decodes_parts || fails_at_parts(r, whole))
		snprintf(out, DIAGNOSE_SIZE, "decodes parts of characters");
	else if (counts_characters(whole))
		snprintf(out, DIAGNOSE_SIZE,
		    "counts characters instead of bytes");
	else {
		describe_printed(out, r);
		strncat(out, "; ASCII text of the same size was right",
		    DIAGNOSE_SIZE - strlen(out) - 1);
	}
}

void
client_diagnose_end(char out[DIAGNOSE_SIZE], const struct client_result *r)
{
	if (!r->has_timed_out)
		snprintf(out, DIAGNOSE_SIZE, "exits %d although the whole "
		    "reply came back", r->status);
	else if (r->server_closed)
		snprintf(out, DIAGNOSE_SIZE,
		    "does not terminate after the server has closed "
		    "the connection");
	else
		snprintf(out, DIAGNOSE_SIZE,
		    "does not terminate while the server keeps the "
		    "connection open");
}

static bool
is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Whether a and b are the same apart from white space. */
static bool
differ_in_space(const char *a, size_t a_size, const char *b, size_t b_size)
{
	size_t i = 0, k = 0;

	for (;;) {
		while (i < a_size && is_space(a[i]))
			i++;
		while (k < b_size && is_space(b[k]))
			k++;
		if (i == a_size || k == b_size)
			return i == a_size && k == b_size;
		if (a[i++] != b[k++])
			return false;
	}
}

/* No byte of the message arrived. */
static void
describe_silence(char out[DIAGNOSE_SIZE], const struct client_run *run)
{
	if (run->has_timed_out)
		snprintf(out, DIAGNOSE_SIZE, "%s, and does not terminate",
		    run->is_connected ? "connects and sends nothing" :
		    "does not connect");
	else if (run->is_connected && run->status == 0)
		snprintf(out, DIAGNOSE_SIZE,
		    "connects and sends nothing, and exits 0 although "
		    "nothing came back");
	else
		snprintf(out, DIAGNOSE_SIZE, "%s, and exits %d",
		    run->is_connected ? "connects and sends nothing" :
		    "does not connect", run->status);
}

/* After the message, the client sent more bytes. */
static void
describe_surplus_output(char out[DIAGNOSE_SIZE], const char *surplus, size_t size)
{
	if (size == 1 && surplus[0] == '\n')
		snprintf(out, DIAGNOSE_SIZE,
		    "sends a newline that is not in the message");
	else if (size == 2 && memcmp(surplus, "\r\n", 2) == 0)
		snprintf(out, DIAGNOSE_SIZE,
		    "sends CR LF, which is not in the message");
	else if (size == 1 && surplus[0] == '\0')
		snprintf(out, DIAGNOSE_SIZE,
		    "sends a NUL byte that is not in the message");
	else
		snprintf(out, DIAGNOSE_SIZE, "sends %zu%s byte%s after the "
		    "message", size, size >= CLIENT_RUN_SURPLUS ? " or more" :
		    "", PLURAL(size));
}

/* The message is not complete. next is the first byte that is missing. */
static void
describe_missing(char out[DIAGNOSE_SIZE], size_t arrived, size_t size,
    char next)
{
	snprintf(out, DIAGNOSE_SIZE, "sends only %zu of %zu bytes%s", arrived,
	    size, next == '\0' ? ": stops at the first NUL byte" :
	    next == '\n' ? ": stops at the first newline" : "");
}

void
client_diagnose_message(char out[DIAGNOSE_SIZE], const struct client_run *run,
    const char *other, size_t other_size)
{
	const char *message = run->plan->message, *arrived = run->arrived;
	size_t size = run->plan->size, n = run->arrived_size;
	size_t same = text_first_difference(message, arrived,
	    n < size ? n : size);

	if (n == 0)
		describe_silence(out, run);
	else if (same == size)
		describe_surplus_output(out, arrived + size, n - size);
	else if (other != NULL && n == other_size &&
	    memcmp(arrived, other, n) == 0)
		snprintf(out, DIAGNOSE_SIZE,
		    "sends the same bytes for two different messages");
	else if (same == n)
		describe_missing(out, n, size, message[n]);
	else if (same + 1 == n && arrived[same] == '\n')
		describe_missing(out, same, size, message[same]);
	else if (differ_in_space(message, size, arrived, n))
		snprintf(out, DIAGNOSE_SIZE,
		    "changes the white space of the message");
	else
		snprintf(out, DIAGNOSE_SIZE, "sends %zu bytes that differ from "
		    "the message at offset %zu", n, same);
}
