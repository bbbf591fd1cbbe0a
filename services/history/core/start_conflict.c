/*
 * A start whose workflow id already has a run: which of the two yields, and what the client is told.
 */
#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "services/history/core/core.h"
#include "services/history/core/errors.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/validate.h"

static struct err already_started(const struct run *current, struct arena *a, const char *format)
{
	char *with_id = arena_printf(a, "%s WorkflowId: %s, RunId: %s.", format, current->start->workflow_id,
				     current->start->run_id);
	Temporal__Api__Errordetails__V1__WorkflowExecutionAlreadyStartedFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__WORKFLOW_EXECUTION_ALREADY_STARTED_FAILURE__INIT;
	detail.start_request_id = current->start->request_id;
	detail.run_id = current->start->run_id;
	detail.first_execution_run_id = current->start->first_execution_run_id;
	return err_detail(a, err_static(ERR_ALREADY_EXISTS, with_id), &detail.base);
}

static struct start_decision refused(struct err e)
{
	return (struct start_decision){.what = START_REFUSED, .refused = e};
}

static struct start_decision decide_closed(const struct run *current, struct id_policies p, struct arena *a)
{
	int status = current->exec->status;
	bool failed = status == STATUS(FAILED) || status == STATUS(CANCELED) || status == STATUS(TERMINATED) ||
		      status == STATUS(TIMED_OUT);
	struct err e;
	if (p.reuse == REUSE(REJECT_DUPLICATE)) {
		e = already_started(current, a, "Workflow execution already finished.");
		e.message = arena_printf(a, "%s Workflow Id reuse policy: reject duplicate workflow Id.", e.message);
		return refused(e);
	}
	if (p.reuse == REUSE(ALLOW_DUPLICATE_FAILED_ONLY) && !failed) {
		e = already_started(current, a, "Workflow execution already finished successfully.");
		e.message = arena_printf(
			a, "%s Workflow Id reuse policy: allow duplicate workflow Id if last run failed.", e.message);
		return refused(e);
	}
	return (struct start_decision){.what = START_NEW};
}

struct start_decision core_start_decide(const struct run *current, const WS(StartWorkflowExecutionRequest) *req,
					int64_t now_ns, struct arena *a)
{
	(void)now_ns;
	if (!current)
		return (struct start_decision){.what = START_NEW};
	struct run_id_seen *seen = NULL;
	if (!str_empty(req->request_id))
		HASH_FIND_STR(current->request_ids, req->request_id, seen);
	if (seen)
		return (struct start_decision){.what = START_DEDUPLICATED};

	struct id_policies p = effective_policies(req->workflow_id_reuse_policy, req->workflow_id_conflict_policy);
	if (!run_open(current))
		return decide_closed(current, p, a);
	if (p.conflict == CONFLICT(USE_EXISTING))
		return (struct start_decision){.what = START_USE_EXISTING};
	if (p.conflict == CONFLICT(TERMINATE_EXISTING))
		return (struct start_decision){.what = START_TERMINATE_EXISTING};
	return refused(already_started(current, a, "Workflow execution is already running."));
}

/* ------------------------------------------------------------------ the existing run as the answer */

void core_start_answer_existing(const struct run *current, const char *namespace_name,
				const WS(StartWorkflowExecutionRequest) *req, struct arena *a,
				WS(StartWorkflowExecutionResponse) *resp)
{
	struct run_id_seen *seen = NULL;
	if (!str_empty(req->request_id))
		HASH_FIND_STR(current->request_ids, req->request_id, seen);
	const char *workflow_id = current->start->workflow_id, *run_id = current->start->run_id;
	resp->run_id = arena_strdup(a, run_id);
	resp->first_execution_run_id = arena_strdup(a, current->start->first_execution_run_id);
	resp->status = (Temporal__Api__Enums__V1__WorkflowExecutionStatus)current->exec->status;
	/* The very request that began the run is told so again. */
	resp->started = seen && seen->info->event_type == EVENT(WORKFLOW_EXECUTION_STARTED);
	bool attached = (seen && !resp->started) ||
			(!seen && req->on_conflict_options && req->on_conflict_options->attach_request_id);
	resp->link = attached ? core_request_link(a, namespace_name, workflow_id, run_id, req->request_id,
						  EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED))
			      : core_started_link(a, namespace_name, workflow_id, run_id);
}

struct err core_start_attach(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
			     WS(StartWorkflowExecutionResponse) *resp)
{
	core_start_answer_existing(t->run, t->namespace_name, req, t->arena, resp);
	const WORKFLOW(OnConflictOptions) *options = req->on_conflict_options;
	if (!options)
		return err_ok;
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED));
	e->worker_may_ignore = true;
	if (options->attach_request_id) {
		e->workflow_execution_options_updated_event_attributes->attached_request_id = req->request_id;
		if (!str_empty(req->request_id))
			txn_request_id_put(t, req->request_id, EVENT(WORKFLOW_EXECUTION_OPTIONS_UPDATED), 0);
	}
	if (options->attach_links) {
		e->n_links = req->n_links;
		e->links = req->links;
	}
	return err_ok;
}
