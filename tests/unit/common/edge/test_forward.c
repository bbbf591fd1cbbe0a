/*
 * Requests that history serves: admitted, forwarded as they came, sent again while shards move.
 */
#include <stdio.h>
#include <stdlib.h>

#include <perdure/token.pb-c.h>

#include "common/edge/wire.h"
#include "common/mem/mem.h"
#include "tests/unit/common/edge/harness.h"

#define SECOND NS_PER_S

static WS(SignalWorkflowExecutionRequest) signal_to(const char *workflow_id)
{
	static Temporal__Api__Common__V1__WorkflowExecution x;
	WS(SignalWorkflowExecutionRequest) r =
		TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	temporal__api__common__v1__workflow_execution__init(&x);
	x.workflow_id = (char *)workflow_id;
	r.namespace_ = (char *)"default";
	r.workflow_execution = &x;
	r.signal_name = (char *)"go";
	r.request_id = (char *)"rid";
	return r;
}

static WS(TerminateWorkflowExecutionRequest) terminate(const char *workflow_id)
{
	static Temporal__Api__Common__V1__WorkflowExecution x;
	WS(TerminateWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
	temporal__api__common__v1__workflow_execution__init(&x);
	x.workflow_id = (char *)workflow_id;
	r.namespace_ = (char *)"default";
	r.workflow_execution = &x;
	return r;
}

static struct client_call *begin_signal(const char *workflow_id, int64_t timeout_ns)
{
	WS(SignalWorkflowExecutionRequest) r = signal_to(workflow_id);
	struct client_call *c = client_begin(METHOD(SIGNAL_WORKFLOW_EXECUTION), &r.base, timeout_ns);
	advance(5 * MS);
	return c;
}

START_TEST(forwards_the_bytes_as_they_came)
{
	WS(SignalWorkflowExecutionRequest) r = signal_to("wf");
	uint8_t packed[256];
	size_t len = protobuf_c_message_pack(&r.base, packed);
	/* A field this server doesn't know travels too. */
	memcpy(packed + len, "\xfa\x7f\x01z", 4);
	len += 4;
	struct client_call *c =
		client_begin_bytes(METHOD(SIGNAL_WORKFLOW_EXECUTION), bytes_of(packed, len), 5 * SECOND);
	advance(5 * MS);
	Perdure__HistoryCall *m = next_call(&k.history);
	ck_assert_str_eq(m->service, "temporal.api.workflowservice.v1.WorkflowService");
	ck_assert_str_eq(m->method, "SignalWorkflowExecution");
	ck_assert_str_eq(m->namespace_id, NAMESPACE_ID);
	ck_assert_str_eq(m->namespace_, "default");
	ck_assert_str_eq(m->workflow_id, "wf");
	ck_assert_int_eq(m->retention_ns, 72 * 3600 * SECOND);
	ck_assert_uint_eq(m->n_headers, 1);
	ck_assert_str_eq(m->headers[0]->value, "temporal-test");
	ck_assert(bytes_eq(bytes_of(m->request.data, m->request.len), bytes_of(packed, len)));
	/* What is left of the client's time, and no more. */
	int64_t left = rpc_deadline_ns(k.history.calls[0].req) - env_mono_ns(&k.history.env.env);
	ck_assert_int_gt(left, 4900 * MS);
	ck_assert_int_le(left, 5 * SECOND);
	reply_call(&k.history, "the answer");
	expect_body(c, "the answer");
	client_free(c);
}
END_TEST

START_TEST(passes_errors_with_their_details)
{
	struct client_call *c = begin_signal("wf", 5 * SECOND);
	struct err e = {.code = ERR_NOT_FOUND,
			.message = "workflow not found for ID: wf",
			.detail_type = "temporal.api.errordetails.v1.NotFoundFailure"};
	rpc_reply_err(k.history.calls[0].req, e);
	k.history.call_count = 0;
	advance(5 * MS);
	ck_assert_int_eq(c->e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(c->message, "workflow not found for ID: wf");
	ck_assert_str_eq(c->detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
	client_free(c);
}
END_TEST

START_TEST(a_missing_request_id_is_made_up_once)
{
	WS(SignalWorkflowExecutionRequest) r = signal_to("wf");
	r.request_id = (char *)"";
	struct client_call *c = client_begin(METHOD(SIGNAL_WORKFLOW_EXECUTION), &r.base, 5 * SECOND);
	advance(5 * MS);
	char first[40];
	const Perdure__HistoryCall *m = next_call(&k.history);
	ck_assert_uint_eq(strlen(m->retry_id), 36);
	/* Where it would be seen it is left out. */
	ck_assert_uint_eq(wire_bytes(bytes_of(m->request.data, m->request.len), 6).len, 0);
	snprintf(first, sizeof first, "%s", m->retry_id);
	fail_call(&k.history, ERR_UNAVAILABLE, ERR_REASON_PEER_LOST);
	advance(SECOND);
	ck_assert_str_eq(next_call(&k.history)->retry_id, first);
	reply_call(&k.history, "");
	expect_body(c, "");
	client_free(c);
}
END_TEST

START_TEST(an_outcome_that_is_unknown_is_not_risked_twice)
{
	WS(TerminateWorkflowExecutionRequest) r = terminate("wf");
	struct client_call *c = client_begin(METHOD(TERMINATE_WORKFLOW_EXECUTION), &r.base, 5 * SECOND);
	advance(5 * MS);
	struct bytes request = bytes_of(next_call(&k.history)->request.data, next_call(&k.history)->request.len);
	ck_assert(bytes_eq(wire_bytes(request, 3), bytes_str("terminated by user via frontend")));
	ck_assert(bytes_eq(wire_bytes(request, 5), bytes_str("frontend-service")));
	fail_call(&k.history, ERR_UNAVAILABLE, ERR_REASON_PEER_LOST);
	advance(5 * MS);
	ck_assert_int_eq(c->e.code, ERR_UNAVAILABLE);
	client_free(c);
	/* Not the owner: nothing happened there, so it may be asked again. */
	c = client_begin(METHOD(TERMINATE_WORKFLOW_EXECUTION), &r.base, 5 * SECOND);
	advance(5 * MS);
	fail_call(&k.history, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	advance(SECOND);
	reply_call(&k.history, "done");
	expect_body(c, "done");
	client_free(c);
}
END_TEST

START_TEST(a_killed_owner_is_replaced)
{
	struct client_call *c = begin_signal("wf", 20 * SECOND);
	ck_assert_uint_eq(k.history.call_count, 1);
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	peer_kill(&k.history);
	advance(6 * SECOND); /* its lease runs out */
	ck_assert_uint_eq(k.history2.call_count, 1);
	reply_call(&k.history2, "from the other");
	expect_body(c, "from the other");
	client_free(c);
}
END_TEST

START_TEST(a_shard_that_moves_is_followed)
{
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	advance(3 * SECOND);
	/* Find an id for each owner. */
	for (int i = 0; i < 32 && !(k.history.call_count && k.history2.call_count); i++) {
		char id[16];
		snprintf(id, sizeof id, "wf-%d", i);
		struct client_call *c = begin_signal(id, 5 * SECOND);
		if (k.history2.call_count) {
			/* It drains; its shards go to the other. */
			membership_drain(k.history2.membership);
			advance(100 * MS);
			fail_call(&k.history2, ERR_UNAVAILABLE, ERR_REASON_DRAINING);
			advance(2 * SECOND);
			ck_assert_uint_eq(k.history.call_count, 1);
			reply_call(&k.history, "here");
			expect_body(c, "here");
			client_free(c);
			return;
		}
		reply_call(&k.history, "");
		client_free(c);
	}
	ck_abort_msg("all shards have one owner");
}
END_TEST

START_TEST(without_an_owner_it_says_so_before_the_deadline)
{
	peer_leave(&k.history);
	advance(SECOND);
	struct client_call *c = begin_signal("wf", 3 * SECOND);
	int64_t began = k.world.now_ns;
	advance(5 * SECOND);
	ck_assert_int_eq(c->e.code, ERR_UNAVAILABLE);
	ck_assert_str_eq(c->message, "No history node is there for this workflow's shard.");
	ck_assert_int_lt(c->finished_ns - began, 3 * SECOND);
	client_free(c);
}
END_TEST

START_TEST(an_owner_that_comes_is_used_at_once)
{
	peer_leave(&k.history);
	advance(SECOND);
	struct client_call *c = begin_signal("wf", 20 * SECOND);
	advance(2 * SECOND);
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	advance(1500 * MS);
	reply_call(&k.history2, "new");
	expect_body(c, "new");
	client_free(c);
}
END_TEST

START_TEST(cancellation_is_passed_on)
{
	struct client_call *c = begin_signal("wf", 5 * SECOND);
	ck_assert(!k.history.calls[0].cancelled);
	client_cancel(c);
	ck_assert(c->finished);
	ck_assert(k.history.calls[0].cancelled);
	client_free(c);
	/* Between two attempts as well. */
	fail_call(&k.history, ERR_CANCELLED, ERR_REASON_NONE);
	c = begin_signal("wf", 5 * SECOND);
	fail_call(&k.history, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	advance(1 * MS);
	if (!k.history.call_count)
		client_cancel(c);
	advance(SECOND);
	ck_assert_uint_eq(k.history.call_count, 0);
	ck_assert(c->finished);
	client_free(c);
}
END_TEST

START_TEST(reads_that_wait_are_hurried_when_the_edge_drains)
{
	WS(GetWorkflowExecutionHistoryRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution e = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	r.namespace_ = "default";
	e.workflow_id = "wf";
	r.execution = &e;
	struct client_call *short_read = client_begin(METHOD(GET_WORKFLOW_EXECUTION_HISTORY), &r.base, 20 * SECOND);
	advance(5 * MS);
	r.wait_new_event = true;
	struct client_call *waiting = client_begin(METHOD(GET_WORKFLOW_EXECUTION_HISTORY), &r.base, 20 * SECOND);
	advance(5 * MS);
	ck_assert_uint_eq(k.history.call_count, 2);
	edge_pause_polls(k.edge, true);
	advance(5 * MS);
	/* Asked for again, with a second left; the other one goes on. */
	ck_assert(!k.history.calls[0].cancelled);
	ck_assert(k.history.calls[1].cancelled);
	ck_assert_uint_eq(k.history.call_count, 3);
	ck_assert_int_le(rpc_deadline_ns(k.history.calls[2].req) - env_mono_ns(&k.history.env.env), SECOND);
	reply_call(&k.history, "in time");
	expect_body(short_read, "in time");
	fail_call(&k.history, ERR_CANCELLED, ERR_REASON_NONE);
	reply_call(&k.history, "nothing new");
	expect_body(waiting, "nothing new");
	client_free(short_read);
	client_free(waiting);
	edge_pause_polls(k.edge, false);
}
END_TEST

START_TEST(a_client_without_deadline_gets_the_default)
{
	struct client_call *c = begin_signal("wf", 0);
	int64_t left = rpc_deadline_ns(k.history.calls[0].req) - env_mono_ns(&k.history.env.env);
	ck_assert_int_le(left, 10 * SECOND);
	advance(11 * SECOND);
	ck_assert_int_eq(c->e.code, ERR_DEADLINE_EXCEEDED);
	ck_assert_str_eq(c->message, "context deadline exceeded");
	client_free(c);
}
END_TEST

/* ------------------------------------------------------------------ admission */

START_TEST(names_what_is_wrong)
{
	const struct api_method *method = METHOD(SIGNAL_WORKFLOW_EXECUTION);
	char longer[1002];
	memset(longer, 'x', 1001);
	longer[1001] = 0;
	WS(SignalWorkflowExecutionRequest) r = signal_to("wf");
	r.namespace_ = (char *)"";
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Namespace is empty.");
	r.namespace_ = longer;
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Namespace length exceeds limit.");
	r.namespace_ = (char *)"nope";
	expect_error(method, &r.base, ERR_NOT_FOUND, "Namespace nope is not found.");
	r = signal_to("");
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "WorkflowId is not set on request.");
	r.workflow_execution->run_id = (char *)"zz";
	r.workflow_execution->workflow_id = (char *)"wf";
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Invalid RunId.");
	r.workflow_execution = NULL;
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Execution is not set on request.");
	r = signal_to("wf");
	r.signal_name = longer;
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "SignalName length exceeds limit.");
	r.signal_name = (char *)"";
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "SignalName is not set on request.");
	r = signal_to("wf");
	r.request_id = longer;
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "RequestId length exceeds limit.");
	WS(StartBatchOperationRequest) b = TEMPORAL__API__WORKFLOWSERVICE__V1__START_BATCH_OPERATION_REQUEST__INIT;
	expect_error(METHOD(START_BATCH_OPERATION), &b.base, ERR_UNIMPLEMENTED,
		     "StartBatchOperation is not implemented by this server.");
	ck_assert_uint_eq(k.history.call_count, 0);
}
END_TEST

START_TEST(refuses_hidden_text)
{
	static const uint8_t nul[] = "\x0a\x07"
				     "default\x12\x05\x0a\x03w\0f\x1a\x02go";
	struct client_call *c =
		client_begin_bytes(METHOD(SIGNAL_WORKFLOW_EXECUTION), bytes_of(nul, sizeof nul - 1), SECOND);
	ck_assert_int_eq(c->e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(c->message, "Field workflow_id has a NUL character in it.");
	client_free(c);
	c = client_begin_bytes(METHOD(SIGNAL_WORKFLOW_EXECUTION), bytes_str("\x0a\x63x"), SECOND);
	ck_assert_int_eq(c->e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(c->message, "Malformed SignalWorkflowExecutionRequest.");
	client_free(c);
}
END_TEST

START_TEST(a_new_namespace_is_found)
{
	put_namespace("22222222-2222-4222-8222-222222222222", "fresh", 1);
	WS(SignalWorkflowExecutionRequest) r = signal_to("wf");
	r.namespace_ = (char *)"fresh";
	struct client_call *c = client_begin(METHOD(SIGNAL_WORKFLOW_EXECUTION), &r.base, 5 * SECOND);
	advance(100 * MS);
	ck_assert_str_eq(next_call(&k.history)->namespace_id, "22222222-2222-4222-8222-222222222222");
	reply_call(&k.history, "");
	client_free(c);
}
END_TEST

START_TEST(a_deprecated_namespace_starts_nothing)
{
	put_namespace("22222222-2222-4222-8222-222222222222", "old", 2);
	WS(StartWorkflowExecutionRequest) r =
		TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	r.namespace_ = (char *)"old";
	r.workflow_id = (char *)"wf";
	expect_error(METHOD(START_WORKFLOW_EXECUTION), &r.base, ERR_FAILED_PRECONDITION,
		     "Namespace has invalid state: Deprecated. Must be Registered.");
	WS(SignalWorkflowExecutionRequest) s = signal_to("wf");
	s.namespace_ = (char *)"old";
	struct client_call *c = client_begin(METHOD(SIGNAL_WORKFLOW_EXECUTION), &s.base, 5 * SECOND);
	advance(5 * MS);
	reply_call(&k.history, "");
	expect_body(c, "");
	client_free(c);
}
END_TEST

/* ------------------------------------------------------------------ task tokens */

static uint8_t token_bytes[256];

static ProtobufCBinaryData token(const char *namespace_id, const char *workflow_id, Perdure__TaskToken__Kind kind)
{
	Perdure__TaskToken t = PERDURE__TASK_TOKEN__INIT;
	t.kind = kind;
	t.namespace_id = (char *)namespace_id;
	t.workflow_id = (char *)workflow_id;
	t.run_id = (char *)"run";
	return (ProtobufCBinaryData){perdure__task_token__pack(&t, token_bytes), token_bytes};
}

START_TEST(a_token_says_where_to)
{
	const struct api_method *method = METHOD(RESPOND_ACTIVITY_TASK_COMPLETED);
	WS(RespondActivityTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Task token not set on request.");
	r.task_token = (ProtobufCBinaryData){3, (uint8_t *)"\xff\xff\xff"};
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Error deserializing task token.");
	r.task_token = (ProtobufCBinaryData){2, (uint8_t *)"\x12\x00"};
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	r.task_token = token("33333333-3333-4333-8333-333333333333", "wf", PERDURE__TASK_TOKEN__KIND__ACTIVITY);
	expect_error(method, &r.base, ERR_NOT_FOUND, "Namespace 33333333-3333-4333-8333-333333333333 is not found.");
	r.task_token = token(NAMESPACE_ID, "", PERDURE__TASK_TOKEN__KIND__ACTIVITY);
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT, "Invalid TaskToken.");
	r.task_token = token(NAMESPACE_ID, "wf", PERDURE__TASK_TOKEN__KIND__ACTIVITY);
	r.namespace_ = (char *)"nope";
	expect_error(method, &r.base, ERR_NOT_FOUND, "Namespace nope is not found.");
	put_namespace("22222222-2222-4222-8222-222222222222", "other", 1);
	r.namespace_ = (char *)"other";
	expect_error(method, &r.base, ERR_INVALID_ARGUMENT,
		     "Operation requested with a token from a different namespace.");
	r.namespace_ = (char *)""; /* the token's is enough */
	struct client_call *c = client_begin(method, &r.base, 5 * SECOND);
	advance(5 * MS);
	ck_assert_str_eq(next_call(&k.history)->workflow_id, "wf");
	ck_assert_str_eq(next_call(&k.history)->namespace_, "default");
	reply_call(&k.history, "");
	expect_body(c, "");
	client_free(c);
}
END_TEST

static struct client_call *begin_large(const struct api_method *method, const ProtobufCMessage *request)
{
	struct client_call *c = client_begin(method, request, 5 * SECOND);
	advance(5 * MS);
	return c;
}

START_TEST(a_query_result_that_is_too_large_fails_the_query)
{
	WS(RespondQueryTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_QUERY_TASK_COMPLETED_REQUEST__INIT;
	Temporal__Api__Common__V1__Payloads payloads = TEMPORAL__API__COMMON__V1__PAYLOADS__INIT;
	Temporal__Api__Common__V1__Payload payload = TEMPORAL__API__COMMON__V1__PAYLOAD__INIT;
	Temporal__Api__Common__V1__Payload *list[] = {&payload};
	uint8_t *large = mem_zalloc(3 << 20);
	payload.data = (ProtobufCBinaryData){3 << 20, large};
	payloads.payloads = list;
	payloads.n_payloads = 1;
	r.query_result = &payloads;
	r.completed_type = TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
	r.task_token = token(NAMESPACE_ID, "wf", PERDURE__TASK_TOKEN__KIND__QUERY);
	expect_error(METHOD(RESPOND_QUERY_TASK_COMPLETED), &r.base, ERR_INVALID_ARGUMENT, "Invalid TaskToken.");
	Perdure__TaskToken t = PERDURE__TASK_TOKEN__INIT;
	t.kind = PERDURE__TASK_TOKEN__KIND__QUERY;
	t.namespace_id = (char *)NAMESPACE_ID;
	t.workflow_id = (char *)"wf";
	t.query_id = (char *)"q";
	r.task_token = (ProtobufCBinaryData){perdure__task_token__pack(&t, token_bytes), token_bytes};
	struct client_call *c = begin_large(METHOD(RESPOND_QUERY_TASK_COMPLETED), &r.base);
	Perdure__HistoryCall *m = next_call(&k.history);
	WS(RespondQueryTaskCompletedRequest) *f =
		temporal__api__workflowservice__v1__respond_query_task_completed_request__unpack(
			arena_pb(k.history.calls[0].arena), m->request.len, m->request.data);
	ck_assert_ptr_nonnull(f);
	ck_assert_str_eq(f->error_message, "Blob data size exceeds limit.");
	ck_assert_int_eq(f->completed_type, TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_FAILED);
	ck_assert_uint_eq(f->task_token.len, r.task_token.len);
	reply_call(&k.history, "");
	client_free(c);

	/* An activity's is history's to judge. */
	WS(RespondActivityTaskCompletedRequest)
	x = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
	x.task_token = token(NAMESPACE_ID, "wf", PERDURE__TASK_TOKEN__KIND__ACTIVITY);
	x.result = &payloads;
	c = begin_large(METHOD(RESPOND_ACTIVITY_TASK_COMPLETED), &x.base);
	ck_assert_str_eq(next_call(&k.history)->method, "RespondActivityTaskCompleted");
	ck_assert_uint_gt(next_call(&k.history)->request.len, 3 << 20);
	reply_call(&k.history, "");
	client_free(c);
	free(large);
}
END_TEST

START_TEST(a_workflow_tasks_failure_that_is_too_large_is_cut)
{
	WS(RespondWorkflowTaskFailedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_WORKFLOW_TASK_FAILED_REQUEST__INIT;
	Temporal__Api__Failure__V1__Failure failure = TEMPORAL__API__FAILURE__V1__FAILURE__INIT;
	char *large = mem_zalloc((3 << 20) + 1);
	for (size_t i = 0; i + 3 <= 3 << 20; i += 3)
		memcpy(large + i, "\xe2\x82\xac", 3);
	failure.message = (char *)"short";
	failure.stack_trace = large;
	r.failure = &failure;
	r.identity = (char *)"me";
	r.task_token = token(NAMESPACE_ID, "wf", PERDURE__TASK_TOKEN__KIND__WORKFLOW);
	struct client_call *c = begin_large(METHOD(RESPOND_WORKFLOW_TASK_FAILED), &r.base);
	Perdure__HistoryCall *m = next_call(&k.history);
	struct bytes request = bytes_of(m->request.data, m->request.len);
	ck_assert_int_eq(wire_check(METHOD(RESPOND_WORKFLOW_TASK_FAILED)->request, request).verdict, WIRE_OK);
	ck_assert_uint_lt(request.len, 600 * 1024);
	WS(RespondWorkflowTaskFailedRequest) *f =
		temporal__api__workflowservice__v1__respond_workflow_task_failed_request__unpack(
			arena_pb(k.history.calls[0].arena), request.len, request.data);
	ck_assert_str_eq(f->failure->message, "Failure exceeds size limit.");
	ck_assert_str_eq(f->failure->cause->message, "short");
	ck_assert_uint_gt(strlen(f->failure->cause->stack_trace), 500 * 1024);
	ck_assert_str_eq(f->identity, "me");
	reply_call(&k.history, "");
	expect_body(c, "");
	client_free(c);
	free(large);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		forwards_the_bytes_as_they_came,
		passes_errors_with_their_details,
		a_missing_request_id_is_made_up_once,
		an_outcome_that_is_unknown_is_not_risked_twice,
		a_killed_owner_is_replaced,
		a_shard_that_moves_is_followed,
		without_an_owner_it_says_so_before_the_deadline,
		an_owner_that_comes_is_used_at_once,
		cancellation_is_passed_on,
		reads_that_wait_are_hurried_when_the_edge_drains,
		a_client_without_deadline_gets_the_default,
		names_what_is_wrong,
		refuses_hidden_text,
		a_new_namespace_is_found,
		a_deprecated_namespace_starts_nothing,
		a_token_says_where_to,
		a_query_result_that_is_too_large_fails_the_query,
		a_workflow_tasks_failure_that_is_too_large_is_cut,
	};
	return run_suite("forward", tests, array_len(tests));
}
