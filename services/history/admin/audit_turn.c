/*
 * A shard's turn, up to its rows: memory, and memory against snapshot plus journal.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/admin/audit_impl.h"

#define LIVE_MAX	2000 /* runs in memory looked at in a turn, those used least recently */
#define SAMPLE_OF	64   /* the least recently used of which one is compared */
#define FOLD_LATE	6    /* intervals without a checkpoint */
#define CLOCKS_APART_NS (10 * NS_PER_S)

bool audit_turn_shard_unchanged(const struct audit_turn *t)
{
	const struct shard *s = t->s;
	return shard_serving(s) && s->epoch == t->epoch && s->checkpoint_seq == t->checkpoint_seq &&
	       s->last_fold_ns == t->last_fold_ns && !s->fold_under_way && !s->fold_unsure;
}

bool audit_in_scope(const struct auditor *a, const char *namespace_id, const char *workflow_id)
{
	const struct audit_asked *k = &a->asked;
	if (!k->active)
		return true;
	return (!k->namespace_id || str_eq(k->namespace_id, namespace_id)) &&
	       (!k->workflow_id || str_eq(k->workflow_id, workflow_id));
}

void audit_turn_free(struct audit_turn *t)
{
	if (!t)
		return;
	audit_looks_free(t);
	findings_done(&t->found);
	free(t->open_workflow);
	free(t->open_run);
	free(t->namespace_id);
	free(t->workflow_id);
	free(t->run_id);
	run_free(t->rebuild.run);
	free(t);
}

/* ------------------------------------------------------------------ memory */

static void collect(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	findings_add(ctx, kind, workflow_id, run_id, text);
}

void audit_schedule_workflow_task(struct cached_run *r)
{
	struct txn t;
	struct history *h = r->wf->shard->h;
	arena_reset(h->scratch);
	transition_begin(&t, r->wf->shard, r->wf, r, h->scratch);
	core_schedule_workflow_task(&t);
	transition_commit(&t, r->wf, r);
}

/* NULL: that can't be derived again. */
static const char *repair_memory(struct auditor *a, struct cached_run *r, enum audit_kind kind)
{
	switch ((int)kind) {
	case AUDIT_DEADLINE:
	case AUDIT_OVERDUE:
		cached_run_update(r);
		shard_timers_arm(r->wf->shard);
		return "its timer was set";
	case AUDIT_NOT_OFFERED:
		cached_run_update(r);
		core_offers_forget(r->run);
		dispatch_due(r);
		return "its tasks were offered";
	case AUDIT_STUCK:
		if (!a->asked.active)
			return NULL; /* it writes history: only when somebody asks */
		audit_schedule_workflow_task(r);
		return "a workflow task was scheduled";
	default:
		return NULL;
	}
}

#define ASIDE_TEXT "the database refuses its row: it is set aside, and the shard's journal grows"

static void look_at_run(struct auditor *a, struct cached_run *r)
{
	struct findings found = {0};
	struct audit_sink sink = {collect, &found};
	audit_cached_run(r, &sink);
	if (r->aside_until_ns)
		sink.found(&found, AUDIT_FOLD, r->wf->workflow_id, r->run->start->run_id, ASIDE_TEXT);
	if (r == r->wf->runs)
		audit_workflow(r->wf, &sink);
	a->runs++;
	if (a->asked.active)
		a->asked.runs++;
	for (size_t i = 0; i < found.count; i++)
		audit_tell(a, r->wf->shard, &found.list[i], r->wf->namespace_id,
			   audit_may_repair(a) ? repair_memory(a, r, found.list[i].kind) : NULL);
	findings_done(&found);
}

static void look_at_memory(struct auditor *a, struct shard *s)
{
	/* What is repaired is used, and goes to the end of the list. */
	size_t left = a->asked.active || s->run_count < LIVE_MAX ? s->run_count : LIVE_MAX;
	struct cached_run *r = s->lru;
	for (struct cached_run *next; r && left > 0; r = next, left--) {
		next = r->lru_next;
		if (audit_in_scope(a, r->wf->namespace_id, r->wf->workflow_id))
			look_at_run(a, r);
	}
}

/* Something keeps the shard from being folded: its journal grows until that is found. */
static void look_at_folding(struct auditor *a, struct shard *s)
{
	struct shard_seen *seen = &a->seen[s->id];
	int64_t now = env_mono_ns(a->h->env);
	if (seen->checkpoint_seq != s->checkpoint_seq || s->checkpoint_seq == s->last_seq || !seen->since_ns) {
		seen->checkpoint_seq = s->checkpoint_seq;
		seen->since_ns = now;
		seen->fold_told = false;
		return;
	}
	int64_t late = max_i64(FOLD_LATE * a->h->config.checkpoint_interval_ns, 60 * NS_PER_S);
	if (seen->fold_told || now - seen->since_ns < late)
		return;
	seen->fold_told = true;
	struct findings found = {0};
	findings_add(&found, AUDIT_FOLD, NULL, NULL, "the shard's checkpoint has not moved for a long time");
	audit_tell(a, s, &found.list[0], NULL, NULL);
	findings_done(&found);
}

/* ------------------------------------------------------------------ memory against snapshot plus journal */

/* Its row may be gone: by our clock, or by that of the node that drops partitions. */
static bool nearly_over(const struct auditor *a, const struct cached_run *r)
{
	int64_t end = r->run->exec->retention_end_ns;
	return cached_run_gone(r) || (!run_open(r->run) && end > 0 && end <= env_wall_ns(a->h->env) + CLOCKS_APART_NS);
}

/* NULL when it changed or left memory since the turn began. */
static struct cached_run *sample_unchanged(const struct audit_turn *t)
{
	if (!t->run_id || !audit_turn_shard_unchanged(t))
		return NULL;
	struct workflow *wf = workflow_get(t->s, t->namespace_id, t->workflow_id);
	struct cached_run *r = workflow_run(wf, t->run_id);
	workflow_put(wf);
	bool same = r && r->serial == t->serial && r->seq == t->seq && r->stored_seq == t->stored_seq &&
		    !r->in_heartbeats && !cached_run_gone(r);
	return same ? r : NULL;
}

static void on_journal_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct auditor *a = ctx;
	struct audit_turn *t = a->turn;
	struct audit_sink sink = {collect, &t->found};
	audit_journal_row(&t->journal, seq, epoch, &sink);
	if (t->run_id && seq <= t->last_seq)
		audit_rebuild_record(&t->rebuild, seq, record, &sink);
}

static void inconclusive(struct auditor *a)
{
	a->inconclusive++;
	if (a->asked.active)
		a->asked.inconclusive++;
}

static void on_journal_read(void *ctx, struct err e)
{
	struct auditor *a = ctx;
	struct audit_turn *t = a->turn;
	struct audit_sink sink = {collect, &t->found};
	const struct cached_run *r = sample_unchanged(t);
	if (err_is(e) || t->failed || !audit_turn_shard_unchanged(t)) {
		inconclusive(a);
		audit_rows(a);
		return;
	}
	if (t->journal.seq < t->last_seq)
		collect(&t->found, AUDIT_JOURNAL_GAP, NULL, NULL, "the journal ends before its last committed record");
	if (r)
		audit_compare(&t->rebuild, r->run, &sink);
	else if (t->run_id)
		inconclusive(a);
	for (size_t i = 0; i < t->found.count; i++)
		if (r || !t->found.list[i].run_id) /* what is about a run that changed meanwhile is no more */
			audit_tell(a, t->s, &t->found.list[i], t->namespace_id, NULL);
	findings_done(&t->found);
	audit_rows(a);
}

static void read_journal(struct auditor *a)
{
	struct audit_turn *t = a->turn;
	t->journal = (struct audit_journal){.shard = t->s->id, .seq = t->checkpoint_seq};
	store_read_journal(a->h->store, t->s->id, t->checkpoint_seq, on_journal_row, on_journal_read, a);
}

static void on_row(void *ctx, struct err e, const struct store_run_row *row)
{
	struct auditor *a = ctx;
	struct audit_turn *t = a->turn;
	if (!err_is(e) && row)
		audit_rebuild_row(&t->rebuild, row);
	t->failed = err_is(e);
	read_journal(a);
}

static struct cached_run *choose(struct auditor *a, struct shard *s)
{
	uint8_t n;
	env_random(a->h->env, &n, sizeof n);
	int skip = a->asked.active && a->asked.workflow_id ? 0 : n % SAMPLE_OF;
	struct cached_run *best = NULL;
	for (struct cached_run *r = s->lru; r && skip >= 0; r = r->lru_next) {
		if (!audit_in_scope(a, r->wf->namespace_id, r->wf->workflow_id))
			continue;
		best = r;
		skip--;
	}
	return best;
}

/* One of those used least recently, so that all have their turn. */
static void sample(struct auditor *a, struct audit_turn *t)
{
	struct cached_run *r = choose(a, t->s);
	if (!r || r->seq > t->s->last_seq || r->in_heartbeats || nearly_over(a, r))
		return;
	t->namespace_id = mem_strdup(r->wf->namespace_id);
	t->workflow_id = mem_strdup(r->wf->workflow_id);
	t->run_id = mem_strdup(r->run->start->run_id);
	t->rebuild.run_id = t->run_id;
	t->serial = r->serial;
	t->seq = r->seq;
	t->stored_seq = r->stored_seq;
}

void audit_turn_begin(struct auditor *a, struct shard *s, struct audit_cursor *cursor, int64_t rows)
{
	/* A round that was asked for looks at all of it, once: further turns are for the rows. */
	if (!a->asked.active || (!cursor->closed && !cursor->namespace_id))
		look_at_memory(a, s);
	look_at_folding(a, s);
	struct audit_turn *t = a->turn = new0(struct audit_turn);
	*t = (struct audit_turn){.s = s,
				 .epoch = s->epoch,
				 .last_seq = s->last_seq,
				 .checkpoint_seq = s->checkpoint_seq,
				 .last_fold_ns = s->last_fold_ns,
				 .cursor = cursor,
				 .rows_left = rows};
	sample(a, t);
	struct store_run_id id = {
		.shard = s->id, .namespace_id = t->namespace_id, .workflow_id = t->workflow_id, .run_id = t->run_id};
	if (t->run_id)
		store_load_run(a->h->store, &id, on_row, a);
	else
		read_journal(a);
}
