#include "program.h"

#include <errno.h>

void
program_remember(const char *word)
{
	(void)word;
}

const char *
program_path(void)
{
	return "/proc/self/exe";
}

void
program_set_name(char *name)
{
	/* err(3) and warn(3) of glibc and of musl print this variable. */
	program_invocation_short_name = name;
}

const char *
program_name(void)
{
	return program_invocation_short_name;
}
