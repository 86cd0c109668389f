/*
 * This system has no splice(2): the pipe is never open.
 */
#include "pipe.h"

#include <errno.h>

void
pipe_open(void)
{
}

void
pipe_close(void)
{
}

bool
pipe_is_open(void)
{
	return false;
}

ssize_t
pipe_fill(int from, size_t size)
{
	(void)from;
	(void)size;
	return -ENOSYS;
}

ssize_t
pipe_drain(int to, size_t size, bool more)
{
	(void)to;
	(void)size;
	(void)more;
	return -ENOSYS;
}

void
pipe_read(char *to, size_t size)
{
	(void)to;
	(void)size;
}
