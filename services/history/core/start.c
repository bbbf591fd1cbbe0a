/*
 * StartWorkflowExecution: what the request must satisfy, and the run that it begins. What happens when the id is in use
 * is in start_conflict.c.
 */
#include "services/history/core/core.h"
#include "services/history/core/cron.h"
#include "services/history/core/errors.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"
#include "services/history/core/run_begin.h"
#include "services/history/core/search_attributes.h"
#include "services/history/core/validate.h"

#define invalid(text) err_static(ERR_INVALID_ARGUMENT, (text))

/* ------------------------------------------------------------------ validation */

static struct err check_duration(struct arena *a, const char *field, const Google__Protobuf__Duration *d)
{
	const char *why = validate_duration(d);
	return why ? err_make(a, ERR_INVALID_ARGUMENT, "An invalid %s is set on request. cause: %s", field, why)
		   : err_ok;
}

static struct err check_names(const struct core_config *config, const WS(StartWorkflowExecutionRequest) *req,
			      struct arena *a)
{
	if (!req->workflow_type || str_empty(req->workflow_type->name))
		return invalid("WorkflowType is not set on request.");
	if (strlen(req->workflow_type->name) > (size_t)config->id_bytes_max)
		return invalid("WorkflowType length exceeds limit.");
	TASK_QUEUE(TaskQueue) *queue;
	const char *why = validate_task_queue(config, a, req->task_queue, NULL, &queue);
	return why ? invalid(why) : err_ok;
}

static struct err check_policies(const WS(StartWorkflowExecutionRequest) *req)
{
	if (req->workflow_id_conflict_policy != CONFLICT(UNSPECIFIED) &&
	    req->workflow_id_reuse_policy == REUSE(TERMINATE_IF_RUNNING))
		return invalid("Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be "
			       "used together with a WorkflowIDConflictPolicy");
	if (req->workflow_id_conflict_policy == CONFLICT(TERMINATE_EXISTING) &&
	    req->workflow_id_reuse_policy == REUSE(REJECT_DUPLICATE))
		return invalid(
			"Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE cannot be used "
			"together with WorkflowIdConflictPolicy WORKFLOW_ID_CONFLICT_POLICY_TERMINATE_EXISTING");
	if (req->on_conflict_options && req->on_conflict_options->attach_completion_callbacks &&
	    !req->on_conflict_options->attach_request_id)
		return invalid("attaching request ID is required for attaching completion callbacks");
	return err_ok;
}

/* What other issues bring. Refused, so that nobody relies on what would be dropped in silence. */
static struct err check_supported(const WS(StartWorkflowExecutionRequest) *req)
{
	if (req->n_completion_callbacks)
		return invalid("attaching workflow callbacks is disabled for this namespace");
	if (req->versioning_override)
		return err_static(ERR_UNIMPLEMENTED, "VersioningOverride is not supported.");
	if (req->time_skipping_config)
		return err_static(ERR_UNIMPLEMENTED, "The Time-Skipping feature is not enabled for namespace.");
	return err_ok;
}

static struct err check_sizes(const struct core_config *config, const WS(StartWorkflowExecutionRequest) *req)
{
	try(validate_blob(config, req->input ? &req->input->base : NULL));
	if (req->memo && protobuf_c_message_get_packed_size(&req->memo->base) > (size_t)config->memo_bytes_max)
		return invalid("Memo size exceeds limit.");
	return err_ok;
}

struct err core_start_validate(const struct core_config *config, const WS(StartWorkflowExecutionRequest) *req,
			       int64_t now_ns, struct arena *a)
{
	if (str_empty(req->workflow_id))
		return invalid("WorkflowId is not set on request.");
	if (strlen(req->workflow_id) > (size_t)config->id_bytes_max)
		return err_make(a, ERR_INVALID_ARGUMENT, "WorkflowId exceeds maximum allowed length (%zu/%d)",
				strlen(req->workflow_id), config->id_bytes_max);
	if (req->retry_policy)
		try(retry_policy_validate(a, retry_policy_with_defaults(config, a, req->retry_policy)));
	if (!str_empty(req->cron_schedule) && req->workflow_start_delay)
		return invalid("CronSchedule and WorkflowStartDelay may not be used together.");
	try(check_duration(a, "WorkflowStartDelaySeconds", req->workflow_start_delay));
	try(cron_validate(&config->zones, req->cron_schedule, now_ns));
	try(check_names(config, req, a));
	try(check_duration(a, "WorkflowExecutionTimeoutSeconds", req->workflow_execution_timeout));
	try(check_duration(a, "WorkflowRunTimeoutSeconds", req->workflow_run_timeout));
	try(check_duration(a, "WorkflowTaskTimeoutSeconds", req->workflow_task_timeout));
	if (req->request_id && strlen(req->request_id) > (size_t)config->id_bytes_max)
		return invalid("RequestId length exceeds limit.");
	try(check_policies(req));
	try(sa_check(a, req->namespace_, req->search_attributes));
	const char *why = validate_priority(req->priority);
	if (why)
		return invalid(why);
	try(check_supported(req));
	try(validate_links(a, req->links, req->n_links));
	return check_sizes(config, req);
}

/* ------------------------------------------------------------------ the run */

/* As it was given where its value stands; a new one where it had to be changed. */
static Google__Protobuf__Duration *duration_with(struct arena *a, Google__Protobuf__Duration *given, int64_t ns)
{
	return pb_duration_ns(given) == ns ? given : pb_duration(a, ns);
}

static void set_timeouts(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
			 HISTORY(WorkflowExecutionStartedEventAttributes) *attr)
{
	int64_t execution = min_i64(pb_duration_ns(req->workflow_execution_timeout), PBTIME_DURATION_MAX_S * NS_PER_S);
	int64_t run = run_timeout_within(
		min_i64(pb_duration_ns(req->workflow_run_timeout), PBTIME_DURATION_MAX_S * NS_PER_S), execution);
	int64_t task = workflow_task_timeout_within(t->config, pb_duration_ns(req->workflow_task_timeout), run);
	attr->workflow_execution_timeout = duration_with(t->arena, req->workflow_execution_timeout, execution);
	attr->workflow_run_timeout = duration_with(t->arena, req->workflow_run_timeout, run);
	attr->workflow_task_timeout = duration_with(t->arena, req->workflow_task_timeout, task);
	if (execution > 0) {
		/* Whole milliseconds, as clients know this time. */
		int64_t deadline = time_add_ns(t->now_ns, execution);
		deadline -= (deadline + NS_PER_MS / 2) % NS_PER_MS - NS_PER_MS / 2;
		attr->workflow_execution_expiration_time = pb_timestamp(t->arena, deadline);
	}
	if (pb_duration_ns(req->workflow_start_delay) > 0)
		attr->first_workflow_task_backoff = req->workflow_start_delay;
}

static void set_cron(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
		     HISTORY(WorkflowExecutionStartedEventAttributes) *attr)
{
	if (str_empty(req->cron_schedule))
		return;
	int64_t backoff = cron_backoff_ns(&t->config->zones, req->cron_schedule, t->now_ns, t->now_ns);
	attr->cron_schedule = req->cron_schedule;
	attr->initiator = INITIATOR(CRON_SCHEDULE);
	attr->first_workflow_task_backoff = pb_duration(t->arena, max_i64(0, backoff));
}

static HISTORY(WorkflowExecutionStartedEventAttributes) *
attributes(struct txn *t, const WS(StartWorkflowExecutionRequest) *req, const char *run_id)
{
	HISTORY(WorkflowExecutionStartedEventAttributes) *attr =
		run_begin_attributes(t, req->workflow_id, run_id, run_id);
	attr->workflow_type = req->workflow_type;
	(void)validate_task_queue(t->config, t->arena, req->task_queue, NULL, &attr->task_queue);
	attr->input = req->input;
	attr->identity = req->identity;
	attr->header = req->header;
	attr->memo = memo_without_nil(t->arena, req->memo);
	attr->search_attributes = sa_typed(t->arena, req->search_attributes, false);
	attr->priority = req->priority;
	attr->continued_failure = req->continued_failure;
	attr->last_completion_result = req->last_completion_result;
	if (req->retry_policy)
		attr->retry_policy = retry_policy_with_defaults(t->config, t->arena, req->retry_policy);
	set_timeouts(t, req, attr);
	set_cron(t, req, attr);
	return attr;
}

struct err core_start(struct txn *t, const WS(StartWorkflowExecutionRequest) *req,
		      WS(StartWorkflowExecutionResponse) *resp)
{
	assert(!t->run);
	char run_id[37], request_id[37];
	txn_uuid(t, run_id);
	if (str_empty(req->request_id))
		txn_uuid(t, request_id);
	run_begin(t, &(struct run_beginning){
			     .attributes = attributes(t, req, run_id),
			     .run_id = run_id,
			     .request_id = str_empty(req->request_id) ? request_id : req->request_id,
			     .n_links = req->n_links,
			     .links = req->links,
			     .user_metadata = req->user_metadata,
		     });
	resp->run_id = t->start->run_id;
	resp->first_execution_run_id = t->start->run_id;
	resp->started = true;
	resp->status = STATUS(RUNNING);
	resp->link = core_started_link(t->arena, t->namespace_name, req->workflow_id, t->start->run_id);
	return err_ok;
}
