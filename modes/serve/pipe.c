#include "pipe.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "modes/lib/net.h"
#include "modes/mode.h"

static int bulk_pipe[2] = { -1, -1 };

void
pipe_open(void)
{
	if (pipe2(bulk_pipe, O_CLOEXEC) < 0)
		bulk_pipe[0] = bulk_pipe[1] = -1;
}

void
pipe_close(void)
{
	for (int i = 0; i < 2; i++) {
		if (bulk_pipe[i] >= 0)
			close(bulk_pipe[i]);
		bulk_pipe[i] = -1;
	}
}

bool
pipe_is_open(void)
{
	return bulk_pipe[0] >= 0;
}

ssize_t
pipe_fill(int from, size_t size)
{
	return net_splice(from, bulk_pipe[1], size, false);
}

ssize_t
pipe_drain(int to, size_t size, bool more)
{
	return net_splice(bulk_pipe[0], to, size, more);
}

void
pipe_read(char *to, size_t size)
{
	while (size > 0) {
		ssize_t n = read(bulk_pipe[0], to, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			err(STATUS_LOCAL, "cannot read from a pipe");
		to += n;
		size -= (size_t)n;
	}
}
