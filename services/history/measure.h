/*
 * What history tells of its work: metrics, lines about slow operations, spans.
 *
 * All functions accept NULL measures: the simulation has none. Belongs to history's loop.
 */
#ifndef SERVICES_HISTORY_MEASURE_H
#define SERVICES_HISTORY_MEASURE_H

#include "common/metrics/metrics.h"
#include "common/trace/trace.h"
#include "services/history/history.h"

struct call;
struct rpc_request;

struct history_measures_config {
	struct metrics *metrics;
	struct trace *trace;	   /* may be NULL */
	int64_t slow_operation_ns; /* 0: none is logged */
};

/* Nothing of the config is owned; it outlives the measures. */
struct history_measures *history_measures_new(struct history *h, const struct history_measures_config *config);
/* How long a call takes that is logged as slow, from now on. Accepts NULL. */
void history_measures_set_slow(struct history_measures *m, int64_t slow_operation_ns);
/* Accepts NULL. */
void history_measures_free(struct history_measures *m);
/* Gauges and totals, before an exposition. */
void history_measures_collect(struct history_measures *m);

/* A public request: arrived (its name is known), answered. */
void measure_call_began(struct history_measures *m, struct call *c);
void measure_call_ended(struct history_measures *m, struct call *c, struct err e);
/* From here on it reads events. */
void measure_call_reading(struct call *c);
/* What the tasks go on with that the call's transition schedules, and its answer's token. */
struct task_trace measure_call_trace(const struct call *c);

/* The start of a task that a poll got. In the request's arena. */
enum start_step { START_LOADED, START_DECIDED, START_ANSWERED, START_STEPS };
struct start_measure {
	const Perdure__DispatchTask *task;
	Perdure__StartTaskReply__Outcome outcome;
	int64_t began_ns, step_ns[START_STEPS]; /* monotonic; 0: not reached */
	bool loaded;				/* the run was not in memory */
	uint64_t loads;
	struct span *span;
};

/* With a span, the task's trace context becomes that: the worker's answer goes on from there. */
void measure_start_began(struct history_measures *m, struct start_measure *s, struct rpc_request *req,
			 Perdure__DispatchTask *task);
/* The run is there; the state has changed; the answer is complete but perhaps not durable yet. */
void measure_start_step(struct history_measures *m, struct start_measure *s, enum start_step step);
void measure_start_ended(struct history_measures *m, struct start_measure *s, struct err e);

/* A transaction was answered. */
/* A run ended: its namespace's name ("": not known) and status. */
void measure_closed(struct history_measures *m, const char *namespace, int status);

struct commit_measure {
	int64_t took_ns;
	size_t shards;
	int64_t transitions, bytes;
};
void measure_commit(struct history_measures *m, const struct commit_measure *c);

/* A checkpoint was written. */
struct fold_measure {
	uint32_t shard;
	int64_t collect_ns, database_ns;
	size_t runs;
	int64_t bytes;
};
void measure_fold(struct history_measures *m, const struct fold_measure *f);

/* A shard that was claimed serves. */
struct acquire_measure {
	uint32_t shard;
	int64_t claim_ns;   /* until it was ours: a predecessor's lease, a lock */
	int64_t journal_ns; /* reading it */
	int64_t runs_ns;    /* loading those that it names or that are due, and applying it */
	size_t replayed;    /* changes */
};
void measure_acquired(struct history_measures *m, const struct acquire_measure *a);

#endif
