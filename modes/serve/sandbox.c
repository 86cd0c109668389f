/*
 * The filter is a program for the kernel (seccomp(2), BPF). It checks the
 * number of a call, and for some calls also one argument. Then it either allows
 * the call or kills the process.
 */
#include "sandbox.h"

#include <sys/types.h>

#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#ifdef __linux__
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/net.h>
#include <linux/seccomp.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#endif

const bool sandbox_exists = true;

/* clang reports a sanitizer as a feature, gcc by a macro. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || \
    defined(WITHOUT_SANDBOX)
#define ARCHITECTURE 0
#elif defined(__linux__) && defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__linux__) && defined(__i386__)
#define ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__linux__) && defined(__AARCH64EL__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#elif defined(__linux__) && defined(__ARMEL__) && defined(__ARM_EABI__)
#define ARCHITECTURE AUDIT_ARCH_ARM
#elif defined(__linux__) && defined(__riscv) && __riscv_xlen == 64
#define ARCHITECTURE AUDIT_ARCH_RISCV64
#else
#define ARCHITECTURE 0
#endif

#if ARCHITECTURE

/* An allowed call: always, or if (argument & mask) == value. */
struct rule {
	int call;
	int argument;		/* its index; mask 0: any value */
	uint32_t mask, value;
};

#define ALL_BITS UINT32_MAX

/* On 32 bits, musl has another name for this call. */
#ifndef SYS_clock_gettime
#define SYS_clock_gettime SYS_clock_gettime32
#endif

/* On 32 bits libc calls mmap2(2), whose offset is in pages, and not mmap(2). */
#ifdef SYS_mmap2
#define MAP_CALL SYS_mmap2
#else
#define MAP_CALL SYS_mmap
#endif

static const struct rule rules[] = {
	/* Clients. */
	{ .call = SYS_accept4 },
	{ .call = SYS_recvfrom },
	{ .call = SYS_sendto },
	{ .call = SYS_splice },
	{ .call = SYS_read },
	{ SYS_ioctl, 1, ALL_BITS, FIONREAD },
	{ SYS_ioctl, 1, ALL_BITS, SIOCOUTQ },
	{ SYS_getsockopt, 2, ALL_BITS, SO_PEERCRED },
	{ .call = SYS_shutdown },
	{ SYS_setsockopt, 2, ALL_BITS, SO_LINGER },
	{ SYS_setsockopt, 2, ALL_BITS, SO_OOBINLINE },
	{ SYS_setsockopt, 2, ALL_BITS, TCP_NODELAY },
	{ .call = SYS_close },
	{ SYS_fcntl, 1, ALL_BITS, F_DUPFD_CLOEXEC },	/* the reserve */
	/* The log. */
	{ .call = SYS_ppoll },
	{ .call = SYS_write },
	{ .call = SYS_writev },
	/* Time, on systems whose vDSO does not have it. */
	{ .call = SYS_clock_gettime },
	/* Memory, but none that can be executed. */
	{ .call = SYS_brk },
	{ MAP_CALL, 2, PROT_EXEC, 0 },
	{ SYS_mprotect, 2, PROT_EXEC, 0 },
	{ .call = SYS_mremap },
	{ .call = SYS_munmap },
	{ .call = SYS_madvise },
	/* Signals and exit; abort(3) calls gettid(2). */
	{ .call = SYS_rt_sigprocmask },
	{ .call = SYS_rt_sigreturn },
	{ .call = SYS_restart_syscall },
	{ .call = SYS_exit },
	{ .call = SYS_exit_group },
	{ .call = SYS_gettid }
};

/*
 * The calls that libc on 32 bits makes instead of another call, with the same
 * arguments. On i386, libc can make the calls for sockets through
 * socketcall(2). Their arguments are then in memory, and the filter cannot
 * check them.
 */
static const struct variant {
	int call, instead;
	uint32_t function;	/* of socketcall(2), or 0 */
} variants[] = {
#ifdef SYS_socketcall
	{ SYS_accept4, SYS_socketcall, SYS_ACCEPT4 },
	{ SYS_recvfrom, SYS_socketcall, SYS_RECVFROM },
	{ SYS_recvfrom, SYS_socketcall, SYS_RECV },
	{ SYS_sendto, SYS_socketcall, SYS_SENDTO },
	{ SYS_sendto, SYS_socketcall, SYS_SEND },
	{ SYS_recvmmsg, SYS_socketcall, SYS_RECVMMSG },
	{ SYS_sendmmsg, SYS_socketcall, SYS_SENDMMSG },
	{ SYS_sendmsg, SYS_socketcall, SYS_SENDMSG },
	{ SYS_getsockopt, SYS_socketcall, SYS_GETSOCKOPT },
	{ SYS_setsockopt, SYS_socketcall, SYS_SETSOCKOPT },
	{ SYS_shutdown, SYS_socketcall, SYS_SHUTDOWN },
#endif
#ifdef SYS_send
	{ SYS_recvfrom, SYS_recv, 0 },
	{ SYS_sendto, SYS_send, 0 },
#endif
#ifdef SYS_clock_gettime64
	{ SYS_clock_gettime, SYS_clock_gettime64, 0 },
	{ SYS_ppoll, SYS_ppoll_time64, 0 },
	{ SYS_pselect6, SYS_pselect6_time64, 0 },
	{ SYS_recvmmsg, SYS_recvmmsg_time64, 0 },
#endif
#ifdef SYS_fcntl64
	{ SYS_fcntl, SYS_fcntl64, 0 },
#endif
#ifdef SYS_ugetrlimit
	{ SYS_prlimit64, SYS_ugetrlimit, 0 },
#endif
#ifdef SYS_sigreturn
	{ SYS_rt_sigreturn, SYS_sigreturn, 0 },
#endif
	{ SANDBOX_END, SANDBOX_END, 0 }
};

enum {
	RULES = sizeof(rules) / sizeof(*rules),
	ADDED_MAX = 64,		/* calls that are added */
	STEPS_MAX = 12 * (RULES + ADDED_MAX)	/* two rules for most calls */
};

static int added[ADDED_MAX];
static size_t added_count;

struct program {
	struct sock_filter steps[STEPS_MAX];
	unsigned short n;
};

static void
add_step(struct program *p, uint16_t code, uint8_t if_true, uint8_t if_false,
    uint32_t k)
{
	p->steps[p->n++] = (struct sock_filter){ code, if_true, if_false, k };
}

static void
add_load(struct program *p, size_t offset)
{
	add_step(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Skips the next steps unless the loaded value is equal to value. */
static void
add_unless(struct program *p, uint32_t value, uint8_t skip)
{
	add_step(p, BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value);
}

static void
add_end(struct program *p, uint32_t action)
{
	add_step(p, BPF_RET | BPF_K, 0, 0, action);
}

static const size_t NUMBER = offsetof(struct seccomp_data, nr);

/* The low half of an argument: of the tested ones, the kernel uses no more. */
static size_t
argument_offset(int i)
{
	return offsetof(struct seccomp_data, args) +
	    (size_t)i * sizeof(uint64_t);
}

static void
add_rule(struct program *p, const struct rule *rule)
{
	if (rule->mask == 0) {
		add_unless(p, (uint32_t)rule->call, 1);
		add_end(p, SECCOMP_RET_ALLOW);
		return;
	}
	add_unless(p, (uint32_t)rule->call, 5);
	add_load(p, argument_offset(rule->argument));
	add_step(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, rule->mask);
	add_unless(p, rule->value, 1);
	add_end(p, SECCOMP_RET_ALLOW);
	add_load(p, NUMBER);
}

/* Allows a call, and the calls that libc may make instead. */
static void
add_call(struct program *p, const struct rule *rule)
{
	struct rule other;

	add_rule(p, rule);
	for (const struct variant *v = variants; v->call != SANDBOX_END; v++) {
		if (v->call != rule->call)
			continue;
		other = *rule;
		if (v->function != 0)
			other = (struct rule){ 0, 0, ALL_BITS, v->function };
		other.call = v->instead;
		add_rule(p, &other);
	}
}

void
sandbox_allow(const int *calls)
{
	while (*calls != SANDBOX_END && added_count < ADDED_MAX)
		added[added_count++] = *calls++;
}

int
sandbox_enter(void)
{
	struct program program = { .n = 0 };
	struct sock_fprog filter = { .filter = program.steps };

	/*
	 * On another architecture, a number is another call. The numbers of x32
	 * are higher than all numbers in the rules.
	 */
	add_load(&program, offsetof(struct seccomp_data, arch));
	add_step(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
	add_end(&program, SECCOMP_RET_KILL_PROCESS);
	add_load(&program, NUMBER);
	for (size_t i = 0; i < RULES; i++)
		add_call(&program, &rules[i]);
	for (size_t i = 0; i < added_count; i++)
		add_call(&program, &(struct rule){ .call = added[i] });
	added_count = 0;
	add_end(&program, SECCOMP_RET_KILL_PROCESS);
	filter.len = program.n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return -errno;
	return 0;
}

const int sandbox_remove_file[] = {
#ifdef SYS_newfstatat
	SYS_newfstatat,
#else
	SYS_fstatat64, SYS_statx,
#endif
/* The fstatat(2) of musl. */
#ifdef SYS_lstat64
	SYS_lstat64,
#elif defined(SYS_lstat)
	SYS_lstat,
#endif
	SYS_unlinkat, SANDBOX_END
};

const int sandbox_supervisor[] = {
#ifdef SYS_fork
	SYS_fork,		/* fork(2) of musl, where it exists */
#endif
	SYS_clone, SYS_wait4, SYS_kill, SYS_getpid, SYS_getppid,
	/* A worker, in fork(2) and until it enters its own sandbox. */
	SYS_set_robust_list, SYS_set_tid_address, SYS_rseq, SYS_tgkill,
	SYS_tkill, SYS_prctl, SYS_prlimit64, SYS_pipe2, SYS_fcntl,
	SYS_rt_sigaction, SANDBOX_END
};

#else

void
sandbox_allow(const int *calls)
{
	(void)calls;
}

int
sandbox_enter(void)
{
	return -ENOSYS;
}

const int sandbox_remove_file[] = { SANDBOX_END };
const int sandbox_supervisor[] = { SANDBOX_END };

#endif
