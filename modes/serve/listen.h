/*
 * The listeners of a server: opens and closes them, pauses accepting, and
 * handles failures of accept(2). A UDP socket is a listener too, of the kind
 * WATCH_DATAGRAMS: it is opened, named and closed like the other listeners.
 */
#ifndef LISTEN_H
#define LISTEN_H

#include <sys/types.h>

#include <stdbool.h>
#include <stdint.h>

#include "modes/lib/args.h"
#include "modes/lib/net.h"
#include "socket_path.h"
#include "watch.h"

enum { LISTENERS_MAX = 64 };

struct listener {
	struct watch watch;
	struct socket_path file;	/* of a Unix socket */
	bool is_inherited;	/* a service manager owns it */
	bool one_address;	/* of UDP: datagram_has_one_address() */
	int64_t paused_until;	/* for UDP: do not receive before; net_now() */
	uint32_t drops_before;	/* net_kernel_drops() when inherited */
};

struct listeners {
	struct listener list[LISTENERS_MAX];
	int n;
	int reserve;		/* a descriptor for the lack of descriptors */
	bool out_of_fds;	/* none has been freed since accept failed */
	int64_t paused_until;	/* do not accept before; net_now() */
	uint64_t kernel_drops;	/* of the UDP sockets that were closed */
};

/*
 * Listens on every address that the name has; socket_mode is for the file of a
 * Unix socket. Exits with one line and STATUS_NAME or STATUS_LOCAL if the
 * server cannot listen on any of these addresses, or if one of them is in use.
 */
void listener_open(struct listeners *, const struct address *,
    mode_t socket_mode);

/*
 * Takes over the sockets that a service manager has passed (systemd.h). Returns
 * the number of these sockets. Exits with STATUS_LOCAL if one of them is
 * neither a listening socket nor a UDP socket.
 */
int listener_inherit(struct listeners *);

/*
 * Reserves a descriptor, if there is a listener. To be called when all listeners
 * are open.
 */
void listener_reserve(struct listeners *);

/* Prints each address on standard output. Exits if printing fails. */
void listener_announce(const struct listeners *);

/*
 * The listener to which a watch of kind WATCH_LISTENER or WATCH_DATAGRAMS
 * belongs.
 */
struct listener *listener_of(struct watch *);

/* Whether the listener, or any of the listeners, is a UDP socket. */
bool listener_is_udp(const struct listener *);
bool listener_any_udp(const struct listeners *);

/* The datagrams that the kernel dropped because a receive buffer was full. */
uint64_t listener_kernel_drops(const struct listeners *);

/*
 * Whether to wait for this listener: for datagrams unless the socket pauses,
 * and for connections if may_accept is set. Here and below, now is the time in
 * ns.
 */
bool listener_is_watched(const struct listener *, bool may_accept,
    int64_t now);

/*
 * Watches these listeners from now on. A listener that cannot be watched
 * pauses.
 */
void listener_watch(struct listeners *, bool may_accept, int64_t now);

/* When the next pause, of accepting or of a UDP socket, ends; or INT64_MAX. */
int64_t listener_pause_end(const struct listeners *, int64_t now);

/*
 * Accepts one connection. Returns its socket and the address of its peer, or
 * -errno; -EAGAIN if no connection is waiting.
 */
int listener_accept(struct listener *, union net_address *peer);

/* Prepares a connection that the engine has accepted by itself. */
void listener_accepted(const struct listener *, int fd,
    union net_address *peer);

/*
 * Handles a failure of listener_accept(): logs the failure, and pauses
 * accepting if it would fail again at once.
 */
void listener_accept_failed(struct listeners *, const struct listener *,
    int error, int64_t now);

/*
 * Handles a connection that could not be kept because of errno error. Accepting
 * pauses, so that a listener that stays ready does not keep the server busy.
 */
void listener_pause(struct listeners *, int error, int64_t now);

/*
 * Handles a failure to receive from a UDP socket because of errno error. The
 * socket pauses if receiving would fail again at once.
 */
void listener_receive_failed(struct listener *, int error, int64_t now);

/*
 * To be called when a client has left and a descriptor is free: ends a pause.
 */
void listener_resume(struct listeners *);

/*
 * Stops listening in all processes that share the listeners, except on
 * listeners that a service manager owns. Other processes that wait to accept
 * wake up.
 */
void listener_shut_down(struct listeners *);

/* Closes the listeners of this process, and removes the files that it owns. */
void listener_close(struct listeners *);

/* Whether any listener has a file that this process owns. */
bool listener_has_files(const struct listeners *);

/* Called in a worker: the supervisor, not the worker, owns the files. */
void listener_forget_files(struct listeners *);

#endif
