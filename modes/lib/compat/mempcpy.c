/* mempcpy(3). */
#include "compat.h"

void *
compat_mempcpy(void *to, const void *from, size_t n)
{
	return (char *)memcpy(to, from, n) + n;
}
