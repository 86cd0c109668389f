#include "talk.h"

#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum {
	PIECE = 131072,		/* bytes of one read, and of one write */
	CAUGHT = 160 * 1024,	/* enough to see what became of 64k blocks */
	ROUNDS = 12,		/* deadlines that one talk may take in all */
	NS_A_BYTE = 30		/* of a slow server: 32 MiB a second */
};

/* Both for a moment only: one conversation moves at a time. */
static unsigned char piece[PIECE], wanted[PIECE];

static const int64_t GRACE = 150 * NET_MS;	/* for what comes after it */
static const int64_t STALL = 300 * NET_MS;	/* full, not just busy */

static uint64_t
smaller(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

/* A word that is another one for each seed and index (after MurmurHash3). */
static uint32_t
mixed(uint32_t seed, uint32_t index)
{
	uint32_t h = index * 0x9e3779b1U + seed * 0x85ebca77U;

	h = (h ^ h >> 16) * 0x85ebca6bU;
	h = (h ^ h >> 13) * 0xc2b2ae35U;
	return h ^ h >> 16;
}

static unsigned char
letter(uint32_t bits)
{
	static const unsigned char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	return letters[bits & 63];
}

static void
letters_at(uint32_t seed, uint64_t at, unsigned char *out, size_t n)
{
	size_t i = 0;

	while (i < n) {
		uint32_t word = mixed(seed, (uint32_t)(at / 4));

		do
			out[i++] = letter(word >> 8 * (at % 4));
		while (++at % 4 != 0 && i < n);
	}
}

size_t
message_bytes(const struct message *m, uint64_t at, unsigned char *out,
    size_t n)
{
	if (at >= m->size)
		return 0;
	n = (size_t)smaller(n, m->size - at);
	switch (m->content) {
	case TEXT:
		memcpy(out, m->text + at, n);
		break;
	case LETTERS:
		letters_at(m->seed, at, out, n);
		break;
	case EVERY_BYTE:
		for (size_t i = 0; i < n; i++)
			out[i] = (unsigned char)(at + i);
		break;
	}
	return n;
}

static int64_t
longer(int64_t a, int64_t b)
{
	return a > b ? a : b;
}

static int64_t
shorter(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
target_quick(const struct target *target)
{
	int64_t quick = longer(longer(target->timeout / 10, 50 * NET_MS),
	    10 * target->slowest);

	return shorter(quick, target->timeout);
}

/* How long to wait when there is so much left of a deadline. */
static int64_t
patience(const struct target *target, int64_t left)
{
	return longer(left, target_quick(target));
}

int
talk_open(struct talk *t, const struct plan *plan, struct target *target)
{
	*t = (struct talk){ .plan = *plan, .target = target,
	    .deaf = plan->manner & DEAF };
	t->started = net_now();
	t->fd = target->fd;
	target->fd = -1;
	if (t->fd < 0)
		t->fd = dial_connect(&target->server,
		    patience(target, target->answer));
	if (t->fd == -ETIMEDOUT)
		target->answer = 0;
	t->moved = t->wrote = net_now();
	return t->fd < 0 ? t->fd : 0;
}

void
talk_close(struct talk *t)
{
	close(t->fd);
	free(t->got);
	t->fd = -1;
	t->got = NULL;
}

static uint64_t
size(const struct talk *t)
{
	return t->plan.message.size;
}

/* Where the burst ends that position sent is in. */
static uint64_t
burst_end(const struct talk *t)
{
	uint64_t burst = t->plan.burst;

	return burst == 0 ? size(t) :
	    smaller(size(t), (t->sent / burst + 1) * burst);
}

static bool
is_between_bursts(const struct talk *t)
{
	return t->plan.burst > 0 && t->sent > 0 && t->sent < size(t) &&
	    t->sent % t->plan.burst == 0;
}

static bool
has_to_say(const struct talk *t)
{
	return t->sent < size(t) && !t->mute && !(is_between_bursts(t) &&
	    t->plan.manner & IN_STEP && t->back < t->sent);
}

/* When it may say it. */
static int64_t
turn(const struct talk *t)
{
	return is_between_bursts(t) ? t->moved + t->plan.pause : t->moved;
}

static bool
is_complete(const struct talk *t)
{
	return t->sent == size(t) && t->back >= t->sent;
}

static bool
is_over(const struct talk *t)
{
	return t->ending != OPEN || t->caught == CAUGHT || is_complete(t);
}

static void
broken(struct talk *t, ssize_t n)
{
	if (t->error == 0)
		t->error = (int)-n;
}

static void
over(struct talk *t, enum ending ending)
{
	t->ending = ending;
	t->moved = net_now();
}

/* The last piece is held back for the FIN that follows it at once. */
static void
say(struct talk *t)
{
	size_t n = message_bytes(&t->plan.message, t->sent, piece,
	    (size_t)smaller(PIECE, burst_end(t) - t->sent));
	bool last = t->sent + n == size(t) && t->plan.manner & FIN_BEHIND;
	ssize_t sent = net_send(t->fd, piece, n, last);

	if (sent > 0) {
		t->sent += (uint64_t)sent;
		t->moved = t->wrote = net_now();
	} else if (sent != -EAGAIN && sent != -EINTR) {
		t->mute = true;
		broken(t, sent);
	}
}

static void
finish(struct talk *t)
{
	if (!t->finished)
		net_fin(t->fd);
	t->finished = true;
}

static void
catch(struct talk *t, const unsigned char *data, size_t n)
{
	if (t->got == NULL && (t->got = malloc(CAUGHT)) == NULL)
		err(STATUS_LOCAL, "no memory for what came back");
	n = (size_t)smaller(n, CAUGHT - t->caught);
	memcpy(t->got + t->caught, data, n);
	t->caught += n;
}

static void
compare(struct talk *t, const unsigned char *data, size_t n)
{
	size_t want = message_bytes(&t->plan.message, t->back, wanted, n);
	size_t i = 0;

	if (!t->differs && (want < n || memcmp(data, wanted, n) != 0)) {
		while (i < want && data[i] == wanted[i])
			i++;
		t->differs = true;
		t->at = t->back + i;
	}
	if (t->differs)
		catch(t, data + i, n - i);
	t->back += n;
}

static void
learn(struct target *target, int64_t waited)
{
	target->slowest = longer(target->slowest, waited);
}

static void
listen_some(struct talk *t)
{
	ssize_t n = net_recv(t->fd, piece, sizeof(piece));
	int64_t now;

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n <= 0) {
		if (n < 0)
			broken(t, n);
		over(t, t->error != 0 ? BROKEN : END_OF_FILE);
		return;
	}
	compare(t, piece, (size_t)n);
	now = net_now();
	if (!t->differs && !(t->plan.manner & DEAF))
		learn(t->target, now - t->moved);
	t->moved = now;
}

/* Since when it is the server that has to do something. */
static int64_t
since(const struct talk *t)
{
	return t->deaf ? t->wrote + STALL : longer(t->moved, turn(t));
}

/* A slow server may be busy for that long with what it owes, if it is much. */
static int64_t
digestion(const struct talk *t)
{
	int64_t owed = t->sent > t->back ? (int64_t)(t->sent - t->back) : 0;

	return shorter(owed * NS_A_BYTE, t->target->timeout);
}

/* When the time is up, if nothing moves. */
static int64_t
due(const struct talk *t)
{
	int64_t wait = t->differs ? target_quick(t->target) :
	    longer(patience(t->target, t->target->answer), digestion(t));

	if (t->limit > 0)
		wait = shorter(wait, t->limit);
	return shorter(since(t) + wait,
	    t->started + ROUNDS * t->target->timeout);
}

/* When there is something to be done, even if nothing moves. */
static int64_t
alarm_of(const struct talk *t)
{
	int64_t when = due(t), now = net_now();

	if (has_to_say(t) && turn(t) > now)
		when = shorter(when, turn(t));
	if (t->deaf)
		when = shorter(when, t->wrote + STALL);
	return when;
}

static short
wants(const struct talk *t, int64_t now)
{
	int events = t->deaf ? 0 : POLLIN;

	if (has_to_say(t) && turn(t) <= now)
		events |= POLLOUT;
	return (short)events;
}

static void
move(struct talk *t, int revents)
{
	if (revents & POLLOUT)
		say(t);
	if (t->sent == size(t) && t->plan.manner & FIN_BEHIND)
		finish(t);
	if (revents & ~POLLOUT)
		listen_some(t);
	if (t->deaf && (t->sent == size(t) || t->mute ||
	    net_now() >= t->wrote + STALL)) {
		t->deaf = false;
		t->moved = net_now();		/* now it is its turn */
	}
}

static void
give_up(struct talk *t)
{
	if (!t->differs)
		t->target->answer -= net_now() - since(t);
	over(t, LATE);
}

/* Waits once for those that are not over; false if there are none. */
static bool
move_all(struct talk *talks, size_t n)
{
	struct pollfd fds[TALKS];
	int64_t now = net_now(), wake = INT64_MAX;
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		struct talk *t = &talks[i];

		fds[i] = (struct pollfd){ .fd = -1 };
		if (is_over(t))
			continue;
		any = true;
		fds[i].fd = t->fd;
		fds[i].events = wants(t, now);
		wake = shorter(wake, alarm_of(t));
	}
	if (any)
		net_poll(fds, n, longer(wake - now, 0), NULL);
	for (size_t i = 0; any && i < n; i++) {
		if (fds[i].fd < 0)
			continue;
		move(&talks[i], fds[i].revents);
		if (!is_over(&talks[i]) && net_now() >= due(&talks[i]))
			give_up(&talks[i]);
	}
	return any;
}

void
talk_run(struct talk *talks, size_t n)
{
	for (size_t i = 0; i < n; i++)	/* it may have waited its turn */
		talks[i].moved = talks[i].wrote = net_now();
	while (move_all(talks, n))
		;
}

void
talk_listen(struct talk *t, int64_t ns)
{
	int64_t until = net_now() + ns, now;

	while (t->ending == OPEN && t->caught < CAUGHT &&
	    (now = net_now()) < until) {
		struct pollfd server = { t->fd, POLLIN, 0 };

		if (net_poll(&server, 1, until - now, NULL) > 0)
			listen_some(t);
	}
}

void
talk_end(struct talk *t)
{
	bool must = t->plan.manner & FIN_BEHIND;
	int64_t wait = must ? patience(t->target, t->target->end) : GRACE;

	if (t->ending != OPEN)
		return;
	finish(t);
	talk_listen(t, wait);
	if (must && t->ending == OPEN) {
		over(t, LATE);
		t->target->end = 0;
	}
}

void
talk_stuff(struct talk *t, int64_t ns)
{
	struct pollfd server = { t->fd, POLLOUT, 0 };

	while (t->sent < size(t) && !t->mute &&
	    net_poll(&server, 1, ns, NULL) > 0)
		say(t);
}

/*
 * Whether what is owed comes now, because of what was done last. A server
 * that has dropped it answers the newline only.
 */
static enum held
released(struct talk *t, enum held held)
{
	struct pollfd server = { t->fd, POLLIN, 0 };
	unsigned char owed = 0;
	ssize_t n;

	if (net_poll(&server, 1, target_quick(t->target), NULL) == 0 ||
	    (n = net_recv(t->fd, piece, sizeof(piece))) <= 0)
		return NOT_HELD;
	message_bytes(&t->plan.message, t->back, &owed, 1);
	return piece[0] == owed && (owed != '\n' || n > 1) ? held : DROPPED;
}

void
talk_probe(struct talk *t)
{
	if (t->finished || t->differs)
		return;
	if (net_send(t->fd, "\n", 1, false) == 1)
		t->held = released(t, UNTIL_NEWLINE);
	if (t->held == NOT_HELD) {
		finish(t);
		t->held = released(t, UNTIL_FIN);
	}
}

bool
talk_is_right(const struct talk *t)
{
	if (t->plan.manner & FIN_BEHIND && t->ending != END_OF_FILE)
		return false;
	return is_complete(t) && !t->differs;
}
