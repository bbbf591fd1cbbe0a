/*
 * RequestCancelWorkflowExecution.
 */
#include "services/history/core/core_internal.h"
#include "services/history/core/errors.h"
#include "services/history/core/validate.h"
#include "services/history/core/workflow_task.h"

struct err core_request_cancel_validate(struct arena *a, const WS(RequestCancelWorkflowExecutionRequest) *req)
{
	try(validate_execution(req->workflow_execution));
	return validate_links(a, req->links, req->n_links);
}

struct err core_request_cancel(struct txn *t, const WS(RequestCancelWorkflowExecutionRequest) *req)
{
	try(core_request_cancel_validate(t->arena, req));
	/* A run that is over needs no cancelling: a success. */
	if (!txn_open(t))
		return err_ok;
	if (!str_empty(req->first_execution_run_id) &&
	    !str_eq(req->first_execution_run_id, t->start->first_execution_run_id))
		return core_not_found(t->arena, "workflow execution not found");
	if (txn_peek(t)->cancel_requested)
		return err_ok;

	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_EXECUTION_CANCEL_REQUESTED));
	e->workflow_execution_cancel_requested_event_attributes->cause = req->reason;
	e->workflow_execution_cancel_requested_event_attributes->identity = req->identity;
	e->links = req->links;
	e->n_links = req->n_links;
	Perdure__RunExec *exec = txn_exec(t);
	exec->cancel_requested = true;
	exec->cancel_request_id = req->request_id;
	/* Unlike a signal it does not wait for a start delay or a backoff to end. */
	workflow_task_schedule(t);
	return err_ok;
}
