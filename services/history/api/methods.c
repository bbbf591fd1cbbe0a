/*
 * The public methods that a run's shard serves: which run each means, and what it does to it.
 */
#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "services/history/api/call.h"

#define REQ(c, type) ((const WS(type) *)(c)->request)

/* ------------------------------------------------------------------ which run */

static const char *run_of(const Temporal__Api__Common__V1__WorkflowExecution *e)
{
	return e ? e->run_id : NULL;
}

#define TARGET(fn, type, field)                                                                                        \
	static struct err fn(struct call *c)                                                                           \
	{                                                                                                              \
		c->run_id = run_of(REQ(c, type)->field);                                                               \
		return err_ok;                                                                                         \
	}

TARGET(target_signal, SignalWorkflowExecutionRequest, workflow_execution)
TARGET(target_cancel, RequestCancelWorkflowExecutionRequest, workflow_execution)
TARGET(target_terminate, TerminateWorkflowExecutionRequest, workflow_execution)
TARGET(target_delete, DeleteWorkflowExecutionRequest, workflow_execution)
TARGET(target_describe, DescribeWorkflowExecutionRequest, execution)
TARGET(target_query, QueryWorkflowRequest, execution)
TARGET(target_reset_sticky, ResetStickyTaskQueueRequest, execution)

static struct err bad_token(void)
{
	return err_static(ERR_INVALID_ARGUMENT, "Invalid TaskToken.");
}

static struct err token_of(struct call *c, ProtobufCBinaryData bytes)
{
	c->token = bytes.len ? perdure__task_token__unpack(arena_pb(c->arena), bytes.len, bytes.data) : NULL;
	if (!c->token || str_empty(c->token->run_id))
		return bad_token();
	c->run_id = c->token->run_id;
	return err_ok;
}

#define TARGET_TOKEN(fn, type)                                                                                         \
	static struct err fn(struct call *c)                                                                           \
	{                                                                                                              \
		return token_of(c, REQ(c, type)->task_token);                                                          \
	}

TARGET_TOKEN(target_wft_completed, RespondWorkflowTaskCompletedRequest)
TARGET_TOKEN(target_wft_failed, RespondWorkflowTaskFailedRequest)
TARGET_TOKEN(target_query_completed, RespondQueryTaskCompletedRequest)
TARGET_TOKEN(target_act_completed, RespondActivityTaskCompletedRequest)
TARGET_TOKEN(target_act_failed, RespondActivityTaskFailedRequest)
TARGET_TOKEN(target_act_canceled, RespondActivityTaskCanceledRequest)
TARGET_TOKEN(target_heartbeat, RecordActivityTaskHeartbeatRequest)

#define TARGET_ID(fn, type)                                                                                            \
	static struct err fn(struct call *c)                                                                           \
	{                                                                                                              \
		c->run_id = REQ(c, type)->run_id;                                                                      \
		return err_ok;                                                                                         \
	}

TARGET_ID(target_act_completed_id, RespondActivityTaskCompletedByIdRequest)
TARGET_ID(target_act_failed_id, RespondActivityTaskFailedByIdRequest)
TARGET_ID(target_act_canceled_id, RespondActivityTaskCanceledByIdRequest)
TARGET_ID(target_heartbeat_id, RecordActivityTaskHeartbeatByIdRequest)

/* A page token names the run that the first page was of. */
static struct err page_target(struct call *c, ProtobufCBinaryData token,
			      const Temporal__Api__Common__V1__WorkflowExecution *e)
{
	c->run_id = run_of(e);
	if (!token.len)
		return err_ok;
	Perdure__HistoryPageToken *t = perdure__history_page_token__unpack(arena_pb(c->arena), token.len, token.data);
	if (!t || str_empty(t->run_id))
		return err_static(ERR_INVALID_ARGUMENT, "Invalid NextPageToken.");
	if (!str_empty(c->run_id) && !str_eq(c->run_id, t->run_id))
		return err_static(ERR_INVALID_ARGUMENT, "RunId in the request does not match the NextPageToken.");
	c->run_id = t->run_id;
	return err_ok;
}

static struct err target_history(struct call *c)
{
	return page_target(c, REQ(c, GetWorkflowExecutionHistoryRequest)->next_page_token,
			   REQ(c, GetWorkflowExecutionHistoryRequest)->execution);
}

static struct err target_reverse(struct call *c)
{
	return page_target(c, REQ(c, GetWorkflowExecutionHistoryReverseRequest)->next_page_token,
			   REQ(c, GetWorkflowExecutionHistoryReverseRequest)->execution);
}

/* ------------------------------------------------------------------ starting */

static struct err start_new(struct call *c, struct workflow *wf)
{
	WS(StartWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
	struct txn t;
	call_begin(c, &t, wf, NULL);
	try(core_start(&t, c->request, &resp));
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, NULL);
	return err_ok;
}

/* The open run is terminated and says by which; both in one commit. */
static struct err replace(struct call *c, struct workflow *wf, struct cached_run *run)
{
	WS(StartWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
	struct txn old, t;
	call_begin(c, &old, wf, run);
	call_begin(c, &t, wf, NULL);
	try(core_start(&t, c->request, &resp));
	core_terminate_for_start(&old, t.start->run_id);
	transition_commit(&old, wf, run);
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, NULL);
	return err_ok;
}

static struct err attach(struct call *c, struct workflow *wf, struct cached_run *run)
{
	WS(StartWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
	struct txn t;
	call_begin(c, &t, wf, run);
	try(core_start_attach(&t, c->request, &resp));
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, run);
	return err_ok;
}

static struct err deduplicated(struct call *c, struct cached_run *run)
{
	WS(StartWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
	core_start_answer_existing(run->run, c->envelope->namespace_, c->request, c->arena, &resp);
	call_pack(c, &resp.base);
	call_after(c, run);
	return err_ok;
}

static struct err step_start(struct call *c, struct workflow *wf, struct cached_run *run)
{
	int64_t now = env_wall_ns(c->h->env);
	try(core_start_validate(&c->h->config.core, c->request, now, c->arena));
	struct start_decision d = core_start_decide(run ? run->run : NULL, c->request, now, c->arena);
	switch (d.what) {
	case START_NEW:
		return start_new(c, wf);
	case START_DEDUPLICATED:
		return deduplicated(c, run);
	case START_USE_EXISTING:
		return attach(c, wf, run);
	case START_TERMINATE_EXISTING:
		return replace(c, wf, run);
	case START_REFUSED:
		return d.refused;
	}
	return err_static(ERR_INTERNAL, "unknown decision about a start");
}

/* ------------------------------------------------------------------ transitions with an empty response */

#define STEP_TRANSITION(fn, ...)                                                                                       \
	static struct err fn(struct call *c, struct workflow *wf, struct cached_run *run)                              \
	{                                                                                                              \
		struct txn t;                                                                                          \
		call_begin(c, &t, wf, run);                                                                            \
		try(__VA_ARGS__);                                                                                      \
		call_commit(c, &t, wf, run);                                                                           \
		return err_ok;                                                                                         \
	}

static struct activity_ref by_token(const struct call *c)
{
	return (struct activity_ref){.token = c->token};
}

static struct activity_ref by_id(const char *activity_id)
{
	return (struct activity_ref){.activity_id = activity_id};
}

static struct err step_signal(struct call *c, struct workflow *wf, struct cached_run *run)
{
	WS(SignalWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_RESPONSE__INIT;
	struct txn t;
	call_begin(c, &t, wf, run);
	try(core_signal(&t, c->request));
	core_signal_answer(run->run, c->envelope->namespace_, c->request, c->arena, &resp);
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, run);
	return err_ok;
}

STEP_TRANSITION(step_cancel, core_request_cancel(&t, c->request))
STEP_TRANSITION(step_terminate, core_terminate(&t, c->request))
static struct err step_delete(struct call *c, struct workflow *wf, struct cached_run *run)
{
	struct txn t;
	call_begin(c, &t, wf, run);
	core_delete(&t);
	call_commit(c, &t, wf, run);
	return err_ok;
}

STEP_TRANSITION(step_reset_sticky, core_reset_sticky(&t))
STEP_TRANSITION(step_act_completed,
		core_complete_activity(&t, by_token(c), REQ(c, RespondActivityTaskCompletedRequest)->result,
				       REQ(c, RespondActivityTaskCompletedRequest)->identity))
STEP_TRANSITION(step_act_canceled,
		core_cancel_activity(&t, by_token(c), REQ(c, RespondActivityTaskCanceledRequest)->details,
				     REQ(c, RespondActivityTaskCanceledRequest)->identity))
STEP_TRANSITION(step_act_completed_id,
		core_complete_activity(&t, by_id(REQ(c, RespondActivityTaskCompletedByIdRequest)->activity_id),
				       REQ(c, RespondActivityTaskCompletedByIdRequest)->result,
				       REQ(c, RespondActivityTaskCompletedByIdRequest)->identity))
STEP_TRANSITION(step_act_canceled_id,
		core_cancel_activity(&t, by_id(REQ(c, RespondActivityTaskCanceledByIdRequest)->activity_id),
				     REQ(c, RespondActivityTaskCanceledByIdRequest)->details,
				     REQ(c, RespondActivityTaskCanceledByIdRequest)->identity))

/* What of the failure is too large for an event is cut, and the worker is told (both responses have the same fields).
 */
static struct err fail_activity(struct call *c, struct workflow *wf, struct cached_run *run, struct activity_ref ref,
				Temporal__Api__Failure__V1__Failure *failure,
				Temporal__Api__Common__V1__Payloads *details, const char *identity)
{
	WS(RespondActivityTaskFailedResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_FAILED_RESPONSE__INIT;
	struct txn t;
	try(core_fit_activity_failure(&c->h->config.core, c->arena, !ref.token, &failure, &details, &resp.n_failures,
				      &resp.failures));
	call_begin(c, &t, wf, run);
	try(core_fail_activity(&t, ref, failure, details, identity));
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, run);
	return err_ok;
}

static struct err step_act_failed(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(RespondActivityTaskFailedRequest) *r = c->request;
	return fail_activity(c, wf, run, by_token(c), r->failure, r->last_heartbeat_details, r->identity);
}

static struct err step_act_failed_id(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(RespondActivityTaskFailedByIdRequest) *r = c->request;
	return fail_activity(c, wf, run, by_id(r->activity_id), r->failure, r->last_heartbeat_details, r->identity);
}

static struct err step_wft_failed(struct call *c, struct workflow *wf, struct cached_run *run)
{
	struct txn t;
	call_begin(c, &t, wf, run);
	try(core_fail_workflow_task(&t, c->token, c->request));
	call_commit(c, &t, wf, run);
	return err_ok;
}

/* ------------------------------------------------------------------ heartbeats: in place, not journalled at once */

static struct err heartbeat_refused(struct call *c, struct workflow *wf, struct cached_run *run,
				    struct activity_ref ref, const char *identity)
{
	WS(RecordActivityTaskHeartbeatResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__RECORD_ACTIVITY_TASK_HEARTBEAT_RESPONSE__INIT;
	struct txn t;
	call_begin(c, &t, wf, run);
	try(core_heartbeat_refuse(&t, ref, identity));
	resp.cancel_requested = true;
	call_pack(c, &resp.base);
	call_commit(c, &t, wf, run);
	return err_ok;
}

static struct err heartbeat(struct call *c, struct workflow *wf, struct cached_run *run, struct activity_ref ref,
			    const Temporal__Api__Common__V1__Payloads *details, const char *identity)
{
	WS(RecordActivityTaskHeartbeatResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__RECORD_ACTIVITY_TASK_HEARTBEAT_RESPONSE__INIT;
	struct heartbeat_reply reply = {0};
	if (core_heartbeat_too_large(&c->h->config.core, details))
		return heartbeat_refused(c, wf, run, ref, identity);
	try(core_heartbeat(run->run, ref, env_wall_ns(c->h->env), c->arena, details, identity, &reply));
	cached_run_heartbeat(run);
	resp.cancel_requested = reply.cancel_requested;
	resp.activity_paused = reply.paused;
	resp.activity_reset = reply.reset;
	call_pack(c, &resp.base); /* the response by id has the same fields */
	call_after(c, run);
	return err_ok;
}

static struct err step_heartbeat(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(RecordActivityTaskHeartbeatRequest) *r = c->request;
	return heartbeat(c, wf, run, by_token(c), r->details, r->identity);
}

static struct err step_heartbeat_id(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(RecordActivityTaskHeartbeatByIdRequest) *r = c->request;
	return heartbeat(c, wf, run, by_id(r->activity_id), r->details, r->identity);
}

/* ------------------------------------------------------------------ reading */

static struct err step_describe(struct call *c, struct workflow *wf, struct cached_run *run)
{
	(void)wf;
	WS(DescribeWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_WORKFLOW_EXECUTION_RESPONSE__INIT;
	try(core_describe(run->run, &c->h->config.core, c->arena, env_wall_ns(c->h->env), c->envelope->namespace_,
			  &resp));
	call_pack(c, &resp.base);
	call_after(c, run);
	return err_ok;
}

/* ------------------------------------------------------------------ the table */

#define DESC(name) &temporal__api__workflowservice__v1__##name##__descriptor

static const struct api_method_row rows[] = {
	{"StartWorkflowExecution", DESC(start_workflow_execution_request), RUN_MAY, NULL, step_start},
	{"SignalWorkflowExecution", DESC(signal_workflow_execution_request), RUN_MUST, target_signal, step_signal},
	{"RequestCancelWorkflowExecution", DESC(request_cancel_workflow_execution_request), RUN_MUST, target_cancel,
	 step_cancel},
	{"TerminateWorkflowExecution", DESC(terminate_workflow_execution_request), RUN_MUST, target_terminate,
	 step_terminate},
	{"DeleteWorkflowExecution", DESC(delete_workflow_execution_request), RUN_MUST, target_delete, step_delete},
	{"DescribeWorkflowExecution", DESC(describe_workflow_execution_request), RUN_MUST, target_describe,
	 step_describe},
	{"GetWorkflowExecutionHistory", DESC(get_workflow_execution_history_request), RUN_MUST, target_history,
	 step_get_history},
	{"GetWorkflowExecutionHistoryReverse", DESC(get_workflow_execution_history_reverse_request), RUN_MUST,
	 target_reverse, step_get_history_reverse},
	{"QueryWorkflow", DESC(query_workflow_request), RUN_MUST, target_query, step_query},
	{"RespondQueryTaskCompleted", DESC(respond_query_task_completed_request), RUN_MUST, target_query_completed,
	 step_query_completed},
	{"ResetStickyTaskQueue", DESC(reset_sticky_task_queue_request), RUN_MUST, target_reset_sticky,
	 step_reset_sticky},
	{"RespondWorkflowTaskCompleted", DESC(respond_workflow_task_completed_request), RUN_MUST, target_wft_completed,
	 step_workflow_task_completed},
	{"RespondWorkflowTaskFailed", DESC(respond_workflow_task_failed_request), RUN_MUST, target_wft_failed,
	 step_wft_failed},
	{"RespondActivityTaskCompleted", DESC(respond_activity_task_completed_request), RUN_MUST, target_act_completed,
	 step_act_completed},
	{"RespondActivityTaskFailed", DESC(respond_activity_task_failed_request), RUN_MUST, target_act_failed,
	 step_act_failed},
	{"RespondActivityTaskCanceled", DESC(respond_activity_task_canceled_request), RUN_MUST, target_act_canceled,
	 step_act_canceled},
	{"RespondActivityTaskCompletedById", DESC(respond_activity_task_completed_by_id_request), RUN_MUST,
	 target_act_completed_id, step_act_completed_id},
	{"RespondActivityTaskFailedById", DESC(respond_activity_task_failed_by_id_request), RUN_MUST,
	 target_act_failed_id, step_act_failed_id},
	{"RespondActivityTaskCanceledById", DESC(respond_activity_task_canceled_by_id_request), RUN_MUST,
	 target_act_canceled_id, step_act_canceled_id},
	{"RecordActivityTaskHeartbeat", DESC(record_activity_task_heartbeat_request), RUN_MUST, target_heartbeat,
	 step_heartbeat},
	{"RecordActivityTaskHeartbeatById", DESC(record_activity_task_heartbeat_by_id_request), RUN_MUST,
	 target_heartbeat_id, step_heartbeat_id},
};

const struct api_method_row *call_row(const char *method)
{
	for (size_t i = 0; i < array_len(rows); i++)
		if (str_eq(rows[i].name, method))
			return &rows[i];
	return NULL;
}
