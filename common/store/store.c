/*
 * The store's public functions: each passes the call to the implementation.
 */
#include "common/store/store.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/store/store_impl.h"

void store_node_renew(struct store *s, const struct store_node *self, store_nodes_fn *fn, void *ctx)
{
	s->ops->node_renew(s, self, fn, ctx);
}

void store_node_leave(struct store *s, const char *node_id, uint64_t incarnation, store_done_fn *fn, void *ctx)
{
	s->ops->node_leave(s, node_id, incarnation, fn, ctx);
}

static void tell_listeners(void *ctx, const char *topic)
{
	struct store *s = ctx;
	for (size_t i = 0; i < s->listener_count; i++)
		s->listeners[i].fn(s->listeners[i].ctx, topic);
}

void store_on_notify(struct store *s, void (*fn)(void *ctx, const char *topic), void *ctx)
{
	assert(s->listener_count < STORE_LISTENERS_MAX);
	s->listeners[s->listener_count].fn = fn;
	s->listeners[s->listener_count].ctx = ctx;
	s->listener_count++;
	s->ops->on_notify(s, tell_listeners, s);
}

void store_shards(struct store *s, store_shards_fn *fn, void *ctx)
{
	s->ops->shards(s, fn, ctx);
}

void store_claim(struct store *s, const struct store_claim *claim, store_claimed_fn *fn, void *ctx)
{
	s->ops->claim(s, claim, fn, ctx);
}

void store_release(struct store *s, uint32_t shard, int64_t epoch, store_done_fn *fn, void *ctx)
{
	s->ops->release(s, shard, epoch, fn, ctx);
}

void store_read_journal(struct store *s, uint32_t shard, int64_t after_seq, store_journal_row_fn *row,
			store_done_fn *done, void *ctx)
{
	s->ops->read_journal(s, shard, after_seq, row, done, ctx);
}

void store_commit(struct store *s, struct store_append *appends, size_t count, store_commit_fn *fn, void *ctx)
{
	assert(count > 0);
	s->ops->commit(s, appends, count, fn, ctx);
}

void store_on_writer_reset(struct store *s, void (*fn)(void *ctx), void *ctx)
{
	s->ops->on_writer_reset(s, fn, ctx);
}

void store_load_run(struct store *s, const struct store_run_id *id, store_run_fn *fn, void *ctx)
{
	s->ops->load_run(s, id, fn, ctx);
}

void store_load_history(struct store *s, const struct store_run_id *run, int64_t first, int64_t last,
			store_history_fn *fn, void *ctx)
{
	assert(!str_empty(run->run_id));
	s->ops->load_history(s, run, first, last, fn, ctx);
}

void store_load_due(struct store *s, const struct store_due *due, store_due_fn *fn, void *ctx)
{
	s->ops->load_due(s, due, fn, ctx);
}

void store_load_tasks(struct store *s, const struct store_tasks *page, store_tasks_fn *fn, void *ctx)
{
	assert(page->limit > 0);
	s->ops->load_tasks(s, page, fn, ctx);
}

void store_sum_tasks(struct store *s, uint32_t shard, store_task_sums_fn *fn, void *ctx)
{
	s->ops->sum_tasks(s, shard, fn, ctx);
}

void store_scan(struct store *s, const struct store_scan *scan, store_scan_fn *fn, void *ctx)
{
	s->ops->scan(s, scan, fn, ctx);
}

void store_fold(struct store *s, const struct store_fold *fold, store_done_fn *fn, void *ctx)
{
	s->ops->fold(s, fold, fn, ctx);
}

void store_maintain_partitions(struct store *s, int64_t until_ns, store_upkept_fn *fn, void *ctx)
{
	s->ops->maintain_partitions(s, until_ns, fn, ctx);
}

void store_settings(struct store *s, store_settings_fn *fn, void *ctx)
{
	s->ops->settings(s, fn, ctx);
}

void store_namespaces(struct store *s, store_namespaces_fn *fn, void *ctx)
{
	s->ops->namespaces(s, fn, ctx);
}

void store_namespace_put(struct store *s, const struct store_namespace *ns, store_done_fn *fn, void *ctx)
{
	s->ops->namespace_put(s, ns, fn, ctx);
}

void store_namespace_delete(struct store *s, const char *id, int64_t version, store_done_fn *fn, void *ctx)
{
	s->ops->namespace_delete(s, id, version, fn, ctx);
}

void store_list_namespace(struct store *s, const struct store_listing *l, store_listed_fn *fn, void *ctx)
{
	s->ops->list_namespace(s, l, fn, ctx);
}

void store_purge(struct store *s, const struct store_purge *p, store_purged_fn *fn, void *ctx)
{
	assert(p->limit > 0);
	s->ops->purge(s, p, fn, ctx);
}

void store_purge_progress(struct store *s, const char *namespace_id, store_purge_progress_fn *fn, void *ctx)
{
	s->ops->purge_progress(s, namespace_id, fn, ctx);
}

void store_cluster(struct store *s, store_cluster_fn *fn, void *ctx)
{
	s->ops->cluster(s, fn, ctx);
}

void store_free(struct store *s)
{
	if (s)
		s->ops->free(s);
}

/* ------------------------------------------------------------------ claims */

void store_claims_set(struct store_claims *c, uint32_t shard, int64_t epoch)
{
	if (shard >= c->len) {
		size_t len = (size_t)shard + 64;
		c->epochs = mem_realloc(c->epochs, len * sizeof *c->epochs);
		memset(c->epochs + c->len, 0, (len - c->len) * sizeof *c->epochs);
		c->len = len;
	}
	c->epochs[shard] = epoch;
}

bool store_claims_hold(const struct store_claims *c, uint32_t shard, int64_t epoch)
{
	return shard < c->len && epoch > 0 && c->epochs[shard] == epoch;
}

void store_claims_clear(struct store_claims *c)
{
	if (c->len)
		memset(c->epochs, 0, c->len * sizeof *c->epochs);
}

void store_claims_done(struct store_claims *c)
{
	free(c->epochs);
	*c = (struct store_claims){0};
}
