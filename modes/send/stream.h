/*
 * Sends to a TCP or Unix socket, and compares the reply byte by byte while it
 * arrives.
 *
 * Sends and receives at the same time, so that client and server never wait for
 * each other, whatever the size. Only the bytes in flight are kept. FIN is sent
 * only after every byte has come back, because many servers discard pending
 * output when a client half-closes.
 */
#ifndef STREAM_H
#define STREAM_H

#include "exchange.h"

/* Sends all of the input and receives the reply. Sets the result in *x. */
void stream_exchange(struct exchange *x);

#endif
