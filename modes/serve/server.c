#include "server.h"

#include <sys/mman.h>

#include <err.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "engine.h"
#include "modes/mode.h"
#include "sandbox.h"
#include "signals.h"
#include "systemd.h"

/* The last part of the drain time, for pending output, FIN and linger. */
static const int64_t FINISH_TIME = NET_SECOND;

/* Datagrams that arrived before the stop are answered for at most this long. */
static const int64_t ANSWER_TIME = NET_SECOND;

/*
 * Datagrams that are answered before a wait if the server has no other socket.
 */
enum { DATAGRAMS_ALONE = 16 * DATAGRAM_BATCH };

/*
 * Opening.
 */

static struct shared *
new_shared(int workers)
{
	size_t size = sizeof(struct shared) +
	    (size_t)workers * sizeof(struct tally);
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		err(STATUS_LOCAL, "no memory for the totals");
	return memory;
}

void
server_open(struct server *s)
{
	s->shared = new_shared(s->options.workers);
	s->has_udp = listener_any_udp(&s->listeners);
	datagram_open(&s->datagrams, &s->options.datagram);
	for (int i = 0; i < s->listeners.n; i++)
		if (listener_is_udp(&s->listeners.list[i]))
			datagram_add(&s->datagrams,
			    s->listeners.list[i].watch.fd);
	s->signals = (struct watch){ .fd = signals_open(),
	    .kind = WATCH_SIGNALS };
	s->finish_at = s->abort_at = INT64_MAX;
	s->on_ready = server_report_ready;
	s->on_stop = server_report_stopping;
}

void
server_open_process(struct server *s, struct tally *tally)
{
	client_open(&s->clients, &s->options.client, tally);
	s->datagrams.tally = tally;
	listener_reserve(&s->listeners);
}

/*
 * Reporting.
 */

void
server_report_ready(struct server *s)
{
	listener_announce(&s->listeners);
	systemd_notify("READY=1");
	if (listener_has_files(&s->listeners))
		sandbox_allow(sandbox_remove_file);
}

void
server_report_stopping(struct server *s)
{
	uint64_t clients = 0;

	for (int i = 0; i < s->options.workers; i++)
		clients += s->shared->workers[i].clients;
	if (clients > 0)
		log_stopping(clients, s->options.drain);
	systemd_notify("STOPPING=1");
}

void
server_log_totals(const struct server *s)
{
	struct log_totals sum = { .has_udp = s->has_udp,
	    .dropped = listener_kernel_drops(&s->listeners) };

	for (int i = 0; i < s->options.workers; i++) {
		const struct tally *t = &s->shared->workers[i];

		sum.connections += t->accepted;
		sum.bytes += t->bytes;
		sum.answered += t->answered;
		sum.answered_bytes += t->answered_bytes;
		sum.refused += t->refused;
		sum.dropped += t->dropped;
	}
	log_totals(&sum);
}

void
server_ready(struct server *s)
{
	int error;

	s->on_ready(s);
	if (!s->options.sandbox)
		return;
	sandbox_allow(s->engine->calls);
	sandbox_allow(log_calls());
	if (s->has_udp)
		sandbox_allow(datagram_calls);
	if ((error = sandbox_enter()) < 0 && log_has(LOG_CONNECTIONS))
		log_warning("no sandbox: %s", strerror(-error));
}

/*
 * Accepting. One function decides whether to accept, and one function accepts.
 */

bool
server_is_open(const struct server *s)
{
	uint64_t count = s->options.count;

	return !s->is_stopping && (count == 0 || s->shared->accepted < count);
}

bool
server_may_accept(const struct server *s)
{
	return server_is_open(s) &&
	    s->clients.now >= s->listeners.paused_until &&
	    (s->max_clients == 0 || s->clients.tally->clients < s->max_clients);
}

bool
server_is_serving(const struct server *s)
{
	return server_is_open(s) || s->clients.tally->clients > 0;
}

/*
 * Counts n connections or datagrams for --count. When the count is reached,
 * shuts the listeners down for all workers. Returns how many of the n may be
 * served: other workers accept at the same time, so the count may already be
 * reached.
 */
static uint64_t
count_accept(struct server *s, uint64_t n)
{
	uint64_t before, left;

	if (s->options.count == 0)
		return n;
	before = atomic_fetch_add(&s->shared->accepted, n);
	left = before < s->options.count ? s->options.count - before : 0;
	if (left > 0 && n >= left)
		listener_shut_down(&s->listeners);
	return n < left ? n : left;
}

struct client *
server_take(struct server *s, struct listener *l, int fd,
    const union net_address *peer)
{
	struct client *c;

	if (fd < 0) {
		/* Another worker may have shut the listener down. */
		if (fd != -EAGAIN && server_is_open(s))
			listener_accept_failed(&s->listeners, l, -fd,
			    s->clients.now);
		return NULL;
	}
	if (count_accept(s, 1) == 0) {
		close(fd);
		return NULL;
	}
	if ((c = client_new(&s->clients, fd, peer)) == NULL) {
		close(fd);
		listener_pause(&s->listeners, ENOMEM, s->clients.now);
		return NULL;
	}
	if (!server_is_open(s))
		listener_close(&s->listeners);
	return c;
}

struct client *
server_accept(struct server *s, struct listener *l)
{
	union net_address peer;
	int fd;

	if (!server_may_accept(s))
		return NULL;
	fd = listener_accept(l, &peer);
	return server_take(s, l, fd, &peer);
}

struct client *
server_adopt(struct server *s)
{
	struct client *c;

	if (!s->is_inetd || !server_is_open(s))
		return NULL;
	count_accept(s, 1);
	c = client_new(&s->clients, STDIN_FILENO, &s->inetd_peer);
	if (c == NULL)
		errx(STATUS_LOCAL, "no memory for the client");
	return c;
}

/* Returns how many datagrams --count still allows, as this process knows it. */
static uint64_t
datagrams_left(const struct server *s)
{
	return s->options.count == 0 ? UINT64_MAX :
	    s->options.count - s->shared->accepted;
}

/*
 * Receives and answers at most `most` datagrams. Returns the number of received
 * datagrams.
 */
static size_t
answer_some(struct server *s, struct listener *l, size_t most)
{
	int64_t now = s->clients.now;
	uint64_t left = datagrams_left(s);
	size_t n = datagram_receive(&s->datagrams, l->watch.fd, l->one_address,
	    left < most ? (size_t)left : most, now);

	if (s->datagrams.error != 0 && server_is_open(s))
		listener_receive_failed(l, s->datagrams.error, now);
	if (n == 0)
		return s->datagrams.received;
	s->clients.active_at = now;
	datagram_reply(&s->datagrams, l->watch.fd, (size_t)count_accept(s, n),
	    n, now);
	if (!server_is_open(s))
		listener_close(&s->listeners);
	return s->datagrams.received;
}

/*
 * Returns how many datagrams are answered before the next wait. If the server
 * has only one UDP socket, more datagrams delay only signals: by 5 ms if the
 * datagrams are small, by 50 ms if they have the largest size.
 */
static size_t
datagrams_at_once(const struct server *s)
{
	return s->listeners.n == 1 && s->clients.tally->clients == 0 ?
	    DATAGRAMS_ALONE : DATAGRAM_BATCH;
}

/*
 * If several datagrams were waiting, it is likely that other datagrams have
 * arrived since. Receiving once more costs less than waiting, even if no
 * datagram has arrived.
 */
bool
server_answer(struct server *s, struct listener *l)
{
	size_t most = datagrams_at_once(s), done = 0, n;

	do {
		if (!server_is_open(s))
			return false;
		n = answer_some(s, l, most - done);
		done += n;
	} while (n > 0 && done > 1 && done < most);
	return done == most;
}

/*
 * Closing clients.
 */

void
server_close_client(struct server *s, struct client *c)
{
	client_free(&s->clients, c);
	listener_resume(&s->listeners);
}

void
server_close_ended(struct server *s)
{
	if (client_free_ended(&s->clients) > 0)
		listener_resume(&s->listeners);
}

/*
 * Time, signals and shutdown.
 */

static bool
is_spinning(const struct server *s)
{
	return s->clients.active_at + s->options.spin > s->clients.now;
}

static int64_t
earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t
server_wait_time(const struct server *s)
{
	int64_t now = s->clients.now, retry = systemd_retry();
	int64_t until = client_next_timeout(&s->clients);

	if (is_spinning(s))
		return 0;
	if (retry > 0)
		until = earlier(until, now + retry);
	until = earlier(until, earlier(s->finish_at, s->abort_at));
	until = earlier(until, log_suppressed_at());
	if (server_is_open(s))
		until = earlier(until, listener_pause_end(&s->listeners, now));
	if (until == INT64_MAX)
		return NET_FOREVER;
	return until > now ? until - now : 0;
}

void
server_tick(struct server *s)
{
	s->clients.now = net_now();
	if (s->clients.now >= log_suppressed_at())
		log_suppressed(s->clients.now);
	if (!server_is_open(s))
		listener_close(&s->listeners);
}

/*
 * Accepts the connections in the kernel's queue before a stop. Their clients
 * are connected, and closing the listeners would reset these connections.
 */
static void
accept_waiting(struct server *s)
{
	struct client *c;

	for (int i = 0; i < s->listeners.n; i++)
		while (i < s->listeners.n &&
		    !listener_is_udp(&s->listeners.list[i]) &&
		    (c = server_accept(s, &s->listeners.list[i])) != NULL)
			client_update(&s->clients, c);
}

/*
 * Answers the datagrams that have arrived before a stop. Other datagrams arrive
 * meanwhile, so the time is limited to ANSWER_TIME. A full receive buffer takes
 * less time than this.
 */
static void
answer_waiting(struct server *s)
{
	int64_t until = s->clients.now + earlier(ANSWER_TIME,
	    s->options.drain);

	for (int i = 0; i < s->listeners.n; i++)
		while (i < s->listeners.n &&
		    listener_is_udp(&s->listeners.list[i]) &&
		    server_answer(s, &s->listeners.list[i]) &&
		    net_now() < until)
			;
}

/*
 * A client that is sending may continue until it pauses for the time of --gap,
 * so that all bytes that it has already sent are echoed.
 */
static void
stop_serving(struct server *s)
{
	int64_t now = s->clients.now, drain = s->options.drain;

	if (s->is_stopping)
		return;
	accept_waiting(s);
	answer_waiting(s);
	s->is_stopping = true;
	listener_close(&s->listeners);
	s->finish_at = now + (drain > FINISH_TIME ? drain - FINISH_TIME : 0);
	s->abort_at = now + drain;
	s->on_stop(s);
	client_begin_stop(&s->clients);
}

void
server_read_signals(struct server *s)
{
	signals_read();
	if (signals_take_totals())
		server_log_totals(s);
	if (signals_take_stop())
		stop_serving(s);
}

void
server_expire(struct server *s)
{
	client_expire(&s->clients);
	if (s->finish_at <= s->clients.now) {
		s->finish_at = INT64_MAX;
		client_finish_all(&s->clients);
	}
	if (s->abort_at <= s->clients.now)
		client_abort_all(&s->clients);
}
