/*
 * Recovery: the journal behind the checkpoint, put into memory. No workflow logic runs here; a delta replaces what it
 * carries, whichever version wrote it.
 *
 * Every run that the journal names is loaded from its row first (it may have been folded already, or have begun before
 * the checkpoint); then the deltas after its row's applied_seq are applied in order. Runs that are due soon are loaded
 * too, and those that have a task nobody took, unless it is in the backlog: of that only the sums are read. Then the
 * shard serves.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/measure.h"
#include "services/history/shard/dispatch.h"

/* After a recovery that failed; ever longer while it is the same again. */
#define PAUSE_MIN_NS (100 * NS_PER_MS)
#define PAUSE_MAX_NS (2 * NS_PER_S)

struct replay_delta {
	int64_t seq;
	uint8_t *data;
	size_t len;
	struct replay_delta *next;
};

struct replay_run {
	struct replay *replay;
	char *run_id, *namespace_id, *workflow_id;
	struct replay_delta *deltas, **tail;
	struct replay_run *next;
	UT_hash_handle hh;
};

struct replay {
	struct shard *shard;
	int64_t epoch;
	struct replay_run *runs; /* by run id */
	size_t loading;
	struct err failed;
	char *after_run;	     /* the page of outbound runs under way begins behind it */
	int64_t started_ns, read_ns; /* monotonic: it began, the journal had been read */
	size_t deltas;
};

static void replay_free(struct replay *r)
{
	struct replay_run *run, *tmp;
	HASH_ITER (hh, r->runs, run, tmp) {
		HASH_DEL(r->runs, run);
		struct replay_delta *d = run->deltas;
		while (d) {
			struct replay_delta *next = d->next;
			free(d->data);
			free(d);
			d = next;
		}
		free(run->run_id);
		free(run->namespace_id);
		free(run->workflow_id);
		free(run);
	}
	free(r->after_run);
	free(r);
}

static bool stale(const struct replay *r)
{
	return r->shard->state != SHARD_REPLAYING || r->shard->epoch != r->epoch;
}

static void give_up(struct replay *r, struct err e)
{
	struct shard *s = r->shard;
	log_error(s->h->log, "recovering a shard failed, will try again", log_int("shard", s->id), log_err(e));
	shard_lose(s, "recovery failed");
	s->recovery_pause_ns = min_i64(max_i64(2 * s->recovery_pause_ns, PAUSE_MIN_NS), PAUSE_MAX_NS);
	s->retry_claim_ns = env_mono_ns(s->h->env) + s->recovery_pause_ns;
	replay_free(r);
}

static void add_delta(struct replay *r, int64_t seq, const Perdure__RunDelta *d)
{
	struct replay_run *run = NULL;
	HASH_FIND_STR(r->runs, d->run_id, run);
	if (!run) {
		run = new0(struct replay_run);
		run->replay = r;
		run->run_id = mem_strdup(d->run_id);
		run->namespace_id = mem_strdup(d->namespace_id);
		run->workflow_id = mem_strdup(d->workflow_id);
		run->tail = &run->deltas;
		HASH_ADD_KEYPTR(hh, r->runs, run->run_id, strlen(run->run_id), run);
	}
	struct replay_delta *copy = new0(struct replay_delta);
	copy->seq = seq;
	copy->len = perdure__run_delta__get_packed_size(d);
	copy->data = mem_alloc(copy->len);
	perdure__run_delta__pack(d, copy->data);
	*run->tail = copy;
	run->tail = &copy->next;
	r->deltas++;
}

static void on_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct replay *r = ctx;
	(void)epoch;
	if (stale(r) || err_is(r->failed))
		return;
	Perdure__JournalRecord *rec = perdure__journal_record__unpack(NULL, record.len, record.data);
	if (!rec) {
		r->failed = err_static(ERR_DATA_LOSS, "a journal record cannot be read");
		return;
	}
	for (size_t i = 0; i < rec->n_deltas; i++)
		add_delta(r, seq, rec->deltas[i]);
	perdure__journal_record__free_unpacked(rec, NULL);
	r->shard->journal_bytes += (int64_t)record.len;
}

static void apply_delta(struct shard *s, struct replay_run *run, struct cached_run **cached, struct replay_delta *d)
{
	Perdure__RunDelta *delta = perdure__run_delta__unpack(NULL, d->len, d->data);
	assert(delta);
	if (!*cached && !delta->start) { /* its row was deleted after this record */
		perdure__run_delta__free_unpacked(delta, NULL);
		return;
	}
	struct run *state = *cached ? (*cached)->run : run_new();
	int64_t first = delta->first_event_id;
	size_t count = (size_t)delta->event_count;
	run_apply(state, delta);
	if (!*cached)
		*cached = workflow_add_run(workflow_get(s, run->namespace_id, run->workflow_id), state);
	if (count)
		history_log_append((*cached)->log, first, count, bytes_of(delta->events.data, delta->events.len));
	perdure__run_delta__free_unpacked(delta, NULL);
	(*cached)->seq = d->seq;
	if (!(*cached)->dirty_since)
		(*cached)->dirty_since = d->seq;
}

static void apply_run(struct shard *s, struct replay_run *run)
{
	struct workflow *wf = workflow_get(s, run->namespace_id, run->workflow_id);
	struct cached_run *cached = workflow_run(wf, run->run_id);
	int64_t applied = cached ? cached->stored_seq : 0;
	for (struct replay_delta *d = run->deltas; d; d = d->next)
		if (d->seq > applied)
			apply_delta(s, run, &cached, d);
	if (!cached) {
		workflow_put(wf);
		return;
	}
	if (run_open(cached->run)) {
		wf->current = cached;
		wf->current_known = true;
	} else if (wf->current == cached) { /* the journal closed it; whoever asks first finds out what followed */
		workflow_forget_current(wf);
	}
	cached_run_update(cached);
	/* Its retention is over: the database does not give such a row away, but may still have it, with its events. */
	if (!cached->stored_seq && !run_open(cached->run) && !cached->run->deleted && cached_run_gone(cached)) {
		cached_run_drop(cached);
		workflow_put(wf);
	}
}

static void on_due_rows(void *ctx, struct err e, const struct store_run_row *rows, size_t count);

static void load_outbound(struct replay *r, int64_t after_wake, const char *after_run)
{
	char *after = after_run ? mem_strdup(after_run) : NULL;
	free(r->after_run);
	r->after_run = after;
	struct store_due due = {
		.shard = r->shard->id,
		.outbound = true,
		.until_ns = INT64_MAX,
		.after_wake_ns = after_wake,
		.after_run_id = after,
		.limit = 1000,
	};
	store_load_due(r->shard->h->store, &due, on_due_rows, r);
}

static void offer_all(struct shard *s)
{
	struct workflow *wf, *tmp;
	HASH_ITER (hh, s->workflows, wf, tmp)
		for (struct cached_run *c = wf->runs; c; c = c->next_in_wf)
			core_offers_forget(c->run);
	dispatch_again(s, 0);
}

static void measure(const struct replay *r)
{
	struct history *h = r->shard->h;
	struct acquire_measure done = {
		.shard = r->shard->id,
		.claim_ns = r->started_ns - r->shard->claim_from_ns,
		.journal_ns = r->read_ns - r->started_ns,
		.runs_ns = env_mono_ns(h->env) - r->read_ns,
		.replayed = r->deltas,
	};
	measure_acquired(h->measures, &done);
}

static void serve(struct replay *r)
{
	struct shard *s = r->shard;
	struct history *h = s->h;
	s->state = SHARD_SERVING;
	s->recovery_pause_ns = 0;
	s->served_since_ns = env_wall_ns(h->env);
	s->last_fold_ns = env_mono_ns(h->env);
	log_debug(h->log, "shard serves", log_int("shard", s->id), log_int("epoch", s->epoch),
		  log_int("seq", s->last_seq), log_int("replayed", (int64_t)r->deltas),
		  log_duration("took", env_mono_ns(h->env) - r->started_ns));
	measure(r);
	replay_free(r);
	shard_load_due(s);
	shard_timers_arm(s);
	env_timer_start(h->env, &s->tend_timer, NS_PER_S);
	offer_all(s);
	backlog_serving(s);
}

static void on_due_rows(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct replay *r = ctx;
	if (stale(r)) {
		replay_free(r);
		return;
	}
	for (size_t i = 0; i < count && !err_is(e); i++)
		(void)workflow_add_row(r->shard, &rows[i], &e);
	if (err_is(e))
		give_up(r, e);
	else if (count == 1000)
		load_outbound(r, rows[count - 1].wake_at_ns, rows[count - 1].run_id);
	else
		serve(r);
}

/* No fold of an earlier owner can be committed after our claim, so the sums stay right. */
static void on_sums(void *ctx, struct err e, const struct store_task_sum *sums, size_t count)
{
	struct replay *r = ctx;
	if (stale(r)) {
		replay_free(r);
		return;
	}
	if (err_is(e)) {
		give_up(r, e);
		return;
	}
	backlog_sums(r->shard, sums, count);
	load_outbound(r, 0, NULL);
}

static void apply_all(struct replay *r)
{
	struct replay_run *run, *tmp;
	HASH_ITER (hh, r->runs, run, tmp)
		apply_run(r->shard, run);
	store_sum_tasks(r->shard->h->store, r->shard->id, on_sums, r);
}

static void on_run_loaded(void *ctx, struct err e, const struct store_run_row *row)
{
	struct replay_run *run = ctx;
	struct replay *r = run->replay;
	r->loading--;
	if (!stale(r) && !err_is(e) && row)
		(void)workflow_add_row(r->shard, row, &e);
	if (err_is(e))
		r->failed = e.message ? (struct err){.code = e.code, .message = "a run could not be loaded"} : e;
	if (r->loading)
		return;
	if (stale(r))
		replay_free(r);
	else if (err_is(r->failed))
		give_up(r, r->failed);
	else
		apply_all(r);
}

static void on_journal(void *ctx, struct err e)
{
	struct replay *r = ctx;
	if (stale(r)) {
		replay_free(r);
		return;
	}
	if (!err_is(e))
		e = r->failed;
	if (err_is(e)) {
		give_up(r, e);
		return;
	}
	r->read_ns = env_mono_ns(r->shard->h->env);
	r->loading = HASH_COUNT(r->runs);
	if (!r->loading) {
		apply_all(r);
		return;
	}
	struct replay_run *run, *tmp;
	HASH_ITER (hh, r->runs, run, tmp) {
		struct store_run_id id = {
			.shard = r->shard->id,
			.namespace_id = run->namespace_id,
			.workflow_id = run->workflow_id,
			.run_id = run->run_id,
		};
		store_load_run(r->shard->h->store, &id, on_run_loaded, run);
	}
}

void shard_replay(struct shard *s)
{
	struct replay *r = new0(struct replay);
	r->shard = s;
	r->epoch = s->epoch;
	r->started_ns = env_mono_ns(s->h->env);
	store_read_journal(s->h->store, s->id, s->checkpoint_seq, on_row, on_journal, r);
}
