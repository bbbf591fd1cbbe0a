/* Activities that were handed to a gateway which is gone: nobody knows whether a worker has them. */
#include <check.h>
#include <stdlib.h>

#include "core_harness.h"
#include "services/history/core/core_internal.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"

static struct harness h;
static COMMON(RetryPolicy) policy;
static Perdure__StartTask *task;	       /* as it was handed out */
static WS(PollActivityTaskQueueResponse) lost; /* what its gateway was answered */

static void setup(void)
{
	harness_init(&h);
	COMMON_FN(retry_policy__init)(&policy);
	policy.initial_interval = pb_duration(h.arena, 2 * NS_PER_S);
	policy.maximum_attempts = 2;
}

static void teardown(void)
{
	harness_done(&h);
}

static void take(void)
{
	WS(PollActivityTaskQueueRequest) poll;
	WS_FN(poll_activity_task_queue_request__init)(&poll);
	WS_FN(poll_activity_task_queue_response__init)(&lost);
	poll.identity = (char *)"worker";
	task = harness_activity_task(&h, "a");
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(&h, &t);
	ck_assert(!err_is(core_start_activity(&t, task, &poll, &outcome, &lost)));
	ck_assert_int_eq(outcome, PERDURE__START_TASK_REPLY__OUTCOME__STARTED);
	harness_commit(&h, &t);
}

/* A run whose activity "a", event 5, with two attempts 2 s apart, was just handed out. */
static void start_within(int64_t schedule_to_close_ns)
{
	COMMAND(Command) *c = harness_schedule(&h, "a", schedule_to_close_ns);
	c->schedule_activity_task_command_attributes->start_to_close_timeout = pb_duration(h.arena, 10 * NS_PER_S);
	c->schedule_activity_task_command_attributes->retry_policy = &policy;
	harness_start(&h, NULL);
	harness_poll(&h);
	harness_answer_with(&h, c);
	take();
}

static void start(void)
{
	start_within(60 * NS_PER_S);
}

/* Whether it changed anything. */
static bool tell(const char *request_id)
{
	Perdure__RevertStart r;
	perdure__revert_start__init(&r);
	r.task = task->task;
	r.request_id = (char *)request_id;
	struct txn t;
	harness_begin(&h, &t);
	ck_assert(!err_is(core_lost_activity(&t, &r)));
	bool touched = t.touched;
	harness_commit(&h, &t);
	return touched;
}

static const Perdure__ActivityInfo *pending(void)
{
	return run_find_activity_by_id(h.current->run, "a")->info;
}

/* ------------------------------------------------------------------ it is tried again */

START_TEST(the_next_attempt_follows_at_its_interval)
{
	start();
	harness_advance(&h, 100 * NS_PER_MS);
	ck_assert(tell(task->request_id));
	const Perdure__ActivityInfo *a = pending();
	ck_assert_int_eq(a->attempt, 2);
	ck_assert_int_eq(a->retry_not_before_ns, h.now_ns + 2 * NS_PER_S);
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 2 * NS_PER_S);
	ck_assert(!run_has_unstarted_task(h.current->run, h.now_ns));

	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	WS(PollActivityTaskQueueResponse) *second = harness_poll_activity(&h, "a");
	ck_assert_int_eq(second->attempt, 2);
	ck_assert(!err_is(harness_completed(&h, harness_by_token(&h, second))));
	harness_assert_events(
		&h, 5, "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED");
	const FAILURE(Failure) *f = harness_event(&h, 6)->activity_task_started_event_attributes->last_failure;
	ck_assert_int_eq(f->failure_info_case, TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO);
	ck_assert(!f->server_failure_info->non_retryable);
}
END_TEST

START_TEST(the_worker_that_had_it_all_the_same_changes_nothing)
{
	struct heartbeat_reply reply;
	start();
	ck_assert(tell(task->request_id));
	ck_assert_int_eq(harness_heartbeat(&h, harness_by_token(&h, &lost), "1", &reply).code, ERR_NOT_FOUND);
	ck_assert_int_eq(harness_completed(&h, harness_by_token(&h, &lost)).code, ERR_NOT_FOUND);
	ck_assert_int_eq(harness_failed(&h, harness_by_token(&h, &lost), harness_failure(&h, "late"), NULL).code,
			 ERR_NOT_FOUND);
	ck_assert(!tell(task->request_id)); /* said again */
	ck_assert_int_eq(pending()->attempt, 2);

	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	harness_poll_activity(&h, "a");
	ck_assert(!tell(task->request_id));
	ck_assert_int_eq(harness_completed(&h, harness_by_token(&h, &lost)).code, ERR_NOT_FOUND);
	ck_assert_int_eq(pending()->attempt, 2);
}
END_TEST

/* ------------------------------------------------------------------ it keeps its timeouts */

static void assert_kept(void)
{
	ck_assert(!tell(task->request_id));
	ck_assert_int_eq(pending()->attempt, 1);
	ck_assert_int_ne(pending()->started_time_ns, 0);
	ck_assert(!err_is(harness_completed(&h, harness_by_token(&h, &lost))));
}

START_TEST(without_another_attempt)
{
	policy.maximum_attempts = 1;
	start();
	assert_kept();

	policy.maximum_attempts = 2;
	start();
	ck_assert(tell(task->request_id));
	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	take();
	ck_assert(!tell(task->request_id));
	harness_advance(&h, 10 * NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(
		&h, 5, "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	const FAILURE(Failure) *f = harness_event(&h, 7)->activity_task_timed_out_event_attributes->failure;
	ck_assert_int_eq(f->timeout_failure_info->timeout_type, TIMEOUT_TYPE(START_TO_CLOSE));
	ck_assert_int_eq(f->cause->failure_info_case,
			 TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_SERVER_FAILURE_INFO);
}
END_TEST

START_TEST(without_time_for_another)
{
	start_within(2 * NS_PER_S - 1);
	assert_kept();
	start_within(2 * NS_PER_S);
	ck_assert(tell(task->request_id));
	harness_advance(&h, 2 * NS_PER_S); /* the next attempt may begin, and the time is up */
	harness_on_time(&h);
	harness_assert_events(&h, 5, "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
}
END_TEST

START_TEST(after_a_heartbeat)
{
	struct heartbeat_reply reply;
	start();
	ck_assert(!err_is(harness_heartbeat(&h, harness_by_token(&h, &lost), "1", &reply)));
	assert_kept();
}
END_TEST

START_TEST(a_heartbeat_of_the_attempt_before_does_not_count)
{
	struct heartbeat_reply reply;
	policy.maximum_attempts = 3;
	start();
	ck_assert(!err_is(harness_heartbeat(&h, harness_by_token(&h, &lost), "1", &reply)));
	ck_assert(!err_is(harness_failed(&h, harness_by_token(&h, &lost), harness_failure(&h, "first"), NULL)));
	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	take();
	ck_assert(tell(task->request_id));
	ck_assert_int_eq(pending()->attempt, 3);
}
END_TEST

START_TEST(after_its_answer)
{
	start();
	ck_assert(!err_is(harness_completed(&h, harness_by_token(&h, &lost))));
	ck_assert(!tell(task->request_id));
	ck_assert_ptr_null(run_find_activity_by_id(h.current->run, "a"));

	start();
	ck_assert(!err_is(harness_failed(&h, harness_by_token(&h, &lost), harness_failure(&h, "broken"), NULL)));
	int64_t next_ns = pending()->retry_not_before_ns;
	harness_advance(&h, NS_PER_S);
	ck_assert(!tell(task->request_id));
	ck_assert_int_eq(pending()->retry_not_before_ns, next_ns);
}
END_TEST

START_TEST(when_another_start_is_meant)
{
	start();
	ck_assert(!tell("another poll's"));
	task->task->stamp++;
	ck_assert(!tell(task->request_id));
	task->task->stamp--;
	task->task->attempt++;
	ck_assert(!tell(task->request_id));
	task->task->attempt--;
	ck_assert_int_eq(pending()->attempt, 1);
	ck_assert(tell(task->request_id));
}
END_TEST

START_TEST(when_it_was_a_while_ago)
{
	start();
	harness_advance(&h, 6 * NS_PER_S);
	assert_kept();
}
END_TEST

START_TEST(when_it_should_end)
{
	start();
	harness_signal(&h, "cancel");
	harness_poll(&h);
	harness_answer_with(&h, harness_cancel_activity(&h, 5));
	assert_kept();
}
END_TEST

START_TEST(when_the_policy_excludes_start_to_close_timeouts)
{
	char *types[] = {(char *)"TemporalTimeout:StartToClose"};
	policy.non_retryable_error_types = types;
	policy.n_non_retryable_error_types = 1;
	start();
	assert_kept();
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		the_next_attempt_follows_at_its_interval,
		the_worker_that_had_it_all_the_same_changes_nothing,
		without_another_attempt,
		without_time_for_another,
		after_a_heartbeat,
		a_heartbeat_of_the_attempt_before_does_not_count,
		after_its_answer,
		when_another_start_is_meant,
		when_it_was_a_while_ago,
		when_it_should_end,
		when_the_policy_excludes_start_to_close_timeouts,
	};
	Suite *s = suite_create("activity_lost");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
		tcase_add_test(tc, tests[i]);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
