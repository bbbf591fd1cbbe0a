/* Activities whose attempts fail, and activities that are canceled. */
#include <check.h>
#include <stdlib.h>

#include "core_harness.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"

static struct harness h;

static void setup(void)
{
	harness_init(&h);
}

static void teardown(void)
{
	harness_done(&h);
}

typedef COMMAND(ScheduleActivityTaskCommandAttributes) schedule_t;

static schedule_t *attributes(COMMAND(Command) *c)
{
	return c->schedule_activity_task_command_attributes;
}

/* A run whose activity "a" is scheduled as event 5. */
static void start_with(COMMAND(Command) *schedule)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, schedule);
}

static COMMAND(Command) *with_retry(COMMAND(Command) *c, int64_t initial_ns, int attempts)
{
	COMMON(RetryPolicy) *p = arena_new0(h.arena, COMMON(RetryPolicy));
	COMMON_FN(retry_policy__init)(p);
	p->initial_interval = pb_duration(h.arena, initial_ns);
	p->maximum_attempts = attempts;
	attributes(c)->retry_policy = p;
	return c;
}

static void assert_ok(struct err e)
{
	ck_assert_msg(!err_is(e), "%s", e.message);
}

static void assert_gone(struct err e)
{
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message,
			 "invalid activityID or activity already timed out or invoking workflow is completed");
	ck_assert_str_eq(e.detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
}

/* ------------------------------------------------------------------ failures and retries */

START_TEST(retries_are_invisible_until_the_end)
{
	start_with(with_retry(harness_schedule(&h, "a", 60 * NS_PER_S), 2 * NS_PER_S, 3));
	WS(PollActivityTaskQueueResponse) *first = harness_poll_activity(&h, "a");
	assert_ok(harness_failed(&h, harness_by_token(&h, first), harness_failure(&h, "first"), NULL));
	const Perdure__ActivityInfo *a = run_find_activity_by_id(h.current->run, "a")->info;
	ck_assert_int_eq(a->attempt, 2);
	ck_assert_int_eq(a->retry_not_before_ns, h.now_ns + 2 * NS_PER_S);
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 2 * NS_PER_S);
	ck_assert(!run_has_unstarted_task(h.current->run, h.now_ns));
	assert_gone(harness_completed(&h, harness_by_token(&h, first)));

	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	ck_assert(run_has_unstarted_task(h.current->run, h.now_ns));
	ck_assert_int_gt(run_wake_at(h.current->run), h.now_ns);
	WS(PollActivityTaskQueueResponse) *second = harness_poll_activity(&h, "a");
	ck_assert_int_eq(second->attempt, 2);
	ck_assert_int_eq(pb_timestamp_ns(second->current_attempt_scheduled_time), h.now_ns);
	assert_ok(harness_failed(&h, harness_by_token(&h, second), harness_failure(&h, "second"), NULL));
	ck_assert_int_eq(run_find_activity_by_id(h.current->run, "a")->info->retry_not_before_ns,
			 h.now_ns + 4 * NS_PER_S);
	harness_assert_events(&h, 5, "ACTIVITY_TASK_SCHEDULED");

	harness_advance(&h, 4 * NS_PER_S);
	harness_on_time(&h);
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), harness_failure(&h, "third"),
				 NULL));
	harness_assert_events(
		&h, 5, "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_FAILED WORKFLOW_TASK_SCHEDULED");
	const HISTORY(ActivityTaskStartedEventAttributes) *started =
		harness_event(&h, 6)->activity_task_started_event_attributes;
	ck_assert_int_eq(started->attempt, 3);
	ck_assert_str_eq(started->last_failure->message, "second");
	const HISTORY(ActivityTaskFailedEventAttributes) *failed =
		harness_event(&h, 7)->activity_task_failed_event_attributes;
	ck_assert_str_eq(failed->failure->message, "third");
	ck_assert_int_eq(failed->retry_state, RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED));
	ck_assert_int_eq(failed->started_event_id, 6);
}
END_TEST

START_TEST(reasons_not_to_retry)
{
	start_with(with_retry(harness_schedule(&h, "a", 5 * NS_PER_S), 30 * NS_PER_S, 0));
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), harness_failure(&h, "late"),
				 NULL));
	ck_assert_int_eq(harness_event(&h, 7)->activity_task_failed_event_attributes->retry_state,
			 RETRY_STATE(TIMEOUT));

	start_with(harness_schedule(&h, "a", 5 * NS_PER_S));
	FAILURE(Failure) *fatal = harness_failure(&h, "fatal");
	fatal->application_failure_info->non_retryable = true;
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), fatal, NULL));
	ck_assert_int_eq(harness_event(&h, 7)->activity_task_failed_event_attributes->retry_state,
			 RETRY_STATE(NON_RETRYABLE_FAILURE));
}
END_TEST

START_TEST(details_reach_the_next_attempt)
{
	struct heartbeat_reply reply;
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	assert_ok(harness_heartbeat(&h, harness_by_token(&h, task), "1", &reply));
	ck_assert(!reply.cancel_requested);
	assert_ok(harness_failed(&h, harness_by_token(&h, task), harness_failure(&h, "first"), NULL));
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	task = harness_poll_activity(&h, "a");
	ck_assert_mem_eq(task->heartbeat_details->payloads[0]->data.data, "1", 1);
	/* What comes with the failure is newer. */
	assert_ok(harness_failed(&h, harness_by_token(&h, task), harness_failure(&h, "second"),
				 harness_payloads(&h, "2")));
	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	task = harness_poll_activity(&h, "a");
	ck_assert_mem_eq(task->heartbeat_details->payloads[0]->data.data, "2", 1);
}
END_TEST

START_TEST(heartbeats_reach_the_journal_when_flushed)
{
	struct heartbeat_reply reply;
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	assert_ok(harness_heartbeat(&h, harness_by_token(&h, task), "1", &reply));
	ck_assert(run_find_activity_by_id(h.current->run, "a")->details_dirty);
	struct txn t;
	harness_begin(&h, &t);
	core_heartbeat_flush(&t);
	h.current->heartbeats = false; /* from here on memory equals the journal again, which commit checks */
	harness_commit(&h, &t);
	ck_assert(!run_find_activity_by_id(h.current->run, "a")->details_dirty);
	harness_begin(&h, &t);
	core_heartbeat_flush(&t);
	ck_assert(!t.touched);
}
END_TEST

START_TEST(large_failures_are_kept_short)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	char *text = arena_alloc(h.arena, 10001);
	memset(text, 'x', 10000);
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), harness_failure(&h, text),
				 NULL));
	ck_assert_uint_lt(run_find_activity_by_id(h.current->run, "a")->info->last_failure.len, 4300);
}
END_TEST

START_TEST(answers_too_large_for_an_event_fail_the_activity)
{
	h.config.blob_bytes_max = h.config.blob_bytes_warn = 10;
	harness_start(&h, NULL);
	harness_poll(&h);
	COMMAND(Command) *c = harness_schedule(&h, "a", 60 * NS_PER_S);
	attributes(c)->input = NULL;
	harness_answer_with(&h, c);
	struct txn t;
	harness_begin(&h, &t);
	assert_ok(core_complete_activity(&t, harness_by_token(&h, harness_poll_activity(&h, "a")),
					 harness_payloads(&h, "\"a long result\""), "worker"));
	harness_commit(&h, &t);
	harness_assert_events(&h, 6, "ACTIVITY_TASK_STARTED ACTIVITY_TASK_FAILED WORKFLOW_TASK_SCHEDULED");
	const FAILURE(Failure) *f = harness_event(&h, 7)->activity_task_failed_event_attributes->failure;
	ck_assert_str_eq(f->message, "Complete result exceeds size limit.");
	ck_assert(f->server_failure_info->non_retryable);

	FAILURE(Failure) *failure = harness_failure(&h, "a long message");
	COMMON(Payloads) *details = harness_payloads(&h, "\"long details\"");
	size_t n;
	FAILURE(Failure) **made;
	assert_ok(core_fit_activity_failure(&h.config, h.arena, false, &failure, &details, &n, &made));
	ck_assert_uint_eq(n, 2);
	ck_assert_ptr_null(details);
	ck_assert_str_eq(failure->message, "Failure exceeds size limit.");
	failure = made[0]; /* a server's failure is not for workers to answer */
	struct err e = core_fit_activity_failure(&h.config, h.arena, false, &failure, &details, &n, &made);
	ck_assert_str_eq(e.message, "Failure must have ApplicationFailureInfo.");
}
END_TEST

/* ------------------------------------------------------------------ cancellation */

START_TEST(cancel_before_the_start_ends_it_behind_the_other_commands)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	harness_signal(&h, "cancel");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_activity(&h, 5), harness_timer(&h, "t", NS_PER_S));
	harness_assert_events(&h, 9,
			      "WORKFLOW_TASK_COMPLETED ACTIVITY_TASK_CANCEL_REQUESTED TIMER_STARTED "
			      "ACTIVITY_TASK_CANCELED WORKFLOW_TASK_SCHEDULED");
	const HISTORY(ActivityTaskCanceledEventAttributes) *c =
		harness_event(&h, 12)->activity_task_canceled_event_attributes;
	ck_assert_int_eq(c->scheduled_event_id, 5);
	ck_assert_int_eq(c->started_event_id, 0);
	ck_assert_int_eq(c->latest_cancel_requested_event_id, 10);
	ck_assert_mem_eq(c->details->payloads[0]->data.data, "\"ACTIVITY_ID_NOT_STARTED\"", 25);
}
END_TEST

START_TEST(cancel_in_the_answer_that_schedules)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_schedule(&h, "a", NS_PER_S), harness_cancel_activity(&h, 5));
	harness_assert_events(&h, 5,
			      "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_CANCEL_REQUESTED ACTIVITY_TASK_CANCELED "
			      "WORKFLOW_TASK_SCHEDULED");
	ck_assert_uint_eq(HASH_COUNT(h.current->run->activities), 0);
}
END_TEST

/* Started, and asked to cancel in event 10. */
static WS(PollActivityTaskQueueResponse) *cancel_requested(void)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	struct err e = harness_canceled(&h, harness_by_token(&h, task));
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message,
			 "unable to mark activity as canceled without activity being request canceled first");
	harness_signal(&h, "cancel");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_activity(&h, 5));
	harness_assert_events(&h, 9, "WORKFLOW_TASK_COMPLETED ACTIVITY_TASK_CANCEL_REQUESTED");
	return task;
}

START_TEST(cancel_of_a_started_one_is_told_by_its_heartbeat)
{
	struct heartbeat_reply reply;
	WS(PollActivityTaskQueueResponse) *task = cancel_requested();
	assert_ok(harness_heartbeat(&h, harness_by_token(&h, task), "1", &reply));
	ck_assert(reply.cancel_requested);
	assert_ok(harness_canceled(&h, harness_by_token(&h, task)));
	harness_assert_events(&h, 10,
			      "ACTIVITY_TASK_CANCEL_REQUESTED ACTIVITY_TASK_STARTED ACTIVITY_TASK_CANCELED "
			      "WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(harness_event(&h, 12)->activity_task_canceled_event_attributes->started_event_id, 11);
	ck_assert_int_eq(
		harness_event(&h, 12)->activity_task_canceled_event_attributes->latest_cancel_requested_event_id, 10);
}
END_TEST

START_TEST(a_canceled_one_is_not_retried)
{
	WS(PollActivityTaskQueueResponse) *task = cancel_requested();
	assert_ok(harness_failed(&h, harness_by_token(&h, task), harness_failure(&h, "broken"), NULL));
	ck_assert_int_eq(harness_event(&h, 12)->activity_task_failed_event_attributes->retry_state,
			 RETRY_STATE(CANCEL_REQUESTED));
}
END_TEST

START_TEST(cancel_twice_is_refused)
{
	cancel_requested();
	harness_signal(&h, "again");
	harness_poll(&h);
	struct err e = harness_answer_err_with(&h, harness_cancel_activity(&h, 5));
	ck_assert_str_eq(e.message, "BadRequestCancelActivityAttributes: invalid history builder state for action: "
				    "add-activitytask-cancel-requested-event, ScheduledEventID: 5");
}
END_TEST

START_TEST(cancel_of_one_that_ended_unseen_is_noted)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	harness_signal(&h, "cancel");
	harness_poll(&h);
	assert_ok(harness_completed(&h, harness_by_token(&h, task)));
	harness_answer_with(&h, harness_cancel_activity(&h, 5));
	harness_assert_events(&h, 9,
			      "WORKFLOW_TASK_COMPLETED ACTIVITY_TASK_CANCEL_REQUESTED ACTIVITY_TASK_STARTED "
			      "ACTIVITY_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

START_TEST(cancel_while_a_retry_waits)
{
	start_with(with_retry(harness_schedule(&h, "a", 60 * NS_PER_S), 30 * NS_PER_S, 0));
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), harness_failure(&h, "first"),
				 NULL));
	harness_signal(&h, "cancel");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_activity(&h, 5));
	harness_assert_events(&h, 10, "ACTIVITY_TASK_CANCEL_REQUESTED ACTIVITY_TASK_CANCELED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("activity_failures");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, retries_are_invisible_until_the_end);
	tcase_add_test(tc, reasons_not_to_retry);
	tcase_add_test(tc, details_reach_the_next_attempt);
	tcase_add_test(tc, heartbeats_reach_the_journal_when_flushed);
	tcase_add_test(tc, large_failures_are_kept_short);
	tcase_add_test(tc, answers_too_large_for_an_event_fail_the_activity);
	tcase_add_test(tc, cancel_before_the_start_ends_it_behind_the_other_commands);
	tcase_add_test(tc, cancel_in_the_answer_that_schedules);
	tcase_add_test(tc, cancel_of_a_started_one_is_told_by_its_heartbeat);
	tcase_add_test(tc, a_canceled_one_is_not_retried);
	tcase_add_test(tc, cancel_twice_is_refused);
	tcase_add_test(tc, cancel_of_one_that_ended_unseen_is_noted);
	tcase_add_test(tc, cancel_while_a_retry_waits);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
