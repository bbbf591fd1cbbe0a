/* Activities: scheduling, polls, completion by token and by id. */
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

/* ------------------------------------------------------------------ scheduling */

START_TEST(defaults_are_in_the_event)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	const HISTORY(ActivityTaskScheduledEventAttributes) *s =
		harness_event(&h, 5)->activity_task_scheduled_event_attributes;
	ck_assert_str_eq(s->activity_id, "a");
	ck_assert_int_eq(s->task_queue->kind, QUEUE_KIND(NORMAL));
	ck_assert_int_eq(s->workflow_task_completed_event_id, 4);
	ck_assert_int_eq(pb_duration_ns(s->schedule_to_close_timeout), 60 * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->schedule_to_start_timeout), 60 * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->start_to_close_timeout), 60 * NS_PER_S);
	ck_assert_ptr_nonnull(s->heartbeat_timeout);
	ck_assert_int_eq(pb_duration_ns(s->heartbeat_timeout), 0);
	ck_assert_int_eq(pb_duration_ns(s->retry_policy->initial_interval), NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->retry_policy->maximum_interval), 100 * NS_PER_S);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_COMPLETED ACTIVITY_TASK_SCHEDULED");
}
END_TEST

struct given {
	int64_t run, schedule_to_close, schedule_to_start, start_to_close, heartbeat;
};

static void assert_timeouts(struct given g, struct given expected)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_run_timeout = g.run ? pb_duration(h.arena, g.run * NS_PER_S) : NULL;
	harness_start(&h, req);
	harness_poll(&h);
	COMMAND(Command) *c = harness_schedule(&h, "a", g.schedule_to_close * NS_PER_S);
	attributes(c)->schedule_to_start_timeout = pb_duration(h.arena, g.schedule_to_start * NS_PER_S);
	attributes(c)->start_to_close_timeout = pb_duration(h.arena, g.start_to_close * NS_PER_S);
	attributes(c)->heartbeat_timeout = pb_duration(h.arena, g.heartbeat * NS_PER_S);
	harness_answer_with(&h, c);
	const HISTORY(ActivityTaskScheduledEventAttributes) *s =
		harness_event(&h, 5)->activity_task_scheduled_event_attributes;
	ck_assert_int_eq(pb_duration_ns(s->schedule_to_close_timeout), expected.schedule_to_close * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->schedule_to_start_timeout), expected.schedule_to_start * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->start_to_close_timeout), expected.start_to_close * NS_PER_S);
	ck_assert_int_eq(pb_duration_ns(s->heartbeat_timeout), expected.heartbeat * NS_PER_S);
}

START_TEST(timeouts_follow_from_each_other_and_the_run)
{
	assert_timeouts((struct given){0, 0, 0, 30, 0}, (struct given){0, 0, 0, 30, 0});
	assert_timeouts((struct given){20, 0, 0, 30, 40}, (struct given){0, 20, 20, 20, 20});
	assert_timeouts((struct given){0, 5, 10, 20, 30}, (struct given){0, 5, 5, 5, 5});
	assert_timeouts((struct given){100, 50, 40, 30, 20}, (struct given){0, 50, 40, 30, 20});
}
END_TEST

static void assert_refused(COMMAND(Command) *c, const char *text)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	struct err e = harness_answer_err_with(&h, c);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, text);
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED WORKFLOW_TASK_FAILED");
	h.run_count = 0;
	run_free(h.current->run);
	h.runs[0] = (struct harness_run){0};
}

START_TEST(bad_commands_fail_the_workflow_task)
{
	COMMAND(Command) *c = harness_schedule(&h, "", NS_PER_S);
	assert_refused(c, "BadScheduleActivityAttributes: activityId is not set");
	c = harness_schedule(&h, "a", NS_PER_S);
	attributes(c)->activity_type = NULL;
	assert_refused(c, "BadScheduleActivityAttributes: activityType is not set");
	c = harness_schedule(&h, "a", NS_PER_S);
	attributes(c)->task_queue = NULL;
	assert_refused(c, "BadScheduleActivityAttributes: taskQueue is not set");
	c = harness_schedule(&h, "a", NS_PER_S);
	attributes(c)->task_queue->name = (char *)"/_sys/q/1";
	assert_refused(c, "BadScheduleActivityAttributes: task queue name cannot start with reserved prefix /_sys/");
	assert_refused(
		harness_schedule(&h, "a", 0),
		"BadScheduleActivityAttributes: a valid StartToCloseTimeout or ScheduleToCloseTimeout must be set "
		"on the activity. ActivityId=a ActivityType=work");
	assert_refused(harness_schedule(&h, "a", -NS_PER_S),
		       "BadScheduleActivityAttributes: invalid ScheduleToCloseTimeout: negative duration");
	assert_refused(with_retry(harness_schedule(&h, "a", NS_PER_S), -1, 0),
		       "BadScheduleActivityAttributes: invalid InitialInterval set on retry policy: negative duration");
	c = harness_schedule(&h, "a", NS_PER_S);
	c->attributes_case = TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES__NOT_SET;
	assert_refused(c, "BadScheduleActivityAttributes: ScheduleActivityTaskCommandAttributes is not set on "
			  "ScheduleActivityTaskCommand.");
	assert_refused(harness_cancel_activity(&h, 0),
		       "BadRequestCancelActivityAttributes: ScheduledEventId is not set on "
		       "RequestCancelActivityTaskCommand.");
	assert_refused(harness_cancel_activity(&h, 99),
		       "BadRequestCancelActivityAttributes: invalid history builder state for action: "
		       "add-activitytask-cancel-requested-event, ScheduledEventID: 99");
}
END_TEST

START_TEST(an_id_is_used_once_at_a_time)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	struct err e = harness_answer_err_with(&h, harness_schedule(&h, "same", NS_PER_S),
					       harness_schedule(&h, "same", NS_PER_S));
	ck_assert_str_eq(e.message, "ScheduleActivityDuplicateId: invalid history builder state for action: "
				    "add-activitytask-scheduled-event, ActivityID: same");
}
END_TEST

START_TEST(pending_activities_are_limited)
{
	h.config.pending_activities_max = 2;
	harness_start(&h, NULL);
	harness_poll(&h);
	struct err e =
		harness_answer_err_with(&h, harness_schedule(&h, "a", NS_PER_S), harness_schedule(&h, "b", NS_PER_S),
					harness_schedule(&h, "c", NS_PER_S));
	ck_assert_str_eq(e.message,
			 "PendingActivitiesLimitExceeded: the number of pending activities, 2, has reached the "
			 "per-workflow limit of 2");
	ck_assert_uint_eq(HASH_COUNT(h.current->run->activities), 0);
}
END_TEST

/* ------------------------------------------------------------------ start and completion */

START_TEST(started_and_completed)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	int64_t scheduled_ns = h.now_ns;
	harness_advance(&h, NS_PER_S);
	int64_t started_ns = h.now_ns;
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	ck_assert_str_eq(task->activity_id, "a");
	ck_assert_str_eq(task->activity_type->name, "work");
	ck_assert_str_eq(task->workflow_type->name, "kind");
	ck_assert_str_eq(task->workflow_namespace, "default");
	ck_assert_str_eq(task->workflow_execution->workflow_id, "wf");
	ck_assert_int_eq(task->attempt, 1);
	ck_assert_uint_eq(task->input->n_payloads, 1);
	ck_assert_int_eq(pb_timestamp_ns(task->scheduled_time), scheduled_ns);
	ck_assert_int_eq(pb_timestamp_ns(task->current_attempt_scheduled_time), scheduled_ns);
	ck_assert_int_eq(pb_timestamp_ns(task->started_time), started_ns);
	ck_assert_int_eq(pb_duration_ns(task->start_to_close_timeout), 60 * NS_PER_S);
	ck_assert_ptr_nonnull(task->heartbeat_timeout);
	/* Nothing of the start is history yet. */
	harness_assert_events(&h, 5, "ACTIVITY_TASK_SCHEDULED");

	harness_advance(&h, NS_PER_S);
	assert_ok(harness_completed(&h, harness_by_token(&h, task)));
	harness_assert_events(&h, 5,
			      "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_COMPLETED "
			      "WORKFLOW_TASK_SCHEDULED");
	const HISTORY(HistoryEvent) *started = harness_event(&h, 6);
	ck_assert_int_eq(pb_timestamp_ns(started->event_time), started_ns);
	ck_assert_int_eq(started->activity_task_started_event_attributes->attempt, 1);
	ck_assert_str_eq(started->activity_task_started_event_attributes->identity, "worker");
	const HISTORY(ActivityTaskCompletedEventAttributes) *completed =
		harness_event(&h, 7)->activity_task_completed_event_attributes;
	ck_assert_int_eq(completed->scheduled_event_id, 5);
	ck_assert_int_eq(completed->started_event_id, 6);
	ck_assert_uint_eq(HASH_COUNT(h.current->run->activities), 0);
	assert_gone(harness_completed(&h, harness_by_token(&h, task)));
}
END_TEST

START_TEST(events_wait_for_a_started_workflow_task)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	harness_signal(&h, "wake up");
	harness_poll(&h);
	assert_ok(harness_completed(&h, harness_by_token(&h, task)));
	harness_assert_events(&h, 5,
			      "ACTIVITY_TASK_SCHEDULED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED "
			      "WORKFLOW_TASK_STARTED");
	ck_assert_uint_eq(h.current->run->buffered_count, 2);
	harness_answer_with(&h, harness_timer(&h, "t", NS_PER_S));
	harness_assert_events(&h, 9,
			      "WORKFLOW_TASK_COMPLETED TIMER_STARTED ACTIVITY_TASK_STARTED "
			      "ACTIVITY_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(harness_event(&h, 12)->activity_task_completed_event_attributes->started_event_id, 11);
}
END_TEST

static Perdure__StartTaskReply__Outcome try_start(Perdure__StartTask *s, WS(PollActivityTaskQueueResponse) *resp)
{
	WS(PollActivityTaskQueueRequest) poll;
	WS_FN(poll_activity_task_queue_request__init)(&poll);
	WS_FN(poll_activity_task_queue_response__init)(resp);
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(&h, &t);
	assert_ok(core_start_activity(&t, s, &poll, &outcome, resp));
	harness_commit(&h, &t);
	return outcome;
}

START_TEST(a_poll_repeated_gets_the_same_answer_and_another_none)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	Perdure__StartTask *s = harness_activity_task(&h, "a");
	WS(PollActivityTaskQueueResponse) first, again, other;
	ck_assert_int_eq(try_start(s, &first), PERDURE__START_TASK_REPLY__OUTCOME__STARTED);
	size_t deltas = h.current->delta_count;
	harness_advance(&h, NS_PER_S);
	ck_assert_int_eq(try_start(s, &again), PERDURE__START_TASK_REPLY__OUTCOME__STARTED);
	ck_assert_uint_eq(h.current->delta_count, deltas);
	ck_assert_uint_eq(first.task_token.len, again.task_token.len);
	ck_assert_mem_eq(first.task_token.data, again.task_token.data, first.task_token.len);
	ck_assert_int_eq(pb_timestamp_ns(first.started_time), pb_timestamp_ns(again.started_time));

	ck_assert_int_eq(try_start(harness_activity_task(&h, "a"), &other),
			 PERDURE__START_TASK_REPLY__OUTCOME__ALREADY_STARTED);
	s->task->stamp++;
	ck_assert_int_eq(try_start(s, &other), PERDURE__START_TASK_REPLY__OUTCOME__GONE);
	s->task->stamp--;
	assert_ok(harness_completed(&h, harness_by_token(&h, &first)));
	ck_assert_int_eq(try_start(s, &other), PERDURE__START_TASK_REPLY__OUTCOME__GONE);
}
END_TEST

START_TEST(a_start_can_be_taken_back)
{
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	Perdure__StartTask *s = harness_activity_task(&h, "a");
	WS(PollActivityTaskQueueResponse) lost, taken;
	ck_assert_int_eq(try_start(s, &lost), PERDURE__START_TASK_REPLY__OUTCOME__STARTED);

	Perdure__RevertStart revert;
	perdure__revert_start__init(&revert);
	revert.task = s->task;
	revert.request_id = (char *)"somebody else's";
	struct txn t;
	harness_begin(&h, &t);
	assert_ok(core_revert_activity(&t, &revert));
	ck_assert(!t.touched);
	revert.request_id = s->request_id;
	assert_ok(core_revert_activity(&t, &revert));
	harness_commit(&h, &t);

	/* The old hand-out is void, its token too; the attempt is the same. */
	ck_assert_int_eq(try_start(s, &taken), PERDURE__START_TASK_REPLY__OUTCOME__GONE);
	assert_gone(harness_completed(&h, harness_by_token(&h, &lost)));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	ck_assert_int_eq(task->attempt, 1);
	assert_gone(harness_completed(&h, harness_by_token(&h, &lost)));
	assert_ok(harness_completed(&h, harness_by_token(&h, task)));
}
END_TEST

static void keep_offer(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	Perdure__DispatchTask *kept = ctx;
	if (task->kind != PERDURE__TASK_KIND__TASK_KIND_ACTIVITY)
		return;
	ck_assert_str_eq(queue->name, HARNESS_QUEUE);
	*kept = *task;
	kept->fairness_key = arena_strdup(h.arena, task->fairness_key);
}

START_TEST(its_priority_goes_over_the_runs)
{
	COMMON(Priority) run = TEMPORAL__API__COMMON__V1__PRIORITY__INIT,
			 own = TEMPORAL__API__COMMON__V1__PRIORITY__INIT;
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	run.priority_key = 2;
	run.fairness_key = (char *)"tenant";
	req->priority = &run;
	harness_start(&h, req);
	harness_poll(&h);
	COMMAND(Command) *c = harness_schedule(&h, "a", 60 * NS_PER_S);
	own.priority_key = 4;
	attributes(c)->priority = &own;
	harness_answer_with(&h, c);
	Perdure__DispatchTask offered = PERDURE__DISPATCH_TASK__INIT;
	core_offers(h.current->run, h.now_ns, HARNESS_SHARD, true, keep_offer, &offered);
	ck_assert_int_eq(offered.scheduled_event_id, 5);
	ck_assert_int_eq(offered.priority_key, 4);
	ck_assert_str_eq(offered.fairness_key, "tenant");
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	ck_assert_int_eq(task->priority->priority_key, 4);
	ck_assert_str_eq(task->priority->fairness_key, "tenant");
}
END_TEST

START_TEST(eager_activities_come_with_the_answer)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	COMMAND(Command) *eager = harness_schedule(&h, "eager", 60 * NS_PER_S);
	COMMAND(Command) *undone = harness_schedule(&h, "undone", 60 * NS_PER_S);
	attributes(eager)->request_eager_execution = attributes(undone)->request_eager_execution = true;
	WS(RespondWorkflowTaskCompletedResponse) *resp = harness_answer_with(
		&h, eager, undone, harness_schedule(&h, "polled", 60 * NS_PER_S), harness_cancel_activity(&h, 6));
	ck_assert_uint_eq(resp->n_activity_tasks, 1);
	ck_assert_str_eq(resp->activity_tasks[0]->activity_id, "eager");
	assert_ok(harness_completed(&h, harness_by_token(&h, resp->activity_tasks[0])));
	ck_assert_int_eq(run_find_activity_by_id(h.current->run, "polled")->info->started_time_ns, 0);
}
END_TEST

/* Its response was lost, with the activities that it began. */
START_TEST(a_repeated_answer_gets_its_eager_activities_again)
{
	harness_start(&h, NULL);
	harness_poll(&h);
	COMMAND(Command) *one = harness_schedule(&h, "one", 60 * NS_PER_S);
	COMMAND(Command) *two = harness_schedule(&h, "two", 60 * NS_PER_S);
	attributes(one)->request_eager_execution = attributes(two)->request_eager_execution = true;
	WS(RespondWorkflowTaskCompletedResponse) *resp = harness_answer_with(&h, one, two);
	ck_assert_uint_eq(resp->n_activity_tasks, 2);
	WS(RespondWorkflowTaskCompletedResponse) *again = harness_answer_with(&h, one, two);
	ck_assert_uint_eq(again->n_activity_tasks, 2);
	for (size_t i = 0; i < 2; i++)
		ck_assert(bytes_eq(
			bytes_of(resp->activity_tasks[i]->task_token.data, resp->activity_tasks[i]->task_token.len),
			bytes_of(again->activity_tasks[i]->task_token.data, again->activity_tasks[i]->task_token.len)));
	/* What is done is not begun again. */
	assert_ok(harness_completed(&h, harness_by_token(&h, resp->activity_tasks[0])));
	ck_assert_uint_eq(harness_answer_with(&h, one, two)->n_activity_tasks, 1);
	assert_ok(harness_completed(&h, harness_by_token(&h, resp->activity_tasks[1])));
	ck_assert_int_eq(harness_answer_err_with(&h, one, two).code, ERR_NOT_FOUND);
}
END_TEST

/* ------------------------------------------------------------------ by id */

START_TEST(answers_by_id)
{
	struct heartbeat_reply reply;
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	/* Before a worker has it only completing is possible. */
	assert_gone(harness_failed(&h, harness_by_id("a"), harness_failure(&h, "early"), NULL));
	assert_gone(harness_canceled(&h, harness_by_id("a")));
	assert_gone(harness_heartbeat(&h, harness_by_id("a"), "1", &reply));
	struct err e = harness_completed(&h, harness_by_id("b"));
	ck_assert_str_eq(e.message,
			 "cannot find pending activity with ActivityID b, check workflow execution history for "
			 "more details");
	ck_assert_int_eq(harness_completed(&h, harness_by_id("")).code, ERR_INVALID_ARGUMENT);
	assert_ok(harness_completed(&h, harness_by_id("a")));
	harness_assert_events(&h, 5,
			      "ACTIVITY_TASK_SCHEDULED ACTIVITY_TASK_STARTED ACTIVITY_TASK_COMPLETED "
			      "WORKFLOW_TASK_SCHEDULED");
	ck_assert_str_eq(harness_event(&h, 6)->activity_task_started_event_attributes->request_id, "");
}
END_TEST

START_TEST(a_closed_run_answers_so)
{
	struct heartbeat_reply reply;
	start_with(harness_schedule(&h, "a", 60 * NS_PER_S));
	WS(PollActivityTaskQueueResponse) *task = harness_poll_activity(&h, "a");
	harness_signal(&h, "end");
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
	struct err e = harness_completed(&h, harness_by_token(&h, task));
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "workflow execution already completed");
	ck_assert_str_eq(harness_heartbeat(&h, harness_by_token(&h, task), "1", &reply).message, e.message);
	ck_assert_str_eq(harness_failed(&h, harness_by_id("a"), NULL, NULL).message, e.message);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("activity");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, defaults_are_in_the_event);
	tcase_add_test(tc, timeouts_follow_from_each_other_and_the_run);
	tcase_add_test(tc, bad_commands_fail_the_workflow_task);
	tcase_add_test(tc, an_id_is_used_once_at_a_time);
	tcase_add_test(tc, pending_activities_are_limited);
	tcase_add_test(tc, started_and_completed);
	tcase_add_test(tc, events_wait_for_a_started_workflow_task);
	tcase_add_test(tc, a_poll_repeated_gets_the_same_answer_and_another_none);
	tcase_add_test(tc, a_start_can_be_taken_back);
	tcase_add_test(tc, its_priority_goes_over_the_runs);
	tcase_add_test(tc, eager_activities_come_with_the_answer);
	tcase_add_test(tc, a_repeated_answer_gets_its_eager_activities_again);
	tcase_add_test(tc, answers_by_id);
	tcase_add_test(tc, a_closed_run_answers_so);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
