/*
 * Dropping the privileges of root, which is possible on every system.
 */
#include "sandbox.h"

#include <sys/types.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

int
sandbox_user(const char *name)
{
	const struct passwd *user;

	errno = 0;
	if ((user = getpwnam(name)) == NULL)
		return errno == 0 ? -ENOENT : -errno;
	if (setgroups(1, &user->pw_gid) < 0 ||
	    setgid(user->pw_gid) < 0 || setuid(user->pw_uid) < 0)
		return -errno;
	if (user->pw_uid != 0 && (setuid(0) == 0 || seteuid(0) == 0))
		return -EPERM;
	return 0;
}
