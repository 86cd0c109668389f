/*
 * Where servers listen: every address that a name has.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "modes/lib/args.h"
#include "modes/lib/dial.h"
#include "modes/mode.h"
#include "server.h"
#include "systemd.h"

static const char *
hint(int error)
{
	switch (error) {
	case EACCES:
		return " (ports below 1024 need CAP_NET_BIND_SERVICE; "
		    "try --port 10000)";
	case EADDRINUSE:
		return " (somebody listens there already; --port 0 finds a "
		    "free port)";
	case EADDRNOTAVAIL:
		return " (no interface here has that address)";
	default:
		return "";
	}
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

static struct server *file_owner;

static void
remove_files(void)
{
	server_remove_files(file_owner);
}

void
server_remove_files(struct server *s)
{
	for (int i = 0; i < s->listening && !s->supervised; i++) {
		if (s->files[i] != NULL)
			unlinkat(AT_FDCWD, s->files[i], 0);
		free(s->files[i]);
		s->files[i] = NULL;
	}
}

/* A socket that listens there, or -errno. */
static int
listen_at(struct server *s, const struct addrinfo *a)
{
	const struct sockaddr_un *un = (const void *)a->ai_addr;
	int fd;

	if (a->ai_family != AF_UNIX)
		return net_listen(a->ai_addr, a->ai_addrlen);
	fd = net_listen_unix(un, a->ai_addrlen, s->socket_mode);
	if (fd < 0 || *un->sun_path == '\0')
		return fd;
	if ((s->files[s->listening] = strdup(un->sun_path)) == NULL)
		err(STATUS_LOCAL, "no memory for a name");
	if (!s->has_files)
		atexit(remove_files);	/* however it ends */
	s->has_files = true;
	file_owner = s;
	return fd;
}

/*
 * Listens on each of them, with the same port where the system is to choose
 * one. A kind of address that this machine lacks is passed over if there is
 * another. 0, or -errno with the address in *failed.
 */
static int
listen_on(struct server *s, struct addrinfo *found,
    const struct addrinfo **failed)
{
	int before = s->listening, error = 0;
	uint16_t port = 0;

	for (struct addrinfo *a = found; a != NULL; a = a->ai_next) {
		int fd;

		if (port != 0)
			net_set_port(a->ai_addr, port);
		if (is_repeated(found, a))
			continue;
		fd = s->listening < SERVER_LISTENERS ?
		    listen_at(s, a) : -EMFILE;
		if (fd >= 0) {
			s->listeners[s->listening++] = fd;
			port = net_port(fd);
			net_set_port(a->ai_addr, port);
			continue;
		}
		*failed = a;
		error = fd;
		if (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)
			continue;
		while (s->listening > before)
			close(s->listeners[--s->listening]);
		break;
	}
	return s->listening > before ? 0 : error;
}

void
server_listen(struct server *s, const struct address *address)
{
	/* A port free on one address may be taken on the next: choose again. */
	for (int tries = address->port == 0 ? 16 : 1;; tries--) {
		struct addrinfo *found;
		struct dial_error why;
		const struct addrinfo *failed;
		char name[NET_NAME_MAX];
		int error;

		if (dial_resolve(address, &found, &why) < 0)
			errx((int)why.status, "%s", why.text);
		failed = found;
		error = listen_on(s, found, &failed);
		if (error != 0 && (error != -EADDRINUSE || tries == 1))
			errx(STATUS_LOCAL, "cannot listen on %s: %s%s",
			    net_name(name, failed->ai_addr), strerror(-error),
			    hint(-error));
		net_free_addresses(found);
		if (error == 0)
			return;
	}
}

int
server_inherit(struct server *s)
{
	int n = systemd_descriptors();

	if (n > SERVER_LISTENERS)
		errx(STATUS_LOCAL, "LISTEN_FDS=%d: more than %d", n,
		    SERVER_LISTENERS);
	for (int fd = SYSTEMD_FIRST; fd < SYSTEMD_FIRST + n; fd++) {
		int error = net_adopt(fd);

		if (error < 0)
			errx(STATUS_LOCAL, "descriptor %d, one of LISTEN_FDS="
			    "%d, is no listening stream socket: %s", fd, n,
			    strerror(-error));
		s->listeners[s->listening++] = fd;
	}
	return s->inherited = n;
}

void
server_announce(const struct server *s)
{
	char name[NET_NAME_MAX];
	struct net_peer self;

	for (int i = 0; i < s->listening; i++) {
		int error = net_self(s->listeners[i], &self);

		if (error < 0)
			errx(STATUS_LOCAL, "cannot tell what it listens on: "
			    "%s", strerror(-error));
		printf("listening on %s\n", net_name(name, &self.address.any));
	}
	args_flush();
}

