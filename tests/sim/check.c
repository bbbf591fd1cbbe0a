/*
 * Invariants over stored and live state.
 */
#include "tests/sim/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/core/run.h"

/* ------------------------------------------------------------------ the journal (invariants 1, 2) */

struct journal_check {
	struct sim_cluster *c;
	uint32_t shard;
	int64_t seq, epoch;
};

static void on_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct journal_check *j = ctx;
	(void)record;
	if (j->seq && seq != j->seq + 1)
		sim_violation(j->c, "shard %u: journal seq %" PRId64 " follows %" PRId64, j->shard, seq, j->seq);
	if (epoch < j->epoch)
		sim_violation(j->c, "shard %u: epoch went down at seq %" PRId64, j->shard, seq);
	j->seq = seq;
	j->epoch = epoch;
}

/* ------------------------------------------------------------------ rows (invariants 4, 5) */

struct open_run {
	char *key;
	UT_hash_handle hh;
};

struct row_check {
	struct sim_cluster *c;
	struct open_run *open;
	const struct store_run_row *row;
	int64_t next_event;
};

static void on_chunk(void *ctx, const struct store_history_chunk *chunk)
{
	struct row_check *r = ctx;
	if (chunk->first_event_id != r->next_event)
		sim_violation(r->c, "%s: a chunk begins with event %" PRId64 ", expected %" PRId64, r->row->workflow_id,
			      chunk->first_event_id, r->next_event);
	r->next_event = chunk->last_event_id + 1;
}

static void on_run(void *ctx, const struct store_run_row *row)
{
	struct row_check *r = ctx;
	struct arena *a = arena_new(SIZE_MAX);
	struct run *run = NULL;
	struct err e = run_from_snapshot(a, row->snapshot, &run);
	if (err_is(e)) {
		sim_violation(r->c, "%s: its snapshot cannot be read", row->workflow_id);
		arena_free(a);
		return;
	}
	r->row = row;
	r->next_event = 1;
	fake_db_each_chunk(r->c->db, row, on_chunk, r);
	if (r->next_event != run->exec->next_event_id)
		sim_violation(r->c, "%s: history ends before event %" PRId64 ", the snapshot's next is %" PRId64,
			      row->workflow_id, r->next_event, run->exec->next_event_id);
	if (row->open != run_open(run))
		sim_violation(r->c, "%s: row and snapshot disagree whether it is open", row->workflow_id);
	if (row->open && row->wake_at_ns > run_wake_at(run))
		sim_violation(r->c, "%s: wakes later than its earliest deadline", row->workflow_id);
	if (row->open) {
		struct open_run *o = NULL;
		HASH_FIND_STR(r->open, row->workflow_id, o);
		if (o)
			sim_violation(r->c, "%s: two open runs", row->workflow_id);
		o = new0(struct open_run);
		o->key = mem_strdup(row->workflow_id);
		HASH_ADD_KEYPTR(hh, r->open, o->key, strlen(o->key), o);
	}
	run_free(run);
	arena_free(a);
}

void sim_check_stored(struct sim_cluster *c)
{
	for (uint32_t i = 0; i < SIM_SHARDS; i++) {
		struct journal_check j = {.c = c, .shard = i, .seq = fake_db_checkpoint(c->db, i)};
		fake_db_each_journal(c->db, i, on_row, &j);
	}
	struct row_check r = {.c = c};
	fake_db_each_run(c->db, on_run, &r);
	struct open_run *o, *tmp;
	HASH_ITER (hh, r.open, o, tmp) {
		HASH_DEL(r.open, o);
		free(o->key);
		free(o);
	}
}

/* ------------------------------------------------------------------ memory against snapshot plus journal (3, 6) */

struct rebuild {
	struct sim_cluster *c;
	const struct cached_run *cached;
	struct run *run;
	int64_t applied;
};

static void take_row(void *ctx, const struct store_run_row *row)
{
	struct rebuild *b = ctx;
	if (!str_eq(row->run_id, b->cached->run->start->run_id))
		return;
	struct arena *a = arena_new(SIZE_MAX);
	if (err_is(run_from_snapshot(a, row->snapshot, &b->run)))
		sim_violation(b->c, "%s: its snapshot cannot be read", row->workflow_id);
	b->applied = row->applied_seq;
	arena_free(a);
}

static void take_record(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct rebuild *b = ctx;
	(void)epoch;
	if (seq <= b->applied)
		return;
	Perdure__JournalRecord *rec = perdure__journal_record__unpack(NULL, record.len, record.data);
	for (size_t i = 0; rec && i < rec->n_deltas; i++) {
		if (!str_eq(rec->deltas[i]->run_id, b->cached->run->start->run_id))
			continue;
		if (!b->run)
			b->run = run_new();
		run_apply(b->run, rec->deltas[i]);
	}
	if (rec)
		perdure__journal_record__free_unpacked(rec, NULL);
}

static void check_run(struct sim_cluster *c, const struct cached_run *r)
{
	struct rebuild b = {.c = c, .cached = r};
	fake_db_each_run(c->db, take_row, &b);
	fake_db_each_journal(c->db, r->wf->shard->id, take_record, &b);
	struct buf memory = {0}, rebuilt = {0};
	run_pack_snapshot(r->run, &memory);
	if (b.run)
		run_pack_snapshot(b.run, &rebuilt);
	if (b.run && b.run->deleted != r->run->deleted)
		sim_violation(c, "%s: memory and journal disagree whether it was deleted", r->wf->workflow_id);
	if (!r->run->deleted && !bytes_eq(buf_view(&memory), buf_view(&rebuilt)))
		sim_violation(c, "%s: memory differs from snapshot plus journal", r->wf->workflow_id);
	if (run_open(r->run) && run_wake_at(r->run) == INT64_MAX && !r->run->exec->workflow_task && !r->run->activities)
		sim_say(c, "%s waits for a signal only", r->wf->workflow_id);
	buf_done(&memory);
	buf_done(&rebuilt);
	run_free(b.run);
}

void sim_check_memory(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		if (!n->running || !n->history)
			continue;
		for (uint32_t s = 0; s < SIM_SHARDS; s++) {
			struct shard *shard = n->history->shards[s];
			if (!shard_serving(shard) || shard->open || shard->inflight)
				continue;
			struct workflow *wf, *tmp;
			HASH_ITER (hh, shard->workflows, wf, tmp)
				for (struct cached_run *r = wf->runs; r; r = r->next_in_wf)
					check_run(c, r);
		}
	}
}
