/*
 * What the auditor found: told once in the log, counted, and kept for those who ask.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/admin/admin.h"
#include "services/history/admin/audit_impl.h"

void finding_done(struct finding *f)
{
	free(f->namespace_id);
	free(f->workflow_id);
	free(f->run_id);
	free(f->text);
	free(f->repaired);
	*f = (struct finding){0};
}

void findings_done(struct findings *f)
{
	for (size_t i = 0; i < f->count; i++)
		finding_done(&f->list[i]);
	free(f->list);
	*f = (struct findings){0};
}

static char *or_null(const char *s)
{
	return s ? mem_strdup(s) : NULL;
}

static void put(struct findings *f, struct finding one)
{
	f->list = mem_realloc(f->list, (f->count + 1) * sizeof *f->list);
	f->list[f->count++] = one;
}

void findings_add(struct findings *f, enum audit_kind kind, const char *workflow_id, const char *run_id,
		  const char *text)
{
	put(f, (struct finding){.kind = kind,
				.workflow_id = or_null(workflow_id),
				.run_id = or_null(run_id),
				.text = mem_strdup(text)});
}

bool audit_may_repair(const struct auditor *a)
{
	return a->asked.active ? a->asked.repair : a->config.repair;
}

static struct finding copy(const struct finding *f)
{
	struct finding c = *f;
	c.namespace_id = or_null(f->namespace_id);
	c.workflow_id = or_null(f->workflow_id);
	c.run_id = or_null(f->run_id);
	c.text = or_null(f->text);
	c.repaired = or_null(f->repaired);
	return c;
}

void audit_tell(struct auditor *a, const struct shard *s, const struct finding *f, const char *namespace_id,
		const char *repaired)
{
	log_error(a->h->log, "an invariant is violated", log_str("kind", audit_kind_name(f->kind)),
		  log_int("shard", s->id), log_str("namespace_id", namespace_id),
		  log_str("workflow_id", f->workflow_id), log_str("run_id", f->run_id), log_str("what", f->text),
		  log_str("repaired", repaired));
	a->counts[f->kind]++;
	a->repaired += repaired != NULL;
	struct finding told = copy(f);
	told.shard = s->id;
	told.namespace_id = or_null(namespace_id);
	told.repaired = or_null(repaired);
	told.time_ns = env_wall_ns(a->h->env);
	struct audit_asked *asked = &a->asked;
	if (asked->active) {
		asked->found++;
		asked->repaired += repaired != NULL;
		if (asked->list.count < AUDIT_ASKED_MAX)
			put(&asked->list, copy(&told));
	} else {
		a->round_found++;
	}
	struct finding *at = &a->recent[a->recent_count++ % AUDIT_RECENT_MAX];
	finding_done(at);
	*at = told;
}

/* ------------------------------------------------------------------ for those who ask */

static json_t *finding_json(const struct finding *f)
{
	struct arena *arena = arena_new(SIZE_MAX);
	json_t *v = json_pack("{s:s, s:I, s:s?, s:s?, s:s?, s:s, s:s?, s:s?}", "kind", audit_kind_name(f->kind),
			      "shard", (json_int_t)f->shard, "namespace_id", f->namespace_id, "workflow_id",
			      f->workflow_id, "run_id", f->run_id, "what", f->text, "repaired", f->repaired, "time",
			      admin_time(arena, f->time_ns));
	arena_free(arena);
	return v;
}

static json_t *asked_json(const struct auditor *a)
{
	const struct audit_asked *k = &a->asked;
	json_t *list = json_array();
	for (size_t i = 0; i < k->list.count; i++)
		json_array_append_new(list, finding_json(&k->list.list[i]));
	int64_t until = k->ended_ns ? k->ended_ns : env_mono_ns(a->h->env);
	return json_pack("{s:I, s:b, s:I, s:I, s:I, s:I, s:I, s:f, s:I, s:I, s:o}", "id", (json_int_t)k->id, "done",
			 k->ended_ns != 0, "shards", (json_int_t)k->shards, "runs", (json_int_t)k->runs, "rows",
			 (json_int_t)k->rows, "histories", (json_int_t)k->histories, "inconclusive",
			 (json_int_t)k->inconclusive, "seconds", (double)(until - k->began_ns) / (double)NS_PER_S,
			 "found", (json_int_t)k->found, "repaired", (json_int_t)k->repaired, "violations", list);
}

json_t *auditor_json(const struct auditor *a)
{
	struct arena *arena = arena_new(SIZE_MAX);
	json_t *counts = json_object(), *recent = json_array();
	int64_t sum = 0;
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++) {
		json_object_set_new(counts, audit_kind_name(k), json_integer(a->counts[k]));
		sum += a->counts[k];
	}
	for (size_t i = 0; i < a->recent_count && i < AUDIT_RECENT_MAX; i++)
		json_array_append_new(recent, finding_json(&a->recent[(a->recent_count - 1 - i) % AUDIT_RECENT_MAX]));
	json_t *v = json_pack(
		"{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s?, s:I, s:o, s:o, s:o}", "node_id",
		a->h->config.node_id, "rounds", (json_int_t)a->rounds, "turns", (json_int_t)a->turns, "runs",
		(json_int_t)a->runs, "rows", (json_int_t)a->rows, "histories", (json_int_t)a->histories, "inconclusive",
		(json_int_t)a->inconclusive, "repaired", (json_int_t)a->repaired, "violations_found", (json_int_t)sum,
		"last_round_seconds", (double)a->round_took_ns / (double)NS_PER_S, "last_round_ended",
		admin_time(arena, a->round_ended_ns), "last_round_found", (json_int_t)a->last_round_found, "violations",
		counts, "recent", recent, "asked", a->asked.id ? asked_json(a) : json_null());
	arena_free(arena);
	return v;
}
