#include "listen.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datagram.h"
#include "log.h"
#include "modes/lib/dial.h"
#include "modes/mode.h"
#include "systemd.h"

static const int64_t PAUSE = 500 * NET_MS;	/* after a call failed */

enum { PORT_TRIES = 16 };	/* for a port that is free on all addresses */

static struct listeners *file_owner;	/* for atexit(3) */

static void
remove_files(struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		socket_path_remove(&ls->list[i].file);
}

static void
remove_files_at_exit(void)
{
	remove_files(file_owner);
}

bool
listener_has_files(const struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		if (ls->list[i].file.path != NULL)
			return true;
	return false;
}

void
listener_forget_files(struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		socket_path_forget(&ls->list[i].file);
}

/*
 * Opening.
 */

static struct listener *
add_listener(struct listeners *ls, int fd, enum watch_kind kind)
{
	struct listener *l = &ls->list[ls->n++];

	*l = (struct listener){ .watch = { .fd = fd, .kind = (uint8_t)kind },
	    .one_address = kind == WATCH_DATAGRAMS &&
	    datagram_has_one_address(fd) };
	return l;
}

/*
 * Lets atexit(3) remove the file of a Unix socket, however the program exits.
 */
static void
remove_at_exit(struct listeners *ls)
{
	if (file_owner == NULL)
		atexit(remove_files_at_exit);
	file_owner = ls;
}

/* Adds a listener on that address. Returns its descriptor or -errno. */
static int
listen_at(struct listeners *ls, const struct addrinfo *a, mode_t socket_mode)
{
	const struct sockaddr_un *un = (const void *)a->ai_addr;
	struct socket_path file = { .path = NULL };
	int fd;

	if (ls->n == LISTENERS_MAX)
		return -EMFILE;
	if (a->ai_socktype == SOCK_DGRAM) {
		if ((fd = datagram_bind(a->ai_addr, a->ai_addrlen)) >= 0)
			add_listener(ls, fd, WATCH_DATAGRAMS);
		return fd;
	}
	if (a->ai_family == AF_UNIX && *un->sun_path != '\0')
		fd = socket_path_listen(&file, un, a->ai_addrlen, socket_mode);
	else
		fd = net_listen(a->ai_addr, a->ai_addrlen);
	if (fd < 0)
		return fd;
	add_listener(ls, fd, WATCH_LISTENER)->file = file;
	if (file.path != NULL)
		remove_at_exit(ls);
	return fd;
}

static bool
is_repeated(const struct addrinfo *list, const struct addrinfo *one)
{
	for (; list != one; list = list->ai_next)
		if (list->ai_addrlen == one->ai_addrlen &&
		    memcmp(list->ai_addr, one->ai_addr, one->ai_addrlen) == 0)
			return true;
	return false;
}

static uint32_t
own_kernel_drops(const struct listener *l)
{
	return listener_is_udp(l) ?
	    net_kernel_drops(l->watch.fd) - l->drops_before : 0;
}

static void
close_from(struct listeners *ls, int first)
{
	while (ls->n > first) {
		struct listener *l = &ls->list[--ls->n];

		ls->kernel_drops += own_kernel_drops(l);
		socket_path_remove(&l->file);
		close(l->watch.fd);
	}
}

/*
 * Listens on each address of the list, all with the same port if the system
 * chooses the port. An address family that this machine lacks is skipped if the
 * list also has another family. Returns 0, or -errno and the address that
 * failed.
 */
static int
listen_on(struct listeners *ls, struct addrinfo *found, mode_t socket_mode,
    const struct addrinfo **failed)
{
	int before = ls->n, error = 0;
	uint16_t port = 0;

	for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
		int fd;

		if (port != 0)
			net_set_port(a->ai_addr, port);
		if (is_repeated(found, a))
			continue;
		if ((fd = listen_at(ls, a, socket_mode)) >= 0) {
			port = net_port(fd);
			net_set_port(a->ai_addr, port);
			continue;
		}
		*failed = a;
		error = fd;
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			continue;
		close_from(ls, before);
		break;
	}
	return ls->n > before ? 0 : error;
}

/* Resolves the address and listens. Returns 0 or -EADDRINUSE. */
static int
try_to_listen(struct listeners *ls, const struct address *address,
    mode_t socket_mode, bool is_last_try)
{
	const struct addrinfo *failed;
	struct addrinfo *found;
	struct dial_error why;
	char name[NET_NAME_MAX];
	int error;

	if (dial_resolve(address, &found, &why) < 0)
		errx((int)why.status, "%s", why.text);
	failed = found;
	error = listen_on(ls, found, socket_mode, &failed);
	if (error != 0 && (error != -EADDRINUSE || is_last_try))
		errx(STATUS_LOCAL, "cannot listen on %s: %s%s",
		    address->is_udp ? net_udp_name(name, failed->ai_addr) :
		    net_name(name, failed->ai_addr), strerror(-error),
		    dial_listen_hint(failed->ai_family, -error));
	net_free_addresses(found);
	return error;
}

void
listener_open(struct listeners *ls, const struct address *address,
    mode_t socket_mode)
{
	/* A port that is free on one address may be in use on another. */
	bool is_any_port = address->port == 0 &&
	    (address->host == NULL || !net_is_unix(address->host));
	int tries = is_any_port ? PORT_TRIES : 1;

	while (try_to_listen(ls, address, socket_mode, tries == 1) < 0)
		tries--;
}

/* Adds an inherited socket. Returns 0 or -errno. */
static int
adopt(struct listeners *ls, int fd)
{
	int error = datagram_adopt(fd);
	bool is_udp = error != -EPROTOTYPE;
	struct listener *l;

	if (!is_udp)
		error = net_adopt(fd);
	if (error < 0)
		return error;
	l = add_listener(ls, fd, is_udp ? WATCH_DATAGRAMS : WATCH_LISTENER);
	l->is_inherited = true;
	l->drops_before = own_kernel_drops(l);
	return 0;
}

int
listener_inherit(struct listeners *ls)
{
	int n = systemd_descriptors();

	if (n > LISTENERS_MAX)
		errx(STATUS_LOCAL, "LISTEN_FDS=%d: more than %d", n,
		    LISTENERS_MAX);
	for (int fd = SYSTEMD_FIRST; fd < SYSTEMD_FIRST + n; fd++) {
		int error = adopt(ls, fd);

		if (error < 0)
			errx(STATUS_LOCAL, "descriptor %d, one of LISTEN_FDS="
			    "%d, is not a listening stream socket or a UDP "
			    "socket: %s", fd, n, strerror(-error));
	}
	return n;
}

void
listener_reserve(struct listeners *ls)
{
	ls->reserve = ls->n == 0 ? -1 :
	    fcntl(ls->list[0].watch.fd, F_DUPFD_CLOEXEC, 0);
}

void
listener_announce(const struct listeners *ls)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	for (int i = 0; i < ls->n; i++) {
		int error = net_self(ls->list[i].watch.fd, &self);

		if (error < 0)
			errx(STATUS_LOCAL, "cannot find out the address of a "
			    "listener: %s", strerror(-error));
		printf("listening on %s\n", listener_is_udp(&ls->list[i]) ?
		    net_udp_name(name, &self.address.any) :
		    net_name(name, &self.address.any));
	}
	args_flush();
}

/*
 * Accepting.
 */

struct listener *
listener_of(struct watch *watch)
{
	return (struct listener *)(void *)((char *)watch -
	    offsetof(struct listener, watch));
}

bool
listener_is_udp(const struct listener *l)
{
	return l->watch.kind == WATCH_DATAGRAMS;
}

bool
listener_any_udp(const struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		if (listener_is_udp(&ls->list[i]))
			return true;
	return false;
}

uint64_t
listener_kernel_drops(const struct listeners *ls)
{
	uint64_t drops = ls->kernel_drops;

	for (int i = 0; i < ls->n; i++)
		drops += own_kernel_drops(&ls->list[i]);
	return drops;
}

bool
listener_is_watched(const struct listener *l, bool may_accept, int64_t now)
{
	return listener_is_udp(l) ? l->paused_until <= now : may_accept;
}

void
listener_watch(struct listeners *ls, bool may_accept, int64_t now)
{
	for (int i = 0; i < ls->n; i++) {
		struct listener *l = &ls->list[i];
		bool on = listener_is_watched(l, may_accept, now);
		int error = watch_set(&l->watch, on ? WATCH_READ : 0);

		if (error < 0 && listener_is_udp(l))
			listener_receive_failed(l, -error, now);
		else if (error < 0)
			listener_pause(ls, -error, now);
	}
}

int64_t
listener_pause_end(const struct listeners *ls, int64_t now)
{
	int64_t end = ls->paused_until > now ? ls->paused_until : INT64_MAX;

	for (int i = 0; i < ls->n; i++) {
		int64_t until = ls->list[i].paused_until;

		if (until > now && until < end)
			end = until;
	}
	return end;
}

void
listener_pause(struct listeners *ls, int error, int64_t now)
{
	log_pause("accept", error, now);
	ls->paused_until = now + PAUSE;
}

/*
 * Whether an error is one of the network. A call may report such an error for
 * an earlier packet (accept(2), "Error handling").
 */
static bool
is_network_error(int error)
{
	switch (error) {
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENETDOWN:
	case ENETUNREACH:
	case ENONET:
	case ENOPROTOOPT:
	case EOPNOTSUPP:
	case EPROTO:
		return true;
	default:
		return false;
	}
}

/*
 * An ICMP error is reported once, and only to an inherited socket that is
 * connected (udp(7)). After any other error, the socket pauses.
 */
void
listener_receive_failed(struct listener *l, int error, int64_t now)
{
	if (is_network_error(error) || error == EAGAIN || error == EINTR ||
	    error == ECONNREFUSED || error == EMSGSIZE)
		return;
	log_pause("receive datagrams", error, now);	/* ENOMEM, ... */
	l->paused_until = now + PAUSE;
}

void
listener_resume(struct listeners *ls)
{
	ls->paused_until = 0;
	ls->out_of_fds = false;
}

/*
 * Without a free descriptor, a connection can be neither served nor refused.
 * Therefore this function closes the reserve, and uses its descriptor to accept
 * the connection and close it. (libev's manual, "The special problem of
 * accept()ing when you can't".)
 */
static void
refuse_connection(struct listeners *ls, const struct listener *l)
{
	union net_address peer;
	int fd;

	if (ls->reserve >= 0)
		close(ls->reserve);
	if ((fd = net_accept(l->watch.fd, &peer)) >= 0)
		close(fd);
	ls->reserve = fcntl(l->watch.fd, F_DUPFD_CLOEXEC, 0);
}

/*
 * Errors of the connection that was to be accepted are ignored, as accept(2)
 * recommends. After other errors, accepting pauses.
 */
void
listener_accept_failed(struct listeners *ls, const struct listener *l,
    int error, int64_t now)
{
	if (is_network_error(error))
		return;
	switch (error) {
	case ECONNABORTED:
	case EINTR:
		return;
	case EBADF:
	case EFAULT:
	case EINVAL:
	case ENOTSOCK:
		errx(STATUS_LOCAL, "cannot accept: %s", strerror(error));
	case EMFILE:
	case ENFILE:
		/*
		 * accept(2) reserves a descriptor before it looks for a client
		 */
		if (!net_is_ready(l->watch.fd, POLLIN))
			return;
		/* After the first failure, a client may be about to leave. */
		if (ls->out_of_fds)
			refuse_connection(ls, l);
		ls->out_of_fds = true;
		break;
	default:		/* ENOBUFS, ENOMEM, EPERM, ... */
		break;
	}
	listener_pause(ls, error, now);
}

void
listener_accepted(const struct listener *l, int fd, union net_address *peer)
{
	net_set_process_id(fd, peer);
	if (l->is_inherited || peer->any.sa_family == AF_UNIX)
		net_set_echo_options(fd);
}

int
listener_accept(struct listener *l, union net_address *peer)
{
	int fd = net_accept(l->watch.fd, peer);

	if (fd >= 0)
		listener_accepted(l, fd, peer);
	return fd;
}

void
listener_shut_down(struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		if (!ls->list[i].is_inherited)
			net_stop_listening(ls->list[i].watch.fd);
}

void
listener_close(struct listeners *ls)
{
	for (int i = 0; i < ls->n; i++)
		watch_set(&ls->list[i].watch, 0);
	close_from(ls, 0);
	if (ls->reserve >= 0)
		close(ls->reserve);
	ls->reserve = -1;
}
