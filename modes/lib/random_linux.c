#include "random.h"

#include <sys/random.h>
#include <sys/types.h>

bool
random_fill(void *buffer, size_t size)
{
	return getrandom(buffer, size, GRND_NONBLOCK) == (ssize_t)size;
}
