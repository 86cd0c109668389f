/* pipe2(2). */
#include "flags.h"

int
compat_pipe2(int ends[2], int flags)
{
	if (pipe(ends) < 0)
		return -1;
	for (int i = 0; i < 2; i++)
		if (compat_set_flags(ends[i], flags & O_CLOEXEC,
		    flags & O_NONBLOCK) < 0) {
			close(ends[!i]);
			return -1;
		}
	return 0;
}
