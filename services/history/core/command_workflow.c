/*
 * The commands that close the run: complete, fail, cancel, continue as new.
 */
#include "services/history/core/close.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/run_begin.h"
#include "services/history/core/search_attributes.h"
#include "services/history/core/validate.h"

#define ATTRIBUTES(name) TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##name##_COMMAND_ATTRIBUTES

typedef COMMAND(ContinueAsNewWorkflowExecutionCommandAttributes) continue_t;

/* What the worker has not seen may change its mind: it gets another task first. */
static bool may_close(struct command_ctx *c)
{
	return !c->has_buffered || command_fail(c, COMMAND_CAUSE(UNHANDLED_COMMAND), NULL);
}

/* Too large to be written: the run is terminated instead. Returns false then. */
static bool fits(struct command_ctx *c, const ProtobufCMessage *m, int bytes_max,
		 Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause, const char *text)
{
	if (!m || protobuf_c_message_get_packed_size(m) <= (size_t)bytes_max)
		return true;
	command_fail(c, cause, text);
	c->failure.terminate = true;
	return false;
}

bool command_complete_workflow(struct command_ctx *c, const COMMAND(Command) *command)
{
	if (!may_close(c))
		return false;
	if (command->attributes_case != ATTRIBUTES(COMPLETE_WORKFLOW_EXECUTION))
		return command_fail(c, COMMAND_CAUSE(BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES),
				    "CompleteWorkflowExecutionCommandAttributes is not set on "
				    "CompleteWorkflowExecutionCommand.");
	COMMON(Payloads) *result = command->complete_workflow_execution_command_attributes->result;
	/* This cause, odd as it is, is the one that clients get. */
	if (!fits(c, result ? &result->base : NULL, c->t->config->blob_bytes_max,
		  COMMAND_CAUSE(BAD_SCHEDULE_ACTIVITY_ATTRIBUTES),
		  "CompleteWorkflowExecutionCommandAttributes.Result exceeds size limit."))
		return false;
	struct successor next = close_successor_of_completed(c->t);
	HISTORY(HistoryEvent) *e = close_run(c->t, EVENT(WORKFLOW_EXECUTION_COMPLETED), STATUS(COMPLETED));
	HISTORY(WorkflowExecutionCompletedEventAttributes) *attr = e->workflow_execution_completed_event_attributes;
	attr->result = result;
	attr->workflow_task_completed_event_id = c->completed_event_id;
	attr->new_execution_run_id = arena_strdup(c->t->arena, next.run_id);
	command_decorate(e, command);
	close_begin_successor(c->t, &next, result, NULL);
	return true;
}

bool command_fail_workflow(struct command_ctx *c, const COMMAND(Command) *command)
{
	const Temporal__Api__Enums__V1__WorkflowTaskFailedCause bad =
		COMMAND_CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES);
	struct txn *t = c->t;
	if (!may_close(c))
		return false;
	if (command->attributes_case != ATTRIBUTES(FAIL_WORKFLOW_EXECUTION))
		return command_fail(c, bad,
				    "FailWorkflowExecutionCommandAttributes is not set on "
				    "FailWorkflowExecutionCommand.");
	FAILURE(Failure) *failure = command->fail_workflow_execution_command_attributes->failure;
	if (!failure)
		return command_fail(c, bad, "Failure is not set on FailWorkflowExecutionCommand.");
	if (!fits(c, &failure->base, t->config->blob_bytes_max, bad,
		  "FailWorkflowExecutionCommandAttributes.Failure exceeds size limit."))
		return false;

	Temporal__Api__Enums__V1__RetryState state;
	struct successor next = close_successor_of_failed(t, failure, &state);
	HISTORY(HistoryEvent) *e = close_run(t, EVENT(WORKFLOW_EXECUTION_FAILED), STATUS(FAILED));
	HISTORY(WorkflowExecutionFailedEventAttributes) *attr = e->workflow_execution_failed_event_attributes;
	attr->failure = failure;
	attr->retry_state = state;
	attr->workflow_task_completed_event_id = c->completed_event_id;
	attr->new_execution_run_id = arena_strdup(t->arena, next.run_id);
	command_decorate(e, command);
	/* An attempt is not told the last result, the schedule's next run is; so clients know it. */
	close_begin_successor(t, &next, next.initiator == INITIATOR(RETRY) ? NULL : close_inherited_result(t), failure);
	return true;
}

bool command_cancel_workflow(struct command_ctx *c, const COMMAND(Command) *command)
{
	if (!may_close(c))
		return false;
	if (command->attributes_case != ATTRIBUTES(CANCEL_WORKFLOW_EXECUTION))
		return command_fail(c, COMMAND_CAUSE(BAD_CANCEL_WORKFLOW_EXECUTION_ATTRIBUTES),
				    "CancelWorkflowExecutionCommandAttributes is not set on "
				    "CancelWorkflowExecutionCommand.");
	HISTORY(HistoryEvent) *e = close_run(c->t, EVENT(WORKFLOW_EXECUTION_CANCELED), STATUS(CANCELED));
	HISTORY(WorkflowExecutionCanceledEventAttributes) *attr = e->workflow_execution_canceled_event_attributes;
	attr->details = command->cancel_workflow_execution_command_attributes->details;
	attr->workflow_task_completed_event_id = c->completed_event_id;
	command_decorate(e, command);
	return true;
}

/* ------------------------------------------------------------------ continue as new */

#define BAD_CONTINUE COMMAND_CAUSE(BAD_CONTINUE_AS_NEW_ATTRIBUTES)
#define COMMAND_NAME "ContinueAsNewWorkflowExecutionCommand"

static bool fail_continue(struct command_ctx *c, const continue_t *k, const char *what, const char *why)
{
	return command_fail(c, BAD_CONTINUE,
			    arena_printf(c->t->arena, "%s: %s. WorkflowType=%s TaskQueue=%s", what, why,
					 k->workflow_type->name, task_queue_text(c->t->arena, k->task_queue)));
}

/* Type and queue are this run's where the command has none. */
static bool settle_names(struct command_ctx *c, continue_t *k)
{
	struct txn *t = c->t;
	const struct core_config *config = t->config;
	if (!k->workflow_type || str_empty(k->workflow_type->name)) {
		k->workflow_type = pb_new0(t->arena, COMMON(WorkflowType), COMMON_FN(workflow_type));
		k->workflow_type->name = t->start->workflow_type;
	}
	const char *type = k->workflow_type->name;
	if (strlen(type) > (size_t)config->id_bytes_max)
		return command_fail(c, BAD_CONTINUE,
				    arena_printf(t->arena,
						 "WorkflowType on " COMMAND_NAME " exceeds length limit. "
						 "WorkflowType=%s Length=%zu Limit=%d",
						 type, strlen(type), config->id_bytes_max));
	TASK_QUEUE(TaskQueue) empty = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	const char *why = validate_task_queue(config, t->arena, k->task_queue ? k->task_queue : &empty,
					      t->start->task_queue, &k->task_queue);
	return !why || fail_continue(c, k, "error validating " COMMAND_NAME " TaskQueue", why);
}

/* Timeouts are this run's where the command has none, and within the chain's. */
static bool settle_timeouts(struct command_ctx *c, continue_t *k)
{
	struct txn *t = c->t;
	const char *why = validate_duration(k->workflow_run_timeout);
	if (why)
		return fail_continue(c, k, "Invalid WorkflowRunTimeout on " COMMAND_NAME, why);
	why = validate_duration(k->workflow_task_timeout);
	if (why)
		return fail_continue(c, k, "Invalid WorkflowTaskTimeout on " COMMAND_NAME, why);
	why = validate_duration(k->backoff_start_interval);
	if (why)
		return fail_continue(c, k, "Invalid BackoffStartInterval on " COMMAND_NAME, why);
	int64_t run = pb_duration_ns(k->workflow_run_timeout), task = pb_duration_ns(k->workflow_task_timeout);
	run = run_timeout_within(run ? run : t->start->run_timeout_ns, t->start->execution_timeout_ns);
	task = workflow_task_timeout_within(t->config, task ? task : t->start->task_timeout_ns, run);
	k->workflow_run_timeout = pb_duration(t->arena, run);
	k->workflow_task_timeout = pb_duration(t->arena, task);
	return true;
}

static bool settle_rest(struct command_ctx *c, continue_t *k)
{
	struct txn *t = c->t;
	if (k->retry_policy) {
		k->retry_policy = retry_policy_with_defaults(t->config, t->arena, k->retry_policy);
		struct err e = retry_policy_validate(t->arena, k->retry_policy);
		if (err_is(e))
			return fail_continue(c, k, "invalid WorkflowRetryPolicy on " COMMAND_NAME, e.message);
	}
	struct err e = sa_check(t->arena, t->namespace_name, k->search_attributes);
	if (err_is(e)) {
		fail_continue(c, k, "invalid SearchAttributes on " COMMAND_NAME, e.message);
		c->failure.cause = COMMAND_CAUSE(BAD_SEARCH_ATTRIBUTES);
		return false;
	}
	return fits(c, k->input ? &k->input->base : NULL, t->config->blob_bytes_max, BAD_CONTINUE,
		    "ContinueAsNewWorkflowExecutionCommandAttributes. Input exceeds size limit.") &&
	       fits(c, k->memo ? &k->memo->base : NULL, t->config->memo_bytes_max, BAD_CONTINUE,
		    "ContinueAsNewWorkflowExecutionCommandAttributes. Memo exceeds size limit.");
}

static void continued_event(struct command_ctx *c, const continue_t *k, const char *run_id)
{
	struct arena *a = c->t->arena;
	HISTORY(HistoryEvent) *e =
		close_run(c->t, EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW), STATUS(CONTINUED_AS_NEW));
	HISTORY(WorkflowExecutionContinuedAsNewEventAttributes) *attr =
		e->workflow_execution_continued_as_new_event_attributes;
	attr->workflow_task_completed_event_id = c->completed_event_id;
	attr->new_execution_run_id = arena_strdup(a, run_id);
	attr->workflow_type = k->workflow_type;
	attr->task_queue = k->task_queue;
	attr->header = k->header;
	attr->input = k->input;
	attr->workflow_run_timeout = k->workflow_run_timeout;
	attr->workflow_task_timeout = k->workflow_task_timeout;
	attr->backoff_start_interval = k->backoff_start_interval;
	attr->initiator = k->initiator;
	attr->failure = k->failure;
	attr->last_completion_result = k->last_completion_result;
	attr->memo = memo_without_nil(a, k->memo);
	attr->search_attributes = sa_typed(a, k->search_attributes, false);
	attr->inherit_build_id = k->inherit_build_id;
}

bool command_continue_as_new(struct command_ctx *c, const COMMAND(Command) *command)
{
	struct txn *t = c->t;
	if (!may_close(c))
		return false;
	if (command->attributes_case != ATTRIBUTES(CONTINUE_AS_NEW_WORKFLOW_EXECUTION))
		return command_fail(c, BAD_CONTINUE,
				    "ContinueAsNewWorkflowExecutionCommandAttributes is not set on " COMMAND_NAME ".");
	continue_t *k = arena_new0(t->arena, continue_t);
	*k = *command->continue_as_new_workflow_execution_command_attributes;
	struct err e = sa_check_names(t->arena, t->namespace_name, k->search_attributes);
	if (err_is(e))
		return command_fail(c, COMMAND_CAUSE(BAD_SEARCH_ATTRIBUTES), e.message);
	if (!settle_names(c, k) || !settle_timeouts(c, k) || !settle_rest(c, k))
		return false;
	char run_id[37];
	txn_uuid(t, run_id);
	continued_event(c, k, run_id);
	command_decorate(t->events[t->event_count - 1], command);
	close_continue_as_new(t, run_id, k);
	return true;
}
