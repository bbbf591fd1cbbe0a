/*
 * History's metrics, slow operations and spans. Names: deploy/monitoring/README.md.
 */
#include "services/history/measure.h"
#include "services/history/shard/dispatch.h"

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

/* Of the starts of one kind of tasks. */
struct start_method {
	const char *name;
	struct counter *requests;
	struct histogram *latency;
	struct histogram *schedule_to_start;
};

/* As the reference server calls them, by Perdure__TaskKind; its dashboards name them. */
static const char *const start_names[] = {
	[PERDURE__TASK_KIND__TASK_KIND_UNSPECIFIED] = "RecordOtherTaskStarted",
	[PERDURE__TASK_KIND__TASK_KIND_WORKFLOW] = "RecordWorkflowTaskStarted",
	[PERDURE__TASK_KIND__TASK_KIND_ACTIVITY] = "RecordActivityTaskStarted",
	[PERDURE__TASK_KIND__TASK_KIND_QUERY] = "RecordQueryTaskStarted",
};
#define STARTS array_len(start_names)

struct history_measures {
	struct history *h;
	struct history_measures_config config;
	struct method_measures *methods; /* uthash by row */
	struct gauge *pending;
	struct histogram *commit_latency, *commit_transitions, *commit_bytes;
	struct histogram *fold_latency, *acquire_latency;
	struct start_method starts[STARTS];
	struct counter *lookups, *misses;
	struct membership *membership; /* outlives history */
	uint64_t members_changed;
};

#define SERVICE "history"

static void start_method_init(struct history_measures *m, struct start_method *s, const char *name)
{
	const struct metric_label label = {"operation", name};
	s->name = name;
	s->requests = service_requests(m->config.metrics, SERVICE, name, SERVICE_NAMESPACE_ALL);
	s->latency = service_latency(m->config.metrics, SERVICE, name);
	s->schedule_to_start =
		metrics_histogram_seconds(m->config.metrics, "task_schedule_to_start_latency",
					  "From a task's scheduling until a worker's poll has started it.", &label, 1);
}

static void on_members_changed(void *ctx)
{
	struct history_measures *m = ctx;
	m->members_changed++;
}

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
	m->fold_latency = metrics_histogram_seconds(
		config->metrics, "perdure_history_fold_seconds",
		"A checkpoint of a shard, from its beginning to the database's answer.", NULL, 0);
	m->acquire_latency = metrics_histogram_seconds(config->metrics, "sharditem_acquisition_latency",
						       "From a shard's claim until it serves.", NULL, 0);
	const struct metric_label cache[] = {{"cache_type", "mutablestate"}, {"service_name", SERVICE}};
	m->lookups = metrics_counter(config->metrics, "cache_requests", "Requests that needed a run.", cache, 2);
	m->misses = metrics_counter(config->metrics, "cache_miss", "Those for which it had to be read.", cache, 2);
	m->membership = h->membership;
	membership_on_change(m->membership, on_members_changed, m);
	for (size_t i = 0; i < STARTS; i++)
		start_method_init(m, &m->starts[i], start_names[i]);
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
	membership_off_change(m->membership, on_members_changed, m);
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
	if (!m->config.trace)
		return;
	c->span = span_continue(m->config.trace, SPAN_SERVER, "history", rpc_traceparent(c->req));
	span_began(c->span, c->began_ns);
}

static bool slow(const struct history_measures *m, int64_t took_ns)
{
	return m->config.slow_operation_ns > 0 && took_ns >= m->config.slow_operation_ns;
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
	int64_t load_ns, decide_ns, read_ns, commit_ns;
};

static struct parts parts_of(const struct call *c, int64_t now)
{
	int64_t read = c->committing_from_ns ? c->committing_from_ns : now;
	int64_t decided = c->reading_from_ns ? c->reading_from_ns : read;
	return (struct parts){
		.load_ns = c->decided_from_ns - c->began_ns,
		.decide_ns = decided - c->decided_from_ns,
		.read_ns = read - decided,
		.commit_ns = now - read,
	};
}

static void say_slow(struct history_measures *m, const struct call *c, struct err e, int64_t now)
{
	struct parts p = parts_of(c, now);
	log_warn(m->h->log, "slow operation", log_str("method", c->row->name),
		 log_str("namespace", c->envelope->namespace_), log_str("workflow_id", c->envelope->workflow_id),
		 log_str("run_id", str_empty(c->run_id) ? NULL : c->run_id),
		 log_int("shard", c->shard ? (int64_t)c->shard->id : -1), log_duration("took", now - c->began_ns),
		 log_duration("load", p.load_ns), log_duration("decide", p.decide_ns), log_duration("read", p.read_ns),
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
	struct parts p = parts_of(c, now);
	int64_t at = c->decided_from_ns;
	if (p.load_ns)
		span_part(c->span, "load", c->began_ns, at);
	span_part(c->span, "decide", at, at + p.decide_ns);
	at += p.decide_ns;
	if (c->reading_from_ns)
		span_part(c->span, "read", at, at + p.read_ns);
	if (c->committing_from_ns)
		span_part(c->span, "commit", c->committing_from_ns, now);
	span_end(c->span, e);
	c->span = NULL;
}

/* A run was in memory, or had to be read. */
static void count_lookup(struct history_measures *m, bool hit)
{
	counter_inc(m->lookups);
	if (!hit)
		counter_inc(m->misses);
}

void measure_call_ended(struct history_measures *m, struct call *c, struct err e)
{
	if (!m)
		return;
	int64_t now = env_mono_ns(m->h->env);
	gauge_add(m->pending, -1);
	if (c->shard)
		count_lookup(m, c->decided_from_ns == c->began_ns);
	if (c->row) {
		struct method_measures *one = method_get(m, c->row);
		counter_inc(one->requests);
		histogram_observe(one->latency, now - c->began_ns);
		if (err_is(e))
			service_count_error(m->config.metrics, SERVICE, c->row->name, SERVICE_NAMESPACE_ALL, e.code);
		if (c->request && slow(m, now - c->began_ns) && !waits_by_design(c))
			say_slow(m, c, e, now);
	}
	if (c->span)
		end_span(c, e, now);
}

void measure_call_reading(struct call *c)
{
	if (c->h->measures && !c->reading_from_ns)
		c->reading_from_ns = env_mono_ns(c->h->env);
}

/* So long a chain of tasks is one trace: what runs for months begins a new one now and then. */
#define TRACE_TASKS_MAX 100

struct task_trace measure_call_trace(const struct call *c)
{
	uint32_t tasks = c->token ? c->token->trace_tasks + 1 : 0;
	if (!c->span || tasks > TRACE_TASKS_MAX)
		return (struct task_trace){0};
	return (struct task_trace){span_traceparent(c->span), tasks};
}

/* ------------------------------------------------------------------ starts of tasks */

void measure_start_began(struct history_measures *m, struct start_measure *s, struct rpc_request *req,
			 Perdure__DispatchTask *task)
{
	if (!m)
		return;
	s->task = task;
	s->began_ns = env_mono_ns(m->h->env);
	s->loads = m->h->loads;
	gauge_add(m->pending, 1);
	if (!m->config.trace)
		return;
	s->span = span_continue(m->config.trace, SPAN_SERVER, "history", rpc_traceparent(req));
	span_began(s->span, s->began_ns);
	if (s->span)
		task->traceparent = arena_strdup(rpc_arena(req), span_traceparent(s->span));
}

void measure_start_step(struct history_measures *m, struct start_measure *s, enum start_step step)
{
	if (!m || s->step_ns[step])
		return;
	s->step_ns[step] = env_mono_ns(m->h->env);
	if (step == START_LOADED)
		s->loaded = m->h->loads != s->loads;
}

static const char *outcome_name(const struct start_measure *s, struct err e)
{
	if (err_is(e))
		return err_code_name(e.code);
	return s->outcome == PERDURE__START_TASK_REPLY__OUTCOME__STARTED	   ? "started"
	       : s->outcome == PERDURE__START_TASK_REPLY__OUTCOME__ALREADY_STARTED ? "already started"
										   : "gone";
}

/* Steps that were not reached, or not needed, took no time. */
static void start_steps(const struct start_measure *s, int64_t now, int64_t ret[START_STEPS])
{
	int64_t at = s->began_ns;
	for (size_t i = 0; i < START_STEPS; i++)
		ret[i] = at = s->step_ns[i] ? s->step_ns[i] : at;
	if (!s->step_ns[START_ANSWERED])
		ret[START_ANSWERED] = now;
	if (!s->step_ns[START_DECIDED]) /* there was nothing to read */
		ret[START_DECIDED] = ret[START_ANSWERED];
}

static void say_slow_start(struct history_measures *m, const struct start_measure *s, struct err e, int64_t now)
{
	int64_t at[START_STEPS];
	start_steps(s, now, at);
	const Perdure__DispatchTask *t = s->task;
	log_warn(m->h->log, "slow operation", log_str("method", m->starts[t->kind].name),
		 log_str("workflow_id", t->workflow_id), log_str("run_id", t->run_id), log_int("shard", t->shard),
		 log_duration("took", now - s->began_ns), log_duration("load", at[START_LOADED] - s->began_ns),
		 log_duration("decide", at[START_DECIDED] - at[START_LOADED]),
		 log_duration("read", at[START_ANSWERED] - at[START_DECIDED]),
		 log_duration("commit", now - at[START_ANSWERED]), log_str("status", outcome_name(s, e)),
		 log_str("trace", span_traceparent(s->span)));
}

static void end_start_span(struct history_measures *m, struct start_measure *s, struct err e, int64_t now)
{
	int64_t at[START_STEPS];
	start_steps(s, now, at);
	span_text(s->span, "method", m->starts[s->task->kind].name);
	span_text(s->span, "workflow_id", s->task->workflow_id);
	span_text(s->span, "run_id", s->task->run_id);
	span_int(s->span, "shard", s->task->shard);
	span_text(s->span, "outcome", outcome_name(s, e));
	if (s->step_ns[START_LOADED])
		span_part(s->span, "load", s->began_ns, at[START_LOADED]);
	span_part(s->span, "decide", at[START_LOADED], at[START_DECIDED]);
	if (s->step_ns[START_DECIDED])
		span_part(s->span, "read", at[START_DECIDED], at[START_ANSWERED]);
	if (s->step_ns[START_ANSWERED])
		span_part(s->span, "commit", at[START_ANSWERED], now);
	span_end(s->span, e);
	s->span = NULL;
}

void measure_start_ended(struct history_measures *m, struct start_measure *s, struct err e)
{
	if (!m || !s->task)
		return;
	int64_t now = env_mono_ns(m->h->env);
	const struct start_method *method = &m->starts[s->task->kind];
	gauge_add(m->pending, -1);
	count_lookup(m, !s->loaded);
	counter_inc(method->requests);
	histogram_observe(method->latency, now - s->began_ns);
	if (err_is(e))
		service_count_error(m->config.metrics, SERVICE, method->name, SERVICE_NAMESPACE_ALL, e.code);
	else if (s->outcome == PERDURE__START_TASK_REPLY__OUTCOME__STARTED)
		histogram_observe(method->schedule_to_start,
				  max_i64(env_wall_ns(m->h->env) - s->task->scheduled_time_ns, 0));
	if (slow(m, now - s->began_ns))
		say_slow_start(m, s, e, now);
	if (s->span)
		end_start_span(m, s, e, now);
}

/* ------------------------------------------------------------------ ends of runs */

#define STATUS(x) TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_##x

static const char *close_name(int status)
{
	switch (status) {
	case STATUS(COMPLETED):
		return "workflow_success";
	case STATUS(FAILED):
		return "workflow_failed";
	case STATUS(CANCELED):
		return "workflow_cancel";
	case STATUS(TERMINATED):
		return "workflow_terminate";
	case STATUS(CONTINUED_AS_NEW):
		return "workflow_continued_as_new";
	case STATUS(TIMED_OUT):
		return "workflow_timeout";
	default:
		return NULL; /* deleted while it was open */
	}
}

void measure_closed(struct history_measures *m, const char *namespace, int status)
{
	const char *name = m ? close_name(status) : NULL;
	if (!name)
		return;
	/* Beyond METRICS_SERIES_MAX namespaces they are counted together. */
	const struct metric_label labels[] = {{"namespace", *namespace ? namespace : "_unknown_"},
					      {"service_name", SERVICE}};
	counter_inc(metrics_counter(m->config.metrics, name, "Runs that ended so.", labels, 2));
}

/* ------------------------------------------------------------------ what nobody asked for */

void measure_commit(struct history_measures *m, const struct commit_measure *c)
{
	if (!m)
		return;
	histogram_observe(m->commit_latency, c->took_ns);
	histogram_observe(m->commit_transitions, c->transitions);
	histogram_observe(m->commit_bytes, c->bytes);
	if (slow(m, c->took_ns))
		log_warn(m->h->log, "slow operation", log_str("method", "Commit"), log_duration("took", c->took_ns),
			 log_duration("database", c->took_ns), log_int("shards", (int64_t)c->shards),
			 log_int("transitions", c->transitions), log_int("bytes", c->bytes));
}

void measure_fold(struct history_measures *m, const struct fold_measure *f)
{
	if (!m)
		return;
	int64_t took = f->collect_ns + f->database_ns;
	histogram_observe(m->fold_latency, took);
	if (slow(m, took))
		log_warn(m->h->log, "slow operation", log_str("method", "Checkpoint"), log_int("shard", f->shard),
			 log_duration("took", took), log_duration("collect", f->collect_ns),
			 log_duration("database", f->database_ns), log_int("runs", (int64_t)f->runs),
			 log_int("bytes", f->bytes));
}

void measure_acquired(struct history_measures *m, const struct acquire_measure *a)
{
	if (!m)
		return;
	int64_t took = a->claim_ns + a->journal_ns + a->runs_ns;
	histogram_observe(m->acquire_latency, took);
	if (slow(m, took))
		log_warn(m->h->log, "slow operation", log_str("method", "AcquireShard"), log_int("shard", a->shard),
			 log_duration("took", took), log_duration("claim", a->claim_ns),
			 log_duration("journal", a->journal_ns), log_duration("runs", a->runs_ns),
			 log_int("replayed", (int64_t)a->replayed));
}

/* ------------------------------------------------------------------ before an exposition */

static const char *const state_names[] = {
	[SHARD_ABSENT] = "absent",   [SHARD_CLAIMING] = "claiming",	[SHARD_REPLAYING] = "replaying",
	[SHARD_SERVING] = "serving", [SHARD_RECLAIMING] = "reclaiming", [SHARD_RELEASING] = "releasing",
};

/* The runs in memory are the cache that the reference server calls so. */
static void collect_cache(struct history_measures *m)
{
	const struct metric_label type = {"cache_type", "mutablestate"};
	struct metrics *to = m->config.metrics;
	gauge_set(metrics_gauge(to, "cache_usage", "Memory of run states and their recent events, in bytes.", &type, 1),
		  m->h->cache_bytes);
	gauge_set(metrics_gauge(to, "cache_size", "What they may take, in bytes.", &type, 1),
		  m->h->config.cache_bytes_max);
}

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
		{"perdure_history_backlog_bytes", "Memory of tasks that wait for being pulled, or were pulled.",
		 h->dispatch->backlog_bytes},
		{"perdure_history_runs_set_aside", "Runs that the database refuses to take; the journal keeps them.",
		 h->runs_aside},
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
	collect_cache(m);
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
		{"membership_changed_count", "Changes of who is in the cluster, as this node saw them.",
		 m->members_changed},
	};
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m->config.metrics, totals[i].name, totals[i].help, NULL, 0)->value =
			(int64_t)totals[i].value;
}
