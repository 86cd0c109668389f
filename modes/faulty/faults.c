#include "faults.h"

#include <ctype.h>
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "modes/lib/args.h"
#include "modes/lib/net.h"
#include "modes/mode.h"

enum value { NONE, OFFSET, SIZE, TIME, BYTES, TEXT, PERCENT };

static const char *const value_names[] = {
	"-", "OFFSET", "SIZE", "TIME", "BYTES", "TEXT", "PERCENT"
};

/* The part that a fault changes. Some faults exclude all faults of a group. */
enum group {
	BYTE = 1,		/* one byte of the echo */
	STREAM = 2,		/* all bytes */
	CONTENT = BYTE | STREAM,
	DECODING = 4,		/* it fails at some bytes */
	ANSWER = 8,		/* it replaces the echo */
	PACE = 16,		/* when the echo is sent */
	END = 32,		/* when it ends */
	DELIVERY = 64,		/* which datagrams are sent, and how */
	ANSWERING = 127,	/* all groups above */
	READING = 128,		/* how much is read before an answer */
	OTHER = 256
};

/* The servers that have a fault. */
enum transport { TCP = 1, UDP = 2, BOTH = TCP | UDP,
	UDP_BARE = BOTH | 4		/* with UDP, the value may be left out */
};

static const char *const transport_names[] = {
	[TCP] = "tcp", [UDP] = "udp", [BOTH] = "tcp,udp",
	[UDP_BARE] = "tcp,udp"
};

static const struct fault_row {
	const char *name;
	enum value value;
	unsigned transports, group, excludes;
	const char *sentence;	/* for --list */
} faults[FAULTS] = {
	{ "corrupt", OFFSET, UDP_BARE, BYTE, BYTE,
	    "adds 1 to the byte at OFFSET; UDP: or to a random one" },
	{ "drop", OFFSET, BOTH, BYTE, BYTE, "loses the byte at OFFSET" },
	{ "double", OFFSET, UDP_BARE, BYTE, BYTE,
	    "sends the byte at OFFSET twice; UDP: or the datagram" },
	{ "swap", OFFSET, BOTH, BYTE, BYTE,
	    "exchanges the byte at OFFSET and the next one" },
	{ "upper", NONE, BOTH, STREAM, 0, "changes lower case to upper case" },
	{ "text", NONE, BOTH, DECODING, 0,
	    "closes at 16 bytes that are not UTF-8; UDP: no answer" },
	{ "crlf", NONE, BOTH, STREAM, 0, "puts a CR before each LF" },
	{ "strip", NONE, BOTH, STREAM, 0,
	    "removes white space at the end of each read" },
	{ "line", NONE, TCP, READING, READING, "answers only complete lines" },
	{ "banner", TEXT, TCP, OTHER, 0, "sends TEXT first" },
	{ "constant", TEXT, BOTH, ANSWER, CONTENT,
	    "answers each read with TEXT" },
	{ "once", SIZE, TCP, READING, READING,
	    "answers one read of at most SIZE bytes, and closes" },
	{ "short", NONE, TCP, READING, READING,
	    "answers reads of 16 bytes; closes after a shorter one" },
	{ "gather", NONE, TCP, READING, READING,
	    "collects reads of 16 bytes; answers after a shorter one" },
	{ "pieces", SIZE, BOTH, PACE, 0, "correct, but in pieces of SIZE bytes" },
	{ "delay", TIME, BOTH, PACE, 0, "correct, but late by TIME" },
	{ "rate", BYTES, TCP, PACE, 0, "correct, but at most BYTES per second" },
	{ "mute", NONE, BOTH, READING, READING | ANSWERING, "never answers" },
	{ "deaf", NONE, TCP, READING, READING | ANSWERING, "never reads" },
	{ "close", OFFSET, TCP, END, END,
	    "closes after OFFSET bytes of the echo" },
	{ "reset", OFFSET, TCP, END, END,
	    "resets after OFFSET bytes of the echo" },
	{ "lost-tail", NONE, TCP, READING, READING,
	    "drops what is pending when the client half-closes" },
	{ "no-fin", NONE, TCP, OTHER, END, "never closes a connection" },
	{ "one-client", NONE, TCP, OTHER, 0, "exits after its first client" },
	{ "lose", PERCENT, UDP, DELIVERY, 0,
	    "does not answer PERCENT of the datagrams" },
	{ "reorder", NONE, UDP, DELIVERY, 0,
	    "exchanges the answers to two datagrams of a client" },
	{ "cut", SIZE, UDP, DELIVERY, 0,
	    "answers with at most the first SIZE bytes" },
	{ "other-source", NONE, UDP, DELIVERY, 0,
	    "answers from another port" }
};

/* A random number from low to high (splitmix64). */
static uint64_t
choose_number(uint64_t low, uint64_t high, uint64_t seed)
{
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return low + (x ^ x >> 31) % (high - low + 1);
}

uint64_t
faults_random(const struct faults_chosen *c, enum fault fault, uint64_t low,
    uint64_t high)
{
	return choose_number(low, high, c->set->seed + c->n * FAULTS +
	    (uint64_t)fault);
}

const char *
faults_choose(struct faults_chosen *c, const struct faults *set, uint64_t n)
{
	static char text[512];
	bool is_faulty = n % set->every == 0;
	int size = snprintf(text, sizeof(text), "%s",
	    is_faulty ? args_shown(set->list) : "correct");

	*c = (struct faults_chosen){ .set = set, .n = n, .held = -1 };
	for (unsigned i = 0; i < FAULTS; i++) {
		c->number[i] = is_faulty ? set->number[i] : FAULTS_OFF;
		if (c->number[i] >= set->high[i])
			continue;
		c->number[i] = faults_random(c, i, set->number[i],
		    set->high[i]);
		size += snprintf(text + size, sizeof(text) - (size_t)size,
		    ", %s=%" PRIu64, faults[i].name, c->number[i]);
	}
	return text;
}

bool
faults_has(const struct faults_chosen *c, enum fault fault)
{
	return c->number[fault] != FAULTS_OFF;
}

char *
faults_change_byte(struct faults_chosen *c, char byte, char *out)
{
	uint64_t offset = c->changed++;

	if (offset == c->number[CORRUPT])
		byte++;
	if (faults_has(c, UPPER) && byte >= 'a' && byte <= 'z')
		byte = (char)toupper((unsigned char)byte);
	if (offset == c->number[SWAP])
		c->held = (unsigned char)byte;
	if (offset == c->number[SWAP] || offset == c->number[DROP])
		return out;
	if (faults_has(c, CRLF) && byte == '\n')
		*out++ = '\r';
	*out++ = byte;
	if (offset == c->number[DOUBLE])
		*out++ = byte;
	if (c->held >= 0)
		*out++ = (char)c->held;
	c->held = -1;
	return out;
}

size_t
faults_strip(const struct faults_chosen *c, const char *data, size_t size)
{
	while (faults_has(c, STRIP) && size > 0 &&
	    isspace((unsigned char)data[size - 1]))
		size--;
	return size;
}

void
faults_print(void)
{
	for (int i = 0; i < FAULTS; i++)
		printf("%-12s  %-7s  %-7s  %s\n", faults[i].name,
		    value_names[faults[i].value],
		    transport_names[faults[i].transports], faults[i].sentence);
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
set_offset(struct faults *set, enum fault fault, char *value)
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
set_fault(struct faults *set, enum fault fault, char *value)
{
	const char *name = faults[fault].name;

	set->number[fault] = value == NULL && faults[fault].value != NONE ?
	    FAULTS_NO_VALUE : 0;
	set->text[fault] = value;
	if (value == NULL)
		return;
	if (faults[fault].value == OFFSET)
		set_offset(set, fault, value);
	else if (faults[fault].value == TIME)
		set->number[fault] = (uint64_t)args_duration(name, value,
		    NET_MS);
	else if (faults[fault].value == SIZE || faults[fault].value == BYTES)
		set->number[fault] = args_size(name, value, fault != CUT,
		    FAULTS_SIZE_MAX);
	else if (faults[fault].value == PERCENT)
		set->number[fault] = args_number(name, value, 0, 100);
}

/* A fault of connections makes no sense with datagrams, and the reverse. */
static void
check_transport(const struct faults *set, enum fault fault)
{
	const struct fault_row *row = &faults[fault];

	if ((row->transports & (set->is_udp ? UDP : TCP)) == 0)
		args_usage("%s is a fault of %s", row->name, set->is_udp ?
		    "TCP and Unix sockets, not of UDP" : "UDP (-u)");
}

/* Reads FAULT or FAULT=VALUE. */
static void
add_fault(struct faults *set, char *word)
{
	char *value = strchr(word, '=');
	enum fault fault;

	if (value != NULL)
		*value++ = '\0';
	fault = find_fault(word);
	check_transport(set, fault);
	if (faults[fault].value != NONE && (value == NULL ? !set->is_udp ||
	    faults[fault].transports != UDP_BARE : *value == '\0'))
		args_usage("%s needs a value: %s=%s", word, word,
		    value_names[faults[fault].value]);
	if (value != NULL && faults[fault].value == NONE)
		args_usage("%s takes no value, not %s", word,
		    args_shown(value));
	for (int i = 0; i < FAULTS; i++)
		if (set->number[i] != FAULTS_OFF && (i == (int)fault ||
		    (faults[i].excludes & faults[fault].group) != 0 ||
		    (faults[fault].excludes & faults[i].group) != 0))
			args_usage("%s and %s cannot be combined",
			    faults[i].name, word);
	set_fault(set, fault, value);
}

void
faults_parse(struct faults *set, char *list)
{
	char *word;

	if (list == NULL)
		args_usage("no fault is given, such as corrupt=5; --list "
		    "prints all faults");
	if ((set->list = strdup(list)) == NULL)
		err(STATUS_LOCAL, "no memory for the faults");
	memset(set->number, 0xff, sizeof(set->number));		/* FAULTS_OFF */
	while ((word = strsep(&list, ",")) != NULL)
		add_fault(set, word);
}
