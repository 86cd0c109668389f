#include "random.h"

#include <sys/types.h>

#include <fcntl.h>
#include <unistd.h>

bool
random_fill(void *buffer, size_t size)
{
	int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buffer, size);

	if (fd >= 0)
		close(fd);
	return n == (ssize_t)size;
}
