/*
 * History's metrics, slow operations and spans. Names: deploy/monitoring/README.md.
 */
#include "services/history/measure.h"

#include <stdlib.h>
#include <uthash.h>

#include "common/mem/mem.h"
#include "common/metrics/service.h"
#include "services/history/api/call.h"

/* Of one request method, made when it is first called. */
struct method_measures {
	const struct api_method_row *row;
	struct counter *requests;
	struct histogram *latency;
	UT_hash_handle hh;
};

struct history_measures {
	struct history *h;
	struct history_measures_config config;
	struct method_measures *methods; /* uthash by row */
	struct gauge *pending;
	struct histogram *commit_latency, *commit_transitions, *commit_bytes;
};

#define SERVICE "history"

struct history_measures *history_measures_new(struct history *h, const struct history_measures_config *config)
{
	struct history_measures *m = new0(struct history_measures);
	m->h = h;
	m->config = *config;
	m->pending = service_pending_requests(config->metrics, SERVICE);
	m->commit_latency = metrics_histogram_seconds(config->metrics, "perdure_history_commit_seconds",
						      "From a group commit's sending to its answer.", NULL, 0);
	m->commit_transitions = metrics_histogram_size(config->metrics, "perdure_history_commit_transitions",
						       "Changes of runs that share one commit.", NULL, 0);
	m->commit_bytes = metrics_histogram_size(config->metrics, "perdure_history_commit_bytes",
						 "Journal bytes of one commit.", NULL, 0);
	return m;
}

void history_measures_set_slow(struct history_measures *m, int64_t slow_operation_ns)
{
	if (m)
		m->config.slow_operation_ns = slow_operation_ns;
}

void history_measures_free(struct history_measures *m)
{
	struct method_measures *one, *tmp;
	if (!m)
		return;
	HASH_ITER (hh, m->methods, one, tmp) {
		HASH_DEL(m->methods, one);
		free(one);
	}
	free(m);
}

/* ------------------------------------------------------------------ calls */

static struct method_measures *method_get(struct history_measures *m, const struct api_method_row *row)
{
	struct method_measures *one;
	HASH_FIND_PTR(m->methods, &row, one);
	if (one)
		return one;
	one = new0(struct method_measures);
	one->row = row;
	/* By namespace the edge counts. */
	one->requests = service_requests(m->config.metrics, SERVICE, row->name, SERVICE_NAMESPACE_ALL);
	one->latency = service_latency(m->config.metrics, SERVICE, row->name);
	HASH_ADD_PTR(m->methods, row, one);
	return one;
}

void measure_call_began(struct history_measures *m, struct call *c)
{
	if (!m)
		return;
	c->began_ns = c->decided_from_ns = env_mono_ns(m->h->env);
	gauge_add(m->pending, 1);
	if (m->config.trace)
		c->span = span_continue(m->config.trace, SPAN_SERVER, "history", rpc_traceparent(c->req));
}

static bool waits_by_design(const struct call *c)
{
	if (c->row->step == step_query)
		return true;
	return c->row->step == step_get_history &&
	       ((const WS(GetWorkflowExecutionHistoryRequest) *)c->request)->wait_new_event;
}

/* What a call did when: a part that was not reached has no length. */
struct parts {
	int64_t load_ns, decide_ns, commit_ns;
};

static struct parts parts_of(const struct call *c, int64_t now)
{
	int64_t decided = c->committing_from_ns ? c->committing_from_ns : now;
	return (struct parts){
		.load_ns = c->decided_from_ns - c->began_ns,
		.decide_ns = decided - c->decided_from_ns,
		.commit_ns = now - decided,
	};
}

static void say_slow(struct history_measures *m, const struct call *c, struct err e, int64_t now)
{
	struct parts p = parts_of(c, now);
	log_warn(m->h->log, "slow operation", log_str("method", c->row->name),
		 log_str("namespace", c->envelope->namespace_), log_str("workflow_id", c->envelope->workflow_id),
		 log_str("run_id", str_empty(c->run_id) ? NULL : c->run_id),
		 log_int("shard", c->shard ? (int64_t)c->shard->id : -1), log_duration("took", now - c->began_ns),
		 log_duration("load", p.load_ns), log_duration("decide", p.decide_ns),
		 log_duration("commit", p.commit_ns), log_str("status", err_code_name(e.code)),
		 log_str("trace", span_traceparent(c->span)));
}

static void end_span(struct call *c, struct err e, int64_t now)
{
	span_text(c->span, "method", c->row ? c->row->name : NULL);
	span_text(c->span, "run_id", c->run_id);
	if (c->envelope)
		span_text(c->span, "workflow_id", c->envelope->workflow_id);
	if (c->shard)
		span_int(c->span, "shard", c->shard->id);
	if (c->decided_from_ns > c->began_ns)
		span_part(c->span, "load", c->began_ns, c->decided_from_ns);
	span_part(c->span, "decide", c->decided_from_ns, c->committing_from_ns ? c->committing_from_ns : now);
	if (c->committing_from_ns)
		span_part(c->span, "commit", c->committing_from_ns, now);
	span_end(c->span, e);
	c->span = NULL;
}

void measure_call_ended(struct history_measures *m, struct call *c, struct err e)
{
	if (!m)
		return;
	int64_t now = env_mono_ns(m->h->env);
	gauge_add(m->pending, -1);
	if (c->row) {
		struct method_measures *one = method_get(m, c->row);
		counter_inc(one->requests);
		histogram_observe(one->latency, now - c->began_ns);
		if (err_is(e))
			service_count_error(m->config.metrics, SERVICE, c->row->name, SERVICE_NAMESPACE_ALL, e.code);
		bool slow = m->config.slow_operation_ns > 0 && now - c->began_ns >= m->config.slow_operation_ns;
		if (slow && c->request && !waits_by_design(c))
			say_slow(m, c, e, now);
	}
	if (c->span)
		end_span(c, e, now);
}

void measure_commit(struct history_measures *m, int64_t took_ns, int64_t transitions, int64_t bytes)
{
	if (!m)
		return;
	histogram_observe(m->commit_latency, took_ns);
	histogram_observe(m->commit_transitions, transitions);
	histogram_observe(m->commit_bytes, bytes);
}

/* ------------------------------------------------------------------ before an exposition */

static const char *const state_names[] = {
	[SHARD_ABSENT] = "absent",   [SHARD_CLAIMING] = "claiming",	[SHARD_REPLAYING] = "replaying",
	[SHARD_SERVING] = "serving", [SHARD_RECLAIMING] = "reclaiming", [SHARD_RELEASING] = "releasing",
};

static void collect_shards(struct history_measures *m)
{
	struct history *h = m->h;
	int64_t by_state[array_len(state_names)] = {0}, wanted = 0, runs = 0, journal = 0, lag_ns = 0;
	int64_t now = env_mono_ns(h->env);
	for (uint32_t i = 0; i < h->config.shard_count; i++) {
		const struct shard *s = h->shards[i];
		by_state[s->state]++;
		wanted += s->wanted;
		runs += (int64_t)s->run_count;
		journal += s->journal_bytes;
		if (s->state == SHARD_SERVING && s->journal_bytes > 0)
			lag_ns = max_i64(lag_ns, now - s->last_fold_ns);
	}
	struct metrics *to = m->config.metrics;
	for (size_t i = 0; i < array_len(state_names); i++) {
		const struct metric_label state = {"state", state_names[i]};
		gauge_set(metrics_gauge(to, "perdure_history_shards", "Shards of the cluster by what they are here.",
					&state, 1),
			  by_state[i]);
	}
	const struct {
		const char *name, *help;
		int64_t value;
	} now_is[] = {
		{"numshards_gauge", "Shards that this node serves.", by_state[SHARD_SERVING]},
		{"perdure_history_shards_wanted", "Shards that the map gives this node.", wanted},
		{"perdure_history_runs", "Runs in memory.", runs},
		{"perdure_history_journal_bytes", "Journal behind the checkpoints: what a restart has to read.",
		 journal},
		{"perdure_history_fold_lag_seconds", "Oldest checkpoint of a shard that has journal behind it.",
		 lag_ns / NS_PER_S},
	};
	for (size_t i = 0; i < array_len(now_is); i++)
		gauge_set(metrics_gauge(to, now_is[i].name, now_is[i].help, NULL, 0), now_is[i].value);
}

void history_measures_collect(struct history_measures *m)
{
	if (!m)
		return;
	collect_shards(m);
	const struct history_counts *c = &m->h->counts;
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"perdure_history_commits_failed_total", "Commits that failed and were sent again, or settled.",
		 c->commits_failed},
		{"perdure_history_journal_written_bytes_total", "Journal bytes committed.", c->journal_bytes},
		{"acquire_shards_count", "Shards claimed.", c->shards_claimed},
		{"service_errors_shard_ownership_lost", "Shards lost to another owner, or with the database.",
		 c->shards_lost},
		{"perdure_history_timers_fired_total", "Times that a run was woken by its timers or timeouts.",
		 c->timers_fired},
	};
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m->config.metrics, totals[i].name, totals[i].help, NULL, 0)->value =
			(int64_t)totals[i].value;
}
