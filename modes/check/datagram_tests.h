/*
 * The tests of UDP servers (check --udp).
 */
#ifndef DATAGRAM_TESTS_H
#define DATAGRAM_TESTS_H

#include "tests.h"

/* Ends with a NULL name. */
extern const struct test datagram_tests_table[];

#endif
