/*
 * What every daemon has in common once it runs: its database, its rpc inbox, its place in the cluster.
 *
 *     node_new(ctx, &(struct node_config){.role = "history", .writer = true, .on_up = …}, errors, &node)
 *
 * Making a node is at once (the inbox listens, connections begin); what takes time goes on in the background: the
 * cluster's facts are read (again and again while the database is out of reach), then `on_up` is called, then the node
 * joins the membership. A schema that this binary does not know, or a lost identity, ends the daemon (daemon_fail).
 *
 * A node belongs to the loop of its daemon_ctx. In the single-process server each role has its own node: nothing is
 * shared but the loop, and they talk over inproc:// as separate processes would.
 */
#ifndef COMMON_NODE_NODE_H
#define COMMON_NODE_NODE_H

#include "common/daemon/daemon.h"
#include "common/membership/membership.h"
#include "common/namespaces/namespaces.h"
#include "common/rpc/rpc.h"
#include "common/store/store.h"
#include "common/trace/trace.h"

/* Read-only to everybody but common/node. */
struct node {
	struct daemon_ctx daemon; /* a copy; env, settings, log, metrics, … */
	const char *role;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership; /* NULL until on_up */
	struct namespaces *namespaces; /* NULL unless asked for */
	struct trace *trace;	       /* NULL: no traces */

	bool told_to_drain; /* by an operator */
	bool alone;	    /* we hold the data directory's lock: every earlier process of this node is dead */

	/* Facts of the cluster; set before on_up. */
	bool up;
	uint32_t shard_count;
	char cluster_id[64];
	char database_version[64];
};

struct node_config {
	const char *role; /* "frontend", "history", "matching", "worker_gateway" */
	bool writer;	  /* keeps the store's writer connection (history) */
	bool namespaces;  /* keeps the cache of namespaces */
	/* The cluster's facts are known; joining comes next. Called once, on the loop, never from node_new(). May be
	 * NULL. */
	void (*on_up)(void *ctx, struct node *n);
	/* An operator has told this node to drain, or not to any more; it goes on running. Placement takes the work
	 * that it has for others away by itself; this is for what clients bring. May be NULL. */
	void (*on_told)(void *ctx, bool drain);
	void *ctx;
};

/* Errors: an address in use, a bad URL or DSN, an unreadable certificate. Nothing of the node is left then. */
must_check struct err node_new(const struct daemon_ctx *daemon, const struct node_config *config, struct arena *errors,
			       struct node **ret);
/* Up, joined, and namespaces loaded if asked for. *ret_why: a static text when not. */
bool node_ready(const struct node *n, const char **ret_why);
/* Tells the others to bring nothing new here (its row says draining); the node goes on serving what it has. */
void node_drain(struct node *n);
/* It was declared dead: nothing that it holds is its own any more, there is nothing to hand over. */
bool node_fenced(const struct node *n);
/* A clean goodbye: our row goes. done is called once, never inline, also when the database is out of reach. */
void node_leave(struct node *n, void (*done)(void *ctx), void *ctx);
/* Accepts NULL. Replies under way are lost; callbacks of calls under way are not called. */
void node_free(struct node *n);

#endif
