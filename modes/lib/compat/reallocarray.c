/* reallocarray(3). */
#include <stdint.h>

#include "compat.h"

void *
compat_reallocarray(void *memory, size_t n, size_t size)
{
	if (size == 0 || n == 0)
		n = size = 1;
	if (n > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return realloc(memory, n * size);
}
