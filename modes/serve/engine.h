/*
 * The engines: each serves, by its own way to wait, on a server that is open
 * and listens, until there are to be no more clients. For server_run().
 */
#ifndef ENGINES_H
#define ENGINES_H

struct server;

void blocking_run(struct server *);
void epoll_run(struct server *);
void select_run(struct server *);

#endif
