/*
 * The contract of the backlog: written and removed by folds, read in order, summed up.
 */
#include "tests/store/world.h"

#define NS "11111111-1111-4111-8111-111111111111"

static struct world *w;
static struct store *a;
static int64_t epoch;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	epoch = w_own(w, a, 1);
}

static void teardown(void)
{
	world_stop(w);
}

static struct store_task task(const char *queue, int32_t priority, int64_t scheduled_ns, const char *run_id)
{
	return (struct store_task){.shard = 1,
				   .namespace_id = NS,
				   .queue = queue,
				   .kind = 1,
				   .priority = priority,
				   .scheduled_ns = scheduled_ns,
				   .run_id = run_id,
				   .event_id = 2,
				   .stamp = 7,
				   .workflow_id = "w",
				   .attempt = 3,
				   .expires_ns = 99,
				   .fairness_key = "f",
				   .fairness_weight = 1500};
}

static struct err fold(const struct store_task *put, size_t count, const struct store_task *gone, size_t gone_count)
{
	const struct store_fold f = {.shard = 1,
				     .epoch = epoch,
				     .tasks = put,
				     .task_count = count,
				     .tasks_gone = gone,
				     .task_gone_count = gone_count};
	return w_fold(w, a, &f);
}

/* ------------------------------------------------------------------ reads that wait */

struct got {
	bool done;
	struct err e;
	struct store_task tasks[16];
	struct store_task_sum sums[16];
	size_t count;
};

static void on_tasks(void *ctx, struct err e, const struct store_task *tasks, size_t count)
{
	struct got *g = ctx;
	g->done = true;
	g->e = e;
	g->count = count;
	for (size_t i = 0; i < count; i++) {
		g->tasks[i] = tasks[i];
		g->tasks[i].run_id = arena_strdup(w->arena, tasks[i].run_id);
		g->tasks[i].workflow_id = arena_strdup(w->arena, tasks[i].workflow_id);
		g->tasks[i].fairness_key = arena_strdup(w->arena, tasks[i].fairness_key);
	}
}

static struct got page(const char *queue, const struct store_task *from, size_t limit)
{
	struct got g = {0};
	struct store_tasks p = {.from = {.shard = 1, .namespace_id = NS, .queue = queue, .kind = 1}, .limit = limit};
	if (from)
		p.from = *from;
	store_load_tasks(a, &p, on_tasks, &g);
	world_wait(w, &g.done);
	assert_ok(g.e);
	return g;
}

static void on_sums(void *ctx, struct err e, const struct store_task_sum *sums, size_t count)
{
	struct got *g = ctx;
	g->done = true;
	g->e = e;
	g->count = count;
	for (size_t i = 0; i < count; i++) {
		g->sums[i] = sums[i];
		g->sums[i].queue = arena_strdup(w->arena, sums[i].queue);
	}
}

static struct got sums(uint32_t shard)
{
	struct got g = {0};
	store_sum_tasks(a, shard, on_sums, &g);
	world_wait(w, &g.done);
	assert_ok(g.e);
	return g;
}

/* ------------------------------------------------------------------ tests */

START_TEST(tasks_come_in_order_and_in_pages)
{
	const struct store_task put[] = {task("q", 3, 20, "r1"), task("q", 3, 10, "r2"), task("q", 1, 90, "r3"),
					 task("q", 3, 10, "r0"), task("other", 1, 1, "r4")};
	assert_ok(fold(put, 5, NULL, 0));
	struct got g = page("q", NULL, 10);
	ck_assert_uint_eq(g.count, 4);
	const char *order[] = {"r3", "r0", "r2", "r1"};
	for (size_t i = 0; i < 4; i++)
		ck_assert_str_eq(g.tasks[i].run_id, order[i]);
	const struct store_task *t = &g.tasks[0];
	ck_assert_str_eq(t->workflow_id, "w");
	ck_assert_str_eq(t->fairness_key, "f");
	ck_assert(t->priority == 1 && t->scheduled_ns == 90 && t->event_id == 2 && t->stamp == 7);
	ck_assert(t->attempt == 3 && t->expires_ns == 99 && t->fairness_weight == 1500);
	struct got first = page("q", NULL, 2);
	ck_assert_uint_eq(first.count, 2);
	const struct store_task from = put[3]; /* r0, itself included */
	struct got rest = page("q", &from, 10);
	ck_assert_uint_eq(rest.count, 3);
	ck_assert_str_eq(rest.tasks[0].run_id, "r0");
	ck_assert_uint_eq(page("none", NULL, 10).count, 0);
}
END_TEST

START_TEST(the_same_again_changes_nothing)
{
	const struct store_task t = task("q", 3, 10, "r1"), other = task("q", 3, 11, "r1");
	assert_ok(fold(&t, 1, NULL, 0));
	assert_ok(fold(&t, 1, NULL, 0));
	ck_assert_uint_eq(page("q", NULL, 10).count, 1);
	assert_ok(fold(NULL, 0, &other, 1)); /* isn't there */
	assert_ok(fold(NULL, 0, &t, 1));
	assert_ok(fold(NULL, 0, &t, 1));
	ck_assert_uint_eq(page("q", NULL, 10).count, 0);
}
END_TEST

START_TEST(sums_are_by_queue_and_priority)
{
	const struct store_task put[] = {task("q", 3, 20, "r1"), task("q", 3, 10, "r2"), task("q", 1, 90, "r3"),
					 task("other", 1, 1, "r4")};
	assert_ok(fold(put, 4, NULL, 0));
	struct got g = sums(1);
	ck_assert_uint_eq(g.count, 3);
	bool seen = false;
	for (size_t i = 0; i < g.count; i++) {
		if (strcmp(g.sums[i].queue, "q") != 0 || g.sums[i].priority != 3)
			continue;
		seen = true;
		ck_assert_int_eq(g.sums[i].count, 2);
		ck_assert_int_eq(g.sums[i].oldest_ns, 10);
	}
	ck_assert(seen);
	ck_assert_uint_eq(sums(2).count, 0);
}
END_TEST

START_TEST(a_fenced_fold_writes_none)
{
	const struct store_task t = task("q", 3, 10, "r1");
	epoch--;
	assert_code(fold(&t, 1, NULL, 0), ERR_ABORTED);
	ck_assert_uint_eq(page("q", NULL, 10).count, 0);
}
END_TEST

/* What is listed as of its applied_seq needn't be in memory; what a later fold says nothing of must. */
START_TEST(listed_runs_are_not_outbound)
{
	struct store_run_row row = {.shard = 1,
				    .namespace_id = NS,
				    .workflow_id = "w",
				    .run_id = "r",
				    .start_seq = 1,
				    .applied_seq = 5,
				    .open = true,
				    .outbound = true,
				    .listed = true,
				    .status = 1,
				    .wake_at_ns = INT64_MAX,
				    .snapshot = bytes_str("s")};
	const struct store_fold f = {.shard = 1, .epoch = epoch, .rows = &row, .row_count = 1};
	const struct store_due due = {.shard = 1, .outbound = true, .limit = 10};
	assert_ok(w_fold(w, a, &f));
	ck_assert_uint_eq(w_due(w, a, &due).count, 0);
	row.applied_seq = 6;
	row.listed = false;
	assert_ok(w_fold(w, a, &f));
	ck_assert_uint_eq(w_due(w, a, &due).count, 1);
}
END_TEST

TCase *contract_tasks(void)
{
	TCase *tc = tcase_create("tasks");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, tasks_come_in_order_and_in_pages);
	tcase_add_test(tc, the_same_again_changes_nothing);
	tcase_add_test(tc, sums_are_by_queue_and_priority);
	tcase_add_test(tc, a_fenced_fold_writes_none);
	tcase_add_test(tc, listed_runs_are_not_outbound);
	return tc;
}
