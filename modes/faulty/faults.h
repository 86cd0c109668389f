/*
 * The faults: their table, their list on the command line, the choice of faults
 * for a connection or datagram, and their effect on a byte.
 */
#ifndef FAULTS_H
#define FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The number of a fault that is off, or whose value is left out. */
#define FAULTS_OFF UINT64_MAX
#define FAULTS_NO_VALUE (UINT64_MAX - 1)

/* The highest OFFSET or SIZE, in bytes for each client. */
enum { FAULTS_SIZE_MAX = 64 << 20 };

/* In the order of the table. */
enum fault { CORRUPT, DROP, DOUBLE, SWAP, UPPER, DECODE, CRLF, STRIP, LINE,
	BANNER, CONSTANT, ONCE, SHORT, GATHER, PIECES, DELAY, RATE, MUTE, DEAF,
	CLOSE, RESET, LOST_TAIL, NO_FIN, ONE_CLIENT, LOSE, REORDER, CUT,
	OTHER_SOURCE, FAULTS };

/* The faults of the command line. */
struct faults {
	uint64_t every, seed;		/* --every, --seed */
	bool is_udp;
	char *list;			/* as given; for free(3) */
	uint64_t number[FAULTS], high[FAULTS];	/* a random OFFSET: to high */
	const char *text[FAULTS];
};

/* The faults of one connection or one datagram. */
struct faults_chosen {
	const struct faults *set;
	uint64_t n;			/* of the connection or datagram */
	uint64_t number[FAULTS];	/* FAULTS_OFF, or the value if any */
	uint64_t changed;		/* bytes so far */
	int held;			/* the byte that swap sends later, or -1 */
};

/*
 * Parses a list of faults, which it modifies and keeps. is_udp, every and seed
 * are set before. A wrong list ends the program with STATUS_USAGE.
 */
void faults_parse(struct faults *, char *list);

/* --list. Shell completion reads the first two columns. */
void faults_print(void);

/*
 * Chooses the faults of the nth connection or datagram, from 1. Returns them as
 * a text for the log, which is valid until the next call.
 */
const char *faults_choose(struct faults_chosen *, const struct faults *,
    uint64_t n);

bool faults_has(const struct faults_chosen *, enum fault);

/*
 * Returns a random number from low to high, the same one in every run with
 * this --seed for the nth connection or datagram and this fault.
 */
uint64_t faults_random(const struct faults_chosen *, enum fault, uint64_t low,
    uint64_t high);

/*
 * Writes the echo of one byte, of 0 to FAULTS_BYTE_MAX bytes, to out. Returns
 * its end.
 */
enum { FAULTS_BYTE_MAX = 4 };
char *faults_change_byte(struct faults_chosen *, char byte, char *out);

/* The size of the data without the white space at its end, if strip is on. */
size_t faults_strip(const struct faults_chosen *, const char *data,
    size_t size);

#endif
