/*
 * Faults on demand: a library that is preloaded (LD_PRELOAD) into the program,
 * between it and the C library. It makes calls fail or do less than asked, in
 * ways that their man pages allow and that a test cannot cause from outside.
 *
 *	ECHO_SHIM=seed=17	at random, recv and send are short or return
 *				EAGAIN or EINTR, datagrams are truncated or
 *				cannot be sent, and waits end although nothing
 *				is ready; requests of io_uring likewise
 *	ECHO_SHIM=accept=EMFILE:3
 *				accept4 and accept fail three times; without :3
 *				always
 *	ECHO_SHIM=receive=ENOMEM:3
 *				the same for recvmmsg and recvmsg
 *	ECHO_SHIM=uring=EPERM	the same for io_uring_setup
 *	ECHO_SHIM=fail=12	the 12th of the calls below that start-up makes
 *				fails; start-up ends at the first wait or accept
 *	ECHO_SHIM=noipv6	a kernel without IPv6
 *	ECHO_SHIM=reset		the error of each socket is ECONNRESET, as if
 *				the peer had reset each connection at once
 *	ECHO_SHIM=log=PATH	the system log is the datagram socket PATH
 *	ECHO_SHIM=late-input	after the first read of standard input, a ppoll
 *				of several descriptors does not report it, as if
 *				its end arrived just after the call
 *
 * The same seed gives the same faults. The random numbers of the nth connection
 * depend only on seed + n - 1, so that one server tries many seeds, and the one
 * that fails can be repeated as the first connection of another server. Calls
 * that belong to no connection use the seed of the last one.
 *
 * The library runs before main() and inside malloc(), so it uses only static
 * memory and has no sanitizer.
 */
#include <sys/auxv.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#if __has_include(<linux/io_uring.h>) && !defined(WITHOUT_URING)
#include <linux/io_uring.h>
#endif

/* glibc declares socket addresses as unions of pointers to all their types. */
#pragma GCC diagnostic ignored "-Wpedantic"

enum { FDS = 4096 };

/* The failures of one call. */
struct failure {
	int error;		/* 0: none */
	long times;		/* that are left; -1: always fail */
};

static struct {
	bool random;
	uint64_t seed;
	struct failure accept, receive, uring;
	long fail;		/* number of the call that fails, 0: none */
	bool no_ipv6;
	bool late_input;
	bool reset;
	const char *log;	/* instead of _PATH_LOG, or NULL */
} plan;

static bool pipes[FDS];			/* from pipe2(2) */
/* Streams of random numbers: one for each connection, by its descriptor. */
static uint64_t streams[FDS];
static uint64_t accepted;		/* number of connections */
static uint64_t common;			/* the stream of all other calls */
static bool input_was_read;		/* standard input */
static bool starting = true;
static long *calls;			/* of all processes together */

/* The events of epoll_ctl, so that they can be reported without a cause. */
static struct {
	int epoll;
	struct epoll_event event;
} watched[FDS];

/* Declares real, the function of the C library that this library replaces. */
#define REAL(name) \
	static __typeof__(name) *real; \
	if (real == NULL) \
		find(#name, &real)

static void
find(const char *name, void *real)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
		abort();
	memcpy(real, &found, sizeof(found));
}

/*
 * Random numbers (Vigna's splitmix64).
 */

static uint64_t
draw(uint64_t *stream)
{
	uint64_t z = *stream += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static bool
one_in(unsigned n, uint64_t *stream)
{
	return plan.random && draw(stream) % n == 0;
}

static uint64_t *
stream_of(int fd)
{
	return fd >= 0 && fd < FDS && streams[fd] != 0 ? &streams[fd] :
	    &common;
}

/* Fails at random as if a signal had arrived or nothing were ready. */
static bool
not_now(int fd)
{
	if (!one_in(6, stream_of(fd)))
		return false;
	errno = one_in(2, stream_of(fd)) ? EAGAIN : EINTR;
	return true;
}

/* A random number of bytes, from one to size, to which a call is limited. */
static size_t
fewer(int fd, size_t size)
{
	uint64_t *stream = stream_of(fd);
	size_t most = size;

	if (size < 2 || !plan.random || one_in(3, stream))
		return size;
	if (most > 16 && one_in(2, stream))
		most = 16;
	return 1 + (size_t)(draw(stream) % most);
}

static bool
is_pipe(int fd)
{
	return fd >= 0 && fd < FDS && pipes[fd];
}

/*
 * The plan, from the environment.
 */

static const struct {
	const char *name;
	int number;
} errors[] = {
	{ "ECONNABORTED", ECONNABORTED },
	{ "ECONNREFUSED", ECONNREFUSED }, { "EINTR", EINTR },
	{ "EINVAL", EINVAL }, { "EMFILE", EMFILE },
	{ "ENETDOWN", ENETDOWN }, { "ENFILE", ENFILE },
	{ "ENOBUFS", ENOBUFS }, { "ENOMEM", ENOMEM }, { "ENOSYS", ENOSYS },
	{ "EPERM", EPERM }, { "EPROTO", EPROTO }
};

static int
error_named(const char *name, size_t length)
{
	for (size_t i = 0; i < sizeof(errors) / sizeof(*errors); i++)
		if (strlen(errors[i].name) == length &&
		    strncmp(errors[i].name, name, length) == 0)
			return errors[i].number;
	abort();
}

/* The value of "NAME=value" if what begins with name ("NAME="), else NULL. */
static const char *
value_of(const char *what, const char *name)
{
	size_t length = strlen(name);

	return strncmp(what, name, length) == 0 ? what + length : NULL;
}

/* Reads "EMFILE:3" or "EMFILE". */
static struct failure
read_failure(const char *text)
{
	size_t name = strcspn(text, ":");

	return (struct failure){ .error = error_named(text, name),
	    .times = text[name] == '\0' ? -1 :
	    strtol(text + name + 1, NULL, 10) };
}

/* Whether this call fails. */
static bool
fails_now(struct failure *f)
{
	if (f->error == 0 || f->times == 0)
		return false;
	f->times -= f->times > 0;
	errno = f->error;
	return true;
}

__attribute__((constructor)) static void
make_plan(void)
{
	const char *what = getenv("ECHO_SHIM"), *value;

	if (what == NULL)
		return;
	if ((value = value_of(what, "seed=")) != NULL) {
		plan.random = true;
		plan.seed = common = strtoull(value, NULL, 10);
	} else if ((value = value_of(what, "accept=")) != NULL)
		plan.accept = read_failure(value);
	else if ((value = value_of(what, "receive=")) != NULL)
		plan.receive = read_failure(value);
	else if ((value = value_of(what, "uring=")) != NULL)
		plan.uring = read_failure(value);
	else if ((value = value_of(what, "fail=")) != NULL) {
		calls = mmap(NULL, sizeof(*calls), PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
		plan.fail = strtol(value, NULL, 10);
	} else if (strcmp(what, "noipv6") == 0)
		plan.no_ipv6 = true;
	else if (strcmp(what, "reset") == 0)
		plan.reset = true;
	else if ((value = value_of(what, "log=")) != NULL)
		plan.log = value;
	else if (strcmp(what, "late-input") == 0)
		plan.late_input = true;
	else
		abort();
}

static void *
base_of(const void *code)
{
	Dl_info info;

	return dladdr(code, &info) != 0 ? info.dli_fbase : NULL;
}

/*
 * Whether code belongs to the program or to the C library. An emulation of
 * kqueue(2) makes calls as well, and aborts if they fail.
 */
static bool
is_tested(const void *code)
{
	static void *program, *libc;
	void *base = base_of(code), *entry;

	if (program == NULL) {
		entry = (void *)getauxval(AT_ENTRY); /* NOLINT(*-no-int-to-ptr) */
		program = base_of(entry);
		libc = base_of(dlsym(RTLD_NEXT, "malloc"));
	}
	return base == program || base == libc;
}

/*
 * Whether this call of start-up, to which the caller returns, is to fail. Prints
 * its name if it is.
 */
static bool
fails_for(const void *caller, const char *name, int error)
{
	char line[64];
	int length;

	if (!starting || plan.fail == 0 || !is_tested(caller) ||
	    __atomic_add_fetch(calls, 1, __ATOMIC_SEQ_CST) != plan.fail)
		return false;
	length = snprintf(line, sizeof(line), "shim: fails: %s\n", name);
	(void)!write(STDERR_FILENO, line, (size_t)length);
	errno = error;
	return true;
}

#define fails(name, error) \
	fails_for(__builtin_return_address(0), name, error)

/*
 * io_uring. Its calls have no function of their own in the C library. Requests
 * are changed before the kernel takes them: some sends are short or fail for the
 * moment, some receives end after one completion or at once, and some polls
 * report a socket that is not ready. Now and then the kernel takes only some of
 * the requests, or the wait ends early. Half of the servers have so small a
 * queue that completions overflow.
 */

#ifdef IORING_RECV_MULTISHOT

enum { SMALL_RING = 4, REPLACED = 64, LISTENERS = 8 };

static struct {
	int fd;
	struct io_uring_params p;
	char *queues;
	struct io_uring_sqe *requests;
	unsigned seen;		/* completions that have been looked at */
} ring = { .fd = -1 };

/* Results that take the place of others, by the name of the request. */
static struct {
	uint64_t name;
	int result;		/* 0: none */
} replaced[REPLACED];

/* The names of requests to accept; 0: none. */
static uint64_t accepting[LISTENERS];

static unsigned *
in_queues(unsigned offset)
{
	return (unsigned *)(void *)(ring.queues + offset);
}

/* Remembers where the program has mapped the queues of its ring. */
static void
see_mapping(int fd, off_t at, void *memory)
{
	if (fd < 0 || fd != ring.fd || memory == MAP_FAILED)
		return;
	if (at == (off_t)IORING_OFF_SQ_RING)
		ring.queues = memory;
	else if (at == (off_t)IORING_OFF_SQES)
		ring.requests = memory;
}

#else

static void
see_mapping(int fd, off_t at, const void *memory)
{
	(void)fd;
	(void)at;
	(void)memory;
}

#endif

/*
 * Start-up. Calls that cannot fail with valid arguments are missing: sigaction,
 * sigprocmask, and fcntl for the flags of an open descriptor.
 */

int
socket(int family, int type, int protocol)
{
	REAL(socket);
	if (plan.no_ipv6 && family == AF_INET6) {
		errno = EAFNOSUPPORT;
		return -1;
	}
	return fails("socket", EMFILE) ? -1 : real(family, type, protocol);
}

int
setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
	REAL(setsockopt);
	return fails("setsockopt", ENOPROTOOPT) ? -1 :
	    real(fd, level, name, value, size);
}

int
getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
	REAL(getsockopt);
	int result = real(fd, level, name, value, size), error = ECONNRESET;

	if (plan.reset && level == SOL_SOCKET && name == SO_ERROR)
		memcpy(value, &error, sizeof(error));
	return result;
}

int
bind(int fd, const struct sockaddr *address, socklen_t size)
{
	REAL(bind);
	return fails("bind", EACCES) ? -1 : real(fd, address, size);
}

int
connect(int fd, const struct sockaddr *address, socklen_t size)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	REAL(connect);
	if (plan.log == NULL || address->sa_family != AF_UNIX ||
	    strcmp(((const struct sockaddr_un *)(const void *)
	    address)->sun_path, _PATH_LOG) != 0)
		return real(fd, address, size);
	snprintf(un.sun_path, sizeof(un.sun_path), "%s", plan.log);
	return real(fd, (struct sockaddr *)&un, sizeof(un));
}

int
listen(int fd, int backlog)
{
	REAL(listen);
	return fails("listen", EADDRINUSE) ? -1 : real(fd, backlog);
}

int
getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
	REAL(getsockname);
	return fails("getsockname", ENOBUFS) ? -1 : real(fd, address, size);
}

int
fcntl(int fd, int command, ...)
{
	bool copies = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
	va_list ap;
	void *argument;

	REAL(fcntl);
	va_start(ap, command);
	argument = va_arg(ap, void *);
	va_end(ap);
	return copies && fails("fcntl", EMFILE) ? -1 :
	    real(fd, command, argument);
}

void *
malloc(size_t size)
{
	REAL(malloc);
	return fails("malloc", ENOMEM) ? NULL : real(size);
}

void *
calloc(size_t n, size_t size)
{
	REAL(calloc);
	return fails("calloc", ENOMEM) ? NULL : real(n, size);
}

void *
realloc(void *old, size_t size)
{
	REAL(realloc);
	return fails("realloc", ENOMEM) ? NULL : real(old, size);
}

void *
mmap(void *where, size_t size, int access, int flags, int fd, off_t at)
{
	REAL(mmap);
	if (fails("mmap", ENOMEM))
		return MAP_FAILED;
	where = real(where, size, access, flags, fd, at);
	see_mapping(fd, at, where);
	return where;
}

int
pipe2(int fds[2], int flags)
{
	REAL(pipe2);
	if (fails("pipe2", EMFILE) || real(fds, flags) < 0)
		return -1;
	for (int i = 0; i < 2; i++)
		if (fds[i] < FDS)
			pipes[fds[i]] = true;
	return 0;
}

/* The calls of a program that is built with PORTABLE=1: pipe, accept, recvmsg. */
int
pipe(int fds[2])
{
	return pipe2(fds, 0);
}

int
socketpair(int family, int type, int protocol, int fds[2])
{
	REAL(socketpair);
	return fails("socketpair", EMFILE) ? -1 :
	    real(family, type, protocol, fds);
}

pid_t
fork(void)
{
	REAL(fork);
	return fails("fork", EAGAIN) ? -1 : real();
}

int
prctl(int option, ...)
{
	unsigned long arguments[4];
	va_list ap;

	REAL(prctl);
	va_start(ap, option);
	for (int i = 0; i < 4; i++)
		arguments[i] = va_arg(ap, unsigned long);
	va_end(ap);
	return fails("prctl", EINVAL) ? -1 : real(option, arguments[0],
	    arguments[1], arguments[2], arguments[3]);
}

int
epoll_create1(int flags)
{
	REAL(epoll_create1);
	return fails("epoll_create1", EMFILE) ? -1 : real(flags);
}

int
eventfd(unsigned value, int flags)
{
	REAL(eventfd);
	return fails("eventfd", EMFILE) ? -1 : real(value, flags);
}

int
signalfd(int fd, const sigset_t *mask, int flags)
{
	REAL(signalfd);
	return fails("signalfd", EMFILE) ? -1 : real(fd, mask, flags);
}

int
timerfd_create(clockid_t clock, int flags)
{
	REAL(timerfd_create);
	return fails("timerfd_create", EMFILE) ? -1 : real(clock, flags);
}

int
epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
	int result;

	REAL(epoll_ctl);
	if (op == EPOLL_CTL_ADD && fails("epoll_ctl", ENOSPC))
		return -1;
	result = real(epoll, op, fd, event);
	if (result < 0 || fd >= FDS)
		return result;
	watched[fd].epoll = epoll;
	if (op == EPOLL_CTL_DEL)
		watched[fd].event.events = 0;
	else
		watched[fd].event = *event;
	return result;
}

/*
 * Connections.
 */

/* Whether a call or request to accept fails. */
static bool
accept_fails(void)
{
	if (fails_now(&plan.accept))
		return true;
	if (!one_in(6, &common))
		return false;
	errno = one_in(2, &common) ? EAGAIN : one_in(2, &common) ? EINTR :
	    ECONNABORTED;
	return true;
}

/* The random numbers of a new connection. */
static void
begin_stream(int fd)
{
	if (!plan.random)
		return;
	common = plan.seed + accepted++;
	if (fd < FDS)
		streams[fd] = common;
}

int
accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
	int new;

	REAL(accept4);
	starting = false;
	if (accept_fails())
		return -1;
	new = real(fd, address, size, flags);
	if (new >= 0)
		begin_stream(new);
	return new;
}

static void
forget_descriptor(int fd)
{
	if (fd < 0 || fd >= FDS)
		return;
	pipes[fd] = false;
	streams[fd] = 0;
	watched[fd].event.events = 0;
}

int
accept(int fd, struct sockaddr *address, socklen_t *size)
{
	return accept4(fd, address, size, 0);
}

int
close(int fd)
{
	REAL(close);
	forget_descriptor(fd);
	return real(fd);
}

ssize_t
recv(int fd, void *buf, size_t size, int flags)
{
	REAL(recv);
	return not_now(fd) ? -1 : real(fd, buf, fewer(fd, size), flags);
}

ssize_t
send(int fd, const void *buf, size_t size, int flags)
{
	REAL(send);
	return not_now(fd) ? -1 : real(fd, buf, fewer(fd, size), flags);
}

/*
 * Datagrams. Fewer of a batch are received or sent than asked for, some as if
 * they had been too large for the buffer, and some fail to be sent.
 */

static bool
cannot_send(int fd)
{
	static const int reasons[] = { EAGAIN, EINTR, ENOBUFS, EPERM,
	    ECONNREFUSED, EINVAL };
	uint64_t *stream = stream_of(fd);

	if (!one_in(6, stream))
		return false;
	errno = reasons[draw(stream) % (sizeof(reasons) / sizeof(int))];
	return true;
}

static void
truncate_some(int fd, struct msghdr *msg)
{
	if (one_in(16, stream_of(fd)))
		msg->msg_flags |= MSG_TRUNC;
}

ssize_t
recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	REAL(recvmsg);
	starting = false;
	if (fails_now(&plan.receive) || not_now(fd))
		return -1;
	if ((n = real(fd, msg, flags)) >= 0)
		truncate_some(fd, msg);
	return n;
}

int
recvmmsg(int fd, struct mmsghdr *batch, unsigned size, int flags,
    struct timespec *time)
{
	int n;

	REAL(recvmmsg);
	starting = false;
	if (fails_now(&plan.receive) || not_now(fd))
		return -1;
	n = real(fd, batch, (unsigned)fewer(fd, size), flags, time);
	for (int i = 0; i < n; i++)
		truncate_some(fd, &batch[i].msg_hdr);
	return n;
}

ssize_t
sendmsg(int fd, const struct msghdr *msg, int flags)
{
	REAL(sendmsg);
	return cannot_send(fd) ? -1 : real(fd, msg, flags);
}

int
sendmmsg(int fd, struct mmsghdr *batch, unsigned size, int flags)
{
	REAL(sendmmsg);
	return cannot_send(fd) ? -1 :
	    real(fd, batch, (unsigned)fewer(fd, size), flags);
}

ssize_t
splice(int in, off64_t *in_at, int out, off64_t *out_at, size_t size,
    unsigned flags)
{
	REAL(splice);
	if (flags & SPLICE_F_NONBLOCK && one_in(6, stream_of(in))) {
		errno = EAGAIN;
		return -1;
	}
	return real(in, in_at, out, out_at, fewer(in, size), flags);
}

ssize_t
read(int fd, void *buf, size_t size)
{
	REAL(read);
	input_was_read = input_was_read || fd == STDIN_FILENO;
	return real(fd, buf, plan.random && is_pipe(fd) ? fewer(fd, size) :
	    size);
}

ssize_t
write(int fd, const void *buf, size_t size)
{
	REAL(write);
	return real(fd, buf, plan.random && is_pipe(fd) ? fewer(fd, size) :
	    size);
}

/*
 * Waiting. A call with a timeout of zero is left alone, because a signal cannot
 * interrupt it.
 */

/* Fails at random as if a signal had been caught while waiting. */
static bool
interrupted(bool waits)
{
	starting = false;
	if (!waits || !one_in(6, &common))
		return false;
	errno = EINTR;
	return true;
}

/* The number of descriptors in a set, all of which are reported as ready. */
static int
all_in(int n, const fd_set *set)
{
	int found = 0;

	for (int fd = 0; fd < n && set != NULL; fd++)
		found += FD_ISSET(fd, set) != 0;
	return found;
}

static bool
is_zero(const struct timespec *time)
{
	return time != NULL && time->tv_sec == 0 && time->tv_nsec == 0;
}

int
pselect(int n, fd_set *readers, fd_set *writers, fd_set *others,
    const struct timespec *time, const sigset_t *mask)
{
	REAL(pselect);
	if (interrupted(!is_zero(time)))
		return -1;
	if (!is_zero(time) && others == NULL && one_in(6, &common) &&
	    all_in(n, readers) + all_in(n, writers) > 0)
		return all_in(n, readers) + all_in(n, writers);
	return real(n, readers, writers, others, time, mask);
}

/* Removes standard input from a set of several; poll(2) ignores -1. */
static void
leave_out_input(struct pollfd *fds, nfds_t n)
{
	for (nfds_t i = 0; i < n && n > 1; i++)
		if (fds[i].fd == STDIN_FILENO)
			fds[i].fd = -1;
}

int
ppoll(struct pollfd *fds, nfds_t n, const struct timespec *time,
    const sigset_t *mask)
{
	REAL(ppoll);
	if (plan.late_input && input_was_read)
		leave_out_input(fds, n);
	if (interrupted(!is_zero(time)))
		return -1;
	if (n == 0 || is_zero(time) || !one_in(6, &common))
		return real(fds, n, time, mask);
	for (nfds_t i = 0; i < n; i++)
		fds[i].revents = fds[i].events;
	return (int)n;
}

static struct timespec *
from_ms(struct timespec *time, int ms)
{
	time->tv_sec = ms / 1000;
	time->tv_nsec = ms % 1000 * 1000000L;
	return ms < 0 ? NULL : time;
}

int
poll(struct pollfd *fds, nfds_t n, int ms)
{
	return ppoll(fds, n, from_ms(&(struct timespec){ 0 }, ms), NULL);
}

/* Reports one event of a watched descriptor. Returns 0 if there is none. */
static int
any_watched(int epoll, struct epoll_event *event)
{
	int first = (int)(draw(&common) % FDS);

	for (int i = 0; i < FDS; i++) {
		int fd = (first + i) % FDS;

		if (watched[fd].epoll != epoll ||
		    !(watched[fd].event.events & (EPOLLIN | EPOLLOUT)))
			continue;
		*event = watched[fd].event;
		event->events &= EPOLLIN | EPOLLOUT;
		return 1;
	}
	return 0;
}

/* Reports an event at random although nothing is ready. */
static bool
for_nothing(int epoll, struct epoll_event *event)
{
	return one_in(6, &common) && any_watched(epoll, event) > 0;
}

int
epoll_pwait(int epoll, struct epoll_event *events, int most, int ms,
    const sigset_t *mask)
{
	REAL(epoll_pwait);
	if (interrupted(ms != 0))
		return -1;
	if (ms != 0 && for_nothing(epoll, events))
		return 1;
	return real(epoll, events, one_in(3, &common) ? 1 : most, ms, mask);
}

int
epoll_wait(int epoll, struct epoll_event *events, int most, int ms)
{
	return epoll_pwait(epoll, events, most, ms, NULL);
}

int
epoll_pwait2(int epoll, struct epoll_event *events, int most,
    const struct timespec *time, const sigset_t *mask)
{
	REAL(epoll_pwait2);
	if (interrupted(!is_zero(time)))
		return -1;
	if (!is_zero(time) && for_nothing(epoll, events))
		return 1;
	return real(epoll, events, one_in(3, &common) ? 1 : most, time, mask);
}

#ifdef IORING_RECV_MULTISHOT

/* Lets a request complete at once with this result: it sends no bytes. */
static void
replace_request(struct io_uring_sqe *request, int result)
{
	for (int i = 0; i < REPLACED; i++) {
		if (replaced[i].result != 0)
			continue;
		replaced[i].name = request->user_data;
		replaced[i].result = result;
		request->opcode = IORING_OP_SEND;
		request->flags = 0;
		request->ioprio = 0;
		request->len = 0;
		request->msg_flags = MSG_DONTWAIT | MSG_NOSIGNAL;
		return;
	}
}

static void
spoil_send(struct io_uring_sqe *request)
{
	unsigned size = request->len;

	if (not_now(request->fd)) {
		replace_request(request, -errno);
		return;
	}
	request->len = (unsigned)fewer(request->fd, size);
	if (request->len < size)
		request->flags = 0;	/* so that its completion is seen */
}

static void
spoil_receive(struct io_uring_sqe *request)
{
	static const int reasons[] = { -ENOBUFS, -EINTR, -EAGAIN };
	uint64_t *stream = stream_of(request->fd);

	if (one_in(6, stream))
		replace_request(request, reasons[draw(stream) % 3]);
	else if (one_in(2, stream))
		request->ioprio = 0;
}

static void
spoil_accept(struct io_uring_sqe *request)
{
	if (accept_fails()) {
		replace_request(request, -errno);
		return;
	}
	for (int i = 0; i < LISTENERS; i++) {
		if (accepting[i] != 0 && accepting[i] != request->user_data)
			continue;
		accepting[i] = request->user_data;
		return;
	}
}

static void
spoil_request(struct io_uring_sqe *request)
{
	switch (request->opcode) {
	case IORING_OP_ACCEPT:
		spoil_accept(request);
		break;
	case IORING_OP_CLOSE:
		forget_descriptor(request->fd);
		break;
	case IORING_OP_SEND:
		spoil_send(request);
		break;
	case IORING_OP_RECV:
		spoil_receive(request);
		break;
	case IORING_OP_POLL_ADD:
		if (one_in(6, stream_of(request->fd)))
			request->poll32_events |= POLLIN | POLLOUT;
		break;
	}
}

static void
spoil_requests(unsigned n)
{
	unsigned head = *in_queues(ring.p.sq_off.head);

	for (unsigned i = 0; i < n; i++)
		spoil_request(&ring.requests[(head + i) &
		    (ring.p.sq_entries - 1)]);
}

static void
replace_result(struct io_uring_cqe *completion)
{
	for (int i = 0; i < REPLACED; i++) {
		if (replaced[i].result == 0 ||
		    replaced[i].name != completion->user_data)
			continue;
		completion->res = replaced[i].result;
		replaced[i].result = 0;
		return;
	}
	for (int i = 0; i < LISTENERS; i++)
		if (accepting[i] == completion->user_data &&
		    completion->res >= 0)
			begin_stream(completion->res);
}

static void
replace_results(void)
{
	struct io_uring_cqe *all = (void *)(ring.queues + ring.p.cq_off.cqes);

	while (ring.seen != *in_queues(ring.p.cq_off.tail))
		replace_result(&all[ring.seen++ & (ring.p.cq_entries - 1)]);
}

static long
setup_ring(long (*real)(long, ...), unsigned requests, long address)
{
	struct io_uring_params *p = (void *)address;	/* NOLINT(*-int-to-ptr) */

	if (fails_now(&plan.uring) || fails("io_uring_setup", EPERM))
		return -1;
	if (one_in(2, &common))
		requests = p->cq_entries = SMALL_RING;
	ring.fd = (int)real(SYS_io_uring_setup, requests, p);
	ring.p = *p;
	ring.seen = 0;
	return ring.fd;
}

static long
enter_ring(long (*real)(long, ...), const long *a)
{
	unsigned n = (unsigned)a[1], wanted = (unsigned)a[2];
	long result;

	starting = false;
	if (one_in(6, &common)) {
		errno = one_in(2, &common) ? EAGAIN : one_in(2, &common) ?
		    EBUSY : EINTR;
		return -1;
	}
	if (one_in(3, &common))
		wanted = 0;
	if (wanted == 0)	/* the kernel waits only if it has taken all */
		n = (unsigned)fewer(-1, n);
	spoil_requests(n);
	result = real(SYS_io_uring_enter, a[0], (long)n, (long)wanted, a[3],
	    a[4], a[5]);
	replace_results();
	return result;
}

/* Makes a call of io_uring. Returns false if it is another call. */
static bool
call_ring(long (*real)(long, ...), long number, const long *a, long *result)
{
	switch (number) {
	case SYS_io_uring_setup:
		*result = setup_ring(real, (unsigned)a[0], a[1]);
		return true;
	case SYS_io_uring_enter:
		*result = enter_ring(real, a);
		return true;
	case SYS_io_uring_register:
		*result = -1;
		return fails("io_uring_register", EINVAL);
	default:
		return false;
	}
}

#else

static bool
call_ring(long (*real)(long, ...), long number, const long *a, long *result)
{
	(void)real;
	(void)number;
	(void)a;
	(void)result;
	return false;
}

#endif

long
syscall(long number, ...)
{
	long a[6], result;
	va_list ap;

	REAL(syscall);
	va_start(ap, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return call_ring(real, number, a, &result) ? result :
	    real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/*
 * The names of the same functions under _FORTIFY_SOURCE.
 */

/* NOLINTBEGIN(bugprone-reserved-identifier) */
ssize_t __recv_chk(int, void *, size_t, size_t, int);
ssize_t __read_chk(int, void *, size_t, size_t);
int __poll_chk(struct pollfd *, nfds_t, int, size_t);
int __ppoll_chk(struct pollfd *, nfds_t, const struct timespec *,
    const sigset_t *, size_t);
/* NOLINTEND(bugprone-reserved-identifier) */

ssize_t
__recv_chk(int fd, void *buf, size_t size, size_t room, int flags)
{
	if (size > room)
		abort();
	return recv(fd, buf, size, flags);
}

ssize_t
__read_chk(int fd, void *buf, size_t size, size_t room)
{
	if (size > room)
		abort();
	return read(fd, buf, size);
}

int
__poll_chk(struct pollfd *fds, nfds_t n, int ms, size_t room)
{
	if (n > room / sizeof(*fds))
		abort();
	return poll(fds, n, ms);
}

int
__ppoll_chk(struct pollfd *fds, nfds_t n, const struct timespec *time,
    const sigset_t *mask, size_t room)
{
	if (n > room / sizeof(*fds))
		abort();
	return ppoll(fds, n, time, mask);
}
