/*
 * The loop of the engines that wait for many clients at once.
 */
#ifndef LOOP_H
#define LOOP_H

struct poller;
struct server;
struct watch;

/* Serves with that poller until server_is_serving() is false. */
void loop_run(struct server *, const struct poller *);

/*
 * The parts of loop_run(), for an engine with a loop of its own: loop_open()
 * before the first wait, loop_close() after the last one, and loop_serve() for
 * a watch that is ready.
 */
void loop_open(struct server *, const struct poller *);
void loop_close(void);
void loop_serve(struct server *, struct watch *);

#endif
