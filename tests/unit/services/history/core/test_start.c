/* Starting runs: what is refused, what the first events say, and who yields when the id is in use. */
#include <check.h>
#include <stdlib.h>
#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/search_attributes.h"
#include "workflow_steps.h"

static struct harness h;

static void setup(void)
{
	harness_init(&h);
}

static void teardown(void)
{
	harness_done(&h);
}

static void assert_refused(const WS(StartWorkflowExecutionRequest) *req, const char *text)
{
	struct err e = core_start_validate(&h.config, req, h.now_ns, h.arena);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, text);
}

START_TEST(a_start_writes_two_events)
{
	harness_start(&h, NULL);
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED WORKFLOW_TASK_SCHEDULED");
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	const char *run_id = h.current->run->start->run_id;
	ck_assert_uint_eq(strlen(run_id), 36);
	ck_assert_str_eq(a->workflow_type->name, "kind");
	ck_assert_int_eq(a->task_queue->kind, QUEUE_KIND(NORMAL));
	ck_assert_int_eq(a->attempt, 1);
	ck_assert_str_eq(a->workflow_id, "wf");
	ck_assert_str_eq(a->identity, "starter");
	ck_assert_str_eq(a->first_execution_run_id, run_id);
	ck_assert_str_eq(a->original_execution_run_id, run_id);
	ck_assert_int_eq(pb_duration_ns(a->workflow_task_timeout), 10 * NS_PER_S);
	ck_assert_ptr_nonnull(a->first_workflow_task_backoff);
	ck_assert_ptr_null(a->workflow_run_timeout);
	ck_assert_ptr_null(a->workflow_execution_timeout);
	ck_assert_ptr_null(a->prev_auto_reset_points);
	const HISTORY(WorkflowTaskScheduledEventAttributes) *s =
		harness_event(&h, 2)->workflow_task_scheduled_event_attributes;
	ck_assert_int_eq(s->attempt, 1);
	ck_assert_str_eq(s->task_queue->name, HARNESS_QUEUE);
	ck_assert_int_eq(pb_duration_ns(s->start_to_close_timeout), 10 * NS_PER_S);
	ck_assert_int_eq(run_wake_at(h.current->run), INT64_MAX);
	ck_assert(run_has_unstarted_task(h.current->run, h.now_ns));
}
END_TEST

START_TEST(timeouts_are_kept_within_each_other)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_execution_timeout = pb_duration(h.arena, 10 * NS_PER_S);
	req->workflow_run_timeout = pb_duration(h.arena, 20 * NS_PER_S);
	req->workflow_task_timeout = pb_duration(h.arena, 200 * NS_PER_S);
	harness_start(&h, req);
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	ck_assert_int_eq(pb_duration_ns(a->workflow_run_timeout), 10 * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(a->workflow_task_timeout), 10 * NS_PER_S);
	ck_assert_int_eq(pb_timestamp_ns(a->workflow_execution_expiration_time), h.now_ns + 10 * NS_PER_S);
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 10 * NS_PER_S);
}
END_TEST

START_TEST(a_delayed_start_has_its_first_task_later)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_start_delay = pb_duration(h.arena, NS_PER_S);
	harness_start(&h, req);
	steps_assert_ok(steps_signal(&h, "early"));
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED WORKFLOW_EXECUTION_SIGNALED");
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + NS_PER_S);
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 3, "WORKFLOW_TASK_SCHEDULED");
	harness_poll(&h);
}
END_TEST

START_TEST(a_cancel_request_ends_the_delay)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_start_delay = pb_duration(h.arena, NS_PER_S);
	harness_start(&h, req);
	steps_assert_ok(steps_request_cancel(&h, "c"));
	harness_assert_events(&h, 2, "WORKFLOW_EXECUTION_CANCEL_REQUESTED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(run_wake_at(h.current->run), INT64_MAX);
}
END_TEST

START_TEST(memo_attributes_and_retry_policy_are_kept)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	COMMON(SearchAttributes__IndexedFieldsEntry)
	entry = TEMPORAL__API__COMMON__V1__SEARCH_ATTRIBUTES__INDEXED_FIELDS_ENTRY__INIT, *entries[] = {&entry};
	entry.key = (char *)"TemporalChangeVersion";
	entry.value = payload_json(h.arena, "[\"one\"]", NULL);
	COMMON(SearchAttributes) sa = TEMPORAL__API__COMMON__V1__SEARCH_ATTRIBUTES__INIT;
	sa.n_indexed_fields = 1;
	sa.indexed_fields = entries;
	COMMON(RetryPolicy) retry = TEMPORAL__API__COMMON__V1__RETRY_POLICY__INIT;
	req->search_attributes = &sa;
	req->retry_policy = &retry;
	harness_start(&h, req);
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	ck_assert_int_eq(pb_duration_ns(a->retry_policy->initial_interval), NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(a->retry_policy->maximum_interval), 100 * NS_PER_S);
	const COMMON(Payload) *p = a->search_attributes->indexed_fields[0]->value;
	ck_assert_uint_eq(p->n_metadata, 2);
	ck_assert(bytes_eq(pb_bytes(p->metadata[1]->value), bytes_str("KeywordList")));
	ck_assert_uint_gt(h.current->run->exec->search_attributes.len, 0);
}
END_TEST

START_TEST(bad_requests_are_refused)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_id = (char *)"";
	assert_refused(req, "WorkflowId is not set on request.");
	req = harness_start_request(&h);
	req->workflow_type = NULL;
	assert_refused(req, "WorkflowType is not set on request.");
	req = harness_start_request(&h);
	req->task_queue = NULL;
	assert_refused(req, "taskQueue is not set");
	req = harness_start_request(&h);
	req->task_queue->name = (char *)"";
	assert_refused(req, "missing task queue name");
	req = harness_start_request(&h);
	req->task_queue->name = (char *)"/_sys/queue";
	assert_refused(req, "task queue name cannot start with reserved prefix /_sys/");
	req = harness_start_request(&h);
	req->workflow_run_timeout = pb_duration(h.arena, 0);
	req->workflow_run_timeout->seconds = -1;
	assert_refused(req, "An invalid WorkflowRunTimeoutSeconds is set on request. cause: negative duration");
	req = harness_start_request(&h);
	req->workflow_id_reuse_policy = REUSE(TERMINATE_IF_RUNNING);
	req->workflow_id_conflict_policy = CONFLICT(FAIL);
	assert_refused(req, "Invalid WorkflowIDReusePolicy: WORKFLOW_ID_REUSE_POLICY_TERMINATE_IF_RUNNING cannot be "
			    "used together with a WorkflowIDConflictPolicy");
	req = harness_start_request(&h);
	h.config.id_bytes_max = 3;
	req->workflow_id = (char *)"four";
	assert_refused(req, "WorkflowId exceeds maximum allowed length (4/3)");
}
END_TEST

static void search_attribute(WS(StartWorkflowExecutionRequest) *req, const char *name, const char *json)
{
	COMMON(SearchAttributes__IndexedFieldsEntry) *entry =
		pb_new0(h.arena, COMMON(SearchAttributes__IndexedFieldsEntry),
			COMMON_FN(search_attributes__indexed_fields_entry));
	entry->key = (char *)name;
	entry->value = payload_json(h.arena, json, NULL);
	req->search_attributes = pb_new0(h.arena, COMMON(SearchAttributes), COMMON_FN(search_attributes));
	req->search_attributes->n_indexed_fields = 1;
	req->search_attributes->indexed_fields =
		arena_array(h.arena, COMMON(SearchAttributes__IndexedFieldsEntry) *, 1);
	req->search_attributes->indexed_fields[0] = entry;
}

START_TEST(bad_search_attributes_are_refused)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	search_attribute(req, "Unknown", "\"v\"");
	assert_refused(req, "Namespace default has no mapping defined for search attribute Unknown");
	search_attribute(req, "ExecutionStatus", "\"v\"");
	assert_refused(req, "ExecutionStatus attribute can't be set in SearchAttributes");
	search_attribute(req, "TemporalChangeVersion", "7");
	assert_refused(req, "invalid value for search attribute TemporalChangeVersion of type KeywordList: 7");
	search_attribute(req, "BatcherUser", "[\"just one\"]");
	steps_assert_ok(core_start_validate(&h.config, req, h.now_ns, h.arena));
}
END_TEST

/* ------------------------------------------------------------------ the id is in use */

static struct start_decision decide(int reuse, int conflict, const char *request_id)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->request_id = (char *)request_id;
	req->workflow_id_reuse_policy = (Temporal__Api__Enums__V1__WorkflowIdReusePolicy)reuse;
	req->workflow_id_conflict_policy = (Temporal__Api__Enums__V1__WorkflowIdConflictPolicy)conflict;
	return core_start_decide(h.current ? h.current->run : NULL, req, h.now_ns, h.arena);
}

static void assert_already_started(struct start_decision d, const char *text)
{
	const Perdure__RunStart *s = h.current->run->start;
	ck_assert_int_eq(d.what, START_REFUSED);
	ck_assert_int_eq(d.refused.code, ERR_ALREADY_EXISTS);
	ck_assert_str_eq(d.refused.message, arena_printf(h.arena, text, s->run_id));
	ck_assert_str_eq(d.refused.detail_type, "temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure");
	Temporal__Api__Errordetails__V1__WorkflowExecutionAlreadyStartedFailure *detail = pb_unpack(
		h.arena, &temporal__api__errordetails__v1__workflow_execution_already_started_failure__descriptor,
		(ProtobufCBinaryData){d.refused.detail.len, (uint8_t *)d.refused.detail.data});
	ck_assert_str_eq(detail->start_request_id, "start-request");
	ck_assert_str_eq(detail->run_id, s->run_id);
	ck_assert_str_eq(detail->first_execution_run_id, s->run_id);
}

START_TEST(an_open_run_is_a_matter_of_the_conflict_policy)
{
	ck_assert_int_eq(decide(0, 0, "r").what, START_NEW);
	harness_start(&h, NULL);
	const char *running = "Workflow execution is already running. WorkflowId: wf, RunId: %s.";
	assert_already_started(decide(REUSE(ALLOW_DUPLICATE), 0, "r"), running);
	assert_already_started(decide(REUSE(REJECT_DUPLICATE), 0, "r"), running);
	assert_already_started(decide(0, CONFLICT(FAIL), "r"), running);
	ck_assert_int_eq(decide(0, CONFLICT(USE_EXISTING), "r").what, START_USE_EXISTING);
	ck_assert_int_eq(decide(0, CONFLICT(TERMINATE_EXISTING), "r").what, START_TERMINATE_EXISTING);
	ck_assert_int_eq(decide(REUSE(TERMINATE_IF_RUNNING), 0, "r").what, START_TERMINATE_EXISTING);
	ck_assert_int_eq(decide(0, CONFLICT(FAIL), "start-request").what, START_DEDUPLICATED);
}
END_TEST

START_TEST(a_closed_run_is_a_matter_of_the_reuse_policy)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
	ck_assert_int_eq(decide(0, 0, "r").what, START_NEW);
	ck_assert_int_eq(decide(REUSE(TERMINATE_IF_RUNNING), 0, "r").what, START_NEW);
	ck_assert_int_eq(decide(0, 0, "start-request").what, START_DEDUPLICATED);
	assert_already_started(decide(REUSE(REJECT_DUPLICATE), 0, "r"),
			       "Workflow execution already finished. WorkflowId: wf, RunId: %s. Workflow Id reuse "
			       "policy: reject duplicate workflow Id.");
	assert_already_started(decide(REUSE(ALLOW_DUPLICATE_FAILED_ONLY), 0, "r"),
			       "Workflow execution already finished successfully. WorkflowId: wf, RunId: %s. Workflow "
			       "Id reuse policy: allow duplicate workflow Id if last run failed.");
}
END_TEST

START_TEST(a_terminated_run_counts_as_failed)
{
	harness_start(&h, NULL);
	steps_assert_ok(steps_terminate(&h));
	ck_assert_int_eq(decide(REUSE(ALLOW_DUPLICATE_FAILED_ONLY), 0, "r").what, START_NEW);
}
END_TEST

START_TEST(an_existing_run_can_take_the_request_id)
{
	harness_start(&h, NULL);
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->request_id = (char *)"second";
	WORKFLOW(OnConflictOptions) options = TEMPORAL__API__WORKFLOW__V1__ON_CONFLICT_OPTIONS__INIT;
	options.attach_request_id = true;
	req->on_conflict_options = &options;
	WS(StartWorkflowExecutionResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_RESPONSE__INIT;
	struct txn t;
	harness_begin(&h, &t);
	steps_assert_ok(core_start_attach(&t, req, &resp));
	harness_commit(&h, &t);
	ck_assert(!resp.started);
	ck_assert_str_eq(resp.link->workflow_event->request_id_ref->request_id, "second");
	harness_assert_events(&h, 3, "WORKFLOW_EXECUTION_OPTIONS_UPDATED");
	ck_assert(harness_event(&h, 3)->worker_may_ignore);
	ck_assert_int_eq(decide(0, 0, "second").what, START_DEDUPLICATED);
	struct run_id_seen *seen;
	HASH_FIND_STR(h.current->run->request_ids, "second", seen);
	ck_assert_int_eq(seen->info->event_id, 3);

	core_start_answer_existing(h.current->run, "default", req, h.arena, &resp);
	ck_assert(!resp.started);
	req->request_id = (char *)"start-request";
	core_start_answer_existing(h.current->run, "default", req, h.arena, &resp);
	ck_assert(resp.started);
	ck_assert_int_eq(resp.link->workflow_event->event_ref->event_id, 1);
}
END_TEST

START_TEST(the_existing_run_makes_way)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "s"));
	struct txn t;
	harness_begin(&h, &t);
	core_terminate_for_start(&t, "new-run");
	harness_commit(&h, &t);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_TERMINATED");
	const HISTORY(WorkflowExecutionTerminatedEventAttributes) *a =
		harness_event(&h, 6)->workflow_execution_terminated_event_attributes;
	ck_assert_str_eq(a->reason, "TerminateIfRunning WorkflowIdReusePolicy");
	ck_assert_str_eq(a->identity, "history-service");
	ck_assert(bytes_eq(pb_bytes(a->details->payloads[0]->data), bytes_str("\"terminated by new runID: new-run\"")));
	const HISTORY(WorkflowTaskFailedEventAttributes) *f =
		harness_event(&h, 4)->workflow_task_failed_event_attributes;
	ck_assert_str_eq(f->identity, "history-service");
	ck_assert_ptr_null(f->failure);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("start");
	TCase *c = tcase_create("start");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_start_writes_two_events);
	tcase_add_test(c, timeouts_are_kept_within_each_other);
	tcase_add_test(c, a_delayed_start_has_its_first_task_later);
	tcase_add_test(c, a_cancel_request_ends_the_delay);
	tcase_add_test(c, memo_attributes_and_retry_policy_are_kept);
	tcase_add_test(c, bad_requests_are_refused);
	tcase_add_test(c, bad_search_attributes_are_refused);
	tcase_add_test(c, an_open_run_is_a_matter_of_the_conflict_policy);
	tcase_add_test(c, a_closed_run_is_a_matter_of_the_reuse_policy);
	tcase_add_test(c, a_terminated_run_counts_as_failed);
	tcase_add_test(c, an_existing_run_can_take_the_request_id);
	tcase_add_test(c, the_existing_run_makes_way);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
