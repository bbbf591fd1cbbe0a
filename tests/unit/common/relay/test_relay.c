/*
 * What a relay does and what it refuses: between a caller and two history nodes, in virtual time.
 */
#include <check.h>
#include <stdlib.h>

#include <perdure/relay.pb-c.h>

#include "common/mem/mem.h"
#include "common/relay/relay.h"
#include "common/store/fake.h"
#include "tests/support/fake_env.h"
#include "tests/support/fake_net.h"

#define SECOND NS_PER_S

struct node {
	struct fake_env env;
	struct store *store;
	struct rpc *rpc;
	struct membership *membership;
	struct relay *relay;
	struct rpc_request *held[8];
	size_t held_count;
	bool cancelled;
};

struct outcome {
	int times;
	enum err_code code;
	bool has_error;
	uint32_t error_code, error_reason;
	char text[64];
};

static struct fake_world world;
static struct fake_net *net;
static struct fake_db *db;
static struct node caller, relay, owner;

static void on_cancel(void *ctx, struct rpc_request *req)
{
	(void)req;
	((struct node *)ctx)->cancelled = true;
}

static void on_request(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	ck_assert_uint_lt(n->held_count, array_len(n->held));
	n->held[n->held_count++] = req;
	rpc_on_cancel(req, on_cancel, n);
}

static void node_up(struct node *n, const char *address, enum member_role role, uint64_t incarnation)
{
	*n = (struct node){0};
	fake_env_init(&n->env, &world);
	n->store = fake_store_new(&n->env.env, db);
	struct rpc_config config = {.address = address, .incarnation = incarnation};
	n->rpc = rpc_new(&n->env.env, fake_net_endpoint(net, &n->env.env, address), &config);
	struct membership_config members = {.node_id = address,
					    .role = role,
					    .address = address,
					    .http_address = "",
					    .version = "test",
					    .incarnation = incarnation};
	n->membership = membership_new(&n->env.env, n->store, &members);
	membership_start(n->membership);
	if (role != MEMBER_HISTORY)
		return;
	n->relay = relay_new(n->rpc, n->membership);
	rpc_serve(n->rpc, RPC_HISTORY_CALL, on_request, n);
}

static void node_down(struct node *n)
{
	relay_free(n->relay);
	membership_free(n->membership);
	rpc_free(n->rpc);
	while (n->held_count)
		rpc_reply(n->held[--n->held_count], NULL, 0);
	store_free(n->store);
	fake_env_done(&n->env);
}

static void setup(void)
{
	fake_world_init(&world, 3);
	net = fake_net_new(&world);
	db = fake_db_new(8, 3);
	node_up(&caller, "caller", MEMBER_FRONTEND, 11);
	node_up(&relay, "relay", MEMBER_HISTORY, 12);
	node_up(&owner, "owner", MEMBER_HISTORY, 13);
	fake_world_advance(&world, 3 * SECOND);
}

static void teardown(void)
{
	node_down(&caller);
	node_down(&relay);
	node_down(&owner);
	fake_db_free(db);
	fake_net_free(net);
}

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct outcome *o = ctx;
	o->times++;
	o->code = e.code;
	if (err_is(e))
		return;
	Perdure__RelayReply *m = perdure__relay_reply__unpack(NULL, body.len, body.data);
	ck_assert_ptr_nonnull(m);
	o->has_error = m->error != NULL;
	if (m->error) {
		o->error_code = m->error->code;
		o->error_reason = m->error->reason;
	}
	if (m->body.len < sizeof o->text)
		memcpy(o->text, m->body.data, m->body.len);
	perdure__relay_reply__free_unpacked(m, NULL);
}

static struct rpc_pending *ask(struct outcome *o, const char *address, uint32_t method, struct bytes body)
{
	Perdure__RelayCall m = PERDURE__RELAY_CALL__INIT;
	uint8_t packed[512];
	*o = (struct outcome){0};
	m.address = (char *)address;
	m.method = method;
	m.epoch = rpc_epoch(caller.rpc, address);
	m.body = (ProtobufCBinaryData){body.len, (uint8_t *)body.data};
	struct bytes part = bytes_of(packed, perdure__relay_call__pack(&m, packed));
	struct rpc_pending *p = rpc_call(caller.rpc, &(struct rpc_call){
							     .address = "relay",
							     .method = RPC_RELAY,
							     .parts = &part,
							     .part_count = 1,
							     .deadline_ns = env_mono_ns(&caller.env.env) + 10 * SECOND,
							     .fn = on_reply,
							     .ctx = o,
						     });
	fake_world_advance(&world, 5 * NS_PER_MS);
	return p;
}

static void assert_refused(const char *address, uint32_t method, enum err_code code)
{
	struct outcome o;
	ask(&o, address, method, bytes_str("x"));
	ck_assert_int_eq(o.times, 1);
	ck_assert_int_eq(o.code, code);
	ck_assert_uint_eq(owner.held_count, 0);
}

START_TEST(an_answer_and_an_error_come_back_as_they_are)
{
	struct outcome o;
	ask(&o, "owner", RPC_HISTORY_CALL, bytes_str("question"));
	ck_assert_uint_eq(owner.held_count, 1);
	ck_assert(bytes_eq(rpc_body(owner.held[0]), bytes_str("question")));
	ck_assert_str_eq(rpc_from(owner.held[0]), "relay");
	int64_t left = rpc_deadline_ns(owner.held[0]) - env_mono_ns(&owner.env.env);
	ck_assert_int_gt(left, 9 * SECOND);
	ck_assert_int_le(left, 10 * SECOND);
	struct bytes answer = bytes_str("answer");
	rpc_reply(owner.held[--owner.held_count], &answer, 1);
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert_int_eq(o.times, 1);
	ck_assert_int_eq(o.code, ERR_OK);
	ck_assert(!o.has_error);
	ck_assert_str_eq(o.text, "answer");

	ask(&o, "owner", RPC_HISTORY_CALL, bytes_str("question"));
	rpc_reply_err(owner.held[--owner.held_count],
		      (struct err){.code = ERR_UNAVAILABLE, .reason = ERR_REASON_DRAINING, .message = "m"});
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert_int_eq(o.code, ERR_OK); /* the relay did its part */
	ck_assert_uint_eq(o.error_code, ERR_UNAVAILABLE);
	ck_assert_uint_eq(o.error_reason, ERR_REASON_DRAINING);
}
END_TEST

START_TEST(one_hop_to_history_nodes_only)
{
	assert_refused("owner", RPC_RELAY, ERR_INVALID_ARGUMENT);
	assert_refused("owner", RPC_HISTORY_ADMIN, ERR_INVALID_ARGUMENT);
	assert_refused("owner", RPC_BAR, ERR_INVALID_ARGUMENT);
	assert_refused("owner", 100000, ERR_INVALID_ARGUMENT);
	assert_refused("caller", RPC_HISTORY_CALL, ERR_FAILED_PRECONDITION);
	assert_refused("nobody", RPC_HISTORY_CALL, ERR_FAILED_PRECONDITION);
	ck_assert_uint_eq(relay_calls(relay.relay), 0);
}
END_TEST

START_TEST(the_callers_end_is_passed_on)
{
	struct outcome o;
	struct rpc_pending *p = ask(&o, "owner", RPC_HISTORY_CALL, bytes_str("question"));
	ck_assert_uint_eq(relay_calls(relay.relay), 1);
	rpc_cancel(p);
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert(owner.cancelled);
	ck_assert_uint_eq(relay_calls(relay.relay), 0);
	ck_assert_int_eq(o.times, 0);
}
END_TEST

START_TEST(a_lost_target_is_said_to_be_lost)
{
	struct outcome o;
	ask(&o, "owner", RPC_HISTORY_CALL, bytes_str("question"));
	fake_net_reset(net, "relay", "owner");
	fake_world_advance(&world, 50 * NS_PER_MS);
	ck_assert_int_eq(o.code, ERR_OK);
	ck_assert_uint_eq(o.error_reason, ERR_REASON_PEER_LOST);
	ck_assert(owner.cancelled);
}
END_TEST

START_TEST(what_was_given_up_is_not_served_behind_it)
{
	struct outcome direct, o;
	struct bytes part = bytes_str("direct");
	struct rpc_call call = {.address = "owner",
				.method = RPC_HISTORY_CALL,
				.parts = &part,
				.part_count = 1,
				.deadline_ns = env_mono_ns(&caller.env.env) + 30 * SECOND,
				.fn = on_reply,
				.ctx = &direct};
	direct = (struct outcome){0};
	rpc_call(caller.rpc, &call);
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert_uint_eq(owner.held_count, 1);
	uint64_t before = rpc_epoch(caller.rpc, "owner");
	/* The caller gives its connection up, and the owner hears of it from the relay. */
	fake_net_silence(net, "caller", "owner", true);
	fake_world_advance(&world, 5 * SECOND);
	ck_assert_int_eq(direct.times, 1);
	ck_assert_int_eq(direct.code, ERR_UNAVAILABLE);
	ck_assert(!owner.cancelled);
	ck_assert_uint_gt(rpc_epoch(caller.rpc, "owner"), before);
	ask(&o, "owner", RPC_HISTORY_CALL, bytes_str("relayed"));
	ck_assert(owner.cancelled);
	ck_assert_uint_eq(owner.held_count, 2);
	/* Later than that it would not have been served at all. */
	fake_net_silence(net, "caller", "owner", false);
	rpc_forget(caller.rpc, "owner"); /* a new connection */
	rpc_bar(relay.rpc, "owner", "caller", 11, rpc_epoch(caller.rpc, "owner") + 1);
	fake_world_advance(&world, 5 * NS_PER_MS);
	direct = (struct outcome){0};
	rpc_call(caller.rpc, &call);
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert_uint_eq(owner.held_count, 2);
	/* Another process at the address is not concerned. */
	rpc_bar(relay.rpc, "owner", "caller", 10, UINT32_MAX);
	fake_world_advance(&world, 5 * NS_PER_MS);
	rpc_call(caller.rpc, &call);
	fake_world_advance(&world, 5 * NS_PER_MS);
	ck_assert_uint_eq(owner.held_count, 3);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("relay");
	TCase *t = tcase_create("relay");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, an_answer_and_an_error_come_back_as_they_are);
	tcase_add_test(t, one_hop_to_history_nodes_only);
	tcase_add_test(t, the_callers_end_is_passed_on);
	tcase_add_test(t, a_lost_target_is_said_to_be_lost);
	tcase_add_test(t, what_was_given_up_is_not_served_behind_it);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
