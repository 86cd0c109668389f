/*
 * The load of `bench -u`: one thread drives many UDP clients, each with a
 * number of messages in flight. flow.h decides how a received datagram counts.
 */
#ifndef UDP_LOAD_H
#define UDP_LOAD_H

#include "modes/lib/dial.h"
#include "plan.h"

/*
 * Finds the first address of a name at which a server answers a datagram of
 * size bytes. Sets *server. Ends the program if there is no such address, or if
 * size is too large for a datagram.
 */
void udp_load_reach(const struct address *, size_t size, int64_t timeout,
    struct dial_server *);

/*
 * Loads the server according to the plan. Loss, copies and wrong bytes are
 * counted. An ICMP error, silence for the timeout, and a server that answers
 * none of the counted messages, end the program with one line on stderr. A run
 * ends at most plan->late_after after the measurement, whatever the server
 * does.
 */
void udp_load_run(const struct load_plan *, const struct load_target *,
    load_progress *, struct load_result *);

/* Ends the program if none of the messages that were counted was answered. */
void udp_load_check_result(const struct load_target *,
    const struct load_result *);

#endif
