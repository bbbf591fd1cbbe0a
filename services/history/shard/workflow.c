/*
 * Workflow ids and runs in memory: finding, loading, adding, dropping.
 *
 * One load a run id at a time; requests for it queue behind the load and are answered in order. A load that comes back
 * after the shard was dropped finds its workflow gone: loads are cut off by shard_lose() through `abandoned`.
 *
 * A run that was deleted stays in memory, as gone, until its row is: so that nothing reads the row back.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/dispatch.h"

struct run_load {
	struct workflow *wf; /* NULL: abandoned */
	/* The store reads them until it answers; the workflow may be gone by then. */
	char *namespace_id, *workflow_id;
	char *run_id; /* "": the current one */
	int64_t epoch;
	int64_t before_start_seq; /* of the current one: those that began later are gone; 0: any */
	struct run_wait *waits, **tail;
	struct run_load *next;
};

static char *key_of(const char *namespace_id, const char *workflow_id)
{
	size_t n = strlen(namespace_id), w = strlen(workflow_id);
	char *key = mem_alloc(n + w + 2);
	memcpy(key, namespace_id, n);
	key[n] = '/';
	memcpy(key + n + 1, workflow_id, w + 1);
	return key;
}

struct workflow *workflow_get(struct shard *s, const char *namespace_id, const char *workflow_id)
{
	char *key = key_of(namespace_id, workflow_id);
	struct workflow *wf = NULL;
	HASH_FIND_STR(s->workflows, key, wf);
	if (wf) {
		free(key);
		return wf;
	}
	wf = new0(struct workflow);
	wf->key = key;
	wf->namespace_id = mem_strdup(namespace_id);
	wf->workflow_id = key + strlen(namespace_id) + 1;
	wf->shard = s;
	HASH_ADD_KEYPTR(hh, s->workflows, wf->key, strlen(wf->key), wf);
	return wf;
}

void workflow_put(struct workflow *wf)
{
	if (wf->runs || wf->loads || wf->pins)
		return;
	HASH_DEL(wf->shard->workflows, wf);
	free(wf->key);
	free(wf->namespace_id);
	free(wf);
}

struct cached_run *workflow_run(const struct workflow *wf, const char *run_id)
{
	for (struct cached_run *r = wf->runs; r; r = r->next_in_wf)
		if (str_eq(r->run->start->run_id, run_id))
			return r;
	return NULL;
}

void workflow_forget_current(struct workflow *wf)
{
	wf->current = NULL;
	wf->current_known = false;
}

/* What is in memory is all there is, if the database surely knows nothing of the id. */
static bool absent(const struct workflow *wf)
{
	return known_absent(wf->shard->h->known, wf->shard, wf->namespace_id, wf->workflow_id);
}

static struct cached_run *latest(const struct workflow *wf);

bool workflow_find(struct workflow *wf, const char *run_id, struct cached_run **ret_run)
{
	if (str_empty(run_id)) {
		if (wf->current && cached_run_gone(wf->current))
			workflow_forget_current(wf);
		if (!wf->current_known && absent(wf)) {
			wf->current = latest(wf);
			wf->current_known = true;
		}
		*ret_run = wf->current;
		return wf->current_known;
	}
	struct cached_run *r = workflow_run(wf, run_id);
	*ret_run = r && !cached_run_gone(r) ? r : NULL;
	return r != NULL || absent(wf);
}

int64_t workflow_seq(const struct workflow *wf)
{
	int64_t seq = 0;
	for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf)
		seq = max_i64(seq, r->seq);
	return seq;
}

static bool newer(const struct cached_run *a, const struct cached_run *b)
{
	return !b || a->run->start->start_seq > b->run->start->start_seq;
}

/* Of those in memory. */
static struct cached_run *latest(const struct workflow *wf)
{
	struct cached_run *best = NULL;
	for (struct cached_run *r = wf->runs; r; r = r->next_in_wf)
		if (!cached_run_gone(r) && newer(r, best))
			best = r;
	return best;
}

struct cached_run *workflow_add_run(struct workflow *wf, struct run *run)
{
	struct shard *s = wf->shard;
	struct cached_run *r = new0(struct cached_run);
	r->wf = wf;
	r->run = run;
	r->serial = ++s->h->last_run_serial;
	r->log = history_log_new();
	r->wake_ns = INT64_MAX;
	r->next_in_wf = wf->runs;
	wf->runs = r;
	DL_APPEND2(s->lru, r, lru_prev, lru_next);
	r->used_ns = env_mono_ns(s->h->env);
	s->run_count++;
	known_add(s->h->known, s, wf->namespace_id, wf->workflow_id);
	return r;
}

struct cached_run *workflow_add_row(struct shard *s, const struct store_run_row *row, struct err *ret_err)
{
	*ret_err = err_ok;
	/* A row of what we have not committed: somebody else did, and we have not heard of it yet. */
	if (row->applied_seq > s->last_seq) {
		*ret_err = (struct err){.code = ERR_UNAVAILABLE,
					.reason = ERR_REASON_NOT_OWNER,
					.message = "the workflow's shard has a newer owner"};
		return NULL;
	}
	struct workflow *wf = workflow_get(s, row->namespace_id, row->workflow_id);
	struct cached_run *have = workflow_run(wf, row->run_id);
	if (have)
		return have;
	struct run *run = NULL;
	arena_reset(s->h->scratch);
	*ret_err = run_from_snapshot(s->h->scratch, row->snapshot, &run);
	if (err_is(*ret_err)) {
		workflow_put(wf);
		return NULL;
	}
	struct cached_run *r = workflow_add_run(wf, run);
	r->seq = r->stored_seq = row->applied_seq;
	r->loaded_from_row = true;
	r->stored_last_event_id = run->exec->next_event_id - 1;
	if (row->open && newer(r, wf->current)) {
		wf->current = r;
		wf->current_known = true;
	}
	s->h->loads++;
	if (row->open)
		backlog_run_loaded(r, row->snapshot);
	cached_run_update(r);
	return r;
}

static struct run_load *find_load(struct workflow *wf, const char *run_id)
{
	for (struct run_load *l = wf->loads; l; l = l->next)
		if (str_eq(l->run_id, run_id))
			return l;
	return NULL;
}

static void load_free(struct run_load *l)
{
	free(l->namespace_id);
	free(l->workflow_id);
	free(l->run_id);
	free(l);
}

/* Each waiter may change what the next one finds: a start that found no run makes one. */
static void load_finish(struct run_load *l, struct err e)
{
	struct workflow *wf = l->wf;
	if (wf) {
		LL_DELETE(wf->loads, l);
		wf->pins++;
	}
	struct run_wait *w = l->waits;
	while (w) {
		struct run_wait *next = w->next;
		struct cached_run *run = NULL;
		/* One before may have deleted the current run: which one it is now must be read. */
		if (!err_is(e) && !workflow_find(wf, l->run_id, &run) && str_empty(l->run_id))
			workflow_load(wf, l->run_id, w);
		else
			w->fn(w, e, err_is(e) ? NULL : wf, run);
		w = next;
	}
	if (wf) {
		wf->pins--;
		workflow_put(wf);
	}
	load_free(l);
}

static void load_send(struct run_load *l);

static void on_loaded(void *ctx, struct err e, const struct store_run_row *row)
{
	struct run_load *l = ctx;
	if (!l->wf) { /* the shard was dropped; the waiters are answered */
		load_free(l);
		return;
	}
	struct workflow *wf = l->wf;
	bool want_current = str_empty(l->run_id);
	struct cached_run *run = NULL;
	if (!err_is(e) && row)
		run = workflow_add_row(wf->shard, row, &e);
	if (run && want_current && cached_run_gone(run)) {
		/* Its row is still there. What was before it? Unless it came first only because its row is that of an
		 * open run: then there may be a later one. */
		bool stale = row->open && !l->before_start_seq;
		l->before_start_seq = stale ? INT64_MAX : run->run->start->start_seq;
		load_send(l);
		return;
	}
	if (!err_is(e) && want_current && !wf->current_known) {
		wf->current = latest(wf);
		wf->current_known = true;
	}
	load_finish(l, e);
}

static void load_send(struct run_load *l)
{
	struct store_run_id id = {
		.shard = l->wf->shard->id,
		.namespace_id = l->namespace_id,
		.workflow_id = l->workflow_id,
		.run_id = l->run_id,
		.before_start_seq = l->before_start_seq,
	};
	store_load_run(l->wf->shard->h->store, &id, on_loaded, l);
}

void workflow_load(struct workflow *wf, const char *run_id, struct run_wait *w)
{
	w->next = NULL;
	struct run_load *l = find_load(wf, run_id);
	if (l) {
		*l->tail = w;
		l->tail = &w->next;
		return;
	}
	l = new0(struct run_load);
	l->wf = wf;
	l->namespace_id = mem_strdup(wf->namespace_id);
	l->workflow_id = mem_strdup(wf->workflow_id);
	l->run_id = mem_strdup(run_id);
	l->waits = w;
	l->tail = &w->next;
	LL_PREPEND(wf->loads, l);
	load_send(l);
}

void workflow_abandon_loads(struct workflow *wf, struct err e)
{
	struct run_load *l = wf->loads;
	wf->loads = NULL;
	while (l) {
		struct run_load *next = l->next;
		l->wf = NULL;
		struct run_wait *w = l->waits;
		l->waits = NULL;
		while (w) {
			struct run_wait *next_wait = w->next;
			w->fn(w, e, NULL, NULL);
			w = next_wait;
		}
		l = next;
	}
}

bool cached_run_gone(const struct cached_run *r)
{
	const struct run *run = r->run;
	if (run->deleted)
		return true;
	return !run_open(run) && run->exec->retention_end_ns > 0 &&
	       run->exec->retention_end_ns <= env_wall_ns(r->wf->shard->h->env);
}

void cached_run_used(struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	r->used_ns = env_mono_ns(s->h->env);
	DL_DELETE2(s->lru, r, lru_prev, lru_next);
	DL_APPEND2(s->lru, r, lru_prev, lru_next);
}

int64_t cached_run_bytes(const struct cached_run *r)
{
	return (int64_t)(sizeof *r + r->run->bytes + history_log_bytes(r->log));
}

static void wake_set(struct shard *s, struct cached_run *r, int64_t wake_ns)
{
	if (r->wake_ns == wake_ns)
		return;
	if (r->wake_ns != INT64_MAX)
		heap_remove(&s->wakes, &r->wake);
	r->wake_ns = wake_ns;
	if (wake_ns != INT64_MAX)
		heap_insert(&s->wakes, &r->wake);
	shard_timers_arm(s);
}

static void unstarted_set(struct shard *s, struct cached_run *r, bool unstarted)
{
	if (r->in_unstarted == unstarted)
		return;
	r->in_unstarted = unstarted;
	if (unstarted && !r->dirty_since) /* it is due without having changed */
		s->unlisted = true;
	if (!unstarted) {
		DL_DELETE2(s->unstarted, r, unstarted_prev, unstarted_next);
		return;
	}
	r->offered_ns = env_mono_ns(s->h->env);
	DL_APPEND2(s->unstarted, r, unstarted_prev, unstarted_next);
}

void cached_run_update(struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	int64_t bytes = cached_run_bytes(r);
	s->h->cache_bytes += bytes - (int64_t)r->counted_bytes;
	r->counted_bytes = (size_t)bytes;
	bool open = run_open(r->run);
	wake_set(s, r, open ? run_wake_at(r->run) : INT64_MAX);
	unstarted_set(s, r, open && run_has_unstarted_task(r->run, env_wall_ns(s->h->env)));
	if (s->backlog_runs)
		backlog_recheck(r);
	cached_run_used(r);
}

void cached_run_heartbeat(struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	cached_run_update(r);
	if (r->in_heartbeats)
		return;
	r->in_heartbeats = true;
	DL_APPEND2(s->heartbeats, r, heartbeats_prev, heartbeats_next);
}

/* Takes it out of everything; the workflow stays. */
void cached_run_drop(struct cached_run *r)
{
	struct workflow *wf = r->wf;
	struct shard *s = wf->shard;
	assert(!r->watchers && !r->queries);
	backlog_run_dropped(r);
	wake_set(s, r, INT64_MAX);
	unstarted_set(s, r, false);
	if (r->in_heartbeats)
		DL_DELETE2(s->heartbeats, r, heartbeats_prev, heartbeats_next);
	if (r->aside_until_ns)
		s->h->runs_aside--;
	s->h->cache_bytes -= (int64_t)r->counted_bytes;
	DL_DELETE2(s->lru, r, lru_prev, lru_next);
	struct cached_run **at = &wf->runs;
	while (*at != r)
		at = &(*at)->next_in_wf;
	*at = r->next_in_wf;
	if (wf->current == r)
		workflow_forget_current(wf);
	s->run_count--;
	run_free(r->run);
	history_log_free(r->log);
	free(r);
}
