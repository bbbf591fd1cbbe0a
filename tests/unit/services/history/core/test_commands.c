/* Commands as a whole: their order, refusals that fail the task, and what a worker has not seen. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "workflow_steps.h"

/* A command that names a namespace is deprecated, and in use. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static struct harness h;

static void setup(void)
{
	harness_init(&h);
	harness_start(&h, NULL);
	harness_poll(&h);
}

static void teardown(void)
{
	harness_done(&h);
}

/* Answers with one bad command: the task fails with the text, and another is scheduled. */
static void assert_bad(COMMAND(Command) *command, Temporal__Api__Enums__V1__WorkflowTaskFailedCause cause,
		       const char *text)
{
	size_t before = h.current->event_count;
	struct wft_completed done = steps_answer(&h, steps_answer_request(&h, command));
	ck_assert_int_eq(done.failed.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(done.failed.message, text);
	const HISTORY(HistoryEvent) *e = harness_event(&h, (int64_t)before + 1);
	ck_assert_int_eq(e->event_type, EVENT(WORKFLOW_TASK_FAILED));
	ck_assert_int_eq(e->workflow_task_failed_event_attributes->cause, cause);
	ck_assert_str_eq(e->workflow_task_failed_event_attributes->failure->message, text);
	ck_assert_str_eq(e->workflow_task_failed_event_attributes->identity, "worker");
	ck_assert_int_eq(e->workflow_task_failed_event_attributes->failure->failure_info_case,
			 TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO);
}

START_TEST(nothing_may_follow_a_close)
{
	answer_t *req = steps_answer_request(&h, NULL);
	COMMAND(Command) *commands[] = {harness_complete(&h), harness_timer(&h, "t", NS_PER_S), harness_complete(&h)};
	req->commands = commands;
	req->n_commands = 3;
	struct err e = steps_answer_error(&h, req);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(
		e.message,
		"invalid command sequence: [CompleteWorkflowExecution, StartTimer, CompleteWorkflowExecution], "
		"command CompleteWorkflowExecution must be the last command.");
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");
}
END_TEST

START_TEST(an_unknown_command_is_refused)
{
	struct err e = steps_answer_error(&h, steps_answer_request(&h, steps_command(&h, 0)));
	ck_assert_str_eq(e.message, "unknown command type: Unspecified");
	e = steps_answer_error(&h, steps_answer_request(&h, steps_command(&h, 9999)));
	ck_assert_str_eq(e.message, "unknown command type: 9999");
}
END_TEST

START_TEST(closing_commands_need_their_attributes)
{
	assert_bad(steps_command(&h, COMMAND_TYPE(COMPLETE_WORKFLOW_EXECUTION)),
		   COMMAND_CAUSE(BAD_COMPLETE_WORKFLOW_EXECUTION_ATTRIBUTES),
		   "BadCompleteWorkflowExecutionAttributes: CompleteWorkflowExecutionCommandAttributes is not set on "
		   "CompleteWorkflowExecutionCommand.");
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED");
	ck_assert_int_eq(h.current->run->exec->workflow_task->attempt, 2);
}
END_TEST

START_TEST(a_failing_workflow_says_why)
{
	assert_bad(steps_fail_workflow(&h, NULL), COMMAND_CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES),
		   "BadFailWorkflowExecutionAttributes: Failure is not set on FailWorkflowExecutionCommand.");
}
END_TEST

START_TEST(continue_as_new_is_checked)
{
	COMMAND(Command) *c = steps_continue_as_new(&h);
	c->continue_as_new_workflow_execution_command_attributes->workflow_run_timeout =
		arena_new0(h.arena, Google__Protobuf__Duration);
	google__protobuf__duration__init(
		c->continue_as_new_workflow_execution_command_attributes->workflow_run_timeout);
	c->continue_as_new_workflow_execution_command_attributes->workflow_run_timeout->seconds = -1;
	assert_bad(c, COMMAND_CAUSE(BAD_CONTINUE_AS_NEW_ATTRIBUTES),
		   "BadContinueAsNewAttributes: Invalid WorkflowRunTimeout on ContinueAsNewWorkflowExecutionCommand: "
		   "negative duration. WorkflowType=kind TaskQueue=name:\"queue\"  kind:TASK_QUEUE_KIND_NORMAL");
}
END_TEST

START_TEST(what_is_not_supported_says_so)
{
	assert_bad(steps_command(&h, COMMAND_TYPE(SCHEDULE_NEXUS_OPERATION)), COMMAND_CAUSE(FEATURE_DISABLED),
		   "FeatureDisabled: ScheduleNexusOperation commands are not supported.");
}
END_TEST

static COMMAND(Command) *signal_external(const char *namespace, const char *workflow_id)
{
	COMMAND(Command) *c = steps_command(&h, COMMAND_TYPE(SIGNAL_EXTERNAL_WORKFLOW_EXECUTION));
	c->attributes_case =
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
	c->signal_external_workflow_execution_command_attributes =
		pb_new0(h.arena, COMMAND(SignalExternalWorkflowExecutionCommandAttributes),
			temporal__api__command__v1__signal_external_workflow_execution_command_attributes);
	c->signal_external_workflow_execution_command_attributes->namespace_ = (char *)namespace;
	c->signal_external_workflow_execution_command_attributes->signal_name = (char *)"signal";
	c->signal_external_workflow_execution_command_attributes->execution =
		pb_new0(h.arena, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	c->signal_external_workflow_execution_command_attributes->execution->workflow_id = (char *)workflow_id;
	return c;
}

START_TEST(an_unknown_namespace_refuses_the_answer_as_a_whole)
{
	struct err e = steps_answer_error(&h, steps_answer_request(&h, signal_external("unknown", "other")));
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "Namespace unknown is not found.");
	ck_assert_str_eq(e.detail_type, "temporal.api.errordetails.v1.NamespaceNotFoundFailure");
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");
	/* The task is still the worker's. */
	harness_answer_with(&h, harness_complete(&h));
}
END_TEST

START_TEST(commands_to_other_workflows_are_checked)
{
	assert_bad(signal_external("default", ""), COMMAND_CAUSE(BAD_SIGNAL_WORKFLOW_EXECUTION_ATTRIBUTES),
		   "BadSignalWorkflowExecutionAttributes: WorkflowId is not set on "
		   "SignalExternalWorkflowExecutionCommand. Namespace=default RunId= SignalName=signal");
}
END_TEST

START_TEST(a_bad_command_undoes_the_good_ones)
{
	answer_t *req = steps_answer_request(&h, NULL);
	COMMAND(Command) *commands[] = {harness_timer(&h, "t", NS_PER_S), harness_schedule(&h, "a", NS_PER_S),
					harness_timer(&h, "", NS_PER_S)};
	req->commands = commands;
	req->n_commands = 3;
	struct wft_completed done = steps_answer(&h, req);
	ck_assert_str_eq(done.failed.message, "BadStartTimerAttributes: TimerId is not set on StartTimerCommand.");
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED");
	ck_assert_ptr_null(h.current->run->timers);
	ck_assert_ptr_null(h.current->run->activities);
}
END_TEST

START_TEST(a_repeated_bad_answer_is_dropped)
{
	assert_bad(steps_fail_workflow(&h, NULL), COMMAND_CAUSE(BAD_FAIL_WORKFLOW_EXECUTION_ATTRIBUTES),
		   "BadFailWorkflowExecutionAttributes: Failure is not set on FailWorkflowExecutionCommand.");
	harness_poll(&h);
	struct err e = steps_answer_error(&h, steps_answer_request(&h, steps_fail_workflow(&h, NULL)));
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_int_eq(h.current->run->exec->workflow_task->attempt, 2);
	ck_assert_int_ne(h.current->run->exec->workflow_task->started_event_id, 0);
}
END_TEST

START_TEST(what_was_not_seen_keeps_the_run_open)
{
	steps_assert_ok(steps_signal(&h, "unseen"));
	COMMAND(Command) *commands[] = {harness_timer(&h, "t", NS_PER_S), harness_complete(&h)};
	answer_t *req = steps_answer_request(&h, NULL);
	req->commands = commands;
	req->n_commands = 2;
	struct wft_completed done = steps_answer(&h, req);
	ck_assert_str_eq(done.failed.message, "UnhandledCommand");
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(h.current->run->exec->workflow_task->attempt, 1);
	ck_assert_ptr_null(h.current->run->timers);
	/* Once it has tried, it gets its chance. */
	harness_poll(&h);
	struct err e = steps_signal(&h, "another");
	ck_assert_int_eq(e.code, ERR_RESOURCE_EXHAUSTED);
	ck_assert_str_eq(e.message, "workflow operation can not be applied because workflow is closing");
	harness_answer_with(&h, harness_complete(&h));
	harness_assert_events(&h, 7, "WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED WORKFLOW_EXECUTION_COMPLETED");
}
END_TEST

START_TEST(an_oversized_result_ends_the_run)
{
	h.config.blob_bytes_max = 4;
	struct wft_completed done = steps_answer(&h, steps_answer_request(&h, harness_complete(&h)));
	const char *text =
		"BadScheduleActivityAttributes: CompleteWorkflowExecutionCommandAttributes.Result exceeds size "
		"limit.";
	ck_assert_str_eq(done.failed.message, text);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_TERMINATED");
	ck_assert_str_eq(harness_event(&h, 5)->workflow_execution_terminated_event_attributes->reason, text);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("commands");
	TCase *c = tcase_create("commands");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, nothing_may_follow_a_close);
	tcase_add_test(c, an_unknown_command_is_refused);
	tcase_add_test(c, closing_commands_need_their_attributes);
	tcase_add_test(c, a_failing_workflow_says_why);
	tcase_add_test(c, continue_as_new_is_checked);
	tcase_add_test(c, what_is_not_supported_says_so);
	tcase_add_test(c, an_unknown_namespace_refuses_the_answer_as_a_whole);
	tcase_add_test(c, commands_to_other_workflows_are_checked);
	tcase_add_test(c, a_bad_command_undoes_the_good_ones);
	tcase_add_test(c, a_repeated_bad_answer_is_dropped);
	tcase_add_test(c, what_was_not_seen_keeps_the_run_open);
	tcase_add_test(c, an_oversized_result_ends_the_run);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
