/*
 * What a deleted namespace has left, in PostgreSQL: its open runs listed, its closed ones deleted in steps, and how far
 * each shard is.
 */
#include "common/store/pg_store.h"

static const struct pg_stmt stmt_list = {"purge_list",
					 "SELECT workflow_id, run_id FROM run WHERE shard_id = $1 AND namespace_id = $2"
					 " AND (workflow_id, run_id) > ($3, $4) ORDER BY workflow_id, run_id LIMIT $5"};

struct list_ctx {
	struct pg_store *s;
	struct store_listing listing;
	store_listed_fn *fn;
	void *ctx;
};

static void on_listed(void *ctx, const struct pg_done *d)
{
	struct list_ctx *c = ctx;
	pg_store_read_done(c->s);
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL, 0);
		return;
	}
	size_t count = pg_row_count(d->rows[0]);
	struct store_run_id *ids = mem_zalloc(count * sizeof *ids);
	for (size_t i = 0; i < count; i++)
		ids[i] = (struct store_run_id){.shard = c->listing.shard,
					       .namespace_id = c->listing.namespace_id,
					       .workflow_id = pg_text(d->rows[0], i, 0),
					       .run_id = pg_text(d->rows[0], i, 1)};
	c->fn(c->ctx, err_ok, ids, count);
	free(ids);
}

void pg_list_namespace(struct store *base, const struct store_listing *l, store_listed_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct list_ctx *c = arena_new0(pg_op_arena(op), struct list_ctx);
	*c = (struct list_ctx){.s = s, .listing = *l, .fn = fn, .ctx = ctx};
	pg_op_add(op, &stmt_list);
	pg_op_int4(op, (int32_t)l->shard);
	pg_op_text(op, l->namespace_id);
	pg_op_text(op, l->after_workflow_id ? l->after_workflow_id : "");
	pg_op_text(op, l->after_run_id ? l->after_run_id : "");
	pg_op_int8(op, (int64_t)l->limit);
	pg_store_read(s, op, on_listed, c);
}

/* ------------------------------------------------------------------ closed runs, in steps */

static const struct pg_stmt stmt_fence = {"purge_fence", "SELECT shard_fence($1, $2)"};

/*
 * The step ends with a workflow id, so that both tables are cut at the same place by their primary keys. $3 limit,
 * $4 runs that the caller has removed, $5 done, $6 now.
 * A shard that a new owner looks through again stays done unless something was found.
 */
static const struct pg_stmt stmt_purge = {
	"purge",
	"WITH last AS (SELECT max(workflow_id) AS id FROM (SELECT workflow_id FROM closed_run"
	"  WHERE shard_id = $1 AND namespace_id = $2 ORDER BY workflow_id LIMIT $3) step),"
	" gone AS (DELETE FROM closed_run WHERE shard_id = $1 AND namespace_id = $2"
	"  AND workflow_id <= (SELECT id FROM last) RETURNING 1),"
	" beside AS (DELETE FROM closed_history WHERE shard_id = $1 AND namespace_id = $2"
	"  AND workflow_id <= (SELECT id FROM last)),"
	" noted AS (INSERT INTO namespace_purge AS p (namespace_id, shard_id, removed, done, updated_ns)"
	"  SELECT $2, $1, $4 + (SELECT count(*) FROM gone), $5, $6 WHERE EXISTS (SELECT FROM namespace WHERE id = $2)"
	"  ON CONFLICT (namespace_id, shard_id) DO UPDATE SET removed = p.removed + excluded.removed,"
	"  done = excluded.done OR (p.done AND excluded.removed = 0), updated_ns = excluded.updated_ns) "
	"SELECT count(*) FROM gone"};

struct purge_ctx {
	store_purged_fn *fn;
	void *ctx;
};

static void on_purged(void *ctx, const struct pg_done *d)
{
	struct purge_ctx *c = ctx;
	c->fn(c->ctx, pg_store_err(d->e), err_is(d->e) ? 0 : (size_t)pg_int8(d->rows[1], 0, 0));
}

void pg_purge(struct store *base, const struct store_purge *p, store_purged_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(s->folder);
	struct pg_op *op = pg_op_new();
	struct purge_ctx *c = arena_new0(pg_op_arena(op), struct purge_ctx);
	*c = (struct purge_ctx){fn, ctx};
	pg_op_writes(op);
	pg_op_add(op, &stmt_fence);
	pg_op_int4(op, (int32_t)p->shard);
	pg_op_int8(op, p->epoch);
	pg_op_add(op, &stmt_purge);
	pg_op_int4(op, (int32_t)p->shard);
	pg_op_text(op, p->namespace_id);
	pg_op_int8(op, (int64_t)p->limit);
	pg_op_int8(op, (int64_t)p->removed);
	pg_op_bool(op, p->done);
	pg_op_int8(op, env_wall_ns(base->env));
	pg_link_submit(s->folder, op, on_purged, c);
}

/* ------------------------------------------------------------------ how far it is */

static const struct pg_stmt stmt_progress = {
	"purge_progress", "SELECT count(*) FILTER (WHERE done), coalesce(sum(removed), 0)::int8,"
			  " coalesce(max(updated_ns), 0) FROM namespace_purge WHERE namespace_id = $1"};

struct progress_ctx {
	store_purge_progress_fn *fn;
	void *ctx;
};

static void on_progress(void *ctx, const struct pg_done *d)
{
	struct progress_ctx *c = ctx;
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL);
		return;
	}
	const struct store_purge_progress p = {.shards_done = (uint32_t)pg_int8(d->rows[0], 0, 0),
					       .removed = pg_int8(d->rows[0], 0, 1),
					       .updated_ns = pg_int8(d->rows[0], 0, 2)};
	c->fn(c->ctx, err_ok, &p);
}

void pg_purge_progress(struct store *base, const char *namespace_id, store_purge_progress_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct progress_ctx *c = arena_new0(pg_op_arena(op), struct progress_ctx);
	*c = (struct progress_ctx){fn, ctx};
	pg_op_add(op, &stmt_progress);
	pg_op_text(op, namespace_id);
	pg_link_submit(s->control, op, on_progress, c);
}
