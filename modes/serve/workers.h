/*
 * Serves in one process, or in several workers that a supervisor watches.
 */
#ifndef WORKERS_H
#define WORKERS_H

struct server;

/*
 * Runs the engine in s->options.workers processes until the server has stopped.
 * Returns an exit status.
 */
int workers_run(struct server *);

#endif
