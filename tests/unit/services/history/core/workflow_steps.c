/*
 * More steps on the harness.
 */
#include "workflow_steps.h"

#include <check.h>

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

void steps_assert_ok(struct err e)
{
	ck_assert_msg(!err_is(e), "%s: %s", err_code_name(e.code), e.message);
}

answer_t *steps_answer_request(struct harness *h, COMMAND(Command) *command)
{
	answer_t *req = pb_new0(h->arena, answer_t, WS_FN(respond_workflow_task_completed_request));
	req->identity = (char *)"worker";
	if (command) {
		req->commands = arena_array(h->arena, COMMAND(Command) *, 1);
		req->commands[req->n_commands++] = command;
	}
	return req;
}

struct wft_completed steps_answer(struct harness *h, const answer_t *req)
{
	struct txn t;
	struct wft_completed done = {0};
	harness_begin(h, &t);
	steps_assert_ok(core_complete_workflow_task(&t, h->workflow_token, req, &done));
	harness_commit(h, &t);
	return done;
}

struct err steps_answer_error(struct harness *h, const answer_t *req)
{
	struct txn t;
	struct wft_completed done = {0};
	harness_begin(h, &t);
	struct err e = core_complete_workflow_task(&t, h->workflow_token, req, &done);
	ck_assert(err_is(e));
	return e;
}

void steps_make_sticky(struct harness *h, answer_t *req, const char *queue)
{
	req->sticky_attributes =
		pb_new0(h->arena, TASK_QUEUE(StickyExecutionAttributes), TASK_QUEUE_FN(sticky_execution_attributes));
	req->sticky_attributes->worker_task_queue = pb_new0(h->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	req->sticky_attributes->worker_task_queue->name = (char *)queue;
	req->sticky_attributes->worker_task_queue->kind = QUEUE_KIND(STICKY);
	req->sticky_attributes->schedule_to_start_timeout = pb_duration(h->arena, 5 * NS_PER_S);
}

void steps_take_returned(struct harness *h, const struct wft_completed *done)
{
	ck_assert(done->start_new);
	ck_assert_ptr_nonnull(done->response->workflow_task);
	h->workflow_token = harness_token(h, done->response->workflow_task->task_token);
}

struct err steps_fail_task(struct harness *h, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause)
{
	WS(RespondWorkflowTaskFailedRequest) *req =
		pb_new0(h->arena, WS(RespondWorkflowTaskFailedRequest), WS_FN(respond_workflow_task_failed_request));
	req->cause = cause;
	req->identity = (char *)"worker";
	req->failure = harness_failure(h, "task failed");
	struct txn t;
	harness_begin(h, &t);
	struct err e = core_fail_workflow_task(&t, h->workflow_token, req);
	if (!err_is(e))
		harness_commit(h, &t);
	return e;
}

Perdure__StartTask *steps_start_task(struct harness *h, const char *request_id)
{
	const Perdure__WorkflowTask *w = h->current->run->exec->workflow_task;
	Perdure__StartTask *s = pb_new0(h->arena, Perdure__StartTask, perdure__start_task);
	s->task = pb_new0(h->arena, Perdure__DispatchTask, perdure__dispatch_task);
	s->task->kind = PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
	s->task->scheduled_event_id = w ? w->scheduled_event_id : 0;
	s->task->stamp = w ? w->stamp : 0;
	s->request_id = (char *)request_id;
	s->identity = (char *)"worker";
	return s;
}

Perdure__StartTaskReply__Outcome steps_poll(struct harness *h, const char *queue, bool sticky, const char *request_id,
					    WS(PollWorkflowTaskQueueResponse) *resp)
{
	WS(PollWorkflowTaskQueueRequest)
	poll = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	TASK_QUEUE(TaskQueue) q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	q.name = (char *)(queue ? queue : HARNESS_QUEUE);
	q.kind = sticky ? QUEUE_KIND(STICKY) : QUEUE_KIND(NORMAL);
	poll.task_queue = &q;
	WS_FN(poll_workflow_task_queue_response__init)(resp);
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(h, &t);
	steps_assert_ok(core_start_workflow_task(&t, steps_start_task(h, request_id), &poll, &outcome, resp));
	harness_commit(h, &t);
	if (resp->task_token.len)
		h->workflow_token = harness_token(h, resp->task_token);
	return outcome;
}

/* ------------------------------------------------------------------ clients */

static COMMON(WorkflowExecution) *execution(struct harness *h)
{
	COMMON(WorkflowExecution) *e = pb_new0(h->arena, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	e->workflow_id = (char *)"wf";
	return e;
}

#define STEP(call)                                                                                                     \
	do {                                                                                                           \
		struct txn t;                                                                                          \
		harness_begin(h, &t);                                                                                  \
		struct err e = call;                                                                                   \
		if (!err_is(e))                                                                                        \
			harness_commit(h, &t);                                                                         \
		return e;                                                                                              \
	} while (0)

struct err steps_signal(struct harness *h, const char *request_id)
{
	WS(SignalWorkflowExecutionRequest) *req =
		pb_new0(h->arena, WS(SignalWorkflowExecutionRequest), WS_FN(signal_workflow_execution_request));
	req->workflow_execution = execution(h);
	req->signal_name = (char *)"signal";
	req->identity = (char *)"signaller";
	req->request_id = (char *)request_id;
	STEP(core_signal(&t, req));
}

struct err steps_request_cancel(struct harness *h, const char *request_id)
{
	WS(RequestCancelWorkflowExecutionRequest) *req = pb_new0(h->arena, WS(RequestCancelWorkflowExecutionRequest),
								 WS_FN(request_cancel_workflow_execution_request));
	req->workflow_execution = execution(h);
	req->request_id = (char *)request_id;
	req->reason = (char *)"enough";
	STEP(core_request_cancel(&t, req));
}

struct err steps_terminate(struct harness *h)
{
	WS(TerminateWorkflowExecutionRequest) *req =
		pb_new0(h->arena, WS(TerminateWorkflowExecutionRequest), WS_FN(terminate_workflow_execution_request));
	req->workflow_execution = execution(h);
	STEP(core_terminate(&t, req));
}

/* ------------------------------------------------------------------ commands */

COMMAND(Command) *steps_command(struct harness *h, int type)
{
	COMMAND(Command) *c = pb_new(h->arena, &temporal__api__command__v1__command__descriptor);
	c->command_type = (Temporal__Api__Enums__V1__CommandType)type;
	return c;
}

#define ATTRIBUTES(name) TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##name##_COMMAND_ATTRIBUTES

COMMAND(Command) *steps_fail_workflow(struct harness *h, FAILURE(Failure) *failure)
{
	COMMAND(Command) *c = steps_command(h, COMMAND_TYPE(FAIL_WORKFLOW_EXECUTION));
	c->attributes_case = ATTRIBUTES(FAIL_WORKFLOW_EXECUTION);
	c->fail_workflow_execution_command_attributes =
		pb_new0(h->arena, COMMAND(FailWorkflowExecutionCommandAttributes),
			temporal__api__command__v1__fail_workflow_execution_command_attributes);
	c->fail_workflow_execution_command_attributes->failure = failure;
	return c;
}

COMMAND(Command) *steps_cancel_workflow(struct harness *h)
{
	COMMAND(Command) *c = steps_command(h, COMMAND_TYPE(CANCEL_WORKFLOW_EXECUTION));
	c->attributes_case = ATTRIBUTES(CANCEL_WORKFLOW_EXECUTION);
	c->cancel_workflow_execution_command_attributes =
		pb_new0(h->arena, COMMAND(CancelWorkflowExecutionCommandAttributes),
			temporal__api__command__v1__cancel_workflow_execution_command_attributes);
	return c;
}

COMMAND(Command) *steps_continue_as_new(struct harness *h)
{
	COMMAND(Command) *c = steps_command(h, COMMAND_TYPE(CONTINUE_AS_NEW_WORKFLOW_EXECUTION));
	c->attributes_case = ATTRIBUTES(CONTINUE_AS_NEW_WORKFLOW_EXECUTION);
	c->continue_as_new_workflow_execution_command_attributes =
		pb_new0(h->arena, COMMAND(ContinueAsNewWorkflowExecutionCommandAttributes),
			temporal__api__command__v1__continue_as_new_workflow_execution_command_attributes);
	return c;
}

const HISTORY(WorkflowExecutionStartedEventAttributes) *steps_started(const struct harness *h)
{
	return harness_event(h, 1)->workflow_execution_started_event_attributes;
}
