/*
 * The contract of claims, the fence, the group commit and the journal.
 */
#include "tests/store/world.h"

static struct world *w;
static struct store *a, *b;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	b = w->ops->open(w);
}

static void teardown(void)
{
	world_stop(w);
}

/* Node "b" takes a shard from "a" (incarnation 1), which never registered: nothing can renew it. */
static int64_t take_over(uint32_t shard)
{
	const struct store_claim claim = {.shard = shard,
					  .node_id = "b",
					  .incarnation = 1,
					  .expired_node_id = "a",
					  .expired_incarnation = 1,
					  .expired_renewals = 5};
	struct store_claimed claimed;
	assert_ok(w_claim(w, b, &claim, &claimed));
	return claimed.epoch;
}

static struct store_append append(uint32_t shard, int64_t epoch, int64_t seq, const char *text)
{
	return (struct store_append){.shard = shard, .epoch = epoch, .seq = seq, .record = bytes_str(text)};
}

static void on_reset(void *ctx)
{
	++*(int *)ctx;
}

START_TEST(all_shards_are_there_and_free)
{
	struct world_shards l = w_shards(w, a);
	assert_ok(l.e);
	ck_assert_uint_eq(l.count, WORLD_SHARDS);
	for (uint32_t i = 0; i < l.count; i++) {
		ck_assert_uint_eq(l.list[i].shard, i);
		ck_assert_int_eq(l.list[i].epoch, 0);
		ck_assert_ptr_null(l.list[i].owner_node_id);
	}
}
END_TEST

START_TEST(a_claim_raises_the_epoch_and_names_the_owner)
{
	const struct store_claim claim = {.shard = 5, .node_id = "a", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, a, &claim, &claimed));
	ck_assert_int_eq(claimed.epoch, 1);
	ck_assert_int_eq(claimed.last_seq, 0);
	ck_assert_int_eq(claimed.checkpoint_seq, 0);
	struct world_shards l = w_shards(w, b);
	ck_assert_str_eq(l.list[5].owner_node_id, "a");
	ck_assert_uint_eq(l.list[5].owner_incarnation, 1);
	ck_assert_int_eq(l.list[5].epoch, 1);
	/* Ours again: a newer epoch, which fences what an older connection may still be doing. */
	assert_ok(w_claim(w, a, &claim, &claimed));
	ck_assert_int_eq(claimed.epoch, 2);
}
END_TEST

START_TEST(a_shard_with_an_owner_is_not_free)
{
	w_own(w, a, 5);
	const struct store_claim claim = {.shard = 5, .node_id = "b", .incarnation = 1};
	struct store_claimed claimed;
	assert_code(w_claim(w, b, &claim, &claimed), ERR_ABORTED);
	/* Nor does an expired node's name open another's shard. */
	const struct store_claim wrong = {.shard = 5,
					  .node_id = "b",
					  .incarnation = 1,
					  .expired_node_id = "a",
					  .expired_incarnation = 2,
					  .expired_renewals = 0};
	assert_code(w_claim(w, b, &wrong, &claimed), ERR_ABORTED);
	/* Another start of the same node isn't the owner either. */
	const struct store_claim again = {.shard = 5, .node_id = "a", .incarnation = 2};
	assert_code(w_claim(w, a, &again, &claimed), ERR_ABORTED);
	w_append(w, a, 5, 1, 1, "x");
}
END_TEST

START_TEST(a_commit_of_several_shards_is_read_back_in_order)
{
	int64_t e1 = w_own(w, a, 1), e2 = w_own(w, a, 2);
	struct store_append first[] = {append(1, e1, 1, "one"), append(2, e2, 1, "eins")};
	assert_ok(w_commit(w, a, first, 2));
	ck_assert(!first[0].fenced && !first[1].fenced);
	w_append(w, a, 1, e1, 2, "two");
	w_append(w, a, 1, e1, 3, "");
	struct world_journal *j = w_journal(w, b, 1, 0);
	assert_ok(j->e);
	ck_assert_uint_eq(j->count, 3);
	assert_bytes(j->rows[0].record, "one");
	assert_bytes(j->rows[1].record, "two");
	ck_assert_uint_eq(j->rows[2].record.len, 0);
	ck_assert_int_eq(j->rows[2].seq, 3);
	ck_assert_int_eq(j->rows[2].epoch, e1);
	ck_assert_uint_eq(w_journal(w, b, 1, 2)->count, 1);
	ck_assert_uint_eq(w_journal(w, b, 2, 0)->count, 1);
	ck_assert_uint_eq(w_journal(w, b, 2, 1)->count, 0);
}
END_TEST

START_TEST(records_of_any_bytes_and_size)
{
	int64_t epoch = w_own(w, a, 1);
	uint8_t *big = malloc(3000000);
	for (size_t i = 0; i < 3000000; i++)
		big[i] = (uint8_t)(i * 7919 >> 3);
	struct store_append x = {.shard = 1, .epoch = epoch, .seq = 1, .record = bytes_of(big, 3000000)};
	assert_ok(w_commit(w, a, &x, 1));
	struct world_journal *j = w_journal(w, a, 1, 0);
	ck_assert_uint_eq(j->count, 1);
	ck_assert(bytes_eq(j->rows[0].record, bytes_of(big, 3000000)));
	free(big);
}
END_TEST

START_TEST(a_long_journal_is_read_whole)
{
	int64_t epoch = w_own(w, a, 1);
	for (int64_t seq = 1; seq <= 700; seq++)
		w_append(w, a, 1, epoch, seq, "r");
	struct world_journal *j = w_journal(w, b, 1, 100);
	assert_ok(j->e);
	ck_assert_uint_eq(j->count, 600);
	for (size_t i = 0; i < j->count; i++)
		ck_assert_int_eq(j->rows[i].seq, 101 + (int64_t)i);
}
END_TEST

START_TEST(a_gap_or_a_repetition_is_fenced)
{
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "one");
	struct store_append gap = append(1, epoch, 3, "three");
	assert_ok(w_commit(w, a, &gap, 1));
	ck_assert(gap.fenced);
	struct store_append again = append(1, epoch, 1, "another one");
	assert_ok(w_commit(w, a, &again, 1));
	ck_assert(again.fenced);
	struct world_journal *j = w_journal(w, a, 1, 0);
	ck_assert_uint_eq(j->count, 1);
	assert_bytes(j->rows[0].record, "one");
	w_append(w, a, 1, epoch, 2, "two");
}
END_TEST

START_TEST(a_lost_shard_is_fenced_and_the_others_commit)
{
	int64_t e1 = w_own(w, a, 1), e2 = w_own(w, a, 2);
	w_append(w, a, 1, e1, 1, "a's");
	assert_ok(w_release(w, a, 1, e1));
	const struct store_claim claim = {.shard = 1, .node_id = "b", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, b, &claim, &claimed));
	int64_t taken = claimed.epoch;
	ck_assert_int_gt(taken, e1);
	struct store_append batch[] = {append(1, e1, 2, "too late"), append(2, e2, 1, "fine")};
	assert_ok(w_commit(w, a, batch, 2));
	ck_assert(batch[0].fenced && !batch[1].fenced);
	w_append(w, b, 1, taken, 2, "b's");
	struct world_journal *j = w_journal(w, a, 1, 0);
	ck_assert_uint_eq(j->count, 2);
	assert_bytes(j->rows[1].record, "b's");
	ck_assert_int_eq(j->rows[1].epoch, taken);
}
END_TEST

START_TEST(a_take_over_ends_the_predecessors_connection)
{
	int resets = 0;
	store_on_writer_reset(a, on_reset, &resets);
	int64_t e1 = w_own(w, a, 1), e2 = w_own(w, a, 2);
	w_append(w, a, 1, e1, 1, "a's");
	int64_t taken = take_over(1);
	while (resets == 0)
		w->ops->turn(w);
	struct store_append batch[] = {append(1, e1, 2, "too late"), append(2, e2, 1, "not claimed again")};
	assert_ok(w_commit(w, a, batch, 2));
	ck_assert(batch[0].fenced && batch[1].fenced);
	w_append(w, b, 1, taken, 2, "b's");
	w_append(w, a, 2, w_own(w, a, 2), 1, "still a's");
}
END_TEST

START_TEST(a_claimer_sees_all_that_was_committed)
{
	int64_t epoch = w_own(w, a, 1);
	for (int64_t seq = 1; seq <= 4; seq++)
		w_append(w, a, 1, epoch, seq, "r");
	const struct store_claim claim = {
		.shard = 1, .node_id = "b", .incarnation = 1, .expired_node_id = "a", .expired_incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, b, &claim, &claimed));
	ck_assert_int_eq(claimed.epoch, epoch + 1);
	ck_assert_int_eq(claimed.last_seq, 4);
	w_append(w, b, 1, claimed.epoch, 5, "b's");
}
END_TEST

START_TEST(a_frozen_owner_that_holds_the_row_does_not_stop_a_claim)
{
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "r");
	w->ops->freeze_writer(w, a, 1);
	int64_t taken = take_over(1);
	ck_assert_int_eq(taken, epoch + 1);
	w_append(w, b, 1, taken, 2, "b's");
}
END_TEST

START_TEST(released_shards_are_free_and_closed_to_the_old_owner)
{
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "r");
	assert_code(w_release(w, a, 1, epoch + 1), ERR_ABORTED);
	assert_ok(w_release(w, a, 1, epoch));
	ck_assert_ptr_null(w_shards(w, a).list[1].owner_node_id);
	struct store_append late = append(1, epoch, 2, "late");
	assert_ok(w_commit(w, a, &late, 1));
	ck_assert(late.fenced);
	const struct store_claim claim = {.shard = 1, .node_id = "b", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, b, &claim, &claimed));
	ck_assert_int_gt(claimed.epoch, epoch);
	ck_assert_int_eq(claimed.last_seq, 1);
}
END_TEST

START_TEST(a_commit_whose_connection_died_is_of_unknown_outcome)
{
	bool applied = _i == 1;
	int resets = 0;
	store_on_writer_reset(a, on_reset, &resets);
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "one");
	ck_assert_int_eq(resets, 0);
	w->ops->next_commit_unknown(w, a, applied);
	struct store_append x = append(1, epoch, 2, "maybe");
	struct err e = w_commit(w, a, &x, 1);
	assert_code(e, ERR_UNAVAILABLE);
	ck_assert_int_eq(e.reason, ERR_REASON_OUTCOME_UNKNOWN);
	ck_assert_int_eq(resets, 1);
	/* The claim is gone with the connection, though no one else has claimed. */
	struct store_append y = append(1, epoch, applied ? 3 : 2, "unclaimed");
	assert_ok(w_commit(w, a, &y, 1));
	ck_assert(y.fenced);
	/* Claimed again, the tail says what happened. */
	const struct store_claim claim = {.shard = 1, .node_id = "a", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, a, &claim, &claimed));
	ck_assert_int_eq(claimed.last_seq, applied ? 2 : 1);
	ck_assert_uint_eq(w_journal(w, a, 1, 1)->count, applied ? 1 : 0);
	w_append(w, a, 1, claimed.epoch, claimed.last_seq + 1, "next");
	ck_assert_int_eq(resets, 1);
}
END_TEST

START_TEST(an_idle_writer_that_is_lost_says_so)
{
	int resets = 0;
	store_on_writer_reset(a, on_reset, &resets);
	int64_t epoch = w_own(w, a, 1);
	w->ops->lose_writer(w, a);
	while (resets == 0)
		w->ops->turn(w);
	ck_assert_int_eq(resets, 1);
	ck_assert_int_gt(w_own(w, a, 1), epoch);
}
END_TEST

TCase *contract_shards(void)
{
	TCase *t = tcase_create("shards");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_shards_are_there_and_free);
	tcase_add_test(t, a_claim_raises_the_epoch_and_names_the_owner);
	tcase_add_test(t, a_shard_with_an_owner_is_not_free);
	tcase_add_test(t, a_commit_of_several_shards_is_read_back_in_order);
	tcase_add_test(t, records_of_any_bytes_and_size);
	tcase_add_test(t, a_long_journal_is_read_whole);
	tcase_add_test(t, a_gap_or_a_repetition_is_fenced);
	tcase_add_test(t, a_lost_shard_is_fenced_and_the_others_commit);
	tcase_add_test(t, a_take_over_ends_the_predecessors_connection);
	tcase_add_test(t, a_claimer_sees_all_that_was_committed);
	tcase_add_test(t, a_frozen_owner_that_holds_the_row_does_not_stop_a_claim);
	tcase_add_test(t, released_shards_are_free_and_closed_to_the_old_owner);
	tcase_add_loop_test(t, a_commit_whose_connection_died_is_of_unknown_outcome, 0, 2);
	tcase_add_test(t, an_idle_writer_that_is_lost_says_so);
	return t;
}
