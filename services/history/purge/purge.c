/*
 * Which deleted namespaces are to be swept in which of our shards, one at a time; and, at the owner of shard 0, their
 * end.
 */
#include "services/history/purge/purge.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/purge/sweep.h"

#define TICK_NS	    NS_PER_S
#define NEXT_NS	    (10 * NS_PER_MS)
#define RETRY_NS    (5 * NS_PER_S)
#define PROGRESS_NS (5 * NS_PER_S) /* how often the owner of shard 0 asks how far all are */

struct doomed {
	char *id, *name;
	int64_t version, delete_delay_ns;
	int64_t removed;  /* runs, when all shards were done */
	int64_t *clean;	  /* by shard: the epoch at which it was found empty; 0: not yet */
	int64_t asked_ns; /* monotonic: when its progress was asked for */
	bool listed;	  /* among the namespaces that there are now */
	struct doomed *prev, *next;
};

struct purge {
	struct history *h;
	struct env_timer tick;
	struct doomed *list;
	struct sweep *sweep;  /* NULL: none under way */
	struct doomed *swept; /* what it sweeps; NULL: that is gone meanwhile */
	uint32_t swept_shard;
	int64_t retry_ns;     /* monotonic: not before, after a failure */
	struct doomed *asked; /* whose progress is asked for, or who is being removed; stays in the list so long */
	struct purge_counts counts;
};

bool purge_is_deleted(const struct namespace *ns)
{
	return ns->record->state == TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_DELETED &&
	       ns->record->deleted_time_ns > 0;
}

/* ------------------------------------------------------------------ which ones */

static void doomed_free(struct purge *p, struct doomed *d)
{
	DL_DELETE(p->list, d);
	if (p->swept == d)
		p->swept = NULL;
	free(d->id);
	free(d->name);
	free(d->clean);
	free(d);
}

static struct doomed *doomed_get(struct purge *p, const struct namespace *ns)
{
	struct doomed *d;
	DL_FOREACH (p->list, d)
		if (str_eq(d->id, ns->id))
			return d;
	d = new0(struct doomed);
	d->id = mem_strdup(ns->id);
	d->name = mem_strdup(ns->name);
	d->clean = mem_zalloc(p->h->config.shard_count * sizeof *d->clean);
	DL_APPEND(p->list, d);
	log_info(p->h->log, "what a deleted namespace held is being removed", log_str("namespace", ns->name),
		 log_str("namespace_id", ns->id));
	return d;
}

/* Those that every node has heard of by now. */
static void follow_namespaces(struct purge *p)
{
	struct doomed *d, *tmp;
	size_t count;
	int64_t now = env_wall_ns(p->h->env);
	const struct namespace *all = namespaces_all(p->h->namespaces, &count);
	DL_FOREACH (p->list, d)
		d->listed = false;
	p->counts.waiting = 0;
	for (size_t i = 0; i < count; i++) {
		if (!purge_is_deleted(&all[i]))
			continue;
		p->counts.waiting++;
		if (now < all[i].record->deleted_time_ns + p->h->config.purge_grace_ns)
			continue;
		d = doomed_get(p, &all[i]);
		d->listed = true;
		d->version = all[i].version;
		d->delete_delay_ns = all[i].record->delete_delay_ns;
	}
	DL_FOREACH_SAFE (p->list, d, tmp)
		if (!d->listed && p->asked != d)
			doomed_free(p, d);
}

/* ------------------------------------------------------------------ our shards */

static void on_swept(void *ctx, bool clean, size_t removed)
{
	struct purge *p = ctx;
	struct shard *s = p->h->shards[p->swept_shard];
	p->sweep = NULL;
	p->counts.runs += removed;
	if (removed)
		log_debug(p->h->log, "runs of a deleted namespace removed", log_int("shard", s->id),
			  log_int("runs", (int64_t)removed));
	if (clean && p->swept)
		p->swept->clean[s->id] = s->epoch;
	if (!clean) {
		p->counts.failed++;
		p->retry_ns = env_mono_ns(p->h->env) + RETRY_NS;
	}
	p->swept = NULL;
	env_timer_start(p->h->env, &p->tick, NEXT_NS);
}

static void sweep_next(struct purge *p)
{
	struct doomed *d;
	if (p->sweep || env_mono_ns(p->h->env) < p->retry_ns)
		return;
	DL_FOREACH (p->list, d) {
		for (uint32_t i = 0; i < p->h->config.shard_count; i++) {
			struct shard *s = p->h->shards[i];
			if (!shard_serving(s) || d->clean[i] == s->epoch)
				continue;
			p->swept = d;
			p->swept_shard = i;
			p->sweep = sweep_start(s, d->id, on_swept, p);
			return;
		}
	}
}

/* ------------------------------------------------------------------ the end */

static void on_removed(void *ctx, struct err e)
{
	struct purge *p = ctx;
	struct doomed *d = p->asked;
	p->asked = NULL;
	if (err_is(e)) { /* ABORTED: somebody changed it; the next time it is seen as it is then */
		log_warn(p->h->log, "a deleted namespace's record could not be removed, will try again",
			 log_str("namespace", d->name), log_err(e));
		return;
	}
	p->counts.namespaces++;
	log_info(p->h->log, "a deleted namespace is gone", log_str("namespace", d->name),
		 log_str("namespace_id", d->id), log_int("runs", d->removed));
}

static void on_progress(void *ctx, struct err e, const struct store_purge_progress *progress)
{
	struct purge *p = ctx;
	struct doomed *d = p->asked;
	struct history *h = p->h;
	bool over = !err_is(e) && progress->shards_done == h->config.shard_count &&
		    env_wall_ns(h->env) >= progress->updated_ns + d->delete_delay_ns;
	if (!over || !d->listed || !shard_serving(h->shards[0])) {
		p->asked = NULL;
		return;
	}
	d->removed = progress->removed;
	store_namespace_delete(h->store, d->id, d->version, on_removed, p);
}

static void ask_next(struct purge *p)
{
	struct doomed *d;
	int64_t now = env_mono_ns(p->h->env);
	if (p->asked || !shard_serving(p->h->shards[0]))
		return;
	DL_FOREACH (p->list, d) {
		if (d->asked_ns && now - d->asked_ns < PROGRESS_NS)
			continue;
		d->asked_ns = now;
		p->asked = d;
		store_purge_progress(p->h->store, d->id, on_progress, p);
		return;
	}
}

/* ------------------------------------------------------------------ life */

static void on_tick(struct env_timer *t)
{
	struct purge *p = container_of(t, struct purge, tick);
	env_timer_start(p->h->env, t, TICK_NS);
	if (p->h->draining || !p->h->namespaces || !namespaces_loaded(p->h->namespaces))
		return;
	follow_namespaces(p);
	sweep_next(p);
	ask_next(p);
}

struct purge *purge_new(struct history *h)
{
	struct purge *p = new0(struct purge);
	p->h = h;
	p->tick.fn = on_tick;
	env_timer_start(h->env, &p->tick, TICK_NS);
	return p;
}

void purge_free(struct purge *p)
{
	if (!p)
		return;
	env_timer_stop(p->h->env, &p->tick);
	sweep_free(p->sweep);
	while (p->list)
		doomed_free(p, p->list);
	free(p);
}

struct purge_counts purge_counts(const struct purge *p)
{
	return p->counts;
}
