/*
 * perdure-matching: tasks that wait, and the credits of the gateways whose polls wait for them. Memory only: history
 * can derive every task again.
 *
 *   history ── AddTasks ──► partition of a queue ── HandOut, against a credit ──► gateway
 *      ▲                          ▲ │                                               │
 *      └── PullTasks (room now) ──┼─┘                                               │
 *                                 └────────── TaskOutcomes (started, …) ────────────┘
 *
 * A task that was handed out is kept until the gateway reports what became of it. Belongs to one loop.
 */
#ifndef SERVICES_MATCHING_MATCHING_H
#define SERVICES_MATCHING_MATCHING_H

#include "common/daemon/daemon.h"
#include "common/env/env.h"
#include "common/log/log.h"
#include "common/membership/membership.h"
#include "common/metrics/metrics.h"
#include "common/rpc/rpc.h"

extern const struct daemon_spec matching_daemon;

struct matching_config {
	int64_t memory_bytes; /* of all waiting tasks */
	int64_t queue_bytes;  /* of one partition's */
	int64_t redeliver_after_ns;
	int64_t queue_idle_ns; /* a partition without tasks and polls is forgotten after */
	/* How many partitions a queue has follows the rate at which its tasks are handed out. */
	uint32_t partitions_min, partitions_max;
	int64_t partition_rate; /* tasks a second for which one is meant */
	int64_t partition_shrink_after_ns;
};

struct matching;

void matching_config_defaults(struct matching_config *c);
/* Nothing is owned by it: env, rpc, membership, log outlive it. Registers its rpc methods. */
struct matching *matching_new(struct env *env, struct rpc *rpc, struct membership *membership, struct log *log,
			      const struct matching_config *config);
/* Other limits and times, from the next use on. */
void matching_configure(struct matching *m, const struct matching_config *config);
/* Takes nothing new; what it has is forgotten, history offers it to the partitions' next owners. */
void matching_drain(struct matching *m);
void matching_free(struct matching *m);

/* For metrics and tests. */
struct matching_counts {
	size_t partitions, waiting, handed, gateways;
	int64_t bytes;
	uint64_t added, refused, pulled, handed_total, started, handed_back, redelivered;
	uint64_t matched_at_once; /* handed out when they came */
};
struct matching_counts matching_counts(const struct matching *m);

/* Who polls for what is here; walks all partitions. */
struct matching_polls {
	uint64_t idle;			 /* polls that a task could be handed to */
	size_t unpolled, unpolled_tasks; /* partitions with tasks and no poller, and their tasks */
	int64_t backlog;		 /* tasks that wait, here and parked in history */
	int64_t oldest_ns;		 /* wall clock: when the oldest of them was scheduled; 0: there is none */
};
struct matching_polls matching_polls(const struct matching *m);

struct trace;
struct matching_measures {
	struct histogram *dispatch_latency; /* from arrival here until handed out; NULL: nobody measures */
	struct trace *trace;		    /* NULL: no traces */
};
/* Both outlive the rest. */
void matching_measure(struct matching *m, const struct matching_measures *measures);
/*
 * waited_ns: for how long the loop has had nothing to do, in all (only differences count). A queue that is much of the
 * work of a busy node is spread over more nodes; without this only its rate counts.
 */
void matching_watch_load(struct matching *m, int64_t (*waited_ns)(void *ctx), void *ctx);

#endif
