/*
 * The invariants; see check.h.
 */
#include "services/history/admin/check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "common/membership/placement.h"

const char *audit_kind_name(enum audit_kind kind)
{
	static const char *const names[AUDIT_KINDS] = {
		[AUDIT_JOURNAL_GAP] = "journal_gap", [AUDIT_EPOCH] = "epoch",	    [AUDIT_UNREADABLE] = "unreadable",
		[AUDIT_EVENTS] = "events",	     [AUDIT_CAUSE] = "cause",	    [AUDIT_TWICE] = "twice",
		[AUDIT_PENDING] = "pending",	     [AUDIT_ROW] = "row",	    [AUDIT_CLOSED] = "closed",
		[AUDIT_OUTBOUND] = "outbound",	     [AUDIT_DEADLINE] = "deadline", [AUDIT_TWO_OPEN] = "two_open",
		[AUDIT_MEMORY] = "memory",	     [AUDIT_STUCK] = "stuck",	    [AUDIT_NOT_OFFERED] = "not_offered",
		[AUDIT_OVERDUE] = "overdue",	     [AUDIT_FOLD] = "fold",
	};
	return names[kind];
}

static void found(const struct audit_sink *sink, enum audit_kind kind, const char *workflow_id, const char *run_id,
		  const char *fmt, ...) printf_like(5, 6);
static void found(const struct audit_sink *sink, enum audit_kind kind, const char *workflow_id, const char *run_id,
		  const char *fmt, ...)
{
	char text[256];
	va_list args;
	va_start(args, fmt);
	vsnprintf(text, sizeof text, fmt, args);
	va_end(args);
	sink->found(sink->ctx, kind, workflow_id, run_id, text);
}

/* ------------------------------------------------------------------ the journal (invariants 1, 2) */

void audit_journal_row(struct audit_journal *j, int64_t seq, int64_t epoch, const struct audit_sink *sink)
{
	if (j->seq && seq != j->seq + 1)
		found(sink, AUDIT_JOURNAL_GAP, NULL, NULL, "shard %u: journal seq %" PRId64 " follows %" PRId64,
		      j->shard, seq, j->seq);
	if (epoch < j->epoch)
		found(sink, AUDIT_EPOCH, NULL, NULL, "shard %u: epoch went down at seq %" PRId64, j->shard, seq);
	j->seq = seq;
	j->epoch = epoch;
}

/* ------------------------------------------------------------------ rows (invariants 4, 7) */

static struct run *read_snapshot(const struct store_run_row *row)
{
	struct arena *a = arena_new(SIZE_MAX);
	struct run *run = NULL;
	if (err_is(run_from_snapshot(a, row->snapshot, &run)))
		run = NULL;
	arena_free(a);
	return run;
}

static void check_open_row(const struct store_run_row *row, const struct run *run, const struct audit_sink *sink)
{
	if (row->wake_at_ns > run_wake_at(run))
		found(sink, AUDIT_DEADLINE, row->workflow_id, row->run_id, "wakes later than its earliest deadline");
	/* A task in backoff has its time, a due one must be read when the shard is taken over. */
	if (!row->outbound && run_has_unstarted_task(run, 0))
		found(sink, AUDIT_OUTBOUND, row->workflow_id, row->run_id, "has a task to start, and does not say so");
	if (audit_waits_for_nothing(run))
		found(sink, AUDIT_STUCK, row->workflow_id, row->run_id, "it is open and waits for nothing");
}

static void check_closed_row(const struct store_run_row *row, const struct run *run, const struct audit_sink *sink)
{
	const Perdure__RunExec *x = run->exec;
	if (row->retention_end_ns != x->retention_end_ns || row->close_time_ns != x->close_time_ns)
		found(sink, AUDIT_CLOSED, row->workflow_id, row->run_id,
		      "row and snapshot disagree when it ended or how long it is kept");
}

struct run *audit_row(const struct store_run_row *row, uint32_t shards, const struct audit_sink *sink)
{
	struct run *run = read_snapshot(row);
	if (!run) {
		found(sink, AUDIT_UNREADABLE, row->workflow_id, row->run_id, "its snapshot cannot be read");
		return NULL;
	}
	const Perdure__RunStart *start = run->start;
	if (!str_eq(start->workflow_id, row->workflow_id) || !str_eq(start->run_id, row->run_id) ||
	    !str_eq(start->namespace_id, row->namespace_id) || start->start_seq != row->start_seq)
		found(sink, AUDIT_ROW, row->workflow_id, row->run_id, "the snapshot is that of another run");
	else if (shards && shard_of(row->namespace_id, row->workflow_id, shards) != row->shard)
		found(sink, AUDIT_ROW, row->workflow_id, row->run_id, "it is stored in shard %u, where nobody finds it",
		      row->shard);
	if (row->open != run_open(run) || row->status != run->exec->status)
		found(sink, AUDIT_ROW, row->workflow_id, row->run_id, "row and snapshot disagree whether it is open");
	else if (row->open)
		check_open_row(row, run, sink);
	else
		check_closed_row(row, run, sink);
	return run;
}

/* ------------------------------------------------------------------ memory against snapshot plus journal (3) */

bool audit_rebuild_row(struct audit_rebuild *b, const struct store_run_row *row)
{
	b->run = read_snapshot(row);
	b->applied = row->applied_seq;
	return b->run != NULL;
}

static void apply(struct audit_rebuild *b, Perdure__RunDelta *d, const struct audit_sink *sink)
{
	if (!str_eq(d->run_id, b->run_id))
		return;
	if (!b->run && d->start)
		b->run = run_new();
	if (!b->run || (d->start != NULL) == (b->run->start != NULL))
		found(sink, AUDIT_MEMORY, d->workflow_id, d->run_id, "a journalled change has no state to change");
	else
		run_apply(b->run, d);
}

void audit_rebuild_record(struct audit_rebuild *b, int64_t seq, struct bytes record, const struct audit_sink *sink)
{
	if (seq <= b->applied)
		return;
	Perdure__JournalRecord *rec = perdure__journal_record__unpack(NULL, record.len, record.data);
	if (!rec) {
		found(sink, AUDIT_UNREADABLE, NULL, NULL, "journal record %" PRId64 " cannot be read", seq);
		return;
	}
	for (size_t i = 0; i < rec->n_deltas; i++)
		apply(b, rec->deltas[i], sink);
	perdure__journal_record__free_unpacked(rec, NULL);
}

/* Heartbeats are in memory first; those of a closed run need never be written. */
static bool has_news(const struct run *run)
{
	for (const struct run_activity *a = run->activities; a; a = a->hh.next)
		if (a->details_dirty)
			return true;
	return false;
}

void audit_compare(const struct audit_rebuild *b, const struct run *memory, const struct audit_sink *sink)
{
	const char *workflow_id = memory->start->workflow_id, *run_id = memory->start->run_id;
	struct buf have = {0}, rebuilt = {0};
	if (has_news(memory))
		return;
	run_pack_snapshot(memory, &have);
	if (b->run)
		run_pack_snapshot(b->run, &rebuilt);
	if (b->run && b->run->deleted != memory->deleted)
		found(sink, AUDIT_MEMORY, workflow_id, run_id, "memory and journal disagree whether it was deleted");
	if (!memory->deleted && !bytes_eq(buf_view(&have), buf_view(&rebuilt)))
		found(sink, AUDIT_MEMORY, workflow_id, run_id, "memory differs from snapshot plus journal");
	buf_done(&have);
	buf_done(&rebuilt);
}

/* ------------------------------------------------------------------ memory alone (5, 6, 7) */

bool audit_waits_for_nothing(const struct run *run)
{
	const Perdure__RunExec *x = run->exec;
	if (x->workflow_task || run->activities || run->timers || x->first_workflow_task_backoff_deadline_ns > 0)
		return false;
	return x->last_completed_workflow_task_started_event_id == 0 || run->buffered_count > 0;
}

/* A timer that just fires is set a moment later when there was nothing to do, see timers.c. */
#define LATE_NS (10 * NS_PER_S)

static void check_waking(const struct cached_run *r, int64_t now, const struct audit_sink *sink)
{
	int64_t due = run_wake_at(r->run);
	if (r->wake_ns > max_i64(due, now + NS_PER_S))
		found(sink, AUDIT_DEADLINE, r->wf->workflow_id, r->run->start->run_id,
		      "its timer is set later than its earliest deadline");
	else if (r->wake_ns < now - LATE_NS)
		found(sink, AUDIT_OVERDUE, r->wf->workflow_id, r->run->start->run_id,
		      "it should have been woken %" PRId64 " s ago", (int64_t)((now - r->wake_ns) / NS_PER_S));
}

void audit_cached_run(const struct cached_run *r, const struct audit_sink *sink)
{
	const struct shard *s = r->wf->shard;
	const char *workflow_id = r->wf->workflow_id, *run_id = r->run->start->run_id;
	int64_t now = env_wall_ns(s->h->env);
	if (!run_open(r->run) || r->run->deleted)
		return;
	if (audit_waits_for_nothing(r->run))
		found(sink, AUDIT_STUCK, workflow_id, run_id, "it is open and waits for nothing");
	check_waking(r, now, sink);
	/* A backoff that has just ended is listed when its timer has fired. */
	if (!r->in_unstarted && run_has_unstarted_task(r->run, now - LATE_NS))
		found(sink, AUDIT_NOT_OFFERED, workflow_id, run_id, "it has a task to start that nobody offers");
}

void audit_workflow(const struct workflow *wf, const struct audit_sink *sink)
{
	const struct cached_run *open = NULL;
	for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf) {
		if (!run_open(r->run) || r->run->deleted)
			continue;
		if (open)
			found(sink, AUDIT_TWO_OPEN, wf->workflow_id, r->run->start->run_id, "two open runs");
		open = r;
	}
}
