/*
 * The listeners of a server: where it accepts connections, when it must not,
 * and what to do if accept(2) fails. A UDP socket is a listener too, of the
 * kind WATCH_DATAGRAMS: it is opened, named and closed like the others.
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
	int reserve;		/* a descriptor for when there are no more */
	bool out_of_fds;	/* none has been freed since accept failed */
	int64_t paused_until;	/* do not accept before; net_now() */
	uint64_t kernel_drops;	/* of the UDP sockets that are closed */
};

/*
 * Listens on every address that the name has; socket_mode is for the file of a
 * Unix socket. Exits with one line and STATUS_NAME or STATUS_LOCAL if it
 * cannot listen on any of them, or if one is in use.
 */
void listener_open(struct listeners *, const struct address *,
    mode_t socket_mode);

/*
 * Takes over the sockets that a service manager has passed (systemd.h).
 * Returns how many; exits with STATUS_LOCAL if one of them neither listens nor
 * is a UDP socket.
 */
int listener_inherit(struct listeners *);

/*
 * Reserves a descriptor, if there is a listener. To be called when all listeners
 * are open.
 */
void listener_reserve(struct listeners *);

/* Prints each address on standard output. Exits if that fails. */
void listener_announce(const struct listeners *);

/* The listener of a watch of the kind WATCH_LISTENER or WATCH_DATAGRAMS. */
struct listener *listener_of(struct watch *);

/* Whether it is a UDP socket, and whether any of them is. */
bool listener_is_udp(const struct listener *);
bool listener_any_udp(const struct listeners *);

/* The datagrams that the kernel dropped because a receive buffer was full. */
uint64_t listener_kernel_drops(const struct listeners *);

/*
 * Whether to wait for this listener: for datagrams unless it pauses, and for
 * connections if may_accept; now is the time in ns, as below.
 */
bool listener_is_watched(const struct listener *, bool may_accept,
    int64_t now);

/* Waits for those from now on. One that cannot be waited for pauses. */
void listener_watch(struct listeners *, bool may_accept, int64_t now);

/* When the next pause ends, of accepting or of a UDP socket; or INT64_MAX. */
int64_t listener_pause_end(const struct listeners *, int64_t now);

/*
 * Accepts one connection. Returns its socket and the address of its peer, or
 * -errno; -EAGAIN if there is none.
 */
int listener_accept(struct listener *, union net_address *peer);

/* Prepares a connection that the engine has accepted by itself. */
void listener_accepted(const struct listener *, int fd,
    union net_address *peer);

/*
 * Deals with a failure of listener_accept(): it is logged, and accepting
 * pauses if it would fail again at once.
 */
void listener_accept_failed(struct listeners *, const struct listener *,
    int error, int64_t now);

/*
 * Deals with a connection that could not be kept: errno error. Accepting
 * pauses, so that a listener that stays ready does not keep the server busy.
 */
void listener_pause(struct listeners *, int error, int64_t now);

/*
 * Deals with a failure to receive from a UDP socket: errno error. The socket
 * pauses if it would fail again at once.
 */
void listener_receive_failed(struct listener *, int error, int64_t now);

/* A client has left, and with it a descriptor: accepts again. */
void listener_resume(struct listeners *);

/*
 * Stops listening in all processes that share the listeners, except on those
 * that a service manager owns. Other processes that wait to accept wake up.
 */
void listener_shut_down(struct listeners *);

/* Closes the listeners of this process, and removes the files that are ours. */
void listener_close(struct listeners *);

/* Whether any listener has a file that is ours. */
bool listener_has_files(const struct listeners *);

/* In a worker: the files belong to the supervisor. */
void listener_forget_files(struct listeners *);

#endif
