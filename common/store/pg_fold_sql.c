/*
 * A fold as one transaction of pipelined statements, behind the fence: each kind of row is one statement over arrays.
 */
#include "common/store/pg_store.h"

static const struct pg_stmt stmt_fence = {"fold_fence", "SELECT shard_fence($1, $2)"};

/* ------------------------------------------------------------------ open runs */

static const struct pg_stmt stmt_runs = {
	"fold_runs",
	"INSERT INTO run AS r (shard_id, namespace_id, workflow_id, run_id, start_seq, applied_seq, open, outbound,"
	" status, wake_at, start_time, close_time, retention_end, snapshot, listed_seq) "
	"SELECT $1, a.* FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::bool[], $8::bool[],"
	" $9::int4[], $10::int8[], $11::int8[], $12::int8[], $13::int8[], $14::bytea[], $15::int8[]) a "
	"ON CONFLICT (shard_id, namespace_id, workflow_id, run_id) DO UPDATE SET start_seq = excluded.start_seq,"
	" applied_seq = excluded.applied_seq, open = excluded.open, outbound = excluded.outbound,"
	" status = excluded.status, wake_at = excluded.wake_at, start_time = excluded.start_time,"
	" close_time = excluded.close_time, retention_end = excluded.retention_end, snapshot = excluded.snapshot,"
	" listed_seq = excluded.listed_seq "
	"WHERE r.applied_seq <= excluded.applied_seq"};

static const struct pg_stmt stmt_history = {
	"fold_history",
	"INSERT INTO history AS h (shard_id, namespace_id, workflow_id, run_id, first_event_id, last_event_id, events) "
	"SELECT $1, a.* FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::bytea[]) a "
	"ON CONFLICT (shard_id, namespace_id, workflow_id, run_id, first_event_id) DO UPDATE SET"
	" last_event_id = excluded.last_event_id, events = excluded.events "
	"WHERE h.last_event_id <= excluded.last_event_id"};

static void put_runs(struct pg_op *op, const struct pg_fold *f)
{
	size_t n = f->counts[PG_FATE_OPEN];
	if (n == 0)
		return;
	pg_op_add(op, &stmt_runs);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n), *starts = pg_op_array(op, PG_INT8, n),
			*applied = pg_op_array(op, PG_INT8, n), *open = pg_op_array(op, PG_BOOL, n),
			*outbound = pg_op_array(op, PG_BOOL, n), *status = pg_op_array(op, PG_INT4, n),
			*wake = pg_op_array(op, PG_INT8, n), *started = pg_op_array(op, PG_INT8, n),
			*closed = pg_op_array(op, PG_INT8, n), *ends = pg_op_array(op, PG_INT8, n),
			*snapshots = pg_op_array(op, PG_BYTES, n), *listed = pg_op_array(op, PG_INT8, n);
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct store_run_row *row = f->rows[i]->row;
		if (f->rows[i]->fate != PG_FATE_OPEN)
			continue;
		pg_array_text(namespaces, row->namespace_id);
		pg_array_text(workflows, row->workflow_id);
		pg_array_text(runs, row->run_id);
		pg_array_int8(starts, row->start_seq);
		pg_array_int8(applied, row->applied_seq);
		pg_array_bool(open, row->open);
		pg_array_bool(outbound, row->outbound);
		pg_array_int4(status, row->status);
		pg_array_int8(wake, row->wake_at_ns);
		pg_array_int8(started, row->start_time_ns);
		pg_array_int8(closed, row->close_time_ns);
		pg_array_int8(ends, row->retention_end_ns);
		pg_array_bytes(snapshots, row->snapshot);
		pg_array_int8(listed, row->listed ? row->applied_seq : -1);
	}
}

static void put_history(struct pg_op *op, const struct pg_fold *f)
{
	size_t n = f->open_chunks;
	if (n == 0)
		return;
	pg_op_add(op, &stmt_history);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n), *firsts = pg_op_array(op, PG_INT8, n),
			*lasts = pg_op_array(op, PG_INT8, n), *events = pg_op_array(op, PG_BYTES, n);
	for (size_t i = 0; i < f->fold.chunk_count; i++) {
		const struct store_history_chunk *c = &f->fold.chunks[i];
		if (!f->chunk_is_open[i])
			continue;
		pg_array_text(namespaces, c->namespace_id);
		pg_array_text(workflows, c->workflow_id);
		pg_array_text(runs, c->run_id);
		pg_array_int8(firsts, c->first_event_id);
		pg_array_int8(lasts, c->last_event_id);
		pg_array_bytes(events, c->events);
	}
}

/* ------------------------------------------------------------------ closed runs */

/* A closed run never changes, so the same fold again does nothing. One behind the open row must not end it. */
static const struct pg_stmt stmt_closed = {
	"fold_closed",
	"INSERT INTO closed_run (shard_id, namespace_id, workflow_id, run_id, start_seq, applied_seq, status, codec,"
	" start_time, close_time, retention_end, history_last, snapshot, history) "
	"SELECT $1, a.* FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int4[], $8::int4[],"
	" $9::int8[], $10::int8[], $11::int8[], $12::int8[], $13::bytea[], $14::bytea[])"
	" a (namespace_id, workflow_id, run_id, start_seq, applied_seq, status, codec, start_time, close_time,"
	" retention_end, history_last, snapshot, history) "
	"WHERE NOT coalesce((SELECT r.applied_seq > a.applied_seq FROM run r WHERE r.shard_id = $1"
	" AND r.namespace_id = a.namespace_id COLLATE \"C\" AND r.workflow_id = a.workflow_id COLLATE \"C\""
	" AND r.run_id = a.run_id COLLATE \"C\"), false) "
	"ON CONFLICT DO NOTHING"};

static const struct pg_stmt stmt_beside = {
	"fold_beside",
	"INSERT INTO closed_history (shard_id, namespace_id, workflow_id, run_id, first_event_id, last_event_id, codec,"
	" retention_end, events) "
	"SELECT $1, a.* FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int4[], $8::int8[],"
	" $9::bytea[]) a ON CONFLICT DO NOTHING"};

static void put_closed(struct pg_op *op, const struct pg_fold *f)
{
	size_t n = f->counts[PG_FATE_CLOSED];
	if (n == 0)
		return;
	pg_op_add(op, &stmt_closed);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n), *starts = pg_op_array(op, PG_INT8, n),
			*applied = pg_op_array(op, PG_INT8, n), *status = pg_op_array(op, PG_INT4, n),
			*codecs = pg_op_array(op, PG_INT4, n), *started = pg_op_array(op, PG_INT8, n),
			*closed = pg_op_array(op, PG_INT8, n), *ends = pg_op_array(op, PG_INT8, n),
			*lasts = pg_op_array(op, PG_INT8, n), *snapshots = pg_op_array(op, PG_BYTES, n),
			*histories = pg_op_array(op, PG_BYTES, n);
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct pg_fold_row *r = f->rows[i];
		if (r->fate != PG_FATE_CLOSED)
			continue;
		pg_array_text(namespaces, r->row->namespace_id);
		pg_array_text(workflows, r->row->workflow_id);
		pg_array_text(runs, r->row->run_id);
		pg_array_int8(starts, r->row->start_seq);
		pg_array_int8(applied, r->row->applied_seq);
		pg_array_int4(status, r->row->status);
		pg_array_int4(codecs, r->codec);
		pg_array_int8(started, r->row->start_time_ns);
		pg_array_int8(closed, r->row->close_time_ns);
		pg_array_int8(ends, r->row->retention_end_ns);
		pg_array_int8(lasts, r->history_last);
		pg_array_bytes(snapshots, r->snapshot);
		pg_array_bytes(histories, r->history);
	}
}

static void put_beside(struct pg_op *op, const struct pg_fold *f)
{
	size_t n = f->beside_chunks;
	if (n == 0)
		return;
	pg_op_add(op, &stmt_beside);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n), *firsts = pg_op_array(op, PG_INT8, n),
			*lasts = pg_op_array(op, PG_INT8, n), *codecs = pg_op_array(op, PG_INT4, n),
			*ends = pg_op_array(op, PG_INT8, n), *events = pg_op_array(op, PG_BYTES, n);
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct pg_fold_row *r = f->rows[i];
		bool beside = r->fate == PG_FATE_CLOSED && r->history_last == 0;
		for (size_t k = 0; beside && k < r->chunk_count; k++) {
			pg_array_text(namespaces, r->row->namespace_id);
			pg_array_text(workflows, r->row->workflow_id);
			pg_array_text(runs, r->row->run_id);
			pg_array_int8(firsts, r->chunks[k].first);
			pg_array_int8(lasts, r->chunks[k].last);
			pg_array_int4(codecs, r->chunks[k].zipped);
			pg_array_int8(ends, r->row->retention_end_ns);
			pg_array_bytes(events, r->chunks[k].events);
		}
	}
}

/* ------------------------------------------------------------------ what leaves */

/*
 * The rows are found in a lateral subquery with OFFSET 0 and deleted by their ctid: that leaves the planner one plan,
 * an index look-up a key, however it sees the tables' sizes. (A ctid holds still: only the shard's owner writes its
 * rows.)
 */
#define SAME_RUN(t)                                                                                                    \
	t ".shard_id = $1 AND " t ".namespace_id = a.namespace_id COLLATE \"C\" AND " t                                \
	  ".workflow_id = a.workflow_id COLLATE \"C\" AND " t ".run_id = a.run_id COLLATE \"C\""

static const struct pg_stmt stmt_leave_run = {
	"fold_leave_run",
	"DELETE FROM run WHERE ctid = ANY (ARRAY("
	"SELECT x.ctid FROM unnest($2::text[], $3::text[], $4::text[], $5::int8[])"
	" a (namespace_id, workflow_id, run_id, applied_seq) CROSS JOIN LATERAL"
	" (SELECT r.ctid FROM run r WHERE " SAME_RUN("r") " AND r.applied_seq <= a.applied_seq OFFSET 0) x))"};

/* Where the open row has stayed, because it is ahead, its history stays as well. */
static const struct pg_stmt stmt_leave_history = {
	"fold_leave_history",
	"DELETE FROM history WHERE ctid = ANY (ARRAY("
	"SELECT x.ctid FROM unnest($2::text[], $3::text[], $4::text[]) a (namespace_id, workflow_id, run_id)"
	" CROSS JOIN LATERAL (SELECT h.ctid FROM history h WHERE " SAME_RUN(
		"h") " OFFSET 0) x"
		     " WHERE NOT coalesce((SELECT true FROM run r WHERE " SAME_RUN("r") "), false)))"};

/* The rows that leave the open tables. */
static void put_leaving(struct pg_op *op, const struct pg_stmt *stmt, const struct pg_fold *f, bool with_seq)
{
	size_t n = f->counts[PG_FATE_GONE] + f->counts[PG_FATE_CLOSED];
	if (n == 0)
		return;
	pg_op_add(op, stmt);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n), *seqs = with_seq ? pg_op_array(op, PG_INT8, n) : NULL;
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct pg_fold_row *r = f->rows[i];
		if (r->fate == PG_FATE_OPEN)
			continue;
		pg_array_text(namespaces, r->row->namespace_id);
		pg_array_text(workflows, r->row->workflow_id);
		pg_array_text(runs, r->row->run_id);
		if (with_seq)
			pg_array_int8(seqs, r->row->applied_seq);
	}
}

#define DELETE_RUN                                                                                                     \
	"WHERE shard_id = $1 AND namespace_id = $2 AND workflow_id = $3 AND run_id = $4"                               \
	" AND retention_end BETWEEN $5 AND $6"

static const struct pg_stmt stmt_delete_closed = {"fold_delete_closed", "DELETE FROM closed_run " DELETE_RUN};
static const struct pg_stmt stmt_delete_beside = {"fold_delete_beside", "DELETE FROM closed_history " DELETE_RUN};

/* Deleted on request before their partition's time; looks into every partition when the row doesn't say which. */
static void put_deleted(struct pg_op *op, const struct pg_stmt *stmt, const struct pg_fold *f)
{
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct store_run_row *row = f->rows[i]->row;
		if (!row->deleted)
			continue;
		pg_op_add(op, stmt);
		pg_op_int4(op, (int32_t)f->fold.shard);
		pg_op_text(op, row->namespace_id);
		pg_op_text(op, row->workflow_id);
		pg_op_text(op, row->run_id);
		pg_op_int8(op, row->retention_end_ns ? row->retention_end_ns : INT64_MIN);
		pg_op_int8(op, row->retention_end_ns ? row->retention_end_ns : INT64_MAX);
	}
}

/* ------------------------------------------------------------------ the checkpoint */

static const struct pg_stmt stmt_checkpoint = {
	"fold_checkpoint",
	"WITH up AS (UPDATE shard_checkpoint SET checkpoint_seq = $2 WHERE shard_id = $1 AND checkpoint_seq < $2"
	" AND EXISTS (SELECT FROM journal WHERE shard_id = $1 AND seq = $2) RETURNING 1) "
	"DELETE FROM journal WHERE shard_id = $1 AND seq <= $2 AND EXISTS (SELECT FROM up)"};

struct pg_op *pg_fold_op(const struct pg_fold *f)
{
	struct pg_op *op = pg_op_new();
	pg_op_writes(op);
	pg_op_add(op, &stmt_fence);
	pg_op_int4(op, (int32_t)f->fold.shard);
	pg_op_int8(op, f->fold.epoch);
	put_runs(op, f);
	put_history(op, f);
	put_closed(op, f);
	put_beside(op, f);
	put_leaving(op, &stmt_leave_run, f, true);
	put_leaving(op, &stmt_leave_history, f, false);
	put_deleted(op, &stmt_delete_closed, f);
	put_deleted(op, &stmt_delete_beside, f);
	pg_op_fold_tasks(op, &f->fold);
	if (f->fold.checkpoint_seq > 0) {
		pg_op_add(op, &stmt_checkpoint);
		pg_op_int4(op, (int32_t)f->fold.shard);
		pg_op_int8(op, f->fold.checkpoint_seq);
	}
	return op;
}

/* ------------------------------------------------------------------ what a closing run has already */

static const struct pg_stmt stmt_read = {
	"fold_read",
	"SELECT a.ord, h.first_event_id, h.last_event_id, h.events "
	"FROM unnest($2::text[], $3::text[], $4::text[]) WITH ORDINALITY a (namespace_id, workflow_id, run_id, ord) "
	"CROSS JOIN LATERAL (SELECT * FROM history h WHERE " SAME_RUN("h") " OFFSET 0) h "
									   "ORDER BY a.ord, h.first_event_id"};

static bool needs_reading(const struct pg_fold_row *r)
{
	return r->fate == PG_FATE_CLOSED && !r->whole;
}

struct pg_op *pg_fold_read_op(const struct pg_fold *f, struct pg_fold_row **ret)
{
	size_t n = 0;
	for (size_t i = 0; i < f->fold.row_count; i++)
		if (needs_reading(f->rows[i]))
			ret[n++] = f->rows[i];
	if (n == 0)
		return NULL;
	struct pg_op *op = pg_op_new();
	pg_op_add(op, &stmt_read);
	pg_op_int4(op, (int32_t)f->fold.shard);
	struct pg_array *namespaces = pg_op_array(op, PG_TEXT, n), *workflows = pg_op_array(op, PG_TEXT, n),
			*runs = pg_op_array(op, PG_TEXT, n);
	for (size_t i = 0; i < n; i++) {
		pg_array_text(namespaces, ret[i]->row->namespace_id);
		pg_array_text(workflows, ret[i]->row->workflow_id);
		pg_array_text(runs, ret[i]->row->run_id);
	}
	return op;
}
