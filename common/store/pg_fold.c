/*
 * A fold's way: partitions that it misses are made, what the database has of closing runs is read, then everything is
 * written in one fenced transaction. All on the folder's connection, one step behind the other.
 *
 * Reading before the transaction is safe: only the shard's owner writes its runs, one fold at a time a run, and the
 * fence refuses the write when the owner has changed.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

#define FOLD_ARENA_LIMIT ((size_t)1 << 40)
#define NO_PARTITION	 "23514"

static void ensure(struct pg_fold *f, int64_t until_ns);

static void finish(struct pg_fold *f, struct err e)
{
	DL_DELETE(f->s->folds, f);
	HASH_CLEAR(hh, f->by_key);
	f->fn(f->ctx, e);
	arena_free(f->arena);
}

static int64_t latest_end(const struct pg_fold *f)
{
	int64_t latest = 0;
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct store_run_row *row = &f->fold.rows[i];
		if (store_row_is_closed(row) && !row->deleted)
			latest = max_i64(latest, row->retention_end_ns);
	}
	return latest;
}

/* Else the plan will refuse it, which mustn't happen inside the caller's call: a round trip comes first. */
static bool plan_is_sound(const struct pg_fold *f)
{
	for (size_t i = 0; i < f->fold.row_count; i++)
		if (store_row_lacks_retention(&f->fold.rows[i]))
			return false;
	return true;
}

static void on_written(void *ctx, const struct pg_done *d)
{
	struct pg_fold *f = ctx;
	/* The partitions aren't what we thought: another node has dropped some. Once more, with what there is. */
	if (strcmp(d->sqlstate, NO_PARTITION) == 0 && !f->retried) {
		f->retried = true;
		ensure(f, latest_end(f));
		return;
	}
	finish(f, pg_store_err(d->e));
}

static void write_all(struct pg_fold *f)
{
	pg_fold_pack(f);
	pg_link_submit(f->s->folder, pg_fold_op(f), on_written, f);
}

struct read_ctx {
	struct pg_fold *f;
	struct pg_fold_row **rows; /* by ordinal */
};

static void on_read(void *ctx, const struct pg_done *d)
{
	struct read_ctx *c = ctx;
	if (err_is(d->e)) {
		finish(c->f, pg_store_err(d->e));
		return;
	}
	const PGresult *r = d->rows[0];
	for (size_t i = 0; i < pg_row_count(r); i++)
		pg_fold_add_chunk(c->f, c->rows[pg_int8(r, i, 0) - 1], pg_int8(r, i, 1), pg_int8(r, i, 2),
				  arena_copy(c->f->arena, pg_bytes(r, i, 3)));
	write_all(c->f);
}

static void plan_and_read(struct pg_fold *f)
{
	struct err e = pg_fold_plan(f);
	if (err_is(e)) {
		finish(f, e);
		return;
	}
	struct read_ctx *c = arena_new0(f->arena, struct read_ctx);
	c->f = f;
	c->rows = arena_array(f->arena, struct pg_fold_row *, f->fold.row_count);
	struct pg_op *op = pg_fold_read_op(f, c->rows);
	if (op)
		pg_link_submit(f->s->folder, op, on_read, c);
	else
		write_all(f);
}

static void on_ensured(void *ctx, const struct pg_done *d)
{
	struct pg_fold *f = ctx;
	if (err_is(d->e)) {
		finish(f, pg_store_err(d->e));
		return;
	}
	pg_partitions_seen(f->s, d->rows[0]);
	plan_and_read(f);
}

static void ensure(struct pg_fold *f, int64_t until_ns)
{
	struct pg_op *op = pg_op_new();
	pg_op_ensure_partitions(f->s, op, until_ns, env_wall_ns(f->s->base.env));
	pg_link_submit(f->s->folder, op, on_ensured, f);
}

void pg_fold_start(struct store *base, const struct store_fold *fold, store_done_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	assert(s->folder);
	struct arena *a = arena_new(FOLD_ARENA_LIMIT);
	struct pg_fold *f = arena_new0(a, struct pg_fold);
	*f = (struct pg_fold){.s = s, .fold = *fold, .arena = a, .fn = fn, .ctx = ctx};
	DL_APPEND(s->folds, f);
	int64_t latest = latest_end(f);
	if (latest >= s->partitions_to_ns || !plan_is_sound(f))
		ensure(f, latest);
	else
		plan_and_read(f);
}

void pg_folds_free(struct pg_store *s)
{
	struct pg_fold *f, *tmp;
	DL_FOREACH_SAFE (s->folds, f, tmp) {
		DL_DELETE(s->folds, f);
		HASH_CLEAR(hh, f->by_key);
		arena_free(f->arena);
	}
}
