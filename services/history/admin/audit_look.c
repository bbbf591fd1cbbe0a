/*
 * One stored run after the other: its row once more, its history, and what memory says to it.
 *
 *     row ──► the other open run, if there seems to be one ──► history, a range at a time ──► nothing found: next
 *      ▲                                                                            │
 *      └── found for the first time ────────────────────────────────────────────────┴──► found again: told, repaired
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/admin/audit_impl.h"

#define RANGE_EVENTS 500

static void look(struct auditor *a);

static struct audit_look *current(struct auditor *a)
{
	return &a->turn->looks[a->turn->look_next];
}

static struct store_run_id id_of(const struct auditor *a, const struct audit_look *l)
{
	return (struct store_run_id){.shard = a->turn->s->id,
				     .namespace_id = l->namespace_id,
				     .workflow_id = l->workflow_id,
				     .run_id = l->run_id};
}

static void collect(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	findings_add(ctx, kind, workflow_id, run_id, text);
}

void audit_look_add(struct audit_turn *t, const struct store_run_row *row, const char *other_run_id)
{
	t->looks = mem_realloc(t->looks, (t->look_count + 1) * sizeof *t->looks);
	t->looks[t->look_count++] = (struct audit_look){.namespace_id = mem_strdup(row->namespace_id),
							.workflow_id = mem_strdup(row->workflow_id),
							.run_id = mem_strdup(row->run_id),
							.other_run_id = other_run_id ? mem_strdup(other_run_id) : NULL,
							.closed = t->cursor->closed};
}

static void forget(struct audit_look *l)
{
	findings_done(&l->found);
	audit_history_done(&l->history);
	audit_tasks_free(l->tasks);
	l->tasks = NULL;
	run_free(l->run);
	l->run = NULL;
}

void audit_looks_free(struct audit_turn *t)
{
	for (size_t i = 0; i < t->look_count; i++) {
		struct audit_look *l = &t->looks[i];
		forget(l);
		free(l->namespace_id);
		free(l->workflow_id);
		free(l->run_id);
		free(l->other_run_id);
	}
	free(t->looks);
	t->looks = NULL;
	t->look_count = t->look_next = 0;
}

/* ------------------------------------------------------------------ repairs */

/* A run that is read into memory to be repaired. */
struct repair {
	struct run_wait wait;
	enum audit_kind kind;
};

static void repair_run(const struct repair *p, struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	cached_run_update(r); /* its timer, and the list of those with a task to start */
	if (p->kind == AUDIT_DEADLINE || p->kind == AUDIT_OUTBOUND) {
		if (!r->dirty_since)
			r->dirty_since = s->last_seq + 1;
		shard_fold(s, NULL);
	} else if (p->kind == AUDIT_STUCK) {
		audit_schedule_workflow_task(r);
	} else {
		dispatch_due(r);
	}
}

static void on_loaded(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *r)
{
	struct repair *p = container_of(w, struct repair, wait);
	(void)wf;
	if (!err_is(e) && r && run_open(r->run))
		repair_run(p, r);
	free(p);
}

/* NULL: that can't be derived again. */
static const char *repair_row(struct auditor *a, const struct audit_look *l, enum audit_kind kind)
{
	bool anew = kind == AUDIT_DEADLINE || kind == AUDIT_OUTBOUND;
	bool woken = kind == AUDIT_OVERDUE || kind == AUDIT_NOT_OFFERED;
	bool scheduled = kind == AUDIT_STUCK && a->asked.active;
	if (!audit_may_repair(a) || !shard_serving(a->turn->s) || (!anew && !woken && !scheduled))
		return NULL;
	struct repair *p = new0(struct repair);
	*p = (struct repair){.wait.fn = on_loaded, .kind = kind};
	struct workflow *wf = workflow_get(a->turn->s, l->namespace_id, l->workflow_id);
	struct cached_run *r = workflow_run(wf, l->run_id);
	if (r)
		on_loaded(&p->wait, err_ok, wf, r);
	else
		workflow_load(wf, l->run_id, &p->wait);
	return anew    ? "its row is written anew"
	       : woken ? "it was read into memory, and woken"
		       : "a workflow task was scheduled";
}

/* ------------------------------------------------------------------ rows against memory */

#define LATE_NS (30 * NS_PER_S)

bool audit_row_cold(struct shard *s, const struct store_run_row *row)
{
	struct workflow *wf = workflow_get(s, row->namespace_id, row->workflow_id);
	bool cold = row->open && !workflow_run(wf, row->run_id) && !wf->loads;
	workflow_put(wf);
	return cold;
}

void audit_row_live(struct shard *s, const struct store_run_row *row, const struct run *run,
		    const struct audit_sink *sink)
{
	struct workflow *wf = workflow_get(s, row->namespace_id, row->workflow_id);
	bool cold = row->open && run_open(run) && !workflow_run(wf, row->run_id) && !wf->loads;
	bool other = false;
	for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf)
		other = other || (run_open(r->run) && !cached_run_gone(r));
	workflow_put(wf);
	if (!cold) /* memory is newer, and looked at */
		return;
	if (other)
		sink->found(sink->ctx, AUDIT_TWO_OPEN, row->workflow_id, row->run_id,
			    "another run of the workflow id is open, too");
	int64_t now = env_wall_ns(s->h->env);
	if (now - s->served_since_ns < LATE_NS || s->due_load)
		return;
	if (row->wake_at_ns < min_i64(now - LATE_NS, s->due_loaded_until_ns))
		sink->found(sink->ctx, AUDIT_OVERDUE, row->workflow_id, row->run_id,
			    "it should have been woken, and is not in memory");
}

/* ------------------------------------------------------------------ the end of a look */

static void next_look(struct auditor *a)
{
	forget(current(a));
	a->turn->look_next++;
	audit_looks(a);
}

void audit_look_ends(struct auditor *a)
{
	struct audit_look *l = current(a);
	if (l->found.count && !l->again) {
		l->again = true;
		look(a);
		return;
	}
	for (size_t i = 0; i < l->found.count; i++)
		audit_tell(a, a->turn->s, &l->found.list[i], l->namespace_id, repair_row(a, l, l->found.list[i].kind));
	next_look(a);
}

static void look_fails(struct auditor *a)
{
	a->inconclusive++;
	a->asked.inconclusive += a->asked.active;
	next_look(a);
}

/* ------------------------------------------------------------------ history */

static void read_range(struct auditor *a);

static void on_chunks(void *ctx, struct err e, const struct store_history_chunk *chunks, size_t count)
{
	struct auditor *a = ctx;
	struct audit_look *l = current(a);
	struct audit_sink sink = {collect, &l->found};
	int64_t before = l->history.next_event;
	if (err_is(e)) {
		look_fails(a);
		return;
	}
	for (size_t i = 0; i < count; i++)
		audit_history_chunk(&l->history, &chunks[i], &sink);
	if (l->history.next_event > before && l->history.next_event <= l->history.until && !l->history.broken) {
		read_range(a);
		return;
	}
	audit_history_end(&l->history, l->run, &sink);
	a->histories++;
	a->asked.histories += a->asked.active;
	audit_tasks(a);
}

static void read_range(struct auditor *a)
{
	struct audit_look *l = current(a);
	struct store_run_id id = id_of(a, l);
	int64_t first = l->history.next_event;
	store_load_history(a->h->store, &id, first, min_i64(first + RANGE_EVENTS - 1, l->history.until), on_chunks, a);
}

/* ------------------------------------------------------------------ rows */

static void on_other(void *ctx, struct err e, const struct store_run_row *row)
{
	struct auditor *a = ctx;
	struct audit_look *l = current(a);
	struct workflow *wf = workflow_get(a->turn->s, l->namespace_id, l->workflow_id);
	const struct cached_run *r = workflow_run(wf, l->other_run_id);
	bool open = r ? run_open(r->run) && !cached_run_gone(r) : !err_is(e) && row && row->open;
	workflow_put(wf);
	if (open)
		collect(&l->found, AUDIT_TWO_OPEN, l->workflow_id, l->run_id,
			"another run of the workflow id is open, too");
	read_range(a);
}

static void on_row(void *ctx, struct err e, const struct store_run_row *row)
{
	struct auditor *a = ctx;
	struct audit_look *l = current(a);
	struct audit_sink sink = {collect, &l->found};
	if (err_is(e) || !row || !shard_serving(a->turn->s) || (l->again && row->applied_seq != l->applied_seq)) {
		if (err_is(e) || row)
			look_fails(a);
		else
			next_look(a); /* it is gone */
		return;
	}
	l->applied_seq = row->applied_seq;
	l->run = audit_row(row, a->h->config.shard_count, &sink);
	if (l->closed && row->open)
		collect(&l->found, AUDIT_CLOSED, l->workflow_id, l->run_id,
			"there is an open row beside its closed one");
	if (!l->run) {
		audit_look_ends(a);
		return;
	}
	audit_row_live(a->turn->s, row, l->run, &sink);
	if (audit_row_cold(a->turn->s, row))
		l->tasks = audit_tasks_of(a->turn->s, l->run);
	audit_history_init(&l->history, l->workflow_id, l->run_id, l->run->exec->next_event_id - 1);
	struct store_run_id other = id_of(a, l);
	other.run_id = l->other_run_id;
	if (l->other_run_id && row->open)
		store_load_run(a->h->store, &other, on_other, a);
	else
		read_range(a);
}

static void look(struct auditor *a)
{
	struct audit_look *l = current(a);
	struct store_run_id id = id_of(a, l);
	forget(l);
	store_load_run(a->h->store, &id, on_row, a);
}

void audit_looks(struct auditor *a)
{
	struct audit_turn *t = a->turn;
	if (t->look_next < t->look_count && shard_serving(t->s))
		look(a);
	else
		audit_looked(a);
}
