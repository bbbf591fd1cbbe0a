/*
 * A whole cluster in one process on simulated time: nodes with their own env, rpc, store and membership, over one
 * network and one database in memory. Nodes are killed, paused, cut off and started again.
 */
#ifndef TESTS_SIM_CLUSTER_H
#define TESTS_SIM_CLUSTER_H

#include "common/edge/edge.h"
#include "common/store/fake.h"
#include "services/history/history.h"
#include "services/matching/matching.h"
#include "tests/support/fake_env.h"
#include "tests/support/fake_net.h"

#define SIM_SHARDS	 8
#define SIM_NAMESPACE	 "default"
#define SIM_NAMESPACE_ID "11111111-2222-4333-8444-555555555555"

/* How far off, one way or the other, a node's wall clock may be. */
#define SIM_CLOCK_OFF_NS (500 * NS_PER_MS)

enum sim_role { SIM_HISTORY, SIM_MATCHING, SIM_EDGE };

/* One process. */
struct sim_node {
	struct sim_cluster *cluster;
	enum sim_role role;
	char id[32], address[64];
	bool running, draining;
	bool told; /* to drain, by an operator; it knows */
	uint64_t incarnation;
	struct fake_env env;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership;
	struct history *history;
	struct auditor *auditor; /* of the history */
	struct matching *matching;
	struct namespaces *namespaces;
	struct edge *edge;
	struct log *log;	/* NULL unless verbose */
	struct env_timer exit;	/* on the cluster's env: it exits, or begins again */
	struct env_timer drain; /* on its own: SIGTERM arrives when it runs */
};

struct sim_cluster {
	struct fake_world world;
	struct fake_env env;	   /* of whoever watches over the processes */
	struct sim_pending *calls; /* not over on both sides */
	struct fake_net *net;
	struct fake_db *db;
	struct sim_node nodes[16];
	size_t node_count;
	uint64_t next_incarnation;
	/* What matching may hold of a queue (small: most of it waits in history), and partitions of a queue. */
	int64_t matching_queue_bytes;
	uint32_t partitions;
	bool no_filters; /* of workflow ids: each that is not in memory is looked up */
	bool refuses;	 /* the database takes not every run, as the auditor should say */
	bool deep;	 /* history has hardly any memory, and workers stay away at times */
	bool verbose;
	/* the first violation; the run ends with it */
	char violation[512];
};

void sim_cluster_init(struct sim_cluster *c, uint64_t seed, int histories, int matchings, int edges, bool verbose);
void sim_cluster_done(struct sim_cluster *c);
void sim_put_namespace(struct sim_cluster *c, const char *id, const char *name, int64_t retention_ns);
void sim_node_start(struct sim_node *n);
/* kill -9. */
void sim_node_kill(struct sim_node *n);
/* SIGTERM: what it has goes to others, then it exits, and begins again a little later. */
void sim_node_drain(struct sim_node *n);
/* What every node thinks of every shard: for runs that are stuck. */
void sim_describe_shards(struct sim_cluster *c);
/* A running edge, at random; NULL: none. */
struct sim_node *sim_edge(struct sim_cluster *c);
/* "t=12.345 text", when verbose. */
void sim_say(struct sim_cluster *c, const char *fmt, ...) printf_like(2, 3);
/* Remembers the first one. */
void sim_violation(struct sim_cluster *c, const char *fmt, ...) printf_like(2, 3);

/* ------------------------------------------------------------------ public calls (public.c) */

struct sim_pending;

/*
 * A public call, made at an edge, over a network of its own: fn is called once, later, also when the edge dies or does
 * not answer in time. e and response live during the call.
 */
typedef void sim_reply_fn(void *ctx, struct err e, struct bytes response);
struct sim_pending *sim_call(struct sim_node *edge, const char *method, const ProtobufCMessage *request,
			     int64_t timeout_ns, sim_reply_fn *fn, void *ctx);
/* The client's connection is gone: fn is not called any more. */
void sim_cancel(struct sim_pending *p);
/* The edge dies: what it was asked ends. */
void sim_calls_lost(struct sim_node *edge);

#endif
