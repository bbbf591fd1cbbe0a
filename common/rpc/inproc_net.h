/*
 * The network below rpc within one process: inproc:// addresses. Same promises as any `struct rpc_net`.
 */
#ifndef COMMON_RPC_INPROC_NET_H
#define COMMON_RPC_INPROC_NET_H

#include "common/rpc/rpc.h"

/* Errors: the address is in use in this process. Endpoints may be on different loops. */
must_check struct err inproc_net_new(struct env *env, const char *address, struct arena *errors, struct rpc_net **ret);

#endif
