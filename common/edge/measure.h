/*
 * What is told of a call when it ends: metrics, a log line if it was slow, its span. For common/edge only.
 */
#ifndef COMMON_EDGE_MEASURE_H
#define COMMON_EDGE_MEASURE_H

#include "common/edge/edge.h"

struct edge_measures;

/* The edge's parts and config are complete. */
struct edge_measures *edge_measures_new(struct edge *e);
/* Accepts NULL. */
void edge_measures_free(struct edge_measures *m);
void measure_began(struct edge_call *c);
/* The task token says what trace the task was part of: the worker's answer goes on with it. */
void measure_token(struct edge_call *c, const char *traceparent);
/* The namespace is known (and exists). */
void measure_namespace(struct edge_call *c, const char *namespace);
void measure_ended(struct edge_call *c, struct err e, size_t part_count);

/* A task on its way to one of our polls, and what of it was said already. */
struct measured_task {
	const struct api_method *method; /* of the poll */
	const char *task_queue;
	struct bytes task;	/* perdure.DispatchTask */
	int64_t began_ns;	/* it was handed to us */
	int64_t poll_waited_ns; /* the poll had waited so long by then */
	int tries;
	const char *outcome;
};
/* NULL: not traced. */
struct span *measure_task_began(struct edge *e, const struct measured_task *t);
/* The span may be NULL. */
void measure_task_ended(struct edge *e, const struct measured_task *t, struct span *span);

#endif
