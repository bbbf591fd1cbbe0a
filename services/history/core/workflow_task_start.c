/*
 * A worker takes a workflow task: the start, the answer to it, and the start taken back.
 */
#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/txn_internal.h"
#include "services/history/core/workflow_task.h"

#define OUTCOME(name) PERDURE__START_TASK_REPLY__OUTCOME__##name

/* ------------------------------------------------------------------ the started event */

/* Whether the history has grown so long that the workflow should continue as new. */
static void set_size_advice(struct txn *t, Perdure__WorkflowTask *w)
{
	const Perdure__RunExec *exec = txn_peek(t);
	int32_t *reasons = arena_array(t->arena, int32_t, 2);
	size_t n = 0;
	if (exec->history_size_bytes >= t->config->history_bytes_suggest_can)
		reasons[n++] = SUGGEST_CAN(HISTORY_SIZE_TOO_LARGE);
	if (exec->next_event_id >= t->config->history_events_suggest_can)
		reasons[n++] = SUGGEST_CAN(TOO_MANY_HISTORY_EVENTS);
	w->history_size_bytes = exec->history_size_bytes;
	w->suggest_continue_as_new = n > 0;
	w->suggest_continue_as_new_reasons = reasons;
	w->n_suggest_continue_as_new_reasons = n;
}

static void fill_started(struct txn *t, const Perdure__WorkflowTask *w, const char *identity,
			 COMMON(WorkerVersionStamp) *version, HISTORY(WorkflowTaskStartedEventAttributes) *attr)
{
	attr->scheduled_event_id = w->scheduled_event_id;
	attr->identity = arena_strdup(t->arena, identity);
	attr->request_id = w->request_id;
	attr->history_size_bytes = w->history_size_bytes;
	attr->suggest_continue_as_new = w->suggest_continue_as_new;
	attr->n_suggest_continue_as_new_reasons = w->n_suggest_continue_as_new_reasons;
	attr->suggest_continue_as_new_reasons = arena_alloc(
		t->arena, w->n_suggest_continue_as_new_reasons * sizeof *attr->suggest_continue_as_new_reasons);
	for (size_t i = 0; i < w->n_suggest_continue_as_new_reasons; i++)
		attr->suggest_continue_as_new_reasons[i] = w->suggest_continue_as_new_reasons[i];
	attr->worker_version = version;
}

static int64_t started_event(struct txn *t, const char *identity, COMMON(WorkerVersionStamp) *version)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_TASK_STARTED));
	e->event_time = pb_timestamp(t->arena, w->started_time_ns);
	fill_started(t, w, identity, version, e->workflow_task_started_event_attributes);
	return e->event_id;
}

void workflow_task_materialize(struct txn *t, const char *identity, COMMON(WorkerVersionStamp) *version)
{
	Perdure__WorkflowTask *w = txn_workflow_task_put(t);
	w->scheduled_event_id = workflow_task_scheduled_event(t, w->scheduled_time_ns)->event_id;
	w->started_event_id = started_event(t, identity, version);
	w->kind = PERDURE__WORKFLOW_TASK__KIND__NORMAL;
}

/* ------------------------------------------------------------------ the start */

/* The nonce tells this start from one that a successor of this shard's owner makes with the same ids. */
static uint64_t start_nonce(struct txn *t)
{
	return t->shard_epoch << 40 | (txn_random_u64(t) & ((1ULL << 40) - 1));
}

static void take(struct txn *t, Perdure__WorkflowTask *w, const char *request_id, const char *identity)
{
	w->request_id = arena_strdup(t->arena, request_id);
	w->identity = arena_strdup(t->arena, identity);
	w->started_time_ns = t->now_ns;
	w->start_nonce = start_nonce(t);
}

void workflow_task_start(struct txn *t, const char *request_id, const char *identity,
			 COMMON(WorkerVersionStamp) *version)
{
	Perdure__WorkflowTask *w = txn_workflow_task_put(t);
	assert(run_workflow_task_waits(w));
	take(t, w, request_id, identity);
	if (w->started_event_id) /* handed back before: its event is in the history */
		return;
	set_size_advice(t, w);
	if (w->kind == PERDURE__WORKFLOW_TASK__KIND__TRANSIENT && w->scheduled_event_id != txn_next_event_id(t)) {
		/* Something was written since: it is a first attempt at something new, scheduled only now. */
		w->kind = PERDURE__WORKFLOW_TASK__KIND__NORMAL;
		w->attempt = txn_exec(t)->workflow_task_attempt = 1;
		w->scheduled_event_id = workflow_task_scheduled_event(t, t->now_ns)->event_id;
	}
	w->started_event_id = w->kind == PERDURE__WORKFLOW_TASK__KIND__TRANSIENT ? w->scheduled_event_id + 1
										 : started_event(t, identity, version);
}

static COMMON(WorkerVersionStamp) *version_of(struct txn *t, const WS(PollWorkflowTaskQueueRequest) *poll)
{
	const COMMON(WorkerVersionCapabilities) *c = poll ? poll->worker_version_capabilities : NULL;
	if (!c || str_empty(c->build_id) || (c->use_versioning && !str_empty(c->deployment_series_name)))
		return NULL;
	/* Workers of a deployment tell their version when they answer. */
	if (poll->deployment_options && !str_empty(poll->deployment_options->deployment_name) &&
	    poll->deployment_options->worker_versioning_mode ==
		    TEMPORAL__API__ENUMS__V1__WORKER_VERSIONING_MODE__WORKER_VERSIONING_MODE_VERSIONED)
		return NULL;
	COMMON(WorkerVersionStamp) *v = pb_new0(t->arena, COMMON(WorkerVersionStamp), COMMON_FN(worker_version_stamp));
	v->build_id = c->build_id;
	v->use_versioning = c->use_versioning;
	return v;
}

/*
 * Stickiness is kept until its worker really fails to take the task: a worker that polls the normal queue instead ends
 * it, and one that polls a sticky queue the run has left gets nothing. Returns false for the latter.
 */
static bool settle_queue(struct txn *t, const WS(PollWorkflowTaskQueueRequest) *poll)
{
	const TASK_QUEUE(TaskQueue) *polled = poll ? poll->task_queue : NULL;
	const char *sticky = txn_peek(t)->sticky_task_queue;
	if (!polled)
		return true;
	if (str_empty(sticky))
		return polled->kind != QUEUE_KIND(STICKY);
	if (!str_eq(sticky, polled->name)) {
		workflow_task_clear_sticky(t);
		txn_workflow_task_put(t)->sticky = false;
	}
	return true;
}

struct err core_start_workflow_task(struct txn *t, const Perdure__StartTask *req,
				    const WS(PollWorkflowTaskQueueRequest) *poll,
				    Perdure__StartTaskReply__Outcome *ret_outcome,
				    WS(PollWorkflowTaskQueueResponse) *resp)
{
	*ret_outcome = OUTCOME(GONE);
	const Perdure__WorkflowTask *w = txn_open(t) ? txn_workflow_task(t) : NULL;
	if (!w || !req->task || w->stamp != req->task->stamp)
		return err_ok;
	if (!run_workflow_task_waits(w)) {
		bool same = !str_empty(req->request_id) && str_eq(w->request_id, req->request_id);
		*ret_outcome = same ? OUTCOME(STARTED) : OUTCOME(ALREADY_STARTED);
		if (same)
			workflow_task_response(t, resp);
		return err_ok;
	}
	if (!settle_queue(t, poll))
		return err_ok;
	workflow_task_start(t, req->request_id, req->identity, version_of(t, poll));
	workflow_task_response(t, resp);
	*ret_outcome = OUTCOME(STARTED);
	return err_ok;
}

/* ------------------------------------------------------------------ the answer */

static ProtobufCBinaryData token(struct txn *t, const Perdure__WorkflowTask *w)
{
	Perdure__TaskToken token = PERDURE__TASK_TOKEN__INIT;
	token.kind = PERDURE__TASK_TOKEN__KIND__WORKFLOW;
	token.namespace_id = t->start->namespace_id;
	token.workflow_id = t->start->workflow_id;
	token.run_id = t->start->run_id;
	token.scheduled_event_id = w->scheduled_event_id;
	token.started_event_id = w->started_event_id;
	token.attempt = w->attempt;
	token.start_nonce = w->start_nonce;
	token.stamp = w->stamp;
	token.task_queue = t->start->task_queue;
	token.workflow_type = t->start->workflow_type;
	txn_trace_token(t, &token);
	return pb_pack(t->arena, &token.base);
}

void workflow_task_response(struct txn *t, WS(PollWorkflowTaskQueueResponse) *resp)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	struct arena *a = t->arena;
	resp->task_token = token(t, w);
	resp->workflow_execution = pb_new0(a, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	resp->workflow_execution->workflow_id = t->start->workflow_id;
	resp->workflow_execution->run_id = t->start->run_id;
	resp->workflow_type = pb_new0(a, COMMON(WorkflowType), COMMON_FN(workflow_type));
	resp->workflow_type->name = t->start->workflow_type;
	resp->previous_started_event_id = txn_peek(t)->last_completed_workflow_task_started_event_id;
	resp->started_event_id = w->started_event_id;
	resp->attempt = w->attempt;
	resp->workflow_execution_task_queue = workflow_task_normal_queue(t);
	resp->scheduled_time = pb_timestamp(a, w->scheduled_time_ns);
	resp->started_time = pb_timestamp(a, w->started_time_ns);
}

static HISTORY(HistoryEvent) *loose_event(struct txn *t, Temporal__Api__Enums__V1__EventType type, int64_t id,
					  int64_t time_ns)
{
	HISTORY(HistoryEvent) *e = txn_event_new(t, type);
	e->event_id = id;
	e->event_time = pb_timestamp(t->arena, time_ns);
	return e;
}

void core_transient_events(struct txn *t, HISTORY(HistoryEvent) **ret_scheduled, HISTORY(HistoryEvent) **ret_started)
{
	*ret_scheduled = *ret_started = NULL;
	const Perdure__WorkflowTask *w = txn_open(t) ? txn_workflow_task(t) : NULL;
	/* One that something was written behind is not the history's end any more. */
	if (!w || w->kind == PERDURE__WORKFLOW_TASK__KIND__NORMAL || w->scheduled_event_id != txn_next_event_id(t))
		return;
	HISTORY(HistoryEvent) *e =
		loose_event(t, EVENT(WORKFLOW_TASK_SCHEDULED), w->scheduled_event_id, w->scheduled_time_ns);
	e->workflow_task_scheduled_event_attributes->task_queue = workflow_task_queue(t);
	e->workflow_task_scheduled_event_attributes->start_to_close_timeout = pb_duration(t->arena, w->timeout_ns);
	e->workflow_task_scheduled_event_attributes->attempt = w->attempt;
	*ret_scheduled = e;
	if (!w->started_event_id)
		return;
	e = loose_event(t, EVENT(WORKFLOW_TASK_STARTED), w->started_event_id, w->started_time_ns);
	fill_started(t, w, w->identity, NULL, e->workflow_task_started_event_attributes);
	*ret_started = e;
}

/* ------------------------------------------------------------------ taken back */

struct err core_revert_workflow_task(struct txn *t, const Perdure__RevertStart *req)
{
	const Perdure__WorkflowTask *w = txn_open(t) ? txn_workflow_task(t) : NULL;
	if (!w || run_workflow_task_waits(w) || !req->task || w->stamp != req->task->stamp ||
	    !str_eq(w->request_id, req->request_id))
		return err_ok;
	/*
	 * The started event, once written, stays: the next worker continues with it. A transient start wrote nothing
	 * and is undone.
	 */
	Perdure__WorkflowTask *put = txn_workflow_task_put(t);
	put->request_id = NULL;
	put->identity = NULL;
	put->stamp = txn_next_stamp(t);
	put->start_nonce = 0;
	if (put->kind == PERDURE__WORKFLOW_TASK__KIND__TRANSIENT) {
		put->started_event_id = 0;
		put->started_time_ns = 0;
	}
	if (put->sticky)
		put->schedule_to_start_deadline_ns =
			time_add_ns(t->now_ns, t->config->sticky_schedule_to_start_default_ns);
	return err_ok;
}
