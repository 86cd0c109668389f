#include "parent.h"

#include <sys/prctl.h>

#include <signal.h>
#include <unistd.h>

int
parent_prepare(void)
{
	return 0;
}

void
parent_forked(void)
{
}

void
parent_follow(pid_t parent, int signal)
{
	prctl(PR_SET_PDEATHSIG, signal);
	if (getppid() != parent)	/* it has ended before the prctl */
		raise(signal);
}

int
parent_descriptor(void)
{
	return -1;
}
