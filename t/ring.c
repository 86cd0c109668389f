/*
 * Unit test of the ring, in TAP: from inside the process, as code of an attacker
 * would run, it tries each operation of io_uring, the flags that change one, and
 * the registrations. The ring must refuse what the engine does not use. And it
 * tests the property of requests to send on which the engine relies.
 */
#include "modes/serve/ring.h"

#if RING_IS_BUILT_IN

#include <sys/socket.h>
#include <sys/syscall.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "t/tap.h"

enum { HIGHEST = 256 };		/* above all operations of the kernel */

static const int in_use[] = {
	IORING_OP_POLL_ADD, IORING_OP_ACCEPT, IORING_OP_RECV, IORING_OP_SEND,
	IORING_OP_CLOSE, IORING_OP_ASYNC_CANCEL
};

static bool
is_in_use(int operation)
{
	for (size_t i = 0; i < sizeof(in_use) / sizeof(*in_use); i++)
		if (in_use[i] == operation)
			return true;
	return false;
}

/* The result of a request with that operation and these flags. */
static int
result_of(int operation, unsigned flags)
{
	struct io_uring_sqe *request = ring_request();

	request->opcode = (uint8_t)operation;
	request->flags = (uint8_t)flags;
	request->fd = -1;
	return ring_wait(NET_SECOND) == 1 ? ring_take().res : 0;
}

static bool
refuses_all_others(void)
{
	int wrong = 0;

	for (int i = 0; i < HIGHEST; i++) {
		int result = result_of(i, 0);

		if (is_in_use(i) || result == -EACCES || result == -EINVAL)
			continue;
		printf("# operation %d: %s\n", i, strerror(-result));
		wrong++;
	}
	return wrong == 0;
}

static bool
refuses_flags(void)
{
	static const unsigned flags[] = { IOSQE_FIXED_FILE, IOSQE_IO_LINK,
	    IOSQE_IO_HARDLINK, IOSQE_ASYNC };

	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
		if (result_of(IORING_OP_SEND, flags[i]) != -EACCES)
			return false;
	return true;
}

static bool
refuses_registrations(int fd)
{
	static const unsigned what[] = { IORING_REGISTER_FILES,
	    IORING_REGISTER_BUFFERS, IORING_REGISTER_PERSONALITY,
	    IORING_REGISTER_RESTRICTIONS, IORING_REGISTER_ENABLE_RINGS };

	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++)
		if (syscall(SYS_io_uring_register, fd, what[i], NULL, 0) == 0 ||
		    (errno != EACCES && errno != EBADFD))
			return false;
	return true;
}

enum { BLOCK = 1 << 20 };

/* Sends that many bytes as the engine does. Returns how many completions. */
static int
send_bytes(int fd, unsigned size)
{
	static const char bytes[BLOCK];
	struct io_uring_sqe *request = ring_request();

	request->opcode = IORING_OP_SEND;
	request->fd = fd;
	request->addr = (uintptr_t)bytes;
	request->len = size;
	request->flags = IOSQE_CQE_SKIP_SUCCESS;
	request->msg_flags = MSG_DONTWAIT | MSG_WAITALL | MSG_NOSIGNAL;
	return ring_wait(0);
}

/*
 * A request to send that succeeds has no completion. One that does not, because
 * the socket is full, completes before the call returns.
 */
static void
test_sending(void)
{
	int ends[2], n;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
		return;
	ok(send_bytes(ends[0], 5) == 0 && ring_is_settled(),
	    "all bytes are sent: there is no completion");
	n = send_bytes(ends[0], BLOCK);
	n = n == 1 ? ring_take().res : 0;
	ok(n > 0 && n < BLOCK, "some bytes are sent: it says how many");
	n = send_bytes(ends[0], BLOCK);
	ok(n == 1 && ring_take().res == -EAGAIN, "no byte is sent: EAGAIN");
	close(ends[1]);
	n = send_bytes(ends[0], 5);
	ok(n == 1 && ring_take().res == -EPIPE, "an error is reported");
	close(ends[0]);
}

int
main(void)
{
	int fd = dup(STDOUT_FILENO), error;	/* the next free descriptor */

	close(fd);
	if ((error = ring_open()) < 0) {
		printf("1..0 # SKIP no io_uring: %s\n", strerror(-error));
		return 0;
	}
	ok(result_of(IORING_OP_SEND, 0) == -EBADF,
	    "an operation that is in use is executed");
	ok(result_of(IORING_OP_OPENAT, 0) == -EACCES,
	    "a file cannot be opened");
	ok(refuses_all_others(), "all other operations are refused");
	ok(refuses_flags(), "flags that are not in use are refused");
	ok(refuses_registrations(fd), "nothing can be registered");
	test_sending();
	/* Before the first send, the kernel would defer the next request. */
	ok(result_of(IORING_OP_SEND, IOSQE_IO_DRAIN) == -EOPNOTSUPP,
	    "a drain is refused after IOSQE_CQE_SKIP_SUCCESS");
	ring_close();
	return done();
}

#else

#include <stdio.h>

int
main(void)
{
	printf("1..0 # SKIP io_uring is not built in\n");
	return 0;
}

#endif
