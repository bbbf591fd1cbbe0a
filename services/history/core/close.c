/*
 * How a run ends: terminated, out of time; and what every end has in common. The commands that end it are in
 * command_workflow.c, the run that may follow in close_next.c.
 */
#include "services/history/core/close.h"

#include "services/history/core/errors.h"
#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/search_attributes.h"
#include "services/history/core/validate.h"
#include "services/history/core/workflow_task.h"

#define USER_TERMINATE_REASON	"terminated by user via frontend"
#define USER_TERMINATE_IDENTITY "frontend-service"
#define DELETE_REASON		"Delete workflow execution"

HISTORY(HistoryEvent) *close_run(struct txn *t, Temporal__Api__Enums__V1__EventType type,
				 Temporal__Api__Enums__V1__WorkflowExecutionStatus status)
{
	assert(txn_open(t) && !txn_workflow_task_started(t));
	HISTORY(HistoryEvent) *e = txn_event(t, type);
	Perdure__RunExec *exec = txn_exec(t);
	exec->status = (int32_t)status;
	exec->close_time_ns = t->now_ns;
	/* Fixed now, so that a change of the namespace's retention moves no closed run. */
	exec->retention_end_ns = time_add_ns(t->now_ns, t->retention_ns);
	exec->sticky_task_queue = NULL;
	exec->first_workflow_task_backoff_deadline_ns = 0;
	return e;
}

/* ------------------------------------------------------------------ terminated */

void close_terminate(struct txn *t, const char *reason, COMMON(Payloads) *details, const char *identity,
		     COMMON(Link) **links, size_t n_links)
{
	workflow_task_force_close(t);
	HISTORY(HistoryEvent) *e = close_run(t, EVENT(WORKFLOW_EXECUTION_TERMINATED), STATUS(TERMINATED));
	e->workflow_execution_terminated_event_attributes->reason = arena_strdup(t->arena, reason);
	e->workflow_execution_terminated_event_attributes->details = details;
	e->workflow_execution_terminated_event_attributes->identity = arena_strdup(t->arena, identity);
	e->links = links;
	e->n_links = n_links;
}

struct err core_terminate_validate(struct arena *a, const WS(TerminateWorkflowExecutionRequest) *req)
{
	try(validate_execution(req->workflow_execution));
	return validate_links(a, req->links, req->n_links);
}

struct err core_terminate(struct txn *t, const WS(TerminateWorkflowExecutionRequest) *req)
{
	try(core_terminate_validate(t->arena, req));
	if (!txn_open(t))
		return core_not_found(t->arena, WORKFLOW_COMPLETED_TEXT);
	if (!str_empty(req->first_execution_run_id) &&
	    !str_eq(req->first_execution_run_id, t->start->first_execution_run_id))
		return core_not_found(t->arena, "workflow execution not found");
	close_terminate(t, str_empty(req->reason) ? USER_TERMINATE_REASON : req->reason, req->details,
			str_empty(req->identity) ? USER_TERMINATE_IDENTITY : req->identity, req->links, req->n_links);
	return err_ok;
}

void core_delete(struct txn *t)
{
	assert(t->run);
	if (txn_open(t))
		close_terminate(t, DELETE_REASON, NULL, SERVER_IDENTITY, NULL, 0);
	t->deleted = t->touched = true;
}

void core_terminate_for_start(struct txn *t, const char *new_run_id)
{
	COMMON(Payloads) *details = pb_new0(t->arena, COMMON(Payloads), COMMON_FN(payloads));
	details->payloads = arena_array(t->arena, COMMON(Payload) *, 1);
	details->payloads[details->n_payloads++] =
		payload_string(t->arena, arena_printf(t->arena, "terminated by new runID: %s", new_run_id));
	close_terminate(t, "TerminateIfRunning WorkflowIdReusePolicy", details, SERVER_IDENTITY, NULL, 0);
}

/* ------------------------------------------------------------------ out of time */

struct err close_timed_out(struct txn *t)
{
	FAILURE(Failure) *failure = failure_timeout(t->arena, "workflow timeout", TIMEOUT_TYPE(START_TO_CLOSE));
	/* When the time of the whole chain is up, no run follows. */
	bool final = t->start->execution_deadline_ns > 0 && t->start->execution_deadline_ns <= t->now_ns;
	Temporal__Api__Enums__V1__RetryState state = RETRY_STATE(TIMEOUT);
	struct successor next = {.initiator = INITIATOR(UNSPECIFIED)};
	if (!final)
		next = close_successor_of_failed(t, failure, &state);

	workflow_task_force_close(t);
	HISTORY(HistoryEvent) *e = close_run(t, EVENT(WORKFLOW_EXECUTION_TIMED_OUT), STATUS(TIMED_OUT));
	e->workflow_execution_timed_out_event_attributes->retry_state = state;
	e->workflow_execution_timed_out_event_attributes->new_execution_run_id = arena_strdup(t->arena, next.run_id);
	close_begin_successor(t, &next, close_inherited_result(t), failure);
	return err_ok;
}
