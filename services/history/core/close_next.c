/*
 * The run that follows one that closed: its next attempt, the next one of its cron schedule, or what it continues as.
 */
#include "services/history/core/close.h"
#include "services/history/core/cron.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/reset_points.h"
#include "services/history/core/run_begin.h"
#include "services/history/core/search_attributes.h"
#include "services/history/core/workflow_task.h"

/* A workflow that continues as new at once, over and over, is held to this pace. */
#define RUN_INTERVAL_MIN_NS NS_PER_S

typedef HISTORY(WorkflowExecutionStartedEventAttributes) started_t;

/* How long the next run's first task waits; NULL: it doesn't. */
static Google__Protobuf__Duration *backoff(struct txn *t, Google__Protobuf__Duration *wanted)
{
	int64_t lived = t->now_ns - t->start->execution_time_ns;
	if (lived + pb_duration_ns(wanted) < RUN_INTERVAL_MIN_NS)
		return pb_duration(t->arena, RUN_INTERVAL_MIN_NS - lived);
	return wanted;
}

static TASK_QUEUE(TaskQueue) *normal_queue(struct arena *a, const char *name)
{
	TASK_QUEUE(TaskQueue) *q = pb_new0(a, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	q->name = arena_strdup(a, name);
	q->kind = QUEUE_KIND(NORMAL);
	return q;
}

/* Who the chain belongs to stays the same over all its runs. */
static void inherit(struct txn *t, const started_t *old, started_t *attr)
{
	attr->continued_execution_run_id = arena_strdup(t->arena, t->start->run_id);
	attr->workflow_execution_timeout = old->workflow_execution_timeout;
	attr->workflow_execution_expiration_time = old->workflow_execution_expiration_time;
	attr->priority = pb_unpack(t->arena, &COMMON_FN(priority__descriptor), t->start->priority);
	attr->prev_auto_reset_points = reset_points_hand_on(t);
	attr->parent_workflow_namespace = old->parent_workflow_namespace;
	attr->parent_workflow_namespace_id = old->parent_workflow_namespace_id;
	attr->parent_workflow_execution = old->parent_workflow_execution;
	attr->parent_initiated_event_id = old->parent_initiated_event_id;
	attr->parent_initiated_event_version = old->parent_initiated_event_version;
	if (old->parent_workflow_execution)
		attr->root_workflow_execution = old->root_workflow_execution;
}

static void begin(struct txn *t, const char *run_id, started_t *attr)
{
	struct txn *next = txn_begin_next(t);
	char request_id[37];
	txn_uuid(t, request_id);
	COMMON(Link) **links = arena_array(t->arena, COMMON(Link) *, t->start->n_start_links);
	for (size_t i = 0; i < t->start->n_start_links; i++)
		links[i] = pb_unpack(t->arena, &COMMON_FN(link__descriptor), t->start->start_links[i]);
	txn_exec(t)->new_execution_run_id = arena_strdup(t->arena, run_id);
	run_begin(next, &(struct run_beginning){
				.attributes = attr,
				.run_id = run_id,
				.request_id = request_id,
				.n_links = t->start->n_start_links,
				.links = links,
				.first_start_time_ns = t->start->first_start_time_ns,
			});
	next->start->parent = t->start->parent;
}

static started_t *old_attributes(struct txn *t)
{
	started_t *old = pb_unpack(t->arena, &HISTORY_FN(workflow_execution_started_event_attributes__descriptor),
				   t->start->start_attributes);
	assert(old);
	return old;
}

/* ------------------------------------------------------------------ retry and cron */

struct successor close_successor_of_completed(struct txn *t)
{
	struct successor s = {.initiator = INITIATOR(UNSPECIFIED)};
	s.backoff_ns =
		cron_backoff_ns(&t->config->zones, t->start->cron_schedule, t->start->execution_time_ns, t->now_ns);
	if (s.backoff_ns == CRON_NONE)
		return s;
	s.initiator = INITIATOR(CRON_SCHEDULE);
	txn_uuid(t, s.run_id);
	return s;
}

struct successor close_successor_of_failed(struct txn *t, const FAILURE(Failure) *failure,
					   Temporal__Api__Enums__V1__RetryState *ret_retry_state)
{
	struct retry_verdict v =
		retry_after(retry_policy_unpack(t->arena, t->start->retry_policy), t->start->attempt, t->now_ns,
			    t->start->execution_deadline_ns, failure, RETRY_DELAY_WITHIN_MAXIMUM);
	*ret_retry_state = v.state;
	if (v.state != RETRY_STATE(IN_PROGRESS))
		return close_successor_of_completed(t);
	struct successor s = {.initiator = INITIATOR(RETRY), .backoff_ns = v.interval_ns};
	txn_uuid(t, s.run_id);
	return s;
}

COMMON(Payloads) *close_inherited_result(struct txn *t)
{
	return old_attributes(t)->last_completion_result;
}

void close_begin_successor(struct txn *t, const struct successor *s, COMMON(Payloads) *result,
			   FAILURE(Failure) *failure)
{
	if (s->initiator == INITIATOR(UNSPECIFIED))
		return;
	const started_t *old = old_attributes(t);
	started_t *attr = run_begin_attributes(t, t->start->workflow_id, s->run_id, t->start->first_execution_run_id);
	inherit(t, old, attr);
	attr->workflow_type = old->workflow_type;
	attr->task_queue = normal_queue(t->arena, old->task_queue->name);
	attr->input = old->input;
	attr->header = old->header;
	attr->workflow_run_timeout = old->workflow_run_timeout;
	attr->workflow_task_timeout = old->workflow_task_timeout;
	attr->retry_policy = old->retry_policy;
	attr->cron_schedule = old->cron_schedule;
	attr->memo = old->memo;
	attr->search_attributes = old->search_attributes;
	attr->last_completion_result = result;
	attr->initiator = s->initiator;
	attr->attempt = s->initiator == INITIATOR(RETRY) ? t->start->attempt + 1 : 1;
	attr->continued_failure = failure;
	attr->first_workflow_task_backoff = backoff(t, pb_duration(t->arena, s->backoff_ns));
	begin(t, s->run_id, attr);
}

/* ------------------------------------------------------------------ continue as new */

void close_continue_as_new(struct txn *t, const char *run_id,
			   const COMMAND(ContinueAsNewWorkflowExecutionCommandAttributes) *c)
{
	started_t *attr = run_begin_attributes(t, t->start->workflow_id, run_id, t->start->first_execution_run_id);
	inherit(t, old_attributes(t), attr);
	attr->workflow_type = c->workflow_type;
	attr->task_queue = normal_queue(t->arena, c->task_queue->name);
	attr->input = c->input;
	attr->header = c->header;
	attr->workflow_run_timeout = c->workflow_run_timeout;
	attr->workflow_task_timeout = c->workflow_task_timeout;
	attr->retry_policy = c->retry_policy;
	attr->cron_schedule = c->cron_schedule;
	attr->memo = memo_without_nil(t->arena, c->memo);
	attr->search_attributes = sa_typed(t->arena, c->search_attributes, false);
	attr->initiator = c->initiator == INITIATOR(UNSPECIFIED) ? INITIATOR(WORKFLOW) : c->initiator;
	attr->attempt = attr->initiator == INITIATOR(RETRY) ? t->start->attempt + 1 : 1;
	attr->continued_failure = c->failure;
	attr->last_completion_result = c->last_completion_result;
	attr->first_workflow_task_backoff = backoff(t, c->backoff_start_interval);
	begin(t, run_id, attr);
}
