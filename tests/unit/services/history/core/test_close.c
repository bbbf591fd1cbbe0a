/* How runs end, what follows them, and what signals and cancel requests do. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"
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

static void start_polled(WS(StartWorkflowExecutionRequest) *req)
{
	harness_start(&h, req);
	harness_poll(&h);
}

static int status(void)
{
	return h.current->run->exec->status;
}

static void assert_completed_error(struct err e)
{
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "workflow execution already completed");
	ck_assert_str_eq(e.detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
}

static WS(StartWorkflowExecutionRequest) *with_retries(int attempts)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->retry_policy = pb_new0(h.arena, COMMON(RetryPolicy), COMMON_FN(retry_policy));
	req->retry_policy->initial_interval = pb_duration(h.arena, NS_PER_S);
	req->retry_policy->backoff_coefficient = 1;
	req->retry_policy->maximum_attempts = attempts;
	req->input = harness_payloads(&h, "\"in\"");
	return req;
}

/* ------------------------------------------------------------------ closed for good */

START_TEST(a_completed_run_is_closed)
{
	start_polled(NULL);
	harness_answer_with(&h, harness_complete(&h));
	const Perdure__RunExec *exec = h.current->run->exec;
	ck_assert_int_eq(exec->status, STATUS(COMPLETED));
	ck_assert_int_eq(exec->close_time_ns, h.now_ns);
	ck_assert_int_eq(exec->close_event_id, 5);
	ck_assert_int_eq(exec->retention_end_ns, h.now_ns + 86400 * NS_PER_S);
	HISTORY(HistoryEvent) *e = pb_unpack(h.arena, &HISTORY_FN(history_event__descriptor), exec->close_event);
	ck_assert_int_eq(e->event_id, 5);
	ck_assert_int_eq(e->workflow_execution_completed_event_attributes->workflow_task_completed_event_id, 4);
	ck_assert_int_eq(run_wake_at(h.current->run), INT64_MAX);
	ck_assert(!run_has_unstarted_task(h.current->run, h.now_ns));
	assert_completed_error(steps_signal(&h, "late"));
	assert_completed_error(steps_terminate(&h));
	steps_assert_ok(steps_request_cancel(&h, "late"));
	harness_assert_events(&h, 4, "WORKFLOW_TASK_COMPLETED WORKFLOW_EXECUTION_COMPLETED");
}
END_TEST

START_TEST(a_failed_run_says_that_it_is_not_retried)
{
	start_polled(NULL);
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "broken")));
	ck_assert_int_eq(status(), STATUS(FAILED));
	const HISTORY(WorkflowExecutionFailedEventAttributes) *a =
		harness_event(&h, 5)->workflow_execution_failed_event_attributes;
	ck_assert_int_eq(a->retry_state, RETRY_STATE(RETRY_POLICY_NOT_SET));
	ck_assert_str_eq(a->failure->message, "broken");
	ck_assert_str_eq(a->new_execution_run_id, "");
}
END_TEST

START_TEST(terminating_writes_what_was_buffered_first)
{
	start_polled(NULL);
	steps_assert_ok(steps_signal(&h, "s"));
	steps_assert_ok(steps_terminate(&h));
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_TERMINATED");
	const HISTORY(WorkflowExecutionTerminatedEventAttributes) *a =
		harness_event(&h, 6)->workflow_execution_terminated_event_attributes;
	ck_assert_str_eq(a->reason, "terminated by user via frontend");
	ck_assert_str_eq(a->identity, "frontend-service");
	ck_assert_int_eq(status(), STATUS(TERMINATED));
}
END_TEST

START_TEST(terminating_a_waiting_task_leaves_it)
{
	harness_start(&h, NULL);
	steps_assert_ok(steps_terminate(&h));
	harness_assert_events(&h, 2, "WORKFLOW_TASK_SCHEDULED WORKFLOW_EXECUTION_TERMINATED");
	ck_assert_ptr_nonnull(h.current->run->exec->workflow_task);
}
END_TEST

/* ------------------------------------------------------------------ deleted */

START_TEST(deleting_an_open_run_terminates_it)
{
	struct txn t;
	start_polled(NULL);
	harness_begin(&h, &t);
	core_delete(&t);
	harness_commit(&h, &t);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_TERMINATED");
	const HISTORY(WorkflowExecutionTerminatedEventAttributes) *a =
		harness_event(&h, 5)->workflow_execution_terminated_event_attributes;
	ck_assert_str_eq(a->reason, "Delete workflow execution");
	ck_assert_str_eq(a->identity, "history-service");
	ck_assert_int_eq(status(), STATUS(TERMINATED));
	ck_assert(h.current->run->deleted);
}
END_TEST

START_TEST(deleting_a_closed_run_is_a_tombstone)
{
	struct txn t;
	start_polled(NULL);
	steps_assert_ok(steps_terminate(&h));
	size_t events = h.current->event_count;
	int64_t changes = h.current->run->exec->state_transition_count;
	harness_begin(&h, &t);
	core_delete(&t);
	harness_commit(&h, &t);
	ck_assert(h.current->run->deleted);
	ck_assert_uint_eq(h.current->event_count, events);
	ck_assert_int_eq(h.current->run->exec->state_transition_count, changes);
	ck_assert_uint_lt(h.current->deltas[h.current->delta_count - 1].len, 200);
}
END_TEST

/* ------------------------------------------------------------------ cancelling */

START_TEST(a_cancel_request_is_one_event)
{
	harness_start(&h, NULL);
	steps_assert_ok(steps_request_cancel(&h, "one"));
	steps_assert_ok(steps_request_cancel(&h, "one"));
	steps_assert_ok(steps_request_cancel(&h, "two"));
	harness_assert_events(&h, 3, "WORKFLOW_EXECUTION_CANCEL_REQUESTED");
	ck_assert_str_eq(harness_event(&h, 3)->workflow_execution_cancel_requested_event_attributes->cause, "enough");
	harness_poll(&h);
	harness_answer_with(&h, steps_cancel_workflow(&h));
	ck_assert_int_eq(status(), STATUS(CANCELED));
	harness_assert_events(&h, 4, "WORKFLOW_TASK_STARTED WORKFLOW_TASK_COMPLETED WORKFLOW_EXECUTION_CANCELED");
}
END_TEST

START_TEST(a_cancel_request_wakes_an_idle_run)
{
	start_polled(NULL);
	harness_answer(&h, NULL, 0);
	steps_assert_ok(steps_request_cancel(&h, NULL));
	harness_assert_events(&h, 5, "WORKFLOW_EXECUTION_CANCEL_REQUESTED WORKFLOW_TASK_SCHEDULED");
}
END_TEST

/* ------------------------------------------------------------------ signals */

START_TEST(the_same_signal_counts_once)
{
	harness_start(&h, NULL);
	steps_assert_ok(steps_signal(&h, "same"));
	steps_assert_ok(steps_signal(&h, "same"));
	steps_assert_ok(steps_signal(&h, NULL));
	steps_assert_ok(steps_signal(&h, NULL));
	harness_assert_events(&h, 3,
			      "WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_SIGNALED");
	ck_assert_int_eq(h.current->run->exec->signal_count, 3);
}
END_TEST

static struct err signal_again(const char *retry_id)
{
	WS(SignalWorkflowExecutionRequest) *req =
		pb_new0(h.arena, WS(SignalWorkflowExecutionRequest), WS_FN(signal_workflow_execution_request));
	req->workflow_execution = pb_new0(h.arena, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	req->workflow_execution->workflow_id = (char *)"wf";
	req->signal_name = (char *)"signal";
	struct txn t;
	harness_begin(&h, &t);
	t.retry_id = retry_id;
	struct err e = core_signal(&t, req);
	harness_commit(&h, &t);
	return e;
}

START_TEST(a_signal_without_request_id_is_known_by_our_own)
{
	harness_start(&h, NULL);
	steps_assert_ok(signal_again("ours"));
	steps_assert_ok(signal_again("ours"));
	ck_assert_int_eq(h.current->run->exec->signal_count, 1);
	ck_assert_str_eq(harness_event(&h, 3)->workflow_execution_signaled_event_attributes->request_id, "");
}
END_TEST

START_TEST(signals_are_limited)
{
	h.config.signals_max = 1;
	harness_start(&h, NULL);
	steps_assert_ok(steps_signal(&h, NULL));
	struct err e = steps_signal(&h, NULL);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_str_eq(e.message, "exceeded workflow execution limit for signal events");
}
END_TEST

/* ------------------------------------------------------------------ retried */

START_TEST(a_failed_run_is_retried)
{
	start_polled(with_retries(2));
	const struct run *first = h.current->run;
	harness_advance(&h, 5 * NS_PER_S);
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "first")));
	ck_assert_uint_eq(h.run_count, 2);
	ck_assert_str_eq(first->exec->new_execution_run_id, h.current->run->start->run_id);
	ck_assert_int_eq(first->exec->status, STATUS(FAILED));
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED");
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	ck_assert_int_eq(a->attempt, 2);
	ck_assert_int_eq(a->initiator, INITIATOR(RETRY));
	ck_assert_str_eq(a->continued_execution_run_id, first->start->run_id);
	ck_assert_str_eq(a->first_execution_run_id, first->start->run_id);
	ck_assert_str_eq(a->original_execution_run_id, h.current->run->start->run_id);
	ck_assert_str_eq(a->continued_failure->message, "first");
	ck_assert_str_eq(a->identity, "");
	ck_assert_int_eq(pb_duration_ns(a->first_workflow_task_backoff), NS_PER_S);
	ck_assert_uint_eq(a->prev_auto_reset_points->n_points, 1);
	ck_assert_int_eq(pb_timestamp_ns(a->prev_auto_reset_points->points[0]->expire_time),
			 h.now_ns + 86400 * NS_PER_S);
	ck_assert_ptr_nonnull(a->input);

	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	harness_poll(&h);
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "second")));
	ck_assert_uint_eq(h.run_count, 2);
	ck_assert_int_eq(harness_event(&h, 5)->workflow_execution_failed_event_attributes->retry_state,
			 RETRY_STATE(MAXIMUM_ATTEMPTS_REACHED));
}
END_TEST

START_TEST(a_failure_can_forbid_the_retry)
{
	start_polled(with_retries(5));
	FAILURE(Failure) *f = harness_failure(&h, "fatal");
	f->application_failure_info->non_retryable = true;
	harness_answer_with(&h, steps_fail_workflow(&h, f));
	ck_assert_uint_eq(h.run_count, 1);
	ck_assert_int_eq(harness_event(&h, 5)->workflow_execution_failed_event_attributes->retry_state,
			 RETRY_STATE(NON_RETRYABLE_FAILURE));
}
END_TEST

/* ------------------------------------------------------------------ out of time */

START_TEST(a_run_times_out)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_run_timeout = pb_duration(h.arena, NS_PER_S);
	harness_start(&h, req);
	harness_advance(&h, NS_PER_S / 2);
	harness_poll(&h);
	steps_assert_ok(steps_signal(&h, "buffered"));
	harness_advance(&h, NS_PER_S / 2);
	harness_on_time(&h);
	harness_assert_events(&h, 4, "WORKFLOW_TASK_FAILED WORKFLOW_EXECUTION_SIGNALED WORKFLOW_EXECUTION_TIMED_OUT");
	ck_assert_int_eq(status(), STATUS(TIMED_OUT));
	ck_assert_int_eq(harness_event(&h, 6)->workflow_execution_timed_out_event_attributes->retry_state,
			 RETRY_STATE(RETRY_POLICY_NOT_SET));
}
END_TEST

START_TEST(a_run_that_times_out_is_retried)
{
	WS(StartWorkflowExecutionRequest) *req = with_retries(2);
	req->workflow_run_timeout = pb_duration(h.arena, NS_PER_S);
	harness_start(&h, req);
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	ck_assert_uint_eq(h.run_count, 2);
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	ck_assert_int_eq(a->attempt, 2);
	ck_assert_str_eq(a->continued_failure->message, "workflow timeout");
	ck_assert_int_eq(a->continued_failure->timeout_failure_info->timeout_type, TIMEOUT_TYPE(START_TO_CLOSE));
	ck_assert_ptr_nonnull(a->prev_auto_reset_points);
	/* The backoff is not part of the run's time. */
	ck_assert_int_eq(h.current->run->start->run_deadline_ns, h.now_ns + 2 * NS_PER_S);
}
END_TEST

START_TEST(the_execution_timeout_ends_the_chain)
{
	WS(StartWorkflowExecutionRequest) *req = with_retries(5);
	req->workflow_execution_timeout = pb_duration(h.arena, NS_PER_S);
	harness_start(&h, req);
	harness_advance(&h, NS_PER_S);
	harness_on_time(&h);
	ck_assert_uint_eq(h.run_count, 1);
	harness_assert_events(&h, 3, "WORKFLOW_EXECUTION_TIMED_OUT");
	ck_assert_int_eq(harness_event(&h, 3)->workflow_execution_timed_out_event_attributes->retry_state,
			 RETRY_STATE(TIMEOUT));
}
END_TEST

/* ------------------------------------------------------------------ continued as new */

START_TEST(continue_as_new_inherits)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->workflow_execution_timeout = pb_duration(h.arena, 100 * NS_PER_S);
	req->workflow_run_timeout = pb_duration(h.arena, 50 * NS_PER_S);
	start_polled(req);
	const struct run *first = h.current->run;
	int64_t deadline = first->start->execution_deadline_ns;
	harness_answer_with(&h, steps_continue_as_new(&h));
	ck_assert_int_eq(first->exec->status, STATUS(CONTINUED_AS_NEW));
	const HISTORY(WorkflowExecutionContinuedAsNewEventAttributes) *e =
		h.runs[0].events[4]->workflow_execution_continued_as_new_event_attributes;
	ck_assert_str_eq(e->new_execution_run_id, h.current->run->start->run_id);
	ck_assert_str_eq(e->workflow_type->name, "kind");
	ck_assert_str_eq(e->task_queue->name, HARNESS_QUEUE);
	ck_assert_int_eq(pb_duration_ns(e->workflow_run_timeout), 50 * NS_PER_S);
	ck_assert_int_eq(e->initiator, INITIATOR(UNSPECIFIED));
	const HISTORY(WorkflowExecutionStartedEventAttributes) *a = steps_started(&h);
	ck_assert_int_eq(a->initiator, INITIATOR(WORKFLOW));
	ck_assert_int_eq(a->attempt, 1);
	ck_assert_str_eq(a->first_execution_run_id, first->start->run_id);
	ck_assert_int_eq(pb_timestamp_ns(a->workflow_execution_expiration_time), deadline);
	/* One that lived no second waits the rest of it. */
	ck_assert_int_eq(pb_duration_ns(a->first_workflow_task_backoff), NS_PER_S);
	ck_assert_int_eq(h.current->run->start->execution_deadline_ns, deadline);
	ck_assert_int_eq(h.current->run->start->first_start_time_ns, first->start->start_time_ns);
}
END_TEST

START_TEST(continue_as_new_after_a_while_starts_at_once)
{
	start_polled(NULL);
	harness_advance(&h, 2 * NS_PER_S);
	harness_answer_with(&h, steps_continue_as_new(&h));
	harness_assert_events(&h, 1, "WORKFLOW_EXECUTION_STARTED WORKFLOW_TASK_SCHEDULED");
	ck_assert_ptr_null(steps_started(&h)->first_workflow_task_backoff);
	ck_assert_ptr_nonnull(steps_started(&h)->workflow_run_timeout);
	harness_poll(&h);
	harness_answer_with(&h, harness_complete(&h));
}
END_TEST

START_TEST(a_start_after_all_that_is_a_new_chain)
{
	start_polled(NULL);
	harness_answer_with(&h, harness_complete(&h));
	harness_start(&h, NULL);
	ck_assert_str_eq(steps_started(&h)->first_execution_run_id, h.current->run->start->run_id);
	ck_assert_int_eq(h.current->run->start->start_seq, 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("close");
	TCase *c = tcase_create("close");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, a_completed_run_is_closed);
	tcase_add_test(c, a_failed_run_says_that_it_is_not_retried);
	tcase_add_test(c, terminating_writes_what_was_buffered_first);
	tcase_add_test(c, terminating_a_waiting_task_leaves_it);
	tcase_add_test(c, deleting_an_open_run_terminates_it);
	tcase_add_test(c, deleting_a_closed_run_is_a_tombstone);
	tcase_add_test(c, a_cancel_request_is_one_event);
	tcase_add_test(c, a_cancel_request_wakes_an_idle_run);
	tcase_add_test(c, the_same_signal_counts_once);
	tcase_add_test(c, a_signal_without_request_id_is_known_by_our_own);
	tcase_add_test(c, signals_are_limited);
	tcase_add_test(c, a_failed_run_is_retried);
	tcase_add_test(c, a_failure_can_forbid_the_retry);
	tcase_add_test(c, a_run_times_out);
	tcase_add_test(c, a_run_that_times_out_is_retried);
	tcase_add_test(c, the_execution_timeout_ends_the_chain);
	tcase_add_test(c, continue_as_new_inherits);
	tcase_add_test(c, continue_as_new_after_a_while_starts_at_once);
	tcase_add_test(c, a_start_after_all_that_is_a_new_chain);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
