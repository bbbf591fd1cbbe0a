/*
 * The store in memory: the backlog. The rules are those of pg_tasks.c.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

static int by_int(int64_t x, int64_t y)
{
	return (x > y) - (x < y);
}

static int by_queue(const struct store_task *a, const struct store_task *b)
{
	int order = by_int(a->shard, b->shard);
	if (!order)
		order = strcmp(a->namespace_id, b->namespace_id);
	if (!order)
		order = strcmp(a->queue, b->queue);
	return order ? order : by_int(a->kind, b->kind);
}

static int by_key(const struct store_task *a, const struct store_task *b)
{
	int order = by_queue(a, b);
	if (!order)
		order = by_int(a->priority, b->priority);
	if (!order)
		order = by_int(a->scheduled_ns, b->scheduled_ns);
	if (!order)
		order = strcmp(a->run_id ? a->run_id : "", b->run_id ? b->run_id : "");
	if (!order)
		order = by_int(a->event_id, b->event_id);
	return order ? order : by_int(a->stamp, b->stamp);
}

/* The first that is not before the key. */
static size_t place(const struct fake_db *db, const struct store_task *key)
{
	size_t low = 0, high = db->task_count;
	while (low < high) {
		size_t mid = (low + high) / 2;
		if (by_key(&db->tasks[mid], key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* ------------------------------------------------------------------ folds */

static void task_clear(struct store_task *t)
{
	free((char *)t->namespace_id);
	free((char *)t->queue);
	free((char *)t->run_id);
	free((char *)t->workflow_id);
	free((char *)t->fairness_key);
}

static void put(struct fake_db *db, uint32_t shard, const struct store_task *task)
{
	struct store_task t = *task;
	t.shard = shard;
	size_t at = place(db, &t);
	if (at < db->task_count && by_key(&db->tasks[at], &t) == 0)
		return;
	if (db->task_count == db->task_cap) {
		db->task_cap = db->task_cap ? db->task_cap * 2 : 64;
		db->tasks = mem_realloc(db->tasks, db->task_cap * sizeof *db->tasks);
	}
	t.namespace_id = mem_strdup(t.namespace_id);
	t.queue = mem_strdup(t.queue);
	t.run_id = mem_strdup(t.run_id);
	t.workflow_id = mem_strdup(t.workflow_id);
	t.fairness_key = mem_strdup(t.fairness_key ? t.fairness_key : "");
	memmove(db->tasks + at + 1, db->tasks + at, (db->task_count - at) * sizeof *db->tasks);
	db->tasks[at] = t;
	db->task_count++;
}

static void drop(struct fake_db *db, uint32_t shard, const struct store_task *task)
{
	struct store_task t = *task;
	t.shard = shard;
	size_t at = place(db, &t);
	if (at == db->task_count || by_key(&db->tasks[at], &t) != 0)
		return;
	task_clear(&db->tasks[at]);
	db->task_count--;
	memmove(db->tasks + at, db->tasks + at + 1, (db->task_count - at) * sizeof *db->tasks);
}

void fake_fold_tasks(struct fake_db *db, const struct store_fold *fold)
{
	for (size_t i = 0; i < fold->task_gone_count; i++)
		drop(db, fold->shard, &fold->tasks_gone[i]);
	for (size_t i = 0; i < fold->task_count; i++)
		put(db, fold->shard, &fold->tasks[i]);
}

void fake_tasks_free(struct fake_db *db)
{
	for (size_t i = 0; i < db->task_count; i++)
		task_clear(&db->tasks[i]);
	free(db->tasks);
}

/* ------------------------------------------------------------------ pages */

struct tasks_call {
	struct fake_call call;
	struct store_tasks page;
	struct store_task *tasks;
	size_t count;
	store_tasks_fn *fn;
	void *ctx;
};

static void run_tasks(struct fake_call *c)
{
	struct tasks_call *t = container_of(c, struct tasks_call, call);
	const struct fake_db *db = c->s->db;
	struct store_task from = t->page.from;
	if (!from.run_id) {
		from.priority = INT32_MIN;
		from.scheduled_ns = INT64_MIN;
	}
	t->tasks = arena_array(c->arena, struct store_task, t->page.limit);
	for (size_t i = place(db, &from); i < db->task_count && t->count < t->page.limit; i++) {
		if (by_queue(&db->tasks[i], &from) != 0)
			break;
		struct store_task *copy = &t->tasks[t->count++];
		*copy = db->tasks[i];
		copy->namespace_id = arena_strdup(c->arena, copy->namespace_id);
		copy->queue = arena_strdup(c->arena, copy->queue);
		copy->run_id = arena_strdup(c->arena, copy->run_id);
		copy->workflow_id = arena_strdup(c->arena, copy->workflow_id);
		copy->fairness_key = arena_strdup(c->arena, copy->fairness_key);
	}
}

static void reply_tasks(struct fake_call *c)
{
	struct tasks_call *t = container_of(c, struct tasks_call, call);
	bool ok = !err_is(c->err);
	t->fn(t->ctx, c->err, ok ? t->tasks : NULL, ok ? t->count : 0);
}

void fake_load_tasks(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx)
{
	struct tasks_call *t = fake_call_new(fake_of(s), struct tasks_call, FAKE_LANE_READ, run_tasks, reply_tasks);
	struct arena *a = t->call.arena;
	t->page = *page;
	t->page.from.namespace_id = arena_strdup(a, page->from.namespace_id);
	t->page.from.queue = arena_strdup(a, page->from.queue);
	if (page->from.run_id)
		t->page.from.run_id = arena_strdup(a, page->from.run_id);
	t->fn = fn;
	t->ctx = ctx;
}

/* ------------------------------------------------------------------ sums */

struct sums_call {
	struct fake_call call;
	uint32_t shard;
	struct store_task_sum *sums;
	size_t count;
	store_task_sums_fn *fn;
	void *ctx;
};

static bool same_sum(const struct store_task_sum *sum, const struct store_task *t)
{
	return str_eq(sum->namespace_id, t->namespace_id) && str_eq(sum->queue, t->queue) && sum->kind == t->kind &&
	       sum->priority == t->priority;
}

static void run_sums(struct fake_call *c)
{
	struct sums_call *u = container_of(c, struct sums_call, call);
	const struct fake_db *db = c->s->db;
	u->sums = arena_array(c->arena, struct store_task_sum, db->task_count);
	for (size_t i = 0; i < db->task_count; i++) {
		const struct store_task *t = &db->tasks[i];
		if (t->shard != u->shard)
			continue;
		if (!u->count || !same_sum(&u->sums[u->count - 1], t))
			u->sums[u->count++] = (struct store_task_sum){
				.namespace_id = arena_strdup(c->arena, t->namespace_id),
				.queue = arena_strdup(c->arena, t->queue),
				.kind = t->kind,
				.priority = t->priority,
				.oldest_ns = t->scheduled_ns,
			};
		u->sums[u->count - 1].count++;
	}
}

static void reply_sums(struct fake_call *c)
{
	struct sums_call *u = container_of(c, struct sums_call, call);
	bool ok = !err_is(c->err);
	u->fn(u->ctx, c->err, ok ? u->sums : NULL, ok ? u->count : 0);
}

void fake_sum_tasks(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx)
{
	struct sums_call *u = fake_call_new(fake_of(s), struct sums_call, FAKE_LANE_READ, run_sums, reply_sums);
	u->shard = shard;
	u->fn = fn;
	u->ctx = ctx;
}

/* ------------------------------------------------------------------ looking inside */

void fake_db_each_task(const struct fake_db *db, void (*fn)(void *ctx, const struct store_task *task), void *ctx)
{
	for (size_t i = 0; i < db->task_count; i++)
		fn(ctx, &db->tasks[i]);
}
