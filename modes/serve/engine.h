/*
 * An engine is one way to wait for clients. Each is a file that exports one
 * const struct engine, and a row in the options of serve.c.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>

struct server;

struct engine {
	/* Its defaults, as they would be given on the command line. */
	bool message;		/* --message instead of --stream */
	const char *chunk;	/* --chunk */
	const char *idle;	/* --idle */

	/*
	 * System calls (SYS_*) that it makes besides those of every server,
	 * while it serves and before; each list ends with SANDBOX_END.
	 */
	const int *calls;
	const int *setup_calls;

	/*
	 * Exits with one line and STATUS_LOCAL if the system refuses what the
	 * engine needs; called once, before workers start. NULL: no need.
	 */
	void (*check)(void);

	/* Serves until server_is_serving() is false. */
	void (*run)(struct server *);
};

/* The run of an engine that this system does not have is NULL. */
extern const struct engine engine_blocking, engine_epoll, engine_kqueue,
    engine_select, engine_uring;

#endif
