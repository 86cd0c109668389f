#include "stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "modes/lib/net.h"
#include "modes/lib/text.h"

/* How long to wait for surplus data and end of file after the last byte. */
static const int64_t SURPLUS_TIME = 200 * NET_MS;

enum {
	WINDOW_SIZE = 1024 * 1024,	/* bytes in flight at most */
	READ_SIZE = 65536		/* bytes of one recv at most */
};

/*
 * A conversation with the server. The bytes that have been read from the input
 * and have not come back are in the window, a ring buffer. Positions count from
 * the first byte: returned <= sent <= filled.
 */
struct stream {
	struct exchange *x;
	bool input_ended;	/* everything to send is in the window */
	bool cannot_send;	/* a send failed; recv may still succeed */
	uint64_t filled;	/* bytes */
	uint64_t surplus;	/* bytes received that had not been sent */
	bool differs;
	uint64_t differs_at;	/* position of the first wrong byte */
	unsigned char expected, found;	/* at that position */
	bool ended;		/* end of file from the server, or an error */
	int error;		/* errno of the connection, or 0 */
	unsigned char window[WINDOW_SIZE];
	unsigned char received[READ_SIZE];
};

static uint64_t
send_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static unsigned char *
window_at(struct stream *s, uint64_t position)
{
	return s->window + position % WINDOW_SIZE;
}

/* The bytes from one position to another that are contiguous in the window. */
static size_t
window_contiguous(uint64_t from, uint64_t to)
{
	return (size_t)send_min(to - from, WINDOW_SIZE - from % WINDOW_SIZE);
}

/* Returns whether there is both room in the window and input to come. */
static bool
window_wants_input(const struct stream *s)
{
	return !s->input_ended && s->filled - s->x->returned < WINDOW_SIZE;
}

static void
fill_from_message(struct stream *s)
{
	if (s->x->input >= 0)
		return;
	while (s->x->message_left > 0 && window_wants_input(s)) {
		size_t n = (size_t)send_min(s->x->message_left,
		    window_contiguous(s->filled,
		    s->x->returned + WINDOW_SIZE));

		memcpy(window_at(s, s->filled), s->x->message, n);
		s->x->message += n;
		s->x->message_left -= n;
		s->filled += n;
	}
	s->input_ended = s->x->message_left == 0;
}

static void
fill_from_input(struct stream *s)
{
	ssize_t n = exchange_read_input(s->x, window_at(s, s->filled),
	    window_contiguous(s->filled, s->x->returned + WINDOW_SIZE));

	if (n > 0) {
		/* Starts the timeout again. */
		if (s->x->returned == s->filled)
			s->x->progress = net_now();
		s->filled += (uint64_t)n;
	}
	s->input_ended = n == 0;
}

static void
send_from_window(struct stream *s)
{
	ssize_t n = net_send(s->x->fd, window_at(s, s->x->sent),
	    window_contiguous(s->x->sent, s->filled), false);

	if (n > 0)
		s->x->sent += (uint64_t)n;
	else if (n < 0 && n != -EAGAIN && n != -EINTR) {
		s->cannot_send = true;
		s->error = (int)-n;
	}
}

/*
 * Compares received bytes with the window, and frees that part of the window.
 */
static void
compare_reply(struct stream *s, const unsigned char *data, size_t size)
{
	while (size > 0 && s->x->returned < s->x->sent) {
		const unsigned char *sent = window_at(s, s->x->returned);
		size_t n = (size_t)send_min(size,
		    window_contiguous(s->x->returned, s->x->sent));
		size_t at = s->differs ? n :
		    text_first_difference(data, sent, n);

		if (at < n) {
			s->differs = true;
			s->differs_at = s->x->returned + at;
			s->expected = sent[at];
			s->found = data[at];
		}
		data += n;
		size -= n;
		s->x->returned += n;
	}
	s->surplus += size;
}

static void
receive_reply(struct stream *s)
{
	ssize_t n = net_recv(s->x->fd, s->received, sizeof(s->received));

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		s->ended = true;
		if (n < 0)
			s->error = (int)-n;
		return;
	}
	compare_reply(s, s->received, (size_t)n);
	exchange_print(s->x, s->received, (size_t)n);
	s->x->progress = net_now();
}

static bool
all_returned(const struct stream *s)
{
	return s->input_ended && s->x->returned == s->filled;
}

/* Returns whether the result is known: success, or the first error. */
static bool
result_is_known(const struct stream *s)
{
	return all_returned(s) || s->differs || s->surplus > 0 || s->ended ||
	    (s->cannot_send && s->x->returned == s->x->sent);
}

/*
 * Returns the rest of the timeout in ns; 0 after the timeout. The timeout runs
 * only while the server has bytes to return.
 */
static int64_t
timeout_left(const struct stream *s)
{
	int64_t left = s->x->progress + s->x->timeout - net_now();

	if (s->x->timeout == 0 || s->x->returned == s->filled)
		return NET_FOREVER;
	return left > 0 ? left : 0;
}

/*
 * Waits once, then sends, receives and reads what is possible. Returns false
 * after the timeout.
 */
static bool
exchange_some(struct stream *s)
{
	struct pollfd fds[] = {
		{ s->x->fd, POLLIN, 0 },
		{ window_wants_input(s) ? s->x->input : -1, POLLIN, 0 }
	};

	if (s->x->sent < s->filled && !s->cannot_send)
		fds[0].events |= POLLOUT;
	if (net_poll(fds, 2, timeout_left(s)) <= 0)
		return timeout_left(s) != 0;
	if (fds[0].revents & POLLOUT)
		send_from_window(s);
	if (fds[0].revents & ~POLLOUT)
		receive_reply(s);
	if (fds[1].revents != 0)
		fill_from_input(s);
	return true;
}

/* Sends and receives until the result is known; false: timed out. */
static bool
exchange_all(struct stream *s)
{
	s->x->started = s->x->progress = net_now();
	for (;;) {
		fill_from_message(s);
		if (result_is_known(s))
			break;
		if (!exchange_some(s))
			return false;
	}
	/*
	 * A server may close the connection as soon as it has returned every
	 * byte. At this time, the end of standard input may not be read yet.
	 */
	if (s->ended && window_wants_input(s) &&
	    net_is_ready(s->x->input, POLLIN))
		fill_from_input(s);
	return true;
}

/* Half-closes, and counts surplus data until end of file or SURPLUS_TIME. */
static void
receive_surplus(struct stream *s)
{
	int64_t until = net_now() + SURPLUS_TIME, now;

	net_fin(s->x->fd);
	while (!s->ended && (now = net_now()) < until) {
		struct pollfd server = { s->x->fd, POLLIN, 0 };

		if (net_poll(&server, 1, until - now) > 0)
			receive_reply(s);
	}
}

static const char *
format_returned(char *out, size_t size, const struct stream *s)
{
	snprintf(out, size, "%" PRIu64 " of %" PRIu64 " bytes%s",
	    s->x->returned, s->filled + s->x->message_left,
	    s->input_ended || s->x->message_left > 0 ? "" :
	    ", before the end of standard input");
	return out;
}

/* Explains the failure in why; of several errors, explains the first one. */
static enum status
explain_failure(char why[EXCHANGE_WHY], const struct stream *s, bool in_time)
{
	char bytes[96], time[TEXT_TIME];

	format_returned(bytes, sizeof(bytes), s);
	if (s->differs) {
		snprintf(why, EXCHANGE_WHY, "differs at byte %" PRIu64 ": sent "
		    "0x%02x, got 0x%02x", s->differs_at + 1, s->expected,
		    s->found);
		return STATUS_NO;
	}
	if (s->surplus > 0) {
		snprintf(why, EXCHANGE_WHY, "sent %" PRIu64 " byte%s too many "
		    "after %" PRIu64, s->surplus, PLURAL(s->surplus),
		    s->x->returned);
		return STATUS_NO;
	}
	if (s->error != 0 && s->error != EPIPE) {
		snprintf(why, EXCHANGE_WHY, "failed after %s: %s", bytes,
		    strerror(s->error));
		return dial_status(s->error);
	}
	if (!in_time) {
		snprintf(why, EXCHANGE_WHY, "timed out: received nothing "
		    "for %s after %s", text_time(time, s->x->timeout), bytes);
		return STATUS_TIMEOUT;
	}
	snprintf(why, EXCHANGE_WHY, "closed after %s%s", bytes,
	    s->x->input >= 0 && !s->input_ended ?
	    " (does it end a message at a pause? see serve --stream)" : "");
	return STATUS_RESET;
}

void
stream_exchange(struct exchange *x)
{
	static struct stream s;		/* too large for the stack */
	bool in_time;

	s.x = x;
	in_time = exchange_all(&s);
	if (in_time)
		receive_surplus(&s);
	if (!in_time || !all_returned(&s) || s.differs || s.surplus > 0)
		x->status = explain_failure(x->why, &s, in_time);
}
