/*
 * The load of `bench -u`: one thread drives many UDP clients, each with a
 * number of messages in flight. What a datagram that arrives is, flow.h
 * decides.
 */
#ifndef UDP_LOAD_H
#define UDP_LOAD_H

#include "modes/lib/dial.h"
#include "plan.h"

/*
 * Finds the first of the addresses that a name has at which a datagram is
 * answered, with messages of size bytes. Sets *server. Ends the program if
 * there is none, or if size is too large for a datagram.
 */
void udp_load_reach(const struct address *, size_t size, int64_t timeout,
    struct dial_server *);

/*
 * Loads the server as planned. Loss, copies and wrong bytes are counted. An
 * ICMP error, silence for the timeout, and a server that answers none of the
 * messages counted, end the program with one line on stderr. A run ends
 * whatever the server does, at most plan->late_after after the measurement.
 */
void udp_load_run(const struct load_plan *, const struct load_target *,
    load_progress *, struct load_result *);

/* Ends the program if none of the messages that were counted was answered. */
void udp_load_check_result(const struct load_target *,
    const struct load_result *);

#endif
