/*
 * Invariants over stored and live state.
 */
#include "tests/sim/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/admin/audit.h"
#include "services/history/core/run.h"

/* What the auditor's checks find is a violation here. */
static void found(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	sim_violation(ctx, "%s %s: %s (%s)", workflow_id ? workflow_id : "-", run_id ? run_id : "-", text,
		      audit_kind_name(kind));
}

/* ------------------------------------------------------------------ the journal (invariants 1, 2) */

struct run_set {
	char *id;
	UT_hash_handle hh;
};

static void set_add(struct run_set **set, const char *id)
{
	struct run_set *r = NULL;
	HASH_FIND_STR(*set, id, r);
	if (r)
		return;
	r = new0(struct run_set);
	r->id = mem_strdup(id);
	HASH_ADD_KEYPTR(hh, *set, r->id, strlen(r->id), r);
}

static bool set_has(struct run_set *set, const char *id)
{
	struct run_set *r = NULL;
	HASH_FIND_STR(set, id, r);
	return r != NULL;
}

static void set_free(struct run_set *set)
{
	struct run_set *r, *tmp;
	HASH_ITER (hh, set, r, tmp) {
		HASH_DEL(set, r);
		free(r->id);
		free(r);
	}
}

struct journal_check {
	struct sim_cluster *c;
	struct run_set **ended; /* runs that the journal closes or deletes */
	struct audit_journal journal;
};

static void on_row(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct journal_check *j = ctx;
	Perdure__JournalRecord *rec = perdure__journal_record__unpack(NULL, record.len, record.data);
	for (size_t i = 0; rec && i < rec->n_deltas; i++)
		if (rec->deltas[i]->deleted || (rec->deltas[i]->exec && rec->deltas[i]->exec->close_time_ns))
			set_add(j->ended, rec->deltas[i]->run_id);
	if (rec)
		perdure__journal_record__free_unpacked(rec, NULL);
	audit_journal_row(&j->journal, seq, epoch, &(struct audit_sink){found, j->c});
}

/* ------------------------------------------------------------------ rows (invariants 4, 5) */

struct row_check {
	struct sim_cluster *c;
	struct run_set *open;  /* workflow ids */
	struct run_set *ended; /* runs that the journal has closed since their row was written */
	struct audit_history history;
};

static void on_chunk(void *ctx, const struct store_history_chunk *chunk)
{
	struct row_check *r = ctx;
	audit_history_chunk(&r->history, chunk, &(struct audit_sink){found, r->c});
}

static void on_run(void *ctx, const struct store_run_row *row)
{
	struct row_check *r = ctx;
	struct audit_sink sink = {found, r->c};
	struct run *run = audit_row(row, SIM_SHARDS, &sink);
	if (run) {
		audit_history_init(&r->history, row->workflow_id, row->run_id, run->exec->next_event_id - 1);
		fake_db_each_chunk(r->c->db, row, on_chunk, r);
		audit_history_end(&r->history, run, &sink);
		audit_history_done(&r->history);
		run_free(run);
	}
	if (!row->open || set_has(r->ended, row->run_id))
		return;
	if (set_has(r->open, row->workflow_id))
		sim_violation(r->c, "%s: two open runs", row->workflow_id);
	set_add(&r->open, row->workflow_id);
}

void sim_check_stored(struct sim_cluster *c)
{
	struct row_check r = {.c = c};
	for (uint32_t i = 0; i < SIM_SHARDS; i++) {
		struct journal_check j = {
			.c = c, .ended = &r.ended, .journal = {.shard = i, .seq = fake_db_checkpoint(c->db, i)}};
		fake_db_each_journal(c->db, i, on_row, &j);
	}
	fake_db_each_run(c->db, on_run, &r);
	set_free(r.open);
	set_free(r.ended);
}

/* ------------------------------------------------------------------ memory against snapshot plus journal (3, 6) */

struct rebuild {
	struct sim_cluster *c;
	struct audit_rebuild built;
};

static void take_row(void *ctx, const struct store_run_row *row)
{
	struct rebuild *b = ctx;
	if (str_eq(row->run_id, b->built.run_id) && !audit_rebuild_row(&b->built, row))
		sim_violation(b->c, "%s: its snapshot cannot be read", row->workflow_id);
}

static void take_record(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	struct rebuild *b = ctx;
	(void)epoch;
	audit_rebuild_record(&b->built, seq, record, &(struct audit_sink){found, b->c});
}

static void check_run(struct sim_cluster *c, const struct cached_run *r)
{
	struct rebuild b = {.c = c, .built = {.run_id = r->run->start->run_id}};
	struct audit_sink sink = {found, c};
	fake_db_each_run(c->db, take_row, &b);
	fake_db_each_journal(c->db, r->wf->shard->id, take_record, &b);
	audit_compare(&b.built, r->run, &sink);
	audit_cached_run(r, &sink);
	if (run_open(r->run) && run_wake_at(r->run) == INT64_MAX && !r->run->exec->workflow_task && !r->run->activities)
		sim_say(c, "%s waits for a signal only", r->wf->workflow_id);
	run_free(b.built.run);
}

struct known_check {
	struct sim_cluster *c;
	const struct history *h;
};

/* The filter of ids that the owner of a shard has denies none that the database holds. */
static void check_known(void *ctx, const struct store_run_row *row)
{
	const struct known_check *k = ctx;
	const struct shard *s = k->h->shards[row->shard];
	if (shard_serving(s) && !s->open && !s->inflight &&
	    known_absent(k->h->known, s, row->namespace_id, row->workflow_id))
		sim_violation(k->c, "%s: the filter of ids does not know it", row->workflow_id);
}

void sim_check_memory(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		if (!n->running || !n->history)
			continue;
		fake_db_each_run(c->db, check_known, &(struct known_check){c, n->history});
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

void sim_check_timers(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		for (uint32_t k = 0; n->running && n->history && k < SIM_SHARDS; k++) {
			const struct shard *s = n->history->shards[k];
			if (s->state == SHARD_SERVING && heap_min((struct heap *)&s->wakes) && !s->wake_timer.armed)
				sim_violation(c, "shard %u at %s serves, and nobody looks at what becomes due", k,
					      n->id);
		}
	}
}

void sim_check_auditor(const struct sim_node *n)
{
	if (!n->auditor)
		return;
	json_t *said = auditor_json(n->auditor);
	size_t i;
	json_t *f;
	json_array_foreach(json_object_get(said, "recent"), i,
			   f) if (!n->cluster->refuses ||
				  !str_eq(json_string_value(json_object_get(f, "kind")), "fold"))
		sim_violation(n->cluster, "%s's auditor: %s", n->id, json_string_value(json_object_get(f, "what")));
	json_decref(said);
}

void sim_check_auditors(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++)
		if (c->nodes[i].running)
			sim_check_auditor(&c->nodes[i]);
}
