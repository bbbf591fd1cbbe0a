/*
 * The auditor; see audit.h. One pass is under way at a time:
 *
 *   memory ──► row of a sampled run ──► its history ──► journal, compare ──► a page of cold rows ──► next shard
 */
#include "services/history/admin/audit.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "services/history/admin/admin.h"

#define PAUSE_NS   NS_PER_S /* between shards */
#define HURRY_NS   NS_PER_MS
#define LIVE_MAX   20000 /* runs in memory looked at in a pass */
#define SAMPLE_OF  64	 /* the least recently used of which one is sampled */
#define PAGE_ROWS  50
#define RECENT_MAX 50

struct finding {
	enum audit_kind kind;
	char *workflow_id, *run_id, *text;
	int64_t time_ns;
};

/* A shard being looked at. Strings are what the store was given. */
struct pass {
	struct shard *s;
	int64_t epoch, last_seq, checkpoint_seq, last_fold_ns;
	struct audit_journal journal;
	/* the sampled run; run_id NULL: none */
	char *namespace_id, *workflow_id, *run_id;
	uint64_t serial;
	int64_t seq, stored_seq, stored_events, next_event;
	struct audit_rebuild rebuild;
	bool failed;	       /* the database could not be asked */
	struct finding *found; /* told when the pass has proved conclusive */
	size_t found_count;
};

struct auditor {
	struct history *h;
	struct metrics *metrics;
	struct env_timer timer;
	bool hurry;
	uint32_t next_shard;
	struct pass *pass; /* NULL: none under way */
	/* rows' pages go on where the last one of the shard ended */
	int64_t *after_wake;
	char **after_run;
	struct store_due due;
	int64_t rounds, runs, passes, inconclusive, repaired, counts[AUDIT_KINDS];
	struct finding recent[RECENT_MAX];
	size_t recent_count; /* in all */
};

/* ------------------------------------------------------------------ findings */

static void finding_done(struct finding *f)
{
	free(f->workflow_id);
	free(f->run_id);
	free(f->text);
}

static void tell(struct auditor *a, struct finding f)
{
	log_error(a->h->log, "an invariant is violated", log_str("kind", audit_kind_name(f.kind)),
		  log_str("workflow_id", f.workflow_id), log_str("run_id", f.run_id), log_str("what", f.text));
	a->counts[f.kind]++;
	f.time_ns = env_wall_ns(a->h->env);
	struct finding *at = &a->recent[a->recent_count++ % RECENT_MAX];
	finding_done(at);
	*at = f;
}

static struct finding make(enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	return (struct finding){.kind = kind,
				.workflow_id = workflow_id ? mem_strdup(workflow_id) : NULL,
				.run_id = run_id ? mem_strdup(run_id) : NULL,
				.text = mem_strdup(text)};
}

static void found_now(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	tell(ctx, make(kind, workflow_id, run_id, text));
}

static void found_perhaps(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id,
			  const char *text)
{
	struct pass *p = ((struct auditor *)ctx)->pass;
	p->found = mem_realloc(p->found, (p->found_count + 1) * sizeof *p->found);
	p->found[p->found_count++] = make(kind, workflow_id, run_id, text);
}

static int64_t found_so_far(const struct auditor *a)
{
	int64_t sum = 0;
	for (int k = 0; k < AUDIT_KINDS; k++)
		sum += a->counts[k];
	return sum;
}

/* ------------------------------------------------------------------ a pass */

static void pass_free(struct pass *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->found_count; i++)
		finding_done(&p->found[i]);
	free(p->found);
	free(p->namespace_id);
	free(p->workflow_id);
	free(p->run_id);
	run_free(p->rebuild.run);
	free(p);
}

static void pass_end(struct auditor *a)
{
	pass_free(a->pass);
	a->pass = NULL;
	a->passes++;
	env_timer_start(a->h->env, &a->timer, a->hurry ? HURRY_NS : PAUSE_NS);
}

static bool shard_unchanged(const struct pass *p)
{
	const struct shard *s = p->s;
	return shard_serving(s) && s->epoch == p->epoch && s->checkpoint_seq == p->checkpoint_seq &&
	       s->last_fold_ns == p->last_fold_ns && !s->fold_under_way;
}

/* NULL when it changed or left memory since the pass began. */
static struct cached_run *sample_unchanged(const struct pass *p)
{
	if (!p->run_id || !shard_unchanged(p))
		return NULL;
	struct workflow *wf = workflow_get(p->s, p->namespace_id, p->workflow_id);
	struct cached_run *r = workflow_run(wf, p->run_id);
	workflow_put(wf);
	bool same = r && r->serial == p->serial && r->seq == p->seq && r->stored_seq == p->stored_seq &&
		    !r->in_heartbeats && !cached_run_gone(r);
	return same ? r : NULL;
}

static void on_cold(void *ctx, struct err e, const struct store_run_row *rows, size_t count)
{
	struct auditor *a = ctx;
	struct shard *s = a->pass->s;
	struct audit_sink sink = {found_now, a};
	for (size_t i = 0; !err_is(e) && shard_serving(s) && i < count; i++) {
		struct workflow *wf = workflow_get(s, rows[i].namespace_id, rows[i].workflow_id);
		bool cold = !workflow_run(wf, rows[i].run_id) && !wf->loads;
		workflow_put(wf);
		if (!cold) /* memory is newer, and looked at */
			continue;
		int64_t next_event, before = a->counts[AUDIT_DEADLINE];
		audit_row(&rows[i], &sink, &next_event);
		a->runs++;
		struct cached_run *r = NULL;
		if (a->counts[AUDIT_DEADLINE] > before &&
		    shard_unchanged(a->pass)) /* into memory, where its timer is set; and its row anew */
			r = workflow_add_row(s, &rows[i], &e);
		if (!r)
			continue;
		r->dirty_since = s->last_seq + 1;
		a->repaired++;
	}
	free(a->after_run[s->id]);
	bool more = !err_is(e) && count == PAGE_ROWS;
	a->after_run[s->id] = more ? mem_strdup(rows[count - 1].run_id) : NULL;
	a->after_wake[s->id] = more ? rows[count - 1].wake_at_ns : 0;
	pass_end(a);
}

static void load_cold(struct auditor *a)
{
	uint32_t id = a->pass->s->id;
	a->due = (struct store_due){.shard = id,
				    .until_ns = INT64_MAX - 1,
				    .after_wake_ns = a->after_wake[id],
				    .after_run_id = a->after_run[id],
				    .limit = PAGE_ROWS};
	store_load_due(a->h->store, &a->due, on_cold, a);
}

static void on_journal_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct auditor *a = ctx;
	struct audit_sink sink = {found_perhaps, a};
	audit_journal_row(&a->pass->journal, seq, epoch, &sink);
	if (a->pass->run_id && seq <= a->pass->last_seq)
		audit_rebuild_record(&a->pass->rebuild, seq, record, &sink);
}

static void on_journal_read(void *ctx, struct err e)
{
	struct auditor *a = ctx;
	struct pass *p = a->pass;
	struct audit_sink sink = {found_perhaps, a};
	const struct cached_run *r = sample_unchanged(p);
	if (err_is(e) || p->failed || !shard_unchanged(p) || (p->run_id && !r)) {
		a->inconclusive++;
	} else {
		if (p->journal.seq < p->last_seq)
			sink.found(a, AUDIT_JOURNAL_GAP, NULL, NULL,
				   "the journal ends before its last committed record");
		if (r)
			audit_compare(&p->rebuild, r->run, &sink);
		a->runs += r != NULL;
		for (size_t i = 0; i < p->found_count; i++)
			tell(a, p->found[i]);
		p->found_count = 0;
	}
	load_cold(a);
}

static void read_journal(struct auditor *a)
{
	struct pass *p = a->pass;
	p->journal = (struct audit_journal){.shard = p->s->id, .seq = p->checkpoint_seq};
	store_read_journal(a->h->store, p->s->id, p->checkpoint_seq, on_journal_row, on_journal_read, a);
}

static void on_chunks(void *ctx, struct err e, const struct store_history_chunk *chunks, size_t count)
{
	struct auditor *a = ctx;
	struct pass *p = a->pass;
	struct audit_sink sink = {found_perhaps, a};
	for (size_t i = 0; !err_is(e) && i < count; i++)
		audit_chunk(&chunks[i], &p->next_event, &sink);
	p->failed = p->failed || err_is(e);
	if (!err_is(e) && p->next_event <= p->stored_events)
		sink.found(a, AUDIT_EVENTS, p->workflow_id, p->run_id, "the stored history ends too early");
	read_journal(a);
}

static struct store_run_id sample_id(const struct pass *p)
{
	return (struct store_run_id){
		.shard = p->s->id, .namespace_id = p->namespace_id, .workflow_id = p->workflow_id, .run_id = p->run_id};
}

static void on_row(void *ctx, struct err e, const struct store_run_row *row)
{
	struct auditor *a = ctx;
	struct pass *p = a->pass;
	struct audit_sink sink = {found_perhaps, a};
	int64_t next_event;
	if (!err_is(e) && row) {
		audit_row(row, &sink, &next_event);
		audit_rebuild_row(&p->rebuild, row);
	}
	p->failed = p->failed || err_is(e);
	struct store_run_id id = sample_id(p);
	if (p->stored_events > 0)
		store_load_history(a->h->store, &id, 1, p->stored_events, on_chunks, a);
	else
		read_journal(a);
}

/* One of those used least recently, so that all have their turn. */
static void sample(struct auditor *a, struct pass *p)
{
	uint8_t n;
	env_random(a->h->env, &n, sizeof n);
	struct cached_run *r = p->s->lru;
	for (int i = n % SAMPLE_OF; r && r->lru_next && i > 0; i--)
		r = r->lru_next;
	if (!r || r->seq > p->s->last_seq || r->in_heartbeats || cached_run_gone(r))
		return;
	p->namespace_id = mem_strdup(r->wf->namespace_id);
	p->workflow_id = mem_strdup(r->wf->workflow_id);
	p->run_id = mem_strdup(r->run->start->run_id);
	p->rebuild.run_id = p->run_id;
	p->serial = r->serial;
	p->seq = r->seq;
	p->stored_seq = r->stored_seq;
	p->stored_events = r->stored_last_event_id;
	p->next_event = 1;
}

/* Memory alone; what it finds wrong with timers and lists is derived again. */
static void look_at_memory(struct auditor *a, struct shard *s)
{
	struct audit_sink sink = {found_now, a};
	struct workflow *wf, *tmp;
	int left = LIVE_MAX;
	HASH_ITER (hh, s->workflows, wf, tmp) {
		audit_workflow(wf, &sink);
		for (struct cached_run *r = wf->runs; r; r = r->next_in_wf, left--) {
			int64_t before = found_so_far(a);
			audit_cached_run(r, &sink);
			a->runs++;
			if (found_so_far(a) == before)
				continue;
			cached_run_update(r);
			dispatch_due(r);
			a->repaired++;
		}
		if (left <= 0)
			return;
	}
}

static void pass_begin(struct auditor *a, struct shard *s)
{
	look_at_memory(a, s);
	struct pass *p = new0(struct pass);
	a->pass = p;
	p->s = s;
	p->epoch = s->epoch;
	p->last_seq = s->last_seq;
	p->checkpoint_seq = s->checkpoint_seq;
	p->last_fold_ns = s->last_fold_ns;
	sample(a, p);
	struct store_run_id id = sample_id(p);
	if (p->run_id)
		store_load_run(a->h->store, &id, on_row, a);
	else
		read_journal(a);
}

static void on_timer(struct env_timer *t)
{
	struct auditor *a = container_of(t, struct auditor, timer);
	struct history *h = a->h;
	for (; a->next_shard < h->config.shard_count; a->next_shard++) {
		struct shard *s = h->shards[a->next_shard];
		if (!shard_serving(s))
			continue;
		if (s->fold_under_way) {
			a->inconclusive++;
			continue;
		}
		a->next_shard++;
		pass_begin(a, s);
		return;
	}
	a->next_shard = 0;
	a->rounds++;
	a->hurry = false;
	env_timer_start(h->env, &a->timer, PAUSE_NS);
}

/* ------------------------------------------------------------------ life */

static void collect(void *ctx)
{
	struct auditor *a = ctx;
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++) {
		struct metric_label label = {"kind", audit_kind_name(k)};
		metrics_counter(a->metrics, "perdure_audit_violations_total",
				"Violated invariants that the auditor found.", &label, 1)
			->value = a->counts[k];
	}
	metrics_counter(a->metrics, "perdure_audit_runs_total", "Runs that the auditor looked at.", NULL, 0)->value =
		a->runs;
	metrics_counter(a->metrics, "perdure_audit_rounds_total", "Rounds of the auditor over all shards.", NULL, 0)
		->value = a->rounds;
}

struct auditor *auditor_new(struct history *h, struct metrics *metrics)
{
	struct auditor *a = new0(struct auditor);
	a->h = h;
	a->metrics = metrics;
	a->after_wake = mem_zalloc(h->config.shard_count * sizeof *a->after_wake);
	a->after_run = mem_zalloc(h->config.shard_count * sizeof *a->after_run);
	a->timer.fn = on_timer;
	if (metrics)
		metrics_on_collect(metrics, collect, a);
	env_timer_start(h->env, &a->timer, PAUSE_NS);
	return a;
}

void auditor_free(struct auditor *a)
{
	if (!a)
		return;
	if (a->metrics)
		metrics_off_collect(a->metrics, a);
	env_timer_stop(a->h->env, &a->timer);
	pass_free(a->pass);
	for (uint32_t i = 0; i < a->h->config.shard_count; i++)
		free(a->after_run[i]);
	for (size_t i = 0; i < RECENT_MAX; i++)
		finding_done(&a->recent[i]);
	free(a->after_run);
	free(a->after_wake);
	free(a);
}

void auditor_hurry(struct auditor *a)
{
	a->hurry = true;
	a->next_shard = 0;
	if (!a->pass)
		env_timer_start(a->h->env, &a->timer, 0);
}

int64_t auditor_count(const struct auditor *a, enum audit_kind kind)
{
	return a->counts[kind];
}

int64_t auditor_rounds(const struct auditor *a)
{
	return a->rounds;
}

json_t *auditor_json(const struct auditor *a)
{
	struct arena *arena = arena_new(SIZE_MAX);
	json_t *counts = json_object(), *recent = json_array();
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++)
		json_object_set_new(counts, audit_kind_name(k), json_integer(a->counts[k]));
	for (size_t i = 0; i < a->recent_count && i < RECENT_MAX; i++) {
		const struct finding *f = &a->recent[(a->recent_count - 1 - i) % RECENT_MAX];
		json_array_append_new(recent,
				      json_pack("{s:s, s:s?, s:s?, s:s, s:s?}", "kind", audit_kind_name(f->kind),
						"workflow_id", f->workflow_id, "run_id", f->run_id, "what", f->text,
						"time", admin_time(arena, f->time_ns)));
	}
	arena_free(arena);
	return json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "node_id", a->h->config.node_id, "rounds",
			 (json_int_t)a->rounds, "shards_checked", (json_int_t)a->passes, "runs_checked",
			 (json_int_t)a->runs, "inconclusive", (json_int_t)a->inconclusive, "repaired",
			 (json_int_t)a->repaired, "violations_found", (json_int_t)found_so_far(a), "violations", counts,
			 "recent", recent);
}
