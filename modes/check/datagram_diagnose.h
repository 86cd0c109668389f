/*
 * Explains why an exchange of datagrams has failed.
 */
#ifndef DATAGRAM_DIAGNOSE_H
#define DATAGRAM_DIAGNOSE_H

#include "exchange.h"
#include "tests.h"

/*
 * Fills in the report on a failed exchange. Sends further datagrams to find the
 * cause. Returns FAIL, or SKIP if this system is the cause.
 */
enum outcome datagram_diagnose(struct test_run *, struct exchange *);

/* Whether the server returns a datagram of that size to a new client. */
bool datagram_diagnose_returns(struct test_run *, uint64_t size);

#endif
