#include "systemd.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int notified = -1;

/* The variable as a number; -1 if it is none. */
static long
number(const char *name)
{
	const char *value = getenv(name);
	char *end;
	long n = value == NULL ? -1 : strtol(value, &end, 10);

	return value == NULL || *value == '\0' || *end != '\0' ? -1 : n;
}

int
systemd_descriptors(void)
{
	long n = number("LISTEN_FDS");

	if (number("LISTEN_PID") != (long)getpid() || n < 0)
		n = 0;
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDNAMES");
	return n > INT_MAX - SYSTEMD_FIRST ? 0 : (int)n;
}

void
systemd_open(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	size_t n = path == NULL ? 0 : strlen(path);

	if (n < 2 || n >= sizeof(to.sun_path) ||
	    (*path != '/' && *path != '@'))
		return;
	memcpy(to.sun_path, path, n);
	if (*path == '@')
		*to.sun_path = '\0';
	unsetenv("NOTIFY_SOCKET");
	notified = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notified >= 0 && connect(notified, (struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0) {
		close(notified);
		notified = -1;
	}
}

void
systemd_notify(const char *state)
{
	if (notified >= 0)
		send(notified, state, strlen(state), MSG_NOSIGNAL);
}
