#include "measure.h"

#include <sys/resource.h>

#include <err.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "process.h"

enum { OTHER_FDS = 16 };	/* descriptors besides the sockets of the load */

/*
 * How long to busy-poll after the last byte was received. Waking a processor
 * from sleep takes longer than a round trip, and counts as processor time of
 * the process that causes the wakeup. If bench slept, its own wakeups would be
 * part of the server's latency and of the server's processor time.
 */
static const int64_t SPIN = NET_MS / 10;

/*
 * How long to busy-poll before a message of a schedule is due. epoll_wait(2)
 * counts whole milliseconds, and wakes up late.
 */
static const int64_t SCHEDULE_SPIN = 2 * NET_MS;

static volatile sig_atomic_t stop_requested;

void
measure_stop(int signal)
{
	(void)signal;
	stop_requested = 1;
}

bool
measure_is_stopped(void)
{
	return stop_requested != 0;
}

int64_t
measure_warm_up_time(const struct load_plan *plan)
{
	int64_t time = plan->duration / 5;

	return time < NET_SECOND ? time : NET_SECOND;
}

/* Processor time of the server until now in ns, or -1 without --pid. */
static int64_t
measure_server_cpu(const struct load_target *target, load_progress *progress)
{
	int64_t time;

	if (target->pid == 0)
		return -1;
	time = process_time(target->pid);
	if (time < 0) {
		progress(target, NULL);
		errx(STATUS_LOCAL, "--pid: cannot read the processor time of "
		    "process %ld: %s", (long)target->pid,
		    strerror((int)-time));
	}
	return time;
}

int64_t
measure_begin(const struct load_target *target, load_progress *progress,
    struct load_result *r)
{
	r->processor = measure_server_cpu(target, progress);
	return net_now();
}

void
measure_end(const struct load_target *target, load_progress *progress,
    struct load_result *r, int64_t begin)
{
	r->time = net_now() - begin;
	if (target->pid == 0)
		return;
	r->processor = measure_server_cpu(target, progress) - r->processor;
	r->memory = process_memory(target->pid);
}

void
measure_raise_fd_limit(uint64_t clients, uint64_t sockets)
{
	struct rlimit limit;
	uint64_t needed = sockets + OTHER_FDS;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(STATUS_LOCAL, "cannot read the limit of open files");
	/* rlim_t is signed on FreeBSD. */
	if (needed <= (uint64_t)limit.rlim_cur)
		return;
	if (needed > (uint64_t)limit.rlim_max)
		errx(STATUS_LOCAL, "%" PRIu64 " connections need %" PRIu64
		    " descriptors, but the limit is %" PRIu64
		    " (ulimit -Hn, or LimitNOFILE= of systemd)", clients,
		    needed, (uint64_t)limit.rlim_max);
	limit.rlim_cur = limit.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
		err(STATUS_LOCAL, "cannot raise the limit of open files");
}

/* If there is only one processor, the server needs it. */
static bool
measure_may_spin(void)
{
	static long processors;

	if (processors == 0)
		processors = sysconf(_SC_NPROCESSORS_ONLN);
	return processors > 1;
}

int64_t
measure_spin_until(const struct load_plan *plan, int64_t received)
{
	return measure_may_spin() && !plan->sleeps ? received + SPIN : 0;
}

int64_t
measure_wake(const struct schedule *s, int64_t end)
{
	int64_t due = schedule_due(s, s->next) -
	    (measure_may_spin() ? SCHEDULE_SPIN : 0);

	return due < end ? due : end;
}

void
measure_delay(struct load_result *r, int64_t due, int64_t begin)
{
	if (begin > 0 && due >= begin)
		histogram_add(&r->delays, (uint64_t)(net_now() - due));
}

void
measure_end_schedule(struct load_result *r, const struct schedule *s,
    int64_t begin, int64_t end)
{
	uint64_t first = schedule_first(s, begin);
	uint64_t after = schedule_first(s, end);

	for (uint64_t i = first > s->next ? first : s->next; i < after; i++) {
		uint64_t delay = (uint64_t)(end - schedule_due(s, i));

		histogram_add(&r->delays, delay);
		histogram_add(&r->latency, delay);
		r->unanswered++;
	}
}
