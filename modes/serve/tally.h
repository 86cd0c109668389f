/*
 * The totals of one process of a server, in memory that all workers share.
 */
#ifndef TALLY_H
#define TALLY_H

#include <stdatomic.h>
#include <stdint.h>

struct tally {
	_Alignas(64) _Atomic uint64_t accepted;	/* connections */
	_Atomic uint64_t bytes;			/* sent back on connections */
	_Atomic uint64_t clients;		/* connected now */
	_Atomic uint64_t answered;		/* datagrams */
	_Atomic uint64_t answered_bytes;	/* in these datagrams */
	_Atomic uint64_t refused;		/* datagrams, by a rule */
	_Atomic uint64_t dropped;		/* datagrams, not by a rule */
};

#endif
