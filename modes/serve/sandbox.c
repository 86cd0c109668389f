/*
 * The filter is a program for the kernel (seccomp(2), BPF) that looks at the
 * number of a call, for some of them at one argument too, and lets it pass or
 * kills the process.
 */
#include "sandbox.h"

#include <sys/types.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
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
#include <linux/seccomp.h>
#include <linux/sockios.h>
#endif

/* clang tells by a feature what gcc tells by a macro. */
#ifndef __has_feature
#define __has_feature(feature) 0
#endif

#if defined(__SANITIZE_ADDRESS__) || __has_feature(address_sanitizer) || \
    defined(WITHOUT_SANDBOX)
#define ARCHITECTURE 0
#elif defined(__linux__) && defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__linux__) && defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#else
#define ARCHITECTURE 0
#endif

#if ARCHITECTURE

/* A call that may be made: always, or if (argument & mask) == value. */
struct rule {
	int call;
	int argument;		/* its index; mask 0: it does not matter */
	uint32_t mask, value;
};

#define ALL_BITS UINT32_MAX

static const struct rule rules[] = {
	/* Clients come, send, take, go. */
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
	{ .call = SYS_close },
	{ SYS_fcntl, 1, ALL_BITS, F_DUPFD_CLOEXEC },	/* the reserve */
	/* The log. */
	{ .call = SYS_ppoll },
	{ .call = SYS_write },
	{ .call = SYS_writev },
	/* Time, where the kernel is asked for it. */
	{ .call = SYS_clock_gettime },
	/* Memory, never to be executed. */
	{ .call = SYS_brk },
	{ SYS_mmap, 2, PROT_EXEC, 0 },
	{ SYS_mprotect, 2, PROT_EXEC, 0 },
	{ .call = SYS_mremap },
	{ .call = SYS_munmap },
	{ .call = SYS_madvise },
	/* Signals, and the end; abort(3) asks for its own number. */
	{ .call = SYS_rt_sigprocmask },
	{ .call = SYS_rt_sigreturn },
	{ .call = SYS_restart_syscall },
	{ .call = SYS_exit },
	{ .call = SYS_exit_group },
	{ .call = SYS_gettid }
};

enum {
	RULES = sizeof(rules) / sizeof(*rules),
	MOST_STEPS = 6 * RULES + 2 * SANDBOX_CALLS + 8
};

struct program {
	struct sock_filter steps[MOST_STEPS];
	unsigned short n;
};

static void
step(struct program *p, uint16_t code, uint8_t if_true, uint8_t if_false,
    uint32_t k)
{
	p->steps[p->n++] = (struct sock_filter){ code, if_true, if_false, k };
}

static void
load(struct program *p, size_t offset)
{
	step(p, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Skips so many steps unless what was loaded is value. */
static void
unless(struct program *p, uint32_t value, uint8_t skip)
{
	step(p, BPF_JMP | BPF_JEQ | BPF_K, 0, skip, value);
}

static void
end(struct program *p, uint32_t action)
{
	step(p, BPF_RET | BPF_K, 0, 0, action);
}

static const size_t NUMBER = offsetof(struct seccomp_data, nr);

/* The low half of an argument: what the kernel takes of those looked at. */
static size_t
argument(int i)
{
	return offsetof(struct seccomp_data, args) +
	    (size_t)i * sizeof(uint64_t);
}

static void
allow(struct program *p, const struct rule *rule)
{
	if (rule->mask == 0) {
		unless(p, (uint32_t)rule->call, 1);
		end(p, SECCOMP_RET_ALLOW);
		return;
	}
	unless(p, (uint32_t)rule->call, 5);
	load(p, argument(rule->argument));
	step(p, BPF_ALU | BPF_AND | BPF_K, 0, 0, rule->mask);
	unless(p, rule->value, 1);
	end(p, SECCOMP_RET_ALLOW);
	load(p, NUMBER);
}

int
sandbox_enter(const int *calls, size_t n)
{
	struct program program = { .n = 0 };
	struct sock_fprog filter = { .filter = program.steps };

	/* A number means another call on another architecture; x32's are
	 * beyond all that are listed. */
	load(&program, offsetof(struct seccomp_data, arch));
	step(&program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, ARCHITECTURE);
	end(&program, SECCOMP_RET_KILL_PROCESS);
	load(&program, NUMBER);
	for (size_t i = 0; i < RULES; i++)
		allow(&program, &rules[i]);
	for (size_t i = 0; i < n; i++)
		allow(&program, &(struct rule){ .call = calls[i] });
	end(&program, SECCOMP_RET_KILL_PROCESS);
	filter.len = program.n;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) < 0)
		return -errno;
	return 0;
}

const int sandbox_supervisor[] = {
#ifdef SYS_fork
	SYS_fork,		/* as musl has it, where there is one */
#endif
	SYS_clone, SYS_wait4, SYS_kill, SYS_getpid, SYS_getppid,
	/* A worker, in fork(2) and then on its way to its own sandbox. */
	SYS_set_robust_list, SYS_rseq, SYS_tgkill, SYS_tkill, SYS_prctl,
	SYS_prlimit64, SYS_pipe2, SYS_fcntl, SYS_epoll_create1,
	SYS_epoll_ctl, SYS_epoll_pwait, SYS_pselect6
};
const size_t sandbox_supervisor_calls =
    sizeof(sandbox_supervisor) / sizeof(*sandbox_supervisor);

#else

int
sandbox_enter(const int *calls, size_t n)
{
	(void)calls;
	(void)n;
#ifdef __OpenBSD__
	return pledge("stdio inet proc", NULL) < 0 ? -errno : 0;
#else
	return -ENOSYS;
#endif
}

const int sandbox_supervisor[] = { 0 };
const size_t sandbox_supervisor_calls = 0;

#endif

int
sandbox_user(const char *name)
{
	const struct passwd *user;

	errno = 0;
	if ((user = getpwnam(name)) == NULL)
		return errno == 0 ? -ENOENT : -errno;
	if (setgroups(1, &user->pw_gid) < 0 ||
	    setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		return -errno;
	if (user->pw_uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return -EPERM;
	return 0;
}
