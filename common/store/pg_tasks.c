/*
 * The backlog in PostgreSQL: tasks that nobody has taken, of folded runs. Written by folds, read in pages along the
 * primary key, summed up when a shard is claimed.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

/* ------------------------------------------------------------------ folds */

/* $1 shard, then the columns. */
static const struct pg_stmt stmt_put = {
	"fold_tasks",
	"INSERT INTO backlog (shard_id, namespace_id, task_queue, kind, priority, scheduled, run_id, event_id, stamp,"
	" workflow_id, attempt, expires, fairness_key, fairness_weight) "
	"SELECT $1, a.* FROM unnest($2::text[], $3::text[], $4::int4[], $5::int4[], $6::int8[], $7::text[], $8::int8[],"
	" $9::int8[], $10::text[], $11::int4[], $12::int8[], $13::text[], $14::int4[]) a ON CONFLICT DO NOTHING"};

/* As what leaves the other tables: found by the key in a subquery, deleted by ctid. */
static const struct pg_stmt stmt_gone = {
	"fold_tasks_gone",
	"DELETE FROM backlog WHERE ctid = ANY (ARRAY("
	"SELECT x.ctid FROM unnest($2::text[], $3::text[], $4::int4[], $5::int4[], $6::int8[], $7::text[], $8::int8[],"
	" $9::int8[]) a (namespace_id, task_queue, kind, priority, scheduled, run_id, event_id, stamp)"
	" CROSS JOIN LATERAL (SELECT b.ctid FROM backlog b WHERE b.shard_id = $1"
	" AND b.namespace_id = a.namespace_id COLLATE \"C\" AND b.task_queue = a.task_queue COLLATE \"C\""
	" AND b.kind = a.kind AND b.priority = a.priority AND b.scheduled = a.scheduled"
	" AND b.run_id = a.run_id COLLATE \"C\" AND b.event_id = a.event_id AND b.stamp = a.stamp OFFSET 0) x))"};

struct key_arrays {
	struct pg_array *namespaces, *queues, *kinds, *priorities, *scheduled, *runs, *events, *stamps;
};

static struct key_arrays key_arrays(struct pg_op *op, const struct pg_stmt *stmt, uint32_t shard, size_t n)
{
	pg_op_add(op, stmt);
	pg_op_int4(op, (int32_t)shard);
	struct key_arrays k;
	k.namespaces = pg_op_array(op, PG_TEXT, n);
	k.queues = pg_op_array(op, PG_TEXT, n);
	k.kinds = pg_op_array(op, PG_INT4, n);
	k.priorities = pg_op_array(op, PG_INT4, n);
	k.scheduled = pg_op_array(op, PG_INT8, n);
	k.runs = pg_op_array(op, PG_TEXT, n);
	k.events = pg_op_array(op, PG_INT8, n);
	k.stamps = pg_op_array(op, PG_INT8, n);
	return k;
}

static void put_key(const struct key_arrays *k, const struct store_task *t)
{
	pg_array_text(k->namespaces, t->namespace_id);
	pg_array_text(k->queues, t->queue);
	pg_array_int4(k->kinds, t->kind);
	pg_array_int4(k->priorities, t->priority);
	pg_array_int8(k->scheduled, t->scheduled_ns);
	pg_array_text(k->runs, t->run_id);
	pg_array_int8(k->events, t->event_id);
	pg_array_int8(k->stamps, t->stamp);
}

static void remove_tasks(struct pg_op *op, const struct store_fold *f)
{
	struct key_arrays k = key_arrays(op, &stmt_gone, f->shard, f->task_gone_count);
	for (size_t i = 0; i < f->task_gone_count; i++)
		put_key(&k, &f->tasks_gone[i]);
}

static void put_tasks(struct pg_op *op, const struct store_fold *f)
{
	size_t n = f->task_count;
	struct key_arrays k = key_arrays(op, &stmt_put, f->shard, n);
	struct pg_array *workflows = pg_op_array(op, PG_TEXT, n), *attempts = pg_op_array(op, PG_INT4, n),
			*expires = pg_op_array(op, PG_INT8, n), *keys = pg_op_array(op, PG_TEXT, n),
			*weights = pg_op_array(op, PG_INT4, n);
	for (size_t i = 0; i < n; i++) {
		const struct store_task *t = &f->tasks[i];
		put_key(&k, t);
		pg_array_text(workflows, t->workflow_id);
		pg_array_int4(attempts, t->attempt);
		pg_array_int8(expires, t->expires_ns);
		pg_array_text(keys, t->fairness_key ? t->fairness_key : "");
		pg_array_int4(weights, t->fairness_weight);
	}
}

void pg_op_fold_tasks(struct pg_op *op, const struct store_fold *fold)
{
	if (fold->task_gone_count)
		remove_tasks(op, fold);
	if (fold->task_count)
		put_tasks(op, fold);
}

/* ------------------------------------------------------------------ pages */

static const struct pg_stmt stmt_page = {
	"load_tasks",
	"SELECT priority, scheduled, run_id, event_id, stamp, workflow_id, attempt, expires, fairness_key,"
	" fairness_weight FROM backlog WHERE shard_id = $1 AND namespace_id = $2 AND task_queue = $3 AND kind = $4"
	" AND (priority, scheduled, run_id, event_id, stamp) >= ($5, $6, $7, $8, $9)"
	" ORDER BY priority, scheduled, run_id, event_id, stamp LIMIT $10"};

struct page_ctx {
	struct pg_store *s;
	struct store_task from; /* strings in the op's arena */
	store_tasks_fn *fn;
	void *ctx;
};

static void on_page(void *ctx, const struct pg_done *d)
{
	struct page_ctx *c = ctx;
	pg_store_read_done(c->s);
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL, 0);
		return;
	}
	const PGresult *r = d->rows[0];
	size_t count = pg_row_count(r);
	struct store_task *tasks = mem_zalloc(count * sizeof *tasks);
	for (size_t i = 0; i < count; i++)
		tasks[i] = (struct store_task){
			.shard = c->from.shard,
			.namespace_id = c->from.namespace_id,
			.queue = c->from.queue,
			.kind = c->from.kind,
			.priority = pg_int4(r, i, 0),
			.scheduled_ns = pg_int8(r, i, 1),
			.run_id = pg_text(r, i, 2),
			.event_id = pg_int8(r, i, 3),
			.stamp = pg_int8(r, i, 4),
			.workflow_id = pg_text(r, i, 5),
			.attempt = pg_int4(r, i, 6),
			.expires_ns = pg_int8(r, i, 7),
			.fairness_key = pg_text(r, i, 8),
			.fairness_weight = pg_int4(r, i, 9),
		};
	c->fn(c->ctx, err_ok, tasks, count);
	free(tasks);
}

void pg_load_tasks(struct store *base, const struct store_tasks *page, store_tasks_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct page_ctx *c = arena_new0(pg_op_arena(op), struct page_ctx);
	const struct store_task *from = &page->from;
	bool first = !from->run_id;
	*c = (struct page_ctx){.s = s, .from = *from, .fn = fn, .ctx = ctx};
	c->from.namespace_id = arena_strdup(pg_op_arena(op), from->namespace_id);
	c->from.queue = arena_strdup(pg_op_arena(op), from->queue);
	pg_op_add(op, &stmt_page);
	pg_op_int4(op, (int32_t)from->shard);
	pg_op_text(op, from->namespace_id);
	pg_op_text(op, from->queue);
	pg_op_int4(op, from->kind);
	pg_op_int4(op, first ? INT32_MIN : from->priority);
	pg_op_int8(op, first ? INT64_MIN : from->scheduled_ns);
	pg_op_text(op, first ? "" : from->run_id);
	pg_op_int8(op, from->event_id);
	pg_op_int8(op, from->stamp);
	pg_op_int8(op, (int64_t)page->limit);
	pg_store_read(s, op, on_page, c);
}

/* ------------------------------------------------------------------ sums */

static const struct pg_stmt stmt_sums = {
	"sum_tasks", "SELECT namespace_id, task_queue, kind, priority, count(*), min(scheduled) FROM backlog"
		     " WHERE shard_id = $1 GROUP BY namespace_id, task_queue, kind, priority"};

struct sums_ctx {
	struct pg_store *s;
	store_task_sums_fn *fn;
	void *ctx;
};

static void on_sums(void *ctx, const struct pg_done *d)
{
	struct sums_ctx *c = ctx;
	pg_store_read_done(c->s);
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL, 0);
		return;
	}
	const PGresult *r = d->rows[0];
	size_t count = pg_row_count(r);
	struct store_task_sum *sums = mem_zalloc(count * sizeof *sums);
	for (size_t i = 0; i < count; i++)
		sums[i] = (struct store_task_sum){
			.namespace_id = pg_text(r, i, 0),
			.queue = pg_text(r, i, 1),
			.kind = pg_int4(r, i, 2),
			.priority = pg_int4(r, i, 3),
			.count = pg_int8(r, i, 4),
			.oldest_ns = pg_int8(r, i, 5),
		};
	c->fn(c->ctx, err_ok, sums, count);
	free(sums);
}

void pg_sum_tasks(struct store *base, uint32_t shard, store_task_sums_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct sums_ctx *c = arena_new0(pg_op_arena(op), struct sums_ctx);
	*c = (struct sums_ctx){.s = s, .fn = fn, .ctx = ctx};
	pg_op_add(op, &stmt_sums);
	pg_op_int4(op, (int32_t)shard);
	pg_store_read(s, op, on_sums, c);
}
