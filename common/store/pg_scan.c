/*
 * Rows in the order of their keys, from PostgreSQL: what the auditor pages through.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

static const struct pg_stmt stmt_scan = {
	"scan_runs", "SELECT namespace_id, workflow_id, run_id, start_seq, applied_seq, open, outbound, status,"
		     " wake_at, start_time, close_time, retention_end, snapshot, 0 FROM run WHERE shard_id = $1"
		     " AND (namespace_id, workflow_id, run_id) > ($2, $3, $4)"
		     " ORDER BY namespace_id, workflow_id, run_id LIMIT $5"};

/* $6 now: what is over is not asked for any more. */
static const struct pg_stmt stmt_scan_closed = {
	"scan_closed_runs",
	"SELECT namespace_id, workflow_id, run_id, start_seq, applied_seq, false, false, status,"
	" 9223372036854775807, start_time, close_time, retention_end, snapshot, codec FROM closed_run"
	" WHERE shard_id = $1 AND (namespace_id, workflow_id, start_seq, run_id) > ($2, $3, $6, $4)"
	" AND retention_end > $7 ORDER BY namespace_id, workflow_id, start_seq, run_id LIMIT $5"};

/* The ids alone, which the primary keys' indexes have; the columns that are left out are there, empty. */
static const struct pg_stmt stmt_scan_ids = {
	"scan_run_ids",
	"SELECT namespace_id, workflow_id, run_id, 0::int8, 0::int8, true, false, 0, 0::int8, 0::int8, 0::int8,"
	" 0::int8, ''::bytea, 0 FROM run WHERE shard_id = $1"
	" AND (namespace_id, workflow_id, run_id) > ($2, $3, $4)"
	" ORDER BY namespace_id, workflow_id, run_id LIMIT $5"};

static const struct pg_stmt stmt_scan_closed_ids = {
	"scan_closed_run_ids",
	"SELECT namespace_id, workflow_id, run_id, start_seq, 0::int8, false, false, 0, 0::int8, 0::int8, 0::int8,"
	" retention_end, ''::bytea, 0 FROM closed_run"
	" WHERE shard_id = $1 AND (namespace_id, workflow_id, start_seq, run_id) > ($2, $3, $6, $4)"
	" AND retention_end > $7 ORDER BY namespace_id, workflow_id, start_seq, run_id LIMIT $5"};

static const struct pg_stmt *stmt_for(const struct store_scan *scan)
{
	if (scan->ids_only)
		return scan->closed ? &stmt_scan_closed_ids : &stmt_scan_ids;
	return scan->closed ? &stmt_scan_closed : &stmt_scan;
}

struct scan_ctx {
	struct pg_store *s;
	uint32_t shard;
	store_scan_fn *fn;
	void *ctx;
};

static struct store_run_row row_of(struct scan_ctx *c, const PGresult *r, size_t i, struct arena *a)
{
	struct store_run_row row = {
		.shard = c->shard,
		.namespace_id = pg_text(r, i, 0),
		.workflow_id = pg_text(r, i, 1),
		.run_id = pg_text(r, i, 2),
		.start_seq = pg_int8(r, i, 3),
		.applied_seq = pg_int8(r, i, 4),
		.open = pg_bool(r, i, 5),
		.outbound = pg_bool(r, i, 6),
		.status = pg_int4(r, i, 7),
		.wake_at_ns = pg_int8(r, i, 8),
		.start_time_ns = pg_int8(r, i, 9),
		.close_time_ns = pg_int8(r, i, 10),
		.retention_end_ns = pg_int8(r, i, 11),
		.snapshot = pg_bytes(r, i, 12),
	};
	struct bytes plain;
	if ((pg_int4(r, i, 13) & PG_CODEC_SNAPSHOT) && pg_unzip(c->s, a, row.snapshot, &plain))
		row.snapshot = plain;
	return row;
}

static void on_scanned(void *ctx, const struct pg_done *d)
{
	struct scan_ctx *c = ctx;
	pg_store_read_done(c->s);
	if (err_is(d->e)) {
		c->fn(c->ctx, pg_store_err(d->e), NULL, 0);
		return;
	}
	size_t count = pg_row_count(d->rows[0]);
	struct arena *a = arena_new(0);
	struct store_run_row *rows = arena_array(a, struct store_run_row, count);
	for (size_t i = 0; i < count; i++)
		rows[i] = row_of(c, d->rows[0], i, a);
	c->fn(c->ctx, err_ok, rows, count);
	arena_free(a);
}

static const char *or_empty(const char *s)
{
	return s ? s : "";
}

void pg_scan(struct store *base, const struct store_scan *scan, store_scan_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct pg_op *op = pg_op_new();
	struct scan_ctx *c = arena_new0(pg_op_arena(op), struct scan_ctx);
	*c = (struct scan_ctx){.s = s, .shard = scan->shard, .fn = fn, .ctx = ctx};
	pg_op_add(op, stmt_for(scan));
	pg_op_int4(op, (int32_t)scan->shard);
	pg_op_text(op, or_empty(scan->after_namespace_id));
	pg_op_text(op, or_empty(scan->after_workflow_id));
	pg_op_text(op, or_empty(scan->after_run_id));
	pg_op_int8(op, (int64_t)scan->limit);
	if (scan->closed) {
		pg_op_int8(op, scan->after_start_seq);
		pg_op_int8(op, env_wall_ns(base->env));
	}
	pg_store_read(s, op, on_scanned, c);
}
