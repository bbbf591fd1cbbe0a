/*
 * The contract of closed runs: the move to their partition, their history, retention.
 */
#include "tests/store/world.h"

#define NS   "11111111-1111-4111-8111-111111111111"
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

static struct store_run_row run(bool open, int64_t applied_seq)
{
	return (struct store_run_row){.shard = 1,
				      .namespace_id = NS,
				      .workflow_id = "wid",
				      .run_id = "r1",
				      .start_seq = 1,
				      .applied_seq = applied_seq,
				      .open = open,
				      .wake_at_ns = open ? now + HOUR : INT64_MAX,
				      .status = open ? 1 : 2,
				      .start_time_ns = now,
				      .close_time_ns = open ? 0 : now + 5,
				      .retention_end_ns = open ? 0 : now + 24 * HOUR,
				      .snapshot = bytes_str(open ? "open" : "closed")};
}

static struct store_history_chunk chunk(int64_t first, int64_t last, struct bytes events)
{
	return (struct store_history_chunk){.namespace_id = NS,
					    .workflow_id = "wid",
					    .run_id = "r1",
					    .first_event_id = first,
					    .last_event_id = last,
					    .events = events};
}

static struct err fold(const struct store_run_row *row, const struct store_history_chunk *chunks, size_t count)
{
	const struct store_fold f = {
		.shard = 1, .epoch = epoch, .rows = row, .row_count = 1, .chunks = chunks, .chunk_count = count};
	return w_fold(w, a, &f);
}

static const struct store_run_id id = {.shard = 1, .namespace_id = NS, .workflow_id = "wid", .run_id = "r1"};

/* The run's events from first on, put together. */
static struct bytes events_from(int64_t first)
{
	struct buf all = {0};
	struct world_history h = w_history(w, a, &id, first, INT64_MAX);
	int64_t next = h.count ? h.chunks[0].first_event_id : first;
	ck_assert_int_le(next, first);
	for (size_t i = 0; i < h.count; i++) {
		ck_assert_int_eq(h.chunks[i].first_event_id, next);
		next = h.chunks[i].last_event_id + 1;
		buf_put_bytes(&all, h.chunks[i].events);
	}
	struct bytes copy = arena_copy(w->arena, buf_view(&all));
	buf_done(&all);
	return copy;
}

START_TEST(a_run_that_started_and_closed_in_one_fold)
{
	struct store_run_row row = run(false, 3);
	struct store_history_chunk c = chunk(1, 11, bytes_str("all of it"));
	assert_ok(fold(&row, &c, 1));
	const struct store_run_row *got = w_load(w, a, &id);
	ck_assert_ptr_nonnull(got);
	ck_assert(!got->open && !got->outbound);
	ck_assert_int_eq(got->status, 2);
	ck_assert_int_eq(got->applied_seq, 3);
	ck_assert_int_eq(got->start_time_ns, now);
	ck_assert_int_eq(got->close_time_ns, now + 5);
	ck_assert_int_eq(got->retention_end_ns, now + 24 * HOUR);
	ck_assert(got->wake_at_ns == INT64_MAX);
	assert_bytes(got->snapshot, "closed");
	assert_bytes(events_from(1), "all of it");
	/* The same fold again, as after an unknown outcome. */
	assert_ok(fold(&row, &c, 1));
	assert_bytes(events_from(1), "all of it");
}
END_TEST

START_TEST(an_open_run_that_closes_takes_its_history_along)
{
	struct store_run_row row = run(true, 3);
	struct store_history_chunk c1 = chunk(1, 5, bytes_str("1-5;")), c2 = chunk(6, 8, bytes_str("6-8;")),
				   c3 = chunk(9, 11, bytes_str("9-11"));
	assert_ok(fold(&row, &c1, 1));
	row.applied_seq = 4;
	assert_ok(fold(&row, &c2, 1));
	struct store_run_row closed = run(false, 5);
	assert_ok(fold(&closed, &c3, 1));
	const struct store_run_row *got = w_load(w, a, &id);
	ck_assert(!got->open);
	assert_bytes(got->snapshot, "closed");
	assert_bytes(events_from(1), "1-5;6-8;9-11");
	/* It waits for nothing any more. */
	struct store_due due = {.shard = 1, .until_ns = INT64_MAX - 1, .limit = 10};
	ck_assert_uint_eq(w_due(w, a, &due).count, 0);
}
END_TEST

/* A repeated fold may bring the first chunks again; what lies between is in the database alone. */
START_TEST(chunks_that_the_closing_fold_lacks_are_found)
{
	struct store_run_row row = run(true, 3);
	struct store_history_chunk c1 = chunk(1, 5, bytes_str("1-5;")), c2 = chunk(6, 8, bytes_str("6-8;"));
	assert_ok(fold(&row, &c1, 1));
	row.applied_seq = 4;
	assert_ok(fold(&row, &c2, 1));
	struct store_run_row closed = run(false, 5);
	struct store_history_chunk last[] = {c1, chunk(9, 11, bytes_str("9-11"))};
	assert_ok(fold(&closed, last, 2));
	assert_bytes(events_from(1), "1-5;6-8;9-11");
}
END_TEST

START_TEST(closed_without_retention_is_a_mistake)
{
	struct store_run_row row = run(false, 3);
	row.retention_end_ns = 0;
	assert_code(fold(&row, NULL, 0), ERR_INTERNAL);
	ck_assert_ptr_null(w_load(w, a, &id));
}
END_TEST

START_TEST(closed_with_something_to_send_stays_among_the_open)
{
	struct store_run_row row = run(false, 3);
	row.outbound = true;
	struct store_history_chunk c = chunk(1, 5, bytes_str("1-5;"));
	assert_ok(fold(&row, &c, 1));
	struct store_due due = {.shard = 1, .outbound = true, .limit = 10};
	struct world_rows rows = w_due(w, a, &due);
	ck_assert_uint_eq(rows.count, 1);
	ck_assert(!rows.rows[0].open);
	ck_assert_int_eq(rows.rows[0].retention_end_ns, now + 24 * HOUR);
	row.outbound = false;
	row.applied_seq = 4;
	assert_ok(fold(&row, NULL, 0));
	ck_assert_uint_eq(w_due(w, a, &due).count, 0);
	ck_assert(!w_load(w, a, &id)->open);
	assert_bytes(events_from(1), "1-5;");
}
END_TEST

START_TEST(a_long_history_stays_readable_by_range)
{
	enum { CHUNK = 100000, CHUNKS = 12 };
	struct buf all = {0};
	struct store_history_chunk chunks[CHUNKS];
	for (int i = 0; i < CHUNKS; i++) {
		uint8_t *text = arena_alloc(w->arena, CHUNK);
		for (int k = 0; k < CHUNK; k++)
			text[k] = (uint8_t)((k * 2654435761u + (unsigned)i) >> 13);
		chunks[i] = chunk(1 + i * 10, 10 + i * 10, bytes_of(text, CHUNK));
		buf_put(&all, text, CHUNK);
	}
	struct store_run_row row = run(true, 3), closed = run(false, 4);
	assert_ok(fold(&row, chunks, CHUNKS - 1));
	assert_ok(fold(&closed, &chunks[CHUNKS - 1], 1));
	ck_assert(bytes_eq(events_from(1), buf_view(&all)));
	struct world_history h = w_history(w, a, &id, 111, 120);
	ck_assert_uint_ge(h.count, 1);
	ck_assert_int_le(h.chunks[0].first_event_id, 111);
	ck_assert_int_ge(h.chunks[h.count - 1].last_event_id, 120);
	/* Whole chunks, but not the whole history. */
	ck_assert_int_gt(h.chunks[0].first_event_id, 1);
	buf_done(&all);
}
END_TEST

START_TEST(retention_ends_with_the_partition)
{
	struct store_run_row row = run(false, 3);
	struct store_history_chunk c = chunk(1, 11, bytes_str("all of it"));
	assert_ok(fold(&row, &c, 1));
	struct store_upkept done = w_maintain(w, a, now + 72 * HOUR);
	ck_assert_uint_eq(done.dropped, 0);
	ck_assert_int_ge(done.to_ns, now + 72 * HOUR);
	ck_assert_ptr_nonnull(w_load(w, a, &id));
	/* A run whose retention ended long ago is as good as deleted when it is folded late. */
	struct store_run_row late = run(false, 4);
	late.workflow_id = "late";
	late.retention_end_ns = now - 400 * 24 * HOUR;
	assert_ok(fold(&late, NULL, 0));
	w_maintain(w, a, now + 72 * HOUR);
	struct store_run_id late_id = id;
	late_id.workflow_id = "late";
	ck_assert_ptr_null(w_load(w, a, &late_id));
}
END_TEST

START_TEST(over_is_over_though_the_row_is_there)
{
	struct store_run_row kept = run(false, 3), over = run(false, 4);
	over.run_id = "r2";
	over.start_seq = 2;
	over.retention_end_ns = now;
	assert_ok(fold(&kept, NULL, 0));
	assert_ok(fold(&over, NULL, 0));
	struct store_run_id over_id = id, latest = id;
	over_id.run_id = "r2";
	latest.run_id = NULL;
	ck_assert_ptr_null(w_load(w, a, &over_id));
	ck_assert_str_eq(w_load(w, a, &latest)->run_id, "r1");
}
END_TEST

START_TEST(long_retentions_find_a_partition)
{
	static const int64_t days[] = {1, 3, 30, 365, 3650};
	for (size_t i = 0; i < array_len(days); i++) {
		struct store_run_row row = run(false, 3);
		row.run_id = arena_printf(w->arena, "r-%zu", i);
		row.retention_end_ns = now + days[i] * 24 * HOUR;
		assert_ok(fold(&row, NULL, 0));
		struct store_run_id one = id;
		one.run_id = row.run_id;
		ck_assert_int_eq(w_load(w, a, &one)->retention_end_ns, row.retention_end_ns);
	}
}
END_TEST

START_TEST(a_deleted_closed_run)
{
	struct store_run_row row = run(false, 3);
	struct store_history_chunk c = chunk(1, 11, bytes_str("all of it"));
	assert_ok(fold(&row, &c, 1));
	row.deleted = true;
	row.applied_seq = 4;
	assert_ok(fold(&row, NULL, 0));
	ck_assert_ptr_null(w_load(w, a, &id));
	ck_assert_uint_eq(w_history(w, a, &id, 1, 100).count, 0);
	/* Who deletes it need not know until when it would have been kept. */
	row.deleted = false;
	row.run_id = "r2";
	c.run_id = "r2";
	assert_ok(fold(&row, &c, 1));
	struct store_run_id second = id;
	second.run_id = "r2";
	ck_assert_ptr_nonnull(w_load(w, a, &second));
	row.deleted = true;
	row.retention_end_ns = 0;
	assert_ok(fold(&row, NULL, 0));
	ck_assert_ptr_null(w_load(w, a, &second));
	ck_assert_uint_eq(w_history(w, a, &second, 1, 100).count, 0);
}
END_TEST

TCase *contract_closed(void)
{
	TCase *t = tcase_create("closed");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_run_that_started_and_closed_in_one_fold);
	tcase_add_test(t, an_open_run_that_closes_takes_its_history_along);
	tcase_add_test(t, chunks_that_the_closing_fold_lacks_are_found);
	tcase_add_test(t, closed_without_retention_is_a_mistake);
	tcase_add_test(t, closed_with_something_to_send_stays_among_the_open);
	tcase_add_test(t, a_long_history_stays_readable_by_range);
	tcase_add_test(t, retention_ends_with_the_partition);
	tcase_add_test(t, over_is_over_though_the_row_is_there);
	tcase_add_test(t, long_retentions_find_a_partition);
	tcase_add_test(t, a_deleted_closed_run);
	return t;
}
