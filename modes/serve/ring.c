#include "ring.h"

#if RING_IS_BUILT_IN

#include <sys/mman.h>
#include <sys/syscall.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"

enum {
	REQUESTS = 512,
	COMPLETIONS = 4096,
	BUFFER_GROUP = 0,

	/* The beginnings of all buffers are in different cache sets. */
	BUFFER_SPACE = RING_BUFFER_SIZE + 64
};

/*
 * Only this process uses the ring. The kernel does the work for completions
 * only while the process waits for completions, and not at any other time.
 */
static const unsigned SETUP_FLAGS = IORING_SETUP_SINGLE_ISSUER |
    IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL |
    IORING_SETUP_CQSIZE | IORING_SETUP_R_DISABLED;

static const unsigned FEATURES = IORING_FEAT_SINGLE_MMAP |
    IORING_FEAT_NODROP | IORING_FEAT_EXT_ARG;

/*
 * Headers before Linux 6.10 lack these. There is no feature bit for the flag of
 * a request to accept, but another feature came with the same version.
 */
enum {
	ACCEPT_POLL_FIRST = 1 << 2,	/* IORING_ACCEPT_POLL_FIRST */
	FEATURE_OF_6_10 = 1 << 14	/* IORING_FEAT_RECVSEND_BUNDLE */
};

/* The only operations that the ring accepts. */
static const uint8_t operations[] = {
	IORING_OP_POLL_ADD, IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND,
	IORING_OP_CLOSE, IORING_OP_ASYNC_CANCEL
};

enum { OPERATIONS = sizeof(operations) / sizeof(*operations) };

static struct {
	int fd;
	uint16_t accept_poll_first;	/* ring_accept_poll_first() */
	void *memory;		/* both queues */
	size_t memory_size;
	/* Requests. */
	struct io_uring_sqe *requests;
	unsigned *request_head, *request_tail, *flags, request_mask, tail;
	/* Completions. */
	struct io_uring_cqe *completions;
	unsigned *completion_head, *completion_tail, completion_mask;
	/* Buffers. */
	char *buffers;
	struct io_uring_buf_ring *provided;
	uint16_t provided_tail;
} ring = { .fd = -1 };

/*
 * Hands the requests to the kernel. Then waits until the wanted number of
 * completions has arrived, or the time is over (NULL: no limit).
 */
static int
call_enter(unsigned requests, unsigned wanted, struct __kernel_timespec *time)
{
	struct io_uring_getevents_arg argument = { .ts = (uintptr_t)time };
	long n = syscall(SYS_io_uring_enter, ring.fd, requests, wanted,
	    IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, &argument,
	    sizeof(argument));

	return n < 0 ? -errno : (int)n;
}

static int
call_register(unsigned what, void *argument, unsigned n)
{
	return syscall(SYS_io_uring_register, ring.fd, what, argument, n) < 0 ?
	    -errno : 0;
}

/*
 * Opening.
 */

static void *
map_ring(size_t size, off_t part)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_POPULATE, ring.fd, part);

	return memory == MAP_FAILED ? NULL : memory;
}

static void *
map_memory(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

static size_t
larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* Assigns to each place of the queue the request with the same number. */
static void
fill_in_order(unsigned *order, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		order[i] = i;
}

static int
map_queues(const struct io_uring_params *p)
{
	const struct io_sqring_offsets *sq = &p->sq_off;
	const struct io_cqring_offsets *cq = &p->cq_off;
	char *memory;

	ring.memory_size = larger(sq->array +
	    p->sq_entries * sizeof(unsigned),
	    cq->cqes + p->cq_entries * sizeof(struct io_uring_cqe));
	ring.memory = memory = map_ring(ring.memory_size, IORING_OFF_SQ_RING);
	ring.requests = map_ring(p->sq_entries * sizeof(struct io_uring_sqe),
	    IORING_OFF_SQES);
	if (memory == NULL || ring.requests == NULL)
		return -errno;
	ring.request_head = (unsigned *)(void *)(memory + sq->head);
	ring.request_tail = (unsigned *)(void *)(memory + sq->tail);
	ring.flags = (unsigned *)(void *)(memory + sq->flags);
	ring.request_mask = p->sq_entries - 1;
	fill_in_order((unsigned *)(void *)(memory + sq->array), p->sq_entries);
	ring.completions = (void *)(memory + cq->cqes);
	ring.completion_head = (unsigned *)(void *)(memory + cq->head);
	ring.completion_tail = (unsigned *)(void *)(memory + cq->tail);
	ring.completion_mask = p->cq_entries - 1;
	return 0;
}

static int
provide_buffers(void)
{
	struct io_uring_buf_reg group = { .ring_entries = RING_BUFFERS,
	    .bgid = BUFFER_GROUP };
	int error;

	ring.provided = map_memory(RING_BUFFERS * sizeof(struct io_uring_buf));
	ring.buffers = map_memory((size_t)RING_BUFFERS * BUFFER_SPACE);
	if (ring.provided == NULL || ring.buffers == NULL)
		return -errno;
	group.ring_addr = (uintptr_t)ring.provided;
	error = call_register(IORING_REGISTER_PBUF_RING, &group, 1);
	for (unsigned i = 0; i < RING_BUFFERS && error == 0; i++)
		ring_return(i);
	return error;
}

/*
 * From now on the ring accepts only the operations above, and the flags for a
 * buffer of the group. Nothing can be registered any more, so this restriction
 * cannot be removed.
 */
static int
restrict_ring(void)
{
	struct io_uring_restriction allowed[OPERATIONS + 1] = { {
		.opcode = IORING_RESTRICTION_SQE_FLAGS_ALLOWED,
		.sqe_flags = IOSQE_BUFFER_SELECT | IOSQE_CQE_SKIP_SUCCESS
	} };
	int error;

	for (int i = 0; i < OPERATIONS; i++) {
		allowed[1 + i].opcode = IORING_RESTRICTION_SQE_OP;
		allowed[1 + i].sqe_op = operations[i];
	}
	error = call_register(IORING_REGISTER_RESTRICTIONS, allowed,
	    OPERATIONS + 1);
	return error < 0 ? error :
	    call_register(IORING_REGISTER_ENABLE_RINGS, NULL, 0);
}

static int
prepare(const struct io_uring_params *p)
{
	int error;

	if ((p->features & FEATURES) != FEATURES)
		return -EINVAL;
	ring.accept_poll_first = p->features & FEATURE_OF_6_10 ?
	    ACCEPT_POLL_FIRST : 0;
	if ((error = map_queues(p)) < 0 || (error = provide_buffers()) < 0)
		return error;
	return restrict_ring();
}

int
ring_open(void)
{
	struct io_uring_params p = { .flags = SETUP_FLAGS,
	    .cq_entries = COMPLETIONS };
	int error;

	ring.fd = (int)syscall(SYS_io_uring_setup, REQUESTS, &p);
	if (ring.fd < 0)
		return -errno;
	if ((error = prepare(&p)) < 0)
		ring_close();
	return error;
}

static void
unmap(void *memory, size_t size)
{
	if (memory != NULL)
		munmap(memory, size);
}

void
ring_close(void)
{
	close(ring.fd);
	unmap(ring.memory, ring.memory_size);
	unmap(ring.requests, (ring.request_mask + 1) *
	    sizeof(struct io_uring_sqe));
	unmap(ring.provided, RING_BUFFERS * sizeof(struct io_uring_buf));
	unmap(ring.buffers, (size_t)RING_BUFFERS * BUFFER_SPACE);
	memset(&ring, 0, sizeof(ring));
	ring.fd = -1;
}

/*
 * Requests and completions.
 */

static unsigned
submitted(void)
{
	return __atomic_load_n(ring.request_head, __ATOMIC_ACQUIRE);
}

/* The requests that the kernel has not taken yet. */
static unsigned
unsubmitted(void)
{
	return ring.tail - submitted();
}

static unsigned
completed(void)
{
	return __atomic_load_n(ring.completion_tail, __ATOMIC_ACQUIRE) -
	    *ring.completion_head;
}

/* Makes the new requests visible to the kernel, and enters it. */
static int
submit_and_wait(unsigned wanted, struct __kernel_timespec *time)
{
	__atomic_store_n(ring.request_tail, ring.tail, __ATOMIC_RELEASE);
	return call_enter(unsubmitted(), wanted, time);
}

struct io_uring_sqe *
ring_request(void)
{
	struct io_uring_sqe *request;

	while (unsubmitted() > ring.request_mask)
		submit_and_wait(0, NULL);
	request = &ring.requests[ring.tail++ & ring.request_mask];
	memset(request, 0, sizeof(*request));
	return request;
}

uint16_t
ring_accept_poll_first(void)
{
	return ring.accept_poll_first;
}

int
ring_submit(void)
{
	__atomic_store_n(ring.request_tail, ring.tail, __ATOMIC_RELEASE);
	syscall(SYS_io_uring_enter, ring.fd, unsubmitted(), 0, 0, NULL, 0);
	return (int)completed();
}

/*
 * Whether an error is temporary: the time is over, a signal has arrived, or the
 * kernel lacks memory or room for completions. The next call does the rest of
 * the work.
 */
static bool
is_passing(int error)
{
	return error == -ETIME || error == -EINTR || error == -EAGAIN ||
	    error == -EBUSY;
}

int
ring_wait(int64_t ns)
{
	struct __kernel_timespec time = { .tv_sec = ns / NET_SECOND,
	    .tv_nsec = ns % NET_SECOND };
	int n = submit_and_wait(ns != 0 && completed() == 0,
	    ns > 0 ? &time : NULL);

	return n < 0 && !is_passing(n) ? n : (int)completed();
}

bool
ring_is_settled(void)
{
	return unsubmitted() == 0 && (__atomic_load_n(ring.flags,
	    __ATOMIC_ACQUIRE) & IORING_SQ_CQ_OVERFLOW) == 0;
}

const struct io_uring_cqe *
ring_peek(int i)
{
	return &ring.completions[(*ring.completion_head + (unsigned)i) &
	    ring.completion_mask];
}

struct io_uring_cqe
ring_take(void)
{
	struct io_uring_cqe taken = *ring_peek(0);

	__atomic_store_n(ring.completion_head, *ring.completion_head + 1,
	    __ATOMIC_RELEASE);
	return taken;
}

/*
 * Buffers.
 */

char *
ring_buffer(unsigned buffer)
{
	return ring.buffers + (size_t)buffer * BUFFER_SPACE;
}

void
ring_return(unsigned buffer)
{
	struct io_uring_buf *place = &ring.provided->bufs[
	    ring.provided_tail & (RING_BUFFERS - 1)];

	place->addr = (uintptr_t)ring_buffer(buffer);
	place->len = RING_BUFFER_SIZE;
	place->bid = (uint16_t)buffer;
	__atomic_store_n(&ring.provided->tail, ++ring.provided_tail,
	    __ATOMIC_RELEASE);
}

#endif
