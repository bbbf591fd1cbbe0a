/*
 * Checkpoints and the cache's bound.
 *
 * A fold writes the rows (snapshot) and the new events of dirty runs whose last change is committed, and moves the
 * checkpoint to just before the first change that is not folded. Only then may a run leave memory.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/measure.h"
#include "services/history/shard/dispatch.h"

#define FOLD_RUNS_MAX  2000
#define ASIDE_MAX      1000
#define ASIDE_NS       (60 * NS_PER_S) /* after which a run that the database refused is tried again */
#define FOLD_BYTES_MAX (16 * 1024 * 1024)

struct folded_run {
	struct cached_run *run; /* pinned by run->folding */
	int64_t seq;		/* as of which it was packed */
	int64_t last_event_id;
	struct buf snapshot, events;
};

struct fold {
	struct shard *shard;
	int64_t epoch;
	int64_t checkpoint_seq;
	int64_t journal_bytes;
	struct folded_run *runs;
	struct store_run_row *rows;
	struct store_history_chunk *chunks;
	size_t count, chunk_count;
	bool more; /* not everything fitted */
	int64_t began_ns, sent_ns;
	int64_t bytes;
	struct waiter *waiters;
	struct arena *ids; /* of the rows: the runs may go, with their shard, while the store reads them */
	struct backlog_fold backlog;
};

/* A deleted run's row and history go. */
static void pack_tombstone(struct fold *f, struct cached_run *r)
{
	f->runs[f->count] = (struct folded_run){.run = r, .seq = r->seq, .last_event_id = r->stored_last_event_id};
	f->rows[f->count++] = (struct store_run_row){
		.shard = f->shard->id,
		.namespace_id = arena_strdup(f->ids, r->wf->namespace_id),
		.workflow_id = arena_strdup(f->ids, r->wf->workflow_id),
		.run_id = arena_strdup(f->ids, r->run->start->run_id),
		.start_seq = r->run->start->start_seq,
		.applied_seq = r->seq,
		.wake_at_ns = INT64_MAX,
		.retention_end_ns = r->run->exec->retention_end_ns,
		.deleted = true,
	};
	r->folding = true;
}

static void pack_run(struct fold *f, struct cached_run *r)
{
	struct folded_run *fr = &f->runs[f->count];
	const Perdure__RunExec *exec = r->run->exec;
	*fr = (struct folded_run){.run = r, .seq = r->seq, .last_event_id = exec->next_event_id - 1};
	bool open = run_open(r->run);
	bool listed = open && backlog_fold_run(&f->backlog, r, &fr->snapshot);
	run_pack_snapshot(r->run, &fr->snapshot);
	int64_t now = env_wall_ns(f->shard->h->env);
	struct store_run_row *row = &f->rows[f->count++];
	*row = (struct store_run_row){
		.shard = f->shard->id,
		.namespace_id = arena_strdup(f->ids, r->wf->namespace_id),
		.workflow_id = arena_strdup(f->ids, r->wf->workflow_id),
		.run_id = arena_strdup(f->ids, r->run->start->run_id),
		.start_seq = r->run->start->start_seq,
		.applied_seq = r->seq,
		.open = open,
		.wake_at_ns = open ? run_wake_at(r->run) : INT64_MAX,
		.outbound = open && run_has_unstarted_task(r->run, now),
		.listed = listed,
		.status = exec->status,
		.start_time_ns = r->run->start->start_time_ns,
		.close_time_ns = exec->close_time_ns,
		.retention_end_ns = exec->retention_end_ns,
		.snapshot = buf_view(&fr->snapshot),
	};
	r->folding = true;
	if (fr->last_event_id <= r->stored_last_event_id)
		return;
	history_log_read(r->log, r->stored_last_event_id + 1, fr->last_event_id, &fr->events);
	f->chunks[f->chunk_count++] = (struct store_history_chunk){
		.namespace_id = row->namespace_id,
		.workflow_id = row->workflow_id,
		.run_id = row->run_id,
		.first_event_id = r->stored_last_event_id + 1,
		.last_event_id = fr->last_event_id,
		.events = buf_view(&fr->events),
	};
}

static void fold_free(struct fold *f)
{
	for (size_t i = 0; i < f->count; i++) {
		buf_done(&f->runs[i].snapshot);
		buf_done(&f->runs[i].events);
	}
	free(f->runs);
	free(f->rows);
	free(f->chunks);
	backlog_fold_done(&f->backlog);
	arena_free(f->ids);
	free(f);
}

static void wake(struct waiter *w, struct err e)
{
	while (w) {
		struct waiter *next = w->next;
		w->fn(w, e);
		w = next;
	}
}

static void mark_folded(struct folded_run *fr)
{
	struct cached_run *r = fr->run;
	r->folding = false;
	if (r->aside_until_ns)
		r->wf->shard->h->runs_aside--;
	r->aside_until_ns = 0;
	r->stored_seq = fr->seq;
	r->stored_last_event_id = fr->last_event_id;
	if (r->seq == fr->seq)
		r->dirty_since = 0;
	else
		r->dirty_since = fr->seq + 1; /* it changed meanwhile */
}

/* While one of the id's runs is not folded, its row may say that it is open still: without the others in memory it
 * would pass for the current one. */
static bool all_folded(const struct workflow *wf)
{
	for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf)
		if (r->dirty_since)
			return false;
	return true;
}

/* Nothing would be lost or late without it in memory. */
static bool evictable(const struct cached_run *r, int64_t horizon_ns)
{
	return all_folded(r->wf) && !r->folding && !r->readers && !r->watchers && !r->queries &&
	       (!r->in_unstarted || backlog_stored(r)) && !r->in_heartbeats && r->seq <= r->wf->shard->last_seq &&
	       r->wake_ns > horizon_ns && !r->wf->pins && !r->wf->loads;
}

static void evict(struct cached_run *r)
{
	struct workflow *wf = r->wf;
	cached_run_drop(r);
	workflow_put(wf);
}

/* Their rows are gone, so nothing needs to know of them any more; what must wait goes when it has been idle. */
static void drop_deleted(struct fold *f)
{
	for (size_t i = 0; i < f->count && !f->shard->due_load; i++)
		if (f->runs[i].run->run->deleted && evictable(f->runs[i].run, INT64_MAX - 1))
			evict(f->runs[i].run);
}

static void measure(const struct fold *f)
{
	struct history *h = f->shard->h;
	struct fold_measure done = {
		.shard = f->shard->id,
		.collect_ns = f->sent_ns - f->began_ns,
		.database_ns = env_mono_ns(h->env) - f->sent_ns,
		.runs = f->count,
		.bytes = f->bytes,
	};
	measure_fold(h->measures, &done);
}

/* The database took no offence at its own state, at ours of the shard, nor at the time it took. */
static bool is_data_failure(struct err e)
{
	return e.code == ERR_INTERNAL || e.code == ERR_INVALID_ARGUMENT || e.code == ERR_OUT_OF_RANGE ||
	       e.code == ERR_RESOURCE_EXHAUSTED;
}

/* One row that the database refuses must not keep the others from it: the next fold is half as large, until one is
 * left; that one is set aside, and the journal keeps it. True: fold again at once. */
static bool bisect(const struct fold *f, struct err e)
{
	struct shard *s = f->shard;
	if (s->h->runs_aside >= ASIDE_MAX) /* it isn't the runs */
		return false;
	if (f->count > 1) {
		s->fold_most = f->count / 2;
		return true;
	}
	struct cached_run *r = f->runs[0].run;
	log_error(s->h->log, "a run cannot be folded and is set aside: the journal keeps it, and grows until it can be",
		  log_int("shard", s->id), log_str("namespace_id", r->wf->namespace_id),
		  log_str("workflow_id", r->wf->workflow_id), log_str("run_id", r->run->start->run_id), log_err(e));
	if (!r->aside_until_ns)
		s->h->runs_aside++;
	r->aside_until_ns = env_mono_ns(s->h->env) + ASIDE_NS;
	s->fold_most = 0;
	return true;
}

static void on_folded(void *ctx, struct err e)
{
	struct fold *f = ctx;
	struct shard *s = f->shard;
	struct waiter *w = f->waiters;
	bool ours = s->fold_epoch == f->epoch && s->fold_under_way &&
		    (s->state == SHARD_SERVING || s->state == SHARD_RELEASING || s->state == SHARD_RECLAIMING);
	if (!ours) { /* the runs are gone */
		fold_free(f);
		wake(w, err_static(ERR_UNAVAILABLE, "the shard was lost"));
		return;
	}
	s->fold_under_way = false;
	s->fold_unsure = err_is(e);
	measure(f);
	bool smaller = false;
	if (err_is(e)) {
		log_warn(s->h->log, "a checkpoint failed; the journal keeps what it holds", log_int("shard", s->id),
			 log_int("runs", (int64_t)f->count), log_err(e));
		for (size_t i = 0; i < f->count; i++)
			f->runs[i].run->folding = false;
		s->unlisted = true;
		smaller = is_data_failure(e) && f->count && bisect(f, e);
	} else {
		for (size_t i = 0; i < f->count; i++)
			mark_folded(&f->runs[i]);
		if (s->fold_most)
			s->fold_most = 2 * s->fold_most < FOLD_RUNS_MAX ? 2 * s->fold_most : 0;
		backlog_folded(&f->backlog);
		drop_deleted(f);
		if (f->checkpoint_seq > s->checkpoint_seq)
			s->checkpoint_seq = f->checkpoint_seq;
		s->journal_bytes = f->more ? s->journal_bytes : s->journal_bytes - f->journal_bytes;
		s->h->folds++;
	}
	bool more = smaller || (f->more && !err_is(e));
	bool again = more || s->fold_waiters;
	fold_free(f);
	if (more) { /* those who wait for everything wait for the next one too */
		LL_CONCAT(s->fold_waiters, w);
		w = NULL;
	}
	wake(w, e);
	if (again && !s->fold_under_way)
		shard_fold(s, NULL);
	shard_evict(s);
}

/* Clean ones too, when a task of theirs became due without a change: it gets its row. */
static bool wants_fold(const struct cached_run *r)
{
	return r->dirty_since || (r->in_unstarted && backlog_unlisted(r));
}

/* Of those that were set aside, one whose time has come: it is tried alone, before others, of which a busy shard always
 * has some. */
static const struct cached_run *aside_and_due(const struct shard *s)
{
	const struct cached_run *r;
	if (!s->h->runs_aside)
		return NULL;
	int64_t now = env_mono_ns(s->h->env);
	DL_FOREACH2(s->lru, r, lru_next)
	if (r->aside_until_ns && now >= r->aside_until_ns && r->seq <= s->last_seq && wants_fold(r))
		return r;
	return NULL;
}

/* Not in this fold: the journal from its first unfolded change on must stay. */
static void keep_journal(struct fold *f, const struct cached_run *r)
{
	if (r->dirty_since)
		f->checkpoint_seq = min_i64(f->checkpoint_seq, r->dirty_since - 1);
}

static struct fold *collect(struct shard *s)
{
	struct fold *f = new0(struct fold);
	f->shard = s;
	f->backlog.strings = f->ids = arena_new(SIZE_MAX);
	f->epoch = s->epoch;
	f->journal_bytes = s->journal_bytes;
	f->runs = mem_zalloc(FOLD_RUNS_MAX * sizeof *f->runs);
	f->rows = mem_zalloc(FOLD_RUNS_MAX * sizeof *f->rows);
	f->chunks = mem_zalloc(FOLD_RUNS_MAX * sizeof *f->chunks);
	f->checkpoint_seq = s->last_seq;
	size_t bytes = 0, most = s->fold_most ? s->fold_most : FOLD_RUNS_MAX;
	const struct cached_run *alone = aside_and_due(s);
	struct cached_run *r;
	s->unlisted = false;
	DL_FOREACH2(s->lru, r, lru_next)
	{
		if (!wants_fold(r))
			continue;
		bool aside = r->aside_until_ns && r != alone;
		bool later = alone ? r != alone : f->count >= most || bytes > FOLD_BYTES_MAX;
		if (r->seq > s->last_seq || later || aside) {
			keep_journal(f, r);
			f->more = f->more || (r->seq <= s->last_seq && !aside);
			s->unlisted = s->unlisted || aside; /* its time comes */
			continue;
		}
		if (r->run->deleted)
			pack_tombstone(f, r);
		else
			pack_run(f, r);
		bytes += f->runs[f->count - 1].snapshot.len + f->runs[f->count - 1].events.len;
	}
	backlog_fold_gone(&f->backlog, s);
	f->bytes = (int64_t)bytes;
	return f;
}

void shard_fold(struct shard *s, struct waiter *done)
{
	if (done)
		LL_PREPEND(s->fold_waiters, done);
	if (s->fold_under_way || (s->state != SHARD_SERVING && s->state != SHARD_RELEASING))
		return;
	arena_reset(s->h->scratch);
	int64_t began = env_mono_ns(s->h->env);
	struct fold *f = collect(s);
	f->began_ns = began;
	s->last_fold_ns = f->sent_ns = env_mono_ns(s->h->env);
	f->waiters = s->fold_waiters;
	s->fold_waiters = NULL;
	s->fold_under_way = true;
	s->fold_epoch = f->epoch;
	struct store_fold request = {
		.shard = s->id,
		.epoch = s->epoch,
		.rows = f->rows,
		.row_count = f->count,
		.chunks = f->chunks,
		.chunk_count = f->chunk_count,
		.tasks = f->backlog.rows,
		.task_count = f->backlog.count,
		.tasks_gone = f->backlog.gone_rows,
		.task_gone_count = f->backlog.gone_count,
		.checkpoint_seq = f->checkpoint_seq,
	};
	store_fold(s->h->store, &request, on_folded, f);
}

bool shard_memory_is_short(const struct history *h)
{
	return h->cache_bytes + h->dispatch->backlog_bytes > h->config.cache_bytes_max;
}

void shard_evict(struct shard *s)
{
	struct history *h = s->h;
	/* Rows that are being read may be older than what leaves memory now: they would come back as they were. */
	if (s->due_load)
		return;
	int64_t now = env_mono_ns(h->env);
	int64_t horizon = env_wall_ns(h->env) + 2 * h->config.lookahead_ns;
	struct cached_run *r, *tmp;
	DL_FOREACH_SAFE2(s->lru, r, tmp, lru_next)
	{
		bool idle = now - r->used_ns >= h->config.idle_evict_ns;
		if (!idle && !shard_memory_is_short(h))
			break;
		if (!evictable(r, horizon))
			continue;
		evict(r);
		h->evicted++;
	}
}
