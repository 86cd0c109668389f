/* socket(2) and socketpair(2) with SOCK_CLOEXEC and SOCK_NONBLOCK. */
#include "flags.h"

#undef socket
#undef socketpair

static int
type_alone(int type)
{
	return type & ~(SOCK_CLOEXEC | SOCK_NONBLOCK);
}

int
compat_socket(int family, int type, int protocol)
{
	return compat_set_flags(socket(family, type_alone(type), protocol),
	    type & SOCK_CLOEXEC, type & SOCK_NONBLOCK);
}

int
compat_socketpair(int family, int type, int protocol, int ends[2])
{
	if (socketpair(family, type_alone(type), protocol, ends) < 0)
		return -1;
	return compat_set_flags_of_pair(ends, type & SOCK_CLOEXEC,
	    type & SOCK_NONBLOCK);
}
