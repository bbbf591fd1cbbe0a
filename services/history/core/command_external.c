/*
 * The commands that concern other workflows: signal one, request one's cancellation, start a child. They are checked as
 * clients know it; carrying them out is not built yet, so a good one fails the workflow task as a feature that is off.
 */
#include "services/history/core/core_internal.h"
#include "services/history/core/cron.h"
#include "services/history/core/errors.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/retry.h"
#include "services/history/core/search_attributes.h"
#include "services/history/core/validate.h"

#define ATTRIBUTES(name) TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##name##_COMMAND_ATTRIBUTES

#define BAD_SIGNAL COMMAND_CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES)
#define BAD_CANCEL COMMAND_CAUSE(BAD_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_ATTRIBUTES)
#define BAD_CHILD  COMMAND_CAUSE(BAD_START_CHILD_EXECUTION_ATTRIBUTES)

#define CROSS_NAMESPACE_TEXT "cross namespace commands are not allowed"

#define SIGNAL_NAME "SignalExternalWorkflowExecutionCommand"
#define CANCEL_NAME "RequestCancelExternalWorkflowExecutionCommand"
#define CHILD_NAME  "StartChildWorkflowExecutionCommand"

typedef COMMAND(StartChildWorkflowExecutionCommandAttributes) child_t;

static bool not_supported(struct command_ctx *c, const char *kind)
{
	return command_fail(c, COMMAND_CAUSE(FEATURE_DISABLED),
			    arena_printf(c->t->arena, "%s commands are not supported.", kind));
}

/*
 * The namespace that a command means (empty: the run's own) has to exist; if it does not, the worker's whole answer is
 * refused and its task goes on. Commands stay within their namespace.
 */
static bool find_namespace(struct command_ctx *c, const char *name)
{
	if (str_empty(name) || txn_namespace_id(c->t, name))
		return true;
	c->refused = core_namespace_not_found(c->t->arena, name);
	return false;
}

static bool is_own_namespace(struct command_ctx *c, const char *name)
{
	return str_empty(name) || str_eq(txn_namespace_id(c->t, name), c->t->namespace_id);
}

static bool too_long(struct command_ctx *c, const char *s)
{
	return !str_empty(s) && strlen(s) > (size_t)c->t->config->id_bytes_max;
}

static const char *text(const char *s)
{
	return s ? s : "";
}

/* ------------------------------------------------------------------ signal */

static const char *check_signal(struct command_ctx *c,
				const COMMAND(SignalExternalWorkflowExecutionCommandAttributes) *attr)
{
	struct arena *a = c->t->arena;
	if (!attr->execution)
		return "Execution is not set on " SIGNAL_NAME ".";
	if (!is_own_namespace(c, attr->namespace_))
		return CROSS_NAMESPACE_TEXT;
	const char *ns = text(attr->namespace_), *id = text(attr->execution->workflow_id);
	const char *run_id = text(attr->execution->run_id), *name = text(attr->signal_name);
	int max = c->t->config->id_bytes_max;
	if (!*id)
		return arena_printf(a, "WorkflowId is not set on " SIGNAL_NAME ". Namespace=%s RunId=%s SignalName=%s",
				    ns, run_id, name);
	if (too_long(c, id))
		return arena_printf(a,
				    "WorkflowId on " SIGNAL_NAME " exceeds length limit. WorkflowId=%s Length=%zu "
				    "Limit=%d Namespace=%s RunId=%s SignalName=%s",
				    id, strlen(id), max, ns, run_id, name);
	if (*run_id && !is_uuid_text(run_id))
		return arena_printf(
			a, "Invalid RunId set on " SIGNAL_NAME ". WorkflowId=%s Namespace=%s RunId=%s SignalName=%s",
			id, ns, run_id, name);
	if (!*name)
		return arena_printf(a, "SignalName is not set on " SIGNAL_NAME ". WorkflowId=%s Namespace=%s RunId=%s",
				    id, ns, run_id);
	return NULL;
}

bool command_signal_external(struct command_ctx *c, const COMMAND(Command) *command)
{
	if (command->attributes_case != ATTRIBUTES(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION))
		return command_fail(c, BAD_SIGNAL,
				    "SignalExternalWorkflowExecutionCommandAttributes is not set on " SIGNAL_NAME ".");
	const COMMAND(SignalExternalWorkflowExecutionCommandAttributes) *attr =
		command->signal_external_workflow_execution_command_attributes;
	if (!find_namespace(c, attr->namespace_))
		return false;
	const char *why = check_signal(c, attr);
	return why ? command_fail(c, BAD_SIGNAL, why) : not_supported(c, "SignalExternalWorkflowExecution");
}

/* ------------------------------------------------------------------ cancel */

static const char *check_cancel(struct command_ctx *c,
				const COMMAND(RequestCancelExternalWorkflowExecutionCommandAttributes) *attr)
{
	struct arena *a = c->t->arena;
	if (!is_own_namespace(c, attr->namespace_))
		return CROSS_NAMESPACE_TEXT;
	const char *ns = text(attr->namespace_), *id = text(attr->workflow_id), *run_id = text(attr->run_id);
	if (!*id)
		return arena_printf(a, "WorkflowId is not set on " CANCEL_NAME ". Namespace=%s RunId=%s", ns, run_id);
	if (too_long(c, id))
		return arena_printf(a,
				    "WorkflowId on " CANCEL_NAME
				    " exceeds length limit. WorkflowId=%s Length=%zu Limit=%d RunId=%s Namespace=%s",
				    id, strlen(id), c->t->config->id_bytes_max, run_id, ns);
	if (*run_id && !is_uuid_text(run_id))
		return arena_printf(a, "Invalid RunId set on " CANCEL_NAME ". WorkflowId=%s RunId=%s Namespace=%s", id,
				    run_id, ns);
	return NULL;
}

bool command_cancel_external(struct command_ctx *c, const COMMAND(Command) *command)
{
	if (command->attributes_case != ATTRIBUTES(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION))
		return command_fail(c, BAD_CANCEL,
				    "RequestCancelExternalWorkflowExecutionCommandAttributes is not set on " CANCEL_NAME
				    ".");
	const COMMAND(RequestCancelExternalWorkflowExecutionCommandAttributes) *attr =
		command->request_cancel_external_workflow_execution_command_attributes;
	if (!find_namespace(c, attr->namespace_))
		return false;
	const char *why = check_cancel(c, attr);
	return why ? command_fail(c, BAD_CANCEL, why) : not_supported(c, "RequestCancelExternalWorkflowExecution");
}

/* ------------------------------------------------------------------ start child */

struct child_names {
	const char *id, *type, *namespace;
};

static bool fail_child(struct command_ctx *c, const struct child_names *n, const char *what, const char *why)
{
	return command_fail(c, BAD_CHILD,
			    arena_printf(c->t->arena, "%s on %s: %s. WorkflowId=%s WorkflowType=%s Namespace=%s", what,
					 CHILD_NAME, why, n->id, n->type, n->namespace));
}

static bool check_child_names(struct command_ctx *c, const struct child_names *n)
{
	struct arena *a = c->t->arena;
	const char *why = NULL;
	int max = c->t->config->id_bytes_max;
	if (!is_own_namespace(c, n->namespace))
		why = CROSS_NAMESPACE_TEXT;
	else if (!*n->id)
		why = arena_printf(a,
				   "Required field WorkflowId is not set on " CHILD_NAME ". WorkflowType=%s "
				   "Namespace=%s",
				   n->type, n->namespace);
	else if (!*n->type)
		why = arena_printf(a,
				   "Required field WorkflowType is not set on " CHILD_NAME ". WorkflowId=%s "
				   "Namespace=%s",
				   n->id, n->namespace);
	else if (too_long(c, n->id))
		why = arena_printf(a,
				   "WorkflowId on " CHILD_NAME " exceeds length limit. WorkflowId=%s Length=%zu "
				   "Limit=%d WorkflowType=%s Namespace=%s",
				   n->id, strlen(n->id), max, n->type, n->namespace);
	else if (too_long(c, n->type))
		why = arena_printf(a,
				   "WorkflowType on " CHILD_NAME " exceeds length limit. WorkflowId=%s "
				   "WorkflowType=%s Length=%zu Limit=%d Namespace=%s",
				   n->id, n->type, strlen(n->type), max, n->namespace);
	return !why || command_fail(c, BAD_CHILD, why);
}

static bool check_child_timeouts(struct command_ctx *c, const child_t *attr, const struct child_names *n)
{
	const struct {
		const char *name;
		const Google__Protobuf__Duration *value;
	} timeouts[] = {
		{"Invalid WorkflowExecutionTimeout", attr->workflow_execution_timeout},
		{"Invalid WorkflowRunTimeout", attr->workflow_run_timeout},
		{"Invalid WorkflowTaskTimeout", attr->workflow_task_timeout},
	};
	for (size_t i = 0; i < array_len(timeouts); i++) {
		const char *why = validate_duration(timeouts[i].value);
		if (why)
			return fail_child(c, n, timeouts[i].name, why);
	}
	return true;
}

static bool check_child_values(struct command_ctx *c, const child_t *attr, const struct child_names *n)
{
	struct txn *t = c->t;
	if (attr->retry_policy) {
		struct err e = retry_policy_validate(
			t->arena, retry_policy_with_defaults(t->config, t->arena, attr->retry_policy));
		if (err_is(e))
			return fail_child(c, n, "invalid WorkflowRetryPolicy", e.message);
	}
	struct err e = cron_validate(&t->config->zones, attr->cron_schedule, t->now_ns);
	if (err_is(e))
		return fail_child(c, n, "invalid CronSchedule", e.message);
	const char *why;
	e = sa_check(t->arena, n->namespace, attr->search_attributes);
	if (err_is(e)) {
		why = arena_printf(t->arena,
				   "invalid SearchAttributes on StartChildWorkflowCommand: %s. WorkflowId=%s "
				   "WorkflowType=%s Namespace=%s",
				   e.message, n->id, n->type, n->namespace);
		return command_fail(c, COMMAND_CAUSE(BAD_SEARCH_ATTRIBUTES), why);
	}
	why = validate_priority(attr->priority);
	if (why)
		return command_fail(c, BAD_CHILD, why);

	TASK_QUEUE(TaskQueue) empty = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT, *queue;
	why = validate_task_queue(t->config, t->arena, attr->task_queue ? attr->task_queue : &empty,
				  t->start->task_queue, &queue);
	if (!why)
		return true;
	fail_child(c, n, "invalid TaskQueue", why);
	c->failure.message =
		arena_printf(t->arena, "%s TaskQueue=%s", c->failure.message, task_queue_text(t->arena, queue));
	return false;
}

bool command_start_child(struct command_ctx *c, const COMMAND(Command) *command)
{
	if (command->attributes_case != ATTRIBUTES(START_CHILD_WORKFLOW_EXECUTION))
		return command_fail(c, BAD_CHILD,
				    "StartChildWorkflowExecutionCommandAttributes is not set on " CHILD_NAME ".");
	const child_t *attr = command->start_child_workflow_execution_command_attributes;
	if (!find_namespace(c, attr->namespace_))
		return false;
	const struct child_names n = {
		.id = text(attr->workflow_id),
		.type = attr->workflow_type ? text(attr->workflow_type->name) : "",
		.namespace = str_empty(attr->namespace_) ? c->t->namespace_name : attr->namespace_,
	};
	struct err e = sa_check_names(c->t->arena, n.namespace, attr->search_attributes);
	if (err_is(e))
		return command_fail(c, COMMAND_CAUSE(BAD_SEARCH_ATTRIBUTES), e.message);
	return check_child_names(c, &n) && check_child_timeouts(c, attr, &n) && check_child_values(c, attr, &n) &&
	       not_supported(c, "StartChildWorkflowExecution");
}
