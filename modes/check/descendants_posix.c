#include "descendants.h"

#include <errno.h>
#include <signal.h>

void
descendants_adopt(void)
{
}

void
descendants_signal(pid_t command, int signal)
{
	kill(-command, signal);
}

bool
descendants_remain(pid_t command)
{
	return kill(-command, 0) == 0 || errno == EPERM;
}
