/*
 * flock() on a file of the data directory.
 */
#include "common/node/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct err node_lock(const char *dir, const char *role, struct arena *errors, int *ret_fd)
{
	if (mkdir(dir, 0700) != 0 && errno != EEXIST)
		return err_make(errors, ERR_FAILED_PRECONDITION, "node.data_dir: cannot make %s: %s", dir,
				strerror(errno));
	const char *path = arena_printf(errors, "%s/lock-%s", dir, role);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_make(errors, ERR_FAILED_PRECONDITION, "node.data_dir: cannot open %s: %s", path,
				strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
		struct err e = err_make(
			errors, ERR_FAILED_PRECONDITION,
			"node.data_dir: %s is held by a running %s; stop it, or give this one a directory of its own",
			path, role);
		close(fd);
		return e;
	}
	*ret_fd = fd;
	return err_ok;
}
