/* The workflow task's life: first and transient attempts, time-outs, stickiness, heartbeats, buffered events. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "workflow_steps.h"

#define OUTCOME(name) PERDURE__START_TASK_REPLY__OUTCOME__##name

static struct harness h;

static void setup(void)
{
	harness_init(&h);
	harness_start(&h, NULL);
}

static void teardown(void)
{
	harness_done(&h);
}

static const Perdure__WorkflowTask *task(void)
{
	return h.current->run->exec->workflow_task;
}

static void assert_gone(struct err e)
{
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "Workflow task not found.");
	ck_assert_str_eq(e.detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
}

/* ------------------------------------------------------------------ start and answer */

START_TEST(a_poll_gets_the_whole_response)
{
	WS(PollWorkflowTaskQueueResponse) *r = harness_poll(&h);
	ck_assert_str_eq(r->workflow_execution->run_id, h.current->run->start->run_id);
	ck_assert_str_eq(r->workflow_type->name, "kind");
	ck_assert_int_eq(r->previous_started_event_id, 0);
	ck_assert_int_eq(r->started_event_id, 3);
	ck_assert_int_eq(r->attempt, 1);
	ck_assert_str_eq(r->workflow_execution_task_queue->name, HARNESS_QUEUE);
	const HISTORY(WorkflowTaskStartedEventAttributes) *a =
		harness_event(&h, 3)->workflow_task_started_event_attributes;
	ck_assert_int_eq(a->scheduled_event_id, 2);
	ck_assert_str_eq(a->identity, "worker");
	ck_assert_int_gt(a->history_size_bytes, 0);
	ck_assert(!a->suggest_continue_as_new);
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 10 * NS_PER_S);
}
END_TEST

START_TEST(an_answer_without_commands_leaves_the_run_waiting)
{
	harness_poll(&h);
	harness_answer(&h, NULL, 0);
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED");
	ck_assert_ptr_null(task());
	const Perdure__RunExec *exec = h.current->run->exec;
	ck_assert_int_eq(exec->last_completed_workflow_task_started_event_id, 3);
	/* What the worker's build is known by. */
	WORKFLOW(ResetPoints) *points =
		pb_unpack(h.arena, &WORKFLOW_FN(reset_points__descriptor), exec->auto_reset_points);
	ck_assert_uint_eq(points->n_points, 1);
	ck_assert_int_eq(points->points[0]->first_workflow_task_completed_id, 4);
	ck_assert(points->points[0]->resettable);
	COMMON(SearchAttributes) *sa =
		pb_unpack(h.arena, &COMMON_FN(search_attributes__descriptor), exec->search_attributes);
	ck_assert_str_eq(sa->indexed_fields[0]->key, "BuildIds");
	ck_assert(bytes_eq(pb_bytes(sa->indexed_fields[0]->value->data), bytes_str("[\"unversioned\"]")));
}
END_TEST

START_TEST(the_same_poll_gets_the_same_answer)
{
	WS(PollWorkflowTaskQueueResponse) first, again;
	Perdure__StartTask *dispatched = steps_start_task(&h, "poll");
	ck_assert_int_eq(steps_poll(&h, NULL, false, "poll", &first), OUTCOME(STARTED));
	ck_assert_int_eq(steps_poll(&h, NULL, false, "poll", &again), OUTCOME(STARTED));
	ck_assert(bytes_eq(pb_bytes(first.task_token), pb_bytes(again.task_token)));
	ck_assert_int_eq(steps_poll(&h, NULL, false, "other", &again), OUTCOME(ALREADY_STARTED));
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");
	harness_answer(&h, NULL, 0);
	steps_assert_ok(steps_signal(&h, "s"));
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(&h, &t);
	steps_assert_ok(core_start_workflow_task(&t, dispatched, NULL, &outcome, &again));
	ck_assert_int_eq(outcome, OUTCOME(GONE));
	ck_assert(!t.touched);
}
END_TEST

START_TEST(an_answer_counts_once)
{
	harness_poll(&h);
	harness_answer(&h, NULL, 0);
	assert_gone(steps_answer_error(&h, steps_answer_request(&h, NULL)));
	assert_gone(steps_fail_task(&h, COMMAND_CAUSE(NON_DETERMINISTIC_ERROR)));
	steps_assert_ok(steps_signal(&h, "s"));
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
	assert_gone(steps_answer_error(&h, steps_answer_request(&h, NULL)));
	struct err e = steps_fail_task(&h, COMMAND_CAUSE(NON_DETERMINISTIC_ERROR));
	ck_assert_str_eq(e.message, "workflow execution already completed");
}
END_TEST

/* ------------------------------------------------------------------ attempts */

START_TEST(repeated_failures_leave_one_event)
{
	harness_poll(&h);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED");
	ck_assert_int_eq(task()->attempt, 2);
	ck_assert_int_eq(task()->scheduled_event_id, 5);
	WS(PollWorkflowTaskQueueResponse) *r = harness_poll(&h);
	ck_assert_int_eq(r->attempt, 2);
	ck_assert_int_eq(r->started_event_id, 6);
	struct txn t;
	HISTORY(HistoryEvent) *scheduled, *started;
	harness_begin(&h, &t);
	core_transient_events(&t, &scheduled, &started);
	ck_assert_int_eq(scheduled->event_id, 5);
	ck_assert_int_eq(scheduled->workflow_task_scheduled_event_attributes->attempt, 2);
	ck_assert_int_eq(started->event_id, 6);
	ck_assert_int_eq(started->workflow_task_started_event_attributes->scheduled_event_id, 5);
	ck_assert(!t.touched);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	ck_assert_int_eq(task()->attempt, 3);
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
	harness_assert_events(&h, 4,
			      "WORKFLOW_TASK_FAILED WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED "
			      "WORKFLOW_TASK_COMPLETED WORKFLOW_EXECUTION_COMPLETED");
	ck_assert_int_eq(harness_event(&h, 5)->workflow_task_scheduled_event_attributes->attempt, 3);
	ck_assert_int_eq(harness_event(&h, 7)->workflow_task_completed_event_attributes->started_event_id, 6);
}
END_TEST

START_TEST(later_attempts_get_more_time)
{
	for (int attempt = 1; attempt <= 5; attempt++) {
		harness_poll(&h);
		steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	}
	ck_assert_int_eq(task()->attempt, 6);
	/* 10 s and 20 s, the latter less at most a fifth */
	ck_assert_int_ge(task()->timeout_ns, 26 * NS_PER_S);
	ck_assert_int_le(task()->timeout_ns, 30 * NS_PER_S);
}
END_TEST

START_TEST(a_signal_makes_the_transient_task_a_first_attempt)
{
	harness_poll(&h);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	steps_assert_ok(steps_signal(&h, "s"));
	harness_assert_events(&h, 5, "WORKFLOW_EXECUTION_SIGNALED");
	ck_assert_int_eq(task()->attempt, 2);
	struct txn t;
	HISTORY(HistoryEvent) *scheduled, *started;
	harness_begin(&h, &t);
	core_transient_events(&t, &scheduled, &started);
	ck_assert_ptr_null(scheduled);
	WS(PollWorkflowTaskQueueResponse) *r = harness_poll(&h);
	ck_assert_int_eq(r->attempt, 1);
	ck_assert_int_eq(r->started_event_id, 7);
	harness_assert_events(&h, 6, "WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED");
	ck_assert_int_eq(harness_event(&h, 6)->workflow_task_scheduled_event_attributes->attempt, 1);
	harness_answer_with(&h, harness_complete(&h));
}
END_TEST

START_TEST(a_signal_during_a_transient_attempt_follows_it)
{
	harness_poll(&h);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "s"));
	ck_assert_uint_eq(h.current->run->buffered_count, 1);
	harness_answer(&h, NULL, 0);
	harness_assert_events(&h, 5,
			      "WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED "
			      "WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED");
	ck_assert_uint_eq(h.current->run->buffered_count, 0);
}
END_TEST

START_TEST(a_signal_and_a_second_failure)
{
	harness_poll(&h);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "s"));
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	harness_assert_events(&h, 5, "WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(task()->attempt, 1);
	ck_assert_int_eq(task()->scheduled_event_id, 6);
}
END_TEST

START_TEST(a_silent_worker_times_out)
{
	harness_poll(&h);
	Perdure__TaskToken *late = h.workflow_token;
	steps_assert_ok(steps_signal(&h, "s"));
	harness_advance(&h, 10 * NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_TIMED_OUT WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED");
	const HISTORY(WorkflowTaskTimedOutEventAttributes) *a =
		harness_event(&h, 4)->workflow_task_timed_out_event_attributes;
	ck_assert_int_eq(a->scheduled_event_id, 2);
	ck_assert_int_eq(a->started_event_id, 3);
	ck_assert_int_eq(a->timeout_type, TIMEOUT_TYPE(START_TO_CLOSE));
	harness_poll(&h);
	h.workflow_token = late;
	assert_gone(steps_answer_error(&h, steps_answer_request(&h, NULL)));
}
END_TEST

START_TEST(two_silent_workers_leave_one_time_out)
{
	for (int i = 0; i < 2; i++) {
		harness_poll(&h);
		harness_advance(&h, 10 * NS_PER_S);
		harness_on_time(&h);
	}
	harness_assert_events(&h, 4, "WORKFLOW_TASK_TIMED_OUT");
	ck_assert_int_eq(task()->attempt, 3);
}
END_TEST

START_TEST(a_token_of_another_start_is_stale)
{
	harness_poll(&h);
	h.workflow_token->start_nonce++;
	assert_gone(steps_answer_error(&h, steps_answer_request(&h, NULL)));
}
END_TEST

/* ------------------------------------------------------------------ handed back */

static void revert(const char *request_id)
{
	Perdure__RevertStart req = PERDURE__REVERT_START__INIT;
	req.task = steps_start_task(&h, NULL)->task;
	req.request_id = (char *)request_id;
	struct txn t;
	harness_begin(&h, &t);
	steps_assert_ok(core_revert_workflow_task(&t, &req));
	harness_commit(&h, &t);
}

START_TEST(a_start_taken_back_is_there_for_another)
{
	WS(PollWorkflowTaskQueueResponse) first, second;
	steps_poll(&h, NULL, false, "one", &first);
	int64_t stamp = task()->stamp;
	revert("someone else's");
	ck_assert_int_eq(task()->stamp, stamp);
	revert("one");
	ck_assert_int_ne(task()->stamp, stamp);
	ck_assert(run_has_unstarted_task(h.current->run, h.now_ns));
	assert_gone(steps_answer_error(&h, steps_answer_request(&h, NULL)));
	ck_assert_int_eq(steps_poll(&h, NULL, false, "two", &second), OUTCOME(STARTED));
	ck_assert_int_eq(second.started_event_id, 3);
	ck_assert(!bytes_eq(pb_bytes(first.task_token), pb_bytes(second.task_token)));
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");
	harness_answer_with(&h, harness_complete(&h));
	harness_assert_events(&h, 4, "WORKFLOW_TASK_COMPLETED WORKFLOW_EXECUTION_COMPLETED");
}
END_TEST

START_TEST(a_transient_start_is_undone)
{
	WS(PollWorkflowTaskQueueResponse) r;
	harness_poll(&h);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	steps_poll(&h, NULL, false, "one", &r);
	steps_assert_ok(steps_signal(&h, "s"));
	revert("one");
	/* The signal needn't wait any more. */
	harness_assert_events(&h, 5, "WORKFLOW_EXECUTION_SIGNALED");
	ck_assert_int_eq(steps_poll(&h, NULL, false, "two", &r), OUTCOME(STARTED));
	harness_assert_events(&h, 6, "WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED");
}
END_TEST

/* ------------------------------------------------------------------ sticky */

static void become_sticky(void)
{
	harness_poll(&h);
	answer_t *req = steps_answer_request(&h, NULL);
	steps_make_sticky(&h, req, "sticky");
	steps_answer(&h, req);
	steps_assert_ok(steps_signal(&h, NULL));
	ck_assert(task()->sticky);
}

START_TEST(the_next_task_goes_to_the_sticky_queue)
{
	become_sticky();
	const TASK_QUEUE(TaskQueue) *q = harness_event(&h, 6)->workflow_task_scheduled_event_attributes->task_queue;
	ck_assert_str_eq(q->name, "sticky");
	ck_assert_int_eq(q->kind, QUEUE_KIND(STICKY));
	ck_assert_str_eq(q->normal_name, HARNESS_QUEUE);
	ck_assert_int_eq(run_wake_at(h.current->run), h.now_ns + 5 * NS_PER_S);
	WS(PollWorkflowTaskQueueResponse) r;
	ck_assert_int_eq(steps_poll(&h, "sticky", true, "p", &r), OUTCOME(STARTED));
	ck_assert_int_eq(r.previous_started_event_id, 3);
	ck_assert_str_eq(h.current->run->exec->sticky_task_queue, "sticky");
}
END_TEST

START_TEST(a_sticky_worker_that_is_late_loses_it)
{
	become_sticky();
	harness_advance(&h, 5 * NS_PER_S);
	harness_on_time(&h);
	harness_assert_events(&h, 7, "WORKFLOW_TASK_TIMED_OUT WORKFLOW_TASK_SCHEDULED");
	const HISTORY(WorkflowTaskTimedOutEventAttributes) *a =
		harness_event(&h, 7)->workflow_task_timed_out_event_attributes;
	ck_assert_int_eq(a->timeout_type, TIMEOUT_TYPE(SCHEDULE_TO_START));
	ck_assert_int_eq(a->scheduled_event_id, 6);
	ck_assert_int_eq(a->started_event_id, 0);
	ck_assert(!task()->sticky);
	ck_assert_int_eq(task()->attempt, 1);
}
END_TEST

START_TEST(a_lost_sticky_worker_writes_nothing)
{
	become_sticky();
	int64_t stamp = task()->stamp;
	struct txn t;
	harness_begin(&h, &t);
	core_sticky_lost(&t);
	harness_commit(&h, &t);
	harness_assert_events(&h, 6, "WORKFLOW_TASK_SCHEDULED");
	ck_assert(!task()->sticky);
	ck_assert_int_ne(task()->stamp, stamp);
	ck_assert_int_eq(run_wake_at(h.current->run), INT64_MAX);
	harness_poll(&h);
}
END_TEST

START_TEST(another_queues_worker_ends_stickiness)
{
	become_sticky();
	WS(PollWorkflowTaskQueueResponse) r;
	ck_assert_int_eq(steps_poll(&h, NULL, false, "p", &r), OUTCOME(STARTED));
	ck_assert(str_empty(h.current->run->exec->sticky_task_queue));
}
END_TEST

START_TEST(a_sticky_poll_gets_no_normal_task)
{
	WS(PollWorkflowTaskQueueResponse) r;
	ck_assert_int_eq(steps_poll(&h, "sticky", true, "p", &r), OUTCOME(GONE));
	harness_assert_events(&h, 2, "WORKFLOW_TASK_SCHEDULED");
}
END_TEST

START_TEST(a_sticky_failure_is_no_attempt)
{
	become_sticky();
	WS(PollWorkflowTaskQueueResponse) r;
	steps_poll(&h, "sticky", true, "p", &r);
	steps_assert_ok(steps_fail_task(&h, COMMAND_CAUSE(WORKFLOW_WORKER_UNHANDLED_FAILURE)));
	harness_assert_events(&h, 8, "WORKFLOW_TASK_FAILED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(task()->attempt, 1);
	ck_assert(!task()->sticky);
}
END_TEST

/* ------------------------------------------------------------------ heartbeats and returned tasks */

START_TEST(a_heartbeat_continues_the_task)
{
	harness_poll(&h);
	int64_t original = task()->original_scheduled_time_ns;
	harness_advance(&h, 5 * NS_PER_S);
	answer_t *req = steps_answer_request(&h, NULL);
	req->force_create_new_workflow_task = req->return_new_workflow_task = true;
	struct wft_completed done = steps_answer(&h, req);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED");
	ck_assert_int_eq(task()->original_scheduled_time_ns, original);
	ck_assert_str_eq(harness_event(&h, 6)->workflow_task_started_event_attributes->request_id,
			 "request-from-RespondWorkflowTaskCompleted");
	steps_take_returned(&h, &done);
	ck_assert_int_eq(done.response->workflow_task->previous_started_event_id, 3);
	harness_answer_with(&h, harness_complete(&h));
}
END_TEST

START_TEST(a_repeated_answer_gets_the_same_next_task)
{
	harness_poll(&h);
	answer_t *req = steps_answer_request(&h, NULL);
	req->force_create_new_workflow_task = req->return_new_workflow_task = true;
	struct wft_completed done = steps_answer(&h, req), again = steps_answer(&h, req);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED");
	ck_assert(again.start_new);
	ck_assert(bytes_eq(
		bytes_of(done.response->workflow_task->task_token.data, done.response->workflow_task->task_token.len),
		bytes_of(again.response->workflow_task->task_token.data,
			 again.response->workflow_task->task_token.len)));
	/* Not for an answer that asked for none, and not when the task has been answered. */
	req->return_new_workflow_task = false;
	ck_assert_int_eq(steps_answer_error(&h, req).code, ERR_NOT_FOUND);
	req->return_new_workflow_task = true;
	const Perdure__TaskToken *first = h.workflow_token;
	steps_take_returned(&h, &again);
	steps_answer(&h, steps_answer_request(&h, NULL));
	h.workflow_token = (Perdure__TaskToken *)first;
	ck_assert_int_eq(steps_answer_error(&h, req).code, ERR_NOT_FOUND);
}
END_TEST

START_TEST(heartbeats_end_some_time)
{
	harness_poll(&h);
	harness_advance(&h, 1801 * NS_PER_S);
	answer_t *req = steps_answer_request(&h, NULL);
	req->force_create_new_workflow_task = req->return_new_workflow_task = true;
	struct wft_completed done = steps_answer(&h, req);
	ck_assert_int_eq(done.failed.code, ERR_NOT_FOUND);
	ck_assert_str_eq(done.failed.message, "workflow task heartbeat timeout");
	ck_assert(!done.start_new);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_TIMED_OUT");
	ck_assert_int_eq(task()->attempt, 2);
}
END_TEST

START_TEST(a_new_task_is_returned_when_there_is_one)
{
	harness_poll(&h);
	answer_t *req = steps_answer_request(&h, harness_marker(&h, "m"));
	req->return_new_workflow_task = true;
	struct wft_completed done = steps_answer(&h, req);
	ck_assert(!done.start_new);
	steps_assert_ok(steps_signal(&h, "one"));
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "two"));
	done = steps_answer(&h, req);
	harness_assert_events(&h, 8,
			      "WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED MARKER_RECORDED "
			      "WORKFLOW_EXECUTION_SIGNALED WORKFLOW_TASK_SCHEDULED WORKFLOW_TASK_STARTED");
	steps_take_returned(&h, &done);
	harness_answer_with(&h, harness_complete(&h));
}
END_TEST

/* ------------------------------------------------------------------ limits */

START_TEST(a_full_buffer_ends_the_task)
{
	h.config.buffered_events_max = 2;
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "1"));
	steps_assert_ok(steps_signal(&h, "2"));
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");
	steps_assert_ok(steps_signal(&h, "3"));
	harness_assert_events(&h, 4,
			      "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_SIGNALED "
			      "WORKFLOW_EXECUTION_SIGNALED");
	ck_assert_int_eq(task()->attempt, 2);
	ck_assert_int_eq(task()->started_event_id, 0);
}
END_TEST

START_TEST(a_history_that_grows_too_long_ends_the_run)
{
	h.config.history_events_max = 5;
	for (int i = 0; i < 5; i++)
		steps_assert_ok(steps_signal(&h, NULL));
	harness_assert_events(&h, 6, "WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_TERMINATED");
	ck_assert_str_eq(harness_event(&h, 7)->workflow_execution_terminated_event_attributes->reason,
			 "Workflow history count exceeds limit.");
}
END_TEST

START_TEST(a_long_history_advises_to_continue_as_new)
{
	h.config.history_events_suggest_can = 3;
	harness_poll(&h);
	const HISTORY(WorkflowTaskStartedEventAttributes) *a =
		harness_event(&h, 3)->workflow_task_started_event_attributes;
	ck_assert(a->suggest_continue_as_new);
	ck_assert_uint_eq(a->n_suggest_continue_as_new_reasons, 1);
	ck_assert_int_eq(a->suggest_continue_as_new_reasons[0], SUGGEST_CAN(TOO_MANY_HISTORY_EVENTS));
}
END_TEST

/* ------------------------------------------------------------------ offers */

static void collect(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *t)
{
	struct buf *out = ctx;
	buf_printf(out, "%s%s/%d ", queue->name, queue->sticky ? "(sticky)" : "", (int)t->kind);
}

static void assert_offers(const char *want)
{
	struct buf out = {0};
	core_offers(h.current->run, h.now_ns, 1, true, collect, &out);
	buf_put(&out, "", 1);
	ck_assert_str_eq((const char *)out.data, want);
	buf_done(&out);
}

START_TEST(what_waits_is_offered_once)
{
	assert_offers("queue/1 ");
	assert_offers("");
	core_offers_forget(h.current->run);
	assert_offers("queue/1 ");
	harness_poll(&h);
	core_offers_forget(h.current->run);
	assert_offers("");
	answer_t *req = steps_answer_request(&h, harness_schedule(&h, "a", 60 * NS_PER_S));
	steps_make_sticky(&h, req, "sticky");
	steps_answer(&h, req);
	steps_assert_ok(steps_signal(&h, NULL));
	assert_offers("sticky(sticky)/1 queue/2 ");
	assert_offers("");
}
END_TEST

static void add_lifecycle(TCase *c)
{
	tcase_add_test(c, a_poll_gets_the_whole_response);
	tcase_add_test(c, an_answer_without_commands_leaves_the_run_waiting);
	tcase_add_test(c, the_same_poll_gets_the_same_answer);
	tcase_add_test(c, an_answer_counts_once);
	tcase_add_test(c, repeated_failures_leave_one_event);
	tcase_add_test(c, later_attempts_get_more_time);
	tcase_add_test(c, a_signal_makes_the_transient_task_a_first_attempt);
	tcase_add_test(c, a_signal_during_a_transient_attempt_follows_it);
	tcase_add_test(c, a_signal_and_a_second_failure);
	tcase_add_test(c, a_silent_worker_times_out);
	tcase_add_test(c, two_silent_workers_leave_one_time_out);
	tcase_add_test(c, a_token_of_another_start_is_stale);
	tcase_add_test(c, a_start_taken_back_is_there_for_another);
	tcase_add_test(c, a_transient_start_is_undone);
}

static void add_rest(TCase *c)
{
	tcase_add_test(c, the_next_task_goes_to_the_sticky_queue);
	tcase_add_test(c, a_sticky_worker_that_is_late_loses_it);
	tcase_add_test(c, a_lost_sticky_worker_writes_nothing);
	tcase_add_test(c, another_queues_worker_ends_stickiness);
	tcase_add_test(c, a_sticky_poll_gets_no_normal_task);
	tcase_add_test(c, a_sticky_failure_is_no_attempt);
	tcase_add_test(c, a_heartbeat_continues_the_task);
	tcase_add_test(c, a_repeated_answer_gets_the_same_next_task);
	tcase_add_test(c, heartbeats_end_some_time);
	tcase_add_test(c, a_new_task_is_returned_when_there_is_one);
	tcase_add_test(c, a_full_buffer_ends_the_task);
	tcase_add_test(c, a_history_that_grows_too_long_ends_the_run);
	tcase_add_test(c, a_long_history_advises_to_continue_as_new);
	tcase_add_test(c, what_waits_is_offered_once);
}

int main(void)
{
	Suite *s = suite_create("workflow_task");
	TCase *c = tcase_create("workflow_task");
	tcase_add_checked_fixture(c, setup, teardown);
	add_lifecycle(c);
	add_rest(c);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
