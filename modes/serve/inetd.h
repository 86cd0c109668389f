/*
 * A server that inetd(8) or a similar program starts: standard input is the
 * connection of its only client, and standard output and standard error may be
 * the same socket. Nothing may be written to them, because the client would
 * take such output for a part of its echo.
 */
#ifndef INETD_H
#define INETD_H

#include <stdbool.h>

/*
 * Redirects standard output and standard error to the system log, if they are
 * sockets. The messages are sent when the program exits. The function may be
 * called again. Exits with STATUS_LOCAL, without a message, if redirecting
 * fails.
 */
void inetd_redirect(void);

/* Returns whether inetd_redirect() has redirected standard error. */
bool inetd_is_redirected(void);

#endif
