/*
 * Simulates the recv calls of the server for each burst of the plan: a burst
 * that arrives in one piece is divided only by the read size. If the network
 * may divide a message at other places, results that depend on these places are
 * not predicted.
 */
#include "model.h"

#include <string.h>

#include "modes/lib/text.h"

/* A simulated connection. */
struct simulation {
	const struct model *model;
	struct prediction *out;
	unsigned char kept[MODEL_REPLY];	/* not sent yet */
	size_t kept_size;
	bool ended;			/* the server reads no more bytes */
};

/* The number of ASCII characters at the beginning, counted by eight. */
static size_t
ascii_words(const unsigned char *bytes, size_t n)
{
	const uint64_t not_ascii = 0x8080808080808080;
	uint64_t word = 0;
	size_t i = 0;

	for (; i + sizeof(word) <= n; i += sizeof(word)) {
		memcpy(&word, bytes + i, sizeof(word));
		if ((word & not_ascii) != 0)
			break;
	}
	return i;
}

static bool
is_text(enum model_text text, const unsigned char *bytes, size_t n)
{
	size_t size;

	if (text == MODEL_BYTES)
		return true;
	for (size_t i = ascii_words(bytes, n); i < n; i += size) {
		size = bytes[i] < 0x80;
		if (size == 0 && text == MODEL_UTF8)
			size = text_utf8_size(bytes + i, n - i);
		if (size == 0)
			return false;
	}
	return true;
}

static size_t
count_characters(const unsigned char *bytes, size_t n)
{
	size_t count = 0;

	for (size_t i = 0; i < n; i++)
		count += (bytes[i] & 0xc0) != 0x80;
	return count;
}

/* Sends the first n of the bytes that were kept. */
static void
send_kept(struct simulation *s, size_t n)
{
	struct prediction *out = s->out;

	if (n > MODEL_REPLY - out->size)
		n = MODEL_REPLY - out->size;
	memcpy(out->bytes + out->size, s->kept, n);
	out->size += n;
	s->kept_size -= n;
	memmove(s->kept, s->kept + n, s->kept_size);
}

static void
keep_read(struct simulation *s, const unsigned char *bytes, size_t n)
{
	static unsigned char changed[MODEL_REPLY];
	int change = s->model->change;

	if (change != CHANGE_NONE) {
		n = change_apply(change, bytes, n, changed);
		bytes = changed;
	}
	if (n > MODEL_REPLY - s->kept_size)
		n = MODEL_REPLY - s->kept_size;
	memcpy(s->kept + s->kept_size, bytes, n);
	s->kept_size += n;
}

static void
send_answer(struct simulation *s)
{
	const unsigned char *newline;

	switch (s->model->answer) {
	case MODEL_AT_ONCE:
		send_kept(s, s->kept_size);
		break;
	case MODEL_LINES:
		newline = memrchr(s->kept, '\n', s->kept_size);
		if (newline != NULL)
			send_kept(s, (size_t)(newline + 1 - s->kept));
		break;
	case MODEL_AT_END:
		break;
	}
}

/* Whether the server takes a recv of n bytes for the end of the message. */
static bool
ends_message(const struct model *m, const unsigned char *bytes, size_t n,
    bool is_last)
{
	switch (m->end) {
	case MODEL_SHORT_READ:
		return n < m->read_size;
	case MODEL_ONE_READ:
		return true;
	case MODEL_FEW_CHARACTERS:
		return count_characters(bytes, n) < m->read_size;
	case MODEL_NOTHING_WAITING:
		return is_last;
	default:
		return false;
	}
}

/* Ends a connection in which the server has sent the limit of bytes. */
static void
end_at_limit(struct simulation *s)
{
	if (s->model->end != MODEL_LIMIT || s->out->size < s->model->read_size)
		return;
	s->out->size = s->model->read_size;
	s->kept_size = 0;
	s->ended = true;
}

/* Simulates one recv of n bytes. */
static void
simulate_read(struct simulation *s, const unsigned char *bytes, size_t n,
    bool is_last)
{
	const struct model *m = s->model;
	bool decodes = is_text(m->text, bytes, n);

	if (!decodes)
		s->ended = s->out->fails_to_decode = true;
	if (!decodes && !m->sends_first)
		return;
	keep_read(s, bytes, n);
	send_answer(s);
	if (decodes && ends_message(m, bytes, n, is_last)) {
		send_kept(s, s->kept_size);
		s->ended = true;
	}
	end_at_limit(s);
}

static void
simulate_burst(struct simulation *s, const unsigned char *bytes, size_t n)
{
	size_t most = s->model->end == MODEL_LIMIT ? MODEL_MESSAGE :
	    s->model->read_size, size;

	for (size_t i = 0; i < n && !s->ended; i += size) {
		size = n - i < most ? n - i : most;
		simulate_read(s, bytes + i, size, i + size == n);
	}
}

/* The probe of talk_probe() after which the server sends the kept bytes. */
static enum probe
expected_probe(const struct simulation *s)
{
	const struct model *m = s->model;

	if (s->ended || s->kept_size == 0)
		return PROBE_NOTHING;
	return m->answer == MODEL_AT_END && m->end == MODEL_EOF ? PROBE_FIN :
	    PROBE_NEWLINE;
}

/*
 * Simulates the first size bytes of a message in bursts, and then the FIN. Each
 * burst is sent when the previous ones have come back. Returns the number of
 * sent bytes.
 */
static size_t
simulate(struct simulation *s, const struct plan *plan,
    const unsigned char *bytes, size_t size)
{
	size_t burst = plan->burst > 0 ? (size_t)plan->burst : size;
	bool sends_fin = plan->flags & SEND_FIN &&
	    size == plan->message.size;
	size_t at = 0, n;

	while (at < size && !s->ended && (at == 0 || s->out->size >= at ||
	    plan->flags & SEND_FIN)) {
		n = at == 0 && plan->flags & AWAIT_FIRST ? 1 :
		    burst - at % burst;
		n = size - at < n ? size - at : n;
		simulate_burst(s, bytes + at, n);
		at += n;
	}
	s->out->probe = expected_probe(s);
	if (sends_fin && at == size && !s->ended)
		send_kept(s, s->kept_size);
	s->out->closes = s->ended && !s->model->stays_open;
	return at;
}

static bool
is_ascii_message(const struct message *m)
{
	if (m->content == EVERY_BYTE)
		return m->size <= 0x80;
	for (size_t i = 0; m->content == TEXT && i < m->size; i++)
		if ((unsigned char)m->text[i] >= 0x80)
			return false;
	return true;
}

/* Whether a message is echoed for every division into recvs. */
static bool
echoes_any_division(const struct model *m, const struct message *message)
{
	return m->end == MODEL_EOF && m->answer == MODEL_AT_ONCE &&
	    m->change == CHANGE_NONE &&
	    (m->text == MODEL_BYTES || is_ascii_message(message));
}

/*
 * Returns for how many bytes, from the beginning of a message, the plan
 * determines the behaviour of the model. If the plan does not determine how
 * recv divides the message, only a limit on the number of bytes can be
 * predicted.
 */
static size_t
determined_size(const struct model *m, const struct plan *plan, size_t whole)
{
	uint64_t size = plan->message.size;

	if (m->end == MODEL_LIMIT)
		return size < MODEL_MESSAGE ? (size_t)size : MODEL_MESSAGE;
	if (size <= MODEL_MESSAGE && size <= whole && (plan->burst == 0 ||
	    plan->flags & AWAIT_ECHO))
		return (size_t)size;
	return plan->flags & AWAIT_FIRST ? 1 : 0;
}

static bool
is_same_message(const struct message *a, const struct message *b)
{
	return a->content == b->content && a->size == b->size &&
	    a->seed == b->seed && a->text == b->text;
}

/*
 * Thousands of models predict the same few conversations, so the bytes of the
 * messages are kept as long as there is room.
 */
const unsigned char *
model_message_bytes(const struct message *m)
{
	enum { KEPT = 128 };
	static struct kept_message {
		struct message message;
		unsigned char bytes[MODEL_MESSAGE];
	} kept[KEPT];
	size_t start = (m->seed + m->seed / 1000 + m->size) % KEPT, i = start;

	while (kept[i].message.size > 0) {
		if (is_same_message(m, &kept[i].message))
			return kept[i].bytes;
		if ((i = (i + 1) % KEPT) == start)
			break;
	}
	kept[i].message = *m;
	message_bytes(m, 0, kept[i].bytes, sizeof(kept[i].bytes));
	return kept[i].bytes;
}

void
model_predict(struct prediction *out, const struct model *m,
    const struct plan *plan, size_t whole)
{
	static struct simulation s;
	const unsigned char *bytes = model_message_bytes(&plan->message);
	size_t size = determined_size(m, plan, whole);

	out->kind = MODEL_UNKNOWN;
	out->closes = out->fails_to_decode = false;
	out->probe = PROBE_NOTHING;
	out->size = 0;
	s.model = m;
	s.out = out;
	s.kept_size = 0;
	s.ended = false;
	if (echoes_any_division(m, &plan->message) ||
	    (simulate(&s, plan, bytes, size) == plan->message.size &&
	    out->size == plan->message.size &&
	    memcmp(out->bytes, bytes, size) == 0))
		out->kind = MODEL_CORRECT;
	else if (size == plan->message.size || s.ended ||
	    (out->size < size && !(plan->flags & SEND_FIN)))
		out->kind = MODEL_REPLIES;
	else	/* the other bytes are not known */
		out->closes = out->fails_to_decode = false;
}

int
model_mistakes(const struct model *m)
{
	return (m->end != MODEL_EOF || m->answer != MODEL_AT_ONCE) +
	    (m->text != MODEL_BYTES) + (m->change != CHANGE_NONE);
}

/* Sizes that programs pass to recv, and 0 for the extra one. */
static const size_t read_sizes[] = { 2, 4, 5, 8, 10, 12, 15, 16, 20, 24, 30, 32,
	40, 48, 50, 60, 64, 80, 99, 100, 120, 127, 128, 150, 200, 250, 255,
	256, 300, 400, 500, 511, 512, 1000, 1023, 1024, 1500, 2000, 2047, 2048,
	4000, 4095, 4096, 5000, 8192, 10000, 16384, 32768, 65536, 0 };

enum { READ_SIZES = sizeof(read_sizes) / sizeof(*read_sizes) };

/* Whether two models with different parts can behave differently. */
static bool
is_distinct(const struct model *m)
{
	if (m->stays_open && m->end == MODEL_EOF && m->text == MODEL_BYTES)
		return false;
	if (m->end == MODEL_LIMIT && (m->answer != MODEL_AT_ONCE ||
	    m->text != MODEL_BYTES || m->change != CHANGE_NONE))
		return false;
	if (m->sends_first && (m->text == MODEL_BYTES ||
	    m->answer != MODEL_AT_ONCE))
		return false;
	return m->answer != MODEL_LINES || m->end == MODEL_EOF;
}

/* Whether another read size may give another result. */
static bool
depends_on_read_size(const struct model *m)
{
	return m->end != MODEL_EOF || m->text == MODEL_UTF8 ||
	    (m->text == MODEL_ASCII && m->change == CHANGE_NONE) ||
	    (m->change != CHANGE_NONE && change_depends_on_reads(m->change));
}

static void
each_read_size(struct model *m, size_t extra_size,
    void (*each)(const struct model *, void *), void *data)
{
	if (!depends_on_read_size(m)) {
		m->read_size = MODEL_MESSAGE;
		each(m, data);
		return;
	}
	if (m->end == MODEL_LIMIT) {
		m->read_size = extra_size;
		if (extra_size > 0)
			each(m, data);
		return;
	}
	for (int i = 0; i < READ_SIZES; i++) {
		m->read_size = read_sizes[i] > 0 ? read_sizes[i] : extra_size;
		if (m->read_size > 1)
			each(m, data);
	}
}

void
model_each(int mistakes, size_t extra_size,
    void (*each)(const struct model *, void *), void *data)
{
	for (int i = 0; i < MODEL_ENDS * 3 * 3 * 2 * 2; i++) {
		int rest = i / MODEL_ENDS;
		struct model m = { .end = (enum model_end)(i % MODEL_ENDS),
		    .answer = (enum model_answer)(rest % 3),
		    .text = (enum model_text)(rest / 3 % 3),
		    .sends_first = rest / 9 % 2, .stays_open = rest / 18 };

		for (m.change = CHANGE_NONE; m.change < change_count;
		    m.change++)
			if (model_mistakes(&m) == mistakes && is_distinct(&m))
				each_read_size(&m, extra_size, each, data);
	}
}
