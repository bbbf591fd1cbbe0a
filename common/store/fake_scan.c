/*
 * The store in memory: rows in the order of their keys. The rules are those of pg_scan.c.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

struct scan_call {
	struct fake_call call;
	struct store_scan scan;
	struct store_run_row *rows;
	size_t count;
	store_scan_fn *fn;
	void *ctx;
};

static int by_workflow(const struct store_run_row *x, const struct store_run_row *y)
{
	int order = strcmp(x->namespace_id, y->namespace_id);
	return order ? order : strcmp(x->workflow_id, y->workflow_id);
}

static int by_key(const void *a, const void *b)
{
	const struct store_run_row *x = a, *y = b;
	int order = by_workflow(x, y);
	return order ? order : strcmp(x->run_id, y->run_id);
}

static int by_closed_key(const void *a, const void *b)
{
	const struct store_run_row *x = a, *y = b;
	int order = by_workflow(x, y);
	if (!order && x->start_seq != y->start_seq)
		order = x->start_seq < y->start_seq ? -1 : 1;
	return order ? order : strcmp(x->run_id, y->run_id);
}

static bool is_scanned(const struct fake_call *c, const struct store_scan *scan, const struct fake_run *r)
{
	if (r->row.shard != scan->shard || r->closed != scan->closed)
		return false;
	if (r->closed && r->row.retention_end_ns <= env_wall_ns(c->s->base.env))
		return false;
	if (!scan->after_namespace_id)
		return true;
	const struct store_run_row after = {.namespace_id = scan->after_namespace_id,
					    .workflow_id = scan->after_workflow_id ? scan->after_workflow_id : "",
					    .start_seq = scan->after_start_seq,
					    .run_id = scan->after_run_id ? scan->after_run_id : ""};
	return (scan->closed ? by_closed_key : by_key)(&r->row, &after) > 0;
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

/* What else is in it must not be relied on. */
static struct store_run_row key_copy(struct arena *a, const struct store_run_row *from)
{
	return (struct store_run_row){.shard = from->shard,
				      .namespace_id = arena_strdup(a, from->namespace_id),
				      .workflow_id = arena_strdup(a, from->workflow_id),
				      .run_id = arena_strdup(a, from->run_id),
				      .start_seq = from->open || from->outbound ? 0 : from->start_seq};
}

static void run_scan(struct fake_call *c)
{
	struct scan_call *l = container_of(c, struct scan_call, call);
	struct fake_workflow *w, *tmp;
	struct fake_run *r;
	struct store_run_row *all = NULL;
	size_t cap = 0;
	HASH_ITER (hh, c->s->db->workflows, w, tmp) {
		DL_FOREACH (w->runs, r) {
			if (!is_scanned(c, &l->scan, r))
				continue;
			if (l->count == cap) {
				cap = cap ? 2 * cap : 16;
				all = mem_realloc(all, cap * sizeof *all);
			}
			all[l->count++] = r->row;
		}
	}
	if (l->count)
		qsort(all, l->count, sizeof *all, l->scan.closed ? by_closed_key : by_key);
	l->count = l->count < l->scan.limit ? l->count : l->scan.limit;
	l->rows = arena_array(c->arena, struct store_run_row, l->count);
	for (size_t i = 0; i < l->count; i++)
		l->rows[i] = l->scan.ids_only ? key_copy(c->arena, &all[i]) : row_copy(c->arena, &all[i]);
	free(all);
}

static void reply_scan(struct fake_call *c)
{
	struct scan_call *l = container_of(c, struct scan_call, call);
	bool ok = !err_is(c->err);
	fake_still_there(l->scan.after_run_id);
	l->fn(l->ctx, c->err, ok ? l->rows : NULL, ok ? l->count : 0);
}

void fake_scan(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx)
{
	struct scan_call *l = fake_call_new(fake_of(s), struct scan_call, FAKE_LANE_READ, run_scan, reply_scan);
	l->scan = *scan;
	l->fn = fn;
	l->ctx = ctx;
}
