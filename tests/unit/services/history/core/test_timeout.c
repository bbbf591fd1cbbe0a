/* Time: timers, the four timeouts of activities, workflow tasks that time out, runs that end. */
#include <check.h>
#include <stdlib.h>

#include "core_harness.h"
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

static void start_with(COMMAND(Command) *command)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, command);
}

static void assert_ok(struct err e)
{
	ck_assert_msg(!err_is(e), "%s", e.message);
}

/* Nothing is due just before the run says it wakes, and something is at that moment. */
static void to_wake(void)
{
	int64_t at = run_wake_at(h.current->run);
	ck_assert_int_gt(at, h.now_ns);
	ck_assert_int_lt(at, INT64_MAX);
	size_t deltas = h.current->delta_count;
	h.now_ns = at - 1;
	harness_on_time(&h);
	ck_assert_uint_eq(h.current->delta_count, deltas);
	h.now_ns = at;
	struct harness_run *r = h.current;
	harness_on_time(&h);
	ck_assert_uint_gt(r->delta_count, deltas);
}

/* ------------------------------------------------------------------ timers */

START_TEST(timers_fire_in_the_order_of_their_times)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_timer(&h, "later", 60 * NS_PER_S), harness_timer(&h, "two", 2 * NS_PER_S),
			    harness_timer(&h, "one", NS_PER_S), harness_timer(&h, "also two", 2 * NS_PER_S));
	harness_advance(&h, 10 * NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 9, "TIMER_FIRED TIMER_FIRED TIMER_FIRED WORKFLOW_TASK_SCHEDULED");
	ck_assert_str_eq(harness_event(&h, 9)->timer_fired_event_attributes->timer_id, "one");
	ck_assert_int_eq(harness_event(&h, 9)->timer_fired_event_attributes->started_event_id, 7);
	ck_assert_str_eq(harness_event(&h, 10)->timer_fired_event_attributes->timer_id, "two");
	ck_assert_str_eq(harness_event(&h, 11)->timer_fired_event_attributes->timer_id, "also two");
	ck_assert_uint_eq(HASH_COUNT(h.current->run->timers), 1);
}
END_TEST

START_TEST(a_timer_that_fires_during_a_workflow_task_waits)
{
	start_with(harness_timer(&h, "t", NS_PER_S));
	harness_signal(&h, "wake up");
	harness_poll(&h);
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 8, "WORKFLOW_TASK_STARTED");
	harness_answer_with(&h, harness_marker(&h, "noted"));
	harness_assert_events(&h, 9, "WORKFLOW_TASK_COMPLETED MARKER_RECORDED TIMER_FIRED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

START_TEST(a_timer_can_be_canceled)
{
	start_with(harness_timer(&h, "t", NS_PER_S));
	harness_signal(&h, "wake up");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_timer(&h, "t"));
	const HISTORY(TimerCanceledEventAttributes) *c = harness_event(&h, 10)->timer_canceled_event_attributes;
	ck_assert_str_eq(c->timer_id, "t");
	ck_assert_str_eq(c->identity, "worker");
	ck_assert_int_eq(c->started_event_id, 5);
	ck_assert_int_eq(c->workflow_task_completed_event_id, 9);
	harness_advance(&h, 10 * NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 9, "WORKFLOW_TASK_COMPLETED TIMER_CANCELED");
}
END_TEST

START_TEST(canceling_takes_back_a_fire_that_the_worker_has_not_seen)
{
	start_with(harness_timer(&h, "t", NS_PER_S));
	harness_signal(&h, "wake up");
	harness_poll(&h);
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	/* Nothing unseen is left, so the workflow may end too. */
	harness_answer_with(&h, harness_cancel_timer(&h, "t"), harness_complete(&h));
	harness_assert_events(&h, 9, "WORKFLOW_TASK_COMPLETED TIMER_CANCELED WORKFLOW_EXECUTION_COMPLETED");
	ck_assert_int_eq(harness_event(&h, 10)->timer_canceled_event_attributes->started_event_id, 5);
}
END_TEST

START_TEST(an_id_can_be_used_again_in_one_answer)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, harness_timer(&h, "t", NS_PER_S), harness_cancel_timer(&h, "t"),
			    harness_timer(&h, "t", 2 * NS_PER_S));
	harness_assert_events(&h, 5, "TIMER_STARTED TIMER_CANCELED TIMER_STARTED");
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 2 * NS_PER_S);
}
END_TEST

static void assert_refused(COMMAND(Command) *c, const char *text)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	struct err e = harness_answer_err_with(&h, harness_timer(&h, "same", NS_PER_S), c);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, text);
	ck_assert_uint_eq(HASH_COUNT(h.current->run->timers), 0);
}

START_TEST(bad_timer_commands)
{
	assert_refused(harness_timer(&h, "", NS_PER_S),
		       "BadStartTimerAttributes: TimerId is not set on StartTimerCommand.");
	assert_refused(harness_timer(&h, "t", -1), "BadStartTimerAttributes: An invalid StartToFireTimeout is set on "
						   "StartTimerCommand: negative duration. TimerId=t");
	assert_refused(harness_timer(&h, "same", 1), "StartTimerDuplicateId: invalid history builder state for action: "
						     "add-timer-started-event, TimerID: same");
	assert_refused(harness_cancel_timer(&h, ""),
		       "BadCancelTimerAttributes: TimerId is not set on CancelTimerCommand.");
	assert_refused(harness_cancel_timer(&h, "unknown"),
		       "BadCancelTimerAttributes: invalid history builder state for action: add-timer-canceled-event, "
		       "TimerID: unknown");
	h.config.id_bytes_max = 20;
	assert_refused(harness_timer(&h, "more than twenty bytes", 1),
		       "BadStartTimerAttributes: TimerId on StartTimerCommand exceeds length limit. "
		       "TimerId=more than twenty bytes Length=22 Limit=20");
}
END_TEST

START_TEST(a_timer_without_a_time_fires_at_once)
{
	start_with(harness_timer(&h, "none", 0));
	ck_assert_ptr_null(harness_event(&h, 5)->timer_started_event_attributes->start_to_fire_timeout);
	harness_on_time(&h);
	harness_assert_events(&h, 5, "TIMER_STARTED TIMER_FIRED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

/* ------------------------------------------------------------------ activities */

typedef COMMAND(ScheduleActivityTaskCommandAttributes) schedule_t;

static COMMAND(Command) *schedule(int attempts, int64_t start_to_close_ns, int64_t heartbeat_ns)
{
	COMMAND(Command) *c = harness_schedule(&h, "a", 60 * NS_PER_S);
	schedule_t *attr = c->schedule_activity_task_command_attributes;
	attr->start_to_close_timeout = pb_duration(h.arena, start_to_close_ns);
	attr->heartbeat_timeout = pb_duration(h.arena, heartbeat_ns);
	attr->retry_policy = arena_new0(h.arena, COMMON(RetryPolicy));
	COMMON_FN(retry_policy__init)(attr->retry_policy);
	attr->retry_policy->maximum_attempts = attempts;
	return c;
}

static const HISTORY(ActivityTaskTimedOutEventAttributes) *assert_timed_out(int64_t id, const char *message, int type,
									    int state)
{
	const HISTORY(ActivityTaskTimedOutEventAttributes) *e =
		harness_event(&h, id)->activity_task_timed_out_event_attributes;
	ck_assert_str_eq(e->failure->message, message);
	ck_assert_str_eq(e->failure->source, "Server");
	ck_assert_int_eq((int)e->failure->timeout_failure_info->timeout_type, type);
	ck_assert_int_eq((int)e->retry_state, state);
	ck_assert_int_eq(e->scheduled_event_id, 5);
	return e;
}

START_TEST(nobody_takes_it)
{
	COMMAND(Command) *c = schedule(3, 0, 0);
	c->schedule_activity_task_command_attributes->schedule_to_start_timeout = pb_duration(h.arena, NS_PER_S);
	start_with(c);
	to_wake();
	harness_assert_events(&h, 6, "ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	assert_timed_out(6, "activity ScheduleToStart timeout", TIMEOUT_TYPE(SCHEDULE_TO_START), RETRY_STATE(TIMEOUT));
}
END_TEST

START_TEST(schedule_to_start_comes_before_schedule_to_close)
{
	start_with(harness_schedule(&h, "a", NS_PER_S));
	to_wake();
	assert_timed_out(6, "activity ScheduleToStart timeout", TIMEOUT_TYPE(SCHEDULE_TO_START), RETRY_STATE(TIMEOUT));
}
END_TEST

#define NO_TIME "Not enough time to schedule next retry before activity ScheduleToClose timeout, giving up retrying"

START_TEST(schedule_to_close_ends_all_attempts)
{
	start_with(schedule(0, 0, 0));
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), harness_failure(&h, "first"),
				 NULL));
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	harness_poll_activity(&h, "a");
	h.now_ns += 59 * NS_PER_S;
	harness_on_time(&h);
	harness_assert_events(&h, 6, "ACTIVITY_TASK_STARTED ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	const HISTORY(ActivityTaskTimedOutEventAttributes) *e =
		assert_timed_out(7, NO_TIME, TIMEOUT_TYPE(SCHEDULE_TO_CLOSE), RETRY_STATE(TIMEOUT));
	ck_assert_str_eq(e->failure->cause->message, "first");
	ck_assert_int_eq(e->started_event_id, 6);
}
END_TEST

START_TEST(schedule_to_close_while_a_retry_waits)
{
	start_with(schedule(0, 0, 0));
	FAILURE(Failure) *f = harness_failure(&h, "first");
	f->application_failure_info->next_retry_delay = pb_duration(h.arena, 60 * NS_PER_S);
	assert_ok(harness_failed(&h, harness_by_token(&h, harness_poll_activity(&h, "a")), f, NULL));
	h.now_ns += 60 * NS_PER_S;
	harness_on_time(&h);
	harness_assert_events(&h, 6, "ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	assert_timed_out(6, NO_TIME, TIMEOUT_TYPE(SCHEDULE_TO_CLOSE), RETRY_STATE(TIMEOUT));
}
END_TEST

START_TEST(a_silent_worker_and_one_attempt)
{
	start_with(schedule(1, NS_PER_S, 0));
	harness_poll_activity(&h, "a");
	to_wake();
	harness_assert_events(&h, 6, "ACTIVITY_TASK_STARTED ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	assert_timed_out(7, "activity StartToClose timeout", TIMEOUT_TYPE(START_TO_CLOSE),
			 RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED));
}
END_TEST

START_TEST(a_silent_worker_and_another_attempt)
{
	start_with(schedule(2, NS_PER_S, 0));
	WS(PollActivityTaskQueueResponse) *silent = harness_poll_activity(&h, "a");
	to_wake();
	harness_assert_events(&h, 5, "ACTIVITY_TASK_SCHEDULED");
	ck_assert_int_eq(harness_completed(&h, harness_by_token(&h, silent)).code, ERR_NOT_FOUND);
	to_wake(); /* the backoff */
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	ck_assert_int_eq(task->attempt, 2);
	assert_ok(harness_completed(&h, harness_by_token(&h, task)));
	const HISTORY(ActivityTaskStartedEventAttributes) *s =
		harness_event(&h, 6)->activity_task_started_event_attributes;
	ck_assert_str_eq(s->last_failure->message, "activity StartToClose timeout");
}
END_TEST

START_TEST(heartbeats_postpone_their_timeout)
{
	struct heartbeat_reply reply;
	start_with(schedule(1, 30 * NS_PER_S, NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	for (int i = 0; i < 5; i++) {
		harness_advance(&h, NS_PER_S / 2);
		assert_ok(harness_heartbeat(&h, harness_by_token(&h, task), "\"last words\"", &reply));
		harness_on_time(&h);
		ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + NS_PER_S);
	}
	to_wake();
	const HISTORY(ActivityTaskTimedOutEventAttributes) *e = assert_timed_out(
		7, "activity Heartbeat timeout", TIMEOUT_TYPE(HEARTBEAT), RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED));
	ck_assert_mem_eq(e->failure->timeout_failure_info->last_heartbeat_details->payloads[0]->data.data,
			 "\"last words\"", 12);
}
END_TEST

START_TEST(grace_after_a_takeover_is_for_workers_only)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	COMMAND(Command) *a = schedule(1, NS_PER_S, NS_PER_S);
	harness_answer_with(&h, a, harness_timer(&h, "t", NS_PER_S));
	harness_poll_activity(&h, "a");
	harness_advance(&h, NS_PER_S);
	struct txn t;
	harness_begin(&h, &t);
	assert_ok(core_on_time(&t, NS_PER_S));
	harness_commit(&h, &t);
	harness_assert_events(&h, 7, "TIMER_FIRED WORKFLOW_TASK_SCHEDULED");
	harness_poll(&h);
	harness_answer(&h, NULL, 0);
	harness_advance(&h, NS_PER_S);
	harness_begin(&h, &t);
	assert_ok(core_on_time(&t, NS_PER_S));
	harness_commit(&h, &t);
	harness_assert_events(&h, 10,
			      "WORKFLOW_TASK_COMPLETED ACTIVITY_TASK_STARTED ACTIVITY_TASK_TIMED_OUT "
			      "WORKFLOW_TASK_SCHEDULED");
}
END_TEST

/* ------------------------------------------------------------------ workflow tasks and runs */

START_TEST(a_workflow_task_times_out_and_is_tried_again)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	to_wake();
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED WORKFLOW_TASK_TIMED_OUT");
	const HISTORY(WorkflowTaskTimedOutEventAttributes) *e =
		harness_event(&h, 4)->workflow_task_timed_out_event_attributes;
	ck_assert_int_eq(e->scheduled_event_id, 2);
	ck_assert_int_eq(e->started_event_id, 3);
	ck_assert_int_eq((int)e->timeout_type, TIMEOUT_TYPE(START_TO_CLOSE));
	const Perdure__WorkflowTask *w = h.current->run->exec->workflow_task;
	ck_assert_int_eq(w->attempt, 2);
	/* The next time leaves nothing in the history. */
	ck_assert_int_eq(harness_poll(&h)->attempt, 2);
	to_wake();
	harness_assert_events(&h, 4, "WORKFLOW_TASK_TIMED_OUT");
	ck_assert_int_eq(h.current->run->exec->workflow_task->attempt, 3);
}
END_TEST

START_TEST(a_sticky_worker_that_does_not_come)
{
	harness_start(&h, NULL);
	h.sticky_queue = "worker's own";
	h.sticky_timeout_ns = 5 * NS_PER_S;
	harness_poll(&h);
	harness_answer_with(&h, harness_timer(&h, "t", 60 * NS_PER_S));
	harness_signal(&h, "wake up");
	const Perdure__WorkflowTask *w = h.current->run->exec->workflow_task;
	ck_assert(w->sticky);
	int64_t stamp = w->stamp;
	to_wake();
	harness_assert_events(&h, 7, "WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	const HISTORY(WorkflowTaskTimedOutEventAttributes) *e =
		harness_event(&h, 8)->workflow_task_timed_out_event_attributes;
	ck_assert_int_eq(e->scheduled_event_id, 7);
	ck_assert_int_eq(e->started_event_id, 0);
	ck_assert_int_eq((int)e->timeout_type, TIMEOUT_TYPE(SCHEDULE_TO_START));
	w = h.current->run->exec->workflow_task;
	ck_assert(!w->sticky);
	ck_assert_int_eq(w->attempt, 1);
	ck_assert_int_ne(w->stamp, stamp);
	ck_assert_str_eq(harness_event(&h, 9)->workflow_task_scheduled_event_attributes->task_queue->name,
			 HARNESS_QUEUE);
}
END_TEST

START_TEST(the_run_times_out)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_run_timeout = pb_duration(h.arena, 10 * NS_PER_S);
	harness_start(&h, req);
	harness_poll(&h);
	harness_answer_with(&h, harness_timer(&h, "t", 5 * NS_PER_S), harness_timer(&h, "late", 20 * NS_PER_S));
	harness_advance(&h, 30 * NS_PER_S);
	harness_on_time(&h);
	/* What was due before is told, what was due after is not. */
	harness_assert_events(&h, 7, "TIMER_FIRED WORKFLOW_TASK_SCHEDULED WORKFLOW_EXECUTION_TIMED_OUT");
	ck_assert_int_eq((int)harness_event(&h, 9)->workflow_execution_timed_out_event_attributes->retry_state,
			 RETRY_STATE(RETRY_POLICY_NOT_SET));
	ck_assert_int_eq(h.current->run->exec->status, STATUS(TIMED_OUT));
	ck_assert_int_eq(run_wake_at(h.current->run), INT64_MAX);
	harness_on_time(&h);
}
END_TEST

START_TEST(a_start_delay_is_waited_for)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_start_delay = pb_duration(h.arena, 10 * NS_PER_S);
	harness_start(&h, req);
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED");
	to_wake();
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("timeout");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, timers_fire_in_the_order_of_their_times);
	tcase_add_test(tc, a_timer_that_fires_during_a_workflow_task_waits);
	tcase_add_test(tc, a_timer_can_be_canceled);
	tcase_add_test(tc, canceling_takes_back_a_fire_that_the_worker_has_not_seen);
	tcase_add_test(tc, an_id_can_be_used_again_in_one_answer);
	tcase_add_test(tc, bad_timer_commands);
	tcase_add_test(tc, a_timer_without_a_time_fires_at_once);
	tcase_add_test(tc, nobody_takes_it);
	tcase_add_test(tc, schedule_to_start_comes_before_schedule_to_close);
	tcase_add_test(tc, schedule_to_close_ends_all_attempts);
	tcase_add_test(tc, schedule_to_close_while_a_retry_waits);
	tcase_add_test(tc, a_silent_worker_and_one_attempt);
	tcase_add_test(tc, a_silent_worker_and_another_attempt);
	tcase_add_test(tc, heartbeats_postpone_their_timeout);
	tcase_add_test(tc, grace_after_a_takeover_is_for_workers_only);
	tcase_add_test(tc, a_workflow_task_times_out_and_is_tried_again);
	tcase_add_test(tc, a_sticky_worker_that_does_not_come);
	tcase_add_test(tc, the_run_times_out);
	tcase_add_test(tc, a_start_delay_is_waited_for);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
