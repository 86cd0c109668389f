/*
 * The candidates are the models that explain the last conversation and
 * contradict no other conversation, with as few mistakes as possible. For any
 * single failure there is a read size that fits. Therefore a candidate must
 * also have predicted another failure. If no candidate has, a probe tests their
 * predictions. A server that has ended cannot be probed, so this rule does not
 * apply to it.
 */
#include "candidates.h"

#include <stdio.h>
#include <string.h>

#include "queue.h"

enum {
	CANDIDATES = 4096,
	MISTAKES = 2,		/* that one server makes at most */
	PROBES = 6		/* for one diagnosis */
};

struct candidate {
	struct model model;
	enum cause cause;
	bool decodes_wrong;	/* it fails to decode what was sent */
	bool supported;		/* it predicted exactly a failure other than */
				/* the last one */
};

/* All candidates for the last observation of a history. */
static struct {
	const struct history *history;
	int n;
	bool complete;		/* there was room for all of them */
	struct candidate list[CANDIDATES];
} candidates;

enum fit { CONTRADICTED, POSSIBLE, PREDICTED };

const struct observation *
candidates_last(const struct history *h)
{
	return &h->observations[h->n - 1];
}

bool
candidates_is_correct(const struct observation *o)
{
	return !o->differs && o->received >= o->plan.message.size;
}

bool
candidates_any_answer(const struct history *h)
{
	for (int i = 0; i < h->n; i++)
		if (h->observations[i].received > 0)
			return true;
	return false;
}

/* Whether exactly the predicted bytes came back. */
static bool
has_bytes(const struct observation *o, const struct prediction *p)
{
	size_t same = (size_t)(o->differs ? o->differs_at : o->received);

	if (o->received != p->size || same > MODEL_MESSAGE ||
	    p->size - same > o->wrong_size)
		return false;
	return memcmp(p->bytes, model_message_bytes(&o->plan.message),
	    same) == 0 &&
	    memcmp(p->bytes + same, o->wrong, p->size - same) == 0;
}

/* Whether the connection ended as predicted. */
static bool
has_end(const struct observation *o, const struct model *m,
    const struct prediction *p)
{
	if (o->plan.flags & SEND_FIN)
		return true;
	if (p->closes)
		return o->end == TALK_EOF || o->end == TALK_ERROR;
	if (o->received >= o->plan.message.size || o->differs)
		return !o->ended_first;
	return o->end == TALK_TIMEOUT &&
	    (m->change != CHANGE_NONE || o->probe == p->probe);
}

/* An incomplete echo of which no model predicts the size. */
static enum fit
fit_unknown(const struct observation *o, const struct model *m)
{
	bool timed_out = o->end == TALK_TIMEOUT;

	if (o->differs)
		return m->change != CHANGE_NONE ? POSSIBLE : CONTRADICTED;
	if (o->plan.flags & SEND_FIN)
		return POSSIBLE;
	if (m->end == MODEL_ONE_READ && o->received > m->read_size)
		return CONTRADICTED;
	if (m->end == MODEL_EOF)
		return timed_out ? POSSIBLE : CONTRADICTED;
	if (m->answer == MODEL_AT_END && timed_out && o->received == 0)
		return POSSIBLE;
	return timed_out == m->stays_open ? POSSIBLE : CONTRADICTED;
}

/* How a model fits what was observed; *p is its prediction. */
static enum fit
fit_model(const struct history *h, const struct observation *o,
    const struct model *m, struct prediction *p)
{
	bool correct = candidates_is_correct(o);

	model_predict(p, m, &o->plan, o->whole);
	if (o->is_slow)
		return POSSIBLE;	/* check did not wait for the rest */
	if (o->is_dead && !correct && h->deaths_tell && !p->fails_to_decode)
		return CONTRADICTED;
	switch (p->kind) {
	case MODEL_UNKNOWN:
		return correct ? POSSIBLE : fit_unknown(o, m);
	case MODEL_CORRECT:
		if (!correct)
			return o->plan.flags & SEND_FIN ? POSSIBLE :
			    CONTRADICTED;
		return o->ended_first && !p->closes && !o->is_dead ?
		    CONTRADICTED : PREDICTED;
	default:
		return !correct && has_bytes(o, p) && has_end(o, m, p) ?
		    PREDICTED : CONTRADICTED;
	}
}

/* Whether the same model without the change would not have failed. */
static bool
is_due_to_change(const struct model *m, const struct observation *o)
{
	static struct prediction p;
	struct model other = *m;

	other.change = CHANGE_NONE;
	model_predict(&p, &other, &o->plan, o->whole);
	return p.kind == MODEL_CORRECT;
}

/* The mistake of a model to which the failure is due. */
static enum cause
cause_of(const struct model *m, const struct observation *o,
    const struct prediction *p)
{
	if (p->fails_to_decode)
		return m->text == MODEL_UTF8 ? CAUSE_UTF8 : CAUSE_ASCII;
	if (m->change != CHANGE_NONE && (o->differs || is_due_to_change(m, o)))
		return CAUSE_CHANGE + (unsigned)m->change;
	if (m->answer == MODEL_LINES)
		return CAUSE_LINES;
	if (m->end == MODEL_EOF)
		return CAUSE_AT_EOF;
	return m->answer == MODEL_AT_END && o->end == TALK_TIMEOUT &&
	    o->received == 0 ? CAUSE_WAITS : CAUSE_END + (unsigned)m->end;
}

/* Whether two causes are the same part of a model. */
static bool
is_same_mistake(enum cause a, enum cause b)
{
	int of_a = (a >= CAUSE_UTF8) + (a >= CAUSE_CHANGE);
	int of_b = (b >= CAUSE_UTF8) + (b >= CAUSE_CHANGE);

	return of_a == of_b;
}

/* Adds a model to the candidates unless something contradicts it. */
static void
consider_model(const struct model *m, void *data)
{
	static struct prediction p;
	const struct history *h = candidates.history;
	const struct observation *last = candidates_last(h);
	enum fit fit = fit_model(h, last, m, &p);
	struct candidate c = { .model = *m,
	    .decodes_wrong = p.fails_to_decode,
	    .supported = fit == PREDICTED && last->is_dead };

	(void)data;
	if (fit == CONTRADICTED || p.kind == MODEL_CORRECT)
		return;
	/*
	 * In the model, the kept bytes are sent at end of file: they were not.
	 */
	if (m->end == MODEL_EOF && m->answer != MODEL_AT_ONCE &&
	    last->plan.flags & SEND_FIN && p.kind == MODEL_UNKNOWN)
		return;
	c.cause = cause_of(m, last, &p);
	for (int i = 0; i < h->n - 1; i++) {
		const struct observation *o = &h->observations[i];

		fit = fit_model(h, o, m, &p);
		if (fit == CONTRADICTED)
			return;
		if (fit == PREDICTED && !candidates_is_correct(o) &&
		    is_same_mistake(cause_of(m, o, &p), c.cause))
			c.supported = true;
	}
	candidates.complete = candidates.n < CANDIDATES;
	if (candidates.complete)
		candidates.list[candidates.n++] = c;
}

/* Finds the models with the fewest mistakes. */
static void
find_candidates(const struct history *h)
{
	candidates.history = h;
	candidates.n = 0;
	candidates.complete = true;
	for (int n = 1; n <= MISTAKES && candidates.n == 0; n++)
		model_each(n, (size_t)candidates_last(h)->received,
		    consider_model, NULL);
}

/* Returns the causes of all candidates, one bit for each cause. */
static uint64_t
candidate_causes(void)
{
	uint64_t causes = 0;

	for (int i = 0; i < candidates.n; i++)
		causes |= CAUSE_BIT(candidates.list[i].cause);
	return causes;
}

static bool
has_one_cause(void)
{
	uint64_t causes = candidate_causes();

	return causes != 0 && (causes & (causes - 1)) == 0;
}

static bool
is_any_supported(void)
{
	for (int i = 0; i < candidates.n; i++)
		if (candidates.list[i].supported)
			return true;
	return false;
}

/* Returns the read size of all candidates, or 0 if they have several. */
static size_t
common_read_size(void)
{
	for (int i = 1; i < candidates.n; i++)
		if (candidates.list[i].model.read_size !=
		    candidates.list[0].model.read_size)
			return 0;
	return candidates.list[0].model.read_size;
}

/*
 * Plans that distinguish models. Plans with bytes above 127 come last, because
 * the earlier plans have then shown whether decoding such bytes ends the
 * server.
 */
#define LETTERS_PLAN(n, each) { .message = { .content = LETTERS, \
	.size = (n), .seed = 77 }, .burst = (each), .flags = AWAIT_ECHO }
#define TEXT_PLAN(words) { .message = { .content = TEXT, \
	.size = sizeof(words) - 1, .text = (words) } }
static const struct plan probe_plans[] = {
	LETTERS_PLAN(140, 70), LETTERS_PLAN(40, 1), LETTERS_PLAN(64, 16),
	LETTERS_PLAN(24, 0), LETTERS_PLAN(16, 0),
	LETTERS_PLAN(MODEL_MESSAGE, 0),
	LETTERS_PLAN(200, 0), LETTERS_PLAN(40, 0), LETTERS_PLAN(48, 0),
	LETTERS_PLAN(96, 32), LETTERS_PLAN(512, 256), LETTERS_PLAN(2048, 1024),
	LETTERS_PLAN(4096, 2048), LETTERS_PLAN(8192, 0),
	LETTERS_PLAN(16384, 0), LETTERS_PLAN(20, 10), LETTERS_PLAN(60, 20),
	TEXT_PLAN("one\ntwo \t\r\n"), TEXT_PLAN("one\0two"),
	TEXT_PLAN(" one two "), TEXT_PLAN("One Two"),
	TEXT_PLAN("na\xc3\xafve caf\xe9 \xff"),
	TEXT_PLAN("Viel Gl\xc3\xbc" "ck! \xc3\xbc\xc3\xbc\xc3\xbc")
};

enum { PROBE_PLANS = sizeof(probe_plans) / sizeof(*probe_plans) };

static bool
is_same_prediction(const struct prediction *a, const struct prediction *b)
{
	return a->kind == b->kind && a->closes == b->closes &&
	    (a->kind == MODEL_CORRECT || (a->size == b->size &&
	    memcmp(a->bytes, b->bytes, a->size) == 0));
}

/*
 * Whether a plan tells candidates apart or, if none is supported yet, makes one
 * of them fail. It must not end the server, because no test may fail on account
 * of a probe; a server may decode it that has survived to decode the like.
 */
static bool
tells_apart(const struct plan *plan, size_t whole, bool by_cause)
{
	static struct prediction first, p;
	bool supported = is_any_supported(), tells = false, survives = true;

	for (int i = 0; i < candidates.n; i++)
		survives &= candidates.list[i].decodes_wrong;

	for (int i = 0; i < candidates.n; i++) {
		const struct candidate *c = &candidates.list[i];

		model_predict(i == 0 ? &first : &p, &c->model, plan, whole);
		if (i == 0)
			p = first;
		if (p.kind == MODEL_UNKNOWN || (p.fails_to_decode && !survives))
			return false;
		tells |= !supported && p.kind == MODEL_REPLIES;
		tells |= (!by_cause ||
		    c->cause != candidates.list[0].cause) &&
		    !is_same_prediction(&first, &p);
	}
	return tells;
}

/*
 * The next probe that was not yet held, or NULL if none decides or nothing is
 * left to decide.
 */
static const struct plan *
choose_probe(size_t whole, bool held[PROBE_PLANS])
{
	bool by_cause = !has_one_cause() || !is_any_supported();

	if (candidates.n == 0 || !candidates.complete ||
	    (!by_cause && common_read_size() > 0))
		return NULL;
	for (int i = 0; i < PROBE_PLANS; i++)
		if (!held[i] && tells_apart(&probe_plans[i], whole, by_cause)) {
			held[i] = true;
			return &probe_plans[i];
		}
	return NULL;
}

void
candidates_record(struct history *h, const struct talk *t, bool is_dead)
{
	size_t size = t->wrong_size < CANDIDATES_WRONG ? t->wrong_size :
	    CANDIDATES_WRONG;
	struct observation *o;

	if (h->n == 0)
		h->deaths_tell = true;
	if (h->n == CANDIDATES_OBSERVATIONS)	/* keep the first ones */
		h->n--;
	o = &h->observations[h->n++];
	*o = (struct observation){ .plan = t->plan, .whole = t->whole,
	    .received = t->received, .differs_at = t->differs_at,
	    .differs = t->differs, .ended_first = t->ended_first,
	    .is_slow = t->is_slow, .is_dead = is_dead, .end = t->end, .probe = t->probe };
	o->wrong_size = size;
	/* cppcheck-suppress knownConditionTrueFalse; it is not known here */
	if (size > 0)
		memcpy(o->wrong, t->wrong, size);
	if (is_dead && candidates_is_correct(o))
		h->deaths_tell = false;
}

int
candidates_hold_talk(struct talk *t, const struct plan *plan,
    struct target *target)
{
	int attempt = 0, error;

	do {
		if ((error = talk_open(t, plan, target)) < 0)
			return error;
		talk_run(t, 1);
		if (t->end == TALK_TIMEOUT)
			talk_probe(t);
		else
			talk_finish(t);
	} while (queue_must_repeat(t, ++attempt));
	return 0;
}

bool
candidates_hold_probe(struct history *h, const struct plan *plan,
    struct target *target)
{
	static struct observation last;
	struct talk t;

	if (candidates_hold_talk(&t, plan, target) < 0)
		return false;
	last = h->observations[--h->n];
	candidates_record(h, &t, false);
	if (h->n == CANDIDATES_OBSERVATIONS)
		h->n--;
	h->observations[h->n++] = last;
	talk_close(&t);
	return true;
}

bool
candidates_decide(struct verdict *verdict, struct history *h,
    struct target *target)
{
	bool held[PROBE_PLANS] = { false };
	const struct plan *plan;

	find_candidates(h);
	for (int i = 0; i < PROBES && !candidates_last(h)->is_dead; i++) {
		plan = choose_probe(candidates_last(h)->whole, held);
		if (plan == NULL || !candidates_hold_probe(h, plan, target))
			break;
		find_candidates(h);
	}
	if (candidates.n == 0 || !candidates.complete || !is_any_supported())
		return false;
	*verdict = (struct verdict){ .causes = candidate_causes(),
	    .cause = candidates.list[0].cause,
	    .model = candidates.list[0].model,
	    .read_size = common_read_size() };
	return true;
}
