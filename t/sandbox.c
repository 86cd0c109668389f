/*
 * Unit test of the sandbox, in TAP: a child that has entered it makes each
 * call that the kernel has a number for, and lives only through those that a
 * server takes.
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

enum { HIGHEST = 600 };		/* beyond all that there are */

/* What serving takes, whatever its arguments. */
static const int needed[] = {
	SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_splice, SYS_read,
	SYS_shutdown, SYS_close, SYS_ppoll, SYS_write, SYS_writev,
	SYS_clock_gettime, SYS_brk, SYS_mremap, SYS_munmap, SYS_madvise,
	SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit,
	SYS_exit_group, SYS_gettid
};

/* What serving takes with some arguments only; these are others. */
static const int limited[] = {
	SYS_ioctl, SYS_fcntl, SYS_setsockopt, SYS_getsockopt, SYS_mprotect
};

static bool
is_in(int call, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == call)
			return true;
	return false;
}

/* Whether a child that has entered is killed for the call. */
static bool
kills(const int *calls, size_t n, long call, long a, long b, long c)
{
	pid_t pid = fork();
	int how = 0;

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGALRM, SIG_DFL);
		alarm(10);
		if (sandbox_enter(calls, n) < 0)
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
		/* mmap is told apart by its arguments: below. */
		bool may_pass = is_needed || call == SYS_mmap;

		if (is_unseen(call))
			continue;
		if (kills(NULL, 0, call, -1, -1, -1) == !may_pass) {
			killed += !may_pass;
			passed += may_pass;
		} else if (call != SYS_mmap) {
			printf("# call %d\n", call);
			snprintf(name, sizeof(name), "call %d %s", call,
			    is_needed ? "passes" : "kills");
			ok(false, name);
		}
	}
	snprintf(name, sizeof(name), "of %d calls %d kill", HIGHEST, killed);
	ok(killed > HIGHEST - 40, name);
	ok(passed >= (int)(sizeof(needed) / sizeof(*needed)),
	    "those that serving takes pass");
	for (size_t i = 0; i < sizeof(limited) / sizeof(*limited); i++)
		ok(kills(NULL, 0, limited[i], -1, -1, -1),
		    "one of many kinds of a call kills");
}

static void
test_arguments(void)
{
	ok(!kills(NULL, 0, SYS_ioctl, -1, FIONREAD, 0), "ioctl FIONREAD");
	ok(kills(NULL, 0, SYS_ioctl, -1, TIOCSTI, 0),
	    "ioctl: no typing into a terminal");
	ok(!kills(NULL, 0, SYS_setsockopt, -1, SOL_SOCKET, SO_LINGER),
	    "setsockopt SO_LINGER");
	ok(kills(NULL, 0, SYS_setsockopt, -1, SOL_SOCKET, SO_BINDTODEVICE),
	    "setsockopt: no other");
	ok(!kills(NULL, 0, SYS_fcntl, -1, F_DUPFD_CLOEXEC, 0), "a reserve");
	ok(kills(NULL, 0, SYS_fcntl, 0, F_SETOWN, 1), "fcntl: no more");
	ok(!kills(NULL, 0, SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE),
	    "memory");
	ok(kills(NULL, 0, SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC),
	    "none to be executed");
	ok(!kills(NULL, 0, SYS_mprotect, 0, 4096, PROT_READ), "or protected");
	ok(kills(NULL, 0, SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC),
	    "nor made so later");
	/* A number of another architecture, of which x86 has two more. */
	ok(kills(NULL, 0, 0x40000000 | SYS_read, -1, 0, 0), "no x32 call");
}

static void
test_more(void)
{
	static const int more[] = { SYS_getppid };

	ok(kills(NULL, 0, SYS_getppid, 0, 0, 0), "not without asking for it");
	ok(!kills(more, 1, SYS_getppid, 0, 0, 0), "a call that is asked for");
	ok(!kills(sandbox_supervisor, sandbox_supervisor_calls, SYS_getppid,
	    0, 0, 0), "a supervisor's call");
	ok(kills(sandbox_supervisor, sandbox_supervisor_calls, SYS_execve, 0,
	    0, 0), "no execve for a supervisor");
	ok(kills(sandbox_supervisor, sandbox_supervisor_calls, SYS_openat, -1,
	    0, 0), "nor openat");
	ok(kills(sandbox_supervisor, sandbox_supervisor_calls, SYS_connect,
	    -1, 0, 0), "nor connect");
}

int
main(void)
{
	int error = 0;

	setbuf(stdout, NULL);		/* children must not print it again */
	if (fork() == 0)
		_exit(-sandbox_enter(NULL, 0));
	wait(&error);
	if (WEXITSTATUS(error) != 0) {
		printf("1..0 # SKIP no sandbox: %s\n",
		    strerror(WEXITSTATUS(error)));
		return 0;
	}
	test_every_call();
	test_arguments();
	test_more();
	return done();
}
