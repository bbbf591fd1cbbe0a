/*
 * Reading runs and history from PostgreSQL. What is asked for while every reader is busy, or within one turn of the
 * loop, travels as one statement over arrays.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

#define RUNS_PER_READ	   256
#define HISTORIES_PER_READ 32
#define SHARDS_PER_READ	   16

/* ------------------------------------------------------------------ batches */

struct run_item {
	struct store_run_id id;
	store_run_fn *fn;
	void *ctx;
};

struct history_item {
	struct store_run_id id;
	int64_t first, last;
	store_history_fn *fn;
	void *ctx;
};

struct due_item {
	struct store_due due; /* after_run_id owned until it is sent */
	store_due_fn *fn;
	void *ctx;
};

static void *batch_add(struct pg_batch *b, size_t item_size)
{
	if (b->count == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 64;
		b->items = mem_realloc(b->items, b->cap * item_size);
	}
	return (char *)b->items + b->count++ * item_size;
}

/* Moves the first items to the arena. */
static void *batch_take(struct pg_batch *b, size_t item_size, size_t most, struct arena *a, size_t *ret_count)
{
	size_t n = b->count < most ? b->count : most;
	void *items = arena_alloc(a, n * item_size);
	memcpy(items, b->items, n * item_size);
	b->count -= n;
	memmove(b->items, (char *)b->items + n * item_size, b->count * item_size);
	*ret_count = n;
	return items;
}

struct read_ctx {
	struct pg_store *s;
	void *items;
	size_t count;
};

static struct pg_op *read_op(struct pg_store *s, struct pg_batch *b, size_t item_size, size_t most,
			     struct read_ctx **ret)
{
	struct pg_op *op = pg_op_new();
	struct read_ctx *c = arena_new0(pg_op_arena(op), struct read_ctx);
	c->s = s;
	c->items = batch_take(b, item_size, most, pg_op_arena(op), &c->count);
	*ret = c;
	return op;
}

/* ------------------------------------------------------------------ runs */

/*
 * The open table first, the closed ones only where that has no answer. $1 shards, $2 namespaces, $3 workflow ids,
 * $4 run ids ("": the open one, else the latest), $5 what they began before (the largest number: an open one first),
 * $6 now.
 */
static const struct pg_stmt stmt_runs = {
	"load_runs",
	"SELECT a.ord,"
	" r.run_id, r.start_seq, r.applied_seq, r.open, r.outbound, r.status, r.wake_at, r.start_time, r.close_time,"
	" r.retention_end, r.snapshot,"
	" c.run_id, c.start_seq, c.applied_seq, c.status, c.codec, c.start_time, c.close_time, c.retention_end, "
	"c.snapshot "
	"FROM unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::int8[]) WITH ORDINALITY"
	" a (shard_id, namespace_id, workflow_id, run_id, before, ord) "
	"LEFT JOIN LATERAL (SELECT * FROM run WHERE run.shard_id = a.shard_id"
	" AND run.namespace_id = a.namespace_id COLLATE \"C\" AND run.workflow_id = a.workflow_id COLLATE \"C\""
	" AND (a.run_id = '' OR run.run_id = a.run_id COLLATE \"C\") AND run.start_seq < a.before"
	" ORDER BY run.open AND a.before = 9223372036854775807 DESC, run.start_seq DESC LIMIT 1) r ON true "
	"LEFT JOIN LATERAL (SELECT * FROM closed_run WHERE (r.run_id IS NULL"
	" OR (a.run_id = '' AND (NOT r.open OR a.before < 9223372036854775807)))"
	" AND closed_run.shard_id = a.shard_id AND closed_run.namespace_id = a.namespace_id COLLATE \"C\""
	" AND closed_run.workflow_id = a.workflow_id COLLATE \"C\""
	" AND (a.run_id = '' OR closed_run.run_id = a.run_id COLLATE \"C\")"
	" AND closed_run.start_seq < a.before AND closed_run.retention_end > $6"
	" ORDER BY closed_run.start_seq DESC LIMIT 1) c ON true "
	"WHERE r.run_id IS NOT NULL OR c.run_id IS NOT NULL"};

enum { COL_OPEN = 1, COL_CLOSED = 12 };

/* From the columns that stmt_runs and stmt_due have in common, beginning at col. */
static void open_row(const PGresult *r, size_t i, int col, struct store_run_row *row)
{
	row->run_id = pg_text(r, i, col);
	row->start_seq = pg_int8(r, i, col + 1);
	row->applied_seq = pg_int8(r, i, col + 2);
	row->open = pg_bool(r, i, col + 3);
	row->outbound = pg_bool(r, i, col + 4);
	row->status = pg_int4(r, i, col + 5);
	row->wake_at_ns = pg_int8(r, i, col + 6);
	row->start_time_ns = pg_int8(r, i, col + 7);
	row->close_time_ns = pg_int8(r, i, col + 8);
	row->retention_end_ns = pg_int8(r, i, col + 9);
	row->snapshot = pg_bytes(r, i, col + 10);
}

static struct err closed_row(struct pg_store *s, const PGresult *r, size_t i, struct arena *a,
			     struct store_run_row *row)
{
	int col = COL_CLOSED;
	row->run_id = pg_text(r, i, col);
	row->start_seq = pg_int8(r, i, col + 1);
	row->applied_seq = pg_int8(r, i, col + 2);
	row->status = pg_int4(r, i, col + 3);
	row->wake_at_ns = INT64_MAX;
	row->start_time_ns = pg_int8(r, i, col + 5);
	row->close_time_ns = pg_int8(r, i, col + 6);
	row->retention_end_ns = pg_int8(r, i, col + 7);
	row->snapshot = pg_bytes(r, i, col + 8);
	if ((pg_int4(r, i, col + 4) & PG_CODEC_SNAPSHOT) && !pg_unzip(s, a, row->snapshot, &row->snapshot))
		return err_make(a, ERR_INTERNAL, "the snapshot of closed run %s can't be decompressed", row->run_id);
	return err_ok;
}

static void answer_run(struct pg_store *s, const struct run_item *item, const PGresult *r, size_t i)
{
	struct store_run_row row = {
		.shard = item->id.shard, .namespace_id = item->id.namespace_id, .workflow_id = item->id.workflow_id};
	bool in_open = !pg_null(r, i, COL_OPEN), in_closed = !pg_null(r, i, COL_CLOSED);
	if (in_open && in_closed) /* closed, but with something to send: is a closed one later? */
		in_closed = pg_int8(r, i, COL_CLOSED + 1) > pg_int8(r, i, COL_OPEN + 1);
	if (!in_closed) {
		open_row(r, i, COL_OPEN, &row);
		item->fn(item->ctx, err_ok, &row);
		return;
	}
	struct arena *a = arena_new(0);
	struct err e = closed_row(s, r, i, a, &row);
	item->fn(item->ctx, e, err_is(e) ? NULL : &row);
	arena_free(a);
}

static void on_runs(void *ctx, const struct pg_done *d)
{
	struct read_ctx *c = ctx;
	const struct run_item *items = c->items;
	pg_store_read_done(c->s);
	size_t rows = err_is(d->e) ? 0 : pg_row_count(d->rows[0]), next = 0;
	/* Nested loops over the array keep its order; should a plan not, the ordinality says so. */
	size_t *row_of = mem_alloc(c->count * sizeof *row_of);
	for (size_t i = 0; i < c->count; i++)
		row_of[i] = SIZE_MAX;
	for (; next < rows; next++) {
		int64_t ord = pg_int8(d->rows[0], next, 0);
		if (ord >= 1 && (size_t)ord <= c->count)
			row_of[ord - 1] = next;
	}
	for (size_t i = 0; i < c->count; i++) {
		if (row_of[i] == SIZE_MAX)
			items[i].fn(items[i].ctx, pg_store_err(d->e), NULL);
		else
			answer_run(c->s, &items[i], d->rows[0], row_of[i]);
	}
	free(row_of);
}

static void send_runs(struct pg_store *s)
{
	struct read_ctx *c;
	struct pg_op *op = read_op(s, &s->loads, sizeof(struct run_item), RUNS_PER_READ, &c);
	const struct run_item *items = c->items;
	pg_op_add(op, &stmt_runs);
	struct pg_array *shards = pg_op_array(op, PG_INT4, c->count), *namespaces = pg_op_array(op, PG_TEXT, c->count),
			*workflows = pg_op_array(op, PG_TEXT, c->count), *runs = pg_op_array(op, PG_TEXT, c->count),
			*befores = pg_op_array(op, PG_INT8, c->count);
	for (size_t i = 0; i < c->count; i++) {
		pg_array_int4(shards, (int32_t)items[i].id.shard);
		pg_array_text(namespaces, items[i].id.namespace_id);
		pg_array_text(workflows, items[i].id.workflow_id);
		pg_array_text(runs, items[i].id.run_id);
		int64_t before = items[i].id.before_start_seq;
		pg_array_int8(befores, before ? min_i64(before, INT64_MAX - 1) : INT64_MAX);
	}
	pg_op_int8(op, env_wall_ns(s->base.env));
	pg_store_read(s, op, on_runs, c);
}

void pg_load_run(struct store *base, const struct store_run_id *id, store_run_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	*(struct run_item *)batch_add(&s->loads, sizeof(struct run_item)) =
		(struct run_item){.id = *id, .fn = fn, .ctx = ctx};
	env_defer(base->env, &s->flush_loads);
}

/* ------------------------------------------------------------------ history */

/* $1 to $4 as above, $5 first, $6 last event. A closed run's history is in its row, or, when long, beside it. */
static const struct pg_stmt stmt_histories = {
	"load_histories",
	"SELECT a.ord, h.first_event_id, h.last_event_id, h.codec, h.events "
	"FROM unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[]) WITH ORDINALITY"
	" a (shard_id, namespace_id, workflow_id, run_id, first, last, ord) "
	"CROSS JOIN LATERAL ("
	" SELECT o.first_event_id, o.last_event_id, 0 AS codec, o.events FROM history o"
	" WHERE o.shard_id = a.shard_id AND o.namespace_id = a.namespace_id COLLATE \"C\""
	"  AND o.workflow_id = a.workflow_id COLLATE \"C\" AND o.run_id = a.run_id COLLATE \"C\""
	"  AND o.first_event_id <= a.last AND o.last_event_id >= a.first"
	" UNION ALL"
	" SELECT 1, r.history_last, r.codec & 2, r.history FROM closed_run r"
	" WHERE r.shard_id = a.shard_id AND r.namespace_id = a.namespace_id COLLATE \"C\""
	"  AND r.workflow_id = a.workflow_id COLLATE \"C\" AND r.run_id = a.run_id COLLATE \"C\""
	"  AND r.history_last >= a.first AND r.history_last > 0 AND a.last >= 1"
	" UNION ALL"
	" SELECT c.first_event_id, c.last_event_id, c.codec, c.events FROM closed_history c"
	" WHERE c.shard_id = a.shard_id AND c.namespace_id = a.namespace_id COLLATE \"C\""
	"  AND c.workflow_id = a.workflow_id COLLATE \"C\" AND c.run_id = a.run_id COLLATE \"C\""
	"  AND c.first_event_id <= a.last AND c.last_event_id >= a.first) h "
	"ORDER BY a.ord, h.first_event_id"};

static void answer_history(struct pg_store *s, const struct history_item *item, const PGresult *r, size_t from,
			   size_t to)
{
	struct arena *a = arena_new(0);
	struct store_history_chunk *chunks = arena_array(a, struct store_history_chunk, to - from);
	struct err e = err_ok;
	for (size_t i = from; i < to && !err_is(e); i++) {
		struct store_history_chunk *c = &chunks[i - from];
		*c = (struct store_history_chunk){.namespace_id = item->id.namespace_id,
						  .workflow_id = item->id.workflow_id,
						  .run_id = item->id.run_id,
						  .first_event_id = pg_int8(r, i, 1),
						  .last_event_id = pg_int8(r, i, 2),
						  .events = pg_bytes(r, i, 4)};
		if (pg_int4(r, i, 3) && !pg_unzip(s, a, c->events, &c->events))
			e = err_make(a, ERR_INTERNAL, "the history of run %s can't be decompressed", item->id.run_id);
	}
	item->fn(item->ctx, e, err_is(e) ? NULL : chunks, err_is(e) ? 0 : to - from);
	arena_free(a);
}

static void on_histories(void *ctx, const struct pg_done *d)
{
	struct read_ctx *c = ctx;
	const struct history_item *items = c->items;
	pg_store_read_done(c->s);
	size_t rows = err_is(d->e) ? 0 : pg_row_count(d->rows[0]), from = 0;
	for (size_t i = 0; i < c->count; i++) {
		if (err_is(d->e)) {
			items[i].fn(items[i].ctx, pg_store_err(d->e), NULL, 0);
			continue;
		}
		size_t to = from;
		while (to < rows && pg_int8(d->rows[0], to, 0) == (int64_t)i + 1)
			to++;
		answer_history(c->s, &items[i], d->rows[0], from, to);
		from = to;
	}
}

static void send_histories(struct pg_store *s)
{
	struct read_ctx *c;
	struct pg_op *op = read_op(s, &s->histories, sizeof(struct history_item), HISTORIES_PER_READ, &c);
	const struct history_item *items = c->items;
	pg_op_add(op, &stmt_histories);
	struct pg_array *shards = pg_op_array(op, PG_INT4, c->count), *namespaces = pg_op_array(op, PG_TEXT, c->count),
			*workflows = pg_op_array(op, PG_TEXT, c->count), *runs = pg_op_array(op, PG_TEXT, c->count),
			*firsts = pg_op_array(op, PG_INT8, c->count), *lasts = pg_op_array(op, PG_INT8, c->count);
	for (size_t i = 0; i < c->count; i++) {
		pg_array_int4(shards, (int32_t)items[i].id.shard);
		pg_array_text(namespaces, items[i].id.namespace_id);
		pg_array_text(workflows, items[i].id.workflow_id);
		pg_array_text(runs, items[i].id.run_id);
		pg_array_int8(firsts, items[i].first);
		pg_array_int8(lasts, items[i].last);
	}
	pg_store_read(s, op, on_histories, c);
}

void pg_load_history(struct store *base, const struct store_run_id *run, int64_t first, int64_t last,
		     store_history_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	*(struct history_item *)batch_add(&s->histories, sizeof(struct history_item)) =
		(struct history_item){.id = *run, .first = first, .last = last, .fn = fn, .ctx = ctx};
	env_defer(base->env, &s->flush_loads);
}

/* ------------------------------------------------------------------ what is due */

#define DUE_COLUMNS                                                                                                    \
	"run_id, start_seq, applied_seq, open, outbound, status, wake_at, start_time, close_time, retention_end,"      \
	" snapshot, namespace_id, workflow_id"

/* $1 shards, $2 until, $3 $4 after (wake_at, run_id), $5 limits. One index scan a shard, in its order. */
static const struct pg_stmt stmt_due = {
	"load_due",
	"SELECT r.*, a.ord FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::text[], $5::int8[]) WITH ORDINALITY"
	" a (shard_id, until_ns, after_wake, after_run, most, ord) "
	"CROSS JOIN LATERAL (SELECT " DUE_COLUMNS " FROM run"
	" WHERE shard_id = a.shard_id AND wake_at < 9223372036854775807 AND wake_at <= a.until_ns"
	" AND (wake_at, run_id) > (a.after_wake, a.after_run COLLATE \"C\")"
	" ORDER BY wake_at, run_id LIMIT a.most) r ORDER BY a.ord, r.wake_at, r.run_id"};

static const struct pg_stmt stmt_outbound = {
	"load_outbound",
	"SELECT r.*, a.ord FROM unnest($1::int4[], $2::int8[], $3::int8[], $4::text[], $5::int8[]) WITH ORDINALITY"
	" a (shard_id, until_ns, after_wake, after_run, most, ord) "
	"CROSS JOIN LATERAL (SELECT " DUE_COLUMNS " FROM run"
	" WHERE shard_id = a.shard_id AND outbound AND listed_seq IS DISTINCT FROM applied_seq"
	" AND (wake_at, run_id) > (a.after_wake, a.after_run COLLATE \"C\")"
	" ORDER BY wake_at, run_id LIMIT a.most) r ORDER BY a.ord, r.wake_at, r.run_id"};

enum { COL_DUE_NAMESPACE = 11, COL_DUE_WORKFLOW, COL_DUE_ORD };

static void answer_due(const struct due_item *item, const PGresult *r, size_t from, size_t to)
{
	struct store_run_row *rows = mem_zalloc((to - from) * sizeof *rows);
	for (size_t i = from; i < to; i++) {
		struct store_run_row *row = &rows[i - from];
		row->shard = item->due.shard;
		row->namespace_id = pg_text(r, i, COL_DUE_NAMESPACE);
		row->workflow_id = pg_text(r, i, COL_DUE_WORKFLOW);
		open_row(r, i, 0, row);
	}
	item->fn(item->ctx, err_ok, rows, to - from);
	free(rows);
}

static void on_due(void *ctx, const struct pg_done *d)
{
	struct read_ctx *c = ctx;
	const struct due_item *items = c->items;
	pg_store_read_done(c->s);
	size_t rows = err_is(d->e) ? 0 : pg_row_count(d->rows[0]), from = 0;
	for (size_t i = 0; i < c->count; i++) {
		if (err_is(d->e)) {
			items[i].fn(items[i].ctx, pg_store_err(d->e), NULL, 0);
			continue;
		}
		size_t to = from;
		while (to < rows && pg_int8(d->rows[0], to, COL_DUE_ORD) == (int64_t)i + 1)
			to++;
		answer_due(&items[i], d->rows[0], from, to);
		from = to;
	}
}

static void send_due(struct pg_store *s, struct pg_batch *batch, const struct pg_stmt *stmt)
{
	struct read_ctx *c;
	struct pg_op *op = read_op(s, batch, sizeof(struct due_item), SHARDS_PER_READ, &c);
	const struct due_item *items = c->items;
	pg_op_add(op, stmt);
	struct pg_array *shards = pg_op_array(op, PG_INT4, c->count), *untils = pg_op_array(op, PG_INT8, c->count),
			*wakes = pg_op_array(op, PG_INT8, c->count), *runs = pg_op_array(op, PG_TEXT, c->count),
			*limits = pg_op_array(op, PG_INT8, c->count);
	for (size_t i = 0; i < c->count; i++) {
		const struct store_due *due = &items[i].due;
		pg_array_int4(shards, (int32_t)due->shard);
		pg_array_int8(untils, due->until_ns);
		pg_array_int8(wakes, due->after_run_id ? due->after_wake_ns : INT64_MIN);
		pg_array_text(runs, due->after_run_id);
		pg_array_int8(limits, (int64_t)due->limit);
		free((char *)due->after_run_id);
	}
	pg_store_read(s, op, on_due, c);
}

/* The page's end is usually of the page before, whose memory ends with its callback: copied until it is sent. */
void pg_load_due(struct store *base, const struct store_due *due, store_due_fn *fn, void *ctx)
{
	struct pg_store *s = pg_of(base);
	struct due_item *item = batch_add(due->outbound ? &s->outbounds : &s->dues, sizeof *item);
	*item = (struct due_item){.due = *due, .fn = fn, .ctx = ctx};
	if (due->after_run_id)
		item->due.after_run_id = mem_strdup(due->after_run_id);
	env_defer(base->env, &s->flush_loads);
}

/* ------------------------------------------------------------------ when they leave */

static void on_flush(struct env_task *t)
{
	struct pg_store *s = container_of(t, struct pg_store, flush_loads);
	while (s->loads.count && pg_store_reader_free(s))
		send_runs(s);
	while (s->histories.count && pg_store_reader_free(s))
		send_histories(s);
	while (s->dues.count && pg_store_reader_free(s))
		send_due(s, &s->dues, &stmt_due);
	while (s->outbounds.count && pg_store_reader_free(s))
		send_due(s, &s->outbounds, &stmt_outbound);
}

void pg_load_init(struct pg_store *s)
{
	s->flush_loads.fn = on_flush;
}

static void drop_due(struct pg_batch *b)
{
	const struct due_item *items = b->items;
	for (size_t i = 0; i < b->count; i++)
		free((char *)items[i].due.after_run_id);
	free(b->items);
}

void pg_load_done(struct pg_store *s)
{
	env_undefer(s->base.env, &s->flush_loads);
	drop_due(&s->dues);
	drop_due(&s->outbounds);
	free(s->loads.items);
	free(s->histories.items);
}
