/*
 * Peers that left the cluster, or whose lease ran out: calls to them end, so that whoever waits for a frozen process
 * asks its successor.
 */
#ifndef COMMON_NODE_DEPARTED_H
#define COMMON_NODE_DEPARTED_H

#include "common/membership/membership.h"
#include "common/rpc/rpc.h"

struct departed;

/* Follows the membership from now on. Neither is owned; both outlive it. */
struct departed *departed_new(struct env *env, struct rpc *rpc, struct membership *membership);
/* Accepts NULL. */
void departed_free(struct departed *d);

#endif
