/*
 * The functions that every kind of load uses: the duration of the warm-up, the
 * processor time and the memory of the server, the limit of open files,
 * busy-polling, and the end of a run by Ctrl-C.
 */
#ifndef MEASURE_H
#define MEASURE_H

#include <stdbool.h>

#include "plan.h"
#include "schedule.h"

/* Time between two periodic checks of a load. */
#define MEASURE_CHECK_INTERVAL (100 * NET_MS)

/*
 * A signal handler that ends this run and all later runs. The load stops at
 * once, and the result contains the figures until then.
 */
void measure_stop(int signal);

/* Returns whether measure_stop() was called. */
bool measure_is_stopped(void);

/* The duration of the warm-up in ns: a fifth of the measurement, at most 1 s. */
int64_t measure_warm_up_time(const struct load_plan *);

/*
 * Begins the measurement, and ends it: sets the time, the processor time and
 * the memory of the result. measure_begin() returns the time of the beginning,
 * which measure_end() needs. The program ends if the process of --pid does not
 * exist.
 */
int64_t measure_begin(const struct load_target *, load_progress *,
    struct load_result *);
void measure_end(const struct load_target *target, load_progress *progress,
    struct load_result *r, int64_t begin);

/*
 * Raises the limit of open files for that number of sockets, or ends the
 * program; its message names the number of clients.
 */
void measure_raise_fd_limit(uint64_t clients, uint64_t sockets);

/*
 * Returns until when to busy-poll, if data was received at that time (ns).
 */
int64_t measure_spin_until(const struct load_plan *, int64_t received);

/*
 * Shortens a wait that would end at that time, so that the next message of the
 * schedule is sent when it is due. Returns the time at which the wait must end.
 */
int64_t measure_wake(const struct schedule *, int64_t end);

/*
 * Records that a message that was due at the first time (ns) is sent now, if it
 * is part of the measurement, which began at the second time (ns; 0: not yet).
 */
void measure_delay(struct load_result *, int64_t due, int64_t begin);

/*
 * Counts the messages that were due during the measurement, between these times
 * (ns), and that bench has not sent.
 */
void measure_end_schedule(struct load_result *, const struct schedule *,
    int64_t begin, int64_t end);

#endif
