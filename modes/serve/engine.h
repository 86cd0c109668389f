/*
 * An engine is one way to wait for clients. Each is a file that exports one
 * const struct engine, and a row in the options of serve.c.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <stdbool.h>

struct server;

struct engine {
	/* The defaults of the options with this engine. */
	bool message;		/* --message instead of --stream */
	const char *chunk;	/* --chunk */
	const char *idle;	/* --idle */

	/*
	 * System calls (SYS_*) that the engine makes in addition to those of
	 * every server: calls while it serves, and setup_calls before. Each
	 * list ends with SANDBOX_END.
	 */
	const int *calls;
	const int *setup_calls;

	/*
	 * Exits with one line and STATUS_LOCAL if the system refuses a feature
	 * that the engine needs; called once, before workers start. NULL: the
	 * engine needs no such check.
	 */
	void (*check)(void);

	/* Serves until server_is_serving() is false. */
	void (*run)(struct server *);
};

/* If this system does not have an engine, run of the engine is NULL. */
extern const struct engine engine_blocking, engine_epoll, engine_kqueue,
    engine_select, engine_uring;

#endif
