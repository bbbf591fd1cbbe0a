/*
 * The contract of open runs: folds, loads, history, what is due.
 */
#include "tests/store/world.h"

#define NS   "11111111-1111-4111-8111-111111111111"
#define HOUR (3600 * NS_PER_S)

static struct world *w;
static struct store *a, *b;
static int64_t epoch;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	b = w->ops->open(w);
	epoch = w_own(w, a, 1);
}

static void teardown(void)
{
	world_stop(w);
}

static struct store_run_row open_run(const char *workflow_id, const char *run_id, int64_t applied_seq,
				     const char *snapshot)
{
	return (struct store_run_row){.shard = 1,
				      .namespace_id = NS,
				      .workflow_id = workflow_id,
				      .run_id = run_id,
				      .start_seq = applied_seq,
				      .applied_seq = applied_seq,
				      .open = true,
				      .wake_at_ns = INT64_MAX,
				      .status = 1,
				      .start_time_ns = 1700000000 * NS_PER_S + 17,
				      .snapshot = bytes_str(snapshot)};
}

static struct store_history_chunk chunk(const char *workflow_id, const char *run_id, int64_t first, int64_t last,
					const char *events)
{
	return (struct store_history_chunk){.namespace_id = NS,
					    .workflow_id = workflow_id,
					    .run_id = run_id,
					    .first_event_id = first,
					    .last_event_id = last,
					    .events = bytes_str(events)};
}

static struct err fold(const struct store_run_row *rows, size_t row_count, const struct store_history_chunk *chunks,
		       size_t chunk_count, int64_t checkpoint)
{
	const struct store_fold f = {.shard = 1,
				     .epoch = epoch,
				     .rows = rows,
				     .row_count = row_count,
				     .chunks = chunks,
				     .chunk_count = chunk_count,
				     .checkpoint_seq = checkpoint};
	return w_fold(w, a, &f);
}

static struct store_run_id id_of(const char *workflow_id, const char *run_id)
{
	return (struct store_run_id){.shard = 1, .namespace_id = NS, .workflow_id = workflow_id, .run_id = run_id};
}

static const struct store_run_row *load(const char *workflow_id, const char *run_id)
{
	struct store_run_id id = id_of(workflow_id, run_id);
	return w_load(w, b, &id);
}

START_TEST(a_folded_run_is_loaded_as_it_was)
{
	struct store_run_row row = open_run("wid ü", "r1", 3, "state");
	row.wake_at_ns = 1800000000 * NS_PER_S + 5;
	row.outbound = true;
	row.start_seq = 2;
	assert_ok(fold(&row, 1, NULL, 0, 0));
	const struct store_run_row *got = load("wid ü", "r1");
	ck_assert_ptr_nonnull(got);
	ck_assert_uint_eq(got->shard, 1);
	ck_assert_str_eq(got->namespace_id, NS);
	ck_assert_str_eq(got->workflow_id, "wid ü");
	ck_assert_str_eq(got->run_id, "r1");
	ck_assert_int_eq(got->start_seq, 2);
	ck_assert_int_eq(got->applied_seq, 3);
	ck_assert(got->open && got->outbound);
	ck_assert_int_eq(got->wake_at_ns, row.wake_at_ns);
	ck_assert_int_eq(got->status, 1);
	ck_assert_int_eq(got->start_time_ns, row.start_time_ns);
	assert_bytes(got->snapshot, "state");
}
END_TEST

START_TEST(what_does_not_exist_is_null)
{
	ck_assert_ptr_null(load("nobody", NULL));
	ck_assert_ptr_null(load("nobody", "r1"));
	struct store_run_row row = open_run("wid", "r1", 3, "state");
	assert_ok(fold(&row, 1, NULL, 0, 0));
	ck_assert_ptr_null(load("wid", "r2"));
	struct store_run_id other_shard = {.shard = 2, .namespace_id = NS, .workflow_id = "wid", .run_id = ""};
	ck_assert_ptr_null(w_load(w, b, &other_shard));
	struct store_run_id other_ns = {.shard = 1, .namespace_id = "x", .workflow_id = "wid", .run_id = ""};
	ck_assert_ptr_null(w_load(w, b, &other_ns));
}
END_TEST

START_TEST(without_run_id_the_open_run_then_the_latest)
{
	int64_t ends = env_wall_ns(w->env) + 24 * HOUR;
	struct store_run_row rows[3] = {open_run("wid", "r1", 1, "first"), open_run("wid", "r2", 2, "second"),
					open_run("wid", "r3", 3, "third")};
	rows[0].open = rows[1].open = rows[2].open = false;
	rows[0].retention_end_ns = rows[2].retention_end_ns = ends;
	rows[1].retention_end_ns = ends + 48 * HOUR;
	assert_ok(fold(rows, 2, NULL, 0, 0));
	ck_assert_str_eq(load("wid", NULL)->run_id, "r2");
	assert_ok(fold(rows + 2, 1, NULL, 0, 0));
	ck_assert_str_eq(load("wid", "")->run_id, "r3");
	ck_assert_str_eq(load("wid", "r1")->run_id, "r1");
	struct store_run_row open = open_run("wid", "r0", 0, "open");
	assert_ok(fold(&open, 1, NULL, 0, 0));
	ck_assert_str_eq(load("wid", NULL)->run_id, "r0");
	ck_assert(load("wid", NULL)->open);
	ck_assert_str_eq(load("wid", "r3")->run_id, "r3");
}
END_TEST

START_TEST(the_latest_of_those_before)
{
	int64_t ends = env_wall_ns(w->env) + 24 * HOUR;
	struct store_run_row rows[3] = {open_run("wid", "r1", 1, "first"), open_run("wid", "r2", 2, "second"),
					open_run("wid", "r3", 3, "third")};
	for (int i = 0; i < 3; i++) {
		rows[i].start_seq = 10 * (i + 1);
		rows[i].open = i == 2;
		rows[i].retention_end_ns = i == 2 ? 0 : ends;
	}
	assert_ok(fold(rows, 3, NULL, 0, 0));
	struct store_run_id before = {.shard = 1, .namespace_id = NS, .workflow_id = "wid", .before_start_seq = 31};
	ck_assert_str_eq(w_load(w, b, &before)->run_id, "r3");
	before.before_start_seq = 30;
	ck_assert_str_eq(w_load(w, b, &before)->run_id, "r2");
	before.before_start_seq = 20;
	ck_assert_str_eq(w_load(w, b, &before)->run_id, "r1");
	before.before_start_seq = 10;
	ck_assert_ptr_null(w_load(w, b, &before));
	/* Open or not doesn't count then. */
	struct store_run_row older = open_run("wid", "r0", 4, "older");
	older.start_seq = 5;
	assert_ok(fold(&older, 1, NULL, 0, 0));
	before.before_start_seq = 30;
	ck_assert_str_eq(w_load(w, b, &before)->run_id, "r2");
	before.before_start_seq = INT64_MAX;
	ck_assert_str_eq(w_load(w, b, &before)->run_id, "r3");
}
END_TEST

struct many {
	size_t done, found;
};

static void on_one_of_many(void *ctx, struct err e, const struct store_run_row *row)
{
	struct many *m = ctx;
	assert_ok(e);
	m->done++;
	m->found += row && str_eq(row->run_id, "r1");
}

START_TEST(many_loads_of_one_turn)
{
	struct store_run_row rows[50];
	for (size_t i = 0; i < array_len(rows); i++)
		rows[i] = open_run(arena_printf(w->arena, "wid-%zu", i), "r1", 1, "s");
	assert_ok(fold(rows, array_len(rows), NULL, 0, 0));
	struct many m = {0};
	struct store_run_id ids[1200];
	for (size_t i = 0; i < array_len(ids); i++) {
		ids[i] = id_of(arena_printf(w->arena, "wid-%zu", i % 100), i % 3 ? NULL : "r1");
		store_load_run(b, &ids[i], on_one_of_many, &m);
	}
	ck_assert_uint_eq(m.done, 0);
	for (bool all = false; !all; all = m.done == array_len(ids))
		w->ops->turn(w);
	ck_assert_uint_eq(m.found, array_len(ids) / 2);
}
END_TEST

START_TEST(a_fold_never_lowers)
{
	struct store_run_row newer = open_run("wid", "r1", 9, "newer"), older = open_run("wid", "r1", 8, "older");
	struct store_history_chunk longer = chunk("wid", "r1", 1, 5, "1-5"), shorter = chunk("wid", "r1", 1, 3, "1-3");
	assert_ok(fold(&newer, 1, &longer, 1, 0));
	assert_ok(fold(&older, 1, &shorter, 1, 0));
	const struct store_run_row *got = load("wid", "r1");
	ck_assert_int_eq(got->applied_seq, 9);
	assert_bytes(got->snapshot, "newer");
	struct store_run_id id = id_of("wid", "r1");
	assert_bytes(w_history(w, b, &id, 1, 100).chunks[0].events, "1-5");
	/* The same again is harmless, and newer replaces. */
	assert_ok(fold(&newer, 1, &longer, 1, 0));
	struct store_run_row newest = open_run("wid", "r1", 10, "newest");
	assert_ok(fold(&newest, 1, NULL, 0, 0));
	assert_bytes(load("wid", "r1")->snapshot, "newest");
}
END_TEST

START_TEST(a_fold_moves_the_checkpoint_and_deletes_the_journal_behind_it)
{
	for (int64_t seq = 1; seq <= 5; seq++)
		w_append(w, a, 1, epoch, seq, "r");
	assert_ok(fold(NULL, 0, NULL, 0, 3));
	struct world_journal *j = w_journal(w, b, 1, 0);
	ck_assert_uint_eq(j->count, 2);
	ck_assert_int_eq(j->rows[0].seq, 4);
	ck_assert_uint_eq(w->ops->journal_rows(w, 1), 2);
	/* Never back, never past what is there. */
	assert_ok(fold(NULL, 0, NULL, 0, 2));
	assert_ok(fold(NULL, 0, NULL, 0, 6));
	ck_assert_uint_eq(w->ops->journal_rows(w, 1), 2);
	/* All of it: the tail is remembered by the checkpoint alone. */
	assert_ok(fold(NULL, 0, NULL, 0, 5));
	ck_assert_uint_eq(w->ops->journal_rows(w, 1), 0);
	w_append(w, a, 1, epoch, 6, "r");
	assert_ok(fold(NULL, 0, NULL, 0, 6));
	const struct store_claim claim = {.shard = 1, .node_id = "a", .incarnation = 1};
	struct store_claimed claimed;
	assert_ok(w_claim(w, a, &claim, &claimed));
	ck_assert_int_eq(claimed.last_seq, 6);
	ck_assert_int_eq(claimed.checkpoint_seq, 6);
	struct store_append gap = {.shard = 1, .epoch = claimed.epoch, .seq = 8, .record = bytes_str("gap")};
	assert_ok(w_commit(w, a, &gap, 1));
	ck_assert(gap.fenced);
}
END_TEST

START_TEST(a_fold_of_a_lost_shard_writes_nothing)
{
	w_append(w, a, 1, epoch, 1, "r");
	struct store_run_row row = open_run("wid", "r1", 1, "state");
	struct store_history_chunk c = chunk("wid", "r1", 1, 3, "1-3");
	epoch--;
	struct err e = fold(&row, 1, &c, 1, 1);
	assert_code(e, ERR_ABORTED);
	ck_assert_int_eq(e.reason, ERR_REASON_FENCED);
	ck_assert_ptr_null(load("wid", "r1"));
	ck_assert_uint_eq(w->ops->journal_rows(w, 1), 1);
	/* The folder's connection is none the worse. */
	epoch++;
	assert_ok(fold(&row, 1, &c, 1, 1));
}
END_TEST

START_TEST(history_by_range)
{
	struct store_run_row row = open_run("wid", "r1", 1, "state"), other = open_run("wid", "r2", 1, "state");
	struct store_history_chunk chunks[] = {chunk("wid", "r1", 1, 5, "1-5"), chunk("wid", "r2", 1, 9, "other"),
					       chunk("wid", "r1", 6, 8, "6-8")};
	struct store_run_row rows[] = {row, other};
	assert_ok(fold(rows, 2, chunks, 3, 0));
	struct store_history_chunk more = chunk("wid", "r1", 9, 12, "9-12");
	row.applied_seq = 2;
	assert_ok(fold(&row, 1, &more, 1, 0));
	struct store_run_id id = id_of("wid", "r1");
	struct world_history h = w_history(w, b, &id, 1, INT64_MAX);
	ck_assert_uint_eq(h.count, 3);
	ck_assert_int_eq(h.chunks[0].first_event_id, 1);
	ck_assert_int_eq(h.chunks[0].last_event_id, 5);
	assert_bytes(h.chunks[0].events, "1-5");
	assert_bytes(h.chunks[2].events, "9-12");
	h = w_history(w, b, &id, 7, 8);
	ck_assert_uint_eq(h.count, 1);
	assert_bytes(h.chunks[0].events, "6-8");
	h = w_history(w, b, &id, 5, 6);
	ck_assert_uint_eq(h.count, 2);
	ck_assert_uint_eq(w_history(w, b, &id, 13, 20).count, 0);
	struct store_run_id nobody = id_of("wid", "r9");
	ck_assert_uint_eq(w_history(w, b, &nobody, 1, 20).count, 0);
}
END_TEST

START_TEST(what_is_due_comes_in_pages)
{
	struct store_run_row rows[7];
	for (size_t i = 0; i < array_len(rows); i++)
		rows[i] = open_run(arena_printf(w->arena, "wid-%zu", i), arena_printf(w->arena, "r%zu", i), 1, "s");
	rows[0].wake_at_ns = 500;
	rows[1].wake_at_ns = 100;
	rows[2].wake_at_ns = 300;
	rows[3].wake_at_ns = 300;
	rows[4].wake_at_ns = INT64_MAX;
	rows[5].wake_at_ns = 901;
	rows[6].wake_at_ns = INT64_MAX;
	rows[6].outbound = true;
	assert_ok(fold(rows, array_len(rows), NULL, 0, 0));
	struct store_due due = {.shard = 1, .until_ns = 900, .limit = 2};
	struct world_rows page = w_due(w, b, &due);
	ck_assert_uint_eq(page.count, 2);
	ck_assert_str_eq(page.rows[0].run_id, "r1");
	ck_assert_str_eq(page.rows[1].run_id, "r2");
	assert_bytes(page.rows[0].snapshot, "s");
	due.after_wake_ns = page.rows[1].wake_at_ns;
	due.after_run_id = page.rows[1].run_id;
	due.limit = 10;
	page = w_due(w, b, &due);
	ck_assert_uint_eq(page.count, 2);
	ck_assert_str_eq(page.rows[0].run_id, "r3");
	ck_assert_str_eq(page.rows[1].run_id, "r0");
	due = (struct store_due){.shard = 1, .outbound = true, .limit = 10};
	page = w_due(w, b, &due);
	ck_assert_uint_eq(page.count, 1);
	ck_assert_str_eq(page.rows[0].run_id, "r6");
	due.after_wake_ns = page.rows[0].wake_at_ns;
	due.after_run_id = page.rows[0].run_id;
	ck_assert_uint_eq(w_due(w, b, &due).count, 0);
	due = (struct store_due){.shard = 2, .until_ns = 900, .limit = 10};
	ck_assert_uint_eq(w_due(w, b, &due).count, 0);
}
END_TEST

struct pages {
	size_t done;
	size_t rows[WORLD_SHARDS];
};

struct page {
	struct pages *pages;
	size_t index;
};

static void on_page(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct page *p = ctx;
	assert_ok(e);
	for (size_t i = 0; i < count; i++)
		ck_assert_uint_eq(rows[i].shard, p->index);
	p->pages->rows[p->index] = count;
	p->pages->done++;
}

START_TEST(what_is_due_of_all_shards_in_one_turn)
{
	struct store_run_row rows[3];
	for (size_t i = 0; i < array_len(rows); i++) {
		rows[i] = open_run("wid", arena_printf(w->arena, "r%zu", i), 1, "s");
		rows[i].wake_at_ns = 100;
		rows[i].outbound = i == 0;
	}
	assert_ok(fold(rows, 3, NULL, 0, 0));
	struct pages wake = {0}, outbound = {0};
	struct page pages[2 * WORLD_SHARDS];
	for (uint32_t i = 0; i < 2 * WORLD_SHARDS; i++) {
		bool out = i >= WORLD_SHARDS;
		pages[i] = (struct page){out ? &outbound : &wake, i % WORLD_SHARDS};
		struct store_due due = {.shard = i % WORLD_SHARDS, .until_ns = 200, .outbound = out, .limit = 2};
		store_load_due(b, &due, on_page, &pages[i]);
	}
	while (wake.done + outbound.done < 2 * WORLD_SHARDS)
		w->ops->turn(w);
	for (size_t i = 0; i < WORLD_SHARDS; i++) {
		ck_assert_uint_eq(wake.rows[i], i == 1 ? 2 : 0);
		ck_assert_uint_eq(outbound.rows[i], i == 1 ? 1 : 0);
	}
}
END_TEST

START_TEST(a_deleted_run_is_gone_with_its_history)
{
	struct store_run_row row = open_run("wid", "r1", 1, "state");
	struct store_history_chunk c = chunk("wid", "r1", 1, 5, "1-5");
	assert_ok(fold(&row, 1, &c, 1, 0));
	row.applied_seq = 2;
	row.deleted = true;
	assert_ok(fold(&row, 1, NULL, 0, 0));
	ck_assert_ptr_null(load("wid", "r1"));
	struct store_run_id id = id_of("wid", "r1");
	ck_assert_uint_eq(w_history(w, b, &id, 1, 20).count, 0);
}
END_TEST

TCase *contract_runs(void)
{
	TCase *t = tcase_create("runs");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_folded_run_is_loaded_as_it_was);
	tcase_add_test(t, what_does_not_exist_is_null);
	tcase_add_test(t, without_run_id_the_open_run_then_the_latest);
	tcase_add_test(t, the_latest_of_those_before);
	tcase_add_test(t, many_loads_of_one_turn);
	tcase_add_test(t, a_fold_never_lowers);
	tcase_add_test(t, a_fold_moves_the_checkpoint_and_deletes_the_journal_behind_it);
	tcase_add_test(t, a_fold_of_a_lost_shard_writes_nothing);
	tcase_add_test(t, history_by_range);
	tcase_add_test(t, what_is_due_comes_in_pages);
	tcase_add_test(t, what_is_due_of_all_shards_in_one_turn);
	tcase_add_test(t, a_deleted_run_is_gone_with_its_history);
	return t;
}
