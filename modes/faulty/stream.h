/*
 * A faulty TCP or Unix server. The parent process accepts the clients and starts
 * a child process for each of them. A child serves nothing but its client, so
 * its recv(2) and send(2) may block. serve_client() handles a connection from
 * beginning to end; read it first.
 */
#ifndef STREAM_H
#define STREAM_H

#include <stdint.h>

#include "faults.h"

struct stream_plan {
	const struct faults *faults;
	int verbosity;			/* 1 with -v, -1 with -q */
};

/*
 * Serves the nth client, in a process of its own (modes/lib/children.h).
 * context is a struct stream_plan.
 */
void stream_serve(void *context, int fd, const char *peer, uint64_t n);

#endif
