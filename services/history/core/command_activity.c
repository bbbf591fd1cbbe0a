/*
 * The commands that schedule an activity and ask for its cancellation.
 */
#include "services/history/core/activity.h"

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/txn_internal.h"

#define FAIRNESS_KEY_BYTES_MAX 64
#define RESERVED_QUEUE_PREFIX  "/_sys/"
#define INTERNAL_QUEUE_PREFIX  "temporal-sys-per-ns-"

typedef Temporal__Api__Command__V1__ScheduleActivityTaskCommandAttributes schedule_t;
typedef Temporal__Api__History__V1__ActivityTaskScheduledEventAttributes scheduled_t;

/* ------------------------------------------------------------------ what a command must say */

static bool is_internal_queue(const char *name)
{
	return strncmp(name, INTERNAL_QUEUE_PREFIX, strlen(INTERNAL_QUEUE_PREFIX)) == 0 ||
	       str_eq(name, "temporal-sys-worker-controller-per-ns-tq");
}

static const char *check_task_queue(const struct txn *t, const Temporal__Api__Taskqueue__V1__TaskQueue *queue)
{
	if (!queue)
		return "taskQueue is not set";
	if (str_empty(queue->name))
		return "missing task queue name";
	if (strlen(queue->name) > (size_t)t->config->id_bytes_max)
		return "taskQueue length exceeds limit";
	if (strncmp(queue->name, RESERVED_QUEUE_PREFIX, strlen(RESERVED_QUEUE_PREFIX)) == 0)
		return "task queue name cannot start with reserved prefix " RESERVED_QUEUE_PREFIX;
	if (is_internal_queue(queue->name) && !is_internal_queue(t->start->task_queue))
		return arena_printf(
			t->arena,
			"cannot use internal per-namespace task queue:%s (in parent component task queue: %s)",
			queue->name, t->start->task_queue);
	return NULL;
}

static const char *check_length(struct txn *t, const char *what, const char *value)
{
	size_t len = strlen(value);
	if (len <= (size_t)t->config->id_bytes_max)
		return NULL;
	return arena_printf(t->arena, "%s exceeds length limit. Length=%zu Limit=%d", what, len,
			    t->config->id_bytes_max);
}

static const char *check_priority(const Temporal__Api__Common__V1__Priority *p)
{
	if (!p)
		return NULL;
	if (p->priority_key < 0)
		return "invalid priorities: priority key can't be negative";
	if (p->fairness_key && strlen(p->fairness_key) > FAIRNESS_KEY_BYTES_MAX)
		return "invalid priorities: fairness key length exceeds limit";
	if (p->fairness_weight < 0)
		return "invalid priorities: must be greater than zero";
	return NULL;
}

/* All but the timeouts. */
static const char *check_schedule(struct txn *t, const schedule_t *attr,
				  Temporal__Api__Common__V1__RetryPolicy *retry_policy)
{
	const char *type = attr->activity_type ? attr->activity_type->name : "";
	const char *why = check_task_queue(t, attr->task_queue);
	if (why)
		return why;
	if (str_empty(attr->activity_id))
		return "activityId is not set";
	if (str_empty(type))
		return "activityType is not set";
	struct err bad_policy = retry_policy_validate(t->arena, retry_policy);
	if (err_is(bad_policy))
		return bad_policy.message;
	if ((why = check_length(t, "activityId", attr->activity_id)) || (why = check_length(t, "activityType", type)))
		return why;
	return check_priority(attr->priority);
}

/* ------------------------------------------------------------------ timeouts */

struct timeouts {
	int64_t schedule_to_close, schedule_to_start, start_to_close, heartbeat;
};

static const char *read_timeout(struct txn *t, const char *name, const Google__Protobuf__Duration *d, int64_t *ret)
{
	*ret = 0;
	if (!d)
		return NULL;
	Google__Protobuf__Duration cut = *d;
	const char *why = pb_duration_check(&cut);
	*ret = pb_duration_ns(&cut);
	return why ? arena_printf(t->arena, "invalid %s: %s", name, why) : NULL;
}

/* The limit of 0 is none. */
static int64_t at_most(int64_t ns, int64_t limit)
{
	return limit > 0 ? min_i64(ns, limit) : ns;
}

/* What is not given follows from what is; nothing outlives the run. */
static const char *resolve_timeouts(struct txn *t, const schedule_t *attr, struct timeouts *ret)
{
	struct timeouts o;
	const char *why;
	if ((why = read_timeout(t, "ScheduleToCloseTimeout", attr->schedule_to_close_timeout, &o.schedule_to_close)) ||
	    (why = read_timeout(t, "ScheduleToStartTimeout", attr->schedule_to_start_timeout, &o.schedule_to_start)) ||
	    (why = read_timeout(t, "StartToCloseTimeout", attr->start_to_close_timeout, &o.start_to_close)) ||
	    (why = read_timeout(t, "HeartbeatTimeout", attr->heartbeat_timeout, &o.heartbeat)))
		return why;

	int64_t run_timeout = t->start->run_timeout_ns;
	if (o.schedule_to_close > 0) {
		o.schedule_to_start = o.schedule_to_start > 0 ? min_i64(o.schedule_to_start, o.schedule_to_close)
							      : o.schedule_to_close;
		o.start_to_close =
			o.start_to_close > 0 ? min_i64(o.start_to_close, o.schedule_to_close) : o.schedule_to_close;
	} else if (o.start_to_close > 0) {
		o.schedule_to_close = run_timeout;
		if (o.schedule_to_start == 0)
			o.schedule_to_start = run_timeout;
	} else {
		return arena_printf(
			t->arena,
			"a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set on the activity. "
			"ActivityId=%s ActivityType=%s",
			attr->activity_id, attr->activity_type->name);
	}
	o.schedule_to_close = at_most(o.schedule_to_close, run_timeout);
	o.schedule_to_start = at_most(o.schedule_to_start, run_timeout);
	o.start_to_close = at_most(o.start_to_close, run_timeout);
	o.heartbeat = min_i64(at_most(o.heartbeat, run_timeout), o.start_to_close);
	*ret = o;
	return NULL;
}

/* ------------------------------------------------------------------ schedule */

static Temporal__Api__Taskqueue__V1__TaskQueue *with_kind(struct txn *t,
							  const Temporal__Api__Taskqueue__V1__TaskQueue *queue)
{
	Temporal__Api__Taskqueue__V1__TaskQueue *copy = arena_new0(t->arena, Temporal__Api__Taskqueue__V1__TaskQueue);
	*copy = *queue;
	if (copy->kind == TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_UNSPECIFIED)
		copy->kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
	return copy;
}

static int64_t write_scheduled(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command,
			       const schedule_t *attr, const struct timeouts *o,
			       Temporal__Api__Common__V1__RetryPolicy *retry_policy)
{
	struct txn *t = c->t;
	Temporal__Api__History__V1__HistoryEvent *e = txn_event(t, EVENT(ACTIVITY_TASK_SCHEDULED));
	scheduled_t *s = e->activity_task_scheduled_event_attributes;
	command_decorate(e, command);
	s->workflow_task_completed_event_id = c->completed_event_id;
	s->activity_id = attr->activity_id;
	s->activity_type = attr->activity_type;
	s->task_queue = with_kind(t, attr->task_queue);
	s->header = attr->header;
	s->input = attr->input;
	s->schedule_to_close_timeout = pb_duration(t->arena, o->schedule_to_close);
	s->schedule_to_start_timeout = pb_duration(t->arena, o->schedule_to_start);
	s->start_to_close_timeout = pb_duration(t->arena, o->start_to_close);
	s->heartbeat_timeout = pb_duration(t->arena, o->heartbeat);
	s->retry_policy = retry_policy;
	s->use_workflow_build_id = attr->use_workflow_build_id;
	s->priority = attr->priority;
	return e->event_id;
}

static void add_pending(struct command_ctx *c, int64_t event_id, const schedule_t *attr, const struct timeouts *o,
			const Temporal__Api__Common__V1__RetryPolicy *retry_policy)
{
	struct txn *t = c->t;
	Perdure__ActivityInfo *a = txn_activity_new(t, event_id, attr->activity_id);
	a->activity_type = attr->activity_type->name;
	a->task_queue = attr->task_queue->name;
	a->scheduled_time_ns = t->now_ns;
	a->first_scheduled_time_ns = t->now_ns;
	a->schedule_to_close_ns = o->schedule_to_close;
	a->schedule_to_start_ns = o->schedule_to_start;
	a->start_to_close_ns = o->start_to_close;
	a->heartbeat_timeout_ns = o->heartbeat;
	a->expiration_ns = o->schedule_to_close > 0 ? time_add_ns(t->now_ns, o->schedule_to_close) : 0;
	a->attempt = 1;
	a->retry_policy = pb_pack(t->arena, &retry_policy->base);
	a->stamp = txn_next_stamp(t);
	a->input = pb_pack(t->arena, attr->input ? &attr->input->base : NULL);
	a->header = pb_pack(t->arena, attr->header ? &attr->header->base : NULL);
	a->priority = pb_pack(t->arena, attr->priority ? &attr->priority->base : NULL);
	a->workflow_task_completed_event_id = c->completed_event_id;
	a->use_workflow_build_id = attr->use_workflow_build_id;
}

static bool within_limits(struct command_ctx *c, const schedule_t *attr)
{
	const struct txn *t = c->t;
	size_t input = attr->input ? protobuf_c_message_get_packed_size(&attr->input->base) : 0;
	if (t->config->blob_bytes_max > 0 && input > (size_t)t->config->blob_bytes_max) {
		c->failure.terminate = true;
		c->failure.cause = COMMAND_CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES);
		c->failure.message = "ScheduleActivityTaskCommandAttributes.Input exceeds size limit.";
		return false;
	}
	size_t pending = txn_activity_count(t);
	if (t->config->pending_activities_max > 0 && pending >= (size_t)t->config->pending_activities_max)
		return command_fail(c, COMMAND_CAUSE(PENDING_ACTIVITIES_LIMIT_EXCEEDED),
				    arena_printf(t->arena,
						 "the number of pending activities, %zu, has reached the per-workflow "
						 "limit of %d",
						 pending, t->config->pending_activities_max));
	if (txn_activity_by_id(t, attr->activity_id))
		return command_fail(c, COMMAND_CAUSE(SCHEDULE_ACTIVITY_DUPLICATE_ID),
				    arena_printf(t->arena,
						 "invalid history builder state for action: "
						 "add-activitytask-scheduled-event, ActivityID: %s",
						 attr->activity_id));
	return true;
}

bool command_schedule_activity(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad = COMMAND_CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case !=
	    TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES)
		return command_fail(c, bad,
				    "ScheduleActivityTaskCommandAttributes is not set on ScheduleActivityTaskCommand.");
	const schedule_t *attr = command->schedule_activity_task_command_attributes;
	Temporal__Api__Common__V1__RetryPolicy *retry_policy =
		retry_policy_with_defaults(t->config, t->arena, attr->retry_policy);
	struct timeouts timeouts;
	const char *why = check_schedule(t, attr, retry_policy);
	if (!why)
		why = resolve_timeouts(t, attr, &timeouts);
	if (!why && attr->use_workflow_build_id && !str_eq(attr->task_queue->name, t->start->task_queue))
		why = "Activity with UseCompatibleVersion cannot run on different task queue.";
	if (why)
		return command_fail(c, bad, why);
	if (!within_limits(c, attr))
		return false;

	int64_t event_id = write_scheduled(c, command, attr, &timeouts, retry_policy);
	add_pending(c, event_id, attr, &timeouts, retry_policy);
	if (attr->request_eager_execution) {
		c->eager = txn_grow(t->arena, c->eager, c->eager_count, &c->eager_cap, sizeof *c->eager);
		c->eager[c->eager_count++] = event_id;
	}
	return true;
}

/* ------------------------------------------------------------------ cancel */

/* Whether the activity's end is an event that the worker has not seen. */
static int64_t ended_activity(const Temporal__Api__History__V1__HistoryEvent *e)
{
	switch ((int)e->event_type) {
	case EVENT(ACTIVITY_TASK_COMPLETED):
		return e->activity_task_completed_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_FAILED):
		return e->activity_task_failed_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_TIMED_OUT):
		return e->activity_task_timed_out_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_CANCELED):
		return e->activity_task_canceled_event_attributes->scheduled_event_id;
	default:
		return 0;
	}
}

static bool ended_unseen(struct txn *t, int64_t scheduled_event_id)
{
	for (size_t i = 0; i < txn_buffered_count(t); i++)
		if (ended_activity(txn_buffered_event(t, i)) == scheduled_event_id)
			return true;
	for (size_t i = 0; i < t->event_count; i++)
		if (ended_activity(t->events[i]) == scheduled_event_id)
			return true;
	return false;
}

/* No worker has it, so nobody need be asked: it ends here, and the workflow hears of it. */
static void cancel_unstarted(struct command_ctx *c, const Perdure__ActivityInfo *a, int64_t requested_event_id)
{
	struct txn *t = c->t;
	static const char details[] = "\"ACTIVITY_ID_NOT_STARTED\"";
	Temporal__Api__Common__V1__Payload *payload =
		pb_new0(t->arena, Temporal__Api__Common__V1__Payload, temporal__api__common__v1__payload);
	payload->n_metadata = 1;
	payload->metadata = arena_array(t->arena, Temporal__Api__Common__V1__Payload__MetadataEntry *, 1);
	payload->metadata[0] = pb_new0(t->arena, Temporal__Api__Common__V1__Payload__MetadataEntry,
				       temporal__api__common__v1__payload__metadata_entry);
	payload->metadata[0]->key = (char *)"encoding";
	payload->metadata[0]->value = (ProtobufCBinaryData){strlen("json/plain"), (uint8_t *)"json/plain"};
	payload->data = (ProtobufCBinaryData){strlen(details), (uint8_t *)details};

	Temporal__Api__History__V1__HistoryEvent *e = activity_end(t, a, EVENT(ACTIVITY_TASK_CANCELED));
	Temporal__Api__History__V1__ActivityTaskCanceledEventAttributes *attr =
		e->activity_task_canceled_event_attributes;
	attr->details = pb_new0(t->arena, Temporal__Api__Common__V1__Payloads, temporal__api__common__v1__payloads);
	attr->details->n_payloads = 1;
	attr->details->payloads = arena_array(t->arena, Temporal__Api__Common__V1__Payload *, 1);
	attr->details->payloads[0] = payload;
	attr->latest_cancel_requested_event_id = requested_event_id;
	attr->scheduled_event_id = a->scheduled_event_id;
	attr->identity = (char *)c->identity;
	c->new_task = true;
}

bool command_cancel_activity(struct command_ctx *c, const Temporal__Api__Command__V1__Command *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad =
		COMMAND_CAUSE(BAD_REQUEST_CANCEL_ACTIVITY_ATTRIBUTES);
	struct txn *t = c->t;
	if (command->attributes_case !=
	    TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_REQUEST_CANCEL_ACTIVITY_TASK_COMMAND_ATTRIBUTES)
		return command_fail(
			c, bad,
			"RequestCancelActivityTaskCommandAttributes is not set on RequestCancelActivityTaskCommand.");
	int64_t id = command->request_cancel_activity_task_command_attributes->scheduled_event_id;
	if (id <= 0)
		return command_fail(c, bad, "ScheduledEventId is not set on RequestCancelActivityTaskCommand.");
	const Perdure__ActivityInfo *a = txn_activity(t, id);
	if (a ? a->cancel_requested : !ended_unseen(t, id))
		return command_fail(c, bad,
				    arena_printf(t->arena,
						 "invalid history builder state for action: "
						 "add-activitytask-cancel-requested-event, ScheduledEventID: %lld",
						 (long long)id));

	Temporal__Api__History__V1__HistoryEvent *e = txn_event(t, EVENT(ACTIVITY_TASK_CANCEL_REQUESTED));
	command_decorate(e, command);
	e->activity_task_cancel_requested_event_attributes->scheduled_event_id = id;
	e->activity_task_cancel_requested_event_attributes->workflow_task_completed_event_id = c->completed_event_id;
	if (!a)
		return true; /* it ended meanwhile; the request is told in the history all the same */
	Perdure__ActivityInfo *put = txn_activity_put(t, id);
	put->cancel_requested = true;
	put->cancel_requested_event_id = e->event_id;
	if (!activity_is_started(put))
		cancel_unstarted(c, put, e->event_id);
	return true;
}
