/*
 * Time on a shard: the runs that are due, those that will be soon, and the regular tending (checkpoints, offers again,
 * eviction).
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/history.h"

#define TEND_NS	     NS_PER_S
#define IDLE_STEP_NS (100 * NS_PER_MS) /* a run that is due and has nothing to do is looked at again after */

static bool wakes_before(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, struct cached_run, wake)->wake_ns < container_of(b, struct cached_run, wake)->wake_ns;
}

static struct cached_run *next_due(struct shard *s)
{
	struct heap_node *n = heap_min(&s->wakes);
	return n ? container_of(n, struct cached_run, wake) : NULL;
}

void shard_timers_arm(struct shard *s)
{
	struct cached_run *r = next_due(s);
	if (!r || s->state != SHARD_SERVING) {
		env_timer_stop(s->h->env, &s->wake_timer);
		return;
	}
	int64_t now = env_wall_ns(s->h->env);
	env_timer_start(s->h->env, &s->wake_timer, r->wake_ns > now ? r->wake_ns - now : 0);
}

static void postpone(struct cached_run *r, int64_t until_ns)
{
	struct shard *s = r->wf->shard;
	heap_remove(&s->wakes, &r->wake);
	r->wake_ns = until_ns;
	heap_insert(&s->wakes, &r->wake);
}

/* What is due happens; a backoff that is over only needs its task offered. */
static void fire(struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	struct history *h = s->h;
	struct txn t;
	int64_t now = env_wall_ns(h->env);
	arena_reset(h->scratch);
	transition_begin(&t, s, r->wf, r, h->scratch);
	struct err e = core_on_time(&t, s->grace_until_ns > now ? s->grace_until_ns - now : 0);
	if (err_is(e))
		log_error(h->log, "what was due could not be done", log_int("shard", s->id),
			  log_str("workflow_id", r->wf->workflow_id), log_str("run_id", r->run->start->run_id),
			  log_err(e));
	else
		r = transition_commit(&t, r->wf, r);
	if (!t.touched)
		dispatch_due(r);
	cached_run_update(r);
	if (r->wake_ns <= now)
		postpone(r, now + IDLE_STEP_NS);
}

static void on_wake(struct env_timer *timer)
{
	struct shard *s = container_of(timer, struct shard, wake_timer);
	int64_t now = env_wall_ns(s->h->env);
	for (struct cached_run *r = next_due(s); r && r->wake_ns <= now && s->state == SHARD_SERVING; r = next_due(s)) {
		s->h->counts.timers_fired++;
		fire(r);
	}
	shard_timers_arm(s);
}

/* A look-ahead read under way. It stays valid while the shard's memory does: a new epoch of ours changes nothing. */
struct due_load {
	struct shard *shard; /* which points back, or has forgotten it */
	int64_t until_ns;
	char *after_run; /* the page under way begins behind it */
};

static void due_page(struct due_load *l, int64_t after_wake, const char *after_run);

static void due_load_free(struct due_load *l)
{
	free(l->after_run);
	free(l);
}

static void on_due(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct due_load *l = ctx;
	struct shard *s = l->shard;
	if (s->due_load != l) {
		due_load_free(l);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		struct err bad;
		struct cached_run *r = workflow_add_row(s, &rows[i], &bad);
		if (err_is(bad))
			log_error(s->h->log, "a row that is due cannot be read", log_int("shard", s->id),
				  log_str("run_id", rows[i].run_id), log_err(bad));
		else if (r)
			cached_run_update(r);
	}
	if (!err_is(e) && count == 1000) {
		due_page(l, rows[count - 1].wake_at_ns, rows[count - 1].run_id);
		return;
	}
	if (!err_is(e))
		s->due_loaded_until_ns = l->until_ns;
	s->due_load = NULL;
	due_load_free(l);
	shard_timers_arm(s);
}

static void due_page(struct due_load *l, int64_t after_wake, const char *after_run)
{
	char *after = after_run ? mem_strdup(after_run) : NULL;
	free(l->after_run);
	l->after_run = after;
	struct store_due due = {
		.shard = l->shard->id,
		.until_ns = l->until_ns,
		.after_wake_ns = after_wake,
		.after_run_id = after,
		.limit = 1000,
	};
	store_load_due(l->shard->h->store, &due, on_due, l);
}

void shard_load_due(struct shard *s)
{
	if (s->due_load)
		return;
	struct due_load *l = s->due_load = new0(struct due_load);
	*l = (struct due_load){.shard = s, .until_ns = env_wall_ns(s->h->env) + s->h->config.lookahead_ns};
	due_page(l, 0, NULL);
}

static void flush_heartbeats(struct shard *s)
{
	struct history *h = s->h;
	for (struct cached_run *r = s->heartbeats; r; r = s->heartbeats) {
		struct txn t;
		DL_DELETE2(s->heartbeats, r, heartbeats_prev, heartbeats_next);
		r->in_heartbeats = false;
		if (!run_open(r->run))
			continue; /* a closed run never changes */
		arena_reset(h->scratch);
		transition_begin(&t, s, r->wf, r, h->scratch);
		core_heartbeat_flush(&t);
		transition_commit(&t, r->wf, r);
	}
}

static void on_tend(struct env_timer *timer)
{
	struct shard *s = container_of(timer, struct shard, tend_timer);
	struct history *h = s->h;
	env_timer_start(h->env, &s->tend_timer, TEND_NS);
	if (s->state != SHARD_SERVING)
		return;
	if (s->due_loaded_until_ns - env_wall_ns(h->env) < h->config.lookahead_ns / 2)
		shard_load_due(s);
	flush_heartbeats(s);
	dispatch_tend(s);
	int64_t since = env_mono_ns(h->env) - s->last_fold_ns;
	bool due = s->journal_bytes >= h->config.checkpoint_journal_bytes ||
		   since >= h->config.checkpoint_interval_ns || shard_memory_is_short(h);
	if (due && (s->journal_bytes > 0 || s->unlisted || s->backlog_gone))
		shard_fold(s, NULL);
	shard_evict(s);
}

void shard_timers_init(struct shard *s)
{
	heap_init(&s->wakes, wakes_before);
	s->wake_timer.fn = on_wake;
	s->tend_timer.fn = on_tend;
}
