/*
 * The io_uring of a process (io_uring(7)), with raw system calls: a queue of
 * requests for the kernel, a queue of their completions, and a set of buffers
 * from which the kernel chooses one when it receives.
 *
 * Linux 6.1 and later. The ring accepts only the operations that the engine
 * uses, because the filter for system calls (sandbox.h) does not see the
 * operation of a request.
 */
#ifndef RING_H
#define RING_H

#include <stdbool.h>
#include <stdint.h>

#if defined(__linux__) && !defined(WITHOUT_URING)
#if __has_include(<linux/io_uring.h>)
#include <linux/io_uring.h>
#endif
#endif

/*
 * Whether the headers of the kernel have all features that the ring needs. The
 * Makefile tests this, too.
 */
#if defined(IORING_SETUP_DEFER_TASKRUN) && defined(IORING_RECV_MULTISHOT)
#define RING_IS_BUILT_IN 1
#else
#define RING_IS_BUILT_IN 0
#endif

#if RING_IS_BUILT_IN

/*
 * All buffers together have the size of one chunk (64 KiB), because a client
 * that does not read must not cost more memory: before the engine notices such
 * a client, the kernel may fill all buffers with the client's bytes.
 */
enum {
	RING_BUFFERS = 64,		/* a power of two */
	RING_BUFFER_SIZE = 1024,
	RING_SIZE = RING_BUFFERS * RING_BUFFER_SIZE	/* bytes in them all */
};

/*
 * Opens the ring of this process. No other process may use it. Returns 0 or
 * -errno.
 */
int ring_open(void);
void ring_close(void);

/*
 * Returns the next request, all zero, for the caller to fill in. Requests reach
 * the kernel with the next ring_wait(), or before if the queue is full.
 */
struct io_uring_sqe *ring_request(void);

/*
 * Returns the flag, for the member ioprio, with which a request to accept waits
 * for a connection before its first attempt (IORING_ACCEPT_POLL_FIRST).
 * Returns 0 before Linux 6.10, which has no such flag.
 */
uint16_t ring_accept_poll_first(void);

/*
 * Hands the requests to the kernel, and waits for a completion, at most ns
 * (NET_FOREVER: no limit). Returns how many completions there are, or -errno.
 */
int ring_wait(int64_t ns);

/* Hands the requests to the kernel, without waiting. Returns as ring_wait(). */
int ring_submit(void);

/*
 * After ring_wait(): whether the kernel has taken all requests, and no
 * completion is missing because the queue is full. If so, each request that
 * does not wait is complete.
 */
bool ring_is_settled(void);

/* Returns the ith of the completions that ring_wait() has counted. */
const struct io_uring_cqe *ring_peek(int i);

/* Returns the first completion, and removes it from the queue. */
struct io_uring_cqe ring_take(void);

/* Returns the bytes of the buffer with that number, from a completion. */
char *ring_buffer(unsigned buffer);

/* Gives a buffer back to the kernel. */
void ring_return(unsigned buffer);

#endif
#endif
