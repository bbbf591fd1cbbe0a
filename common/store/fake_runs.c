/*
 * The store in memory: runs, their history, and folds.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

/* ------------------------------------------------------------------ tables */

/* Owned by the caller. A control character parts the fields: ids have none (the key only serves this process). */
static char *workflow_key(uint32_t shard, const char *namespace_id, const char *workflow_id)
{
	struct buf b = {0};
	buf_printf(&b, "%u\x01%s\x01%s", shard, namespace_id ? namespace_id : "", workflow_id ? workflow_id : "");
	buf_put(&b, "", 1);
	size_t len;
	return (char *)buf_take(&b, &len);
}

static struct fake_workflow *workflow_find(struct fake_db *db, uint32_t shard, const char *ns, const char *wid)
{
	char *key = workflow_key(shard, ns, wid);
	struct fake_workflow *w;
	HASH_FIND_STR(db->workflows, key, w);
	free(key);
	return w;
}

static struct fake_workflow *workflow_get(struct fake_db *db, uint32_t shard, const char *ns, const char *wid)
{
	struct fake_workflow *w = workflow_find(db, shard, ns, wid);
	if (w)
		return w;
	w = new0(struct fake_workflow);
	w->key = workflow_key(shard, ns, wid);
	HASH_ADD_KEYPTR(hh, db->workflows, w->key, strlen(w->key), w);
	return w;
}

static struct fake_run *run_find(struct fake_workflow *w, const char *run_id)
{
	struct fake_run *r = NULL;
	if (w)
		DL_FOREACH (w->runs, r) {
			if (str_eq(r->row.run_id, run_id))
				break;
		}
	return r;
}

static void row_clear(struct store_run_row *row)
{
	free((void *)row->namespace_id);
	free((void *)row->workflow_id);
	free((void *)row->run_id);
	free((void *)row->snapshot.data);
	*row = (struct store_run_row){0};
}

void fake_run_free(struct fake_workflow *w, struct fake_run *r)
{
	DL_DELETE(w->runs, r);
	row_clear(&r->row);
	for (size_t i = 0; i < r->chunk_count; i++)
		fake_bytes_free(&r->chunks[i].events);
	free(r->chunks);
	free(r);
}

static struct store_run_row row_copy(struct arena *a, const struct store_run_row *from)
{
	struct store_run_row row = *from;
	row.namespace_id = arena_strdup(a, from->namespace_id);
	row.workflow_id = arena_strdup(a, from->workflow_id);
	row.run_id = arena_strdup(a, from->run_id);
	row.snapshot = arena_copy(a, from->snapshot);
	return row;
}

/* ------------------------------------------------------------------ loading a run */

struct load_call {
	struct fake_call call;
	struct store_run_id id;
	struct store_run_row row;
	bool found;
	store_run_fn *fn;
	void *ctx;
};

static void id_still_there(const struct store_run_id *id)
{
	fake_still_there(id->namespace_id);
	fake_still_there(id->workflow_id);
	fake_still_there(id->run_id);
}

static bool expired(const struct fake_run *r, int64_t now_ns)
{
	return r->closed && r->row.retention_end_ns <= now_ns;
}

static bool preferred(const struct fake_run *a, const struct fake_run *b, bool open_first)
{
	if (open_first && a->row.open != b->row.open)
		return a->row.open;
	return a->row.start_seq > b->row.start_seq;
}

/* The open run first, then the latest; of those before something, the latest. */
static struct fake_run *current_run(struct fake_workflow *w, int64_t before_start_seq, int64_t now_ns)
{
	struct fake_run *best = NULL, *r;
	if (w)
		DL_FOREACH (w->runs, r) {
			if ((before_start_seq && r->row.start_seq >= before_start_seq) || expired(r, now_ns))
				continue;
			if (!best || preferred(r, best, !before_start_seq))
				best = r;
		}
	return best;
}

static void run_load(struct fake_call *c)
{
	struct load_call *l = container_of(c, struct load_call, call);
	const struct store_run_id *id = &l->id;
	struct fake_workflow *w = workflow_find(c->s->db, id->shard, id->namespace_id, id->workflow_id);
	int64_t now = env_wall_ns(c->s->base.env);
	struct fake_run *r =
		str_empty(id->run_id) ? current_run(w, id->before_start_seq, now) : run_find(w, id->run_id);
	if (!r || expired(r, now))
		return;
	l->row = row_copy(c->arena, &r->row);
	l->found = true;
}

static void reply_load(struct fake_call *c)
{
	struct load_call *l = container_of(c, struct load_call, call);
	id_still_there(&l->id);
	l->fn(l->ctx, c->err, !err_is(c->err) && l->found ? &l->row : NULL);
}

void fake_load_run(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx)
{
	struct load_call *l = fake_call_new(fake_of(s), struct load_call, FAKE_LANE_READ, run_load, reply_load);
	l->id = *id;
	l->fn = fn;
	l->ctx = ctx;
}

/* ------------------------------------------------------------------ loading history */

struct history_call {
	struct fake_call call;
	struct store_run_id id;
	int64_t first, last;
	struct store_history_chunk *chunks;
	size_t count;
	store_history_fn *fn;
	void *ctx;
};

static void run_history(struct fake_call *c)
{
	struct history_call *h = container_of(c, struct history_call, call);
	const struct store_run_id *id = &h->id;
	struct fake_workflow *w = workflow_find(c->s->db, id->shard, id->namespace_id, id->workflow_id);
	struct fake_run *r = run_find(w, id->run_id);
	if (!r)
		return;
	h->chunks = arena_array(c->arena, struct store_history_chunk, r->chunk_count);
	for (size_t i = 0; i < r->chunk_count; i++) {
		const struct fake_chunk *from = &r->chunks[i];
		if (from->last < h->first || from->first > h->last)
			continue;
		h->chunks[h->count++] = (struct store_history_chunk){.namespace_id = id->namespace_id,
								     .workflow_id = id->workflow_id,
								     .run_id = id->run_id,
								     .first_event_id = from->first,
								     .last_event_id = from->last,
								     .events = arena_copy(c->arena, from->events)};
	}
}

static void reply_history(struct fake_call *c)
{
	struct history_call *h = container_of(c, struct history_call, call);
	bool ok = !err_is(c->err);
	id_still_there(&h->id);
	h->fn(h->ctx, c->err, ok ? h->chunks : NULL, ok ? h->count : 0);
}

void fake_load_history(struct store *s, const struct store_run_id *run, int64_t first, int64_t last,
		       store_history_fn *fn, void *ctx)
{
	struct history_call *h =
		fake_call_new(fake_of(s), struct history_call, FAKE_LANE_READ, run_history, reply_history);
	h->id = *run;
	h->first = first;
	h->last = last;
	h->fn = fn;
	h->ctx = ctx;
}

/* ------------------------------------------------------------------ what is due */

struct due_call {
	struct fake_call call;
	struct store_due due;
	struct store_run_row *rows;
	size_t count;
	store_due_fn *fn;
	void *ctx;
};

static int row_order(int64_t wake_a, const char *run_a, int64_t wake_b, const char *run_b)
{
	if (wake_a != wake_b)
		return wake_a < wake_b ? -1 : 1;
	return strcmp(run_a, run_b);
}

static int by_wake(const void *a, const void *b)
{
	const struct store_run_row *x = a, *y = b;
	return row_order(x->wake_at_ns, x->run_id, y->wake_at_ns, y->run_id);
}

static bool is_due(const struct store_due *due, const struct fake_run *r)
{
	const struct store_run_row *row = &r->row;
	if (r->closed || row->shard != due->shard)
		return false;
	if (due->outbound ? (!row->outbound || row->listed)
			  : (row->wake_at_ns == INT64_MAX || row->wake_at_ns > due->until_ns))
		return false;
	return !due->after_run_id || row_order(row->wake_at_ns, row->run_id, due->after_wake_ns, due->after_run_id) > 0;
}

static void run_due(struct fake_call *c)
{
	struct due_call *d = container_of(c, struct due_call, call);
	struct fake_workflow *w, *tmp;
	struct fake_run *r;
	struct store_run_row *all = NULL;
	size_t count = 0, cap = 0;
	HASH_ITER (hh, c->s->db->workflows, w, tmp) {
		DL_FOREACH (w->runs, r) {
			if (!is_due(&d->due, r))
				continue;
			if (count == cap) {
				cap = cap ? cap * 2 : 16;
				all = mem_realloc(all, cap * sizeof *all);
			}
			all[count++] = r->row;
		}
	}
	if (count)
		qsort(all, count, sizeof *all, by_wake);
	d->count = count < d->due.limit ? count : d->due.limit;
	d->rows = arena_array(c->arena, struct store_run_row, d->count);
	for (size_t i = 0; i < d->count; i++)
		d->rows[i] = row_copy(c->arena, &all[i]);
	free(all);
}

static void reply_due(struct fake_call *c)
{
	struct due_call *d = container_of(c, struct due_call, call);
	bool ok = !err_is(c->err);
	fake_still_there(d->due.after_run_id);
	d->fn(d->ctx, c->err, ok ? d->rows : NULL, ok ? d->count : 0);
}

void fake_load_due(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx)
{
	struct due_call *d = fake_call_new(fake_of(s), struct due_call, FAKE_LANE_READ, run_due, reply_due);
	d->due = *due;
	d->fn = fn;
	d->ctx = ctx;
}

/* ------------------------------------------------------------------ fold */

struct fold_call {
	struct fake_call call;
	struct store_fold fold;
	store_done_fn *fn;
	void *ctx;
};

static void fold_row(struct fake_db *db, const struct store_run_row *row)
{
	struct fake_workflow *w = workflow_get(db, row->shard, row->namespace_id, row->workflow_id);
	struct fake_run *r = run_find(w, row->run_id);
	if (r && r->row.applied_seq > row->applied_seq)
		return;
	bool closed = store_row_is_closed(row);
	if (row->deleted || (closed && row->retention_end_ns <= db->dropped_until_ns)) {
		if (r)
			fake_run_free(w, r);
		return;
	}
	if (!r) {
		r = new0(struct fake_run);
		DL_APPEND(w->runs, r);
	}
	struct store_run_row copy = *row;
	copy.namespace_id = mem_strdup(row->namespace_id);
	copy.workflow_id = mem_strdup(row->workflow_id);
	copy.run_id = mem_strdup(row->run_id);
	copy.snapshot = fake_bytes_dup(row->snapshot);
	row_clear(&r->row);
	r->row = copy;
	r->closed = closed;
}

/* What lies within the chunk from `at` on, that one aside, says nothing more. */
static void drop_covered(struct fake_run *r, size_t at)
{
	while (at + 1 < r->chunk_count && r->chunks[at + 1].last <= r->chunks[at].last) {
		fake_bytes_free(&r->chunks[at + 1].events);
		r->chunk_count--;
		memmove(r->chunks + at + 1, r->chunks + at + 2, (r->chunk_count - at - 1) * sizeof *r->chunks);
	}
}

/*
 * Same first event: replaces, unless it is shorter. A run whose row is hidden (its retention is over) and whose journal
 * is still there may be folded from its first event once more.
 */
static void fold_chunk(struct fake_db *db, uint32_t shard, const struct store_history_chunk *chunk)
{
	struct fake_workflow *w = workflow_find(db, shard, chunk->namespace_id, chunk->workflow_id);
	struct fake_run *r = run_find(w, chunk->run_id);
	if (!r)
		return;
	size_t at = 0;
	while (at < r->chunk_count && r->chunks[at].first < chunk->first_event_id)
		at++;
	if (at < r->chunk_count && r->chunks[at].first == chunk->first_event_id) {
		if (r->chunks[at].last > chunk->last_event_id)
			return;
		fake_bytes_free(&r->chunks[at].events);
	} else {
		r->chunks = mem_realloc(r->chunks, (r->chunk_count + 1) * sizeof *r->chunks);
		memmove(r->chunks + at + 1, r->chunks + at, (r->chunk_count - at) * sizeof *r->chunks);
		r->chunk_count++;
	}
	r->chunks[at] = (struct fake_chunk){
		.first = chunk->first_event_id, .last = chunk->last_event_id, .events = fake_bytes_dup(chunk->events)};
	drop_covered(r, at);
}

static void run_fold(struct fake_call *c)
{
	const struct store_fold *f = &container_of(c, struct fold_call, call)->fold;
	struct fake_db *db = c->s->db;
	if (f->shard >= db->cluster.shard_count || db->shards[f->shard].epoch != f->epoch) {
		c->err = err_static(ERR_ABORTED, "the shard has a newer owner");
		c->err.reason = ERR_REASON_FENCED;
		return;
	}
	for (size_t i = 0; i < f->row_count; i++) {
		if (!store_row_lacks_retention(&f->rows[i]))
			continue;
		c->err = err_static(ERR_INTERNAL, "a closed run has no retention end");
		return;
	}
	for (size_t i = 0; db->refused && i < f->row_count; i++) {
		if (!str_eq(db->refused, f->rows[i].workflow_id))
			continue;
		c->err = err_static(ERR_INTERNAL, "a column cannot hold it");
		return;
	}
	for (size_t i = 0; i < f->row_count; i++)
		fold_row(db, &f->rows[i]);
	for (size_t i = 0; i < f->chunk_count; i++)
		fold_chunk(db, f->shard, &f->chunks[i]);
	fake_fold_tasks(db, f);
	fake_checkpoint(&db->shards[f->shard], f->checkpoint_seq);
}

static void reply_fold(struct fake_call *c)
{
	struct fold_call *f = container_of(c, struct fold_call, call);
	for (size_t i = 0; i < f->fold.row_count; i++) {
		fake_still_there(f->fold.rows[i].namespace_id);
		fake_still_there(f->fold.rows[i].workflow_id);
		fake_still_there(f->fold.rows[i].run_id);
	}
	f->fn(f->ctx, c->err);
}

void fake_fold(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx)
{
	struct fold_call *f = fake_call_new(fake_of(s), struct fold_call, FAKE_LANE_FOLD, run_fold, reply_fold);
	f->fold = *fold;
	f->fn = fn;
	f->ctx = ctx;
}

void fake_db_refuse(struct fake_db *db, const char *workflow_id)
{
	free(db->refused);
	db->refused = workflow_id ? mem_strdup(workflow_id) : NULL;
}

/* ------------------------------------------------------------------ retention */

struct upkeep_call {
	struct fake_call call;
	struct store_upkept done;
	int64_t until_ns;
	store_upkept_fn *fn;
	void *ctx;
};

static void run_maintain(struct fake_call *c)
{
	struct upkeep_call *u = container_of(c, struct upkeep_call, call);
	struct fake_db *db = c->s->db;
	db->dropped_until_ns = max_i64(db->dropped_until_ns, env_wall_ns(c->s->base.env));
	struct fake_workflow *w, *wtmp;
	struct fake_run *r, *rtmp;
	HASH_ITER (hh, db->workflows, w, wtmp) {
		DL_FOREACH_SAFE (w->runs, r, rtmp) {
			if (!expired(r, db->dropped_until_ns))
				continue;
			fake_run_free(w, r);
			u->done.dropped++;
		}
	}
	u->done.from_ns = db->dropped_until_ns;
	u->done.to_ns = u->until_ns;
}

static void reply_maintain(struct fake_call *c)
{
	struct upkeep_call *u = container_of(c, struct upkeep_call, call);
	u->fn(u->ctx, c->err, err_is(c->err) ? NULL : &u->done);
}

void fake_maintain_partitions(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx)
{
	struct upkeep_call *u =
		fake_call_new(fake_of(s), struct upkeep_call, FAKE_LANE_FOLD, run_maintain, reply_maintain);
	u->until_ns = until_ns;
	u->fn = fn;
	u->ctx = ctx;
}

/* ------------------------------------------------------------------ looking inside */

void fake_db_each_run(const struct fake_db *db, void (*fn)(void *ctx, const struct store_run_row *row), void *ctx)
{
	struct fake_workflow *w, *tmp;
	struct fake_run *r;
	HASH_ITER (hh, db->workflows, w, tmp) {
		DL_FOREACH (w->runs, r) {
			fn(ctx, &r->row);
		}
	}
}

void fake_db_each_chunk(const struct fake_db *db, const struct store_run_row *row,
			void (*fn)(void *ctx, const struct store_history_chunk *chunk), void *ctx)
{
	struct fake_workflow *w = workflow_find((struct fake_db *)db, row->shard, row->namespace_id, row->workflow_id);
	struct fake_run *r = run_find(w, row->run_id);
	for (size_t i = 0; r && i < r->chunk_count; i++) {
		const struct store_history_chunk chunk = {.namespace_id = row->namespace_id,
							  .workflow_id = row->workflow_id,
							  .run_id = row->run_id,
							  .first_event_id = r->chunks[i].first,
							  .last_event_id = r->chunks[i].last,
							  .events = r->chunks[i].events};
		fn(ctx, &chunk);
	}
}

void fake_runs_free(struct fake_db *db)
{
	struct fake_workflow *w, *tmp;
	HASH_ITER (hh, db->workflows, w, tmp) {
		while (w->runs)
			fake_run_free(w, w->runs);
		HASH_DEL(db->workflows, w);
		free(w->key);
		free(w);
	}
}
