/*
 * The lock on a process's data directory: whoever holds it knows that every earlier process of it is dead (R9).
 */
#ifndef COMMON_NODE_LOCK_H
#define COMMON_NODE_LOCK_H

#include "common/err/err.h"

/*
 * Makes the directory if need be and locks <dir>/lock-<role>. The kernel gives the lock back when the process ends,
 * however it ends. *ret_fd is closed by the caller to unlock. FAILED_PRECONDITION when a living process holds it.
 */
must_check struct err node_lock(const char *dir, const char *role, struct arena *errors, int *ret_fd);

#endif
