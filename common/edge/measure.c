/*
 * Metrics, slow-operation lines and spans of calls.
 *
 * The metrics' names and labels are those of the reference server, so that its dashboards find them
 * (deploy/monitoring/README.md). Handles are kept by method and namespace: counting a call is two additions.
 */
#include "common/edge/measure.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/edge/internal.h"
#include "common/mem/mem.h"
#include "common/metrics/service.h"

/* Calls of further namespaces are counted under one name. */
#define NAMESPACES_MAX	  200
#define NAMESPACE_NONE	  "_unknown_"
#define NAMESPACE_FURTHER "_other_"

/* Fields of perdure.DispatchTask. */
enum { TASK_WORKFLOW_ID = 3, TASK_RUN_ID = 4, TASK_TRACEPARENT = 16 };

struct namespace_counters {
	UT_hash_handle hh;
	struct counter *requests[API_METHOD_COUNT];
	char name[];
};

struct edge_measures {
	struct edge *edge;
	struct namespace_counters *namespaces, *none;
	struct histogram *latency[API_METHOD_COUNT];
	struct gauge *pending;
	struct counter *poll_success[API_METHOD_COUNT], *poll_timeouts[API_METHOD_COUNT];
};

static bool is_poll(const struct api_method *m)
{
	return strncmp(m->name, "Poll", 4) == 0;
}

/* It takes as long as something else does: an event, a worker. */
static bool waits_by_design(const struct edge_call *c)
{
	switch ((int)api_method_id_of(c->method)) {
	case API_METHOD_WORKFLOW_GET_WORKFLOW_EXECUTION_HISTORY:
		return wire_value(c->request, edge_field_number(c, "wait_new_event")) != 0;
	case API_METHOD_WORKFLOW_QUERY_WORKFLOW:
	case API_METHOD_WORKFLOW_UPDATE_WORKFLOW_EXECUTION:
	case API_METHOD_WORKFLOW_EXECUTE_MULTI_OPERATION:
		return true;
	default:
		return is_poll(c->method);
	}
}

/* ------------------------------------------------------------------ metrics */

static struct namespace_counters *counters_get(struct edge_measures *m, const char *name)
{
	struct namespace_counters *n;
	HASH_FIND_STR(m->namespaces, name, n);
	if (!n && HASH_COUNT(m->namespaces) >= NAMESPACES_MAX) {
		name = NAMESPACE_FURTHER;
		HASH_FIND_STR(m->namespaces, name, n);
	}
	if (n)
		return n;
	size_t len = strlen(name);
	n = mem_zalloc(sizeof *n + len + 1);
	memcpy(n->name, name, len + 1);
	HASH_ADD_KEYPTR(hh, m->namespaces, n->name, len, n);
	return n;
}

struct edge_measures *edge_measures_new(struct edge *e)
{
	struct edge_measures *m = new0(struct edge_measures);
	m->edge = e;
	if (!e->parts.metrics)
		return m;
	m->none = counters_get(m, NAMESPACE_NONE);
	m->pending = service_pending_requests(e->parts.metrics, e->config.service_name);
	return m;
}

void edge_measures_free(struct edge_measures *m)
{
	struct namespace_counters *n, *tmp;
	if (!m)
		return;
	HASH_ITER (hh, m->namespaces, n, tmp) {
		HASH_DEL(m->namespaces, n);
		free(n);
	}
	free(m);
}

static struct counter *poll_counter(struct edge_measures *m, const struct edge_call *c, const char *name,
				    const char *help)
{
	const struct metric_label labels[] = {{"operation", c->method->name},
					      {"service_name", m->edge->config.service_name}};
	return metrics_counter(m->edge->parts.metrics, name, help, labels, 2);
}

static void count_poll(struct edge_measures *m, const struct edge_call *c, bool task)
{
	size_t id = api_method_id_of(c->method);
	if (!m->poll_success[id]) {
		m->poll_success[id] = poll_counter(m, c, "poll_success", "Polls that ended with a task.");
		m->poll_timeouts[id] = poll_counter(m, c, "poll_timeouts", "Polls that ended without one.");
	}
	counter_inc(task ? m->poll_success[id] : m->poll_timeouts[id]);
}

static void count(struct edge_measures *m, const struct edge_call *c, enum err_code code, size_t part_count,
		  int64_t took_ns)
{
	struct metrics *metrics = m->edge->parts.metrics;
	struct namespace_counters *n = c->counters ? c->counters : m->none;
	const char *service = m->edge->config.service_name;
	size_t id = api_method_id_of(c->method);
	if (!n->requests[id])
		n->requests[id] = service_requests(metrics, service, c->method->name, n->name);
	if (!m->latency[id])
		m->latency[id] = service_latency(metrics, service, c->method->name);
	counter_inc(n->requests[id]);
	histogram_observe(m->latency[id], took_ns);
	gauge_add(m->pending, -1);
	if (code != ERR_OK)
		service_count_error(metrics, service, c->method->name, n->name, code);
	else if (is_poll(c->method))
		count_poll(m, c, part_count > 0);
}

/* ------------------------------------------------------------------ a call */

static void describe_span(struct edge_call *c)
{
	span_text(c->span, "rpc.system", "grpc");
	span_text(c->span, "rpc.service", c->method->service);
}

void measure_began(struct edge_call *c)
{
	struct edge *e = c->edge;
	c->began_ns = env_mono_ns(e->env);
	if (e->measures->pending)
		gauge_add(e->measures->pending, 1);
	if (!e->parts.trace || is_poll(c->method))
		return;
	c->span = span_root(e->parts.trace, SPAN_SERVER, c->method->name, edge_header(c, "traceparent"));
	describe_span(c);
}

void measure_token(struct edge_call *c, const char *traceparent)
{
	struct trace *trace = c->edge->parts.trace;
	if (!trace || str_empty(traceparent))
		return;
	if (c->span) {
		span_join(c->span, traceparent);
		return;
	}
	c->span = span_continue(trace, SPAN_SERVER, c->method->name, traceparent);
	span_began(c->span, c->began_ns);
	describe_span(c);
}

void measure_namespace(struct edge_call *c, const char *namespace)
{
	struct edge_measures *m = c->edge->measures;
	c->namespace = namespace;
	if (m->none && *namespace)
		c->counters = counters_get(m, namespace);
}

static void say_slow(const struct edge_call *c, struct err e, int64_t took_ns)
{
	int64_t here = took_ns - c->owner_wait_ns - c->history_ns;
	log_warn(c->edge->parts.log, "slow operation", log_str("method", c->method->name),
		 log_str("namespace", c->namespace), log_str("workflow_id", c->workflow_id),
		 log_duration("took", took_ns), log_duration("waited_for_owner", c->owner_wait_ns),
		 log_duration("history", c->history_ns), log_duration("edge", here), log_int("tries", c->tries),
		 log_str("status", err_code_name(e.code)), log_str("trace", span_traceparent(c->span)));
}

void measure_ended(struct edge_call *c, struct err e, size_t part_count)
{
	struct edge *edge = c->edge;
	int64_t took_ns = env_mono_ns(edge->env) - c->began_ns;
	if (edge->parts.metrics)
		count(edge->measures, c, e.code, part_count, took_ns);
	int64_t slow_ns = edge->config.slow_operation_ns;
	if (slow_ns > 0 && took_ns >= slow_ns && !waits_by_design(c))
		say_slow(c, e, took_ns);
	if (!c->span)
		return;
	span_text(c->span, "namespace", c->namespace);
	span_text(c->span, "workflow_id", c->workflow_id);
	span_text(c->span, "status", err_code_name(e.code));
	span_end(c->span, e);
	c->span = NULL;
}

/* ------------------------------------------------------------------ a task for a poll */

static const char *text(struct arena *a, struct bytes v)
{
	return arena_printf(a, "%.*s", (int)v.len, v.len ? (const char *)v.data : "");
}

struct span *measure_task_began(struct edge *e, const struct measured_task *t)
{
	struct arena *a = arena_new(0);
	struct bytes context = wire_bytes(t->task, TASK_TRACEPARENT);
	struct span *s = e->parts.trace && context.len
				 ? span_continue(e->parts.trace, SPAN_SERVER, t->method->name, text(a, context))
				 : NULL;
	arena_free(a);
	return s;
}

/* From when it was handed to us until the worker has it, or somebody else. */
void measure_task_ended(struct edge *e, const struct measured_task *t, struct span *span)
{
	int64_t took_ns = env_mono_ns(e->env) - t->began_ns;
	bool slow = e->config.slow_operation_ns > 0 && took_ns >= e->config.slow_operation_ns;
	if (!slow && !span)
		return;
	struct arena *a = arena_new(0);
	const char *workflow_id = text(a, wire_bytes(t->task, TASK_WORKFLOW_ID));
	const char *run_id = text(a, wire_bytes(t->task, TASK_RUN_ID));
	if (slow)
		log_warn(e->parts.log, "slow operation", log_str("method", t->method->name),
			 log_str("task_queue", t->task_queue), log_str("workflow_id", workflow_id),
			 log_str("run_id", run_id), log_duration("took", took_ns), log_duration("history", took_ns),
			 log_int("tries", t->tries), log_str("status", t->outcome),
			 log_str("trace", span_traceparent(span)));
	span_text(span, "task_queue", t->task_queue);
	span_text(span, "workflow_id", workflow_id);
	span_text(span, "run_id", run_id);
	span_int(span, "poll_waited_ms", t->poll_waited_ns / NS_PER_MS);
	span_int(span, "tries", t->tries);
	span_text(span, "outcome", t->outcome);
	span_end(span, err_ok);
	arena_free(a);
}
