/* Peers that answer nothing any more, on a network that tells nobody, in virtual time. */
#include <check.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/rpc/rpc.h"
#include "tests/support/fake_net.h"

#define ECHO RPC_HISTORY_CALL	    /* answers at once */
#define HOLD RPC_HISTORY_START_TASK /* never answers */

/* Longer than it may take to notice. */
#define NOTICED_MS 4000

struct node {
	struct fake_env env;
	struct rpc *rpc;
	unsigned downs;
};

struct outcome {
	int times;
	enum err_code code;
	enum err_reason reason;
};

static struct fake_world world;
static struct fake_net *net;
static struct node a, b;

static void on_echo(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	rpc_reply(req, NULL, 0);
}

static struct rpc_request *held[8];
static size_t held_count;

static void on_hold(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	ck_assert_uint_lt(held_count, array_len(held));
	held[held_count++] = req;
}

static void on_down(void *ctx, const char *address)
{
	struct node *n = ctx;
	(void)address;
	n->downs++;
}

static void node_up(struct node *n, const char *address, uint64_t incarnation)
{
	*n = (struct node){0};
	fake_env_init(&n->env, &world);
	struct rpc_config config = {.address = address, .incarnation = incarnation};
	n->rpc = rpc_new(&n->env.env, fake_net_endpoint(net, &n->env.env, address), &config);
	rpc_serve(n->rpc, ECHO, on_echo, n);
	rpc_serve(n->rpc, HOLD, on_hold, n);
	rpc_on_peer_down(n->rpc, on_down, n);
}

static void setup(void)
{
	fake_world_init(&world, 1);
	net = fake_net_new(&world);
	held_count = 0;
	node_up(&a, "mem://a", 1);
	node_up(&b, "mem://b", 2);
}

static void teardown(void)
{
	rpc_free(a.rpc);
	rpc_free(b.rpc);
	for (size_t i = 0; i < held_count; i++)
		rpc_reply(held[i], NULL, 0);
	fake_env_done(&a.env);
	fake_env_done(&b.env);
	fake_net_free(net);
}

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct outcome *o = ctx;
	(void)body;
	o->times++;
	o->code = e.code;
	o->reason = e.reason;
}

static void call(struct node *from, const char *to, enum rpc_method method, struct outcome *o)
{
	*o = (struct outcome){0};
	rpc_call(from->rpc, &(struct rpc_call){.address = to,
					       .method = method,
					       .deadline_ns = env_mono_ns(&from->env.env) + 3600 * NS_PER_S,
					       .fn = on_reply,
					       .ctx = o});
}

static void advance_ms(int64_t ms)
{
	fake_world_advance(&world, ms * NS_PER_MS);
}

static void assert_lost(const struct outcome *o)
{
	ck_assert_int_eq(o->times, 1);
	ck_assert_int_eq(o->code, ERR_UNAVAILABLE);
	ck_assert_int_eq(o->reason, ERR_REASON_PEER_LOST);
}

static void assert_answered(const struct outcome *o)
{
	ck_assert_int_eq(o->times, 1);
	ck_assert_int_eq(o->code, ERR_OK);
}

START_TEST(a_half_open_connection_is_given_up_and_made_anew)
{
	struct outcome known, lost, again;
	call(&a, "mem://b", ECHO, &known);
	advance_ms(1);
	assert_answered(&known);
	fake_net_silence(net, "mem://a", "mem://b", true);
	call(&a, "mem://b", ECHO, &lost);
	advance_ms(1);
	fake_net_silence(net, "mem://a", "mem://b", false);
	/* The silence is over, but its connection has lost something and stays deaf. */
	advance_ms(1000);
	ck_assert_int_eq(lost.times, 0);
	advance_ms(NOTICED_MS - 1000);
	assert_lost(&lost);
	ck_assert_uint_ge(a.downs, 1);
	call(&a, "mem://b", ECHO, &again);
	advance_ms(10);
	assert_answered(&again);
}
END_TEST

/* Its connection to us is dead, ours to it is not: it has to hear of that from us. */
START_TEST(one_that_hears_but_whose_answers_are_lost_is_told)
{
	struct outcome lost, again;
	call(&a, "mem://b", HOLD, &lost);
	advance_ms(1);
	fake_net_silence(net, "mem://a", "mem://b", true);
	rpc_reply(held[--held_count], NULL, 0);
	advance_ms(1);
	fake_net_silence(net, "mem://a", "mem://b", false);
	advance_ms(NOTICED_MS);
	assert_lost(&lost);
	call(&a, "mem://b", ECHO, &again);
	advance_ms(10);
	assert_answered(&again);
}
END_TEST

/* What b sends by itself travels over another connection and proves nothing. */
START_TEST(one_that_still_talks_but_does_not_hear_is_noticed)
{
	struct outcome lost, o;
	call(&a, "mem://b", ECHO, &o);
	advance_ms(1);
	fake_net_silence(net, "mem://a", "mem://b", true);
	call(&a, "mem://b", HOLD, &lost);
	advance_ms(1);
	fake_net_silence(net, "mem://a", "mem://b", false);
	for (int i = 0; i < NOTICED_MS / 100; i++) {
		rpc_send(b.rpc, "mem://a", RPC_GATEWAY_TASKS, bytes_str("news"));
		advance_ms(100);
	}
	assert_lost(&lost);
}
END_TEST

START_TEST(one_way_messages_into_silence_are_noticed)
{
	fake_net_silence(net, "mem://a", "mem://b", true);
	rpc_send(a.rpc, "mem://b", RPC_MATCHING_CREDITS, bytes_str("x"));
	advance_ms(NOTICED_MS);
	ck_assert_uint_eq(a.downs, 1);
	/* Said once: nothing waits for it any more. */
	advance_ms(10 * NOTICED_MS);
	ck_assert_uint_eq(a.downs, 1);
}
END_TEST

START_TEST(who_takes_long_to_answer_is_not_silent)
{
	struct outcome o;
	call(&a, "mem://b", HOLD, &o);
	advance_ms(60 * 1000);
	ck_assert_int_eq(o.times, 0);
	ck_assert_uint_eq(a.downs + b.downs, 0);
	rpc_reply(held[--held_count], NULL, 0);
	advance_ms(1);
	assert_answered(&o);
}
END_TEST

START_TEST(an_idle_pair_sends_nothing)
{
	struct outcome o;
	call(&a, "mem://b", ECHO, &o);
	rpc_send(a.rpc, "mem://b", RPC_MATCHING_CREDITS, bytes_str("x"));
	advance_ms(NOTICED_MS);
	uint64_t before = fake_net_delivered(net);
	advance_ms(60 * 1000);
	ck_assert_uint_eq(fake_net_delivered(net), before);
}
END_TEST

/* SIGSTOP: the answers wait at the door when we go on. */
START_TEST(who_stood_still_itself_takes_nobody_for_silent)
{
	struct outcome o;
	call(&a, "mem://b", HOLD, &o);
	advance_ms(1);
	a.env.paused = true;
	advance_ms(60 * 1000);
	a.env.paused = false;
	advance_ms(NOTICED_MS);
	ck_assert_int_eq(o.times, 0);
	ck_assert_uint_eq(a.downs, 0);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("silence");
	TCase *t = tcase_create("silence");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_half_open_connection_is_given_up_and_made_anew);
	tcase_add_test(t, one_that_hears_but_whose_answers_are_lost_is_told);
	tcase_add_test(t, one_that_still_talks_but_does_not_hear_is_noticed);
	tcase_add_test(t, one_way_messages_into_silence_are_noticed);
	tcase_add_test(t, who_takes_long_to_answer_is_not_silent);
	tcase_add_test(t, an_idle_pair_sends_nothing);
	tcase_add_test(t, who_stood_still_itself_takes_nobody_for_silent);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
