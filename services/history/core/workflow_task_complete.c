/*
 * RespondWorkflowTaskCompleted: the worker's commands become events and state, or the task fails as a whole.
 *
 *   token and request are right ── no ──► an error, nothing happened; or, when its response was lost, the same again
 *           │
 *   task completed (or: heartbeats have gone on for too long)
 *           │
 *   commands, one by one ── a bad one ──► all of it undone, the task failed, and the error goes to the worker
 *           │
 *   a next task, where something waits for one; handed out at once where the worker asks for that
 */
#include "services/history/core/close.h"
#include "services/history/core/errors.h"
#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/reset_points.h"
#include "services/history/core/workflow_task.h"

typedef WS(RespondWorkflowTaskCompletedRequest) answer_t;

#define INLINE_REQUEST_ID "request-from-RespondWorkflowTaskCompleted"

/* ------------------------------------------------------------------ commands */

struct command_kind {
	command_fn *fn; /* NULL: another issue's */
	bool closes;
};

/* NULL: no such command. */
static const struct command_kind *command_kind(int type)
{
	static const struct command_kind kinds[] = {
		[COMMAND_TYPE(SCHEDULE_ACTIVITY_TASK)] = {command_schedule_activity, false},
		[COMMAND_TYPE(REQUEST_CANCEL_ACTIVITY_TASK)] = {command_cancel_activity, false},
		[COMMAND_TYPE(START_TIMER)] = {command_start_timer, false},
		[COMMAND_TYPE(CANCEL_TIMER)] = {command_cancel_timer, false},
		[COMMAND_TYPE(RECORD_MARKER)] = {command_record_marker, false},
		[COMMAND_TYPE(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)] = {command_upsert_search_attributes, false},
		[COMMAND_TYPE(MODIFY_WORKFLOW_PROPERTIES)] = {command_modify_properties, false},
		[COMMAND_TYPE(COMPLETE_WORKFLOW_EXECUTION)] = {command_complete_workflow, true},
		[COMMAND_TYPE(FAIL_WORKFLOW_EXECUTION)] = {command_fail_workflow, true},
		[COMMAND_TYPE(CANCEL_WORKFLOW_EXECUTION)] = {command_cancel_workflow, true},
		[COMMAND_TYPE(CONTINUE_AS_NEW_WORKFLOW_EXECUTION)] = {command_continue_as_new, true},
		[COMMAND_TYPE(REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION)] = {command_cancel_external, false},
		[COMMAND_TYPE(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION)] = {command_signal_external, false},
		[COMMAND_TYPE(START_CHILD_WORKFLOW_EXECUTION)] = {command_start_child, false},
		[COMMAND_TYPE(PROTOCOL_MESSAGE)] = {NULL, false},
		[COMMAND_TYPE(SCHEDULE_NEXUS_OPERATION)] = {NULL, false},
		[COMMAND_TYPE(REQUEST_CANCEL_NEXUS_OPERATION)] = {NULL, false},
	};
	return type > 0 && (size_t)type < array_len(kinds) ? &kinds[type] : NULL;
}

static const char *command_name(struct arena *a, int type)
{
	return pb_enum_short_name(a, &temporal__api__enums__v1__command_type__descriptor, type, "COMMAND_TYPE_");
}

static struct err misplaced(struct arena *a, const answer_t *req, int closing)
{
	const char *list = "";
	for (size_t i = 0; i < req->n_commands; i++)
		list = arena_printf(a, "%s%s%s", list, i ? ", " : "",
				    command_name(a, (int)req->commands[i]->command_type));
	return err_make(a, ERR_INVALID_ARGUMENT, "invalid command sequence: [%s], command %s must be the last command.",
			list, command_name(a, closing));
}

static struct err check_sequence(struct arena *a, const answer_t *req)
{
	int closing = 0;
	for (size_t i = 0; i < req->n_commands; i++) {
		int type = (int)req->commands[i]->command_type;
		if (closing)
			return misplaced(a, req, closing);
		const struct command_kind *kind = command_kind(type);
		if (!kind)
			return err_make(a, ERR_INVALID_ARGUMENT, "unknown command type: %s", command_name(a, type));
		if (kind->closes)
			closing = type;
	}
	return err_ok;
}

static bool run_commands(struct command_ctx *c, const answer_t *req)
{
	for (size_t i = 0; i < req->n_commands; i++) {
		int type = (int)req->commands[i]->command_type;
		command_fn *fn = command_kind(type)->fn;
		if (!fn)
			return command_fail(c, COMMAND_CAUSE(FEATURE_DISABLED),
					    arena_printf(c->t->arena, "%s commands are not supported.",
							 command_name(c->t->arena, type)));
		if (!fn(c, req->commands[i]))
			return false;
	}
	return true;
}

/* ------------------------------------------------------------------ the task that is answered */

static struct err check_request(struct txn *t, const Perdure__TaskToken *token, const answer_t *req)
{
	if (req->identity && strlen(req->identity) > (size_t)t->config->id_bytes_max)
		return err_static(ERR_INVALID_ARGUMENT, "Identity length exceeds limit.");
	if (!workflow_task_is(t, token))
		return core_not_found(t->arena, "Workflow task not found.");
	bool versioned = req->deployment_options &&
			 req->deployment_options->worker_versioning_mode ==
				 TEMPORAL__API__ENUMS__V1__WORKER_VERSIONING_MODE__WORKER_VERSIONING_MODE_VERSIONED;
	if (req->versioning_behavior && !req->deployment && !versioned)
		return err_static(ERR_INVALID_ARGUMENT, "versioning behavior cannot be specified without deployment "
							"options being set with versioned mode");
	return check_sequence(t->arena, req);
}

/* A version that the server would dispatch by is not told on: only what the worker calls itself. */
static COMMON(WorkerVersionStamp) *plain_version(const answer_t *req)
{
	return req->worker_version_stamp && !req->worker_version_stamp->use_versioning ? req->worker_version_stamp
										       : NULL;
}

static void set_deployment(struct txn *t, const answer_t *req, HISTORY(WorkflowTaskCompletedEventAttributes) *attr)
{
	const Temporal__Api__Deployment__V1__WorkerDeploymentOptions *o = req->deployment_options;
	if (o && !str_empty(o->deployment_name))
		attr->worker_deployment_name = o->deployment_name;
	else if (req->deployment)
		attr->worker_deployment_name = req->deployment->series_name;
	bool versioned =
		o && o->worker_versioning_mode ==
			     TEMPORAL__API__ENUMS__V1__WORKER_VERSIONING_MODE__WORKER_VERSIONING_MODE_VERSIONED;
	if (!o || versioned)
		attr->versioning_behavior = req->versioning_behavior;
	if (!versioned || str_empty(o->build_id))
		return;
	attr->deployment_version = pb_new0(t->arena, Temporal__Api__Deployment__V1__WorkerDeploymentVersion,
					   temporal__api__deployment__v1__worker_deployment_version);
	attr->deployment_version->deployment_name = o->deployment_name;
	attr->deployment_version->build_id = o->build_id;
}

static void respond_next(struct txn *t, struct wft_completed *ret)
{
	ret->response->workflow_task =
		pb_new0(t->arena, WS(PollWorkflowTaskQueueResponse), WS_FN(poll_workflow_task_queue_response));
	workflow_task_response(t, ret->response->workflow_task);
	ret->start_new = true;
}

/* Whether it is the answer that was taken last, and its response handed out what still waits for this worker. */
static bool repeat(struct txn *t, const Perdure__TaskToken *token, const answer_t *req, struct wft_completed *ret)
{
	if (!txn_open(t) || token->kind != PERDURE__TASK_TOKEN__KIND__WORKFLOW || !token->start_nonce ||
	    token->started_event_id != txn_exec(t)->last_completed_workflow_task_started_event_id)
		return false;
	activity_repeat_eager(t, token->start_nonce, ret->response);
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	if (req->return_new_workflow_task && w && !run_workflow_task_waits(w) &&
	    str_eq(w->request_id, INLINE_REQUEST_ID))
		respond_next(t, ret);
	return ret->start_new || ret->response->n_activity_tasks > 0;
}

/* Writes WorkflowTaskCompleted. Returns its id. */
static int64_t complete(struct txn *t, const answer_t *req)
{
	if (txn_workflow_task(t)->kind == PERDURE__WORKFLOW_TASK__KIND__TRANSIENT)
		workflow_task_materialize(t, req->identity, plain_version(req));
	int64_t scheduled = txn_workflow_task(t)->scheduled_event_id;
	int64_t started = txn_workflow_task(t)->started_event_id;
	workflow_task_completed(t);

	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_TASK_COMPLETED));
	HISTORY(WorkflowTaskCompletedEventAttributes) *attr = e->workflow_task_completed_event_attributes;
	attr->scheduled_event_id = scheduled;
	attr->started_event_id = started;
	attr->identity = req->identity;
	attr->binary_checksum = req->binary_checksum;
	attr->worker_version = req->worker_version_stamp;
	attr->sdk_metadata = req->sdk_metadata;
	attr->metering_metadata = req->metering_metadata;
	set_deployment(t, req, attr);

	const char *build_id = attr->deployment_version	   ? attr->deployment_version->build_id
			       : req->worker_version_stamp ? req->worker_version_stamp->build_id
							   : NULL;
	reset_points_add(t, e->event_id, req->binary_checksum, build_id);
	build_ids_add(t, req->worker_version_stamp);
	txn_exec(t)->last_completed_workflow_task_started_event_id = started;
	return e->event_id;
}

static void set_sticky(struct txn *t, const answer_t *req)
{
	const TASK_QUEUE(StickyExecutionAttributes) *s = req->sticky_attributes;
	if (!s || !s->worker_task_queue || str_empty(s->worker_task_queue->name)) {
		workflow_task_clear_sticky(t);
		return;
	}
	txn_exec(t)->sticky_task_queue = s->worker_task_queue->name;
	txn_exec(t)->sticky_timeout_ns = pb_duration_ns(s->schedule_to_start_timeout);
}

/* ------------------------------------------------------------------ refused */

/* All that the answer did is undone; the task fails, or in extreme cases the run. */
static struct err refuse(struct txn *t, const answer_t *req, struct command_failure f, struct wft_completed *ret)
{
	struct arena *a = t->arena;
	const char *name = workflow_task_cause_name(a, f.cause);
	const char *message = f.message ? arena_printf(a, "%s: %s", name, f.message) : name;
	struct err e = err_static(ERR_INVALID_ARGUMENT, message);
	txn_restart(t);
	/* One that keeps failing is left to time out, which spaces the attempts. */
	if (txn_workflow_task(t)->attempt > 1 && f.cause != COMMAND_CAUSE(UNHANDLED_COMMAND))
		return e;
	workflow_task_fail(t, f.cause, failure_server(a, message, false), req->identity, req->binary_checksum);
	if (f.terminate) {
		txn_flush(t);
		close_terminate(t, message, NULL, SERVER_IDENTITY, NULL, 0);
	} else {
		workflow_task_schedule(t);
	}
	ret->failed = e;
	return err_ok;
}

/* ------------------------------------------------------------------ what comes next */

static void start_next(struct txn *t, const answer_t *req, struct wft_completed *ret)
{
	workflow_task_start(t, INLINE_REQUEST_ID, req->identity, plain_version(req));
	respond_next(t, ret);
}

static struct err heartbeat_timed_out(struct txn *t, const answer_t *req, struct wft_completed *ret)
{
	workflow_task_end_by_timeout(t);
	set_sticky(t, req);
	workflow_task_schedule(t);
	ret->failed = core_not_found(t->arena, "workflow task heartbeat timeout");
	return err_ok;
}

struct err core_complete_workflow_task(struct txn *t, const Perdure__TaskToken *token, const answer_t *req,
				       struct wft_completed *ret)
{
	if (!ret->response)
		ret->response = pb_new0(t->arena, WS(RespondWorkflowTaskCompletedResponse),
					WS_FN(respond_workflow_task_completed_response));
	struct err e = check_request(t, token, req);
	if (err_is(e))
		return e.code == ERR_NOT_FOUND && repeat(t, token, req, ret) ? err_ok : e;
	/* A worker that only asks for more time does so in a row of tasks, which as a whole has an end. */
	bool heartbeat = req->force_create_new_workflow_task && req->n_commands == 0 && req->n_messages == 0;
	int64_t original_scheduled = txn_workflow_task(t)->original_scheduled_time_ns;
	if (heartbeat && original_scheduled > 0 &&
	    t->now_ns > time_add_ns(original_scheduled, t->config->workflow_task_heartbeat_timeout_ns))
		return heartbeat_timed_out(t, req, ret);

	struct command_ctx c = {.t = t, .identity = req->identity, .start_nonce = token->start_nonce};
	c.completed_event_id = complete(t, req);
	set_sticky(t, req);
	c.has_buffered = txn_buffered_count(t) > 0;
	if (!run_commands(&c, req))
		return err_is(c.refused) ? c.refused : refuse(t, req, c.failure, ret);
	if (!txn_open(t))
		return err_ok;

	if (req->force_create_new_workflow_task || c.has_buffered || c.new_task) {
		if (heartbeat)
			workflow_task_schedule_heartbeat(t, original_scheduled);
		else
			workflow_task_schedule(t);
		if (req->return_new_workflow_task)
			start_next(t, req, ret);
	}
	activity_start_eager(&c, ret->response);
	return err_ok;
}
