/*
 * What matching tells of its tasks: how long they wait, and spans of those that are traced.
 *
 * A task's span is a child of what scheduled it and lasts as long as the task is here. From here on the task carries
 * its context, so that the gateway and then history go on below it.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "common/trace/trace.h"
#include "services/matching/internal.h"

static const char *kind_name(Perdure__TaskKind kind)
{
	switch (kind) {
	case PERDURE__TASK_KIND__TASK_KIND_WORKFLOW:
		return "workflow task";
	case PERDURE__TASK_KIND__TASK_KIND_ACTIVITY:
		return "activity task";
	case PERDURE__TASK_KIND__TASK_KIND_QUERY:
		return "query task";
	case PERDURE__TASK_KIND__TASK_KIND_NEXUS:
		return "nexus task";
	case PERDURE__TASK_KIND__TASK_KIND_UNSPECIFIED:
	case _PERDURE__TASK_KIND_IS_INT_SIZE:
		break;
	}
	return "task";
}

void task_measure_arrived(struct task *t)
{
	struct matching *m = t->partition->m;
	const struct partition *p = t->partition;
	t->waits_ns = t->arrived_ns;
	t->span = span_continue(m->measures.trace, SPAN_CONSUMER, kind_name(t->msg->kind), t->msg->traceparent);
	if (!t->span)
		return;
	span_began(t->span, t->arrived_ns);
	span_text(t->span, "task_queue", p->queue->name);
	span_int(t->span, "partition", p->number);
	span_int(t->span, "sticky", p->queue->sticky);
	span_text(t->span, "workflow_id", t->msg->workflow_id);
	span_text(t->span, "run_id", t->msg->run_id);
	span_int(t->span, "attempt", t->msg->attempt);
	span_int(t->span, "age_ms", (env_wall_ns(m->env) - t->msg->scheduled_time_ns) / NS_PER_MS);
	free(t->msg->traceparent); /* not empty, hence its own */
	t->msg->traceparent = mem_strdup(span_traceparent(t->span));
}

void task_measure_handed(struct task *t)
{
	struct histogram *latency = t->partition->m->measures.dispatch_latency;
	if (latency)
		histogram_observe(latency, t->handed_ns - t->arrived_ns);
	span_part(t->span, "wait for a poll", t->waits_ns, t->handed_ns);
}

void task_measure_back(struct task *t)
{
	int64_t now = env_mono_ns(t->partition->m->env);
	t->waits_ns = now;
	span_part(t->span, "handed out in vain", t->handed_ns, now);
}

void task_measure_outcome(struct task *t, const char *outcome)
{
	span_text(t->span, "outcome", outcome);
	span_part(t->span, "handed out", t->handed_ns, env_mono_ns(t->partition->m->env));
}

void task_measure_ended(struct task *t)
{
	span_end(t->span, err_ok);
	t->span = NULL;
}
