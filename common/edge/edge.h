/*
 * The edge: where the public API is served. Frontend and worker-gateway are this library behind a gRPC server; either
 * can serve every method.
 *
 * A request enters as a `struct edge_call`, whatever brought it: gRPC (edge_grpc.h), HTTP with JSON, or the simulation.
 * The edge checks what needs no state, finds the namespace, and then forwards the request to the shard that serves it,
 * or answers by itself, or parks it as a poll until matching hands a task over.
 *
 * Everything belongs to one loop. No sockets here: the outside world is env, rpc, store and membership.
 */
#ifndef COMMON_EDGE_EDGE_H
#define COMMON_EDGE_EDGE_H

#include <api_methods.h>

#include "common/env/env.h"
#include "common/err/err.h"
#include "common/log/log.h"
#include "common/membership/membership.h"
#include "common/metrics/metrics.h"
#include "common/namespaces/namespaces.h"
#include "common/rpc/rpc.h"
#include "common/store/store.h"
#include "common/trace/trace.h"

struct edge;
struct edge_call;

/* What the edge works with; owned by the caller, and outlives the edge. */
struct edge_parts {
	struct env *env;
	struct rpc *rpc;
	struct store *store;
	struct membership *membership;
	struct namespaces *namespaces;
	struct log *log;	 /* may be NULL */
	struct metrics *metrics; /* may be NULL */
	struct trace *trace;	 /* may be NULL */
};

/* Strings outlive the edge. 0 means the default of edge_config_defaults(), facts of the cluster aside. */
struct edge_config {
	const char *cluster_id, *cluster_name;
	const char *version;	      /* Perdure's own */
	const char *database_version; /* "15.4" */
	uint32_t shard_count;

	int64_t id_bytes_max;
	int64_t payload_bytes_max, memo_bytes_max;
	int64_t request_bytes_max;  /* the transport's; told to clients */
	int64_t request_timeout_ns; /* of a request whose client gave no deadline */
	int64_t poll_timeout_ns;    /* a poll ends empty-handed after this long */
	int64_t sticky_grace_ns;    /* after a worker's connection was lost, before its sticky queue counts as gone */
	uint32_t partitions;	    /* of a task queue */
	const char *service_name;   /* labels metrics; NULL: "frontend" */
	int64_t slow_operation_ns;  /* a call that takes longer is logged; 0: none */
	int64_t retention_min_ns;   /* of a namespace; 0: an hour */
	int64_t namespace_delete_delay_ns; /* a deleted namespace's record stays so long when its request doesn't say */
};

void edge_config_defaults(struct edge_config *c);

/* Registers RPC_GATEWAY_TASKS with rpc and listens to membership. */
struct edge *edge_new(const struct edge_parts *parts, const struct edge_config *config);
/* Other limits and times, from the next request on. Names and facts of the cluster must be the same. */
void edge_configure(struct edge *e, const struct edge_config *config);
/*
 * Polls end empty-handed and new ones are refused, until it is called with false. Reads that wait for a run's events
 * are answered within a second. Other requests are served as before.
 */
void edge_pause_polls(struct edge *e, bool pause);
/*
 * Polls end empty-handed, new ones are refused, and reads that wait for a run's events are answered within a second;
 * other requests are served as before. `done` is called once, never
 * inline, when no poll is left and every task that was on its way to one is settled.
 */
void edge_drain(struct edge *e, void (*done)(void *ctx), void *ctx);
/* Accepts NULL. Calls still there are cancelled. rpc must be freed in the same turn: it cannot unlearn our method. */
void edge_free(struct edge *e);

/* Requests and polls that have not ended. */
size_t edge_calls(const struct edge *e);

/* ------------------------------------------------------------------ calls, as the transports bring them */

struct edge_call_ops {
	/* First value of a request header (lower case); NULL when absent. Valid until slim() or finish(). */
	const char *(*header)(const struct edge_call *c, const char *key);
	/*
	 * Ends the call; its memory is gone afterwards. With an error, parts are ignored. Returns whether the response
	 * will reach the transport: false means that not one byte of it has been or will be written.
	 */
	bool (*finish)(struct edge_call *c, struct err e, const struct bytes *parts, size_t part_count);
	/* The call will wait: give back what the request's bytes and headers take. May be NULL. */
	void (*slim)(struct edge_call *c);
};

/* Embedded in the transport's own struct. The first block is the transport's to fill in, the rest starts as zero. */
struct edge_call {
	const struct edge_call_ops *ops;
	const struct api_method *method;
	struct bytes request; /* encoded as the method's request type; lives until finish() or slim() */
	int64_t deadline_ns;  /* monotonic; INT64_MAX: the client gave none */

	struct edge *edge;
	struct arena *arena; /* edge_arena() makes it; freed with the call */
	void (*on_cancel)(struct edge_call *c);
	void *state; /* of whoever serves it now */
	int64_t began_ns;
	struct edge_call *prev, *next;

	/* For measure.c. The texts live in the arena; NULL while unknown, and for polls that are parked. */
	const char *namespace, *workflow_id;
	struct namespace_counters *counters;
	struct span *span;     /* NULL: not traced */
	int64_t owner_wait_ns; /* until the shard had an owner that took it, between attempts */
	int64_t history_ns;    /* with history, the way there and back included; all attempts */
	int tries;
};

/* Is this method served at all? Others are answered UNIMPLEMENTED by edge_serve(). */
bool edge_serves(const struct api_method *method);
/* Leads to exactly one finish(), now or later, also after edge_cancelled(). */
void edge_serve(struct edge *e, struct edge_call *c);
/* The client gave up, its connection died, or the deadline passed. At most once, between edge_serve() and finish(). */
void edge_cancelled(struct edge_call *c);

#endif
