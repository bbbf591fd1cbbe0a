/*
 * Giving an activity to a worker: by a poll, or with the answer of the workflow task that scheduled it; and taking it
 * back when the poll's answer did not go out, or trying again when nobody knows whether it did.
 */
#include "services/history/core/activity.h"

#include <inttypes.h>

#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

/* Gateways report on a hand-out within milliseconds, and matching gives it to another after seconds. A worker that has
 * been at it for longer is not disturbed. */
#define LOST_START_AGE_NS (5 * NS_PER_S)

typedef WS(PollActivityTaskQueueResponse) task_t;

/* ------------------------------------------------------------------ what the worker is told */

static ProtobufCBinaryData make_token(struct txn *t, const Perdure__ActivityInfo *a)
{
	Perdure__TaskToken token = PERDURE__TASK_TOKEN__INIT;
	token.kind = PERDURE__TASK_TOKEN__KIND__ACTIVITY;
	token.namespace_id = t->start->namespace_id;
	token.workflow_id = t->start->workflow_id;
	token.run_id = t->start->run_id;
	token.scheduled_event_id = a->scheduled_event_id;
	token.attempt = a->attempt;
	token.start_nonce = a->start_nonce;
	token.activity_id = a->activity_id;
	token.activity_type = a->activity_type;
	token.workflow_type = t->start->workflow_type;
	token.task_queue = a->task_queue;
	token.stamp = a->stamp;
	txn_trace_token(t, &token);
	return pb_pack(t->arena, &token.base);
}

/* Copies what the activity's state holds: this transition's delta is going to replace it. */
static void fill_task(struct txn *t, const Perdure__ActivityInfo *a, task_t *task)
{
	struct arena *arena = t->arena;
	task->task_token = make_token(t, a);
	task->workflow_namespace = (char *)t->namespace_name;
	task->workflow_type =
		pb_new0(arena, Temporal__Api__Common__V1__WorkflowType, temporal__api__common__v1__workflow_type);
	task->workflow_type->name = t->start->workflow_type;
	task->workflow_execution = pb_new0(arena, Temporal__Api__Common__V1__WorkflowExecution,
					   temporal__api__common__v1__workflow_execution);
	task->workflow_execution->workflow_id = t->start->workflow_id;
	task->workflow_execution->run_id = t->start->run_id;
	task->activity_type =
		pb_new0(arena, Temporal__Api__Common__V1__ActivityType, temporal__api__common__v1__activity_type);
	task->activity_type->name = arena_strdup(arena, a->activity_type);
	task->activity_id = arena_strdup(arena, a->activity_id);
	task->header = pb_unpack(arena, &temporal__api__common__v1__header__descriptor, a->header);
	task->input = pb_unpack(arena, &temporal__api__common__v1__payloads__descriptor, a->input);
	task->heartbeat_details =
		pb_unpack(arena, &temporal__api__common__v1__payloads__descriptor, a->heartbeat_details);
	task->scheduled_time = pb_timestamp(arena, a->first_scheduled_time_ns);
	task->current_attempt_scheduled_time = pb_timestamp(arena, a->scheduled_time_ns);
	task->started_time = pb_timestamp(arena, a->started_time_ns);
	task->attempt = a->attempt;
	task->schedule_to_close_timeout = pb_duration(arena, a->schedule_to_close_ns);
	task->start_to_close_timeout = pb_duration(arena, a->start_to_close_ns);
	task->heartbeat_timeout = pb_duration(arena, a->heartbeat_timeout_ns);
	task->retry_policy = retry_policy_unpack(arena, a->retry_policy);
	task->priority = activity_priority(arena, t->start, a);
}

/* ------------------------------------------------------------------ by a poll */

/* What became of the task that a gateway holds: STARTED when it may be started. */
static Perdure__StartTaskReply__Outcome judge(const struct txn *t, const Perdure__StartTask *req,
					      const Perdure__ActivityInfo *a)
{
	if (!txn_open(t) || !a || a->paused)
		return PERDURE__START_TASK_REPLY__OUTCOME__GONE;
	if (a->stamp != req->task->stamp || a->attempt != req->task->attempt)
		return PERDURE__START_TASK_REPLY__OUTCOME__GONE;
	if (activity_is_started(a) && !str_eq(a->request_id, req->request_id))
		return PERDURE__START_TASK_REPLY__OUTCOME__ALREADY_STARTED;
	return PERDURE__START_TASK_REPLY__OUTCOME__STARTED;
}

struct err core_start_activity(struct txn *t, const Perdure__StartTask *req,
			       const WS(PollActivityTaskQueueRequest) *poll,
			       Perdure__StartTaskReply__Outcome *ret_outcome, task_t *resp)
{
	if (!req->task || str_empty(req->request_id))
		return err_static(ERR_INVALID_ARGUMENT, "an activity is started for a task and a poll's request id");
	const Perdure__ActivityInfo *a = txn_activity(t, req->task->scheduled_event_id);
	*ret_outcome = judge(t, req, a);
	if (*ret_outcome != PERDURE__START_TASK_REPLY__OUTCOME__STARTED)
		return err_ok;
	/* The same poll again: it gets the same answer, and nothing is written. */
	if (!activity_is_started(a)) {
		Perdure__ActivityInfo *started = txn_activity_put(t, a->scheduled_event_id);
		activity_begin_attempt(t, started, req->request_id, poll->identity);
		a = started;
	}
	fill_task(t, a, resp);
	return err_ok;
}

/* The attempt that this poll started, if it still runs. */
static const Perdure__ActivityInfo *started_by(const struct txn *t, const Perdure__RevertStart *req)
{
	const Perdure__ActivityInfo *a = txn_activity(t, req->task->scheduled_event_id);
	bool it = txn_open(t) && a && activity_is_started(a) && a->attempt == req->task->attempt &&
		  str_eq(a->request_id, req->request_id);
	return it ? a : NULL;
}

struct err core_revert_activity(struct txn *t, const Perdure__RevertStart *req)
{
	if (!req->task || str_empty(req->request_id))
		return err_static(ERR_INVALID_ARGUMENT, "a start is reverted by its task and its poll's request id");
	const Perdure__ActivityInfo *a = started_by(t, req);
	if (!a)
		return err_ok; /* it ended meanwhile, or was reverted before */
	Perdure__ActivityInfo *back = txn_activity_put(t, a->scheduled_event_id);
	back->started_time_ns = 0;
	back->start_nonce = 0;
	back->request_id = (char *)protobuf_c_empty_string;
	back->started_identity = back->last_worker_identity;
	back->stamp = txn_next_stamp(t);
	return err_ok;
}

/* Who forbids another attempt after a start-to-close timeout fears that the worker was at it: it may have been. */
static bool retried_unseen(struct txn *t, const Perdure__ActivityInfo *a)
{
	FAILURE(Failure) *as_if = failure_timeout(t->arena, "", TIMEOUT_TYPE(START_TO_CLOSE));
	return retry_failure_retryable(as_if, retry_policy_unpack(t->arena, a->retry_policy));
}

struct err core_lost_activity(struct txn *t, const Perdure__RevertStart *req)
{
	if (!req->task || str_empty(req->request_id))
		return err_static(ERR_INVALID_ARGUMENT, "a lost start is named by its task and its poll's request id");
	const Perdure__ActivityInfo *a = started_by(t, req);
	if (!a || a->stamp != req->task->stamp || a->last_heartbeat_time_ns >= a->started_time_ns ||
	    t->now_ns - a->started_time_ns > LOST_START_AGE_NS || !retried_unseen(t, a))
		return err_ok;
	/* Not a timeout, which it would say had passed. */
	FAILURE(Failure) *failure = failure_server(t->arena,
						   "the gateway was lost while it handed the activity to a worker: "
						   "whether this attempt ran is unknown",
						   false);
	activity_retry(t, a->scheduled_event_id, failure);
	return err_ok;
}

/* ------------------------------------------------------------------ with the workflow task's answer */

/* The same for the same answer, so that one that is repeated is recognised. */
static const char *eager_request_id(struct txn *t, uint64_t start_nonce)
{
	return arena_printf(t->arena, "eager-%016" PRIx64, start_nonce);
}

static void hand_eagerly(struct txn *t, const Perdure__ActivityInfo *a, WS(RespondWorkflowTaskCompletedResponse) *resp)
{
	task_t *task = pb_new0(t->arena, task_t, temporal__api__workflowservice__v1__poll_activity_task_queue_response);
	fill_task(t, a, task);
	resp->activity_tasks[resp->n_activity_tasks++] = task;
}

void activity_start_eager(struct command_ctx *c, WS(RespondWorkflowTaskCompletedResponse) *resp)
{
	struct txn *t = c->t;
	if (!txn_open(t) || c->eager_count == 0)
		return;
	resp->activity_tasks = arena_array(t->arena, task_t *, c->eager_count);
	resp->n_activity_tasks = 0;
	for (size_t i = 0; i < c->eager_count; i++) {
		/* Canceled by a later command of the same answer. */
		if (!txn_activity(t, c->eager[i]))
			continue;
		Perdure__ActivityInfo *a = txn_activity_put(t, c->eager[i]);
		activity_begin_attempt(t, a, eager_request_id(t, c->start_nonce), c->identity);
		hand_eagerly(t, a, resp);
	}
}

void activity_repeat_eager(struct txn *t, uint64_t start_nonce, WS(RespondWorkflowTaskCompletedResponse) *resp)
{
	const char *request_id = eager_request_id(t, start_nonce);
	resp->activity_tasks = arena_array(t->arena, task_t *, HASH_COUNT(t->run->activities));
	resp->n_activity_tasks = 0;
	for (const struct run_activity *a = t->run->activities; a; a = a->hh.next)
		if (activity_is_started(a->info) && str_eq(a->info->request_id, request_id))
			hand_eagerly(t, a->info, resp);
}
