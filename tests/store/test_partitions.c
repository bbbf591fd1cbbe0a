/*
 * The partitions of closed runs as PostgreSQL has them: made ahead, dropped when they are over, few.
 */
#include "tests/store/world_pg.h"

#define NS   "11111111-1111-4111-8111-111111111111"
#define DAY  (24 * 3600 * NS_PER_S)
#define HOUR (3600 * NS_PER_S)
#define MOST 32

static struct world *w;
static struct store *a;
static int64_t epoch, now;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	epoch = w_own(w, a, 1);
	now = env_wall_ns(w->env);
}

static void teardown(void)
{
	world_stop(w);
}

static struct store_run_id fold_closed(const char *run_id, int64_t retention_end)
{
	const struct store_run_row row = {.shard = 1,
					  .namespace_id = NS,
					  .workflow_id = "wid",
					  .run_id = run_id,
					  .start_seq = 1,
					  .applied_seq = 1,
					  .status = 2,
					  .wake_at_ns = INT64_MAX,
					  .retention_end_ns = retention_end,
					  .snapshot = bytes_str("s")};
	const struct store_history_chunk chunk = {.namespace_id = NS,
						  .workflow_id = "wid",
						  .run_id = run_id,
						  .first_event_id = 1,
						  .last_event_id = 2,
						  .events = bytes_str("e")};
	const struct store_fold fold = {
		.shard = 1, .epoch = epoch, .rows = &row, .row_count = 1, .chunks = &chunk, .chunk_count = 1};
	assert_ok(w_fold(w, a, &fold));
	return (struct store_run_id){.shard = 1, .namespace_id = NS, .workflow_id = "wid", .run_id = run_id};
}

static int partitions(const char *parent)
{
	return atoi(world_pg_value(
		w,
		arena_printf(w->arena, "SELECT count(*) FROM pg_inherits WHERE inhparent = '%s'::regclass", parent)));
}

/* As a cluster that has run for days has them. */
static void make_old_ones(int days)
{
	world_pg_sql(w, arena_printf(w->arena, "SELECT closed_partitions_ensure(%lld, %lld)", (long long)now,
				     (long long)(now - days * DAY)));
}

START_TEST(expired_partitions_are_dropped_with_their_runs)
{
	make_old_ones(5);
	struct store_run_id old = fold_closed("old", now - 3 * DAY), kept = fold_closed("kept", now + DAY);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM closed_run"), "2");
	struct store_upkept done = w_maintain(w, a, now + 3 * DAY);
	ck_assert_uint_eq(done.dropped, 5);
	ck_assert(!done.busy && done.from_ns <= now && done.to_ns > now + 3 * DAY);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM closed_run"), "1");
	ck_assert_ptr_null(w_load(w, a, &old));
	ck_assert_ptr_nonnull(w_load(w, a, &kept));
	ck_assert_int_eq(partitions("closed_run"), 4); /* today and three days ahead */
	ck_assert_int_eq(partitions("closed_history"), 4);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM pg_class WHERE relname ~ '^closed_(run|history)_2' "
					   "AND relkind = 'r'"),
			 "8");
	/* One that comes later still is as good as deleted. */
	struct store_run_id late = fold_closed("late", now - 3 * DAY);
	ck_assert_ptr_null(w_load(w, a, &late));
}
END_TEST

START_TEST(another_nodes_drop_is_noticed_by_the_next_fold)
{
	make_old_ones(5);
	struct store_run_id old = fold_closed("old", now - 3 * DAY);
	struct store *b = w->ops->open(w);
	w_maintain(w, b, now + DAY);
	/* a still believes in the partition. */
	struct store_run_id late = fold_closed("late", now - 3 * DAY);
	ck_assert_ptr_null(w_load(w, a, &old));
	ck_assert_ptr_null(w_load(w, a, &late));
}
END_TEST

START_TEST(what_an_interrupted_upkeep_left_is_finished)
{
	make_old_ones(3);
	world_pg_sql(w, "DO $$ DECLARE s text := (SELECT suffix FROM closed_partition ORDER BY to_ns LIMIT 1); BEGIN "
			"EXECUTE 'ALTER TABLE closed_run DETACH PARTITION closed_run_' || s; "
			"EXECUTE 'DROP TABLE closed_history_' || s; END $$");
	w_maintain(w, a, now);
	ck_assert_int_eq(partitions("closed_run"), 1);
	ck_assert_int_eq(partitions("closed_history"), 1);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM closed_partition"), "1");
}
END_TEST

START_TEST(there_are_never_many)
{
	for (int days = 1; days <= 3000; days = days * 3 / 2 + 1)
		fold_closed(arena_printf(w->arena, "r%d", days), now + days * DAY);
	ck_assert_int_le(partitions("closed_run"), MOST);
	/* No day falls between two of them. */
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM (SELECT from_ns, lag(to_ns) OVER (ORDER BY from_ns) l "
					   "FROM closed_partition) x WHERE l <> from_ns"),
			 "0");
}
END_TEST

/* How wide the partition is that a run with this retention comes into. */
static int64_t width_at(int64_t end)
{
	return atoll(world_pg_value(
		w, arena_printf(w->arena,
				"SELECT to_ns - from_ns FROM closed_partition WHERE %lld BETWEEN from_ns AND"
				" to_ns - 1",
				(long long)end)));
}

START_TEST(a_far_end_does_not_widen_the_near_ones)
{
	fold_closed("far", now + 36500 * DAY);
	ck_assert_int_le(partitions("closed_run"), MOST);
	ck_assert_int_le(width_at(now + DAY), DAY);
	ck_assert_int_le(width_at(now + 3 * DAY), 3 * DAY);
	ck_assert_int_le(width_at(now + 30 * DAY), 30 * DAY);
}
END_TEST

START_TEST(short_retentions_have_narrow_ones)
{
	w_maintain(w, a, now + HOUR);
	ck_assert_int_eq(width_at(now), HOUR);
	ck_assert_int_le(partitions("closed_run"), 3);
	w_maintain(w, a, now + DAY);
	ck_assert_int_eq(width_at(now + DAY), 8 * HOUR);
	ck_assert_int_le(partitions("closed_run"), 7);
}
END_TEST

static void on_done(void *ctx, struct err e, const struct store_upkept *upkept)
{
	(void)upkept;
	assert_ok(e);
	++*(int *)ctx;
}

START_TEST(two_nodes_at_once)
{
	make_old_ones(4);
	struct store *b = w->ops->open(w);
	int done = 0;
	store_maintain_partitions(a, now + 5 * DAY, on_done, &done);
	store_maintain_partitions(b, now + 5 * DAY, on_done, &done);
	for (bool both = false; !both; both = done == 2)
		w->ops->turn(w);
	ck_assert_int_eq(partitions("closed_run"), 6);
}
END_TEST

TCase *postgres_partitions(void)
{
	TCase *t = tcase_create("partitions");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, expired_partitions_are_dropped_with_their_runs);
	tcase_add_test(t, another_nodes_drop_is_noticed_by_the_next_fold);
	tcase_add_test(t, what_an_interrupted_upkeep_left_is_finished);
	tcase_add_test(t, there_are_never_many);
	tcase_add_test(t, a_far_end_does_not_widen_the_near_ones);
	tcase_add_test(t, short_retentions_have_narrow_ones);
	tcase_add_test(t, two_nodes_at_once);
	return t;
}
