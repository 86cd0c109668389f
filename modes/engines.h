/*
 * The engines: each serves, by its own way to wait, on a server that is open
 * and listens. Returns an exit status.
 */
#ifndef ENGINES_H
#define ENGINES_H

struct server;

int blocking_run(struct server *);
int select_run(struct server *);

#endif
