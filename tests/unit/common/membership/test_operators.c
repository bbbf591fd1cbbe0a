/* What operators decide about placement: shards pinned to nodes, nodes told to drain. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/common/membership/harness.h"

static const char *owner_of(int i, uint32_t shard)
{
	return membership_shard_owner(nodes[i].m, shard)->node_id;
}

static void assert_owner(uint32_t shard, const char *node_id)
{
	for (int i = 0; i < NODES; i++)
		if (nodes[i].m)
			ck_assert_str_eq(owner_of(i, shard), node_id);
}

/* A node that the shard is not on by hashing. */
static struct node *another(uint32_t shard)
{
	return &nodes[(owner_of(0, shard)[5] - '0' + 1) % 3];
}

START_TEST(a_pinned_shard_is_that_nodes_and_no_other_moves)
{
	three_history_nodes();
	char before[8][16];
	for (uint32_t shard = 0; shard < 8; shard++)
		snprintf(before[shard], sizeof before[shard], "%s", owner_of(0, shard));
	struct node *to = another(5);
	unsigned changes = nodes[0].changes;
	fake_db_pin(db, 5, to->id);
	advance_ms(50);
	ck_assert_uint_eq(nodes[0].changes, changes + 1);
	for (uint32_t shard = 0; shard < 8; shard++)
		assert_owner(shard, shard == 5 ? to->id : before[shard]);
	ck_assert(membership_owns_shard(to->m, 5));
	/* Who had it may serve it still. */
	ck_assert_str_eq(membership_shard_other(nodes[0].m, 5)->node_id, before[5]);
	fake_db_pin(db, 5, NULL);
	advance_ms(50);
	assert_owner(5, before[5]);
	ck_assert_str_eq(membership_shard_other(nodes[0].m, 5)->node_id, to->id);
}
END_TEST

START_TEST(a_shard_that_goes_from_pin_to_pin_was_with_the_first)
{
	three_history_nodes();
	struct node *first = another(2), *second = &nodes[3 - (first - nodes) - (owner_of(0, 2)[5] - '0')];
	fake_db_pin(db, 2, first->id);
	advance_ms(50);
	fake_db_pin(db, 2, second->id);
	advance_ms(50);
	assert_owner(2, second->id);
	ck_assert_str_eq(membership_shard_other(nodes[0].m, 2)->node_id, first->id);
	/* That is news for a while only: later it is whoever comes next. */
	advance_ms(60000);
	ck_assert_str_ne(membership_shard_other(nodes[0].m, 2)->node_id, second->id);
}
END_TEST

START_TEST(a_pin_counts_while_its_node_lives_and_does_not_drain)
{
	three_history_nodes();
	char hashed[16];
	snprintf(hashed, sizeof hashed, "%s", owner_of(0, 1));
	struct node *to = another(1);
	int index = (int)(to - nodes);
	fake_db_pin(db, 1, to->id);
	advance_ms(50);
	fake_db_tell_to_drain(db, to->id, true);
	advance_ms(50);
	assert_owner(1, hashed);
	ck_assert_str_eq(membership_shard_other(nodes[0].m, 1)->node_id, to->id);
	fake_db_tell_to_drain(db, to->id, false);
	advance_ms(50);
	assert_owner(1, to->id);
	node_kill(to);
	advance_ms(5000);
	assert_owner(1, hashed);
	node_up(index, MEMBER_HISTORY, 77);
	advance_ms(100);
	assert_owner(1, to->id);
}
END_TEST

START_TEST(a_pin_to_nobody_or_to_a_node_of_another_role_counts_for_nothing)
{
	three_history_nodes();
	node_up(3, MEMBER_MATCHING, 9);
	advance_ms(50);
	char hashed[2][16];
	for (uint32_t shard = 0; shard < 2; shard++)
		snprintf(hashed[shard], sizeof hashed[shard], "%s", owner_of(0, shard));
	fake_db_pin(db, 0, "nobody");
	fake_db_pin(db, 1, "node-3");
	advance_ms(50);
	assert_owner(0, hashed[0]);
	assert_owner(1, hashed[1]);
}
END_TEST

START_TEST(a_node_told_to_drain_knows_and_others_take_its_work)
{
	three_history_nodes();
	unsigned changes = nodes[1].changes;
	ck_assert(!membership_told_to_drain(nodes[1].m));
	fake_db_tell_to_drain(db, "node-1", true);
	advance_ms(50);
	ck_assert(membership_told_to_drain(nodes[1].m));
	ck_assert(!membership_told_to_drain(nodes[0].m));
	ck_assert_uint_eq(nodes[1].changes, changes + 1);
	for (uint32_t shard = 0; shard < 64; shard++)
		ck_assert_str_ne(owner_of(0, shard), "node-1");
	/* It stays a member, and its successor is told as well. */
	ck_assert_uint_eq(live_count(&nodes[0], MEMBER_HISTORY), 3);
	ck_assert(membership_lease_valid(nodes[1].m));
	node_kill(&nodes[1]);
	node_up(1, MEMBER_HISTORY, 22);
	advance_ms(100);
	ck_assert(membership_told_to_drain(nodes[1].m));
	for (uint32_t shard = 0; shard < 64; shard++)
		ck_assert_str_ne(owner_of(1, shard), "node-1");
	fake_db_tell_to_drain(db, "node-1", false);
	advance_ms(50);
	ck_assert(!membership_told_to_drain(nodes[1].m));
	unsigned owned = 0;
	for (uint32_t shard = 0; shard < 64; shard++)
		owned += str_eq(owner_of(2, shard), "node-1");
	ck_assert_uint_gt(owned, 5);
}
END_TEST

START_TEST(the_only_node_keeps_its_shards_though_told_to_drain)
{
	node_up(0, MEMBER_HISTORY, 1);
	advance_ms(50);
	fake_db_tell_to_drain(db, "node-0", true);
	advance_ms(50);
	ck_assert(membership_told_to_drain(nodes[0].m));
	ck_assert(membership_owns_shard(nodes[0].m, 3));
	node_up(1, MEMBER_HISTORY, 2);
	advance_ms(100);
	ck_assert(!membership_owns_shard(nodes[0].m, 3));
}
END_TEST

START_TEST(decisions_that_nobody_announced_are_seen_with_the_next_renewal)
{
	three_history_nodes();
	struct node *to = another(5);
	for (int i = 0; i < 3; i++)
		fake_store_cut(nodes[i].store, true);
	fake_db_pin(db, 5, to->id);
	for (int i = 0; i < 3; i++)
		fake_store_cut(nodes[i].store, false);
	advance_ms(2500);
	assert_owner(5, to->id);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("operators");
	TCase *t = tcase_create("operators");
	tcase_add_checked_fixture(t, nodes_setup, nodes_teardown);
	tcase_add_test(t, a_pinned_shard_is_that_nodes_and_no_other_moves);
	tcase_add_test(t, a_shard_that_goes_from_pin_to_pin_was_with_the_first);
	tcase_add_test(t, a_pin_counts_while_its_node_lives_and_does_not_drain);
	tcase_add_test(t, a_pin_to_nobody_or_to_a_node_of_another_role_counts_for_nothing);
	tcase_add_test(t, a_node_told_to_drain_knows_and_others_take_its_work);
	tcase_add_test(t, the_only_node_keeps_its_shards_though_told_to_drain);
	tcase_add_test(t, decisions_that_nobody_announced_are_seen_with_the_next_renewal);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
