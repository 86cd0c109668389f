#include "dial.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool
dial_set_option(struct dial_options *options, int key, char *value,
    int64_t min)
{
	switch (key) {
	case 'a':
		options->address = value;
		return true;
	case 'p':
		options->port = args_port("--port", value, 1);
		return true;
	case 'u':
		options->is_udp = true;
		return true;
	case 't':
		options->timeout = args_duration("--timeout", value, min);
		return true;
	case 'v':
		options->verbosity = 1;
		return true;
	case 'q':
		options->verbosity = -1;
		return true;
	default:
		return false;
	}
}

struct address
dial_address(const char *what, char *value, uint16_t port, bool is_udp)
{
	static char host[] = ARGS_DEFAULT_HOST;
	struct address address = args_address(what,
	    value == NULL ? host : value, port, 1, is_udp);

	if (address.host == NULL)
		args_usage("%s: a client cannot connect to *", what);
	return address;
}

/*
 * If no server listens at a port of loopback, the system may give this port to
 * the client. The socket is then connected to itself (RFC 9293, 3.5:
 * simultaneous open).
 */
static bool
dial_is_self_connected(int fd, const struct dial_server *server)
{
	char name[NET_NAME_MAX], other[NET_NAME_MAX];
	struct net_peer self;

	net_self(fd, &self);
	return strcmp(net_name(name, &self.address.any),
	    net_name(other, &server->peer.address.any)) == 0;
}

/* A UDP socket may also be connected to itself. */
static int
dial_connect_udp(const struct dial_server *server)
{
	int fd = net_connect_udp(&server->peer.address.any, server->peer.size);

	if (fd < 0 || !dial_is_self_connected(fd, server))
		return fd;
	close(fd);
	return -ECONNREFUSED;
}

/*
 * Returns a socket that is connecting, or -errno. A Unix socket with a full
 * backlog returns EAGAIN and does not become writable later, so connect(2) is
 * repeated until it succeeds.
 */
static int
dial_start(const struct dial_server *server, int64_t until)
{
	int fd;

	while ((fd = net_connect(&server->peer.address.any,
	    server->peer.size)) == -EAGAIN && net_now() < until)
		net_poll(NULL, 0, 10 * NET_MS);
	return fd == -EAGAIN ? -ETIMEDOUT : fd;
}

/* Waits until the socket is connected. Returns 0 or -errno. */
static int
dial_wait(int fd, int64_t until)
{
	struct pollfd writable = { fd, POLLOUT, 0 };
	int ready;

	do {	/* net_poll() returns 0 after a signal */
		int64_t left = until - net_now();

		if (left <= 0)
			return -ETIMEDOUT;
		ready = net_poll(&writable, 1, left);
	} while (ready == 0);
	return ready < 0 ? ready : net_error(fd);
}

int
dial_connect(const struct dial_server *server, int64_t timeout)
{
	int64_t until = timeout > 0 ? net_now() + timeout : INT64_MAX;
	int fd = dial_start(server, until), error;

	if (fd < 0)
		return fd;
	error = dial_wait(fd, until);
	if (error == 0 && dial_is_self_connected(fd, server))
		error = -ECONNREFUSED;
	if (error == 0)
		return fd;
	close(fd);
	return error;
}

enum status
dial_status(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT:		/* no such Unix socket */
		return STATUS_REFUSED;
	case ETIMEDOUT:
		return STATUS_TIMEOUT;
	case EACCES:
	case EADDRNOTAVAIL:
	case EAFNOSUPPORT:
	case EMFILE:
	case ENFILE:
	case ENOBUFS:
	case ENOMEM:
	case EPERM:
		return STATUS_LOCAL;
	default:
		return STATUS_RESET;
	}
}

static const char *
dial_hint(int error)
{
	switch (error) {
	case ECONNREFUSED:
	case ENOENT:
		return " (is a server running there? echo_server is one)";
	case EMFILE:
		return " (try: ulimit -n 1024)";
	default:
		return "";
	}
}

void
dial_explain(struct dial_error *why, const struct dial_server *server,
    int error)
{
	why->status = dial_status(error);
	why->error = error;
	snprintf(why->text, sizeof(why->text), "cannot connect to %s: %s%s",
	    server->name, strerror(error), dial_hint(error));
}

const char *
dial_listen_hint(int family, int error)
{
	if (family == AF_UNIX)
		return error == EADDRINUSE ?
		    " (another program listens there)" : error == EBUSY ?
		    " (another server is starting in that directory)" : "";
	switch (error) {
	case EACCES:
		return " (ports below 1024 need CAP_NET_BIND_SERVICE; "
		    "try --port 10000)";
	case EADDRINUSE:
		return " (another program listens there; --port 0 finds a "
		    "free port)";
	case EADDRNOTAVAIL:
		return " (no interface here has that address)";
	default:
		return "";
	}
}

int
dial_resolve(const struct address *address, struct addrinfo **found,
    struct dial_error *why)
{
	int code = net_resolve(address->host, address->port,
	    address->is_udp ? SOCK_DGRAM : SOCK_STREAM, found);
	int error = errno;

	if (code == 0)
		return 0;
	why->error = 0;
	why->status = code == EAI_SYSTEM || code == EAI_MEMORY ?
	    STATUS_LOCAL : STATUS_NAME;
	snprintf(why->text, sizeof(why->text), "cannot resolve %s: %s",
	    args_shown(address->host == NULL ? "*" : address->host),
	    code == EAI_SYSTEM ? strerror(error) : gai_strerror(code));
	return -1;
}

int
dial_any(const struct address *address, int64_t timeout,
    struct dial_server *server, struct dial_error *why)
{
	struct addrinfo *found;
	int fd = -EAFNOSUPPORT;

	snprintf(server->name, sizeof(server->name), "%s", address->host);
	if (dial_resolve(address, &found, why) < 0)
		return -1;
	for (struct addrinfo *a = found; a != NULL && fd < 0 &&
	    fd != -ECONNRESET; a = a->ai_next) {
		memcpy(&server->peer.address, a->ai_addr, a->ai_addrlen);
		server->peer.size = a->ai_addrlen;
		(address->is_udp ? net_udp_name : net_name)(server->name,
		    a->ai_addr);
		fd = address->is_udp ? dial_connect_udp(server) :
		    dial_connect(server, timeout);
	}
	net_free_addresses(found);
	if (fd >= 0)
		return fd;
	dial_explain(why, server, -fd);
	return -1;
}
