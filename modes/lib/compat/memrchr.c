/* memrchr(3). */
#include "compat.h"

void *
compat_memrchr(const void *data, int byte, size_t n)
{
	const unsigned char *p = data;

	while (n-- > 0)
		if (p[n] == (unsigned char)byte)
			return (void *)(p + n);
	return NULL;
}
