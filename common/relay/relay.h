/*
 * Calls made on behalf of a node that can't reach a history node itself, while we can.
 *
 * One hop: only certain methods are relayed, to live history nodes, and RPC_RELAY is none of them. A relay makes the
 * call once, with what is left of the caller's time, and hands the answer or the error back as it came; when the caller
 * gives up, so does the relay.
 */
#ifndef COMMON_RELAY_RELAY_H
#define COMMON_RELAY_RELAY_H

#include "common/membership/membership.h"
#include "common/rpc/rpc.h"

/* Under way at a time; more are refused, and the caller goes elsewhere. */
#define RELAY_CALLS_MAX 4096
#define RELAY_BYTES_MAX (128 * 1024 * 1024)

struct relay;

/* Serves RPC_RELAY. Neither is owned; both outlive the relay, and rpc ends in the same turn. */
struct relay *relay_new(struct rpc *rpc, struct membership *membership);
/* Accepts NULL. */
void relay_free(struct relay *r);
/* Calls under way. */
size_t relay_calls(const struct relay *r);

#endif
