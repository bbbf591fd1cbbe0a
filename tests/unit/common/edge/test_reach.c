/*
 * An edge that can't reach the owner of a shard, while another history node can.
 */
#include <stdio.h>

#include "tests/unit/common/edge/harness.h"

#define SECOND	 NS_PER_S
#define ACTIVITY PERDURE__TASK_KIND__TASK_KIND_ACTIVITY
#define STARTED	 PERDURE__START_TASK_REPLY__OUTCOME__STARTED

/* Longer than it takes to notice that a peer is silent. */
#define NOTICED (4 * SECOND)

static char workflow_id[16]; /* whose shard history-1 owns */

static struct client_call *begin_signal(int64_t timeout_ns)
{
	static Temporal__Api__Common__V1__WorkflowExecution x;
	WS(SignalWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	temporal__api__common__v1__workflow_execution__init(&x);
	x.workflow_id = workflow_id;
	r.namespace_ = (char *)"default";
	r.workflow_execution = &x;
	r.signal_name = (char *)"go";
	r.request_id = (char *)"rid";
	struct client_call *c = client_begin(METHOD(SIGNAL_WORKFLOW_EXECUTION), &r.base, timeout_ns);
	advance(5 * MS);
	return c;
}

static const char *asked_by(void)
{
	ck_assert_uint_gt(k.history.call_count, 0);
	return rpc_from(k.history.calls[k.history.call_count - 1].req);
}

static void two_histories(bool relays)
{
	k.no_relays = !relays;
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	advance(3 * SECOND);
	for (int i = 0; i < 64; i++) {
		snprintf(workflow_id, sizeof workflow_id, "wf-%d", i);
		uint32_t shard = shard_of(NAMESPACE_ID, workflow_id, SHARDS);
		if (str_eq(membership_shard_owner(k.membership, shard)->address, "history-1"))
			return;
	}
	ck_abort_msg("history-1 owns nothing");
}

static void silence(bool on)
{
	fake_net_silence(k.net, "edge", "history-1", on);
}

/* The edge knows that the connection is lost. */
static void lose(void)
{
	silence(true);
	struct client_call *c = begin_signal(20 * SECOND);
	ck_assert_uint_eq(k.history.call_count, 0);
	advance(NOTICED);
	ck_assert_str_eq(asked_by(), "history-2");
	reply_call(&k.history, "round");
	expect_body(c, "round");
	client_free(c);
}

START_TEST(a_silent_owner_is_asked_through_another)
{
	two_histories(true);
	lose();
	/* From now on at once, for as long as it takes. */
	for (int i = 0; i < 20; i++) {
		struct client_call *c = begin_signal(20 * SECOND);
		ck_assert_str_eq(asked_by(), "history-2");
		int64_t left = rpc_deadline_ns(k.history.calls[0].req) - env_mono_ns(&k.history.env.env);
		ck_assert_int_gt(left, 19 * SECOND);
		ck_assert_int_le(left, 20 * SECOND);
		reply_call(&k.history, i % 2 ? "" : "again");
		expect_body(c, i % 2 ? "" : "again");
		client_free(c);
		advance(SECOND);
	}
	/* And directly once it answers again. */
	silence(false);
	advance(NOTICED + SECOND);
	struct client_call *c = begin_signal(20 * SECOND);
	ck_assert_str_eq(asked_by(), "edge");
	reply_call(&k.history, "direct");
	expect_body(c, "direct");
	client_free(c);
	ck_assert_uint_eq(k.history2.call_count, 0);
}
END_TEST

START_TEST(errors_come_round_as_they_are)
{
	two_histories(true);
	lose();
	struct client_call *c = begin_signal(20 * SECOND);
	struct err e = {.code = ERR_NOT_FOUND,
			.message = "workflow not found for ID: wf",
			.detail_type = "temporal.api.errordetails.v1.NotFoundFailure",
			.detail = bytes_str("x")};
	rpc_reply_err(k.history.calls[0].req, e);
	k.history.call_count = 0;
	advance(5 * MS);
	ck_assert_int_eq(c->e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(c->message, "workflow not found for ID: wf");
	ck_assert_str_eq(c->detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
	client_free(c);
	/* That it is not the owner is understood, too: asked again. */
	c = begin_signal(20 * SECOND);
	fail_call(&k.history, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	advance(10 * MS);
	fail_call(&k.history2, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	advance(100 * MS);
	reply_call(&k.history, "owner again");
	expect_body(c, "owner again");
	client_free(c);
}
END_TEST

START_TEST(cancellation_goes_round)
{
	two_histories(true);
	lose();
	struct client_call *c = begin_signal(20 * SECOND);
	ck_assert(!k.history.calls[0].cancelled);
	client_cancel(c);
	ck_assert(k.history.calls[0].cancelled);
	ck_assert_uint_eq(relay_calls(k.history2.relay), 0);
	client_free(c);
	fail_call(&k.history, ERR_CANCELLED, ERR_REASON_NONE);
}
END_TEST

START_TEST(a_relay_that_dies_is_replaced)
{
	two_histories(true);
	lose();
	struct client_call *c = begin_signal(20 * SECOND);
	ck_assert_str_eq(asked_by(), "history-2");
	peer_kill(&k.history2);
	advance(100 * MS);
	ck_assert(k.history.calls[0].cancelled); /* its caller was the relay */
	fail_call(&k.history, ERR_CANCELLED, ERR_REASON_NONE);
	peer_start(&k.history2, MEMBER_HISTORY, "history-2");
	advance(8 * SECOND);
	reply_call(&k.history, "through its successor");
	expect_body(c, "through its successor");
	client_free(c);
}
END_TEST

/* As without relays: when the silence ends, what waited is answered. */
static void wait_it_out(void)
{
	silence(true);
	struct client_call *c = begin_signal(30 * SECOND);
	for (int i = 0; i < 100; i++) {
		advance(100 * MS);
		if (k.history2.call_count) /* perhaps it has the shard? */
			fail_call(&k.history2, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER);
	}
	ck_assert_uint_eq(k.history.call_count, 0);
	ck_assert(!c->finished);
	silence(false);
	advance(5 * SECOND);
	ck_assert_str_eq(asked_by(), "edge");
	reply_call(&k.history, "late");
	expect_body(c, "late");
	client_free(c);
}

START_TEST(a_node_of_an_older_release_is_no_relay)
{
	two_histories(false);
	wait_it_out();
}
END_TEST

START_TEST(with_one_history_node_there_is_nobody_to_ask)
{
	snprintf(workflow_id, sizeof workflow_id, "wf");
	wait_it_out();
}
END_TEST

START_TEST(a_task_is_started_and_reverted_through_another)
{
	two_histories(true);
	lose();
	struct client_call *a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 1, workflow_id);
	ck_assert_uint_eq(k.history.start_count, 1);
	ck_assert_str_eq(rpc_from(k.history.starts[0].req), "history-2");
	reply_start(&k.history, STARTED, "t");
	expect_body(a, "t");
	client_free(a);
	a = poll_activity("q", "w1", 60 * SECOND);
	hand_out(&k.matching, "q", false, ACTIVITY, 2, workflow_id);
	client_cancel(a); /* what was asked comes to its end all the same */
	reply_start(&k.history, STARTED, "t");
	ck_assert_uint_eq(k.history.revert_count, 1);
	ck_assert_str_eq(rpc_from(k.history.reverts[0].req), "history-2");
	reply_revert(&k.history);
	ck_assert_int_eq(outcome_of(&k.matching, 2), PERDURE__TASK_OUTCOME__VERDICT__GONE);
	client_free(a);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		a_silent_owner_is_asked_through_another,
		errors_come_round_as_they_are,
		cancellation_goes_round,
		a_relay_that_dies_is_replaced,
		a_node_of_an_older_release_is_no_relay,
		with_one_history_node_there_is_nobody_to_ask,
		a_task_is_started_and_reverted_through_another,
	};
	return run_suite("reach", tests, array_len(tests));
}
