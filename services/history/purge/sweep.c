/*
 * One sweep: rounds of deleting what memory and the table of open runs have, until there is nothing; then the closed
 * runs; then a look whether the journal still has something.
 *
 *                          nothing was found
 *                      ┌──────────────────────────┐
 *     MEMORY ──► LIST ─┴─► loads ──► FOLD         └─► CLOSED ──► VERIFY ──► noted as done
 *       ▲                              │                           │
 *       └──────────────────────────────┴───────────────────────────┘
 *
 * Each step is small and followed by a pause: the shard's own work comes first.
 */
#include "services/history/purge/sweep.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define RUNS_PER_STEP	100
#define CLOSED_PER_STEP 500
#define PAUSE_NS	(20 * NS_PER_MS)
#define SETTLE_NS	(500 * NS_PER_MS) /* what is left now goes with work that is under way */

struct sweep {
	struct shard *shard;
	struct history *h;
	int64_t epoch;
	char *namespace_id;
	struct arena *after; /* holds the place in the listing */
	const char *after_workflow_id, *after_run_id;
	size_t loading;
	bool page_full;
	bool found;  /* in this round */
	bool failed; /* something could not be removed */
	size_t removed, noted;
	int64_t settled_seq; /* last_seq when memory had nothing of it; 0: not seen yet, or seen again since */
	struct waiter fold;
	struct env_timer pause;
	void (*next)(struct sweep *w);
	sweep_done_fn *fn;
	void *ctx;
};

static void step_memory(struct sweep *w);
static void step_list(struct sweep *w);
static void step_closed(struct sweep *w);
static void step_verify(struct sweep *w);

static void sweep_destroy(struct sweep *w)
{
	env_timer_stop(w->h->env, &w->pause);
	arena_free(w->after);
	free(w->namespace_id);
	free(w);
}

static void finish(struct sweep *w, bool clean)
{
	sweep_done_fn *fn = w->fn;
	void *ctx = w->ctx;
	size_t removed = w->removed;
	sweep_destroy(w);
	fn(ctx, clean, removed);
}

static bool shard_is_ours(const struct sweep *w)
{
	return shard_serving(w->shard) && w->shard->epoch == w->epoch && !w->h->draining;
}

static void on_pause(struct env_timer *t)
{
	struct sweep *w = container_of(t, struct sweep, pause);
	if (shard_is_ours(w))
		w->next(w);
	else
		finish(w, false);
}

static void pause_then(struct sweep *w, int64_t ns, void (*next)(struct sweep *w))
{
	w->next = next;
	env_timer_start(w->h->env, &w->pause, ns);
}

static void fail(struct sweep *w, const char *what, struct err e)
{
	if (shard_is_ours(w))
		log_warn(w->h->log, "removing a deleted namespace failed, will try again",
			 log_str("namespace_id", w->namespace_id), log_int("shard", w->shard->id),
			 log_str("what", what), log_err(e));
	finish(w, false);
}

/* ------------------------------------------------------------------ open runs, and what is in memory */

static void delete_run(struct sweep *w, struct workflow *wf, struct cached_run *run)
{
	struct txn t;
	arena_reset(w->h->scratch);
	transition_begin(&t, w->shard, wf, run, w->h->scratch);
	core_delete(&t);
	transition_commit(&t, wf, run);
	w->found = true;
	w->removed++;
}

static bool in_namespace(const struct sweep *w, const struct workflow *wf)
{
	return str_eq(wf->namespace_id, w->namespace_id);
}

static void begin_round(struct sweep *w)
{
	w->found = false;
	w->settled_seq = 0;
	w->after_workflow_id = w->after_run_id = NULL;
	step_memory(w);
}

static void step_memory(struct sweep *w)
{
	struct workflow *wf, *tmp;
	size_t count = 0;
	HASH_ITER (hh, w->shard->workflows, wf, tmp) {
		if (!in_namespace(w, wf))
			continue;
		for (struct cached_run *r = wf->runs; r && count < RUNS_PER_STEP; r = r->next_in_wf) {
			if (r->run->deleted)
				continue;
			delete_run(w, wf, r);
			count++;
		}
		if (count == RUNS_PER_STEP)
			break;
	}
	pause_then(w, PAUSE_NS, count == RUNS_PER_STEP ? step_memory : step_list);
}

struct load {
	struct run_wait wait;
	struct sweep *w;
};

static void on_folded(struct waiter *waiter, struct err e)
{
	struct sweep *w = container_of(waiter, struct sweep, fold);
	if (err_is(e))
		fail(w, "folding", e);
	else
		pause_then(w, PAUSE_NS, begin_round);
}

static void step_fold(struct sweep *w)
{
	w->fold = (struct waiter){.fn = on_folded};
	shard_fold(w->shard, &w->fold);
}

static void page_done(struct sweep *w)
{
	if (w->failed)
		fail(w, "reading a run", err_static(ERR_INTERNAL, "a run could not be loaded"));
	else
		pause_then(w, PAUSE_NS, w->page_full ? step_list : w->found ? step_fold : step_closed);
}

static void on_loaded(struct run_wait *wait, struct err e, struct workflow *wf, struct cached_run *run)
{
	struct load *l = container_of(wait, struct load, wait);
	struct sweep *w = l->w;
	free(l);
	if (err_is(e))
		w->failed = true;
	else if (run)
		delete_run(w, wf, run);
	if (--w->loading == 0)
		page_done(w);
}

static void load_and_delete(struct sweep *w, const struct store_run_id *id)
{
	struct workflow *wf = workflow_get(w->shard, id->namespace_id, id->workflow_id);
	if (workflow_run(wf, id->run_id))
		return; /* its row goes with the next fold */
	struct load *l = new0(struct load);
	*l = (struct load){.wait.fn = on_loaded, .w = w};
	w->loading++;
	workflow_load(wf, id->run_id, &l->wait);
}

static void on_listed(void *ctx, struct err e, const struct store_run_id *ids, size_t count)
{
	struct sweep *w = ctx;
	if (err_is(e) || !shard_is_ours(w)) {
		fail(w, "listing its runs", e);
		return;
	}
	w->page_full = count == RUNS_PER_STEP;
	w->found = w->found || count > 0;
	w->loading = 1; /* holds the page's end back */
	for (size_t i = 0; i < count; i++)
		load_and_delete(w, &ids[i]);
	arena_reset(w->after);
	if (count) {
		w->after_workflow_id = arena_strdup(w->after, ids[count - 1].workflow_id);
		w->after_run_id = arena_strdup(w->after, ids[count - 1].run_id);
	}
	if (--w->loading == 0)
		page_done(w);
}

static void step_list(struct sweep *w)
{
	const struct store_listing l = {
		.shard = w->shard->id,
		.namespace_id = w->namespace_id,
		.after_workflow_id = w->after_workflow_id,
		.after_run_id = w->after_run_id,
		.limit = RUNS_PER_STEP,
	};
	store_list_namespace(w->h->store, &l, on_listed, w);
}

/* ------------------------------------------------------------------ closed runs, and the end */

static void purge(struct sweep *w, bool done, store_purged_fn *fn)
{
	const struct store_purge p = {
		.shard = w->shard->id,
		.epoch = w->epoch,
		.namespace_id = w->namespace_id,
		.limit = CLOSED_PER_STEP,
		.removed = w->removed - w->noted,
		.done = done,
	};
	w->noted = w->removed;
	store_purge(w->h->store, &p, fn, w);
}

static void on_purged(void *ctx, struct err e, size_t removed)
{
	struct sweep *w = ctx;
	if (err_is(e)) {
		fail(w, "deleting its closed runs", e);
		return;
	}
	w->removed += removed;
	w->noted += removed;
	pause_then(w, PAUSE_NS, removed ? step_closed : step_verify);
}

static void step_closed(struct sweep *w)
{
	purge(w, false, on_purged);
}

static void on_noted(void *ctx, struct err e, size_t removed)
{
	struct sweep *w = ctx;
	if (err_is(e)) {
		fail(w, "noting that it is done", e);
		return;
	}
	w->removed += removed;
	w->noted += removed;
	if (removed)
		pause_then(w, PAUSE_NS, begin_round);
	else
		finish(w, true);
}

static void on_checkpoint(struct waiter *waiter, struct err e)
{
	struct sweep *w = container_of(waiter, struct sweep, fold);
	if (err_is(e))
		fail(w, "moving the checkpoint", e);
	else
		pause_then(w, SETTLE_NS, step_verify);
}

enum left { LEFT_NOTHING, LEFT_TOMBSTONES, LEFT_RUNS };

static enum left left_in_memory(const struct sweep *w)
{
	enum left left = LEFT_NOTHING;
	struct workflow *wf, *tmp;
	HASH_ITER (hh, w->shard->workflows, wf, tmp) {
		if (!in_namespace(w, wf))
			continue;
		left = LEFT_TOMBSTONES;
		for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf)
			if (!r->run->deleted)
				return LEFT_RUNS;
	}
	return left;
}

/* Once memory has nothing of it, the journal has nothing after what it has then. */
static void step_verify(struct sweep *w)
{
	enum left left = left_in_memory(w);
	if (left == LEFT_RUNS) {
		begin_round(w);
		return;
	}
	if (left == LEFT_NOTHING && w->settled_seq == 0)
		w->settled_seq = w->shard->last_seq;
	if (left == LEFT_NOTHING && w->shard->checkpoint_seq >= w->settled_seq) {
		purge(w, true, on_noted);
		return;
	}
	w->fold = (struct waiter){.fn = on_checkpoint};
	shard_fold(w->shard, &w->fold);
}

/* ------------------------------------------------------------------ life */

struct sweep *sweep_start(struct shard *s, const char *namespace_id, sweep_done_fn *fn, void *ctx)
{
	assert(shard_serving(s));
	struct sweep *w = new0(struct sweep);
	w->shard = s;
	w->h = s->h;
	w->epoch = s->epoch;
	w->namespace_id = mem_strdup(namespace_id);
	w->after = arena_new(0);
	w->fn = fn;
	w->ctx = ctx;
	w->pause.fn = on_pause;
	pause_then(w, 0, begin_round);
	return w;
}

void sweep_free(struct sweep *w)
{
	if (w)
		sweep_destroy(w);
}
