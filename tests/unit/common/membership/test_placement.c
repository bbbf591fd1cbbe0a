/* Placement: values that are stored data for ever, spread, and how little moves when a node comes or goes. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/membership/placement.h"

START_TEST(hashes_never_change)
{
	ck_assert_uint_eq(placement_hash(bytes_str("")), 0xefd01f60ba992926);
	ck_assert_uint_eq(placement_hash(bytes_str("a")), 0x82a2a958a9bece5b);
	ck_assert_uint_eq(placement_hash(bytes_str("history-0")), 0xb62cf113e6e672d6);
	ck_assert_uint_eq(placement_hash2(bytes_str("ns"), bytes_str("workflow")), 0x6a5d998c00c95b50);
	ck_assert_uint_eq(shard_of("32049b68-7872-4094-8e63-d0dd59896a83", "order-1", 512), 181);
	ck_assert_uint_eq(placement_weight(1, 2), 0x8d4f874c404dde5c);
}
END_TEST

START_TEST(the_two_parts_of_a_key_stay_apart)
{
	ck_assert_uint_ne(placement_hash2(bytes_str("ab"), bytes_str("c")),
			  placement_hash2(bytes_str("a"), bytes_str("bc")));
	/* It is the hash of both with a NUL between. */
	ck_assert_uint_eq(placement_hash2(bytes_str("ab"), bytes_str("c")), placement_hash(bytes_of("ab\0c", 4)));
}
END_TEST

START_TEST(similar_workflow_ids_spread_over_the_shards)
{
	unsigned counts[64] = {0};
	for (int i = 0; i < 64000; i++) {
		char id[32];
		snprintf(id, sizeof id, "order-%d", i);
		counts[shard_of("namespace", id, 64)]++;
	}
	/* 1000 each; five standard deviations. */
	for (int i = 0; i < 64; i++) {
		ck_assert_uint_gt(counts[i], 840);
		ck_assert_uint_lt(counts[i], 1160);
	}
}
END_TEST

static unsigned owner(const uint64_t *nodes, unsigned count, uint64_t key)
{
	unsigned best = 0;
	for (unsigned i = 1; i < count; i++) {
		if (placement_weight(nodes[i], key) > placement_weight(nodes[best], key))
			best = i;
	}
	return best;
}

START_TEST(a_new_node_takes_its_share_and_nothing_else_moves)
{
	uint64_t nodes[6];
	for (unsigned i = 0; i < 6; i++) {
		char id[16];
		snprintf(id, sizeof id, "history-%u", i);
		nodes[i] = placement_hash(bytes_str(id));
	}
	unsigned moved = 0;
	for (uint32_t key = 0; key < 6000; key++) {
		uint64_t h = placement_hash(bytes_of(&key, sizeof key));
		unsigned before = owner(nodes, 5, h), after = owner(nodes, 6, h);
		ck_assert(after == before || after == 5);
		moved += after == 5;
	}
	ck_assert_uint_gt(moved, 850);
	ck_assert_uint_lt(moved, 1150);
}
END_TEST

START_TEST(queues_are_keys_of_their_own)
{
	uint64_t base = placement_queue("ns", "orders", 1, false);
	ck_assert_uint_eq(base, placement_queue("ns", "orders", 1, false));
	ck_assert_uint_ne(base, placement_queue("ns", "orders", 2, false));
	ck_assert_uint_ne(base, placement_queue("ns", "orders", 1, true));
	ck_assert_uint_ne(base, placement_queue("ns2", "orders", 1, false));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("membership/placement");
	TCase *t = tcase_create("placement");
	tcase_add_test(t, hashes_never_change);
	tcase_add_test(t, the_two_parts_of_a_key_stay_apart);
	tcase_add_test(t, similar_workflow_ids_spread_over_the_shards);
	tcase_add_test(t, a_new_node_takes_its_share_and_nothing_else_moves);
	tcase_add_test(t, queues_are_keys_of_their_own);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
