/*
 * Workers' answers that are too large. Refusing them would leave the task to its timeout, and again after it: so what
 * is forwarded instead is an answer that says what was wrong. (Those of activities history's core fits itself.)
 */
#include <temporal/api/failure/v1/message.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/internal.h"

typedef Temporal__Api__Failure__V1__Failure failure;

#define INFO(name) TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_##name

/* What is kept of a failure that is too large, and how deep its causes are followed. */
#define FAILURE_KEPT_BYTES (512 * 1024)
#define FAILURE_DEPTH_MAX  20
#define FIELD_OVERHEAD	   4

/* ------------------------------------------------------------------ failures */

static failure *server_failure(struct arena *a, const char *text)
{
	failure *f = arena_new0(a, failure);
	temporal__api__failure__v1__failure__init(f);
	f->message = (char *)text;
	f->failure_info_case = INFO(SERVER_FAILURE_INFO);
	f->server_failure_info = arena_new0(a, Temporal__Api__Failure__V1__ServerFailureInfo);
	temporal__api__failure__v1__server_failure_info__init(f->server_failure_info);
	f->server_failure_info->non_retryable = true;
	return f;
}

/* At most *room bytes, never in the middle of a character. */
static char *cut(struct arena *a, const char *s, int64_t *room)
{
	size_t len = s ? strlen(s) : 0;
	if (len == 0 || *room <= 0)
		return (char *)"";
	if ((int64_t)len > *room) {
		len = (size_t)*room;
		while (len && ((uint8_t)s[len] & 0xc0) == 0x80)
			len--;
	}
	*room -= (int64_t)len + FIELD_OVERHEAD;
	return arena_printf(a, "%.*s", (int)len, s);
}

/* Who gets room first matters most. */
static failure *cut_failure(struct arena *a, const failure *f, int64_t room, int depth)
{
	failure *r = arena_new0(a, failure);
	temporal__api__failure__v1__failure__init(r);
	if (f->failure_info_case == INFO(APPLICATION_FAILURE_INFO) && f->application_failure_info) {
		r->failure_info_case = f->failure_info_case;
		r->application_failure_info = arena_new0(a, Temporal__Api__Failure__V1__ApplicationFailureInfo);
		temporal__api__failure__v1__application_failure_info__init(r->application_failure_info);
		r->application_failure_info->non_retryable = f->application_failure_info->non_retryable;
		r->application_failure_info->type = cut(a, f->application_failure_info->type, &room);
		room -= 2 * FIELD_OVERHEAD;
	} else if (f->failure_info_case == INFO(SERVER_FAILURE_INFO) && f->server_failure_info) {
		r->failure_info_case = f->failure_info_case;
		r->server_failure_info = f->server_failure_info;
		room -= FIELD_OVERHEAD;
	}
	r->source = cut(a, f->source, &room);
	r->message = cut(a, f->message, &room);
	r->stack_trace = cut(a, f->stack_trace, &room);
	if (f->cause && room > FIELD_OVERHEAD && depth > 0)
		r->cause = cut_failure(a, f->cause, room - FIELD_OVERHEAD, depth - 1);
	return r;
}

/* ------------------------------------------------------------------ the answer instead */

static void put_message(struct buf *b, uint32_t field, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	buf_put_varint(b, (uint64_t)field << 3 | 2);
	buf_put_varint(b, len);
	protobuf_c_message_pack(m, buf_reserve(b, len));
	b->len += len;
}

static struct bytes keep(struct arena *a, struct buf *b)
{
	struct bytes kept = arena_copy(a, buf_view(b));
	buf_done(b);
	return kept;
}

/* The request without a field, to which another value of it can be appended. */
static struct buf without(struct bytes request, uint32_t number)
{
	struct buf b = {0};
	struct bytes rest = request;
	struct wire_field f;
	const uint8_t *start = rest.data;
	while (wire_next(&rest, &f)) {
		if (f.number != number)
			buf_put(&b, start, (size_t)(rest.data - start));
		start = rest.data;
	}
	return b;
}

static struct bytes shorter_failure(struct edge_call *c, struct bytes given)
{
	struct arena *a = edge_arena(c);
	failure *f = server_failure(a, "Failure exceeds size limit.");
	failure *cause = temporal__api__failure__v1__failure__unpack(arena_pb(a), given.len, given.data);
	if (cause)
		f->cause = cut_failure(a, cause, FAILURE_KEPT_BYTES, FAILURE_DEPTH_MAX);
	uint32_t number = edge_field_number(c, "failure");
	struct buf b = without(c->request, number);
	put_message(&b, number, &f->base);
	return keep(a, &b);
}

static struct bytes failed_query(struct edge_call *c)
{
	Temporal__Api__Workflowservice__V1__RespondQueryTaskCompletedRequest m =
		TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_QUERY_TASK_COMPLETED_REQUEST__INIT;
	m.completed_type = TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_FAILED;
	m.error_message = (char *)"Blob data size exceeds limit.";
	struct buf b = {0};
	buf_put_field(&b, edge_field_number(c, "task_token"), edge_field(c, "task_token"));
	size_t len = protobuf_c_message_get_packed_size(&m.base);
	protobuf_c_message_pack(&m.base, buf_reserve(&b, len));
	b.len += len;
	return keep(edge_arena(c), &b);
}

struct bytes oversize_replace(struct edge_call *c)
{
	enum api_method_id method = api_method_id_of(c->method);
	struct bytes fault = {0}, result = {0};
	if (method == API_METHOD_WORKFLOW_RESPOND_WORKFLOW_TASK_FAILED)
		fault = edge_field(c, "failure");
	else if (method == API_METHOD_WORKFLOW_RESPOND_QUERY_TASK_COMPLETED)
		result = edge_field(c, "query_result");
	if ((int64_t)fault.len > c->edge->config.payload_bytes_max)
		return shorter_failure(c, fault);
	if ((int64_t)result.len > c->edge->config.payload_bytes_max)
		return failed_query(c);
	return c->request;
}
