/*
 * Tasks and credits of one partition: order, hand-out, redelivery, what goes back, bounds.
 */
#include <stdio.h>

#include "tests/unit/services/matching/harness.h"

#define G0 w.gateway[0]
#define G1 w.gateway[1]

static void expect_handed(struct node_under_test *g, const char *workflow_id)
{
	const char *id = next_handed(g);
	ck_assert_msg(id != NULL, "nothing was handed out, expected %s", workflow_id);
	ck_assert_str_eq(id, workflow_id);
}

/* ------------------------------------------------------------------ order and credits */

START_TEST(a_task_waits_for_a_poll)
{
	ck_assert_int_eq(ADD("q", "a"), VERDICT(ACCEPTED));
	ck_assert_ptr_null(next_handed(&G0));
	REPORT(G0, "q", .idle = 1);
	expect_handed(&G0, "a");
	outcome(&G0, OUTCOME(STARTED));
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).started, 1);
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).bytes, 0);
}
END_TEST

START_TEST(a_poll_waits_for_a_task)
{
	REPORT(G0, "q", .idle = 1);
	ADD("q", "a");
	expect_handed(&G0, "a");
}
END_TEST

START_TEST(priority_then_age_then_arrival)
{
	ADD("q", "old", .scheduled_ns = 10);
	ADD("q", "older", .scheduled_ns = 5);
	ADD("q", "low", .scheduled_ns = 1, .priority = 5);
	ADD("q", "high", .scheduled_ns = 20, .priority = 1);
	ADD("q", "old too", .scheduled_ns = 10);
	REPORT(G0, "q", .idle = 10);
	static const char *const order[] = {"high", "older", "old", "old too", "low"};
	for (size_t i = 0; i < array_len(order); i++)
		expect_handed(&G0, order[i]);
}
END_TEST

START_TEST(no_more_than_the_idle_polls)
{
	for (int i = 0; i < 5; i++) {
		char id[8];
		snprintf(id, sizeof id, "%d", i);
		ADD("q", id);
	}
	REPORT(G0, "q", .idle = 2);
	ck_assert_uint_eq(G0.handed_count, 2);
	/* Said before it received them: nothing new. */
	REPORT(G0, "q", .idle = 2);
	ck_assert_uint_eq(G0.handed_count, 2);
	REPORT(G0, "q", .idle = 0, .received = 2);
	ck_assert_uint_eq(G0.handed_count, 2);
	REPORT(G0, "q", .idle = 1, .received = 2);
	ck_assert_uint_eq(G0.handed_count, 3);
}
END_TEST

START_TEST(gateways_take_turns)
{
	REPORT(G0, "q", .idle = 2);
	REPORT(G1, "q", .idle = 2);
	for (int i = 0; i < 4; i++) {
		char id[8];
		snprintf(id, sizeof id, "%d", i);
		ADD("q", id);
	}
	ck_assert_uint_eq(G0.handed_count, 2);
	ck_assert_uint_eq(G1.handed_count, 2);
}
END_TEST

START_TEST(an_offer_repeated_is_one_task)
{
	ADD("q", "a");
	ck_assert_int_eq(ADD("q", "a"), VERDICT(ACCEPTED));
	REPORT(G0, "q", .idle = 5);
	ck_assert_uint_eq(G0.handed_count, 1);
}
END_TEST

START_TEST(a_new_session_counts_from_zero)
{
	REPORT(G0, "q", .idle = 1, .received = 7);
	ADD("q", "a");
	expect_handed(&G0, "a");
	outcome(&G0, OUTCOME(STARTED));
	G0.session++;
	REPORT(G0, "q", .idle = 1, .received = 0);
	ADD("q", "b");
	expect_handed(&G0, "b");
}
END_TEST

START_TEST(a_queue_that_is_not_named_has_no_polls)
{
	REPORT(G0, "q", .idle = 3);
	report_nothing(&G0);
	ADD("q", "a");
	ck_assert_uint_eq(G0.handed_count, 0);
}
END_TEST

START_TEST(an_expired_task_is_dropped)
{
	ADD("q", "a", .expires_ns = env_wall_ns(&w.history[0].env.env) + SECOND);
	advance(2 * SECOND);
	REPORT(G0, "q", .idle = 1);
	ck_assert_uint_eq(G0.handed_count, 0);
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).waiting, 0);
}
END_TEST

/* ------------------------------------------------------------------ what comes back */

START_TEST(a_task_handed_back_goes_to_another)
{
	ADD("q", "a");
	REPORT(G0, "q", .idle = 1);
	expect_handed(&G0, "a");
	REPORT(G0, "q", .idle = 0, .received = 1);
	outcome(&G0, OUTCOME(HANDED_BACK));
	REPORT(G1, "q", .idle = 1);
	expect_handed(&G1, "a");
}
END_TEST

START_TEST(an_unreported_task_is_offered_again)
{
	ADD("q", "a");
	REPORT(G0, "q", .idle = 1);
	expect_handed(&G0, "a");
	REPORT(G1, "q", .idle = 1);
	advance(w.config.redeliver_after_ns + SECOND);
	expect_handed(&G1, "a");
	/* A late word about the first hand-out changes nothing. */
	outcome(&G0, OUTCOME(STARTED));
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).handed, 1);
	outcome(&G1, OUTCOME(ALREADY_STARTED));
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).handed, 0);
}
END_TEST

START_TEST(a_dead_gateways_tasks_go_to_others_at_once)
{
	ADD("q", "a");
	REPORT(G0, "q", .idle = 1);
	expect_handed(&G0, "a");
	REPORT(G1, "q", .idle = 1);
	node_kill(&G0);
	advance(50 * MS);
	expect_handed(&G1, "a");
	/* Should it have been started, nobody does it now. Each hand-out has its own start. */
	ck_assert_uint_eq(w.history[0].taken_back + w.history[1].taken_back, 1);
	ck_assert_uint_eq(strlen(G0.handed[0].request_id), 36);
	ck_assert_str_ne(G0.handed[0].request_id, G1.handed[0].request_id);
	struct node_under_test *owner = &w.history[w.history[0].taken_back ? 0 : 1];
	ck_assert_str_eq(owner->lost_request_id, G0.handed[0].request_id);
	/* The dead one's start reached history behind our word: said again. */
	outcome(&G1, OUTCOME(ALREADY_STARTED));
	ck_assert_uint_eq(w.history[0].taken_back + w.history[1].taken_back, 2);
	ck_assert_str_eq(owner->lost_request_id, G0.handed[0].request_id);
}
END_TEST

/* ------------------------------------------------------------------ sticky queues */

START_TEST(a_sticky_queue_needs_a_worker)
{
	ck_assert_int_eq(ADD("s", "a", .sticky = true), VERDICT(NO_STICKY_WORKER));
	REPORT(G0, "s", .idle = 0, .sticky = true);
	ck_assert_int_eq(ADD("s", "a", .sticky = true), VERDICT(ACCEPTED));
	REPORT(G0, "s", .idle = 0, .sticky = true, .gone = true);
	advance(50 * MS);
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).waiting, 0);
	ck_assert_uint_eq(w.history[0].asked_again, 1);
	ck_assert_int_eq(ADD("s", "a", .sticky = true), VERDICT(NO_STICKY_WORKER));
}
END_TEST

START_TEST(a_goodbye_counts_whichever_gateway_hears_it)
{
	REPORT(G0, "s", .idle = 1, .sticky = true);
	REPORT(G1, "s", .idle = 0, .sticky = true, .gone = true, .shut_down = true);
	ck_assert_int_eq(ADD("s", "a", .sticky = true), VERDICT(NO_STICKY_WORKER));
}
END_TEST

START_TEST(a_sticky_queue_dies_with_its_gateway)
{
	REPORT(G0, "s", .idle = 0, .sticky = true);
	ADD("s", "a", .sticky = true);
	node_kill(&G0);
	advance(50 * MS);
	ck_assert_uint_eq(w.history[0].asked_again, 1);
	ck_assert_int_eq(ADD("s", "a", .sticky = true), VERDICT(NO_STICKY_WORKER));
}
END_TEST

/* ------------------------------------------------------------------ bounds */

START_TEST(rate_limit)
{
	for (int i = 0; i < 20; i++) {
		char id[8];
		snprintf(id, sizeof id, "%d", i);
		ADD("q", id);
	}
	REPORT(G0, "q", .idle = 20, .identity = "w", .rate = 2);
	ck_assert_uint_le(G0.handed_count, 2);
	size_t before = G0.handed_count;
	advance(3 * SECOND);
	ck_assert_uint_ge(G0.handed_count, before + 5);
	ck_assert_uint_le(G0.handed_count, before + 7);
}
END_TEST

START_TEST(a_queue_is_forgotten)
{
	REPORT(G0, "q", .idle = 1);
	report_nothing(&G0);
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).partitions, 1);
	advance(w.config.queue_idle_ns + 2 * SECOND);
	ck_assert_uint_eq(matching_counts(w.matching[0].matching).partitions, 0);
}
END_TEST

START_TEST(what_is_said_of_a_queue)
{
	ADD("q", "a", .scheduled_ns = 1000);
	REPORT(G0, "q", .idle = 0, .identity = "me");
	const Perdure__DescribeQueueReply *r = describe("q");
	ck_assert_int_eq(r->backlog, 1);
	ck_assert_int_eq(r->oldest_scheduled_time_ns, 1000);
	ck_assert_uint_eq(r->n_pollers, 1);
	ck_assert_str_eq(r->pollers[0]->identity, "me");
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_task_waits_for_a_poll,
		a_poll_waits_for_a_task,
		priority_then_age_then_arrival,
		no_more_than_the_idle_polls,
		gateways_take_turns,
		an_offer_repeated_is_one_task,
		a_new_session_counts_from_zero,
		a_queue_that_is_not_named_has_no_polls,
		an_expired_task_is_dropped,
		a_task_handed_back_goes_to_another,
		an_unreported_task_is_offered_again,
		a_dead_gateways_tasks_go_to_others_at_once,
		a_sticky_queue_needs_a_worker,
		a_goodbye_counts_whichever_gateway_hears_it,
		a_sticky_queue_dies_with_its_gateway,
		rate_limit,
		a_queue_is_forgotten,
		what_is_said_of_a_queue,
	};
	return run_suite("matching", tests, array_len(tests));
}
