/*
 * Calls to history nodes, sent round a lost connection: through another live history node (common/relay), until the
 * node itself answers again.
 *
 *     direct ──connection lost, the node's row renewed all the same──▶ relayed, a ping each second
 *       ▲                                                                 │
 *       └──────────────────────── an answer to the ping ──────────────────┘
 *
 * With nobody to relay through, or when the relays can't reach the node either, calls go the direct way.
 */
#ifndef COMMON_EDGE_REACH_H
#define COMMON_EDGE_REACH_H

#include "common/rpc/rpc.h"

/* Parts of a call's body. */
#define REACH_PARTS_MAX 4

struct edge;
struct reach;

/* Embedded in whoever calls; zeroed is idle. */
struct reach_call {
	struct rpc_pending *pending; /* not NULL: under way */
	struct reach *reach;
	char *target, *relay; /* addresses; NULL: sent directly */
	rpc_reply_fn *fn;
	void *ctx;
};

struct reach *reach_new(struct edge *e);
/* Accepts NULL. No call is under way. */
void reach_free(struct reach *r);
/* The live nodes changed. */
void reach_nodes_changed(struct reach *r);
/*
 * As rpc_call(): fn is called once, never inline, with c idle again. The error of a call that no relay made is
 * UNAVAILABLE/NOT_OWNER: nothing happened.
 */
void reach_begin(struct reach *r, struct reach_call *c, const struct rpc_call *call);
/* Under way: fn will not be called any more. */
void reach_cancel(struct reach_call *c);

#endif
