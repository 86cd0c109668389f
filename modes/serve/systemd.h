/*
 * The interface of systemd and of other service managers: sd_listen_fds(3) and
 * sd_notify(3) by environment variables, without their library. Without the
 * variables, nothing happens.
 */
#ifndef SYSTEMD_H
#define SYSTEMD_H

#include <stdint.h>

enum { SYSTEMD_FIRST = 3 };	/* the first descriptor that is passed */

/* Returns the number of passed descriptors. To be called only once. */
int systemd_descriptors(void);

/* Opens the socket for notifications (NOTIFY_SOCKET), if there is one. */
void systemd_open(void);
void systemd_close(void);

/*
 * Sends a notification: "READY=1" or "STOPPING=1". If the manager's queue is
 * full, the notification is kept for systemd_retry().
 */
void systemd_notify(const char *state);

/*
 * Sends the notifications that were kept. Returns the time in ns after which to
 * call this function again, or 0 if no notification is kept.
 */
int64_t systemd_retry(void);

#endif
