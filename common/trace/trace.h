/*
 * Traces by OTLP over HTTP (JSON encoding), sampled, gathered, bounded; nothing waits for them.
 *
 *     struct span *s = span_root(t, SPAN_SERVER, "StartWorkflowExecution", traceparent);   NULL: not sampled
 *     …traceparent = span_traceparent(s)…                                                   to whom we call
 *     span_text(s, "namespace", name);
 *     span_end(s, e);
 *
 * All of span_…() accept NULL and do nothing then: what is not sampled costs a test. A `struct trace` belongs to one
 * loop. The trace context is that of W3C: a caller that sampled its trace gets ours in it, one that did not gets none,
 * and without a caller's context the ratio decides.
 */
#ifndef COMMON_TRACE_TRACE_H
#define COMMON_TRACE_TRACE_H

#include "common/err/err.h"
#include "common/log/log.h"
#include "common/loop/loop.h"
#include "common/metrics/metrics.h"

struct trace;
struct span;

struct trace_config {
	const char *endpoint; /* "http://collector:4318"; the path /v1/traces is added where it is missing */
	const char *headers;  /* "authorization=Bearer x,name=value", as in OpenTelemetry's environment; NULL: none */
	bool gzip;	      /* bodies are compressed */
	int64_t per_million;  /* of the requests that bring no trace context */
	const char *service, *node_id, *version;
	struct log *log;	 /* may be NULL */
	struct metrics *metrics; /* may be NULL */
};

/* Spans that wait are dropped beyond this, while the collector is slow or gone. */
#define TRACE_SPANS_MAX 4096

/* What the numbers mean to OTLP. */
enum span_kind { SPAN_INTERNAL = 1, SPAN_SERVER = 2, SPAN_CLIENT = 3, SPAN_PRODUCER = 4, SPAN_CONSUMER = 5 };

/* The config's strings are copied; log and metrics outlive it. INVALID_ARGUMENT: the endpoint is no http(s) URL, or the
 * headers are not written so. */
must_check struct err trace_new(struct loop *loop, const struct trace_config *config, struct arena *errors,
				struct trace **ret);
/* Accepts NULL. What has not been sent is lost; open spans must have ended. */
void trace_free(struct trace *t);
/* Of the requests that bring no trace context, from now on. Accepts NULL. */
void trace_set_ratio(struct trace *t, int64_t per_million);
/* Sends what there is without waiting for more. Accepts NULL. */
void trace_flush(struct trace *t);

/* A request enters the cluster. t NULL: no tracing; traceparent NULL or malformed: none. */
struct span *span_root(struct trace *t, enum span_kind kind, const char *name, const char *traceparent);
/* Part of a trace that another daemon of ours began; NULL unless that one is sampled. */
struct span *span_continue(struct trace *t, enum span_kind kind, const char *name, const char *traceparent);
/* It began earlier: on the env's monotonic clock. */
void span_began(struct span *s, int64_t began_ns);
/* Another trace that has to do with this one; NULL or malformed: none. The last one counts. */
void span_link(struct span *s, const char *traceparent);
/* It is part of that trace, unless a client's context made it part of another: then it links to that one. */
void span_join(struct span *s, const char *traceparent);
/* What whoever we call continues; lives as long as the span. NULL for NULL. */
const char *span_traceparent(const struct span *s);
/* Copied; at most SPAN_ATTRIBUTES_MAX, more are left out. NULL and "" are left out too. */
#define SPAN_ATTRIBUTES_MAX 12
void span_text(struct span *s, const char *key, const char *value);
void span_int(struct span *s, const char *key, int64_t value);
/* A child that is over: both on the env's monotonic clock. */
void span_part(struct span *s, const char *name, int64_t began_ns, int64_t ended_ns);
/* Frees it. */
void span_end(struct span *s, struct err e);

#endif
