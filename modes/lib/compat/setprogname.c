/*
 * getprogname(3) and setprogname(3) for Linux, where err(3) prints this
 * variable.
 */
#include "compat.h"

const char *
compat_getprogname(void)
{
	return program_invocation_short_name;
}

void
compat_setprogname(char *name)
{
	program_invocation_short_name = name;
}
