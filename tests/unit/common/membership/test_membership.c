/* Nodes in virtual time on the database in memory: who is live, who owns what, and whose lease counts. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/common/membership/harness.h"

/* ------------------------------------------------------------------ who is there */

START_TEST(nodes_find_each_other_and_agree_on_the_owners)
{
	three_history_nodes();
	node_up(3, MEMBER_MATCHING, 9);
	advance_ms(50);
	unsigned owned[3] = {0};
	for (int i = 0; i < NODES; i++) {
		ck_assert(membership_joined(nodes[i].m));
		ck_assert_uint_eq(live_count(&nodes[i], MEMBER_HISTORY), 3);
		ck_assert_uint_eq(live_count(&nodes[i], MEMBER_MATCHING), 1);
		ck_assert_uint_eq(live_count(&nodes[i], MEMBER_FRONTEND), 0);
	}
	for (uint32_t shard = 0; shard < 300; shard++) {
		const struct member *owner = membership_shard_owner(nodes[0].m, shard);
		for (int i = 0; i < NODES; i++) {
			ck_assert_str_eq(membership_shard_owner(nodes[i].m, shard)->node_id, owner->node_id);
			ck_assert_int_eq(membership_owns_shard(nodes[i].m, shard), str_eq(owner->node_id, nodes[i].id));
		}
		owned[owner->node_id[5] - '0']++;
	}
	for (int i = 0; i < 3; i++)
		ck_assert_uint_gt(owned[i], 70);
	const struct member *m = membership_find_address(nodes[0].m, "mem://node-3");
	ck_assert_str_eq(m->node_id, "node-3");
	ck_assert_int_eq(m->role, MEMBER_MATCHING);
	ck_assert_uint_eq(m->incarnation, 9);
	ck_assert_ptr_null(membership_find(nodes[0].m, "node-4"));
	ck_assert_ptr_null(membership_owner(nodes[0].m, MEMBER_FRONTEND, 1));
	ck_assert_str_eq(membership_owner(nodes[0].m, MEMBER_MATCHING, 1)->node_id, "node-3");
	/* Members come in the order of their ids. */
	size_t count;
	const struct member *const *live = membership_live(nodes[2].m, MEMBER_HISTORY, &count);
	for (size_t i = 0; i < count; i++)
		ck_assert_str_eq(live[i]->node_id, nodes[i].id);
}
END_TEST

START_TEST(a_quiet_cluster_costs_one_call_a_second_and_node)
{
	three_history_nodes();
	advance_ms(2000);
	uint64_t before = fake_db_calls(db), generation = membership_generation(nodes[0].m);
	advance_ms(10000);
	uint64_t calls = fake_db_calls(db) - before;
	ck_assert_uint_ge(calls, 29);
	ck_assert_uint_le(calls, 31);
	ck_assert_uint_eq(membership_generation(nodes[0].m), generation);
}
END_TEST

START_TEST(a_killed_node_expires_when_its_lease_is_out_and_not_before)
{
	three_history_nodes();
	advance_ms(5000);
	int64_t renewals;
	node_kill(&nodes[2]);
	advance_ms(1900);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(membership_state(nodes[i].m, "node-2", 3, NULL), MEMBER_LIVE);
	/* Its last renewal may have been seen a second after it was made. */
	advance_ms(2200);
	for (int i = 0; i < 2; i++) {
		ck_assert_int_eq(membership_state(nodes[i].m, "node-2", 3, &renewals), MEMBER_EXPIRED);
		ck_assert_int_ge(renewals, 5);
		ck_assert_uint_eq(live_count(&nodes[i], MEMBER_HISTORY), 2);
		ck_assert_ptr_null(membership_find(nodes[i].m, "node-2"));
		ck_assert_str_eq(nodes[i].gone, "mem://node-2 ");
		for (uint32_t shard = 0; shard < 64; shard++)
			ck_assert_str_ne(membership_shard_owner(nodes[i].m, shard)->node_id, "node-2");
	}
}
END_TEST

START_TEST(only_the_dead_nodes_keys_move)
{
	three_history_nodes();
	char before[200];
	for (uint32_t shard = 0; shard < 200; shard++)
		before[shard] = membership_shard_owner(nodes[0].m, shard)->node_id[5];
	node_kill(&nodes[1]);
	advance_ms(5000);
	for (uint32_t shard = 0; shard < 200; shard++) {
		char now = membership_shard_owner(nodes[0].m, shard)->node_id[5];
		ck_assert(now == before[shard] || before[shard] == '1');
	}
}
END_TEST

START_TEST(a_restarted_node_replaces_its_past_at_once)
{
	three_history_nodes();
	node_kill(&nodes[2]);
	node_up(2, MEMBER_HISTORY, 33);
	advance_ms(100);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_GONE);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 33, NULL), MEMBER_LIVE);
	/* The address is in use again, so nobody gives it up. */
	ck_assert_str_eq(nodes[0].gone, "");
}
END_TEST

START_TEST(a_node_that_leaves_is_gone_at_once)
{
	three_history_nodes();
	membership_leave(nodes[2].m, node_on_left, &nodes[2]);
	ck_assert(!membership_lease_valid(nodes[2].m));
	advance_ms(100);
	ck_assert_uint_eq(nodes[2].left, 1);
	ck_assert_uint_eq(live_count(&nodes[0], MEMBER_HISTORY), 2);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_GONE);
	ck_assert_str_eq(nodes[0].gone, "mem://node-2 ");
	advance_ms(5000);
	ck_assert_uint_eq(live_count(&nodes[0], MEMBER_HISTORY), 2);
}
END_TEST

START_TEST(a_draining_node_owns_nothing_while_there_is_another)
{
	three_history_nodes();
	membership_drain(nodes[1].m);
	advance_ms(100);
	ck_assert_uint_eq(live_count(&nodes[0], MEMBER_HISTORY), 3);
	ck_assert(membership_find(nodes[0].m, "node-1")->draining);
	for (uint32_t shard = 0; shard < 64; shard++)
		ck_assert_str_ne(membership_shard_owner(nodes[0].m, shard)->node_id, "node-1");
	membership_drain(nodes[0].m);
	membership_drain(nodes[2].m);
	advance_ms(100);
	unsigned owned = 0;
	for (uint32_t shard = 0; shard < 64; shard++)
		owned += str_eq(membership_shard_owner(nodes[0].m, shard)->node_id, "node-1");
	ck_assert_uint_gt(owned, 5);
}
END_TEST

/* ------------------------------------------------------------------ a database in trouble */

static void assert_nobody_died(void)
{
	for (int i = 0; i < 3; i++) {
		ck_assert_uint_eq(live_count(&nodes[i], MEMBER_HISTORY), 3);
		ck_assert_str_eq(nodes[i].gone, "");
		ck_assert_uint_eq(nodes[i].fenced, 0);
	}
}

START_TEST(a_stalled_database_kills_nobody)
{
	three_history_nodes();
	advance_ms(3000 + 100 * _i);
	fake_db_set_down(db, true);
	advance_ms(12000);
	for (int i = 0; i < 3; i++)
		ck_assert(!membership_lease_valid(nodes[i].m));
	assert_nobody_died();
	fake_db_set_down(db, false);
	for (int i = 0; i < 100; i++) {
		advance_ms(100);
		assert_nobody_died();
	}
	for (int i = 0; i < 3; i++)
		ck_assert(membership_lease_valid(nodes[i].m));
}
END_TEST

START_TEST(after_an_outage_everybody_gets_a_whole_lease_to_be_heard)
{
	three_history_nodes();
	advance_ms(3000);
	fake_db_set_down(db, true);
	advance_ms(5000);
	/* One takes longer to connect again. */
	fake_store_cut(nodes[2].store, true);
	fake_db_set_down(db, false);
	advance_ms(2300);
	fake_store_cut(nodes[2].store, false);
	for (int i = 0; i < 50; i++) {
		assert_nobody_died();
		advance_ms(100);
	}
}
END_TEST

START_TEST(a_database_that_stalls_again_and_again_kills_nobody)
{
	three_history_nodes();
	fake_world_seed(&world, (uint64_t)_i + 7);
	/* Each call may take up to the lease longer, one node's more than another's. */
	for (int i = 0; i < 60; i++) {
		fake_db_set_faults(db, &(struct fake_faults){.latency_min_ns = NS_PER_MS,
							     .latency_max_ns = 5 * NS_PER_MS,
							     .timeout_ns = 10 * NS_PER_S,
							     .stall = i % 2,
							     .stall_ns = (int64_t)fake_world_below(
								     &world, (uint64_t)(1500 * NS_PER_MS))});
		advance_ms(1000);
		assert_nobody_died();
	}
}
END_TEST

START_TEST(a_node_that_lost_the_database_gives_up_before_others_take_over)
{
	three_history_nodes();
	advance_ms(4000);
	fake_store_cut(nodes[2].store, true);
	bool valid = true;
	for (int ms = 0; ms < 6000; ms += 10) {
		bool expired = membership_state(nodes[0].m, "node-2", 3, NULL) == MEMBER_EXPIRED ||
			       membership_state(nodes[1].m, "node-2", 3, NULL) == MEMBER_EXPIRED;
		valid = membership_lease_valid(nodes[2].m);
		ck_assert(!(valid && expired));
		advance_ms(10);
	}
	ck_assert(!valid);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_EXPIRED);
	/* It kills nobody either, and is back as soon as it can renew. */
	ck_assert_uint_eq(live_count(&nodes[2], MEMBER_HISTORY), 3);
	fake_store_cut(nodes[2].store, false);
	advance_ms(3000);
	ck_assert(membership_lease_valid(nodes[2].m));
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_LIVE);
	ck_assert_uint_eq(live_count(&nodes[2], MEMBER_HISTORY), 3);
}
END_TEST

START_TEST(the_lease_counts_from_when_the_renewal_was_sent)
{
	node_up(0, MEMBER_HISTORY, 1);
	fake_db_set_faults(db, &(struct fake_faults){.latency_min_ns = 400 * NS_PER_MS,
						     .latency_max_ns = 400 * NS_PER_MS,
						     .timeout_ns = 10 * NS_PER_S});
	int64_t sent_ns = env_mono_ns(&nodes[0].env.env);
	ck_assert(!membership_lease_valid(nodes[0].m));
	advance_ms(900);
	ck_assert(membership_lease_valid(nodes[0].m));
	ck_assert_int_le(membership_lease_until_ns(nodes[0].m), sent_ns + MEMBERSHIP_LEASE_NS / 10 * 9 + NS_PER_S);
	/* A process that slept wakes without a lease. */
	nodes[0].env.paused = true;
	advance_ms(10000);
	ck_assert(!membership_lease_valid(nodes[0].m));
}
END_TEST

static void on_claimed(void *ctx, struct err e, const struct store_claimed *claimed)
{
	(void)claimed;
	*(struct err *)ctx = e;
}

START_TEST(a_node_declared_dead_is_told_and_never_renews_again)
{
	struct err e = err_static(ERR_UNKNOWN, "");
	three_history_nodes();
	store_claim(nodes[2].store, &(struct store_claim){.shard = 1, .node_id = "node-2", .incarnation = 3},
		    on_claimed, &e);
	advance_ms(100);
	ck_assert(!err_is(e));
	fake_store_cut(nodes[2].store, true);
	advance_ms(5000);
	int64_t renewals;
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, &renewals), MEMBER_EXPIRED);
	store_claim(nodes[0].store,
		    &(struct store_claim){.shard = 1,
					  .node_id = "node-0",
					  .incarnation = 1,
					  .expired_node_id = "node-2",
					  .expired_incarnation = 3,
					  .expired_renewals = renewals},
		    on_claimed, &e);
	advance_ms(100);
	ck_assert(!err_is(e));
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_GONE);
	fake_store_cut(nodes[2].store, false);
	advance_ms(5000);
	ck_assert_uint_eq(nodes[2].fenced, 1);
	ck_assert(!membership_lease_valid(nodes[2].m));
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_GONE);
	advance_ms(5000);
	ck_assert_uint_eq(nodes[2].fenced, 1);
}
END_TEST

/* ------------------------------------------------------------------ hints, listeners, old rows */

START_TEST(a_hint_looks_again_at_once_and_decides_nothing)
{
	three_history_nodes();
	advance_ms(5500);
	uint64_t before = fake_db_calls(db);
	membership_down(nodes[0].m, "mem://node-2");
	membership_down(nodes[0].m, "mem://nobody");
	advance_ms(5);
	ck_assert_uint_eq(fake_db_calls(db), before + 1);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_LIVE);
	advance_ms(10000);
	ck_assert_int_eq(membership_state(nodes[0].m, "node-2", 3, NULL), MEMBER_LIVE);
}
END_TEST

START_TEST(a_doubted_matching_node_is_passed_over_until_it_renews)
{
	node_up(0, MEMBER_HISTORY, 1);
	node_up(1, MEMBER_MATCHING, 2);
	node_up(2, MEMBER_MATCHING, 3);
	advance_ms(5500);
	const char *owner = membership_owner(nodes[0].m, MEMBER_MATCHING, 1)->node_id;
	const char *address = str_eq(owner, "node-1") ? "mem://node-1" : "mem://node-2";
	const char *other = str_eq(owner, "node-1") ? "node-2" : "node-1", *doubted[2];
	uint64_t changes = (uint64_t)nodes[0].changes;
	membership_down(nodes[0].m, address);
	ck_assert_str_eq(membership_owner(nodes[0].m, MEMBER_MATCHING, 1)->node_id, other);
	ck_assert_uint_eq(membership_doubted(nodes[0].m, MEMBER_MATCHING, doubted, 2), 1);
	ck_assert_str_eq(doubted[0], address);
	advance_ms(5);
	ck_assert_uint_eq((uint64_t)nodes[0].changes, changes + 1);
	/* The last one is better than none. */
	membership_down(nodes[0].m, str_eq(owner, "node-1") ? "mem://node-2" : "mem://node-1");
	ck_assert_ptr_nonnull(membership_owner(nodes[0].m, MEMBER_MATCHING, 1));
	advance_ms(3500);
	ck_assert_uint_eq(membership_doubted(nodes[0].m, MEMBER_MATCHING, doubted, 2), 0);
	ck_assert_str_eq(membership_owner(nodes[0].m, MEMBER_MATCHING, 1)->node_id, owner);
}
END_TEST

START_TEST(partitions_of_a_queue_take_turns_over_the_nodes)
{
	node_up(0, MEMBER_HISTORY, 1);
	for (int i = 1; i < 4; i++)
		node_up(i, MEMBER_MATCHING, (uint64_t)i + 1);
	advance_ms(100);
	uint64_t queue = placement_queue("ns", "orders", 1, false);
	const struct member *first = membership_partition_owner(nodes[0].m, queue, 0);
	ck_assert_ptr_eq(first, membership_owner(nodes[0].m, MEMBER_MATCHING, queue));
	for (uint32_t i = 0; i < 3; i++)
		for (uint32_t j = 0; j < 6; j++)
			ck_assert_int_eq(membership_partition_owner(nodes[0].m, queue, i) ==
						 membership_partition_owner(nodes[0].m, queue, j),
					 i % 3 == j % 3);
}
END_TEST

static void on_change_take_away(void *ctx)
{
	struct node *n = ctx;
	n->changes += 100;
	membership_off_change(n->m, on_change_take_away, n);
}

START_TEST(listeners_may_go_while_they_are_told)
{
	node_up(0, MEMBER_HISTORY, 1);
	membership_off_change(nodes[0].m, node_on_change, &nodes[0]);
	membership_on_change(nodes[0].m, on_change_take_away, &nodes[0]);
	membership_on_change(nodes[0].m, node_on_change, &nodes[0]);
	advance_ms(100);
	ck_assert_uint_eq(nodes[0].changes, 101);
	node_up(1, MEMBER_HISTORY, 2);
	advance_ms(100);
	ck_assert_uint_eq(nodes[0].changes, 102);
	membership_off_change(nodes[0].m, node_on_change, &nodes[0]);
	node_up(2, MEMBER_HISTORY, 3);
	advance_ms(100);
	ck_assert_uint_eq(nodes[0].changes, 102);
}
END_TEST

START_TEST(rows_of_nodes_that_never_come_back_are_removed)
{
	three_history_nodes();
	node_kill(&nodes[0]);
	node_kill(&nodes[2]);
	advance_ms(300 * 1000);
	ck_assert_int_eq(membership_state(nodes[1].m, "node-2", 3, NULL), MEMBER_EXPIRED);
	advance_ms(320 * 1000);
	ck_assert_int_eq(membership_state(nodes[1].m, "node-0", 1, NULL), MEMBER_GONE);
	ck_assert_int_eq(membership_state(nodes[1].m, "node-2", 3, NULL), MEMBER_GONE);
	ck_assert_int_eq(membership_state(nodes[1].m, "node-1", 2, NULL), MEMBER_LIVE);
}
END_TEST

START_TEST(roles_have_names)
{
	for (int i = 0; i < MEMBER_ROLE_COUNT; i++) {
		enum member_role role;
		ck_assert(member_role_parse(member_role_name((enum member_role)i), &role));
		ck_assert_int_eq(role, i);
	}
	ck_assert(!member_role_parse("broker", &(enum member_role){0}));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("membership");
	TCase *t = tcase_create("membership");
	tcase_add_checked_fixture(t, nodes_setup, nodes_teardown);
	tcase_add_test(t, nodes_find_each_other_and_agree_on_the_owners);
	tcase_add_test(t, a_quiet_cluster_costs_one_call_a_second_and_node);
	tcase_add_test(t, a_killed_node_expires_when_its_lease_is_out_and_not_before);
	tcase_add_test(t, only_the_dead_nodes_keys_move);
	tcase_add_test(t, a_restarted_node_replaces_its_past_at_once);
	tcase_add_test(t, a_node_that_leaves_is_gone_at_once);
	tcase_add_test(t, a_draining_node_owns_nothing_while_there_is_another);
	tcase_add_loop_test(t, a_stalled_database_kills_nobody, 0, 10);
	tcase_add_test(t, after_an_outage_everybody_gets_a_whole_lease_to_be_heard);
	tcase_add_loop_test(t, a_database_that_stalls_again_and_again_kills_nobody, 0, 10);
	tcase_add_test(t, a_node_that_lost_the_database_gives_up_before_others_take_over);
	tcase_add_test(t, the_lease_counts_from_when_the_renewal_was_sent);
	tcase_add_test(t, a_node_declared_dead_is_told_and_never_renews_again);
	tcase_add_test(t, a_hint_looks_again_at_once_and_decides_nothing);
	tcase_add_test(t, a_doubted_matching_node_is_passed_over_until_it_renews);
	tcase_add_test(t, partitions_of_a_queue_take_turns_over_the_nodes);
	tcase_add_test(t, listeners_may_go_while_they_are_told);
	tcase_add_test(t, rows_of_nodes_that_never_come_back_are_removed);
	tcase_add_test(t, roles_have_names);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
