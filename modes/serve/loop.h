/*
 * The loop of the engines that wait for many clients at once.
 */
#ifndef LOOP_H
#define LOOP_H

struct poller;
struct server;

/* Serves with that poller until server_is_serving() is false. */
void loop_run(struct server *, const struct poller *);

#endif
