/*
 * The store in memory: what a deleted namespace has left. The rules are those of pg_purge.c.
 */
#include <stdlib.h>

#include "common/store/fake_impl.h"

/* ------------------------------------------------------------------ listing */

struct list_call {
	struct fake_call call;
	struct store_listing listing;
	struct store_run_id *ids;
	size_t count;
	store_listed_fn *fn;
	void *ctx;
};

static int by_id(const void *a, const void *b)
{
	const struct store_run_id *x = a, *y = b;
	int order = strcmp(x->workflow_id, y->workflow_id);
	return order ? order : strcmp(x->run_id, y->run_id);
}

static bool is_listed(const struct store_listing *l, const struct fake_run *r)
{
	const struct store_run_id id = {.workflow_id = r->row.workflow_id, .run_id = r->row.run_id};
	const struct store_run_id after = {.workflow_id = l->after_workflow_id, .run_id = l->after_run_id};
	return !r->closed && r->row.shard == l->shard && str_eq(r->row.namespace_id, l->namespace_id) &&
	       (str_empty(l->after_workflow_id) || by_id(&id, &after) > 0);
}

static void run_list(struct fake_call *c)
{
	struct list_call *l = container_of(c, struct list_call, call);
	struct fake_workflow *w, *tmp;
	struct fake_run *r;
	size_t cap = 0;
	struct store_run_id *all = NULL;
	HASH_ITER (hh, c->s->db->workflows, w, tmp) {
		DL_FOREACH (w->runs, r) {
			if (!is_listed(&l->listing, r))
				continue;
			if (l->count == cap) {
				cap = cap ? 2 * cap : 16;
				all = mem_realloc(all, cap * sizeof *all);
			}
			all[l->count++] =
				(struct store_run_id){.shard = r->row.shard,
						      .namespace_id = l->listing.namespace_id,
						      .workflow_id = arena_strdup(c->arena, r->row.workflow_id),
						      .run_id = arena_strdup(c->arena, r->row.run_id)};
		}
	}
	if (l->count)
		qsort(all, l->count, sizeof *all, by_id);
	l->count = l->count < l->listing.limit ? l->count : l->listing.limit;
	l->ids = arena_array(c->arena, struct store_run_id, l->count);
	if (l->count)
		memcpy(l->ids, all, l->count * sizeof *all);
	free(all);
}

static void reply_list(struct fake_call *c)
{
	struct list_call *l = container_of(c, struct list_call, call);
	bool ok = !err_is(c->err);
	l->fn(l->ctx, c->err, ok ? l->ids : NULL, ok ? l->count : 0);
}

void fake_list_namespace(struct store *s, const struct store_listing *listing, store_listed_fn *fn, void *ctx)
{
	struct list_call *l = fake_call_new(fake_of(s), struct list_call, FAKE_LANE_READ, run_list, reply_list);
	l->listing = *listing;
	l->fn = fn;
	l->ctx = ctx;
}

/* ------------------------------------------------------------------ purging */

struct purge_call {
	struct fake_call call;
	struct store_purge purge;
	size_t removed;
	store_purged_fn *fn;
	void *ctx;
};

static struct fake_purge *progress_of(struct fake_db *db, const char *namespace_id, uint32_t shard)
{
	struct fake_purge *p;
	DL_FOREACH (db->purges, p)
		if (p->shard == shard && str_eq(p->namespace_id, namespace_id))
			return p;
	p = new0(struct fake_purge);
	p->namespace_id = mem_strdup(namespace_id);
	p->shard = shard;
	DL_APPEND(db->purges, p);
	return p;
}

static void run_purge(struct fake_call *c)
{
	struct purge_call *u = container_of(c, struct purge_call, call);
	const struct store_purge *p = &u->purge;
	struct fake_db *db = c->s->db;
	if (p->shard >= db->cluster.shard_count || db->shards[p->shard].epoch != p->epoch) {
		c->err = err_static(ERR_ABORTED, "the shard has a newer owner");
		c->err.reason = ERR_REASON_FENCED;
		return;
	}
	struct fake_workflow *w, *tmp;
	struct fake_run *r, *rtmp;
	HASH_ITER (hh, db->workflows, w, tmp) {
		if (u->removed >= p->limit)
			break;
		DL_FOREACH_SAFE (w->runs, r, rtmp) {
			if (!r->closed || r->row.shard != p->shard || !str_eq(r->row.namespace_id, p->namespace_id))
				continue;
			fake_run_free(w, r);
			u->removed++;
		}
	}
	if (!fake_db_has_namespace(db, p->namespace_id))
		return;
	struct fake_purge *progress = progress_of(db, p->namespace_id, p->shard);
	progress->removed += (int64_t)(p->removed + u->removed);
	progress->done = p->done || (progress->done && p->removed + u->removed == 0);
	progress->updated_ns = env_wall_ns(c->s->base.env);
}

static void reply_purge(struct fake_call *c)
{
	struct purge_call *u = container_of(c, struct purge_call, call);
	u->fn(u->ctx, c->err, err_is(c->err) ? 0 : u->removed);
}

void fake_purge(struct store *s, const struct store_purge *purge, store_purged_fn *fn, void *ctx)
{
	struct purge_call *u = fake_call_new(fake_of(s), struct purge_call, FAKE_LANE_FOLD, run_purge, reply_purge);
	u->purge = *purge;
	u->fn = fn;
	u->ctx = ctx;
}

/* ------------------------------------------------------------------ how far it is */

struct progress_call {
	struct fake_call call;
	const char *namespace_id;
	struct store_purge_progress progress;
	store_purge_progress_fn *fn;
	void *ctx;
};

static void run_progress(struct fake_call *c)
{
	struct progress_call *g = container_of(c, struct progress_call, call);
	struct fake_purge *p;
	DL_FOREACH (c->s->db->purges, p) {
		if (!str_eq(p->namespace_id, g->namespace_id))
			continue;
		g->progress.shards_done += p->done;
		g->progress.removed += p->removed;
		g->progress.updated_ns = max_i64(g->progress.updated_ns, p->updated_ns);
	}
}

static void reply_progress(struct fake_call *c)
{
	struct progress_call *g = container_of(c, struct progress_call, call);
	g->fn(g->ctx, c->err, err_is(c->err) ? NULL : &g->progress);
}

void fake_purge_progress(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx)
{
	struct progress_call *g =
		fake_call_new(fake_of(s), struct progress_call, FAKE_LANE_CONTROL, run_progress, reply_progress);
	g->namespace_id = arena_strdup(g->call.arena, namespace_id);
	g->fn = fn;
	g->ctx = ctx;
}

void fake_purges_forget(struct fake_db *db, const char *namespace_id)
{
	struct fake_purge *p, *tmp;
	DL_FOREACH_SAFE (db->purges, p, tmp) {
		if (namespace_id && !str_eq(p->namespace_id, namespace_id))
			continue;
		DL_DELETE(db->purges, p);
		free(p->namespace_id);
		free(p);
	}
}
