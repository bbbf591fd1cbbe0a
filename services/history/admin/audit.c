/*
 * The auditor's turns and rounds; see audit.h.
 */
#include "services/history/admin/audit.h"

#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "services/history/admin/audit_impl.h"

#define ASKED_PAUSE_NS (100 * NS_PER_MS) /* between turns of a round that is to be slow */
#define BREATH_NS      NS_PER_MS

#define STALL_NS NS_PER_S /* so late, the process stood still: what is overdue is about to happen */

static void next_turn(struct auditor *a, int64_t delay_ns)
{
	a->turn_due_ns = env_mono_ns(a->h->env) + delay_ns;
	env_timer_start(a->h->env, &a->timer, delay_ns);
}

/* ------------------------------------------------------------------ rounds of its own */

static int64_t own_rows(const struct auditor *a)
{
	return max_i64(1, (int64_t)((double)a->config.rows_per_second * (double)a->config.interval_ns / NS_PER_S));
}

static void round_ends(struct auditor *a)
{
	struct history *h = a->h;
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		if (shard_serving(h->shards[i]) && !a->seen[i].cursor.ended)
			return;
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		audit_cursor_reset(&a->seen[i].cursor);
	int64_t now = env_mono_ns(h->env);
	a->rounds++;
	a->round_took_ns = now - a->round_began_ns;
	a->round_began_ns = now;
	a->round_ended_ns = env_wall_ns(h->env);
	a->last_round_found = a->round_found;
	a->round_found = 0;
}

static void own_turn(struct auditor *a)
{
	struct history *h = a->h;
	for (; a->next_shard < h->config.shard_count; a->next_shard++) {
		struct shard *s = h->shards[a->next_shard];
		if (!shard_serving(s) || s->fold_under_way)
			continue;
		a->next_shard++;
		audit_turn_begin(a, s, &a->seen[s->id].cursor, own_rows(a));
		return;
	}
	a->next_shard = 0;
	round_ends(a);
	next_turn(a, a->config.interval_ns);
}

/* ------------------------------------------------------------------ a round that was asked for */

static void asked_done(struct audit_asked *k)
{
	findings_done(&k->list);
	audit_cursor_reset(&k->cursor);
	free(k->namespace_id);
	free(k->workflow_id);
}

uint64_t auditor_ask(struct auditor *a, const struct audit_scope *scope)
{
	struct audit_asked *k = &a->asked;
	if (k->id && !k->ended_ns)
		return 0;
	uint64_t id = k->id + 1;
	asked_done(k);
	*k = (struct audit_asked){
		.id = id,
		.shard = scope->shard,
		.namespace_id = scope->namespace_id ? mem_strdup(scope->namespace_id) : NULL,
		.workflow_id = scope->workflow_id ? mem_strdup(scope->workflow_id) : NULL,
		.rows_per_second = scope->rows_per_second,
		.repair = scope->repair,
		.began_ns = env_mono_ns(a->h->env),
	};
	if (k->workflow_id)
		k->shard = history_shard_of(a->h, k->namespace_id, k->workflow_id)->id;
	/* A turn of its own that is under way ends first: what that finds is not part of this. */
	if (a->turn)
		return id;
	k->active = true;
	next_turn(a, 0);
	return id;
}

static int64_t asked_rows(const struct audit_asked *k)
{
	return k->rows_per_second ? max_i64(1, k->rows_per_second * ASKED_PAUSE_NS / NS_PER_S) : INT64_MAX;
}

static void asked_turn(struct auditor *a)
{
	struct audit_asked *k = &a->asked;
	struct history *h = a->h;
	for (; k->next_shard < h->config.shard_count; k->next_shard++) {
		struct shard *s = h->shards[k->next_shard];
		if ((k->shard >= 0 && k->shard != s->id) || !shard_serving(s))
			continue;
		if (k->cursor.ended) {
			k->shards++;
			audit_cursor_reset(&k->cursor);
			continue;
		}
		if (s->fold_under_way) {
			next_turn(a, BREATH_NS);
			return;
		}
		audit_turn_begin(a, s, &k->cursor, asked_rows(k));
		return;
	}
	k->active = false;
	k->ended_ns = env_mono_ns(h->env);
	next_turn(a, a->config.interval_ns);
}

/* ------------------------------------------------------------------ turns */

void audit_turn_end(struct auditor *a)
{
	struct audit_asked *k = &a->asked;
	audit_turn_free(a->turn);
	a->turn = NULL;
	a->turns++;
	bool waits = k->id && !k->active && !k->ended_ns;
	k->active = k->active || waits;
	int64_t pause = a->config.interval_ns;
	if (k->active)
		pause = k->rows_per_second && !waits ? ASKED_PAUSE_NS : BREATH_NS;
	next_turn(a, pause);
}

static void on_timer(struct env_timer *t)
{
	struct auditor *a = container_of(t, struct auditor, timer);
	if (env_mono_ns(a->h->env) - a->turn_due_ns > STALL_NS)
		next_turn(a, STALL_NS);
	else if (a->asked.active)
		asked_turn(a);
	else
		own_turn(a);
}

/* ------------------------------------------------------------------ life */

static void collect(void *ctx)
{
	struct auditor *a = ctx;
	struct metrics *m = a->metrics;
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++) {
		struct metric_label label = {"kind", audit_kind_name(k)};
		metrics_counter(m, "perdure_audit_violations_total", "Violated invariants that the auditor found.",
				&label, 1)
			->value = a->counts[k];
	}
	const struct {
		const char *name, *help;
		int64_t value;
	} totals[] = {
		{"perdure_audit_runs_total", "Runs in memory that the auditor looked at.", a->runs},
		{"perdure_audit_rows_total", "Rows that the auditor looked at.", a->rows},
		{"perdure_audit_histories_total", "Histories that the auditor read, event by event.", a->histories},
		{"perdure_audit_repaired_total", "Violations that the auditor repaired.", a->repaired},
		{"perdure_audit_rounds_total", "Rounds of the auditor over all rows.", a->rounds},
	};
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m, totals[i].name, totals[i].help, NULL, 0)->value = totals[i].value;
	gauge_set(metrics_gauge(m, "perdure_audit_last_round_seconds", "How long the auditor's last round took.", NULL,
				0),
		  a->round_took_ns / NS_PER_S);
	gauge_set(metrics_gauge(m, "perdure_audit_last_round_end_seconds",
				"When the auditor's last round ended, since the Unix epoch.", NULL, 0),
		  a->round_ended_ns / NS_PER_S);
	gauge_set(metrics_gauge(m, "perdure_audit_last_round_violations",
				"Violations that the auditor's last round found.", NULL, 0),
		  a->last_round_found);
}

struct auditor *auditor_new(struct history *h, struct metrics *metrics, const struct auditor_config *config)
{
	struct auditor *a = new0(struct auditor);
	a->h = h;
	a->metrics = metrics;
	a->config = *config;
	a->seen = mem_zalloc(h->config.shard_count * sizeof *a->seen);
	a->round_began_ns = env_mono_ns(h->env);
	a->timer.fn = on_timer;
	if (metrics)
		metrics_on_collect(metrics, collect, a);
	next_turn(a, config->interval_ns);
	return a;
}

void auditor_set_config(struct auditor *a, const struct auditor_config *config)
{
	a->config = *config;
}

void auditor_free(struct auditor *a)
{
	if (!a)
		return;
	if (a->metrics)
		metrics_off_collect(a->metrics, a);
	env_timer_stop(a->h->env, &a->timer);
	audit_turn_free(a->turn);
	for (uint32_t i = 0; i < a->h->config.shard_count; i++)
		audit_cursor_reset(&a->seen[i].cursor);
	for (size_t i = 0; i < AUDIT_RECENT_MAX; i++)
		finding_done(&a->recent[i]);
	asked_done(&a->asked);
	free(a->seen);
	free(a);
}

int64_t auditor_count(const struct auditor *a, enum audit_kind kind)
{
	return a->counts[kind];
}

int64_t auditor_repaired(const struct auditor *a)
{
	return a->repaired;
}

int64_t auditor_rounds(const struct auditor *a)
{
	return a->rounds;
}
