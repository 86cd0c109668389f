/*
 * ppoll(2) by poll(2). poll(2) counts in ms, so the time is rounded up, and a
 * wait does not end early.
 */
#include <limits.h>

#include "compat.h"

int
compat_ppoll(struct pollfd *fds, nfds_t n, const struct timespec *time,
    const void *mask)
{
	int ms = -1;

	(void)mask;
	if (time != NULL && time->tv_sec >= INT_MAX / 1000 - 1)
		ms = INT_MAX;
	else if (time != NULL)
		ms = (int)time->tv_sec * 1000 +
		    (int)((time->tv_nsec + 999999) / 1000000);
	return poll(fds, n, ms);
}
