#include "systemd.h"

#include <sys/socket.h>
#include <sys/un.h>

#include <errno.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const int64_t RETRY_TIME = 100000000;	/* ns */

static int notify_fd = -1;
static char unsent[64];		/* notifications, one per line */

/* The value of the environment variable, or -1 if it is not a number. */
static long
number_in(const char *name)
{
	const char *value = getenv(name);
	char *end;
	long n = value == NULL ? -1 : strtol(value, &end, 10);

	return value == NULL || *value == '\0' || *end != '\0' ? -1 : n;
}

int
systemd_descriptors(void)
{
	long n = number_in("LISTEN_FDS");

	if (number_in("LISTEN_PID") != (long)getpid() || n < 0)
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
	notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (notify_fd >= 0 && connect(notify_fd, (struct sockaddr *)&to,
	    (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0)
		systemd_close();
}

void
systemd_close(void)
{
	if (notify_fd >= 0)
		close(notify_fd);
	notify_fd = -1;
	*unsent = '\0';
}

int64_t
systemd_retry(void)
{
	size_t size = strlen(unsent);

	if (size == 0)
		return 0;
	if (send(notify_fd, unsent, size, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 &&
	    (errno == EAGAIN || errno == EINTR || errno == ENOBUFS))
		return RETRY_TIME;
	*unsent = '\0';
	return 0;
}

void
systemd_notify(const char *state)
{
	size_t used = strlen(unsent);

	if (notify_fd < 0)
		return;
	/* A notification may have several lines (sd_notify(3)). */
	snprintf(unsent + used, sizeof(unsent) - used, "%s%s",
	    used > 0 ? "\n" : "", state);
	systemd_retry();
}
