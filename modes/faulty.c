/*
 * Mode `faulty`: an echo server that is wrong on purpose. Clients, proxies and
 * `echo check` are tested with it, and it shows students what a fault looks
 * like from outside.
 *
 * Each fault is one row of the table below. The parent process accepts the
 * clients and starts a child process for each of them. A child serves nothing
 * but its client, so its recv(2) and send(2) may block. serve_client() is the
 * life of a connection from beginning to end; read it first.
 */
#include <ctype.h>
#include <err.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mode.h"
#include "modes/lib/args.h"
#include "modes/lib/children.h"
#include "modes/lib/dial.h"
#include "modes/lib/net.h"
#include "modes/lib/options.h"
#include "modes/lib/text.h"

enum {
	READ_SIZE = 65536,		/* bytes of one read */
	HOMEWORK_SIZE = 16,		/* the same, in the homework */
	MAX_SIZE = 64 << 20,		/* bytes that are collected at most */
	MAX_PAUSES = 32			/* after pieces, in one connection */
};

#define OFF UINT64_MAX			/* the number of a fault that is off */

enum value { NONE, OFFSET, SIZE, TIME, BYTES, TEXT };

static const char *const value_names[] = {
	"-", "OFFSET", "SIZE", "TIME", "BYTES", "TEXT"
};

/* What a fault changes. Some faults cannot be combined with whole groups. */
enum group {
	BYTE = 1,		/* one byte of the echo */
	STREAM = 2,		/* all bytes */
	CONTENT = BYTE | STREAM,
	DECODING = 4,		/* it fails at some bytes */
	ANSWER = 8,		/* it replaces the echo */
	PACE = 16,		/* when the echo is sent */
	END = 32,		/* when it ends */
	ANSWERING = 63,		/* all of these */
	READING = 64,		/* how much is read before an answer */
	OTHER = 128
};

/* In the order of the table. */
enum fault { CORRUPT, DROP, DOUBLE, SWAP, UPPER, DECODE, CRLF, STRIP, LINE,
	BANNER, CONSTANT, ONCE, SHORT, GATHER, PIECES, DELAY, RATE, MUTE, DEAF,
	CLOSE, RESET, LOST_TAIL, NO_FIN, ONE_CLIENT, FAULTS };

static const struct fault_row {
	const char *name;
	enum value value;
	unsigned group, excludes;
	const char *sentence;	/* for --list */
} faults[FAULTS] = {
	{ "corrupt", OFFSET, BYTE, BYTE, "adds 1 to the byte at OFFSET" },
	{ "drop", OFFSET, BYTE, BYTE, "loses the byte at OFFSET" },
	{ "double", OFFSET, BYTE, BYTE, "sends the byte at OFFSET twice" },
	{ "swap", OFFSET, BYTE, BYTE,
	    "exchanges the byte at OFFSET and the next one" },
	{ "upper", NONE, STREAM, 0, "changes lower case to upper case" },
	{ "text", NONE, DECODING, 0,
	    "decodes 16 bytes at a time as UTF-8; closes if it cannot" },
	{ "crlf", NONE, STREAM, 0, "puts a CR before each LF" },
	{ "strip", NONE, STREAM, 0,
	    "removes white space at the end of each read" },
	{ "line", NONE, READING, READING, "answers only complete lines" },
	{ "banner", TEXT, OTHER, 0, "sends TEXT first" },
	{ "constant", TEXT, ANSWER, CONTENT, "answers each read with TEXT" },
	{ "once", SIZE, READING, READING,
	    "answers one read of at most SIZE bytes, and closes" },
	{ "short", NONE, READING, READING,
	    "answers reads of 16 bytes; closes after a shorter one" },
	{ "gather", NONE, READING, READING,
	    "collects reads of 16 bytes; answers after a shorter one" },
	{ "pieces", SIZE, PACE, 0, "correct, but in pieces of SIZE bytes" },
	{ "delay", TIME, PACE, 0, "correct, but late by TIME" },
	{ "rate", BYTES, PACE, 0, "correct, but at most BYTES per second" },
	{ "mute", NONE, READING, READING | ANSWERING, "never answers" },
	{ "deaf", NONE, READING, READING | ANSWERING, "never reads" },
	{ "close", OFFSET, END, END, "closes after OFFSET bytes of the echo" },
	{ "reset", OFFSET, END, END, "resets after OFFSET bytes of the echo" },
	{ "lost-tail", NONE, READING, READING,
	    "drops what is pending when the client half-closes" },
	{ "no-fin", NONE, OTHER, END, "never closes a connection" },
	{ "one-client", NONE, OTHER, 0, "exits after its first client" }
};

enum { OPTION_EVERY = OPTIONS_LONG, OPTION_SEED, OPTION_LIST };

static const struct option_row faulty_options[] = {
	OPTIONS_TEXT("\n"
	    "Echoes with the given faults, to test clients, proxies and "
	    "checkers. --list\n"
	    "prints all faults.\n"),
	{ OPTION_LIST, "list", NULL, NULL,
	    "print the name, the value and the effect of each fault", 0, NULL },
	{ 'a', "address", "ADDRESS", NULL, "HOST, HOST:PORT, [V6]:PORT, "
	    ":PORT, * for all IPv4 interfaces, unix:/PATH or unix:@NAME "
	    "(default " ARGS_DEFAULT_HOST ")", 0, NULL },
	{ 'p', "port", "PORT", ARGS_DEFAULT_PORT, "port if ADDRESS has none; "
	    "0: a free port, which the first line of output shows", 0, NULL },
	{ OPTION_EVERY, "every", "N", "1", "only every Nth connection is "
	    "faulty, the others are correct", 0, NULL },
	{ OPTION_SEED, "seed", "N", NULL, "choose the same random offsets "
	    "as another run", 0, NULL },
	{ 'n', "count", "N", NULL, "accept N connections, and exit when they "
	    "have ended", 0, NULL },
	{ 'v', "verbose", NULL, NULL, "also log the end of connections", 0,
	    NULL },
	{ 'q', "quiet", NULL, NULL, "log only warnings", 0, NULL },
	OPTIONS_COMMON,
	OPTIONS_TEXT("\n"
	    "OFFSET: 0 is the first byte; 0-99 is a random offset for each "
	    "connection. SIZE,\n"
	    "BYTES: 16, 64k, 1M. TIME: 200ms, 2s, 1m. TEXT: without a "
	    "comma."),
	OPTIONS_END
};

struct settings {
	char *address;
	uint16_t port;
	uint64_t every, seed, count;
	int verbosity;			/* 1 with -v, -1 with -q */
	const char *list;		/* the faults, as given */
	uint64_t number[FAULTS], high[FAULTS];	/* a random OFFSET: to high */
	const char *text[FAULTS];
};

struct connection {
	int fd;
	const struct settings *set;
	uint64_t number[FAULTS];	/* OFF, or the value if it has one */
	char *pending;			/* received and not answered */
	size_t size;			/* bytes pending */
	uint64_t received, sent, echoed, changed;	/* bytes so far */
	int held;			/* the byte that swap sends later */
	int pauses;
	bool is_over;
};

static bool
has_fault(const struct connection *c, enum fault fault)
{
	return c->number[fault] != OFF;
}

/* Returns size, or the limit if that is smaller. */
static size_t
limit_size(size_t size, uint64_t limit)
{
	return size < limit ? size : (size_t)limit;
}

/* Waits, but not longer than until the client resets the connection. */
static void
pause_connection(const struct connection *c, int64_t ns)
{
	struct pollfd reset = { .fd = c->fd };	/* POLLERR needs no request */

	net_poll(&reset, 1, ns);
}

/* Sends all bytes, however long the client takes to read them. */
static void
send_bytes(struct connection *c, const char *data, size_t size)
{
	uint64_t rate = c->number[RATE];

	while (size > 0 && !c->is_over) {
		size_t piece = limit_size(size, c->number[PIECES]);
		ssize_t n = send(c->fd, data, limit_size(piece, rate / 10 + 1),
		    0);

		if (n < 0) {
			c->is_over = true;
			return;
		}
		c->sent += (uint64_t)n;
		data += n;
		size -= (size_t)n;
		if (has_fault(c, RATE))
			pause_connection(c, n * NET_SECOND / (int64_t)rate);
		else if (has_fault(c, PIECES) && c->pauses++ < MAX_PAUSES)
			pause_connection(c, NET_MS);
	}
}

/* Sends a part of the echo, but not more than close or reset allows. */
static void
send_echo(struct connection *c, const char *data, size_t size)
{
	uint64_t limit = c->number[has_fault(c, CLOSE) ? CLOSE : RESET];

	size = limit_size(size, limit - c->echoed);
	send_bytes(c, data, size);
	c->echoed += size;
	c->is_over |= c->echoed == limit;
}

/* Writes the echo of one byte, of 0 to 4 bytes, to out. Returns its end. */
static char *
change_byte(struct connection *c, char byte, char *out)
{
	uint64_t offset = c->changed++;

	if (offset == c->number[CORRUPT])
		byte++;
	if (has_fault(c, UPPER) && byte >= 'a' && byte <= 'z')
		byte = (char)toupper(byte);
	if (offset == c->number[SWAP])
		c->held = (unsigned char)byte;
	if (offset == c->number[SWAP] || offset == c->number[DROP])
		return out;
	if (has_fault(c, CRLF) && byte == '\n')
		*out++ = '\r';
	*out++ = byte;
	if (offset == c->number[DOUBLE])
		*out++ = byte;
	if (c->held >= 0)
		*out++ = (char)c->held;
	c->held = -1;
	return out;
}

/* Answers the first size bytes that are pending. */
static void
answer(struct connection *c, size_t size)
{
	static char changed[4 * READ_SIZE];
	const char *constant = c->set->text[CONSTANT], *data = c->pending;
	char *end;

	if (has_fault(c, DECODE) && !text_is_utf8(data, size)) {
		c->is_over = true;	/* as an exception ends a script */
		return;
	}
	while (has_fault(c, STRIP) && size > 0 &&
	    isspace((unsigned char)data[size - 1]))
		size--;
	if (has_fault(c, CONSTANT))
		send_echo(c, constant, strlen(constant));
	while (!has_fault(c, CONSTANT) && size > 0 && !c->is_over) {
		end = changed;
		for (int i = 0; size > 0 && i < READ_SIZE; i++, size--)
			end = change_byte(c, *data++, end);
		send_echo(c, changed, (size_t)(end - changed));
	}
}

/* Receives once, after the pending bytes. Returns the result of recv(2). */
static ssize_t
receive_bytes(struct connection *c)
{
	struct pollfd readable = { c->fd, POLLIN, 0 };
	size_t most = READ_SIZE;
	ssize_t n;

	if (has_fault(c, DELAY)) {
		net_poll(&readable, 1, NET_FOREVER);
		pause_connection(c, (int64_t)c->number[DELAY]);
		/* What has come meanwhile is answered now, too. */
		most = MAX_SIZE + READ_SIZE - c->size;
	}
	if (has_fault(c, ONCE))
		most = (size_t)c->number[ONCE];
	else if (has_fault(c, SHORT) || has_fault(c, GATHER) ||
	    has_fault(c, DECODE))
		most = HOMEWORK_SIZE;
	if ((n = recv(c->fd, c->pending + c->size, most, 0)) <= 0)
		return n;
	c->size += (size_t)n;
	c->received += (uint64_t)n;
	if (c->size > MAX_SIZE)
		errx(STATUS_LOCAL, "a message is too long to be collected");
	return n;
}

static bool
client_half_closes(const struct connection *c)
{
	struct pollfd fd = { c->fd, POLLIN | POLLRDHUP, 0 };

	net_poll(&fd, 1, 100 * NET_MS);
	return (fd.revents & POLLRDHUP) != 0;
}

/* How many of the pending bytes are answered after a read of n bytes. */
static size_t
bytes_to_answer(struct connection *c, size_t n, bool is_last)
{
	const char *newline;

	if (has_fault(c, GATHER) && !is_last)
		return 0;
	if (has_fault(c, LINE)) {
		newline = memrchr(c->pending + c->size - n, '\n', n);
		return newline == NULL ? 0 : (size_t)(newline + 1 - c->pending);
	}
	if (has_fault(c, MUTE) ||
	    (has_fault(c, LOST_TAIL) && client_half_closes(c)))
		c->size = 0;
	return c->size;
}

/* Reads and answers until the message or the client has ended. */
static void
echo_message(struct connection *c)
{
	bool is_last = false;

	while (!is_last && !c->is_over) {
		ssize_t n = receive_bytes(c);
		size_t size;

		is_last = n <= 0 || has_fault(c, ONCE) || (n < HOMEWORK_SIZE &&
		    (has_fault(c, SHORT) || has_fault(c, GATHER)));
		size = bytes_to_answer(c, n > 0 ? (size_t)n : 0, is_last);
		if (size > 0)
			answer(c, size);
		c->size -= size;
		memmove(c->pending, c->pending + size, c->size);
	}
}

static void
serve_client(struct connection *c)
{
	char held, rest[4096];

	if (has_fault(c, BANNER))
		send_bytes(c, c->set->text[BANNER],
		    strlen(c->set->text[BANNER]));
	send_echo(c, "", 0);		/* close=0 and reset=0 */
	if (has_fault(c, DEAF))
		pause_connection(c, NET_FOREVER);
	else
		echo_message(c);
	if (c->held >= 0 && !c->is_over) {
		held = (char)c->held;
		send_echo(c, &held, 1);
	}
	if (has_fault(c, NO_FIN))
		pause_connection(c, NET_FOREVER);
	if (c->echoed == c->number[RESET]) {
		/* On its way, the echo would be destroyed by the RST. */
		while (net_unacknowledged(c->fd) > 0 && c->pauses++ < 1000)
			pause_connection(c, NET_MS);
		net_reset(c->fd);
		return;
	}
	if (c->echoed == c->number[CLOSE]) {
		net_fin(c->fd);		/* close(2) could send a RST */
		while (recv(c->fd, rest, sizeof(rest), 0) > 0)
			;
	}
	close(c->fd);
}

/* A random number from low to high (splitmix64). */
static uint64_t
choose_number(uint64_t low, uint64_t high, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return low + (x ^ x >> 31) % (high - low + 1);
}

/* Decides what is wrong with the nth connection. Returns that for the log. */
static const char *
choose_faults(struct connection *c, uint64_t n)
{
	static char text[512];
	const struct settings *set = c->set;
	bool is_faulty = n % set->every == 0;
	int size = snprintf(text, sizeof(text), "%s",
	    is_faulty ? args_shown(set->list) : "correct");

	for (unsigned i = 0; i < FAULTS; i++) {
		c->number[i] = is_faulty ? set->number[i] : OFF;
		if (c->number[i] >= set->high[i])
			continue;
		c->number[i] = choose_number(set->number[i], set->high[i],
		    set->seed + n * FAULTS + i);
		size += snprintf(text + size, sizeof(text) - (size_t)size,
		    ", %s=%" PRIu64, faults[i].name, c->number[i]);
	}
	return text;
}

/* The nth client, in a process of its own (modes/lib/children.h). */
static void
serve_faulty(void *context, int fd, const char *peer, uint64_t n)
{
	struct connection c = { .fd = fd, .set = context, .held = -1,
	    .pending = malloc(MAX_SIZE + READ_SIZE) };
	const char *chosen = choose_faults(&c, n);

	if (c.pending == NULL)
		err(STATUS_LOCAL, "cannot serve %s", peer);
	/* A log that is not read must not stop the service. */
	if (c.set->verbosity >= 0 && net_is_ready(STDERR_FILENO, POLLOUT))
		fprintf(stderr, "%s connected: %s\n", peer, chosen);
	serve_client(&c);
	if (c.set->verbosity > 0 && net_is_ready(STDERR_FILENO, POLLOUT))
		fprintf(stderr, "%s closed: received %" PRIu64 ", sent %"
		    PRIu64 " bytes\n", peer, c.received, c.sent);
	free(c.pending);
}

/* --list. Shell completion reads the first column. */
static void
print_faults(void)
{
	for (int i = 0; i < FAULTS; i++)
		printf("%-10s  %-6s  %s\n", faults[i].name,
		    value_names[faults[i].value], faults[i].sentence);
	args_flush();
}

static enum fault
find_fault(const char *name)
{
	const char *similar = NULL;

	for (unsigned i = 0; i < FAULTS; i++) {
		if (strcmp(name, faults[i].name) == 0)
			return i;
		similar = args_nearer(name, similar, faults[i].name);
	}
	args_usage("unknown fault %s%s%s; --list prints all faults",
	    args_shown(name), similar == NULL ? "" : ", perhaps ",
	    similar == NULL ? "" : similar);
}

/* A number, or a range such as 0-99. */
static void
set_offset(struct settings *set, enum fault fault, char *value)
{
	const char *name = faults[fault].name;
	char *high = strchr(value + (*value == '-'), '-');

	if (high != NULL)
		*high++ = '\0';
	set->number[fault] = args_number(name, value, 0, INT64_MAX);
	if (high != NULL)
		set->high[fault] = args_number(name, high, set->number[fault],
		    INT64_MAX);
}

static void
set_fault(struct settings *set, enum fault fault, char *value)
{
	const char *name = faults[fault].name;

	set->number[fault] = 0;
	set->text[fault] = value;
	if (faults[fault].value == OFFSET)
		set_offset(set, fault, value);
	else if (faults[fault].value == TIME)
		set->number[fault] = (uint64_t)args_duration(name, value,
		    NET_MS);
	else if (faults[fault].value == SIZE || faults[fault].value == BYTES)
		set->number[fault] = args_size(name, value, 1, MAX_SIZE);
}

/* Reads FAULT or FAULT=VALUE. */
static void
add_fault(struct settings *set, char *word)
{
	char *value = strchr(word, '=');
	enum fault fault;

	if (value != NULL)
		*value++ = '\0';
	fault = find_fault(word);
	if ((value == NULL || *value == '\0') && faults[fault].value != NONE)
		args_usage("%s needs a value: %s=%s", word, word,
		    value_names[faults[fault].value]);
	if (value != NULL && faults[fault].value == NONE)
		args_usage("%s takes no value, not %s", word,
		    args_shown(value));
	for (int i = 0; i < FAULTS; i++)
		if (set->number[i] != OFF && (i == (int)fault ||
		    (faults[i].excludes & faults[fault].group) != 0 ||
		    (faults[fault].excludes & faults[i].group) != 0))
			args_usage("%s and %s cannot be combined",
			    faults[i].name, word);
	set_fault(set, fault, value);
}

static void
parse_faults(struct settings *set, char *list)
{
	char *word;

	if (list == NULL)
		args_usage("no fault is given, such as corrupt=5; --list "
		    "prints all faults");
	if ((set->list = strdup(list)) == NULL)
		err(STATUS_LOCAL, "no memory for the faults");
	memset(set->number, 0xff, sizeof(set->number));		/* OFF */
	while ((word = strsep(&list, ",")) != NULL)
		add_fault(set, word);
}

static void
faulty_set(void *to, const struct option_row *row, char *value)
{
	struct settings *set = to;

	switch (row->key) {
	case OPTION_LIST:
		print_faults();
		exit(STATUS_OK);
	case 'a':
		set->address = value;
		break;
	case 'p':
		set->port = args_port("--port", value, 0);
		break;
	case OPTION_EVERY:
		set->every = args_number("--every", value, 1, INT64_MAX);
		break;
	case OPTION_SEED:
		set->seed = args_number("--seed", value, 0, INT64_MAX);
		break;
	case 'n':
		set->count = args_number("--count", value, 1, INT64_MAX);
		break;
	default:
		set->verbosity = row->key == 'v' ? 1 : -1;
	}
}

static int
faulty_run(int argc, char **argv)
{
	static char host[] = ARGS_DEFAULT_HOST;
	struct settings set = { .address = host };
	struct children_server server = { .serve = serve_faulty,
	    .context = &set };
	struct address address;
	char name[NET_NAME_MAX];
	struct net_peer self;

	set.seed = (uint64_t)net_now();
	options_parse(argc, argv, &mode_faulty, faulty_set, &set);
	parse_faults(&set, argv[optind++]);
	args_no_operands(argc, argv);
	address = args_address("--address", set.address, set.port, 0,
	    false);
	args_refuse_udp("--address", &address);
	server.count = set.count;
	server.is_kept_open = set.number[ONE_CLIENT] != OFF;
	if (server.is_kept_open && (set.count == 0 || set.every < set.count))
		server.count = set.every;
	children_catch_signals();
	server.listener = children_listen(&address);
	net_self(server.listener, &self);
	printf("listening on %s\n", net_name(name, &self.address.any));
	args_flush();
	children_run(&server);
	if (self.address.any.sa_family == AF_UNIX)
		unlink(self.address.path.sun_path);
	return STATUS_OK;
}

const struct mode mode_faulty = {
	.name = "faulty",
	.link = "echo_faulty",
	.summary = "echo with faults, to test clients",
	.synopsis = "FAULT[=VALUE][,FAULT]... [-a ADDRESS] [-p PORT] "
	    "[OPTION]...",
	.options = faulty_options,
	.run = faulty_run
};
