/*
 * DescribeWorkflowExecution: what a run is, and what it waits for.
 */
#include <temporal/api/activity/v1/message.pb-c.h>

#include "services/history/core/activity.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

#define ACTIVITY_STATE(name) TEMPORAL__API__ENUMS__V1__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_##name
#define TASK_STATE(name)     TEMPORAL__API__ENUMS__V1__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_##name

/* Clients are used to be told the first moment of the year 1 for a run without a deadline. */
#define NO_RUN_EXPIRATION_S (-62135596800LL)

struct view {
	const struct run *run;
	const Perdure__RunStart *start;
	const Perdure__RunExec *exec;
	const HISTORY(WorkflowExecutionStartedEventAttributes) *started; /* the first event's; may be NULL */
	int64_t now_ns;
	struct arena *arena;
};

/* ------------------------------------------------------------------ the run */

static COMMON(WorkflowExecution) *execution(struct arena *a, char *workflow_id, char *run_id)
{
	COMMON(WorkflowExecution) *e = pb_new0(a, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	e->workflow_id = workflow_id;
	e->run_id = run_id;
	return e;
}

static WORKFLOW(WorkflowExecutionConfig) *describe_config(const struct view *v)
{
	WORKFLOW(WorkflowExecutionConfig) *c =
		pb_new0(v->arena, WORKFLOW(WorkflowExecutionConfig), WORKFLOW_FN(workflow_execution_config));
	c->task_queue = pb_new0(v->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	c->task_queue->name = v->start->task_queue;
	c->task_queue->kind = QUEUE_KIND(NORMAL);
	if (v->started) {
		/* As the first event has them: absent is not zero. */
		c->workflow_execution_timeout = v->started->workflow_execution_timeout;
		c->workflow_run_timeout = v->started->workflow_run_timeout;
	}
	c->default_workflow_task_timeout = pb_duration(v->arena, v->start->task_timeout_ns);
	c->user_metadata =
		pb_unpack(v->arena, &temporal__api__sdk__v1__user_metadata__descriptor, v->start->user_metadata);
	return c;
}

/* An empty message rather than none. */
static void *unpack_or_empty(const struct view *v, const ProtobufCMessageDescriptor *descriptor,
			     ProtobufCBinaryData packed)
{
	void *m = pb_unpack(v->arena, descriptor, packed);
	return m ? m : pb_new(v->arena, descriptor);
}

static void describe_parent(const struct view *v, WORKFLOW(WorkflowExecutionInfo) *info)
{
	const Perdure__ParentLink *parent = pb_unpack(v->arena, &perdure__parent_link__descriptor, v->start->parent);
	if (!parent || str_empty(parent->run_id))
		return;
	info->parent_execution = execution(v->arena, parent->workflow_id, parent->run_id);
	info->parent_namespace_id = parent->namespace_id;
}

static WORKFLOW(WorkflowExecutionInfo) *describe_info(const struct view *v)
{
	const Perdure__RunStart *s = v->start;
	const Perdure__RunExec *x = v->exec;
	WORKFLOW(WorkflowExecutionInfo) *info =
		pb_new0(v->arena, WORKFLOW(WorkflowExecutionInfo), WORKFLOW_FN(workflow_execution_info));
	info->execution = execution(v->arena, s->workflow_id, s->run_id);
	info->type = pb_new0(v->arena, COMMON(WorkflowType), COMMON_FN(workflow_type));
	info->type->name = s->workflow_type;
	info->start_time = pb_timestamp(v->arena, s->start_time_ns);
	info->execution_time = pb_timestamp(v->arena, s->execution_time_ns);
	info->status = (Temporal__Api__Enums__V1__WorkflowExecutionStatus)x->status;
	info->history_length = x->next_event_id - 1;
	info->memo = unpack_or_empty(v, &COMMON_FN(memo__descriptor), x->memo);
	info->search_attributes = unpack_or_empty(v, &COMMON_FN(search_attributes__descriptor), x->search_attributes);
	info->auto_reset_points = unpack_or_empty(v, &WORKFLOW_FN(reset_points__descriptor), x->auto_reset_points);
	info->task_queue = s->task_queue;
	info->state_transition_count = x->state_transition_count;
	info->history_size_bytes = x->history_size_bytes;
	info->most_recent_worker_version_stamp =
		pb_unpack(v->arena, &COMMON_FN(worker_version_stamp__descriptor), x->most_recent_worker_version);
	info->assigned_build_id = x->assigned_build_id;
	info->root_execution = execution(v->arena, s->root_workflow_id, s->root_run_id);
	info->first_run_id = s->first_execution_run_id;
	info->priority = pb_unpack(v->arena, &COMMON_FN(priority__descriptor), s->priority);
	describe_parent(v, info);
	if (x->close_time_ns) {
		info->close_time = pb_timestamp(v->arena, x->close_time_ns);
		info->execution_duration = pb_duration(v->arena, x->close_time_ns - s->execution_time_ns);
	}
	return info;
}

static void describe_request_ids(const struct view *v, WORKFLOW(WorkflowExecutionExtendedInfo) *info)
{
	typedef WORKFLOW(WorkflowExecutionExtendedInfo__RequestIdInfosEntry) entry_t;
	size_t n = HASH_COUNT(v->run->request_ids);
	info->request_id_infos = arena_array(v->arena, entry_t *, n);
	for (const struct run_id_seen *i = v->run->request_ids; i; i = i->hh.next) {
		entry_t *entry = pb_new0(v->arena, entry_t,
					 WORKFLOW_FN(workflow_execution_extended_info__request_id_infos_entry));
		entry->key = i->id;
		entry->value = pb_new0(v->arena, WORKFLOW(RequestIdInfo), WORKFLOW_FN(request_id_info));
		entry->value->event_type = (Temporal__Api__Enums__V1__EventType)i->info->event_type;
		entry->value->event_id = i->info->event_id;
		entry->value->buffered = i->info->event_id == 0;
		info->request_id_infos[info->n_request_id_infos++] = entry;
	}
}

static WORKFLOW(WorkflowExecutionExtendedInfo) *describe_extended(const struct view *v)
{
	WORKFLOW(WorkflowExecutionExtendedInfo) *info = pb_new0(v->arena, WORKFLOW(WorkflowExecutionExtendedInfo),
								WORKFLOW_FN(workflow_execution_extended_info));
	info->execution_expiration_time = pb_timestamp_or_null(v->arena, v->start->execution_deadline_ns);
	info->run_expiration_time = pb_timestamp(v->arena, v->start->run_deadline_ns);
	if (!v->start->run_deadline_ns)
		info->run_expiration_time->seconds = NO_RUN_EXPIRATION_S;
	info->original_start_time = pb_timestamp(v->arena, v->start->start_time_ns);
	info->cancel_requested = v->exec->cancel_requested;
	describe_request_ids(v, info);
	return info;
}

/* ------------------------------------------------------------------ what is pending */

static WORKFLOW(PendingWorkflowTaskInfo) *describe_workflow_task(const struct view *v)
{
	const Perdure__WorkflowTask *w = v->exec->workflow_task;
	if (!w)
		return NULL;
	WORKFLOW(PendingWorkflowTaskInfo) *p =
		pb_new0(v->arena, WORKFLOW(PendingWorkflowTaskInfo), WORKFLOW_FN(pending_workflow_task_info));
	bool started = !run_workflow_task_waits(w);
	p->state = started ? TASK_STATE(STARTED) : TASK_STATE(SCHEDULED);
	p->scheduled_time = pb_timestamp(v->arena, w->scheduled_time_ns);
	p->original_scheduled_time = pb_timestamp(v->arena, w->original_scheduled_time_ns);
	p->attempt = w->attempt;
	if (started)
		p->started_time = pb_timestamp(v->arena, w->started_time_ns);
	return p;
}

static Temporal__Api__Enums__V1__PendingActivityState activity_state(const Perdure__ActivityInfo *a)
{
	if (a->cancel_requested)
		return ACTIVITY_STATE(CANCEL_REQUESTED);
	if (activity_is_started(a))
		return a->paused ? ACTIVITY_STATE(PAUSE_REQUESTED) : ACTIVITY_STATE(STARTED);
	return a->paused ? ACTIVITY_STATE(PAUSED) : ACTIVITY_STATE(SCHEDULED);
}

static Temporal__Api__Activity__V1__ActivityOptions *
activity_options(const struct view *v, const Perdure__ActivityInfo *a, const COMMON(RetryPolicy) *policy)
{
	Temporal__Api__Activity__V1__ActivityOptions *o = pb_new0(
		v->arena, Temporal__Api__Activity__V1__ActivityOptions, temporal__api__activity__v1__activity_options);
	o->task_queue = pb_new0(v->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	o->task_queue->name = a->task_queue;
	o->task_queue->normal_name = a->task_queue;
	o->schedule_to_close_timeout = pb_duration(v->arena, a->schedule_to_close_ns);
	o->schedule_to_start_timeout = pb_duration(v->arena, a->schedule_to_start_ns);
	o->start_to_close_timeout = pb_duration(v->arena, a->start_to_close_ns);
	o->heartbeat_timeout = pb_duration(v->arena, a->heartbeat_timeout_ns);
	o->priority = pb_unpack(v->arena, &COMMON_FN(priority__descriptor), a->priority);
	o->retry_policy = pb_new0(v->arena, COMMON(RetryPolicy), COMMON_FN(retry_policy));
	if (policy) {
		o->retry_policy->initial_interval = policy->initial_interval;
		o->retry_policy->backoff_coefficient = policy->backoff_coefficient;
		o->retry_policy->maximum_interval = policy->maximum_interval;
		o->retry_policy->maximum_attempts = policy->maximum_attempts;
	}
	return o;
}

/* What its attempts are at: the one before, and the one that waits. */
static void describe_attempts(const struct view *v, const Perdure__ActivityInfo *a, WORKFLOW(PendingActivityInfo) *p)
{
	p->attempt = a->attempt < 1 ? 1 : a->attempt;
	p->last_failure = pb_unpack(v->arena, &FAILURE_FN(failure__descriptor), a->last_failure);
	p->last_attempt_complete_time = pb_timestamp_or_null(v->arena, a->last_attempt_completed_time_ns);
	p->last_worker_identity = str_empty(a->started_identity) ? a->last_worker_identity : a->started_identity;
	p->last_started_time = pb_timestamp_or_null(v->arena, a->started_time_ns);
	p->scheduled_time = pb_timestamp(v->arena, a->scheduled_time_ns);
	p->expiration_time = pb_timestamp_or_null(v->arena, a->expiration_ns);
	if (p->state != ACTIVITY_STATE(SCHEDULED) || v->now_ns >= a->scheduled_time_ns)
		return;
	p->next_attempt_schedule_time = pb_timestamp(v->arena, a->scheduled_time_ns);
	p->current_retry_interval = pb_duration(v->arena, a->scheduled_time_ns - a->last_attempt_completed_time_ns);
}

static WORKFLOW(PendingActivityInfo) *describe_activity(const struct view *v, const Perdure__ActivityInfo *a)
{
	const COMMON(RetryPolicy) *policy = retry_policy_unpack(v->arena, a->retry_policy);
	WORKFLOW(PendingActivityInfo) *p =
		pb_new0(v->arena, WORKFLOW(PendingActivityInfo), WORKFLOW_FN(pending_activity_info));
	p->activity_id = a->activity_id;
	p->activity_type = pb_new0(v->arena, COMMON(ActivityType), COMMON_FN(activity_type));
	p->activity_type->name = a->activity_type;
	p->state = activity_state(a);
	p->paused = a->paused;
	p->priority = pb_unpack(v->arena, &COMMON_FN(priority__descriptor), a->priority);
	p->maximum_attempts = policy ? policy->maximum_attempts : 0;
	if (a->last_heartbeat_time_ns) {
		p->last_heartbeat_time = pb_timestamp(v->arena, a->last_heartbeat_time_ns);
		p->heartbeat_details = pb_unpack(v->arena, &COMMON_FN(payloads__descriptor), a->heartbeat_details);
	}
	describe_attempts(v, a, p);
	p->activity_options = activity_options(v, a, policy);
	return p;
}

static void describe_activities(const struct view *v, WS(DescribeWorkflowExecutionResponse) *resp)
{
	size_t n = HASH_COUNT(v->run->activities);
	resp->pending_activities = arena_array(v->arena, WORKFLOW(PendingActivityInfo) *, n);
	for (const struct run_activity *i = v->run->activities; i; i = i->hh.next)
		resp->pending_activities[resp->n_pending_activities++] = describe_activity(v, i->info);
}

/* ------------------------------------------------------------------ all of it */

struct err core_describe(const struct run *run, const struct core_config *config, struct arena *arena, int64_t now_ns,
			 const char *namespace_name, WS(DescribeWorkflowExecutionResponse) *resp)
{
	(void)config;
	(void)namespace_name;
	struct view v = {.run = run, .start = run->start, .exec = run->exec, .now_ns = now_ns, .arena = arena};
	v.started = pb_unpack(arena, &HISTORY_FN(workflow_execution_started_event_attributes__descriptor),
			      run->start->start_attributes);
	resp->execution_config = describe_config(&v);
	resp->workflow_execution_info = describe_info(&v);
	resp->workflow_extended_info = describe_extended(&v);
	resp->pending_workflow_task = describe_workflow_task(&v);
	describe_activities(&v, resp);
	return err_ok;
}
