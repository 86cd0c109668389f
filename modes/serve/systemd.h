/*
 * What systemd and its kin say to a service and want to hear from it, by
 * environment variables: sd_listen_fds(3) and sd_notify(3), without their
 * library. Without the variables nothing happens.
 */
#ifndef SYSTEMD_H
#define SYSTEMD_H

enum { SYSTEMD_FIRST = 3 };	/* the first descriptor passed */

/* How many descriptors were passed to this process; asked once. */
int systemd_descriptors(void);

/* Opens the way on which to notify. */
void systemd_open(void);

/* "READY=1", "STOPPING=1". */
void systemd_notify(const char *state);

#endif
