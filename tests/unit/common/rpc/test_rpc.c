/* Calls between endpoints on a network in memory, in virtual time: what each side sees, also when connections end. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/rpc/envelope.h"
#include "common/rpc/rpc.h"
#include "tests/support/fake_net.h"

#define ECHO	RPC_HISTORY_CALL       /* answers at once with the request's body */
#define HOLD	RPC_HISTORY_START_TASK /* keeps the request in node.held */
#define FAIL	RPC_HISTORY_ADMIN      /* answers with an error */
#define ONE_WAY RPC_MATCHING_CREDITS
#define NOBODY	RPC_GATEWAY_TASKS /* not served */

#define HELD_MAX 32

struct node {
	struct fake_env env;
	struct rpc *rpc;
	const char *address;
	struct rpc_request *held[HELD_MAX];
	size_t held_count;
	unsigned cancelled, served, one_way, downs;
	char last_body[64];
	char last_trace[64];
	int64_t last_deadline_ns;
};

/* How a call ended. */
struct outcome {
	int times;
	struct err e;
	char message[256];
	char detail_type[64];
	char body[64];
	size_t body_len;
	struct rpc *again; /* calls HOLD once more from the callback */
};

static struct fake_world world;
static struct fake_net *net;
static struct node a, b, c;

/* ------------------------------------------------------------------ fixture */

static void on_echo(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	n->served++;
	struct bytes body = rpc_body(req);
	snprintf(n->last_body, sizeof n->last_body, "%.*s", (int)body.len, body.data ? (const char *)body.data : "");
	snprintf(n->last_trace, sizeof n->last_trace, "%s", rpc_traceparent(req) ? rpc_traceparent(req) : "-");
	n->last_deadline_ns = rpc_deadline_ns(req);
	rpc_reply(req, &body, 1);
}

static void on_cancel(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	ck_assert(rpc_cancelled(req));
	n->cancelled++;
}

static void on_hold(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	ck_assert_uint_lt(n->held_count, HELD_MAX);
	n->held[n->held_count++] = req;
	rpc_on_cancel(req, on_cancel, n);
}

static void on_fail(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	struct err e = err_make(rpc_arena(req), ERR_NOT_FOUND, "no run %s", "r1");
	e.reason = ERR_REASON_NOT_OWNER;
	e.detail_type = "temporal.api.errordetails.v1.NotFoundFailure";
	e.detail = bytes_str("detail");
	rpc_reply_err(req, e);
}

static void on_one_way(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	n->one_way++;
	ck_assert_int_eq(rpc_deadline_ns(req), INT64_MAX);
	rpc_reply(req, NULL, 0);
}

static void on_down(void *ctx, const char *address)
{
	struct node *n = ctx;
	ck_assert_str_ne(address, n->address);
	n->downs++;
}

static void node_up_with(struct node *n, const char *address, uint64_t incarnation, int64_t queue_bytes_max)
{
	*n = (struct node){.address = address};
	fake_env_init(&n->env, &world);
	n->rpc = rpc_new(&n->env.env, fake_net_endpoint(net, &n->env.env, address),
			 &(struct rpc_config){.address = address,
					      .incarnation = incarnation,
					      .message_bytes_max = 64 * 1024,
					      .queue_bytes_max = queue_bytes_max});
	rpc_serve(n->rpc, ECHO, on_echo, n);
	rpc_serve(n->rpc, HOLD, on_hold, n);
	rpc_serve(n->rpc, FAIL, on_fail, n);
	rpc_serve(n->rpc, ONE_WAY, on_one_way, n);
	rpc_on_peer_down(n->rpc, on_down, n);
}

static void node_up(struct node *n, const char *address, uint64_t incarnation)
{
	node_up_with(n, address, incarnation, 1024 * 1024);
}

static void node_down(struct node *n)
{
	if (!n->rpc)
		return;
	rpc_free(n->rpc);
	n->rpc = NULL;
	/* What was not answered before is freed by answering now. */
	while (n->held_count > 0)
		rpc_reply(n->held[--n->held_count], NULL, 0);
	fake_env_done(&n->env);
}

static void setup(void)
{
	fake_world_init(&world, 1);
	net = fake_net_new(&world);
	node_up(&a, "mem://a", 11);
	node_up(&b, "mem://b", 12);
	node_up(&c, "mem://c", 13);
}

static void teardown(void)
{
	node_down(&a);
	node_down(&b);
	node_down(&c);
	fake_net_free(net);
}

static void advance_ms(int64_t ms)
{
	fake_world_advance(&world, ms * NS_PER_MS);
}

static void on_reply(void *ctx, struct err e, struct bytes body);

static struct rpc_pending *call_for(struct node *from, const char *to, enum rpc_method method, const char *body,
				    int64_t timeout_ns, struct outcome *o)
{
	struct bytes parts[] = {bytes_str(body), bytes_str("!")};
	return rpc_call(from->rpc, &(struct rpc_call){.address = to,
						      .method = method,
						      .parts = parts,
						      .part_count = 2,
						      .deadline_ns = env_mono_ns(&from->env.env) + timeout_ns,
						      .fn = on_reply,
						      .ctx = o});
}

static struct rpc_pending *call(struct node *from, const char *to, enum rpc_method method, const char *body,
				struct outcome *o)
{
	return call_for(from, to, method, body, 10 * NS_PER_S, o);
}

static struct outcome again_outcome;

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct outcome *o = ctx;
	o->times++;
	o->e = e;
	snprintf(o->message, sizeof o->message, "%s", e.message ? e.message : "");
	snprintf(o->detail_type, sizeof o->detail_type, "%s", e.detail_type ? e.detail_type : "");
	struct bytes kept = err_is(e) ? e.detail : body;
	o->body_len = kept.len;
	snprintf(o->body, sizeof o->body, "%.*s", (int)(kept.len < 60 ? kept.len : 60),
		 kept.len ? (const char *)kept.data : "");
	if (o->again) {
		struct node *n = o->again == a.rpc ? &a : &b;
		o->again = NULL;
		call(n, n == &a ? "mem://b" : "mem://a", HOLD, "again", &again_outcome);
	}
}

static void answer_held(struct node *n, const char *text)
{
	struct bytes body = bytes_str(text);
	while (n->held_count > 0)
		rpc_reply(n->held[--n->held_count], &body, 1);
}

static void assert_lost(const struct outcome *o)
{
	ck_assert_int_eq(o->times, 1);
	ck_assert_int_eq(o->e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(o->e.reason, ERR_REASON_PEER_LOST);
	ck_assert(err_retryable(o->e));
}

static void assert_answered(const struct outcome *o, const char *body)
{
	ck_assert_int_eq(o->times, 1);
	ck_assert_int_eq(o->e.code, ERR_OK);
	ck_assert_str_eq(o->body, body);
}

/* ------------------------------------------------------------------ calls */

START_TEST(a_call_is_answered_and_never_inline)
{
	struct outcome o = {0};
	struct bytes body = bytes_str("hello");
	int64_t deadline = env_mono_ns(&a.env.env) + 5 * NS_PER_S;
	rpc_call(a.rpc, &(struct rpc_call){.address = "mem://b",
					   .method = ECHO,
					   .parts = &body,
					   .part_count = 1,
					   .deadline_ns = deadline,
					   .traceparent = "00-0123-45-01",
					   .fn = on_reply,
					   .ctx = &o});
	ck_assert_int_eq(o.times, 0);
	advance_ms(1);
	assert_answered(&o, "hello");
	ck_assert_str_eq(b.last_body, "hello");
	ck_assert_str_eq(b.last_trace, "00-0123-45-01");
	/* What the callee sees is what was left when the message left, on its own clock. */
	ck_assert_int_ge(b.last_deadline_ns, deadline);
	ck_assert_int_le(b.last_deadline_ns, deadline + NS_PER_MS);
	ck_assert_uint_eq(rpc_stats(a.rpc).calls_now, 0);
	ck_assert_uint_eq(rpc_stats(b.rpc).requests_now, 0);
}
END_TEST

START_TEST(an_error_arrives_whole)
{
	struct outcome o = {0}, unserved = {0};
	call(&a, "mem://b", FAIL, "", &o);
	call(&a, "mem://b", NOBODY, "", &unserved);
	advance_ms(1);
	ck_assert_int_eq(o.times, 1);
	ck_assert_int_eq(o.e.code, ERR_NOT_FOUND);
	ck_assert_int_eq(o.e.reason, ERR_REASON_NOT_OWNER);
	ck_assert_str_eq(o.message, "no run r1");
	ck_assert_str_eq(o.detail_type, "temporal.api.errordetails.v1.NotFoundFailure");
	ck_assert_str_eq(o.body, "detail");
	ck_assert_int_eq(unserved.e.code, ERR_UNIMPLEMENTED);
}
END_TEST

START_TEST(calls_of_one_turn_share_a_message)
{
	struct outcome o[100] = {0};
	for (int i = 0; i < 100; i++)
		call(&a, "mem://b", ECHO, "x", &o[i]);
	advance_ms(1);
	for (int i = 0; i < 100; i++)
		assert_answered(&o[i], "x!");
	ck_assert_uint_eq(rpc_stats(a.rpc).messages_sent, 1);
	ck_assert_uint_eq(rpc_stats(b.rpc).messages_sent, 1);
}
END_TEST

START_TEST(large_bodies_travel_in_several_messages)
{
	char *big = mem_zalloc(50001);
	memset(big, 'z', 50000);
	struct outcome o[4] = {0};
	for (int i = 0; i < 4; i++)
		call(&a, "mem://b", ECHO, big, &o[i]);
	advance_ms(2);
	for (int i = 0; i < 4; i++)
		ck_assert_uint_eq(o[i].body_len, 50001);
	ck_assert_uint_eq(rpc_stats(a.rpc).messages_sent, 4);
	free(big);
}
END_TEST

START_TEST(calls_to_ourselves_need_no_network)
{
	struct outcome o = {0};
	call(&a, "mem://a", ECHO, "self", &o);
	rpc_send(a.rpc, "mem://a", ONE_WAY, bytes_str("x"));
	ck_assert_int_eq(o.times, 0);
	fake_world_settle(&world);
	assert_answered(&o, "self!");
	ck_assert_uint_eq(a.one_way, 1);
	ck_assert_uint_eq(fake_net_delivered(net), 0);
}
END_TEST

START_TEST(one_way_messages_arrive_in_order_with_the_calls)
{
	for (int i = 0; i < 10; i++)
		rpc_send(a.rpc, "mem://b", ONE_WAY, bytes_str("credits"));
	rpc_send(a.rpc, "mem://b", NOBODY, bytes_str("ignored"));
	advance_ms(1);
	ck_assert_uint_eq(b.one_way, 10);
	ck_assert_uint_eq(rpc_stats(b.rpc).requests_now, 0);
}
END_TEST

/* ------------------------------------------------------------------ ends that are not answers */

START_TEST(a_deadline_ends_the_call_on_both_sides)
{
	struct outcome o = {0};
	call_for(&a, "mem://b", HOLD, "", 50 * NS_PER_MS, &o);
	advance_ms(40);
	ck_assert_int_eq(o.times, 0);
	ck_assert_uint_eq(b.held_count, 1);
	ck_assert_uint_eq(b.cancelled, 0);
	advance_ms(20);
	ck_assert_int_eq(o.times, 1);
	ck_assert_int_eq(o.e.code, ERR_DEADLINE_EXCEEDED);
	ck_assert_uint_eq(b.cancelled, 1);
	/* The late answer goes nowhere. */
	uint64_t before = rpc_stats(b.rpc).messages_sent;
	answer_held(&b, "late");
	advance_ms(10);
	ck_assert_int_eq(o.times, 1);
	ck_assert_uint_eq(rpc_stats(b.rpc).messages_sent, before);
	ck_assert_uint_eq(rpc_stats(b.rpc).replies_dropped, 1);
}
END_TEST

START_TEST(a_deadline_in_the_past_ends_the_call_without_sending)
{
	struct outcome o = {0};
	call_for(&a, "mem://b", ECHO, "", 0, &o);
	ck_assert_int_eq(o.times, 0);
	advance_ms(1);
	ck_assert_int_eq(o.e.code, ERR_DEADLINE_EXCEEDED);
	ck_assert_uint_eq(b.served, 0);
}
END_TEST

START_TEST(deadlines_fire_in_order_whatever_the_order_of_the_calls)
{
	struct outcome o[5] = {0};
	int64_t ms[] = {30, 10, 50, 20, 40};
	for (int i = 0; i < 5; i++)
		call_for(&a, "mem://b", HOLD, "", ms[i] * NS_PER_MS, &o[i]);
	for (int64_t now = 0; now <= 60; now += 5) {
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(o[i].times, now >= ms[i] ? 1 : 0);
		advance_ms(5);
	}
	answer_held(&b, "");
}
END_TEST

START_TEST(a_cancelled_call_tells_the_callee_and_nobody_else)
{
	struct outcome o = {0};
	struct rpc_pending *p = call(&a, "mem://b", HOLD, "", &o);
	advance_ms(1);
	rpc_cancel(p);
	advance_ms(1);
	ck_assert_uint_eq(b.cancelled, 1);
	answer_held(&b, "too late");
	advance_ms(1);
	ck_assert_int_eq(o.times, 0);
	/* In the same turn as the call. */
	rpc_cancel(call(&a, "mem://b", HOLD, "", &o));
	advance_ms(1);
	ck_assert_uint_eq(b.cancelled, 2);
	/* A call that failed before it left. */
	rpc_cancel(call_for(&a, "mem://b", HOLD, "", -1, &o));
	advance_ms(1);
	ck_assert_int_eq(o.times, 0);
	answer_held(&b, "");
}
END_TEST

START_TEST(too_large_a_body_is_refused_on_either_side)
{
	struct outcome o = {0};
	uint8_t *big = mem_zalloc(RPC_BODY_BYTES_MAX + 1);
	struct bytes body = bytes_of(big, RPC_BODY_BYTES_MAX + 1);
	rpc_call(a.rpc, &(struct rpc_call){.address = "mem://b",
					   .method = ECHO,
					   .parts = &body,
					   .part_count = 1,
					   .deadline_ns = env_mono_ns(&a.env.env) + NS_PER_S,
					   .fn = on_reply,
					   .ctx = &o});
	rpc_send(a.rpc, "mem://b", ONE_WAY, body);
	advance_ms(1);
	ck_assert_int_eq(o.e.code, ERR_RESOURCE_EXHAUSTED);
	ck_assert_uint_eq(rpc_stats(a.rpc).one_way_dropped, 1);
	o = (struct outcome){0};
	call(&a, "mem://b", HOLD, "", &o);
	advance_ms(1);
	rpc_reply(b.held[--b.held_count], &body, 1);
	advance_ms(1);
	ck_assert_int_eq(o.e.code, ERR_RESOURCE_EXHAUSTED);
	free(big);
}
END_TEST

START_TEST(what_waits_for_a_peer_is_bounded)
{
	/* Nobody is there, so the first message stays with the network and the rest gathers. */
	char *kb = mem_zalloc(1025);
	memset(kb, 'k', 1024);
	static struct outcome o[3000];
	memset(o, 0, sizeof o);
	for (int i = 0; i < 3000; i++)
		call(&a, "mem://absent", ECHO, kb, &o[i]);
	fake_world_settle(&world);
	int refused = 0;
	for (int i = 0; i < 3000; i++)
		refused += o[i].times == 1 && o[i].e.code == ERR_RESOURCE_EXHAUSTED;
	ck_assert_int_gt(refused, 1900);
	ck_assert_int_lt(refused, 2100);
	advance_ms(300);
	for (int i = 0; i < 3000; i++)
		ck_assert_int_eq(o[i].times, 1);
	free(kb);
}
END_TEST

/* ------------------------------------------------------------------ lost connections */

START_TEST(a_peer_that_cannot_be_reached_ends_its_calls)
{
	struct outcome o = {0};
	call_for(&a, "mem://absent", ECHO, "", 60 * NS_PER_S, &o);
	advance_ms(300);
	assert_lost(&o);
	ck_assert_uint_eq(a.downs, 1);
	o = (struct outcome){0};
	call(&a, "mem://b", ECHO, "others go on", &o);
	advance_ms(1);
	ck_assert_int_eq(o.e.code, ERR_OK);
}
END_TEST

START_TEST(a_peer_that_dies_ends_its_calls_and_cancels_its_requests)
{
	struct outcome from_a = {0}, from_b = {0}, to_c = {0};
	call(&a, "mem://b", HOLD, "", &from_a);
	call(&b, "mem://a", HOLD, "", &from_b);
	call(&a, "mem://c", HOLD, "", &to_c);
	advance_ms(1);
	node_down(&b);
	advance_ms(10);
	assert_lost(&from_a);
	ck_assert_int_eq(to_c.times, 0);
	ck_assert_uint_eq(a.cancelled, 1);
	ck_assert_uint_ge(a.downs, 1);
	/* The reply to the dead caller goes nowhere; the next process at its address is another one. */
	answer_held(&a, "to nobody");
	node_up(&b, "mem://b", 99);
	struct outcome o = {0};
	call(&a, "mem://b", ECHO, "back", &o);
	call(&b, "mem://a", ECHO, "back", &from_b);
	advance_ms(2);
	assert_answered(&o, "back!");
	answer_held(&c, "done");
	advance_ms(1);
	assert_answered(&to_c, "done");
}
END_TEST

START_TEST(calls_made_when_a_peer_is_lost_are_new_ones)
{
	struct outcome o = {.again = a.rpc};
	again_outcome = (struct outcome){0};
	call(&a, "mem://b", HOLD, "", &o);
	advance_ms(1);
	fake_net_reset(net, "mem://a", "mem://b");
	advance_ms(10);
	assert_lost(&o);
	ck_assert_int_eq(again_outcome.times, 0);
	answer_held(&b, "held");
	advance_ms(1);
	assert_answered(&again_outcome, "held");
}
END_TEST

START_TEST(a_process_restarted_at_the_same_address_is_noticed_without_the_network)
{
	struct outcome old = {0}, answered = {0};
	/* A network that tells nobody. */
	fake_net_set_notice(net, 3600 * NS_PER_S, 3600 * NS_PER_S);
	call(&a, "mem://b", ECHO, "known", &answered);
	call(&a, "mem://b", HOLD, "", &old);
	advance_ms(1);
	ck_assert_int_eq(answered.times, 1);
	node_down(&b);
	node_up(&b, "mem://b", 99);
	struct outcome o = {0};
	call(&b, "mem://a", HOLD, "", &o);
	advance_ms(1);
	assert_lost(&old);
	ck_assert_uint_eq(a.downs, 1);
	ck_assert_uint_eq(a.held_count, 1);
}
END_TEST

START_TEST(a_connection_lost_one_way_leaves_no_call_hanging)
{
	/* b loses what a sent; the reply's way is whole. Both ends' calls end or are answered, whoever hears first. */
	for (int order = 0; order < 2; order++) {
		struct outcome ab = {0}, ba = {0};
		call(&a, "mem://b", HOLD, "", &ab);
		call(&b, "mem://a", HOLD, "", &ba);
		advance_ms(1);
		fake_net_set_notice(net, 0, 20 * NS_PER_MS);
		fake_net_reset_one_way(net, order ? "mem://a" : "mem://b", order ? "mem://b" : "mem://a");
		advance_ms(30);
		/* New calls are not hurt by the end of the old connection. */
		struct outcome ab2 = {0}, ba2 = {0};
		call(&a, "mem://b", ECHO, "2", &ab2);
		call(&b, "mem://a", ECHO, "2", &ba2);
		answer_held(&a, "");
		answer_held(&b, "");
		advance_ms(5);
		assert_lost(&ab);
		assert_lost(&ba);
		assert_answered(&ab2, "2!");
		assert_answered(&ba2, "2!");
	}
}
END_TEST

START_TEST(a_caller_hears_of_an_answer_that_could_not_be_sent)
{
	struct outcome o = {0};
	call(&a, "mem://b", HOLD, "", &o);
	advance_ms(1);
	/* b has no connection to a yet and does not get one; a's to b is whole. */
	fake_net_cut(net, "mem://a", "mem://b", true);
	answer_held(&b, "answer");
	advance_ms(200);
	fake_net_cut(net, "mem://a", "mem://b", false);
	ck_assert_int_eq(o.times, 0);
	advance_ms(100);
	assert_lost(&o);
	ck_assert_uint_eq(b.downs, 1);
}
END_TEST

START_TEST(forgetting_a_peer_ends_its_calls)
{
	struct outcome ab = {0}, ba = {0};
	call(&a, "mem://b", HOLD, "", &ab);
	call(&b, "mem://a", HOLD, "", &ba);
	advance_ms(1);
	rpc_forget(a.rpc, "mem://b");
	rpc_forget(a.rpc, "mem://never-met");
	assert_lost(&ab);
	ck_assert_uint_eq(a.downs, 1); /* messages without an answer may be lost as well */
	ck_assert_uint_eq(a.cancelled, 1);
	answer_held(&a, "");
	advance_ms(10);
	assert_lost(&ba);
	struct outcome o = {0};
	call(&a, "mem://b", ECHO, "again", &o);
	advance_ms(5);
	assert_answered(&o, "again!");
}
END_TEST

/* ------------------------------------------------------------------ hostile and stale messages */

static void deliver(struct node *n, struct buf *message)
{
	struct rpc_net *below = fake_net_endpoint(net, &n->env.env, "mem://evil");
	below->ops->send(below, n->address, message->data, message->len);
	*message = (struct buf){0};
	/* The address of the sender is what the message says; the endpoint only carries it. */
	below->on_sent = (void (*)(void *, const char *))on_down;
	below->on_peer_down = on_down;
	below->ctx = &c;
	advance_ms(1);
	below->ops->free(below);
	advance_ms(5);
}

static void put_header(struct buf *message, uint64_t to_incarnation, uint64_t epoch)
{
	envelope_put_header(message, &(struct envelope_header){.from_incarnation = 666,
							       .to_incarnation = to_incarnation,
							       .epoch = epoch,
							       .from = bytes_str("mem://evil")});
}

START_TEST(a_damaged_message_is_dropped_whole_and_counted)
{
	struct buf m = {0};
	put_header(&m, 0, 1);
	envelope_put_frame(&m, &(struct envelope_frame){.kind = ENVELOPE_ONE_WAY, .method = ONE_WAY}, NULL, 0);
	buf_put(&m, "\xff", 1);
	deliver(&a, &m);
	ck_assert_uint_eq(a.one_way, 0);
	ck_assert_uint_eq(rpc_stats(a.rpc).malformed, 1);
	put_header(&m, 0, 1);
	envelope_put_frame(&m, &(struct envelope_frame){.kind = ENVELOPE_ONE_WAY, .method = ONE_WAY}, NULL, 0);
	deliver(&a, &m);
	ck_assert_uint_eq(a.one_way, 1);
}
END_TEST

START_TEST(replies_count_only_from_the_callee_and_for_this_process)
{
	struct outcome o = {0};
	call(&a, "mem://b", HOLD, "", &o);
	advance_ms(1);
	for (uint64_t to = 10; to <= 11; to++) {
		struct buf m = {0};
		put_header(&m, to, 1);
		for (uint64_t id = 0; id < 5; id++)
			envelope_put_frame(&m, &(struct envelope_frame){.kind = ENVELOPE_REPLY, .id = id}, NULL, 0);
		envelope_put_frame(&m, &(struct envelope_frame){.kind = ENVELOPE_CANCEL, .id = 1}, NULL, 0);
		deliver(&a, &m);
	}
	ck_assert_int_eq(o.times, 0);
	answer_held(&b, "real");
	advance_ms(1);
	assert_answered(&o, "real");
}
END_TEST

/* ------------------------------------------------------------------ at random */

#define CALLS 4000

struct storm {
	struct outcome outcomes[CALLS];
	int made;
};

/* Calls in all directions while connections end at random: each ends exactly once, none waits for its deadline. */
START_TEST(no_call_hangs_or_ends_twice_whatever_is_lost)
{
	static struct storm s;
	memset(&s, 0, sizeof s);
	struct node *nodes[] = {&a, &b, &c};
	fake_world_seed(&world, (uint64_t)_i + 1);
	fake_net_set_latency(net, 10 * NS_PER_US, 2 * NS_PER_MS);
	fake_net_set_notice(net, 0, 5 * NS_PER_MS);
	while (s.made < CALLS) {
		struct node *from = nodes[fake_world_below(&world, 3)], *to = nodes[fake_world_below(&world, 3)];
		call_for(from, to->address, fake_world_chance(&world, 0.3) ? HOLD : ECHO, "x", 1000 * NS_PER_S,
			 &s.outcomes[s.made++]);
		for (int i = 0; i < 3; i++) {
			if (nodes[i]->held_count == HELD_MAX - 4 || fake_world_chance(&world, 0.05))
				answer_held(nodes[i], "y");
		}
		if (fake_world_chance(&world, 0.02)) {
			if (fake_world_chance(&world, 0.5))
				fake_net_reset_one_way(net, from->address, to->address);
			else
				fake_net_reset(net, from->address, to->address);
		}
		if (fake_world_chance(&world, 0.5))
			fake_world_advance(&world, (int64_t)fake_world_below(&world, NS_PER_MS));
	}
	for (int i = 0; i < 10; i++) {
		advance_ms(100);
		for (int j = 0; j < 3; j++)
			answer_held(nodes[j], "y");
	}
	int lost = 0;
	for (int i = 0; i < CALLS; i++) {
		ck_assert_int_eq(s.outcomes[i].times, 1);
		lost += s.outcomes[i].e.code == ERR_UNAVAILABLE;
	}
	ck_assert_int_gt(lost, 10);
	ck_assert_int_lt(lost, CALLS / 2);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rpc");
	TCase *t = tcase_create("rpc");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_call_is_answered_and_never_inline);
	tcase_add_test(t, an_error_arrives_whole);
	tcase_add_test(t, calls_of_one_turn_share_a_message);
	tcase_add_test(t, large_bodies_travel_in_several_messages);
	tcase_add_test(t, calls_to_ourselves_need_no_network);
	tcase_add_test(t, one_way_messages_arrive_in_order_with_the_calls);
	tcase_add_test(t, a_deadline_ends_the_call_on_both_sides);
	tcase_add_test(t, a_deadline_in_the_past_ends_the_call_without_sending);
	tcase_add_test(t, deadlines_fire_in_order_whatever_the_order_of_the_calls);
	tcase_add_test(t, a_cancelled_call_tells_the_callee_and_nobody_else);
	tcase_add_test(t, too_large_a_body_is_refused_on_either_side);
	tcase_add_test(t, what_waits_for_a_peer_is_bounded);
	tcase_add_test(t, a_peer_that_cannot_be_reached_ends_its_calls);
	tcase_add_test(t, a_peer_that_dies_ends_its_calls_and_cancels_its_requests);
	tcase_add_test(t, calls_made_when_a_peer_is_lost_are_new_ones);
	tcase_add_test(t, a_process_restarted_at_the_same_address_is_noticed_without_the_network);
	tcase_add_test(t, a_connection_lost_one_way_leaves_no_call_hanging);
	tcase_add_test(t, a_caller_hears_of_an_answer_that_could_not_be_sent);
	tcase_add_test(t, forgetting_a_peer_ends_its_calls);
	tcase_add_test(t, a_damaged_message_is_dropped_whole_and_counted);
	tcase_add_test(t, replies_count_only_from_the_callee_and_for_this_process);
	tcase_add_loop_test(t, no_call_hangs_or_ends_twice_whatever_is_lost, 0, 40);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
