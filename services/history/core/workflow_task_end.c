/*
 * A workflow task that comes to nothing: failed, timed out, or ended by the server.
 */
#include "services/history/core/close.h"
#include "services/history/core/errors.h"
#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/workflow_task.h"

#define CAUSE(name) COMMAND_CAUSE(name)

const char *workflow_task_cause_name(struct arena *a, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause)
{
	return pb_enum_short_name(a, &temporal__api__enums__v1__workflow_task_failed_cause__descriptor, (int)cause,
				  "WORKFLOW_TASK_FAILED_CAUSE_");
}

/* ------------------------------------------------------------------ the next attempt */

/* `again`: what failed would fail again, so it counts as an attempt. A sticky worker's failure does not: another gets
 * it. */
static void next_attempt(struct txn *t, bool again)
{
	Perdure__RunExec *exec = txn_exec(t);
	if (!str_empty(exec->sticky_task_queue)) {
		again = false;
		workflow_task_clear_sticky(t);
	}
	if (again)
		exec->workflow_task_failures++;
	exec->workflow_task_attempt = again ? exec->workflow_task_attempt + 1 : 1;
	exec->close_attempted = false;
	txn_workflow_task_clear(t);
}

void workflow_task_completed(struct txn *t)
{
	Perdure__RunExec *exec = txn_exec(t);
	exec->workflow_task_attempt = 1;
	exec->workflow_task_failures = 0;
	exec->close_attempted = false;
	txn_workflow_task_clear(t);
}

static bool transient(const struct txn *t)
{
	return txn_workflow_task(t)->kind == PERDURE__WORKFLOW_TASK__KIND__TRANSIENT;
}

void workflow_task_fail(struct txn *t, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause,
			FAILURE(Failure) *failure, const char *identity, const char *binary_checksum)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	if (!transient(t)) {
		HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_TASK_FAILED));
		HISTORY(WorkflowTaskFailedEventAttributes) *attr = e->workflow_task_failed_event_attributes;
		attr->scheduled_event_id = w->scheduled_event_id;
		attr->started_event_id = w->started_event_id;
		attr->cause = cause;
		attr->failure = failure;
		attr->identity = arena_strdup(t->arena, identity);
		attr->binary_checksum = arena_strdup(t->arena, binary_checksum);
	}
	next_attempt(t, true);
	txn_exec(t)->close_attempted = cause == CAUSE(UNHANDLED_COMMAND);
}

void workflow_task_force_close(struct txn *t)
{
	if (!txn_workflow_task_started(t))
		return;
	workflow_task_fail(t, CAUSE(FORCE_CLOSE_COMMAND), NULL, SERVER_IDENTITY, NULL);
	txn_flush(t);
}

static void timed_out_event(struct txn *t, Temporal__Api__Enums__V1__TimeoutType type)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_TASK_TIMED_OUT));
	e->workflow_task_timed_out_event_attributes->scheduled_event_id = w->scheduled_event_id;
	e->workflow_task_timed_out_event_attributes->started_event_id = w->started_event_id;
	e->workflow_task_timed_out_event_attributes->timeout_type = type;
}

void workflow_task_timed_out(struct txn *t)
{
	assert(txn_workflow_task_started(t));
	workflow_task_end_by_timeout(t);
	workflow_task_schedule(t);
}

void workflow_task_end_by_timeout(struct txn *t)
{
	if (!transient(t))
		timed_out_event(t, TIMEOUT_TYPE(START_TO_CLOSE));
	next_attempt(t, true);
}

void workflow_task_sticky_timed_out(struct txn *t)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	assert(w->sticky && run_workflow_task_waits(w));
	if (w->started_event_id) { /* handed back, and its event is written: it ends like a started one */
		workflow_task_timed_out(t);
		return;
	}
	timed_out_event(t, TIMEOUT_TYPE(SCHEDULE_TO_START));
	next_attempt(t, false);
	workflow_task_schedule(t);
}

/* ------------------------------------------------------------------ RespondWorkflowTaskFailed */

bool workflow_task_is(const struct txn *t, const Perdure__TaskToken *token)
{
	const Perdure__WorkflowTask *w = txn_open(t) ? txn_workflow_task(t) : NULL;
	return w && !run_workflow_task_waits(w) && token->kind == PERDURE__TASK_TOKEN__KIND__WORKFLOW &&
	       w->scheduled_event_id == token->scheduled_event_id && w->started_event_id == token->started_event_id &&
	       w->attempt == token->attempt && w->start_nonce == token->start_nonce;
}

struct err core_fail_workflow_task(struct txn *t, const Perdure__TaskToken *token,
				   const WS(RespondWorkflowTaskFailedRequest) *req)
{
	if (req->identity && strlen(req->identity) > (size_t)t->config->id_bytes_max)
		return err_static(ERR_INVALID_ARGUMENT, "Identity length exceeds limit.");
	if (!txn_open(t))
		return core_not_found(t->arena, WORKFLOW_COMPLETED_TEXT);
	if (!workflow_task_is(t, token))
		return core_not_found(t->arena, "Workflow task not found.");
	if (req->cause == CAUSE(GRPC_MESSAGE_TOO_LARGE)) {
		close_terminate(t, workflow_task_cause_name(t->arena, req->cause), NULL, SERVER_IDENTITY, NULL, 0);
		return err_ok;
	}
	FAILURE(Failure) *failure = req->failure;
	if (failure && protobuf_c_message_get_packed_size(&failure->base) > (size_t)t->config->blob_bytes_max) {
		failure = failure_server(t->arena, "Failure exceeds size limit.", true);
		failure->cause = failure_truncate(t->arena, req->failure, (size_t)t->config->blob_bytes_warn);
	}
	workflow_task_fail(t, req->cause, failure, req->identity, req->binary_checksum);
	workflow_task_schedule(t);
	return err_ok;
}
