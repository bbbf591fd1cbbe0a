/*
 * What becomes of each row of a fold, and the packing of closed runs: one row with everything compressed in it, or, for
 * a long history, chunks beside it.
 */
#include <stdlib.h>

#include "common/store/pg_store.h"

/* Up to here (before compression) a closed run's history is kept in its row. */
#define INLINE_HISTORY_BYTES_MAX ((size_t)256 * 1024)

static char *row_key(struct arena *a, const char *namespace_id, const char *workflow_id, const char *run_id)
{
	return arena_printf(a, "%s\x01%s\x01%s", namespace_id, workflow_id, run_id);
}

static enum pg_fate fate_of(const struct pg_store *s, const struct store_run_row *row)
{
	if (row->deleted)
		return PG_FATE_GONE;
	if (!store_row_is_closed(row))
		return PG_FATE_OPEN;
	return row->retention_end_ns < s->partitions_from_ns ? PG_FATE_GONE : PG_FATE_CLOSED;
}

static struct pg_fold_row *plan_row(struct pg_fold *f, const struct store_run_row *row)
{
	char *key = row_key(f->arena, row->namespace_id, row->workflow_id, row->run_id);
	struct pg_fold_row *r = arena_alloc(f->arena, sizeof *r);
	r->row = row;
	r->fate = fate_of(f->s, row);
	HASH_ADD_KEYPTR(hh, f->by_key, key, strlen(key), r);
	f->counts[r->fate]++;
	return r;
}

static void plan_chunk(struct pg_fold *f, size_t i)
{
	const struct store_history_chunk *c = &f->fold.chunks[i];
	char *key = row_key(f->arena, c->namespace_id, c->workflow_id, c->run_id);
	struct pg_fold_row *r;
	HASH_FIND(hh, f->by_key, key, strlen(key), r);
	f->chunk_is_open[i] = !r || r->fate == PG_FATE_OPEN;
	f->open_chunks += f->chunk_is_open[i];
	if (!r || r->fate != PG_FATE_CLOSED)
		return;
	pg_fold_add_chunk(f, r, c->first_event_id, c->last_event_id, c->events);
}

static bool follows_from_one(const struct pg_fold_row *r)
{
	int64_t next = 1;
	for (size_t i = 0; i < r->chunk_count; i++) {
		if (r->chunks[i].first != next)
			return false;
		next = r->chunks[i].last + 1;
	}
	return true;
}

struct err pg_fold_plan(struct pg_fold *f)
{
	HASH_CLEAR(hh, f->by_key);
	memset(f->counts, 0, sizeof f->counts);
	f->open_chunks = f->beside_chunks = 0;
	f->rows = arena_array(f->arena, struct pg_fold_row *, f->fold.row_count);
	f->chunk_is_open = arena_array(f->arena, bool, f->fold.chunk_count);
	for (size_t i = 0; i < f->fold.row_count; i++) {
		const struct store_run_row *row = &f->fold.rows[i];
		if (store_row_lacks_retention(row))
			return err_make(f->arena, ERR_INTERNAL, "closed run %s has no retention end", row->run_id);
		f->rows[i] = plan_row(f, row);
	}
	for (size_t i = 0; i < f->fold.chunk_count; i++)
		plan_chunk(f, i);
	for (size_t i = 0; i < f->fold.row_count; i++)
		f->rows[i]->whole = f->rows[i]->chunk_count > 0 && follows_from_one(f->rows[i]);
	return err_ok;
}

/* Ascending; of two that begin with the same event the longer one stays. */
void pg_fold_add_chunk(struct pg_fold *f, struct pg_fold_row *r, int64_t first, int64_t last, struct bytes events)
{
	size_t at = r->chunk_count;
	while (at > 0 && r->chunks[at - 1].first > first)
		at--;
	const struct pg_chunk chunk = {.first = first, .last = last, .events = events};
	if (at > 0 && r->chunks[at - 1].first == first) {
		if (r->chunks[at - 1].last < last)
			r->chunks[at - 1] = chunk;
		return;
	}
	if (r->chunk_count == r->chunk_cap) {
		size_t cap = r->chunk_cap ? r->chunk_cap * 2 : 4;
		struct pg_chunk *grown = arena_array(f->arena, struct pg_chunk, cap);
		if (r->chunk_count)
			memcpy(grown, r->chunks, r->chunk_count * sizeof *grown);
		r->chunks = grown;
		r->chunk_cap = cap;
	}
	memmove(r->chunks + at + 1, r->chunks + at, (r->chunk_count - at) * sizeof *r->chunks);
	r->chunks[at] = chunk;
	r->chunk_count++;
}

static bool fits_inline(const struct pg_fold_row *r, size_t *ret_bytes)
{
	size_t bytes = 0;
	for (size_t i = 0; i < r->chunk_count; i++)
		bytes += r->chunks[i].events.len;
	*ret_bytes = bytes;
	return bytes <= INLINE_HISTORY_BYTES_MAX && follows_from_one(r);
}

static struct bytes joined(struct arena *a, const struct pg_fold_row *r, size_t bytes)
{
	if (r->chunk_count == 1)
		return r->chunks[0].events;
	uint8_t *to = arena_alloc(a, bytes);
	size_t at = 0;
	for (size_t i = 0; i < r->chunk_count; i++) {
		if (r->chunks[i].events.len)
			memcpy(to + at, r->chunks[i].events.data, r->chunks[i].events.len);
		at += r->chunks[i].events.len;
	}
	return bytes_of(to, at);
}

static void pack_row(struct pg_fold *f, struct pg_fold_row *r)
{
	bool zipped;
	size_t bytes;
	r->snapshot = pg_zip(f->s, f->arena, r->row->snapshot, &zipped);
	r->codec = zipped ? PG_CODEC_SNAPSHOT : 0;
	r->history = bytes_str("");
	if (r->chunk_count == 0)
		return;
	if (fits_inline(r, &bytes)) {
		r->history_last = r->chunks[r->chunk_count - 1].last;
		r->history = pg_zip(f->s, f->arena, joined(f->arena, r, bytes), &zipped);
		r->codec |= zipped ? PG_CODEC_HISTORY : 0;
		return;
	}
	for (size_t i = 0; i < r->chunk_count; i++) {
		struct pg_chunk *c = &r->chunks[i];
		c->events = pg_zip(f->s, f->arena, c->events, &c->zipped);
	}
	f->beside_chunks += r->chunk_count;
}

void pg_fold_pack(struct pg_fold *f)
{
	for (size_t i = 0; i < f->fold.row_count; i++)
		if (f->rows[i]->fate == PG_FATE_CLOSED)
			pack_row(f, f->rows[i]);
}
