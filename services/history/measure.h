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
/* A transaction was answered. */
void measure_commit(struct history_measures *m, int64_t took_ns, int64_t transitions, int64_t bytes);

#endif
