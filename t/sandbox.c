/*
 * Unit test of the sandbox, in TAP. A child enters the sandbox and makes one
 * system call; this is repeated for each number of a call. Only the calls that
 * serving needs may survive.
 */
#include "modes/serve/sandbox.h"
#include "t/tap.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { HIGHEST = 600 };		/* above all calls of the kernel */

/* Calls that serving needs, with any arguments. */
static const int needed[] = {
	SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_splice, SYS_read,
	SYS_shutdown, SYS_close, SYS_ppoll, SYS_write, SYS_writev,
	SYS_clock_gettime, SYS_brk, SYS_mremap, SYS_munmap, SYS_madvise,
	SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit,
	SYS_exit_group, SYS_gettid
};

/* Calls that serving needs with some arguments only. */
static const int limited[] = {
	SYS_ioctl, SYS_fcntl, SYS_setsockopt, SYS_getsockopt, SYS_mprotect
};

static const int no_more[] = { SANDBOX_END };

static bool
is_in(int call, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == call)
			return true;
	return false;
}

/*
 * Whether a child is killed for the call in a sandbox that allows these calls
 * too.
 */
static bool
kills(const int *calls, long call, long a, long b, long c)
{
	pid_t pid = fork();
	int how = 0;

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGALRM, SIG_DFL);
		alarm(10);
		sandbox_allow(calls);
		if (sandbox_enter() < 0)
			_exit(1);
		syscall(call, a, b, c, -1L, -1L, -1L);
		_exit(0);
	}
	waitpid(pid, &how, 0);
	return WIFSIGNALED(how) && WTERMSIG(how) == SIGSYS;
}

/* Tracing's own, which the kernel shows no filter (x86: u(ret)probe). */
static bool
is_unseen(int call)
{
#ifdef __x86_64__
	return call == 335 || call == 336;
#else
	return call < 0;
#endif
}

static void
test_every_call(void)
{
	int passed = 0, killed = 0;
	char name[80];

	for (int call = 0; call < HIGHEST; call++) {
		bool is_needed = is_in(call, needed,
		    sizeof(needed) / sizeof(*needed));
		/* mmap depends on its arguments: test_arguments(). */
		bool may_pass = is_needed || call == SYS_mmap;

		if (is_unseen(call))
			continue;
		if (kills(no_more, call, -1, -1, -1) == !may_pass) {
			killed += !may_pass;
			passed += may_pass;
		} else if (call != SYS_mmap) {
			printf("# call %d\n", call);
			snprintf(name, sizeof(name), "call %d %s", call,
			    is_needed ? "passes" : "kills");
			ok(false, name);
		}
	}
	snprintf(name, sizeof(name), "of %d calls %d are killed", HIGHEST, killed);
	ok(killed > HIGHEST - 40, name);
	ok(passed >= (int)(sizeof(needed) / sizeof(*needed)),
	    "the calls that serving needs are allowed");
	for (size_t i = 0; i < sizeof(limited) / sizeof(*limited); i++)
		ok(kills(no_more, limited[i], -1, -1, -1),
		    "the call is killed with any other argument");
}

static void
test_arguments(void)
{
	ok(!kills(no_more, SYS_ioctl, -1, FIONREAD, 0), "ioctl FIONREAD is allowed");
	ok(kills(no_more, SYS_ioctl, -1, TIOCSTI, 0),
	    "ioctl TIOCSTI, which types into a terminal, is killed");
	ok(!kills(no_more, SYS_setsockopt, -1, SOL_SOCKET, SO_LINGER),
	    "setsockopt SO_LINGER is allowed");
	ok(kills(no_more, SYS_setsockopt, -1, SOL_SOCKET, SO_BINDTODEVICE),
	    "another option is killed");
	ok(!kills(no_more, SYS_fcntl, -1, F_DUPFD_CLOEXEC, 0), "fcntl F_DUPFD_CLOEXEC is allowed");
	ok(kills(no_more, SYS_fcntl, 0, F_SETOWN, 1), "another command is killed");
	ok(!kills(no_more, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE),
	    "mmap of memory is allowed");
	ok(kills(no_more, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC),
	    "mmap of executable memory is killed");
	ok(!kills(no_more, SYS_mprotect, 0, 4096, PROT_READ),
	    "mprotect is allowed");
	ok(kills(no_more, SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC),
	    "mprotect that makes memory executable is killed");
	/* x86 has two more architectures with numbers of their own. */
	ok(kills(no_more, 0x40000000 | SYS_read, -1, 0, 0), "a call of x32 is killed");
}

/*
 * A call by the numbers of i386, as int 0x80 makes it: 20 is getpid(2) there,
 * and writev(2), which is allowed, on x86-64. Returns the signal that killed a
 * child for it, or 0.
 */
static int
signal_of_i386_call(bool is_confined)
{
#ifdef __x86_64__
	pid_t pid = fork();
	int how = 0;

	if (pid == 0) {
		long result = 20;

		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		if (is_confined && sandbox_enter() < 0)
			_exit(1);
		__asm__ volatile ("int $0x80" : "+a" (result) : : "memory");
		_exit(0);
	}
	waitpid(pid, &how, 0);
	return WIFSIGNALED(how) ? WTERMSIG(how) : 0;
#else
	return is_confined ? SIGSYS : 0;
#endif
}

static void
test_other_architecture(void)
{
	/* A kernel without the calls of i386 sends SIGSEGV by itself. */
	if (signal_of_i386_call(false) == 0)
		ok(signal_of_i386_call(true) == SIGSYS,
		    "a call of i386 is killed");
}

static void
test_more(void)
{
	static const int more[] = { SYS_getppid, SANDBOX_END };

	ok(kills(no_more, SYS_getppid, 0, 0, 0), "a call that was not added is killed");
	ok(!kills(more, SYS_getppid, 0, 0, 0), "a call that was added is allowed");
	ok(!kills(sandbox_supervisor, SYS_getppid,
	    0, 0, 0), "a call of the supervisor is allowed");
	ok(kills(sandbox_supervisor, SYS_execve, 0,
	    0, 0), "execve is killed in the supervisor");
	ok(kills(sandbox_supervisor, SYS_openat, -1,
	    0, 0), "openat too");
	ok(kills(sandbox_supervisor, SYS_connect,
	    -1, 0, 0), "connect too");
}

int
main(void)
{
	int error = 0;

	setbuf(stdout, NULL);		/* children must not print it again */
	if (fork() == 0)
		_exit(-sandbox_enter());
	wait(&error);
	if (WEXITSTATUS(error) != 0) {
		printf("1..0 # SKIP no sandbox: %s\n",
		    strerror(WEXITSTATUS(error)));
		return 0;
	}
	test_every_call();
	test_arguments();
	test_other_architecture();
	test_more();
	return done();
}
