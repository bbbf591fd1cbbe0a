/* What DescribeWorkflowExecution tells, and the commands that change what it tells: markers, attributes, memo. */
#include <check.h>
#include <stdlib.h>

#include "core_harness.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

#define ACTIVITY_STATE(name) TEMPORAL__API__ENUMS__V1__PENDING_ACTIVITY_STATE__PENDING_ACTIVITY_STATE_##name
#define TASK_STATE(name)     TEMPORAL__API__ENUMS__V1__PENDING_WORKFLOW_TASK_STATE__PENDING_WORKFLOW_TASK_STATE_##name

static struct harness h;

static void setup(void)
{
	harness_init(&h);
}

static void teardown(void)
{
	harness_done(&h);
}

static WS(DescribeWorkflowExecutionResponse) *describe(void)
{
	WS(DescribeWorkflowExecutionResponse) *resp =
		pb_new0(h.arena, WS(DescribeWorkflowExecutionResponse), WS_FN(describe_workflow_execution_response));
	struct err e = core_describe(h.current->run, &h.config, h.arena, h.now_ns, "default", resp);
	ck_assert(!err_is(e));
	ck_assert_uint_gt(protobuf_c_message_get_packed_size(&resp->base), 0);
	return resp;
}

/* ------------------------------------------------------------------ the run */

START_TEST(a_run_that_just_began)
{
	harness_start(&h, NULL);
	WS(DescribeWorkflowExecutionResponse) *d = describe();
	ck_assert_str_eq(d->execution_config->task_queue->name, HARNESS_QUEUE);
	ck_assert_ptr_null(d->execution_config->workflow_run_timeout);
	ck_assert_ptr_null(d->execution_config->workflow_execution_timeout);
	ck_assert_int_eq(pb_duration_ns(d->execution_config->default_workflow_task_timeout), 10 * NS_PER_S);
	const WORKFLOW(WorkflowExecutionInfo) *i = d->workflow_execution_info;
	ck_assert_str_eq(i->execution->workflow_id, "wf");
	ck_assert_str_eq(i->type->name, "kind");
	ck_assert_int_eq(i->status, STATUS(RUNNING));
	ck_assert_int_eq(i->history_length, 2);
	ck_assert_ptr_nonnull(i->memo);
	ck_assert_ptr_nonnull(i->search_attributes);
	ck_assert_ptr_nonnull(i->auto_reset_points);
	ck_assert_ptr_null(i->close_time);
	ck_assert_ptr_null(i->parent_execution);
	ck_assert_str_eq(i->first_run_id, i->execution->run_id);
	ck_assert_str_eq(i->root_execution->run_id, i->execution->run_id);
	ck_assert_int_gt(i->history_size_bytes, 0);
	const WORKFLOW(WorkflowExecutionExtendedInfo) *x = d->workflow_extended_info;
	ck_assert_ptr_null(x->execution_expiration_time);
	ck_assert_int_eq(x->run_expiration_time->seconds, -62135596800);
	ck_assert_int_eq(pb_timestamp_ns(x->original_start_time), h.now_ns);
	ck_assert_uint_eq(x->n_request_id_infos, 1);
	ck_assert_str_eq(x->request_id_infos[0]->key, "start-request");
	ck_assert_int_eq(x->request_id_infos[0]->value->event_id, 1);
}
END_TEST

START_TEST(timeouts_and_the_end)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_run_timeout = pb_duration(h.arena, 50 * NS_PER_S);
	req->workflow_execution_timeout = pb_duration(h.arena, 100 * NS_PER_S);
	harness_start(&h, req);
	int64_t start_ns = h.now_ns;
	WS(DescribeWorkflowExecutionResponse) *d = describe();
	ck_assert_int_eq(pb_duration_ns(d->execution_config->workflow_run_timeout), 50 * NS_PER_S);
	ck_assert_int_eq(pb_timestamp_ns(d->workflow_extended_info->run_expiration_time), start_ns + 50 * NS_PER_S);
	ck_assert_int_eq(pb_timestamp_ns(d->workflow_extended_info->execution_expiration_time),
			 start_ns + 100 * NS_PER_S);
	harness_advance(&h, 3 * NS_PER_S);
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
	d = describe();
	ck_assert_int_eq(d->workflow_execution_info->status, STATUS(COMPLETED));
	ck_assert_int_eq(pb_timestamp_ns(d->workflow_execution_info->close_time), h.now_ns);
	ck_assert_int_eq(pb_duration_ns(d->workflow_execution_info->execution_duration), 3 * NS_PER_S);
	ck_assert_int_eq(d->workflow_execution_info->history_length, 5);
	ck_assert_ptr_null(d->pending_workflow_task);
}
END_TEST

START_TEST(the_pending_workflow_task)
{
	harness_start(&h, NULL);
	int64_t scheduled_ns = h.now_ns;
	const WORKFLOW(PendingWorkflowTaskInfo) *w = describe()->pending_workflow_task;
	ck_assert_int_eq(w->state, TASK_STATE(SCHEDULED));
	ck_assert_int_eq(w->attempt, 1);
	ck_assert_ptr_null(w->started_time);
	harness_advance(&h, NS_PER_S);
	harness_poll(&h);
	w = describe()->pending_workflow_task;
	ck_assert_int_eq(w->state, TASK_STATE(STARTED));
	ck_assert_int_eq(pb_timestamp_ns(w->scheduled_time), scheduled_ns);
	ck_assert_int_eq(pb_timestamp_ns(w->original_scheduled_time), scheduled_ns);
	ck_assert_int_eq(pb_timestamp_ns(w->started_time), h.now_ns);
	harness_answer(&h, NULL, 0);
	ck_assert_ptr_null(describe()->pending_workflow_task);
}
END_TEST

/* ------------------------------------------------------------------ activities */

static const WORKFLOW(PendingActivityInfo) *the_activity(void)
{
	WS(DescribeWorkflowExecutionResponse) *d = describe();
	ck_assert_uint_eq(d->n_pending_activities, 1);
	return d->pending_activities[0];
}

START_TEST(a_pending_activity_through_its_life)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_schedule(&h, "a", 60 * NS_PER_S));
	int64_t scheduled_ns = h.now_ns;
	const WORKFLOW(PendingActivityInfo) *p = the_activity();
	ck_assert_str_eq(p->activity_id, "a");
	ck_assert_str_eq(p->activity_type->name, "work");
	ck_assert_int_eq(p->state, ACTIVITY_STATE(SCHEDULED));
	ck_assert_int_eq(p->attempt, 1);
	ck_assert_int_eq(pb_timestamp_ns(p->expiration_time), scheduled_ns + 60 * NS_PER_S);
	ck_assert_ptr_null(p->next_attempt_schedule_time);
	ck_assert_str_eq(p->activity_options->task_queue->normal_name, HARNESS_QUEUE);
	ck_assert_int_eq(pb_duration_ns(p->activity_options->retry_policy->maximum_interval), 100 * NS_PER_S);

	harness_advance(&h, NS_PER_S);
	int64_t started_ns = h.now_ns;
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	p = the_activity();
	ck_assert_int_eq(p->state, ACTIVITY_STATE(STARTED));
	ck_assert_int_eq(pb_timestamp_ns(p->last_started_time), started_ns);
	ck_assert_str_eq(p->last_worker_identity, "worker");
	ck_assert_ptr_null(p->last_heartbeat_time);

	struct heartbeat_reply reply;
	harness_advance(&h, NS_PER_S);
	ck_assert(!err_is(harness_heartbeat(&h, harness_by_token(&h, task), "1", &reply)));
	p = the_activity();
	ck_assert_int_eq(pb_timestamp_ns(p->last_heartbeat_time), h.now_ns);
	ck_assert_uint_eq(p->heartbeat_details->n_payloads, 1);

	harness_advance(&h, NS_PER_S);
	ck_assert(!err_is(harness_failed(&h, harness_by_token(&h, task), harness_failure(&h, "first"), NULL)));
	p = the_activity();
	ck_assert_int_eq(p->state, ACTIVITY_STATE(SCHEDULED));
	ck_assert_int_eq(p->attempt, 2);
	ck_assert_str_eq(p->last_failure->message, "first");
	ck_assert_str_eq(p->last_worker_identity, "worker");
	ck_assert_ptr_null(p->last_started_time);
	ck_assert_int_eq(pb_timestamp_ns(p->last_attempt_complete_time), h.now_ns);
	ck_assert_int_eq(pb_timestamp_ns(p->next_attempt_schedule_time), h.now_ns + NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(p->current_retry_interval), NS_PER_S);

	/* Its backoff is over: it is with the workers' queue. */
	harness_advance(&h, NS_PER_S);
	p = the_activity();
	ck_assert_int_eq(pb_timestamp_ns(p->scheduled_time), h.now_ns);
	ck_assert_ptr_null(p->next_attempt_schedule_time);
	ck_assert_ptr_null(p->current_retry_interval);
}
END_TEST

START_TEST(an_activity_that_is_asked_to_cancel)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_schedule(&h, "a", 60 * NS_PER_S));
	harness_poll_activity(&h, "a");
	harness_signal(&h, "cancel");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_activity(&h, 5));
	ck_assert_int_eq(the_activity()->state, ACTIVITY_STATE(CANCEL_REQUESTED));
}
END_TEST

/* ------------------------------------------------------------------ commands that note */

static COMMAND(Command) *new_command(int type, int attributes_case)
{
	COMMAND(Command) *c = pb_new(h.arena, &temporal__api__command__v1__command__descriptor);
	c->command_type = (Temporal__Api__Enums__V1__CommandType)type;
	c->attributes_case = (Temporal__Api__Command__V1__Command__AttributesCase)attributes_case;
	return c;
}

static COMMAND(Command) *modify_memo(const char *key, const char *json)
{
	COMMAND(Command) *c = new_command(
		COMMAND_TYPE(MODIFY_WORKFLOW_PROPERTIES),
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_MODIFY_WORKFLOW_PROPERTIES_COMMAND_ATTRIBUTES);
	COMMAND(ModifyWorkflowPropertiesCommandAttributes) *attr =
		pb_new(h.arena, &temporal__api__command__v1__modify_workflow_properties_command_attributes__descriptor);
	c->modify_workflow_properties_command_attributes = attr;
	attr->upserted_memo = pb_new0(h.arena, COMMON(Memo), COMMON_FN(memo));
	attr->upserted_memo->n_fields = 1;
	attr->upserted_memo->fields = arena_array(h.arena, COMMON(Memo__FieldsEntry) *, 1);
	attr->upserted_memo->fields[0] = pb_new0(h.arena, COMMON(Memo__FieldsEntry), COMMON_FN(memo__fields_entry));
	attr->upserted_memo->fields[0]->key = (char *)key;
	attr->upserted_memo->fields[0]->value = harness_payloads(&h, json)->payloads[0];
	return c;
}

START_TEST(the_memo_is_merged)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, modify_memo("kept", "1"), modify_memo("changed", "1"), modify_memo("removed", "1"),
			    modify_memo("changed", "2"), modify_memo("removed", "null"));
	harness_assert_events(&h, 5,
			      "WORKFLOW_PROPERTIES_MODIFIED WORKFLOW_PROPERTIES_MODIFIED "
			      "WORKFLOW_PROPERTIES_MODIFIED WORKFLOW_PROPERTIES_MODIFIED "
			      "WORKFLOW_PROPERTIES_MODIFIED");
	const COMMON(Memo) *memo = describe()->workflow_execution_info->memo;
	ck_assert_uint_eq(memo->n_fields, 2);
	for (size_t i = 0; i < memo->n_fields; i++) {
		bool changed = strcmp(memo->fields[i]->key, "changed") == 0;
		ck_assert_mem_eq(memo->fields[i]->value->data.data, changed ? "2" : "1", 1);
	}
}
END_TEST

static COMMAND(Command) *upsert(const char *name, const char *json)
{
	COMMAND(Command) *c = new_command(
		COMMAND_TYPE(UPSERT_WORKFLOW_SEARCH_ATTRIBUTES),
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES_COMMAND_ATTRIBUTES);
	COMMAND(UpsertWorkflowSearchAttributesCommandAttributes) *attr = pb_new(
		h.arena, &temporal__api__command__v1__upsert_workflow_search_attributes_command_attributes__descriptor);
	c->upsert_workflow_search_attributes_command_attributes = attr;
	attr->search_attributes = pb_new0(h.arena, COMMON(SearchAttributes), COMMON_FN(search_attributes));
	if (!name)
		return c;
	COMMON(Payload) *value = harness_payloads(&h, json)->payloads[0];
	value->n_metadata = 1;
	value->metadata = arena_array(h.arena, COMMON(Payload__MetadataEntry) *, 1);
	value->metadata[0] = pb_new0(h.arena, COMMON(Payload__MetadataEntry), COMMON_FN(payload__metadata_entry));
	value->metadata[0]->key = (char *)"encoding";
	value->metadata[0]->value = (ProtobufCBinaryData){10, (uint8_t *)"json/plain"};
	attr->search_attributes->n_indexed_fields = 1;
	attr->search_attributes->indexed_fields =
		arena_array(h.arena, COMMON(SearchAttributes__IndexedFieldsEntry) *, 1);
	attr->search_attributes->indexed_fields[0] = pb_new0(h.arena, COMMON(SearchAttributes__IndexedFieldsEntry),
							     COMMON_FN(search_attributes__indexed_fields_entry));
	attr->search_attributes->indexed_fields[0]->key = (char *)name;
	attr->search_attributes->indexed_fields[0]->value = value;
	return c;
}

static const COMMON(Payload) *attribute(const char *name)
{
	const COMMON(SearchAttributes) *sa = describe()->workflow_execution_info->search_attributes;
	for (size_t i = 0; i < sa->n_indexed_fields; i++)
		if (strcmp(sa->indexed_fields[i]->key, name) == 0)
			return sa->indexed_fields[i]->value;
	return NULL;
}

START_TEST(search_attributes_are_merged)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, upsert("TemporalChangeVersion", "[\"one\",\"two\"]"));
	ck_assert_ptr_nonnull(attribute("TemporalChangeVersion"));
	ck_assert_ptr_nonnull(attribute("BuildIds"));
	harness_signal(&h, "again");
	harness_poll(&h);
	harness_answer_with(&h, upsert("TemporalChangeVersion", "[]"));
	ck_assert_ptr_null(attribute("TemporalChangeVersion"));
	harness_assert_events(&h, 9, "WORKFLOW_TASK_COMPLETED UPSERT_WORKFLOW_SEARCH_ATTRIBUTES");
}
END_TEST

static void assert_refused(COMMAND(Command) *c, const char *text)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	struct err e = harness_answer_err_with(&h, c);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, text);
}

START_TEST(bad_notes)
{
	assert_refused(harness_marker(&h, ""),
		       "BadRecordMarkerAttributes: MarkerName is not set on RecordMarkerCommand.");
	assert_refused(upsert(NULL, NULL), "BadSearchAttributes: IndexedFields is not set on "
					   "UpsertWorkflowSearchAttributesCommand.");
	assert_refused(upsert("Unknown", "\"value\""),
		       "BadSearchAttributes: Namespace default has no mapping defined for search attribute Unknown");
	assert_refused(upsert("WorkflowType", "\"value\""),
		       "BadSearchAttributes: WorkflowType attribute can't be set in SearchAttributes");
	COMMAND(Command) *c = modify_memo("a", "1");
	c->modify_workflow_properties_command_attributes->upserted_memo->n_fields = 0;
	assert_refused(c, "BadModifyWorkflowPropertiesAttributes: UpsertedMemo.Fields is not set on "
			  "ModifyWorkflowPropertiesCommand.");
	c = modify_memo("a", "1");
	c->modify_workflow_properties_command_attributes->upserted_memo = NULL;
	assert_refused(c, "BadModifyWorkflowPropertiesAttributes: UpsertedMemo is not set on "
			  "ModifyWorkflowPropertiesCommand.");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("describe");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, a_run_that_just_began);
	tcase_add_test(tc, timeouts_and_the_end);
	tcase_add_test(tc, the_pending_workflow_task);
	tcase_add_test(tc, a_pending_activity_through_its_life);
	tcase_add_test(tc, an_activity_that_is_asked_to_cancel);
	tcase_add_test(tc, the_memo_is_merged);
	tcase_add_test(tc, search_attributes_are_merged);
	tcase_add_test(tc, bad_notes);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
