#include "client_evidence.h"

#include <string.h>

#include "client_output.h"
#include "modes/lib/text.h"

/*
 * The sizes of the first pieces. The first probe shows whether the client reads
 * in a loop. The next probes find the size of its buffer if this is a power of
 * two. The last two sizes are multiples of other buffer sizes: 1000 and 1023.
 */
static const size_t probe_sizes[CLIENT_EVIDENCE_PROBES] = { 8192, 16, 32, 64,
	128, 256, 512, 1024, 2048, 4096, 8000, 8184 };

enum { LONGEST = 2 * 8192, ODD_PROBES = 2 };

/* The rest of the reply is sent when even a slow client has read the piece. */
#define PROBE_PAUSE (250 * NET_MS)

void
client_evidence_letters(char *out, size_t size, uint32_t seed)
{
	static const char letters[] = "BDFGHJKLQVWXYZ";

	for (size_t i = 0; i < size; i++) {
		seed = seed * 1664525 + 1013904223;
		out[i] = letters[(seed >> 16) % (sizeof(letters) - 1)];
	}
}

static bool
output_has(const struct client_run *run, const char *text)
{
	return client_output_count(&run->command.record->err, text,
	    strlen(text)) > 0 || client_output_count(&run->command.record->out, text,
	    strlen(text)) > 0;
}

/* Finds decode errors in the output of Python, the language of the homework. */
static void
find_decode_error(struct client_result *r, const struct client_run *run)
{
	r->decodes_ascii = output_has(run, "'ascii' codec can't decode");
	r->decodes_parts = output_has(run, "codec can't decode") &&
	    (output_has(run, "unexpected end of data") ||
	    output_has(run, "invalid start byte") ||
	    output_has(run, "invalid continuation byte"));
}

/* Whether the message arrived complete and unchanged. */
static bool
has_arrived(const struct client_run *run)
{
	return run->arrived_size == run->plan->size &&
	    memcmp(run->arrived, run->plan->message, run->plan->size) == 0;
}

struct client_result
client_evidence_judge(const struct client_evidence *evidence,
    const struct client_run *run)
{
	const struct client_plan *plan = run->plan;
	const struct keeper_output *out = &run->command.record->out;
	const struct keeper_output *errors = &run->command.record->err;
	size_t part = plan->first == 1 ? 1 : 4;
	struct client_result r = {
		.plan = plan,
		.has_timed_out = run->has_timed_out,
		.server_closed = run->server_closed,
		.arrived = has_arrived(run),
		.sends_in_parts = run->sends_in_parts,
		.status = run->status,
		.is_silent = out->total + errors->total == 0,
		.on_out = client_output_find(out, plan->message, plan->size,
		    part, evidence->own_out),
		.on_err = client_output_find(errors, plan->message, plan->size,
		    part, evidence->own_err),
		.out_is_plain = client_output_is_plain(out, plan->message,
		    plan->size)
	};

	r.printed = r.on_out > r.on_err ? r.on_out : r.on_err;
	r.is_right = r.arrived && r.printed == plan->size &&
	    !r.has_timed_out && r.status == 0;
	find_decode_error(&r, run);
	return r;
}

/* 126 and 127 are the statuses of a shell that cannot run a command. */
static void
check_that_it_runs(const struct client_run *run)
{
	char text[TEXT_QUOTED];
	const char *line;
	size_t size;

	if (run->is_connected || run->has_timed_out ||
	    (run->status != 126 && run->status != 127))
		return;
	size = command_last_line(&run->command.record->err, &line);
	client_run_bail_out("cannot run the client",
	    text_quote(text, line, size), STATUS_NO);
}

void
client_evidence_prepare(struct client_evidence *evidence,
    struct client_target *target)
{
	static char message[12], reply[12];
	const struct client_plan plan = { .message = message,
	    .size = sizeof(message), .reply = reply };
	struct client_run run;

	client_evidence_letters(message, sizeof(message), 71);
	client_evidence_letters(reply, sizeof(reply), 72);
	client_run_plan(&run, &plan, target);
	check_that_it_runs(&run);
	evidence->own_out = client_output_count(&run.command.record->out, message,
	    sizeof(message));
	evidence->own_err = client_output_count(&run.command.record->err, message,
	    sizeof(message));
	evidence->prints_message = evidence->own_out > 0 && run.status == 0 &&
	    !run.has_timed_out && run.replied == sizeof(reply) &&
	    client_output_count(&run.command.record->out, reply, sizeof(reply)) == 0 &&
	    client_output_count(&run.command.record->err, reply, sizeof(reply)) == 0;
	evidence->other_size = run.arrived_size < sizeof(evidence->other) ?
	    run.arrived_size : sizeof(evidence->other);
	memcpy(evidence->other, run.arrived, evidence->other_size);
	client_run_free(&run);
}

/* Returns whether the client printed more than the first piece. */
static bool
run_probe(struct client_evidence *evidence, struct client_target *target,
    size_t number)
{
	static char message[LONGEST];
	struct client_plan *plan = &evidence->probes[number];
	struct client_result *r = &evidence->results[evidence->size];
	struct client_run run;

	client_evidence_letters(message, sizeof(message), 73);
	*plan = (struct client_plan){ .message = message,
	    .size = 2 * probe_sizes[number], .first = probe_sizes[number],
	    .first_pause = PROBE_PAUSE };
	client_run_plan(&run, plan, target);
	*r = client_evidence_judge(evidence, &run);
	client_run_free(&run);
	evidence->size += r->arrived;
	return r->printed > plan->first;
}

void
client_evidence_probe(struct client_evidence *evidence,
    struct client_target *target)
{
	size_t i = CLIENT_EVIDENCE_PROBES - ODD_PROBES;

	if (!run_probe(evidence, target, 0)) {
		for (; i < CLIENT_EVIDENCE_PROBES; i++)
			run_probe(evidence, target, i);
		return;
	}
	for (i = 1; i < CLIENT_EVIDENCE_PROBES - ODD_PROBES; i++)
		if (run_probe(evidence, target, i))
			return;
}
