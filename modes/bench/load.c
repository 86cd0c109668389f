/*
 * One loop over epoll(7). A connection says one byte first and is put to work
 * when all of them have been answered: so each is known to be served, not
 * just to lie in the kernel's queue, and no more than GREETINGS are in that
 * queue at once, for backlogs are short.
 */
#include "load.h"

#include <sys/epoll.h>
#include <sys/resource.h>

#include <err.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "process.h"
#include "modes/lib/text.h"

enum {
	PIECE = LOAD_PIECE,
	PERIOD = 65521,		/* of what is sent; a prime below PIECE */
	STRIDE = 40503,		/* from one connection's bytes to the next's */
	GREETINGS = 32,		/* connections that are being opened at once */
	PORTS = 1000,		/* connections from one source address */
	EVENTS = 512,		/* taken from the kernel at once */
	SPARE = 16		/* descriptors for all but connections */
};

/*
 * For so long after the last bytes it does not sleep. To wake a processor that
 * sleeps takes longer than a round trip, and who wakes it pays: sleeping, it
 * would measure itself, in the server's latency and in its processor time.
 */
static const int64_t SPIN = NET_MS / 10;

static const int64_t TICK = 100 * NET_MS;
static const int64_t GRACE = 200 * NET_MS;	/* to close when we have */

enum phase { OPENING, WARMING, MEASURING, CLOSING };

enum state {
	GREETING,	/* its first byte has not come back yet */
	SILENT,		/* it has; nothing is asked of the server */
	BUSY,
	FINISHED	/* all is back and our FIN is out */
};

/* Positions count the bytes of a connection: back <= sent <= goal. */
struct peer {
	int fd;			/* -1: closed */
	enum state state;
	uint32_t events;	/* that are waited for */
	uint32_t oldest;	/* message in flight, in its ring of times */
	uint64_t number;	/* of the connection, from 1 */
	uint64_t sent, back;
	uint64_t goal;		/* what may be sent by now */
	uint64_t due;		/* where the oldest message ends */
	int64_t moved;		/* when a byte last came, or should have */
};

struct load {
	const struct load_plan *plan;
	const struct load_target *target;
	load_progress *progress;
	struct load_result *result;
	int epoll;
	enum phase phase;
	int64_t until, tick;	/* end of the phase, the next look around */
	int64_t started;	/* measuring */
	int64_t now;		/* after the last events */
	int64_t awake;		/* until then it does not sleep */
	struct peer *peers;	/* the busy ones, then the idle ones */
	size_t n, next;		/* all of them; the next to be opened */
	size_t greeting, open;	/* how many are */
	int64_t *times;		/* of messages in flight: a ring for each */
	uint64_t opened;	/* in all */
	long processors;	/* with one, the server has to have it */
};

static volatile sig_atomic_t stopped;

/* What is sent, and what is read: one of each at a time. */
static unsigned char pattern[PERIOD + PIECE], piece[PIECE];

void
load_stop(int signal)
{
	(void)signal;
	stopped = 1;
}

/* Bytes without an order of their own (xorshift32), again and again. */
static void
make_pattern(void)
{
	uint32_t x = 2463534242;

	for (size_t i = 0; i < PERIOD; i++) {
		x ^= x << 13;
		x ^= x >> 17;
		x ^= x << 5;
		pattern[i] = (unsigned char)(x >> 16);
	}
	for (size_t i = PERIOD; i < sizeof(pattern); i++)
		pattern[i] = pattern[i - PERIOD];
}

/*
 * The bytes of the connection from position at on, PIECE of them at least.
 * Each connection begins at another place, and no power of two is a period:
 * neither another connection's bytes nor those of a buffer filled earlier are
 * the ones that belong here.
 */
static const unsigned char *
bytes_at(const struct peer *p, uint64_t at)
{
	return pattern + (p->number * STRIDE + at) % PERIOD;
}

/* Ends the program: what is wrong with the server, seen on which connection. */
static void fail(const struct load *, const struct peer *, enum status,
    const char *fmt, ...) __attribute__((noreturn, format(printf, 4, 5)));

static void
fail(const struct load *l, const struct peer *p, enum status status,
    const char *fmt, ...)
{
	char what[256];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	l->progress(l->target, NULL);
	errx((int)status, "%s connection %" PRIu64 " %s",
	    l->target->server.name, p->number, what);
}

static void no_connection(const struct load *, int error)
    __attribute__((noreturn));

static void
no_connection(const struct load *l, int error)
{
	struct dial_error why;

	dial_explain(&why, &l->target->server, error);
	l->progress(l->target, NULL);
	errx((int)why.status, "%s%s", why.text, error != EADDRNOTAVAIL ? "" :
	    " (all ports are in use or in TIME_WAIT; try a shorter "
	    "--duration)");
}

/* For a server that left when it had answered, as the homework's does. */
static const char *
hint(const struct load *l, const struct peer *p)
{
	bool answered = p->back == p->due || p->back + l->plan->size == p->due;

	return l->plan->mode != ROUND_TRIPS || p->back == 0 || !answered ? "" :
	    " (one message a connection? try --connect)";
}

static void
broke_off(const struct load *l, const struct peer *p, int error)
{
	if (p->sent == 0)
		no_connection(l, error);
	fail(l, p, dial_status(error), "broke off after %" PRIu64 " of %"
	    PRIu64 " bytes: %s%s", p->back, p->sent, strerror(error),
	    p->state == FINISHED ? "" : hint(l, p));
}

static void
compare(const struct load *l, const struct peer *p, size_t n)
{
	const unsigned char *wanted = bytes_at(p, p->back);
	uint64_t owed = p->sent - p->back;
	size_t i = 0, known = n < owed ? n : (size_t)owed;

	if (memcmp(piece, wanted, known) != 0) {
		while (piece[i] == wanted[i])
			i++;
		fail(l, p, STATUS_NO, "differs at byte %" PRIu64 ": sent "
		    "0x%02x, got 0x%02x", p->back + i + 1, wanted[i],
		    piece[i]);
	}
	if (n > owed)
		fail(l, p, STATUS_NO, "sent %" PRIu64 " byte%s too many after "
		    "%" PRIu64, n - owed, PLURAL(n - owed), p->sent);
}

static void
watch(struct load *l, struct peer *p, uint32_t events)
{
	struct epoll_event event = { .events = events,
	    .data.u64 = (uint64_t)(p - l->peers) };

	if (p->events == events)
		return;
	if (epoll_ctl(l->epoll, p->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
	    p->fd, &event) < 0)
		err(STATUS_LOCAL, "cannot watch a connection");
	p->events = events;
}

/* Sends what may be sent, a piece at a time so that others have their turn. */
static void
send_some(struct load *l, struct peer *p)
{
	uint64_t left = p->goal - p->sent;
	size_t most = l->plan->mode == STREAM && l->plan->size < PIECE ?
	    l->plan->size : PIECE;

	if (left > 0) {
		ssize_t n = net_send(p->fd, bytes_at(p, p->sent),
		    left < most ? (size_t)left : most, false);

		if (n > 0)
			p->sent += (uint64_t)n;
		else if (n == -EPIPE)
			p->goal = p->sent;	/* recv knows why */
		else if (n != -EAGAIN && n != -EINTR)
			broke_off(l, p, (int)-n);
	}
	watch(l, p, p->sent < p->goal ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

/*
 * A client that closes first has the TIME_WAIT (RFC 9293, 3.6.1), and one
 * address has some 28 000 ports, which churn would use up within seconds.
 * Closing with a RST instead would measure, and in some servers even break,
 * what ordinary clients do not do. But all of 127.0.0.0/8 is this host, so on
 * loopback each thousand connections come from an address of their own.
 */
static bool
source(const struct load *l, struct net_peer *from)
{
	const struct net_peer *to = &l->target->server.peer;

	if (to->address.any.sa_family != AF_INET ||
	    ntohl(to->address.v4.sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
		return false;
	*from = (struct net_peer){ .size = sizeof(from->address.v4) };
	from->address.v4.sin_family = AF_INET;
	from->address.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK +
	    (uint32_t)(l->opened / PORTS % UINT16_MAX));
	return true;
}

/*
 * On loopback a connection is there when connect(2) returns, so what there is
 * to be said is tried at once.
 */
static void
open_peer(struct load *l, struct peer *p, enum state state, uint64_t goal)
{
	const struct net_peer *to = &l->target->server.peer;
	struct net_peer from;
	bool ours = source(l, &from);

	*p = (struct peer){ .state = state, .number = ++l->opened,
	    .goal = goal, .due = goal, .moved = net_now() };
	p->fd = net_connect_from(ours ? &from : NULL, &to->address.any,
	    to->size);
	if (p->fd < 0)
		no_connection(l, -p->fd);
	l->open++;
	send_some(l, p);
}

static int64_t *
times_of(const struct load *l, const struct peer *p)
{
	return l->times + (size_t)(p - l->peers) * l->plan->window;
}

static void
open_busy(struct load *l, struct peer *p)
{
	*times_of(l, p) = net_now();
	open_peer(l, p, BUSY, l->plan->size);
}

static void
close_peer(struct load *l, struct peer *p)
{
	close(p->fd);
	p->fd = -1;
	l->open--;
}

static void
finish(struct load *l, struct peer *p)
{
	net_fin(p->fd);
	p->state = FINISHED;
	watch(l, p, EPOLLIN);
}

/*
 * Each message that has come back makes room for another one, which is timed
 * from here on, whenever the socket takes it.
 */
static void
count_messages(struct load *l, struct peer *p, int64_t now)
{
	int64_t *times = times_of(l, p);

	while (p->back >= p->due) {
		if (l->phase == MEASURING)
			histogram_add(&l->result->latency,
			    (uint64_t)(now - times[p->oldest]));
		times[p->oldest] = now;
		p->oldest = (uint32_t)((p->oldest + 1) % l->plan->window);
		p->due += l->plan->size;
		if (l->phase != CLOSING && l->plan->mode == ROUND_TRIPS)
			p->goal += l->plan->size;
	}
}

/* What follows from the bytes that have come. */
static void
go_on(struct load *l, struct peer *p)
{
	if (p->state == BUSY && l->plan->mode != STREAM)
		count_messages(l, p, p->moved);
	if (p->back < p->goal)
		send_some(l, p);
	else if (p->state == GREETING && l->phase == OPENING) {
		p->state = SILENT;
		l->greeting--;
	} else
		finish(l, p);
}

/* The server's end of file: right only after ours. */
static void
ended(struct load *l, struct peer *p)
{
	if (p->state != FINISHED)
		fail(l, p, STATUS_RESET, "closed after %" PRIu64 " of %" PRIu64
		    " bytes%s", p->back, p->sent, hint(l, p));
	close_peer(l, p);
	if (l->plan->mode == CONNECT && l->phase != CLOSING)
		open_busy(l, p);
}

static void
receive_some(struct load *l, struct peer *p)
{
	ssize_t n = net_recv(p->fd, piece, sizeof(piece));

	if (n == -EAGAIN || n == -EINTR)
		return;
	if (n < 0)
		broke_off(l, p, (int)-n);
	if (n == 0) {
		ended(l, p);
		return;
	}
	compare(l, p, (size_t)n);
	p->back += (uint64_t)n;
	p->moved = net_now();
	if (l->processors > 1)
		l->awake = p->moved + SPIN;
	if (l->phase == MEASURING)
		l->result->bytes += (uint64_t)n;
	go_on(l, p);
}

static void
move(struct load *l, const struct epoll_event *event)
{
	struct peer *p = &l->peers[event->data.u64];

	if (event->events & EPOLLOUT)
		send_some(l, p);
	if (event->events & ~(uint32_t)EPOLLOUT)
		receive_some(l, p);
}

/* Opens some more, and puts them to work when all have been answered. */
static void
open_some(struct load *l)
{
	while (l->next < l->n && l->greeting < GREETINGS) {
		l->greeting++;
		open_peer(l, &l->peers[l->next++], GREETING, 1);
	}
}

static void
put_to_work(struct load *l, struct peer *p)
{
	const struct load_plan *plan = l->plan;
	int64_t now = net_now();

	p->state = BUSY;
	p->moved = now;
	for (size_t i = 0; i < plan->window; i++)
		times_of(l, p)[i] = now;
	p->due = p->back + plan->size;
	p->goal = plan->mode == STREAM ? UINT64_MAX :
	    p->back + plan->size * plan->window;
	send_some(l, p);
}

static void
begin_warming(struct load *l)
{
	int64_t warm_up = l->plan->duration / 5;

	l->phase = WARMING;
	for (struct peer *p = l->peers; p < l->peers + l->plan->connections;
	    p++)
		if (l->plan->mode == CONNECT)
			open_busy(l, p);
		else
			put_to_work(l, p);
	l->until = net_now() + (warm_up < NET_SECOND ? warm_up : NET_SECOND);
}

/* What the server has cost up to now in ns, or -1 if that is not known. */
static int64_t
processor(const struct load *l)
{
	int64_t time;

	if (l->target->pid == 0)
		return -1;
	time = process_time(l->target->pid);
	if (time < 0) {
		l->progress(l->target, NULL);
		errx(STATUS_LOCAL, "--pid: cannot tell the processor time of "
		    "process %ld: %s", (long)l->target->pid,
		    strerror((int)-time));
	}
	return time;
}

static void
begin_measuring(struct load *l)
{
	l->phase = MEASURING;
	l->result->processor = processor(l);
	l->started = net_now();
	l->until = l->started + l->plan->duration;
}

static void
end_measuring(struct load *l)
{
	struct load_result *r = l->result;

	r->time = net_now() - l->started;
	if (l->target->pid == 0)
		return;
	r->processor = processor(l) - r->processor;
	r->memory = process_memory(l->target->pid);
}

/* From here on nothing new is said; what is under way has to come back. */
static void
begin_closing(struct load *l)
{
	if (l->phase == MEASURING)
		end_measuring(l);
	l->phase = CLOSING;
	for (struct peer *p = l->peers; p < l->peers + l->n; p++) {
		if (p->fd < 0 || p->state == FINISHED)
			continue;
		p->moved = net_now();
		if (l->plan->mode == STREAM && p->state == BUSY)
			p->goal = p->sent;
		if (p->back == p->goal)
			finish(l, p);
	}
}

static void
next_phase(struct load *l)
{
	if (l->phase == CLOSING)
		return;
	if (stopped || (l->phase == MEASURING && l->now >= l->until))
		begin_closing(l);
	else if (l->phase == WARMING && l->now >= l->until)
		begin_measuring(l);
	else if (l->phase == OPENING) {
		open_some(l);
		if (l->next == l->n && l->greeting == 0)
			begin_warming(l);
	}
}

/*
 * A server whose time is up. One that goes on after our end of file is no
 * fault where the connection is not what is measured: it is closed by us.
 */
static void
hurry(struct load *l, struct peer *p)
{
	bool lenient = p->state == FINISHED && l->plan->mode == ROUND_TRIPS;
	int64_t limit = lenient ? GRACE : l->plan->timeout;
	char time[TEXT_TIME];

	if (p->state != FINISHED && p->back == p->goal)
		return;
	if (limit == 0 || l->now - p->moved < limit)
		return;
	if (lenient)
		close_peer(l, p);
	else if (p->sent == 0)
		no_connection(l, ETIMEDOUT);
	else
		fail(l, p, STATUS_TIMEOUT, "timed out: nothing came for %s "
		    "after %" PRIu64 " of %" PRIu64 " bytes%s",
		    text_time(time, limit), p->back, p->sent,
		    p->state == FINISHED ? ", nor an end of file" : "");
}

static void
look_around(struct load *l)
{
	if (l->now < l->tick)
		return;
	l->tick = l->now + TICK;
	if (l->phase == MEASURING)
		l->result->time = l->now - l->started;
	l->progress(l->target, l->result);
	for (struct peer *p = l->peers; p < l->peers + l->n; p++)
		if (p->fd >= 0)
			hurry(l, p);
}

/* How long to sleep, in whole ms, for the kernel does not take less. */
static int
sleep_ms(const struct load *l)
{
	int64_t end = l->phase == WARMING || l->phase == MEASURING ?
	    l->until : l->tick;
	int64_t left = (end < l->tick ? end : l->tick) - l->now;

	return left <= 0 || l->now < l->awake ? 0 : (int)(left / NET_MS) + 1;
}

/* A signal that comes before the wait, not in it, is seen a tick later. */
static void
turn(struct load *l)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(l->epoll, events, EVENTS, sleep_ms(l));

	if (n < 0 && errno != EINTR)
		err(STATUS_LOCAL, "cannot wait for connections");
	for (int i = 0; i < n; i++)
		move(l, &events[i]);
	l->now = net_now();
}

/* A descriptor for each connection, within what the system grants. */
static void
take_descriptors(uint64_t connections)
{
	struct rlimit limit;
	uint64_t needed = connections + SPARE;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(STATUS_LOCAL, "cannot tell the limit of descriptors");
	if (needed <= limit.rlim_cur)
		return;
	if (needed > limit.rlim_max)
		errx(STATUS_LOCAL, "%" PRIu64 " connections need %" PRIu64
		    " descriptors, and the limit is %" PRIu64
		    " (ulimit -Hn, or LimitNOFILE= of systemd)", connections,
		    needed, (uint64_t)limit.rlim_max);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(STATUS_LOCAL, "cannot raise the limit of descriptors");
}

static void
take_memory(struct load *l)
{
	l->peers = calloc(l->n, sizeof(*l->peers));
	l->times = calloc(l->plan->connections * l->plan->window,
	    sizeof(*l->times));
	l->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (l->peers == NULL || l->times == NULL || l->epoll < 0)
		err(STATUS_LOCAL, "cannot hold %zu connections", l->n);
	for (size_t i = 0; i < l->n; i++)
		l->peers[i].fd = -1;
}

void
load_run(const struct load_plan *plan, const struct load_target *target,
    load_progress *progress, struct load_result *result)
{
	struct load l = { .plan = plan, .target = target,
	    .progress = progress, .result = result,
	    .n = plan->connections + plan->idle, .now = net_now(),
	    .processors = sysconf(_SC_NPROCESSORS_ONLN),
	    .next = plan->mode == CONNECT ? plan->connections : 0 };

	*result = (struct load_result){ .processor = -1, .memory = -1 };
	take_descriptors(l.n);
	take_memory(&l);
	make_pattern();
	do {
		next_phase(&l);
		turn(&l);
		look_around(&l);
	} while (l.phase != CLOSING || l.open > 0);
	progress(target, NULL);
	close(l.epoll);
	free(l.peers);
	free(l.times);
}
