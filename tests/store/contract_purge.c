/*
 * The contract of rows in the order of their keys, and of what a deleted namespace has left: listed, purged in steps,
 * noted.
 */
#include "tests/store/world.h"

#define NS   "11111111-1111-4111-8111-111111111111"
#define KEPT "22222222-2222-4222-8222-222222222222"
#define HOUR (3600 * NS_PER_S)

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

static void put_seq(const char *namespace_id, const char *workflow_id, const char *run_id, bool open, int64_t start_seq)
{
	struct store_run_row row = {.shard = 1,
				    .namespace_id = namespace_id,
				    .workflow_id = workflow_id,
				    .run_id = run_id,
				    .start_seq = start_seq,
				    .applied_seq = 1,
				    .open = open,
				    .wake_at_ns = INT64_MAX,
				    .status = open ? 1 : 2,
				    .retention_end_ns = open ? 0 : now + 24 * HOUR,
				    .snapshot = bytes_str("s")};
	struct store_history_chunk chunk = {.namespace_id = namespace_id,
					    .workflow_id = workflow_id,
					    .run_id = run_id,
					    .first_event_id = 1,
					    .last_event_id = 2,
					    .events = bytes_str("e")};
	const struct store_fold fold = {
		.shard = 1, .epoch = epoch, .rows = &row, .row_count = 1, .chunks = &chunk, .chunk_count = 1};
	assert_ok(w_fold(w, a, &fold));
}

static void put(const char *namespace_id, const char *workflow_id, const char *run_id, bool open)
{
	put_seq(namespace_id, workflow_id, run_id, open, 1);
}

static const struct store_run_row *load(const char *namespace_id, const char *workflow_id, const char *run_id)
{
	struct store_run_id id = {
		.shard = 1, .namespace_id = namespace_id, .workflow_id = workflow_id, .run_id = run_id};
	return w_load(w, a, &id);
}

static size_t purge(size_t limit, size_t removed, bool done)
{
	const struct store_purge p = {
		.shard = 1, .epoch = epoch, .namespace_id = NS, .limit = limit, .removed = removed, .done = done};
	size_t gone;
	assert_ok(w_purge(w, a, &p, &gone));
	return gone;
}

START_TEST(all_rows_are_scanned_in_pages)
{
	put(NS, "b", "r2", true);
	put(NS, "a", "r1", true);
	put(KEPT, "b", "r1", true);
	put(KEPT, "a", "r9", true);
	struct store_scan s = {.shard = 1, .limit = 3};
	ck_assert_str_eq(w_scan(w, a, &s), " a/r1@1 b/r2@1 a/r9@1");
	s.after_namespace_id = KEPT;
	s.after_workflow_id = "a";
	s.after_run_id = "r9";
	ck_assert_str_eq(w_scan(w, a, &s), " b/r1@1");
	s.shard = 2;
	ck_assert_str_eq(w_scan(w, a, &s), "");
}
END_TEST

START_TEST(closed_rows_are_scanned_as_they_began)
{
	put_seq(NS, "a", "r1", false, 20);
	put_seq(NS, "a", "r2", false, 10);
	put_seq(NS, "a", "r3", true, 30);
	put_seq(NS, "b", "r1", false, 5);
	struct store_scan s = {.shard = 1, .closed = true, .limit = 2};
	ck_assert_str_eq(w_scan(w, a, &s), " a/r2@10 a/r1@20");
	s.after_namespace_id = NS;
	s.after_workflow_id = "a";
	s.after_start_seq = 20;
	s.after_run_id = "r1";
	ck_assert_str_eq(w_scan(w, a, &s), " b/r1@5");
}
END_TEST

START_TEST(ids_alone_are_scanned_the_same_way)
{
	put_seq(NS, "a", "r1", false, 20);
	put_seq(NS, "a", "r3", true, 30);
	put_seq(NS, "b", "r1", false, 5);
	put_seq(KEPT, "c", "r1", true, 7);
	struct store_scan s = {.shard = 1, .ids_only = true, .limit = 1};
	ck_assert_str_eq(w_scan(w, a, &s), " a/r3@0");
	s.after_namespace_id = NS;
	s.after_workflow_id = "a";
	s.after_run_id = "r3";
	ck_assert_str_eq(w_scan(w, a, &s), " c/r1@0");
	s = (struct store_scan){.shard = 1, .closed = true, .ids_only = true, .limit = 1};
	ck_assert_str_eq(w_scan(w, a, &s), " a/r1@20");
	s.after_namespace_id = NS;
	s.after_workflow_id = "a";
	s.after_start_seq = 20;
	s.after_run_id = "r1";
	ck_assert_str_eq(w_scan(w, a, &s), " b/r1@5");
}
END_TEST

START_TEST(a_shard_that_is_done_stays_so_unless_something_is_found)
{
	const struct store_namespace ns = {.id = NS, .name = "doomed", .info = bytes_str("")};
	assert_ok(w_namespace_put(w, a, &ns));
	purge(10, 0, true);
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 1);
	purge(10, 0, false);
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 1);
	put(NS, "a", "r1", false);
	ck_assert_uint_eq(purge(10, 0, false), 1);
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 0);
}
END_TEST

START_TEST(open_runs_are_listed_in_pages)
{
	put(NS, "b", "r2", true);
	put(NS, "a", "r1", true);
	put(NS, "b", "r1", true);
	put(NS, "c", "r1", false);
	put(KEPT, "a", "r9", true);
	struct store_listing l = {.shard = 1, .namespace_id = NS, .limit = 2};
	struct world_listed page = w_list(w, a, &l);
	ck_assert_uint_eq(page.count, 2);
	ck_assert_str_eq(page.ids[0].workflow_id, "a");
	ck_assert_str_eq(page.ids[1].workflow_id, "b");
	ck_assert_str_eq(page.ids[1].run_id, "r1");
	l.after_workflow_id = page.ids[1].workflow_id;
	l.after_run_id = page.ids[1].run_id;
	page = w_list(w, a, &l);
	ck_assert_uint_eq(page.count, 1);
	ck_assert_str_eq(page.ids[0].run_id, "r2");
	l = (struct store_listing){.shard = 2, .namespace_id = NS, .limit = 2};
	ck_assert_uint_eq(w_list(w, a, &l).count, 0);
}
END_TEST

START_TEST(closed_runs_go_in_steps)
{
	for (int i = 0; i < 25; i++)
		put(NS, arena_printf(w->arena, "w%02d", i), "r", false);
	put(NS, "open", "r", true);
	put(KEPT, "w00", "r", false);
	size_t gone = 0, steps = 0;
	for (size_t n; (n = purge(10, 0, false)) > 0; steps++)
		gone += n;
	ck_assert_uint_eq(gone, 25);
	ck_assert_uint_ge(steps, 3);
	ck_assert_ptr_null(load(NS, "w00", "r"));
	ck_assert_ptr_null(load(NS, "w24", NULL));
	ck_assert_ptr_nonnull(load(NS, "open", "r"));
	ck_assert_ptr_nonnull(load(KEPT, "w00", "r"));
	struct store_run_id id = {.shard = 1, .namespace_id = KEPT, .workflow_id = "w00", .run_id = "r"};
	ck_assert_uint_eq(w_history(w, a, &id, 1, 9).count, 1);
	id.namespace_id = NS;
	ck_assert_uint_eq(w_history(w, a, &id, 1, 9).count, 0);
}
END_TEST

START_TEST(a_long_history_goes_along)
{
	enum { LONG = 400000 };
	uint8_t *text = arena_alloc(w->arena, LONG);
	for (int i = 0; i < LONG; i++)
		text[i] = (uint8_t)((unsigned)i * 2654435761u >> 13);
	put(NS, "w", "r", true);
	struct store_run_row row = {.shard = 1,
				    .namespace_id = NS,
				    .workflow_id = "w",
				    .run_id = "r",
				    .start_seq = 1,
				    .applied_seq = 2,
				    .wake_at_ns = INT64_MAX,
				    .status = 2,
				    .retention_end_ns = now + HOUR,
				    .snapshot = bytes_str("s")};
	struct store_history_chunk chunk = {.namespace_id = NS,
					    .workflow_id = "w",
					    .run_id = "r",
					    .first_event_id = 3,
					    .last_event_id = 9,
					    .events = bytes_of(text, LONG)};
	const struct store_fold fold = {
		.shard = 1, .epoch = epoch, .rows = &row, .row_count = 1, .chunks = &chunk, .chunk_count = 1};
	assert_ok(w_fold(w, a, &fold));
	ck_assert_uint_eq(purge(10, 0, false), 1);
	struct store_run_id id = {.shard = 1, .namespace_id = NS, .workflow_id = "w", .run_id = "r"};
	ck_assert_uint_eq(w_history(w, a, &id, 1, 9).count, 0);
}
END_TEST

START_TEST(progress_is_noted_and_leaves_with_the_namespace)
{
	const struct store_namespace ns = {.id = NS, .name = "doomed", .info = bytes_str("")};
	assert_ok(w_namespace_put(w, a, &ns));
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 0);
	ck_assert_int_eq(w_progress(w, a, NS).updated_ns, 0);
	put(NS, "w", "r", false);
	purge(10, 3, false);
	ck_assert_int_eq(w_progress(w, a, NS).removed, 4);
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 0);
	purge(10, 1, true);
	ck_assert_int_eq(w_progress(w, a, NS).removed, 5);
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 1);
	ck_assert_int_ge(w_progress(w, a, NS).updated_ns, now);
	ck_assert_uint_eq(w_progress(w, a, KEPT).shards_done, 0);
	assert_ok(w_namespace_delete(w, a, NS, 1));
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 0);
}
END_TEST

START_TEST(only_the_owner_purges)
{
	put(NS, "w", "r", false);
	const struct store_purge p = {.shard = 1, .epoch = epoch - 1, .namespace_id = NS, .limit = 1, .done = true};
	size_t gone;
	struct err e = w_purge(w, a, &p, &gone);
	assert_code(e, ERR_ABORTED);
	ck_assert_int_eq(e.reason, ERR_REASON_FENCED);
	ck_assert_ptr_nonnull(load(NS, "w", "r"));
	ck_assert_uint_eq(w_progress(w, a, NS).shards_done, 0);
}
END_TEST

TCase *contract_purge(void)
{
	TCase *t = tcase_create("purge");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, all_rows_are_scanned_in_pages);
	tcase_add_test(t, closed_rows_are_scanned_as_they_began);
	tcase_add_test(t, ids_alone_are_scanned_the_same_way);
	tcase_add_test(t, a_shard_that_is_done_stays_so_unless_something_is_found);
	tcase_add_test(t, open_runs_are_listed_in_pages);
	tcase_add_test(t, closed_runs_go_in_steps);
	tcase_add_test(t, a_long_history_goes_along);
	tcase_add_test(t, progress_is_noted_and_leaves_with_the_namespace);
	tcase_add_test(t, only_the_owner_purges);
	return t;
}
