/*
 * SignalWorkflowExecution.
 */
#include "services/history/core/core_internal.h"
#include "services/history/core/errors.h"
#include "services/history/core/validate.h"

struct err core_signal_validate(const struct core_config *config, struct arena *a,
				const WS(SignalWorkflowExecutionRequest) *req)
{
	try(validate_execution(req->workflow_execution));
	if (str_empty(req->signal_name))
		return err_static(ERR_INVALID_ARGUMENT, "SignalName is not set on request.");
	if (strlen(req->signal_name) > (size_t)config->id_bytes_max)
		return err_static(ERR_INVALID_ARGUMENT, "SignalName length exceeds limit.");
	if (req->request_id && strlen(req->request_id) > (size_t)config->id_bytes_max)
		return err_static(ERR_INVALID_ARGUMENT, "RequestId length exceeds limit.");
	try(validate_links(a, req->links, req->n_links));
	return validate_blob(config, req->input ? &req->input->base : NULL);
}

static struct err check_accepted(struct txn *t)
{
	if (!txn_open(t))
		return core_not_found(t->arena, WORKFLOW_COMPLETED_TEXT);
	const Perdure__RunExec *exec = txn_peek(t);
	if (t->config->signals_max > 0 && exec->signal_count >= t->config->signals_max)
		return err_static(ERR_INVALID_ARGUMENT, "exceeded workflow execution limit for signal events");
	/* It tried to close and was held up by something like this: let it. */
	if (exec->close_attempted && txn_workflow_task_started(t))
		return core_busy(t->arena, "workflow operation can not be applied because workflow is closing");
	return err_ok;
}

struct err core_signal(struct txn *t, const WS(SignalWorkflowExecutionRequest) *req)
{
	try(core_signal_validate(t->config, t->arena, req));
	const char *seen_by = str_empty(req->request_id) ? t->retry_id : req->request_id;
	if (txn_signal_seen(t, seen_by))
		return err_ok;
	try(check_accepted(t));

	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_EXECUTION_SIGNALED));
	HISTORY(WorkflowExecutionSignaledEventAttributes) *attr = e->workflow_execution_signaled_event_attributes;
	attr->signal_name = req->signal_name;
	attr->input = req->input;
	attr->identity = req->identity;
	attr->header = req->header;
	attr->request_id = req->request_id;
	e->links = req->links;
	e->n_links = req->n_links;
	txn_exec(t)->signal_count++;
	if (!str_empty(seen_by))
		txn_signal_seen_put(t, seen_by);
	core_schedule_workflow_task(t);
	return err_ok;
}

void core_signal_answer(const struct run *run, const char *namespace_name,
			const WS(SignalWorkflowExecutionRequest) *req, struct arena *a,
			WS(SignalWorkflowExecutionResponse) *resp)
{
	resp->link = core_request_link(a, namespace_name, run->start->workflow_id, run->start->run_id, req->request_id,
				       EVENT(WORKFLOW_EXECUTION_SIGNALED));
}
