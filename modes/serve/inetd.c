/*
 * Messages are written to a pipe, and sent to the system log when the program
 * exits. The server has one client, so there are only a few messages.
 *
 * syslog(3) cannot send the messages: it opens a new socket if syslogd has been
 * restarted, reads the time zone, and gets the process ID. The sandbox does not
 * allow these system calls. Therefore the socket is opened at the start, and a
 * message is one datagram (RFC 3164).
 */
#include "inetd.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/mode.h"

enum {
	MESSAGES_MAX = 8192,	/* bytes that are sent to the system log */
	MESSAGE_MAX = 1024	/* bytes of one message */
};

static int messages[2] = { -1, -1 };	/* the pipe */
static int log_socket = -1;
static bool is_redirected;

static bool
is_socket_fd(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

/* Returns a socket that is connected to the system log, or -1. */
static int
open_system_log(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX,
	    .sun_path = _PATH_LOG };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void
send_messages_at_exit(void)
{
	char text[MESSAGES_MAX], message[MESSAGE_MAX], *rest = text;
	ssize_t n = read(messages[0], text, sizeof(text) - 1);

	text[n > 0 ? n : 0] = '\0';
	for (char *line = strtok_r(text, "\n", &rest); line != NULL;
	    line = strtok_r(NULL, "\n", &rest)) {
		snprintf(message, sizeof(message), "<%d>%s",
		    LOG_DAEMON | LOG_ERR, line);
		net_send(log_socket, message, strlen(message), false);
	}
}

void
inetd_redirect(void)
{
	for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++) {
		if (!is_socket_fd(fd))
			continue;
		if (messages[0] < 0) {
			if (pipe2(messages, O_CLOEXEC | O_NONBLOCK) < 0)
				_exit(STATUS_LOCAL);
			log_socket = open_system_log();
			atexit(send_messages_at_exit);
		}
		if (dup2(messages[1], fd) < 0)
			_exit(STATUS_LOCAL);
		is_redirected = is_redirected || fd == STDERR_FILENO;
	}
}

bool
inetd_is_redirected(void)
{
	return is_redirected;
}
