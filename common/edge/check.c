/*
 * What can be said about a request without any state. Texts are those that clients of this API match on; what a start
 * must fulfil beyond its workflow id is the history core's to say.
 */
#include <ctype.h>
#include <inttypes.h>

#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "common/edge/internal.h"

#define invalid(text) err_static(ERR_INVALID_ARGUMENT, text)

/* Names of internal queues; no user may have one. */
#define RESERVED_QUEUE_PREFIX "/_sys/"

static struct err not_found(struct edge_call *c, const char *text)
{
	Temporal__Api__Errordetails__V1__NotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NOT_FOUND_FAILURE__INIT;
	return err_detail(edge_arena(c), err_static(ERR_NOT_FOUND, text), &detail.base);
}

bool is_uuid(struct bytes s)
{
	if (s.len != 36)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		bool dash = i == 8 || i == 13 || i == 18 || i == 23;
		if (dash ? s.data[i] != '-' : !isxdigit(s.data[i]))
			return false;
	}
	return true;
}

struct err check_id_len(const struct edge *e, struct bytes value, const char *text)
{
	return (int64_t)value.len > e->config.id_bytes_max ? invalid(text) : err_ok;
}

static struct err check_identity(struct edge_call *c)
{
	return check_id_len(c->edge, edge_field(c, "identity"), "Identity length exceeds limit.");
}

static struct err check_payload(struct edge_call *c, struct bytes payload)
{
	return (int64_t)payload.len > c->edge->config.payload_bytes_max ? invalid("Blob data size exceeds limit.")
									: err_ok;
}

struct err check_execution(struct edge_call *c, struct admitted *a)
{
	const char *field = a->route->execution;
	if (!edge_field(c, field).data)
		return invalid("Execution is not set on request.");
	if (!edge_field_in(c, field, "workflow_id").len)
		return invalid("WorkflowId is not set on request.");
	struct bytes run_id = edge_field_in(c, field, "run_id");
	if (run_id.len && !is_uuid(run_id))
		return invalid("Invalid RunId.");
	return err_ok;
}

struct err check_start(struct edge_call *c, struct admitted *a)
{
	(void)a;
	struct bytes id = edge_field(c, "workflow_id");
	int64_t max = c->edge->config.id_bytes_max;
	if (!id.len)
		return invalid("WorkflowId is not set on request.");
	if ((int64_t)id.len > max)
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT,
				"WorkflowId exceeds maximum allowed length (%zu/%" PRId64 ")", id.len, max);
	return check_id_len(c->edge, edge_field(c, "request_id"), "RequestId length exceeds limit.");
}

struct err check_signal(struct edge_call *c, struct admitted *a)
{
	try(check_execution(c, a));
	struct bytes name = edge_field(c, "signal_name");
	if (!name.len)
		return invalid("SignalName is not set on request.");
	try(check_id_len(c->edge, name, "SignalName length exceeds limit."));
	try(check_id_len(c->edge, edge_field(c, "request_id"), "RequestId length exceeds limit."));
	return check_payload(c, edge_field(c, "input"));
}

struct err check_query(struct edge_call *c, struct admitted *a)
{
	try(check_execution(c, a));
	if (!edge_field(c, "query").data)
		return invalid("WorkflowQuery is not set on request.");
	if (!edge_field_in(c, "query", "query_type").len)
		return invalid("QueryType is not set on request.");
	return check_payload(c, edge_field_in(c, "query", "query_args"));
}

/* An activity named by its workflow and its id. */
struct err check_by_id(struct edge_call *c, struct admitted *a)
{
	(void)a;
	if (!edge_field(c, "activity_id").len)
		return invalid("ActivityId is not set on request.");
	if (api_method_id_of(c->method) != API_METHOD_WORKFLOW_RECORD_ACTIVITY_TASK_HEARTBEAT_BY_ID)
		try(check_identity(c));
	/* Without a workflow, it is an activity that stands alone: there is none. */
	if (!edge_field(c, "workflow_id").len)
		return not_found(c, arena_printf(edge_arena(c), "activity not found for ID: %s",
						 edge_text(c, edge_field(c, "activity_id"))));
	struct bytes run_id = edge_field(c, "run_id");
	if (run_id.len && !is_uuid(run_id))
		return invalid("RunId is not valid UUID.");
	return err_ok;
}

/* A worker's answer to a task, by its token. */
struct err check_answer(struct edge_call *c, struct admitted *a)
{
	if (str_empty(a->token->workflow_id) || a->token->kind == PERDURE__TASK_TOKEN__KIND__QUERY)
		return invalid("Invalid TaskToken.");
	if (api_method_id_of(c->method) == API_METHOD_WORKFLOW_RECORD_ACTIVITY_TASK_HEARTBEAT)
		return err_ok;
	return check_identity(c);
}

struct err check_query_answer(struct edge_call *c, struct admitted *a)
{
	bool of_query = a->token->kind == PERDURE__TASK_TOKEN__KIND__QUERY;
	if (str_empty(a->token->workflow_id) || (of_query && str_empty(a->token->query_id)))
		return invalid("Invalid TaskToken.");
	if (!of_query)
		return not_found(c, "query task not found, or already expired");
	return err_ok;
}

static struct err check_queue_name(struct edge_call *c, struct bytes name, bool root_only)
{
	try(check_id_len(c->edge, name, "taskQueue length exceeds limit"));
	size_t prefix_len = strlen(RESERVED_QUEUE_PREFIX);
	if (root_only && name.len >= prefix_len && memcmp(name.data, RESERVED_QUEUE_PREFIX, prefix_len) == 0)
		return invalid("task queue name cannot start with reserved prefix " RESERVED_QUEUE_PREFIX);
	return err_ok;
}

struct err check_task_queue(struct edge_call *c, bool root_only)
{
	if (!edge_field(c, "task_queue").data)
		return invalid("taskQueue is not set");
	struct bytes name = edge_field_in(c, "task_queue", "name");
	if (!name.len)
		return invalid("missing task queue name");
	try(check_queue_name(c, name, root_only));
	return check_queue_name(c, edge_field_in(c, "task_queue", "normal_name"), false);
}
