/*
 * The load of `bench`: one thread drives many connections to one server,
 * compares every byte that comes back, and measures the time it takes.
 */
#ifndef LOAD_H
#define LOAD_H

#include "plan.h"

/*
 * Loads the server according to the plan. A wrong, missing or late byte, and a
 * local failure, end the program with one line on stderr and an exit status.
 * With a timeout, no behaviour of the server can prolong a run without limit.
 */
void load_run(const struct load_plan *, const struct load_target *,
    load_progress *, struct load_result *);

#endif
