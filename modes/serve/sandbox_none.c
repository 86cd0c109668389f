/*
 * This system has no sandbox.
 */
#include "sandbox.h"

#include <errno.h>

const bool sandbox_exists = false;
const int sandbox_remove_file[] = { SANDBOX_END };
const int sandbox_supervisor[] = { SANDBOX_END };

void
sandbox_allow(const int *calls)
{
	(void)calls;
}

int
sandbox_enter(void)
{
	return -ENOSYS;
}
