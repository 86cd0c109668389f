/* pipe2(2). */
#include "flags.h"

int
compat_pipe2(int ends[2], int flags)
{
	if (pipe(ends) < 0)
		return -1;
	return compat_set_flags_of_pair(ends, flags & O_CLOEXEC,
	    flags & O_NONBLOCK);
}
