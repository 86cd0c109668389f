/*
 * Unit test of the sandbox, in TAP. The filter is a program for the kernel. This
 * test stands between it and the kernel, and interprets it for each number of a
 * call: only the calls that serving needs may be allowed. Then, unless the kernel
 * or an emulator of one has no filters, a child enters the sandbox and makes the
 * call; it has to end as the program says.
 */
#include "modes/serve/sandbox.h"
#include "t/tap.h"

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#ifndef SYS_clock_gettime
#define SYS_clock_gettime SYS_clock_gettime32	/* musl, on 32 bits */
#endif

enum { HIGHEST = 600 };		/* above all calls of the kernel */

/* Calls that serving needs, with any arguments. */
static const int needed[] = {
	SYS_accept4, SYS_recvfrom, SYS_sendto, SYS_splice, SYS_read,
	SYS_shutdown, SYS_close, SYS_ppoll, SYS_write, SYS_writev,
	SYS_clock_gettime, SYS_brk, SYS_mremap, SYS_munmap, SYS_madvise,
	SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_restart_syscall, SYS_exit,
	SYS_exit_group, SYS_gettid,
#if defined(__i386__) || defined(__arm__)
	SYS_clock_gettime64, SYS_ppoll_time64, SYS_sigreturn,
#endif
#ifdef __arm__
	SYS_recv, SYS_send,
#endif
};

#if defined(__i386__) || defined(__arm__)
#define MMAP SYS_mmap2
#define FCNTL SYS_fcntl64
#else
#define MMAP SYS_mmap
#define FCNTL SYS_fcntl
#endif

/* Calls that serving needs with some arguments only. */
static const int limited[] = {
	SYS_ioctl, SYS_fcntl, FCNTL, SYS_setsockopt, SYS_getsockopt,
	SYS_mprotect
};

static const int no_more[] = { SANDBOX_END };

static struct sock_filter steps[BPF_MAXINSNS];
static unsigned steps_count;
static bool is_for_kernel;	/* prctl(2) is not only looked at */
static bool has_kernel;
static int differences;		/* between the program and the kernel */

static void
keep_program(const struct sock_fprog *program)
{
	memcpy(steps, program->filter, program->len * sizeof(*steps));
	steps_count = program->len;
}

/* In place of the function of libc, for sandbox_enter(). */
int
prctl(int option, ...)
{
	struct sock_fprog *program = NULL;
	unsigned long value;
	va_list arguments;

	va_start(arguments, option);
	value = va_arg(arguments, unsigned long);
	if (option == PR_SET_SECCOMP) {
		program = va_arg(arguments, struct sock_fprog *);
		keep_program(program);
	}
	va_end(arguments);
	return is_for_kernel ?
	    (int)syscall(SYS_prctl, option, value, program, 0L, 0L) : 0;
}

/* What the program returns, or a wrong value for what it must not contain. */
static uint32_t
interpret(const struct seccomp_data *data)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < steps_count; i++) {
		const struct sock_filter *step = &steps[i];

		switch (step->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&value, (const char *)data + step->k,
			    sizeof(value));
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			value &= step->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			i += value == step->k ? step->jt : step->jf;
			break;
		case BPF_RET | BPF_K:
			return step->k;
		default:
			return SECCOMP_RET_LOG;
		}
	}
	return SECCOMP_RET_LOG;
}

/* The number of this architecture in the kernel, from the header of ELF. */
extern const ElfW(Ehdr) own_header __asm__("__ehdr_start")
    __attribute__((visibility("hidden")));

static uint32_t
own_architecture(void)
{
	return own_header.e_machine | (uint32_t)__AUDIT_ARCH_LE |
	    (sizeof(long) == 8 ? (uint32_t)__AUDIT_ARCH_64BIT : 0);
}

/* Whether the program kills; fails unless it allows otherwise. */
static bool
program_kills(const struct seccomp_data *data)
{
	uint32_t result = interpret(data);

	if (result != SECCOMP_RET_ALLOW && result != SECCOMP_RET_KILL_PROCESS)
		ok(false, "the program allows or kills");
	return result != SECCOMP_RET_ALLOW;
}

static bool
kernel_kills(const int *calls, long call, long a, long b, long c)
{
	pid_t pid = fork();
	int how = 0;

	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
		signal(SIGALRM, SIG_DFL);
		alarm(10);
		is_for_kernel = true;
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
is_unseen(long call)
{
#ifdef __x86_64__
	return call == 335 || call == 336;
#else
	return call < 0;
#endif
}

/*
 * Whether a process is killed for the call in a sandbox that allows these calls
 * too.
 */
static bool
kills(const int *calls, long call, long a, long b, long c)
{
	struct seccomp_data data = { .nr = (int)call,
	    .arch = own_architecture(), .args = { (unsigned long)a,
	    (unsigned long)b, (unsigned long)c, -1UL, -1UL, -1UL } };
	bool is_killed;

	sandbox_allow(calls);
	sandbox_enter();
	is_killed = program_kills(&data);
	if (has_kernel && !is_unseen(call) &&
	    kernel_kills(calls, call, a, b, c) != is_killed) {
		printf("# the kernel differs: call %ld of %ld, %ld, %ld\n",
		    call, a, b, c);
		differences++;
	}
	return is_killed;
}

static bool
is_in(int call, const int *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (list[i] == call)
			return true;
	return false;
}

static void
test_every_call(void)
{
	int wrong = 0, killed = 0;

	for (int call = 0; call < HIGHEST; call++) {
		bool is_needed = is_in(call, needed,
		    sizeof(needed) / sizeof(*needed));

		/* It depends on its arguments: test_arguments(). */
		if (call == MMAP)
			continue;
		killed += !is_needed;
		if (kills(no_more, call, -1, -1, -1) == is_needed) {
			printf("# call %d\n", call);
			wrong++;
		}
	}
	ok(wrong == 0, "the calls that serving needs pass, and no others");
	printf("# of %d calls %d are killed\n", HIGHEST, killed);
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
	ok(!kills(no_more, FCNTL, -1, F_DUPFD_CLOEXEC, 0), "fcntl F_DUPFD_CLOEXEC is allowed");
	ok(kills(no_more, FCNTL, 0, F_SETOWN, 1), "another command is killed");
	ok(!kills(no_more, MMAP, 0, 4096, PROT_READ | PROT_WRITE),
	    "mmap of memory is allowed");
	ok(kills(no_more, MMAP, 0, 4096, PROT_READ | PROT_EXEC),
	    "mmap of executable memory is killed");
	ok(!kills(no_more, SYS_mprotect, 0, 4096, PROT_READ),
	    "mprotect is allowed");
	ok(kills(no_more, SYS_mprotect, 0, 4096, PROT_READ | PROT_EXEC),
	    "mprotect that makes memory executable is killed");
	/* x86 has two more architectures with numbers of their own. */
	ok(kills(no_more, 0x40000000 | SYS_read, -1, 0, 0), "a call of x32 is killed");
}

#ifdef __i386__

/* The functions of socketcall(2): true for those that servers need. */
static const struct {
	bool has_tcp, has_udp;
} functions[] = {
	[SYS_SOCKET] = { false, false },
	[SYS_SEND] = { true, true },
	[SYS_RECV] = { true, true },
	[SYS_SENDTO] = { true, true },
	[SYS_RECVFROM] = { true, true },
	[SYS_SHUTDOWN] = { true, true },
	[SYS_SETSOCKOPT] = { true, true },
	[SYS_GETSOCKOPT] = { true, true },
	[SYS_ACCEPT4] = { true, true },
	[SYS_RECVMMSG] = { false, true },
	[SYS_SENDMMSG] = { false, true },
	[SYS_SENDMMSG + 1] = { false, false }
};

static void
test_socketcall(void)
{
	static const int datagrams[] = { SYS_recvmmsg, SYS_sendmmsg,
	    SANDBOX_END };
	int wrong = 0;

	for (int i = 0; i < (int)(sizeof(functions) / sizeof(*functions)); i++)
		if (kills(no_more, SYS_socketcall, i, 0, 0) ==
		    functions[i].has_tcp ||
		    kills(datagrams, SYS_socketcall, i, 0, 0) ==
		    functions[i].has_udp) {
			printf("# function %d\n", i);
			wrong++;
		}
	ok(wrong == 0, "socketcall has the functions that serving needs");
}

#else

static void
test_socketcall(void)
{
}

#endif

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
		is_for_kernel = true;
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
	static const uint32_t all[] = { AUDIT_ARCH_X86_64, AUDIT_ARCH_I386,
	    AUDIT_ARCH_AARCH64, AUDIT_ARCH_ARM, AUDIT_ARCH_RISCV64 };
	struct seccomp_data data = { .nr = SYS_read };
	int same = 0, killed = 0;

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		data.arch = all[i];
		same += all[i] == own_architecture();
		killed += program_kills(&data);
	}
	ok(same == 1 && killed == 4,
	    "a call of another architecture is killed");
	/* A kernel without the calls of i386 sends SIGSEGV by itself. */
	if (has_kernel && signal_of_i386_call(false) == 0)
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
	ok(!kills(sandbox_supervisor, FCNTL, -1, F_SETFL, 0),
	    "so is one that its clients may make with some arguments only");
	ok(!kills(sandbox_supervisor, SYS_set_tid_address, 0, 0, 0),
	    "so is set_tid_address, which fork of musl 1.2.5 makes");
	ok(kills(sandbox_supervisor, SYS_execve, 0,
	    0, 0), "execve is killed in the supervisor");
	ok(kills(sandbox_supervisor, SYS_openat, -1,
	    0, 0), "openat too");
	ok(kills(sandbox_supervisor, SYS_connect,
	    -1, 0, 0), "connect too");
}

/* Whether the kernel takes a filter; -ENOSYS: this build has none. */
static int
enter_in_child(void)
{
	int error = 0;

	if (fork() == 0) {
		is_for_kernel = true;
		_exit(-sandbox_enter());
	}
	wait(&error);
	return WIFEXITED(error) ? -WEXITSTATUS(error) : -EINTR;
}

int
main(void)
{
	int error;

	setbuf(stdout, NULL);		/* children must not print it again */
	if (sandbox_enter() < 0) {
		printf("1..0 # SKIP this build has no sandbox\n");
		return 0;
	}
	error = enter_in_child();
	has_kernel = error == 0;
	test_every_call();
	test_arguments();
	test_socketcall();
	test_other_architecture();
	test_more();
	if (has_kernel)
		ok(differences == 0, "the kernel does what the program says");
	else
		printf("ok %d # SKIP the kernel has no filters: %s\n", ++tests,
		    strerror(-error));
	return done();
}
