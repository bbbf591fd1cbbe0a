/*
 * Polls: credits, hand-outs and the races between a task that comes and a poll that goes.
 */
#include <stdio.h>

#include "common/edge/wire.h"
#include "tests/unit/common/edge/harness.h"

#define SECOND	      NS_PER_S
#define WORKFLOW      PERDURE__TASK_KIND__TASK_KIND_WORKFLOW
#define ACTIVITY      PERDURE__TASK_KIND__TASK_KIND_ACTIVITY
#define VERDICT(name) PERDURE__TASK_OUTCOME__VERDICT__##name
#define STARTED	      PERDURE__START_TASK_REPLY__OUTCOME__STARTED

static uint32_t idle(const char *queue)
{
	const Perdure__QueueCredit *c = credit_of(&k.matching, queue);
	return c ? c->idle : UINT32_MAX;
}

/* Ends calls that a test leaves waiting. */
static void end(struct client_call *c)
{
	if (!c->finished)
		client_cancel(c);
	client_free(c);
}

/* ------------------------------------------------------------------ credits */

START_TEST(a_poll_is_a_credit)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	const Perdure__QueueCredit *c = credit_of(&k.matching, "q");
	ck_assert_str_eq(c->queue->namespace_id, NAMESPACE_ID);
	ck_assert_int_eq(c->queue->pollers, ACTIVITY);
	ck_assert(!c->queue->sticky);
	ck_assert_uint_eq(c->idle, 1);
	ck_assert_uint_eq(c->received, 0);
	ck_assert(a->slim);
	struct client_call *b = poll_activity("q", "w1", 60 * SECOND);
	ck_assert_uint_eq(idle("q"), 2);
	end(a);
	ck_assert_uint_eq(idle("q"), 1);
	end(b);
	ck_assert_uint_eq(idle("q"), 0);
}
END_TEST

START_TEST(what_happens_in_one_turn_is_one_message)
{
	size_t before = k.matching.credit_count;
	struct client_call *polls[20];
	WS(PollActivityTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	char name[8];
	q.name = name;
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	for (size_t i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "q%zu", i % 2);
		polls[i] = client_begin(METHOD(POLL_ACTIVITY_TASK_QUEUE), &r.base, 60 * SECOND);
	}
	advance(5 * MS);
	ck_assert_uint_le(k.matching.credit_count, before + 1);
	ck_assert_uint_eq(idle("q0"), 10);
	ck_assert_uint_eq(idle("q1"), 10);
	for (size_t i = 0; i < 20; i++)
		end(polls[i]);
}
END_TEST

START_TEST(everything_is_said_again_each_second)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	size_t before = k.matching.credit_count;
	advance(3 * SECOND);
	ck_assert_uint_eq(k.matching.credit_count, before + 3);
	const Perdure__Credits *whole = k.matching.credits[before];
	ck_assert(whole->whole);
	ck_assert_uint_eq(whole->n_queues, 1);
	ck_assert_uint_eq(whole->queues[0]->idle, 1);
	/* Who polls is told when it changed. */
	ck_assert_uint_eq(whole->queues[0]->n_pollers, 1);
	ck_assert_str_eq(whole->queues[0]->pollers[0]->identity, "w1");
	ck_assert(whole->queues[0]->pollers[0]->rate_per_second == 2.5);
	ck_assert_uint_eq(k.matching.credits[before + 1]->queues[0]->n_pollers, 0);
	/* A queue that nobody polls is named once more, then not, then nothing is said at all. */
	end(a);
	advance(2500 * MS);
	const Perdure__Credits *last = k.matching.credits[k.matching.credit_count - 1];
	ck_assert(last->whole);
	ck_assert_uint_eq(last->n_queues, 0);
	before = k.matching.credit_count;
	advance(5 * SECOND);
	ck_assert_uint_eq(k.matching.credit_count, before);
}
END_TEST

START_TEST(a_new_owner_gets_the_credits)
{
	struct client_call *polls[16];
	char name[8];
	for (size_t i = 0; i < 16; i++) {
		snprintf(name, sizeof name, "q%zu", i);
		polls[i] = poll_activity(name, "w1", 300 * SECOND);
	}
	peer_start(&k.matching2, MEMBER_MATCHING, "matching-2");
	advance(500 * MS);
	int moved = 0;
	for (size_t i = 0; i < 16; i++) {
		snprintf(name, sizeof name, "q%zu", i);
		const Perdure__QueueCredit *c = credit_of(&k.matching2, name);
		moved += c && c->idle == 1;
	}
	ck_assert_int_gt(moved, 0);
	ck_assert_int_lt(moved, 16);
	/* And when it dies, the first has them all. */
	peer_kill(&k.matching2);
	advance(8 * SECOND);
	for (size_t i = 0; i < 16; i++) {
		snprintf(name, sizeof name, "q%zu", i);
		ck_assert_uint_eq(idle(name), 1);
		end(polls[i]);
	}
}
END_TEST

/* ------------------------------------------------------------------ hand-outs */

START_TEST(a_task_reaches_its_worker)
{
	struct client_call *a = poll_workflow("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, WORKFLOW, 7, "wf");
	Perdure__StartTask *m = next_start(&k.history);
	ck_assert_str_eq(m->task->workflow_id, "wf");
	ck_assert_int_eq(m->task->stamp, 5);
	ck_assert_uint_eq(strlen(m->request_id), 36);
	ck_assert_str_eq(m->identity, "w1");
	ck_assert_str_eq(m->namespace_, "default");
	ck_assert_str_eq(m->headers[0]->value, "temporal-test");
	WS(PollWorkflowTaskQueueRequest) *poll =
		temporal__api__workflowservice__v1__poll_workflow_task_queue_request__unpack(
			arena_pb(k.history.starts[0].arena), m->poll_request.len, m->poll_request.data);
	ck_assert_str_eq(poll->task_queue->name, "q");
	ck_assert_uint_eq(idle("q"), 0);
	ck_assert_uint_eq(credit_of(&k.matching, "q")->received, 1);
	reply_start(&k.history, STARTED, "a workflow task");
	expect_body(a, "a workflow task");
	ck_assert_int_eq(outcome_of(&k.matching, 7), VERDICT(STARTED));
	client_free(a);
}
END_TEST

START_TEST(the_oldest_poll_goes_first)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND), *b = poll_activity("q", "w2", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	ck_assert_str_eq(next_start(&k.history)->identity, "w1");
	/* Its task is somebody else's: it waits on, and is still the oldest. */
	reply_start(&k.history, PERDURE__START_TASK_REPLY__OUTCOME__ALREADY_STARTED, "");
	ck_assert(!a->finished);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(ALREADY_STARTED));
	ck_assert_uint_eq(idle("q"), 2);
	hand_out(&k.matching, "q", false, ACTIVITY, 2, "wf");
	ck_assert_str_eq(next_start(&k.history)->identity, "w1");
	reply_start(&k.history, PERDURE__START_TASK_REPLY__OUTCOME__GONE, "");
	ck_assert_int_eq(outcome_of(&k.matching, 2), VERDICT(GONE));
	ck_assert_uint_eq(credit_of(&k.matching, "q")->received, 2);
	end(a);
	end(b);
}
END_TEST

START_TEST(without_a_poll_it_goes_back_at_once)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	hand_out(&k.matching, "q", false, ACTIVITY, 2, "wf2");
	ck_assert_int_eq(outcome_of(&k.matching, 2), VERDICT(HANDED_BACK));
	ck_assert_uint_eq(credit_of(&k.matching, "q")->received, 2);
	hand_out(&k.matching, "unheard of", false, ACTIVITY, 3, "wf3");
	ck_assert_int_eq(outcome_of(&k.matching, 3), VERDICT(HANDED_BACK));
	ck_assert_uint_eq(k.history.start_count, 1);
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	client_free(a);
}
END_TEST

START_TEST(a_poll_cancelled_as_its_task_starts_gives_it_back)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	char request_id[37];
	snprintf(request_id, sizeof request_id, "%s", next_start(&k.history)->request_id);
	client_cancel(a);
	ck_assert(a->finished);
	ck_assert(!k.history.starts[0].cancelled); /* it may have happened: the answer is needed */
	reply_start(&k.history, STARTED, "t");
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(UNSPECIFIED));
	ck_assert_str_eq(next_revert(&k.history)->request_id, request_id);
	ck_assert_str_eq(next_revert(&k.history)->task->workflow_id, "wf");
	reply_revert(&k.history);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(GONE));
	client_free(a);
}
END_TEST

START_TEST(a_start_bears_the_id_of_its_hand_out)
{
	static const char id[] = "01234567-89ab-4cde-8f01-23456789abcd",
			  longer[] = "01234567-89ab-4cde-8f01-23456789abcdef";
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND), *b = poll_activity("q", "w2", 60 * SECOND);
	k.hand_request_id = id;
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf1");
	ck_assert_str_eq(next_start(&k.history)->request_id, id);
	reply_start(&k.history, STARTED, "t");
	k.hand_request_id = longer;
	hand_out(&k.matching, "q", false, ACTIVITY, 2, "wf2");
	ck_assert_uint_eq(strlen(next_start(&k.history)->request_id), 36);
	ck_assert_str_ne(next_start(&k.history)->request_id, id);
	reply_start(&k.history, STARTED, "t");
	client_free(a);
	client_free(b);
}
END_TEST

START_TEST(a_query_whose_poll_went_is_asked_again)
{
	struct client_call *a = poll_workflow("q", "w1", 60 * SECOND);
	a->refuse = true;
	hand_out_query(&k.matching, "q", 1, "wf");
	reply_start(&k.history, STARTED, "t");
	ck_assert(a->finished);
	ck_assert_uint_eq(k.history.revert_count, 0);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(HANDED_BACK));
	client_free(a);
}
END_TEST

START_TEST(a_response_that_cannot_be_written_is_taken_back)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	a->refuse = true;
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	reply_start(&k.history, STARTED, "t");
	ck_assert(a->finished);
	/* The node dies with the revert: another owner is asked. */
	fake_net_reset(k.net, "edge", "history-1");
	k.history.reverts[0].cancelled = true;
	reply_err(k.history.reverts, &k.history.revert_count, ERR_UNAVAILABLE, ERR_REASON_NONE, "x");
	advance(200 * MS);
	ck_assert_uint_ge(k.history.revert_count, 1);
	reply_revert(&k.history);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(GONE));
	client_free(a);
}
END_TEST

START_TEST(a_start_is_repeated_with_its_request_id)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	char request_id[37];
	snprintf(request_id, sizeof request_id, "%s", next_start(&k.history)->request_id);
	const enum err_reason reasons[] = {ERR_REASON_PEER_LOST, ERR_REASON_NOT_OWNER, ERR_REASON_DRAINING,
					   ERR_REASON_FENCED, ERR_REASON_OUTCOME_UNKNOWN};
	for (size_t i = 0; i < array_len(reasons); i++) {
		fail_start(&k.history, ERR_UNAVAILABLE, reasons[i]);
		advance(200 * MS);
		ck_assert_str_eq(next_start(&k.history)->request_id, request_id);
	}
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(STARTED));
	client_free(a);
}
END_TEST

START_TEST(a_poll_cancelled_between_attempts)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	/* It did not happen there, for certain: back it goes. */
	fail_start(&k.history, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	advance(300 * NS_PER_US);
	client_cancel(a);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(HANDED_BACK));
	client_free(a);
	/* It may have happened: it is taken back. */
	a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 2, "wf");
	fail_start(&k.history, ERR_UNAVAILABLE, ERR_REASON_OUTCOME_UNKNOWN);
	advance(300 * NS_PER_US);
	client_cancel(a);
	ck_assert_int_eq(outcome_of(&k.matching, 2), VERDICT(UNSPECIFIED));
	ck_assert_uint_eq(k.history.revert_count, 1);
	reply_revert(&k.history);
	ck_assert_int_eq(outcome_of(&k.matching, 2), VERDICT(GONE));
	client_free(a);
}
END_TEST

START_TEST(history_out_of_reach_ends_in_a_hand_back)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	peer_leave(&k.history);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	advance(11 * SECOND);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(HANDED_BACK));
	ck_assert(!a->finished); /* the poll waits on */
	ck_assert_uint_eq(idle("q"), 1);
	end(a);
}
END_TEST

START_TEST(a_lost_start_is_taken_back_and_its_poll_ends_in_time)
{
	struct client_call *a = poll_activity("q", "w1", 8 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	fail_start(&k.history, ERR_UNAVAILABLE, ERR_REASON_PEER_LOST);
	peer_leave(&k.history);
	advance(7500 * MS); /* its time is over; the start is still tried */
	ck_assert(!a->finished);
	advance(4 * SECOND); /* given up: it is to be taken back now */
	expect_body(a, "");
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(UNSPECIFIED));
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	advance(2 * SECOND);
	reply_revert(&k.history2);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(GONE));
	client_free(a);
}
END_TEST

START_TEST(a_refused_start_does_not_spin)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	fail_start(&k.history, ERR_INTERNAL, ERR_REASON_NONE);
	advance(5 * MS);
	ck_assert_int_eq(outcome_of(&k.matching, 1), VERDICT(GONE));
	ck_assert(!a->finished);
	end(a);
}
END_TEST

/* ------------------------------------------------------------------ the end of a poll */

START_TEST(a_poll_ends_empty_before_its_deadline)
{
	struct client_call *a = poll_workflow("q", "w1", 30 * SECOND), *b = poll_workflow("q", "w1", 300 * SECOND);
	int64_t now = k.world.now_ns;
	advance(28 * SECOND);
	ck_assert(!a->finished);
	advance(2 * SECOND);
	expect_body(a, "");
	ck_assert_int_le(a->finished_ns, now + 29 * SECOND);
	advance(29 * SECOND);
	ck_assert(!b->finished);
	advance(2 * SECOND);
	expect_body(b, ""); /* 60 s is as long as any waits */
	client_free(a);
	client_free(b);
}
END_TEST

START_TEST(a_poll_whose_time_comes_while_a_task_is_on_its_way)
{
	struct client_call *a = poll_workflow("q", "w1", 10 * SECOND), *b = poll_workflow("q", "w2", 10 * SECOND);
	advance(8800 * MS);
	hand_out(&k.matching, "q", false, WORKFLOW, 1, "wf");
	hand_out(&k.matching, "q", false, WORKFLOW, 2, "wf2");
	advance(300 * MS); /* their time is over */
	ck_assert(!a->finished && !b->finished);
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	reply_start(&k.history, PERDURE__START_TASK_REPLY__OUTCOME__GONE, "");
	expect_body(b, "");
	client_free(a);
	client_free(b);
}
END_TEST

START_TEST(refuses_polls_that_cannot_work)
{
	struct client_call *c = poll_workflow("q", "w", 0);
	ck_assert_str_eq(c->message, "Context timeout is not set.");
	client_free(c);
	c = poll_workflow("q", "w", 1500 * MS);
	ck_assert_int_eq(c->e.code, ERR_FAILED_PRECONDITION);
	ck_assert_str_eq(c->message, "Context timeout is too short.");
	client_free(c);
	c = poll_activity("", "w", 60 * SECOND);
	ck_assert_str_eq(c->message, "missing task queue name");
	client_free(c);
	c = poll_activity("/_sys/q/1", "w", 60 * SECOND);
	ck_assert_str_eq(c->message, "task queue name cannot start with reserved prefix /_sys/");
	client_free(c);
	WS(PollActivityTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
	r.namespace_ = (char *)"default";
	expect_error(METHOD(POLL_ACTIVITY_TASK_QUEUE), &r.base, ERR_INVALID_ARGUMENT, "taskQueue is not set");
}
END_TEST

/* ------------------------------------------------------------------ sticky queues */

static bool gone(const char *queue)
{
	for (size_t i = k.matching.credit_count; i-- > 0;) {
		const Perdure__Credits *c = k.matching.credits[i];
		for (size_t j = 0; j < c->n_queues; j++)
			if (str_eq(c->queues[j]->queue->name, queue))
				return c->queues[j]->gone;
	}
	return false;
}

START_TEST(a_sticky_queue_ends_with_its_connection_after_the_grace)
{
	struct client_call *a = poll_sticky("st", "q", "w1", 60 * SECOND),
			   *b = poll_sticky("st", "q", "w1", 60 * SECOND);
	const Perdure__QueueCredit *c = credit_of(&k.matching, "st");
	ck_assert(c->queue->sticky);
	ck_assert_str_eq(c->queue->normal_name, "q");
	client_cancel(a);
	advance(3 * SECOND);
	ck_assert(!gone("st")); /* the other is still there */
	client_cancel(b);
	advance(1300 * MS);
	ck_assert(!gone("st"));
	advance(300 * MS);
	ck_assert(gone("st"));
	client_free(a);
	client_free(b);
	/* It comes back to life with the next poll. */
	a = poll_sticky("st", "q", "w1", 60 * SECOND);
	ck_assert(!gone("st"));
	end(a);
}
END_TEST

START_TEST(a_reconnecting_worker_keeps_its_sticky_queue)
{
	struct client_call *a = poll_sticky("st", "q", "w1", 60 * SECOND);
	client_cancel(a);
	advance(SECOND);
	struct client_call *b = poll_sticky("st", "q", "w1", 60 * SECOND);
	advance(5 * SECOND);
	ck_assert(!gone("st"));
	ck_assert_uint_eq(idle("st"), 1);
	client_free(a);
	end(b);
}
END_TEST

START_TEST(a_busy_worker_keeps_its_sticky_queue)
{
	/* It has its task and doesn't poll meanwhile; then a poll of it ends by itself. */
	struct client_call *a = poll_sticky("st", "q", "w1", 10 * SECOND);
	hand_out(&k.matching, "st", true, WORKFLOW, 1, "wf");
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	struct client_call *b = poll_sticky("st", "q", "w1", 10 * SECOND);
	advance(20 * SECOND);
	expect_body(b, "");
	ck_assert(!gone("st"));
	client_free(a);
	client_free(b);
}
END_TEST

static void shut_down(const char *sticky)
{
	WS(ShutdownWorkerRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__SHUTDOWN_WORKER_REQUEST__INIT;
	r.namespace_ = (char *)"default";
	r.sticky_task_queue = (char *)sticky;
	struct client_call *c = client_begin(METHOD(SHUTDOWN_WORKER), &r.base, 10 * SECOND);
	advance(5 * MS);
	expect_body(c, "");
	client_free(c);
}

START_TEST(shutdown_ends_the_sticky_queue_at_once)
{
	struct client_call *a = poll_sticky("st", "q", "w1", 60 * SECOND), *b = poll_workflow("q", "w1", 60 * SECOND);
	shut_down("st");
	expect_body(a, "");
	ck_assert(gone("st"));
	ck_assert(!b->finished);
	client_free(a);
	end(b);
	/* Also when the worker's polls are at another gateway. */
	shut_down("elsewhere");
	const Perdure__QueueCredit *c = credit_of(&k.matching, "elsewhere");
	ck_assert(c->gone && c->shut_down && c->queue->sticky && c->idle == 0);
	shut_down("");
}
END_TEST

/* ------------------------------------------------------------------ draining */

static void on_drained(void *ctx)
{
	*(bool *)ctx = true;
}

START_TEST(draining_ends_polls_without_eating_a_task)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND), *b = poll_activity("q", "w2", 60 * SECOND),
			   *c = poll_activity("q", "w3", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	hand_out(&k.matching, "q", false, ACTIVITY, 2, "wf2");
	edge_drain(k.edge, on_drained, &k.drained);
	ck_assert(!k.drained);
	advance(5 * MS);
	expect_body(c, "");
	ck_assert(!a->finished && !b->finished);
	ck_assert_uint_eq(idle("q"), 0);
	/* What comes now goes back. */
	hand_out(&k.matching, "q", false, ACTIVITY, 3, "wf3");
	ck_assert_int_eq(outcome_of(&k.matching, 3), VERDICT(HANDED_BACK));
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	ck_assert(!k.drained);
	reply_start(&k.history, PERDURE__START_TASK_REPLY__OUTCOME__GONE, "");
	expect_body(b, "");
	ck_assert(k.drained);
	struct client_call *d = poll_activity("q", "w4", 60 * SECOND);
	expect_body(d, "");
	client_free(a);
	client_free(b);
	client_free(c);
	client_free(d);
}
END_TEST

START_TEST(paused_polls_end_and_are_taken_again_later)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	edge_pause_polls(k.edge, true);
	advance(5 * MS);
	expect_body(a, "");
	struct client_call *b = poll_activity("q", "w1", 60 * SECOND);
	expect_body(b, "");
	edge_pause_polls(k.edge, false);
	struct client_call *c = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	reply_start(&k.history, STARTED, "t");
	expect_body(c, "t");
	/* The process may end while it is paused. */
	edge_pause_polls(k.edge, true);
	edge_drain(k.edge, on_drained, &k.drained);
	advance(MS);
	ck_assert(k.drained);
	client_free(a);
	client_free(b);
	client_free(c);
}
END_TEST

START_TEST(draining_nothing_is_done_at_once)
{
	edge_drain(k.edge, on_drained, &k.drained);
	ck_assert(!k.drained); /* never inline */
	advance(MS);
	ck_assert(k.drained);
}
END_TEST

START_TEST(freeing_cancels_what_is_left)
{
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND), *b = poll_activity("q", "w2", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, "wf");
	edge_free(k.edge);
	k.edge = NULL;
	ck_assert(a->finished && b->finished);
	client_free(a);
	client_free(b);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_poll_is_a_credit,
		what_happens_in_one_turn_is_one_message,
		everything_is_said_again_each_second,
		a_new_owner_gets_the_credits,
		a_task_reaches_its_worker,
		the_oldest_poll_goes_first,
		without_a_poll_it_goes_back_at_once,
		a_poll_cancelled_as_its_task_starts_gives_it_back,
		a_start_bears_the_id_of_its_hand_out,
		a_query_whose_poll_went_is_asked_again,
		a_response_that_cannot_be_written_is_taken_back,
		a_start_is_repeated_with_its_request_id,
		a_poll_cancelled_between_attempts,
		history_out_of_reach_ends_in_a_hand_back,
		a_lost_start_is_taken_back_and_its_poll_ends_in_time,
		a_refused_start_does_not_spin,
		a_poll_ends_empty_before_its_deadline,
		a_poll_whose_time_comes_while_a_task_is_on_its_way,
		refuses_polls_that_cannot_work,
		a_sticky_queue_ends_with_its_connection_after_the_grace,
		a_reconnecting_worker_keeps_its_sticky_queue,
		a_busy_worker_keeps_its_sticky_queue,
		shutdown_ends_the_sticky_queue_at_once,
		draining_ends_polls_without_eating_a_task,
		paused_polls_end_and_are_taken_again_later,
		draining_nothing_is_done_at_once,
		freeing_cancels_what_is_left,
	};
	return run_suite("polls", tests, array_len(tests));
}
