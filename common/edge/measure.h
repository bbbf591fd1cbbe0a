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
/* The namespace is known (and exists). */
void measure_namespace(struct edge_call *c, const char *namespace);
void measure_ended(struct edge_call *c, struct err e, size_t part_count);

#endif
