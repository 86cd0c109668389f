/*
 * One poll loop serves one or several conversations: each turn of the loop
 * sends one piece and reads one piece of each. A conversation ends when the
 * whole message has come back, at end of file, at an error, or when no byte was
 * sent or received for the timeout. All conversations share one loop, because
 * the tests need several clients at the same time.
 */
#include "talk.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/lib/text.h"

enum {
	PIECE = 131072,		/* bytes per read and per write */
	WRONG_MAX = 160 * 1024,	/* enough to recognize moved 64 KiB blocks */
	MAX_TIMEOUTS = 12,	/* total time of a conversation, in timeouts */
	NS_PER_BYTE = 30	/* of a slow server: 32 MiB per second */
};

/* Shared by all conversations: used during one send or receive only. */
static unsigned char piece[PIECE], expected[PIECE];

/* How long to wait for surplus bytes after a complete echo. */
static const int64_t SURPLUS_WAIT = 150 * NET_MS;

/*
 * How long a server may take to close after the whole echo, before check sends
 * FIN. Without this time, the result would depend on whether the server has
 * received the FIN before it closes.
 */
static const int64_t CLOSE_FIRST_WAIT = 30 * NET_MS;

/* After this time of refused connections, the server is taken as ended. */
static const int64_t REFUSED_WAIT = 100 * NET_MS;

/* If nothing could be written for this time, the buffers are taken as full. */
static const int64_t BUFFERS_FULL = 300 * NET_MS;

/* How long to wait for the echo of the first byte if a FIN follows. */
static const int64_t FIRST_BYTE_WAIT = 200 * NET_MS;

static uint64_t
min_bytes(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static int64_t
min_time(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

static int64_t
max_time(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

int64_t
talk_time_limit(const struct talk *t)
{
	return MAX_TIMEOUTS * t->target->timeout;
}

int64_t
talk_short_timeout(const struct target *target)
{
	int64_t timeout = max_time(target->timeout / 10, 50 * NET_MS);

	timeout = max_time(timeout, 10 * target->slowest);
	return min_time(timeout, target->timeout);
}

/* The timeout that applies if `left` ns of the whole timeout remain. */
static int64_t
current_timeout(const struct target *target, int64_t left)
{
	return max_time(left, talk_short_timeout(target));
}

/* Keeps the first error of a connection; n is -errno. */
static void
record_error(struct talk *t, ssize_t n)
{
	if (t->error == 0)
		t->error = (int)-n;
}

static void
end_talk(struct talk *t, enum talk_end end)
{
	t->end = end;
	t->ended_first = end != TALK_TIMEOUT && !t->fin_sent;
	t->last_progress = net_now();
}

/*
 * Connects within the current timeout. A server that opens a new listener for
 * each client refuses connections for a moment between two clients.
 */
static int
connect_again(struct target *target)
{
	int64_t until = net_now() + REFUSED_WAIT;
	int fd;

	while ((fd = dial_connect(&target->server, current_timeout(target,
	    target->answer_left))) == -ECONNREFUSED && !target->refuses &&
	    net_now() < until)
		net_poll(NULL, 0, 5 * NET_MS);
	target->refuses = fd == -ECONNREFUSED;
	if (fd == -ETIMEDOUT)
		target->answer_left = 0;
	return fd;
}

int
talk_open(struct talk *t, const struct plan *plan, struct target *target)
{
	*t = (struct talk){ .plan = *plan, .target = target,
	    .reading = !(plan->flags & NO_READ) ||
	    (plan->flags & AWAIT_FIRST) };
	t->started = net_now();
	t->fd = target->fd >= 0 ? target->fd : connect_again(target);
	target->fd = -1;
	t->last_progress = t->last_write = net_now();
	if (t->fd < 0 && t->fd != -ECONNRESET)
		return t->fd;
	target->opened++;
	if (t->fd < 0) {	/* the server accepted and reset at once */
		record_error(t, t->fd);
		end_talk(t, TALK_ERROR);
		return 0;
	}
	t->whole = net_segment_size(t->fd);
	if (t->whole == 0)	/* a Unix socket has no segments */
		t->whole = PIECE;
	return 0;
}

void
talk_hang_up(struct talk *t)
{
	if (t->fd >= 0)
		close(t->fd);
	t->fd = -1;
}

void
talk_close(struct talk *t)
{
	talk_hang_up(t);
	free(t->wrong);
	t->wrong = NULL;
}

static uint64_t
message_size(const struct talk *t)
{
	return t->plan.message.size;
}

/* The offset at which the burst that is being sent ends. */
static uint64_t
burst_end(const struct talk *t)
{
	uint64_t burst = t->plan.burst;

	if (t->plan.flags & AWAIT_FIRST && t->sent == 0)
		return 1;
	return burst == 0 ? message_size(t) :
	    min_bytes(message_size(t), (t->sent / burst + 1) * burst);
}

static bool
is_between_bursts(const struct talk *t)
{
	return t->plan.burst > 0 && t->sent > 0 &&
	    t->sent < message_size(t) && t->sent % t->plan.burst == 0;
}

/* The end of the wait for the echo of the first byte; 0: it has ended. */
static int64_t
first_byte_deadline(const struct talk *t)
{
	if (!(t->plan.flags & AWAIT_FIRST) || t->sent != 1 || t->received > 0)
		return 0;
	return t->plan.flags & SEND_FIN ? t->last_write + FIRST_BYTE_WAIT :
	    INT64_MAX;
}

static bool
has_more_to_send(const struct talk *t)
{
	bool awaits_echo = t->plan.flags & AWAIT_ECHO &&
	    is_between_bursts(t) && t->received < t->sent;

	return t->sent < message_size(t) && !t->write_failed &&
	    !awaits_echo && net_now() >= first_byte_deadline(t);
}

/* The earliest time at which the next byte may be sent. */
static int64_t
next_send_time(const struct talk *t)
{
	return t->last_progress + (is_between_bursts(t) ? t->plan.pause : 0);
}

static bool
is_echo_complete(const struct talk *t)
{
	return t->sent == message_size(t) && t->received >= t->sent;
}

/* Whether further reading and writing cannot change the result. */
static bool
is_talk_decided(const struct talk *t)
{
	return t->end != TALK_OPEN || t->wrong_size == WRONG_MAX ||
	    is_echo_complete(t);
}

/* Holds back the last piece (MSG_MORE) if it is to be sent with the FIN. */
static void
send_piece(struct talk *t)
{
	size_t n = message_bytes(&t->plan.message, t->sent, piece,
	    (size_t)min_bytes(PIECE, burst_end(t) - t->sent));
	bool fin_follows = t->plan.flags & SEND_FIN &&
	    t->sent + n == message_size(t);
	ssize_t sent = net_send(t->fd, piece, n, fin_follows);

	if (sent > 0) {
		t->sent += (uint64_t)sent;
		t->last_progress = t->last_write = net_now();
	} else if (sent != -EAGAIN && sent != -EINTR) {
		t->write_failed = true;
		record_error(t, sent);
	}
}

static void
send_fin_once(struct talk *t)
{
	if (!t->fin_sent)
		net_fin(t->fd);
	t->fin_sent = true;
}

/* Keeps bytes from the first wrong one on, for the diagnosis. */
static void
keep_wrong_bytes(struct talk *t, const unsigned char *data, size_t n)
{
	if (t->wrong == NULL && (t->wrong = malloc(WRONG_MAX)) == NULL)
		err(STATUS_LOCAL, "no memory for the bytes received");
	n = (size_t)min_bytes(n, WRONG_MAX - t->wrong_size);
	memcpy(t->wrong + t->wrong_size, data, n);
	t->wrong_size += n;
}

/* Compares n received bytes with the message at the same offset. */
static void
compare_received(struct talk *t, const unsigned char *data, size_t n)
{
	size_t size = message_bytes(&t->plan.message, t->received,
	    expected, n);
	size_t same = t->differs ? 0 :
	    text_first_difference(data, expected, size);

	if (!t->differs && same < n) {
		t->differs = true;
		t->differs_at = t->received + same;
	}
	if (t->differs)
		keep_wrong_bytes(t, data + same, n - same);
	t->received += n;
}

static void
receive_piece(struct talk *t)
{
	ssize_t n = net_recv(t->fd, piece, sizeof(piece));
	int64_t now;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		if (n < 0)
			record_error(t, n);
		end_talk(t, t->error != 0 ? TALK_ERROR : TALK_EOF);
		return;
	}
	compare_received(t, piece, (size_t)n);
	now = net_now();
	/* With NO_READ the answer may have waited for us to read it. */
	if (!t->differs && !(t->plan.flags & NO_READ))
		t->target->slowest = max_time(t->target->slowest,
		    now - t->last_progress);
	t->last_progress = now;
}

/* The time at which the server became the side that has to act. */
static int64_t
waiting_since(const struct talk *t)
{
	int64_t since = max_time(t->last_progress, next_send_time(t));

	if (t->plan.flags & SEND_FIN)
		since = max_time(since, first_byte_deadline(t));
	return t->reading ? since : t->last_write + BUFFERS_FULL;
}

/*
 * How long a slow server may be busy with the bytes that it must still return,
 * in ns; for many bytes, this is longer than the short timeout.
 */
static int64_t
time_for_pending(const struct talk *t)
{
	int64_t pending = t->sent > t->received ?
	    (int64_t)(t->sent - t->received) : 0;

	return min_time(pending * NS_PER_BYTE, t->target->timeout);
}

/* When the conversation times out unless bytes are sent or received. */
static int64_t
silence_deadline(const struct talk *t)
{
	int64_t wait = t->differs ? talk_short_timeout(t->target) :
	    max_time(current_timeout(t->target, t->target->answer_left),
	    time_for_pending(t));

	if (t->max_wait > 0)
		wait = min_time(wait, t->max_wait);
	return waiting_since(t) + wait;
}

/* When the conversation times out even if bytes are sent or received. */
static int64_t
talk_deadline(const struct talk *t)
{
	return min_time(silence_deadline(t), t->started + talk_time_limit(t));
}

/* When the poll has to end, even if nothing is ready. */
static int64_t
poll_until(const struct talk *t)
{
	int64_t when = talk_deadline(t), now = net_now();

	if (has_more_to_send(t) && next_send_time(t) > now)
		when = min_time(when, next_send_time(t));
	if (first_byte_deadline(t) > now)
		when = min_time(when, first_byte_deadline(t));
	if (!t->reading)
		when = min_time(when, t->last_write + BUFFERS_FULL);
	return when;
}

static short
poll_events(const struct talk *t, int64_t now)
{
	int events = t->reading ? POLLIN : 0;

	if (has_more_to_send(t) && next_send_time(t) <= now)
		events |= POLLOUT;
	return (short)events;
}

/* Begins NO_READ when the wait for the echo of the first byte has ended. */
static void
stop_reading_if_due(struct talk *t)
{
	if (!(t->plan.flags & AWAIT_FIRST) || !(t->plan.flags & NO_READ) ||
	    !t->reading || t->sent != 1 || !has_more_to_send(t))
		return;
	t->reading = false;
	t->last_write = net_now();
}

/* Ends NO_READ when no more can be written. */
static void
start_reading_if_due(struct talk *t)
{
	if (!t->reading && (t->sent == message_size(t) || t->write_failed ||
	    net_now() >= t->last_write + BUFFERS_FULL)) {
		t->reading = true;
		t->last_progress = net_now();
	}
}

static void
handle_poll_result(struct talk *t, int revents)
{
	if (revents & POLLOUT)
		send_piece(t);
	if (t->sent == message_size(t) && t->plan.flags & SEND_FIN)
		send_fin_once(t);
	if (revents & ~POLLOUT)
		receive_piece(t);
	stop_reading_if_due(t);
	start_reading_if_due(t);
}

/*
 * Whether the server has not acted within the timeout. If this process did not
 * run for longer than the timeout, the server is not at fault: an answer may
 * have arrived already, or check has not sent the next bytes yet.
 */
static bool
has_timed_out(const struct talk *t)
{
	struct pollfd server = { t->fd, POLLIN, 0 };

	if (net_now() < talk_deadline(t) ||
	    (has_more_to_send(t) && t->sent == t->received))
		return false;
	return !t->reading || net_poll(&server, 1, 0) == 0;
}

/* Ends a conversation; later tests have less time by the time of this wait. */
static void
time_out(struct talk *t)
{
	t->is_slow = net_now() < silence_deadline(t);
	if (!t->differs)
		t->target->answer_left -= net_now() - waiting_since(t);
	end_talk(t, TALK_TIMEOUT);
}

/* One turn of the poll loop; false if every conversation is decided. */
static bool
poll_talks(struct talk *talks, size_t n)
{
	struct pollfd fds[TALK_MAX];
	int64_t now = net_now(), until = INT64_MAX;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct talk *t = &talks[i];

		fds[i] = (struct pollfd){ .fd = -1 };
		if (is_talk_decided(t))
			continue;
		any = true;
		fds[i].fd = t->fd;
		fds[i].events = poll_events(t, now);
		until = min_time(until, poll_until(t));
	}
	if (any)
		net_poll(fds, (nfds_t)n, max_time(until - now, 0));
	for (size_t i = 0; any && i < n; i++) {
		if (fds[i].fd < 0)
			continue;
		handle_poll_result(&talks[i], fds[i].revents);
		if (!is_talk_decided(&talks[i]) && has_timed_out(&talks[i]))
			time_out(&talks[i]);
	}
	return any;
}

void
talk_run(struct talk *talks, size_t n)
{
	/* The time between opening and running does not count as waiting. */
	for (size_t i = 0; i < n; i++)
		talks[i].last_progress = talks[i].last_write = net_now();
	while (poll_talks(talks, n))
		;
}

void
talk_receive(struct talk *t, int64_t ns)
{
	int64_t until = net_now() + ns, now;

	while (t->end == TALK_OPEN && t->wrong_size < WRONG_MAX &&
	    (now = net_now()) < until) {
		struct pollfd server = { t->fd, POLLIN, 0 };

		if (net_poll(&server, 1, until - now) > 0)
			receive_piece(t);
	}
}

void
talk_await_end(struct talk *t)
{
	struct pollfd server = { t->fd, POLLIN, 0 };
	int64_t since = net_now();

	send_fin_once(t);
	if (net_poll(&server, 1, current_timeout(t->target,
	    t->target->answer_left)) == 0) {
		t->target->answer_left -= net_now() - since;
		return;
	}
	t->end = TALK_OPEN;
	receive_piece(t);
}

void
talk_finish(struct talk *t)
{
	bool must_end = t->plan.flags & SEND_FIN;

	if (!must_end)
		talk_receive(t, CLOSE_FIRST_WAIT);
	if (t->end != TALK_OPEN)
		return;
	send_fin_once(t);
	talk_receive(t, must_end ?
	    current_timeout(t->target, t->target->eof_left) : SURPLUS_WAIT);
	if (must_end && t->end == TALK_OPEN) {
		end_talk(t, TALK_TIMEOUT);
		t->target->eof_left = 0;
	}
}

void
talk_fill_buffers(struct talk *t, int64_t ns)
{
	struct pollfd server = { t->fd, POLLOUT, 0 };

	while (t->sent < message_size(t) && !t->write_failed &&
	    net_poll(&server, 1, ns) > 0)
		send_piece(t);
}

/*
 * How long to wait for the answer to a probe. A later answer would be taken for
 * the answer to the next probe. The first probe of a server, a newline, has
 * more time, because the speed of the server is not known yet.
 */
static int64_t
probe_timeout(const struct target *target)
{
	int64_t timeout = talk_short_timeout(target);

	return target->is_probed ? timeout :
	    max_time(timeout, target->timeout / 2);
}

/*
 * Returns cause if the missing bytes come now. A server that has lost these
 * bytes answers the newline of the probe, but not with the missing byte:
 * PROBE_LOST.
 */
static enum probe
probe_answer(struct talk *t, enum probe cause)
{
	struct pollfd server = { t->fd, POLLIN, 0 };
	int64_t timeout = probe_timeout(t->target);
	unsigned char missing = 0;
	ssize_t n;

	t->target->is_probed = true;
	if (net_poll(&server, 1, timeout) == 0 ||
	    (n = net_recv(t->fd, piece, sizeof(piece))) <= 0)
		return PROBE_NOTHING;
	message_bytes(&t->plan.message, t->received, &missing, 1);
	t->answered_after = cause;
	return piece[0] == missing && (missing != '\n' || n > 1) ?
	    cause : PROBE_LOST;
}

void
talk_probe(struct talk *t)
{
	static const struct {
		const char *bytes;
		size_t size;
		enum probe probe;
	} probes[] = { { "\n", 1, PROBE_NEWLINE }, { "\r\n", 2, PROBE_CRLF },
	    { "", 1, PROBE_NUL } };

	if (t->fin_sent || t->differs || t->is_slow)
		return;
	for (size_t i = 0; t->probe == PROBE_NOTHING &&
	    i < sizeof(probes) / sizeof(*probes); i++) {
		if (net_send(t->fd, probes[i].bytes, probes[i].size, false) > 0)
			t->probe = probe_answer(t, probes[i].probe);
	}
	if (t->probe == PROBE_NOTHING) {
		send_fin_once(t);
		t->probe = probe_answer(t, PROBE_FIN);
	}
}

bool
talk_is_correct(const struct talk *t)
{
	if (t->plan.flags & SEND_FIN && t->end != TALK_EOF)
		return false;
	return is_echo_complete(t) && !t->differs;
}

bool
talk_was_reset(const struct talk *t)
{
	return t->end == TALK_ERROR && t->received == 0;
}

bool
talk_is_mixed_up(const struct talk *t, const struct talk *talks, int n)
{
	unsigned char other[8];

	for (int i = 0; t->differs && i < n; i++) {
		size_t size = message_bytes(&talks[i].plan.message,
		    t->differs_at, other, sizeof(other));

		if (size == sizeof(other) && t->wrong_size >= size &&
		    memcmp(t->wrong, other, size) == 0)
			return true;
	}
	return false;
}
