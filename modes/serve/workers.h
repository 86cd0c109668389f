/*
 * Serves in one process, or in several that a supervisor looks after.
 */
#ifndef WORKERS_H
#define WORKERS_H

struct server;

/*
 * Has the engine serve, in s->options.workers processes, until the server has
 * stopped. Returns an exit status.
 */
int workers_run(struct server *);

#endif
