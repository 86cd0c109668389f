/*
 * The tests of UDP servers, in order. RFC 862: a UDP echo server returns the
 * data of each datagram that it receives.
 *
 * UDP may lose datagrams, so each is sent again until it is answered. A lost
 * datagram is reported in a comment. A test fails for loss only if no try is
 * answered.
 */
#include "datagram_tests.h"

#include <sys/socket.h>

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "datagram_diagnose.h"
#include "exchange.h"
#include "modes/lib/net.h"

enum {
	SMALL = 64,		/* bytes */
	CLIENTS = 5,		/* clients that take turns, */
	TURNS = 4,		/* and how often */
	PORTS = 1000,		/* source ports */
	CLOSING = 20,		/* clients that do not receive a reply */
	LOW_PORT = 1023, LOWEST_PORT = 512,	/* source ports to try */
	BURST_LOSS = 10,	/* losses that are not by chance */
	MAX_ADDRESSES = 32	/* of this system */
};

/* How long the test waits for an answer that should not come. */
static const int64_t NO_ANSWER_WAIT = 200 * NET_MS;

/* Opens a socket for a test. Returns -1 if the test must be skipped. */
static int
open_client(struct test_run *run)
{
	int fd = exchange_open(exchange_family(&run->target));

	if (fd < 0)
		tests_report(run, SKIP, "cannot open a socket: %s",
		    strerror(-fd));
	return fd < 0 ? -1 : fd;
}

/* Passes the test with a comment about lost datagrams. */
static enum outcome
pass_with_losses(struct test_run *run, int lost, int sent)
{
	if (lost > 0)
		snprintf(run->report.comment, sizeof(run->report.comment),
		    "%d of %d datagrams were lost, and answered when they were "
		    "sent again", lost, sent);
	return PASS;
}

/* Runs an exchange, and reports on it. The sockets remain open. */
static enum outcome
run_exchange(struct test_run *run, struct exchange *x)
{
	if (!exchange_run(x))
		return datagram_diagnose(run, x);
	return pass_with_losses(run, exchange_count_lost(x),
	    exchange_count_tries(x));
}

/* One datagram, as the plan of the test says. */
static enum outcome
test_one_datagram(struct test_run *run)
{
	const struct message *m = &run->test->plan.message;
	enum outcome outcome;
	struct exchange x;
	int fd;

	if (run->no_answer_since != NULL)	/* this one may be empty */
		return tests_report(run, FAIL, "not tried: the server "
		    "did not answer %s", run->no_answer_since);
	if ((fd = open_client(run)) < 0)
		return SKIP;
	exchange_init(&x, &run->target);
	exchange_add(&x, fd, m->content, m->size);
	x.datagrams[0].message.text = m->text;
	outcome = run_exchange(run, &x);
	exchange_close(&x);
	return outcome;
}

/* Datagrams of different sizes on their way at the same time. */
static enum outcome
test_boundaries(struct test_run *run)
{
	enum outcome outcome;
	struct exchange x;
	int fd = open_client(run);

	if (fd < 0)
		return SKIP;
	exchange_init(&x, &run->target);
	for (uint64_t i = 0; i < 10; i++)
		exchange_add(&x, fd, LETTERS, 20 + 100 * (i * 7 % 10));
	outcome = run_exchange(run, &x);
	exchange_close(&x);
	return outcome;
}

/* Adds small datagrams, each from a new socket, until there are n. */
static bool
add_clients(struct test_run *run, struct exchange *x, int n)
{
	while (x->n < n) {
		int fd = open_client(run);

		if (fd < 0)
			return false;
		exchange_add(x, fd, LETTERS, SMALL);
	}
	return true;
}

/* Each client in turn sends a datagram, before the first answer arrives. */
static enum outcome
test_clients(struct test_run *run)
{
	enum outcome outcome = SKIP;
	struct exchange x;

	exchange_init(&x, &run->target);
	if (add_clients(run, &x, CLIENTS)) {
		for (int i = CLIENTS; i < CLIENTS * TURNS; i++)
			exchange_add(&x, x.datagrams[i % CLIENTS].fd, LETTERS,
			    SMALL);
		outcome = run_exchange(run, &x);
	}
	x.n = x.n < CLIENTS ? x.n : CLIENTS;	/* the rest shares sockets */
	exchange_close(&x);
	return outcome;
}

/*
 * Whether the same number of datagrams, sent one at a time, are all answered at
 * the first try.
 */
static bool
answers_singly(struct test_run *run, int fd)
{
	int lost = 0;

	for (int i = 0; i < DATAGRAM_WINDOW && lost == 0; i++) {
		struct exchange x;

		exchange_init(&x, &run->target);
		exchange_add(&x, fd, LETTERS, SMALL);
		exchange_send_all(&x);
		while (!x.datagrams[0].is_answered &&
		    net_now() < x.started + NO_ANSWER_WAIT)
			exchange_listen(&x, NET_MS);
		lost += exchange_count_lost(&x);
	}
	return lost == 0;
}

/*
 * If datagrams of a burst are lost, but all datagrams that are sent one at a
 * time come back, the burst is the cause. Random loss would affect both.
 */
static void
comment_on_burst(struct test_run *run, const struct exchange *x)
{
	int missing = 0;

	for (int i = 0; i < x->n; i++)
		missing += x->datagrams[i].answers[0] == 0;
	if (missing >= BURST_LOSS && answers_singly(run, x->datagrams[0].fd))
		snprintf(run->report.comment, sizeof(run->report.comment),
		    "%d of %d datagrams sent at once were answered, and all of "
		    "%d sent one at a time: bursts are lost", x->n - missing,
		    x->n, DATAGRAM_WINDOW);
}

static enum outcome
test_window(struct test_run *run)
{
	enum outcome outcome;
	struct exchange x;
	int fd = open_client(run);

	if (fd < 0)
		return SKIP;
	exchange_init(&x, &run->target);
	while (x.n < DATAGRAM_WINDOW)
		exchange_add(&x, fd, LETTERS, SMALL);
	outcome = run_exchange(run, &x);
	if (outcome == PASS)
		comment_on_burst(run, &x);
	exchange_close(&x);
	return outcome;
}

/* Calls visit with each address of this system that is up, of that family. */
static enum outcome
each_interface(struct test_run *run, enum outcome (*visit)(struct test_run *,
    const struct ifaddrs *))
{
	enum outcome outcome = SKIP;
	struct ifaddrs *list;

	if (getifaddrs(&list) < 0)
		return SKIP;
	for (struct ifaddrs *i = list; i != NULL && outcome != FAIL;
	    i = i->ifa_next) {
		enum outcome one;

		if (i->ifa_addr == NULL || !(i->ifa_flags & IFF_UP) ||
		    i->ifa_addr->sa_family != exchange_family(&run->target))
			continue;
		one = visit(run, i);
		outcome = one == SKIP ? outcome : one;
	}
	freeifaddrs(list);
	return outcome;
}

/* An address of this system, with the port of the server. */
static struct net_peer
at_server_port(const struct test_run *run, const struct sockaddr *address)
{
	struct net_peer peer = run->target.server.peer;
	uint16_t port = ntohs(peer.address.v4.sin_port);	/* as v6 */

	memcpy(&peer.address, address, peer.size);
	net_set_port(&peer.address.any, port);
	return peer;
}

/*
 * Sends a datagram to another address of the server's system, from a client at
 * the first address. The reply must come from that other address. A server that
 * does not set the address replies from the address that the route to the
 * client has.
 */
static enum outcome
ask_address(struct test_run *run, const struct net_peer *to)
{
	struct net_peer from = run->target.server.peer;
	enum outcome outcome = PASS;
	struct exchange x;
	int fd;

	net_set_port(&from.address.any, 0);
	fd = net_bind_udp(&from.address.any, from.size);
	if (fd < 0)		/* the server is not on this system */
		return SKIP;
	exchange_init(&x, &run->target);
	x.to = *to;
	exchange_add(&x, fd, LETTERS, SMALL);
	for (int i = 0; i < 3 && !x.datagrams[0].is_answered &&
	    x.fault == DATAGRAM_CORRECT; i++) {
		exchange_send_all(&x);
		exchange_listen(&x, NO_ANSWER_WAIT / 2);
	}
	if (x.fault != DATAGRAM_CORRECT)
		outcome = datagram_diagnose(run, &x);
	else if (!x.datagrams[0].is_answered)
		outcome = SKIP;
	exchange_close(&x);
	return outcome;
}

static bool
is_link_local(const struct sockaddr *address)
{
	const struct sockaddr_in6 *v6 = (const void *)address;

	return address->sa_family == AF_INET6 &&
	    IN6_IS_ADDR_LINKLOCAL(&v6->sin6_addr);
}

static enum outcome
ask_interface(struct test_run *run, const struct ifaddrs *i)
{
	struct net_peer to = at_server_port(run, i->ifa_addr);

	if (is_link_local(i->ifa_addr) ||
	    exchange_same_address(&to, &run->target.server.peer))
		return SKIP;
	return ask_address(run, &to);
}

/*
 * If the server is on 127.0.0.0/8, the next address belongs to its system, too.
 */
static enum outcome
ask_next_loopback(struct test_run *run)
{
	struct net_peer to = run->target.server.peer;
	uint32_t address = ntohl(to.address.v4.sin_addr.s_addr);

	if (exchange_family(&run->target) != AF_INET ||
	    address >> 24 != INADDR_LOOPBACK >> 24 ||
	    !net_has_loopback_network)
		return SKIP;
	address = (address & 0xff) == 254 ? address - 1 : address + 1;
	to.address.v4.sin_addr.s_addr = htonl(address);
	return ask_address(run, &to);
}

static enum outcome
test_other_address(struct test_run *run)
{
	enum outcome loopback = ask_next_loopback(run), other;

	if (loopback == FAIL)
		return FAIL;
	other = each_interface(run, ask_interface);
	if (other != SKIP || loopback == PASS)
		return other == FAIL ? FAIL : PASS;
	return tests_report(run, SKIP, "the server answers at no other "
	    "address of this system");
}

/*
 * Opens the socket of a client that does not receive replies, so that its
 * system answers each reply with ICMP port unreachable. A socket that is closed
 * after sending might receive the reply before. Therefore this socket is
 * connected to another port at the server's address, and receives only from
 * that port. On Linux, it can still send to the server (udp(7)).
 */
static int
open_unreachable_client(const struct test_run *run)
{
	struct net_peer other = run->target.server.peer;
	uint16_t port = ntohs(other.address.v4.sin_port);	/* as v6 */

	net_set_port(&other.address.any, (port ^ 1) | 2);	/* never 0 */
	return net_connect_udp(&other.address.any, other.size);
}

/*
 * Sends datagrams from a client that does not receive replies. Returns its
 * socket for close(2), or -errno.
 */
static int
send_unreachably(struct test_run *run)
{
	int fd = open_unreachable_client(run);
	struct exchange x;

	if (fd < 0)
		return fd;
	exchange_init(&x, &run->target);
	while (x.n < 3)
		exchange_add(&x, fd, LETTERS, SMALL);
	exchange_send_all(&x);
	return fd;
}

/*
 * The clients that do not receive replies stay open until the last client has
 * been answered. Otherwise the last client might get the port of one of these
 * clients, and receive the replies of a slow server for that port.
 */
static enum outcome
test_unreachable(struct test_run *run)
{
	enum outcome outcome = test_one_datagram(run);
	int fds[CLOSING], n = 0;

	if (outcome != PASS)
		return outcome;
	while (n < CLOSING && (fds[n] = send_unreachably(run)) >= 0)
		n++;
	outcome = n == CLOSING ? test_one_datagram(run) :
	    tests_report(run, SKIP, "cannot open a socket: %s",
	    strerror(-fds[n]));
	while (n > 0)
		close(fds[--n]);
	if (outcome == FAIL && run->no_answer_since == run->test->name)
		return tests_report(run, FAIL, "the server answers no "
		    "datagram any more after ICMP port unreachable: no client "
		    "was at the ports that it replied to");
	return outcome;
}

static enum outcome
test_many_ports(struct test_run *run)
{
	enum outcome outcome = PASS;
	int lost = 0, sent = 0;

	for (int i = 0; i < PORTS && outcome == PASS; i += DATAGRAM_WINDOW) {
		struct exchange x;
		char after[32];

		exchange_init(&x, &run->target);
		x.is_quick = true;
		if (!add_clients(run, &x, DATAGRAM_WINDOW))
			outcome = SKIP;
		else if (!exchange_run(&x)) {
			outcome = datagram_diagnose(run, &x);
			snprintf(after, sizeof(after), " (after %d ports)", i);
			strncat(run->report.message, after,
			    sizeof(run->report.message) -
			    strlen(run->report.message) - 1);
		}
		lost += exchange_count_lost(&x);
		sent += exchange_count_tries(&x);
		exchange_close(&x);
	}
	return outcome == PASS ? pass_with_losses(run, lost, sent) : outcome;
}

/* Sends a datagram several times, and returns whether any reply came back. */
static bool
is_answered(struct test_run *run, int fd, const struct net_peer *to)
{
	struct exchange x;

	exchange_init(&x, &run->target);
	x.to = *to;
	exchange_add(&x, fd, LETTERS, SMALL);
	for (int i = 0; i < 3 && !x.datagrams[0].is_answered &&
	    x.fault == DATAGRAM_CORRECT; i++) {
		exchange_send_all(&x);
		exchange_listen(&x, NO_ANSWER_WAIT / 2);
	}
	return x.datagrams[0].is_answered || x.fault != DATAGRAM_CORRECT;
}

/*
 * The client has the same port as the server, at another address, so the server
 * cannot distinguish it from a second echo server. No packet has to be forged:
 * on 127.0.0.0/8 there are many addresses, and if the server is on another
 * system, the port is free on this system.
 */
static enum outcome
test_own_port(struct test_run *run)
{
	const struct net_peer *to = &run->target.server.peer;
	struct net_peer from = *to;
	uint32_t address = ntohl(from.address.v4.sin_addr.s_addr);
	bool answered;
	int fd;

	if (exchange_family(&run->target) == AF_INET &&
	    address >> 24 == INADDR_LOOPBACK >> 24 &&
	    net_has_loopback_network)
		from.address.v4.sin_addr.s_addr = htonl(address ^ 0x100);
	else {
		memset(&from.address, 0, from.size);
		from.address.any.sa_family = to->address.any.sa_family;
		net_set_port(&from.address.any,
		    ntohs(to->address.v4.sin_port));
	}
	fd = net_bind_udp(&from.address.any, from.size);
	if (fd == -EADDRINUSE)
		return tests_report(run, SKIP, "the port of the "
		    "server is in use at this client's address, too: a "
		    "datagram from there would have to be forged");
	if (fd < 0)
		return tests_report(run, SKIP, "cannot bind the port "
		    "of the server: %s", strerror(-fd));
	answered = is_answered(run, fd, to);
	close(fd);
	if (!answered)
		return PASS;
	return tests_report(run, FAIL, "a datagram from port %u, the "
	    "server's own, is answered: two such servers can answer each other "
	    "(CVE-1999-0103)", ntohs(to->address.v4.sin_port));
}

/* Asks at the broadcast address of an interface in the server's network. */
static enum outcome
ask_broadcast(struct test_run *run, const struct ifaddrs *i)
{
	const struct sockaddr_in *own = (const void *)i->ifa_addr;
	const struct sockaddr_in *mask = (const void *)i->ifa_netmask;
	uint32_t server = run->target.server.peer.address.v4.sin_addr.s_addr;
	struct net_peer to = run->target.server.peer;
	char name[NET_NAME_MAX];
	bool answered;
	int fd;

	if (mask == NULL || mask->sin_addr.s_addr == INADDR_NONE ||
	    ((own->sin_addr.s_addr ^ server) & mask->sin_addr.s_addr) != 0 ||
	    (fd = open_client(run)) < 0)
		return SKIP;
	to.address.v4.sin_addr.s_addr = server | ~mask->sin_addr.s_addr;
	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &(int){ 1 }, sizeof(int));
	answered = is_answered(run, fd, &to);
	close(fd);
	if (!answered)
		return PASS;
	return tests_report(run, FAIL, "a datagram to the broadcast "
	    "address %s is answered",
	    net_udp_name(name, &to.address.any));
}

static enum outcome
test_broadcast(struct test_run *run)
{
	enum outcome outcome;

	if (exchange_family(&run->target) != AF_INET)
		return tests_report(run, SKIP, "IPv6 has no "
		    "broadcast");
	outcome = each_interface(run, ask_broadcast);
	if (outcome == SKIP)
		return tests_report(run, SKIP, "no interface of this "
		    "system has a broadcast address that reaches the server");
	return outcome;
}

/* Binds a socket to a free port below 1024. Returns it, or -errno. */
static int
open_low_port(const struct test_run *run, uint16_t *port)
{
	struct net_peer from = { .size = run->target.server.peer.size };
	int fd = -EADDRINUSE;

	from.address.any.sa_family = (sa_family_t)exchange_family(&run->target);
	for (*port = LOW_PORT; fd == -EADDRINUSE && *port >= LOWEST_PORT;) {
		net_set_port(&from.address.any, *port);
		fd = net_bind_udp(&from.address.any, from.size);
		*port = (uint16_t)(*port - (fd == -EADDRINUSE));
	}
	return fd;
}

/* Both results conform to RFC 862, so this test only comments. */
static enum outcome
test_low_port(struct test_run *run)
{
	uint16_t port;
	int fd = open_low_port(run, &port);

	if (fd < 0)
		return tests_report(run, SKIP, "cannot bind a port "
		    "below 1024: %s", strerror(-fd));
	if (is_answered(run, fd, &run->target.server.peer))
		snprintf(run->report.comment, sizeof(run->report.comment),
		    "a datagram from port %u is answered: the server can loop "
		    "(CVE-2024-2169)", port);
	close(fd);
	return PASS;
}

/* A datagram of n letters. */
#define ONE(n) test_one_datagram, \
	{ .message = { .content = LETTERS, .size = (n) } }
#define TEXT_OF(words) test_one_datagram, { .message = { .content = TEXT, \
	.size = sizeof(words) - 1, .text = (words) } }

/* The plan of a test with other datagrams, which need a server that answers. */
#define SMALL_ONES { .message = { .content = LETTERS, .size = SMALL } }

const struct test datagram_tests_table[] = {
	{ HOMEWORK, "udp-1", "1 byte", ONE(1) },
	{ HOMEWORK, "udp-16", "16 bytes, a chunk of the homework", ONE(16) },
	{ HOMEWORK, "udp-17", "17 bytes, one more than a chunk", ONE(17) },
	{ HOMEWORK, "udp-utf8", "text that is not ASCII",
	    TEXT_OF("Gr\u00fc\u00dfe, \u043c\u0438\u0440, \u4e16\u754c "
	    "\U0001f44b\n") },

	{ RFC862, "udp-1472", "1472 bytes, a full packet of Ethernet",
	    ONE(1472) },
	{ RFC862, "udp-1473", "1473 bytes, a packet with a fragment",
	    ONE(1473) },
	{ RFC862, "udp-9000", "9000 bytes", ONE(9000) },
	{ RFC862, "udp-65507", "65507 bytes, the most that IPv4 allows",
	    ONE(NET_DATAGRAM_MAX_V4) },
	{ RFC862, "udp-every-byte", "all 256 byte values", test_one_datagram,
	    { .message = { .content = MARKED_BYTES,
	    .size = MESSAGE_MARK + 256 } } },
	{ RFC862, "udp-boundaries", "each of 10 datagrams comes back as one",
	    test_boundaries, SMALL_ONES },
	{ RFC862, "udp-clients", "5 clients that take turns",
	    test_clients, SMALL_ONES },
	{ RFC862, "udp-window", "50 datagrams sent at once",
	    test_window, SMALL_ONES },
	{ RFC862, "udp-address", "replies come from the address asked, also "
	    "from a second one", test_other_address, SMALL_ONES },
	{ RFC862, "udp-closed", "the server survives ICMP port unreachable",
	    test_unreachable, SMALL_ONES },
	{ RFC862, "udp-ports", "1000 source ports",
	    test_many_ports, SMALL_ONES },

	{ ROBUST, "udp-own-port", "the server does not answer its own port",
	    test_own_port, SMALL_ONES },
	{ ROBUST, "udp-broadcast", "the server does not answer a broadcast",
	    test_broadcast, SMALL_ONES },
	{ ROBUST, "udp-low-port", "whether a port below 1024 is answered",
	    test_low_port, SMALL_ONES },

	/* Last, because some servers answer no other client after it. */
	{ RFC862, "udp-empty", "an empty datagram", ONE(0) },
	{ .name = NULL }
};
