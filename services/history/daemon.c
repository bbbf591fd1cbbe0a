/*
 * History as a daemon: its node, its settings, its metrics.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "common/node/node.h"
#include "services/history/admin/admin.h"
#include "services/history/admin/audit.h"
#include "services/history/history.h"
#include "services/history/measure.h"

/* How far the clocks of two nodes may be apart, for the removal of deleted namespaces. */
#define NAMES_SKEW_NS (3 * NS_PER_S)

struct history_service {
	struct daemon_ctx ctx;
	struct node *node;
	struct history *history; /* NULL until the cluster's facts are known */
	struct history_measures *measures;
	struct history_admin admin;
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static struct history_config config_from(const struct history_service *s)
{
	const struct settings *v = s->ctx.settings;
	struct history_config c;
	history_config_defaults(&c);
	c.node_id = s->ctx.node_id;
	c.incarnation = s->ctx.incarnation;
	c.shard_count = s->node->shard_count;
	c.cache_bytes_max = v->history_cache_bytes;
	c.checkpoint_interval_ns = v->history_checkpoint_interval;
	c.checkpoint_journal_bytes = v->history_journal_bytes_max / s->node->shard_count;
	c.lookahead_ns = v->history_lookahead;
	c.offer_again_ns = v->history_offer_again_after;
	c.takeover_grace_ns = v->history_takeover_grace + v->membership_lease;
	c.upkeep_interval_ns = v->history_upkeep_interval;
	c.known_bytes_max = v->history_known_ids_bytes;
	c.names_age_max_ns = v->namespaces_refresh_interval + 2 * NS_PER_S;
	c.purge_grace_ns = c.names_age_max_ns + NAMES_SKEW_NS;
	c.default_retention_ns = v->namespaces_default_retention;
	c.lease_ns = v->membership_lease;
	c.alone = s->node->alone;
	c.long_poll_max_ns = v->workflow_history_poll_timeout;
	c.core.default_workflow_task_timeout_ns = v->workflow_task_timeout;
	c.core.workflow_task_timeout_max_ns = v->workflow_task_timeout_max;
	c.core.workflow_task_retry_max_interval_ns = v->workflow_task_retry_max;
	c.core.workflow_task_heartbeat_timeout_ns = v->workflow_task_heartbeat_timeout;
	c.core.pending_activities_max = (int)v->limits_pending_activities;
	c.core.signals_max = (int)v->limits_signals_per_run;
	c.core.buffered_events_max = (int)v->limits_buffered_events;
	c.core.history_events_max = (int)v->limits_history_events;
	c.core.history_events_suggest_can = (int)v->limits_history_suggest_events;
	c.core.history_bytes_max = v->limits_history_bytes;
	c.core.history_bytes_suggest_can = v->limits_history_suggest_bytes;
	c.core.id_bytes_max = (int)v->limits_id_bytes;
	c.core.blob_bytes_max = (int)v->limits_payload_bytes;
	c.core.blob_bytes_warn = (int)v->limits_payload_warn_bytes;
	c.core.memo_bytes_max = (int)v->limits_memo_bytes;
	return c;
}

static void on_collect(void *ctx)
{
	struct history_service *s = ctx;
	struct metrics *m = s->ctx.metrics;
	if (!s->history)
		return;
	const struct history *h = s->history;
	history_measures_collect(h->measures);
	struct upkeep_counts upkeep = upkeep_counts(h->upkeep);
	struct purge_counts purge = purge_counts(h->purge);
	struct known_counts known = known_counts(h->known);
	const struct {
		const char *name, *help;
		int64_t value;
	} now[] = {
		{"perdure_history_upkeep_time_seconds",
		 "When this node last looked after the partitions of closed runs (Unix time); 0: never.",
		 upkeep.last_ns / NS_PER_S},
		{"perdure_history_known_ids_bytes", "Memory of the filters of workflow ids.", (int64_t)known.bytes},
		{"perdure_history_known_ids_shards", "Shards that have one.", (int64_t)known.shards},
		{"perdure_history_deleted_namespaces", "Deleted namespaces whose record is still there.",
		 (int64_t)purge.waiting},
	};
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"perdure_history_commits_total", "Transactions that wrote to the journal.", h->commits},
		{"perdure_history_transitions_total", "Changes of runs committed by them.", h->committed_transitions},
		{"perdure_history_folds_total", "Checkpoints of shards.", h->folds},
		{"perdure_history_loads_total", "Runs read from the database.", h->loads},
		{"perdure_history_loads_spared_total", "Look-ups of ids that the database surely doesn't hold.",
		 known.spared},
		{"perdure_history_evictions_total", "Runs that left memory for the database.", h->evicted},
		{"perdure_history_offers_total", "Tasks offered to matching.", h->offers},
		{"perdure_history_upkeeps_total", "Upkeeps of the closed runs' partitions.", upkeep.done},
		{"perdure_history_upkeeps_failed_total", "Those that failed.", upkeep.failed},
		{"perdure_history_partitions_dropped_total", "Partitions dropped because retention was over.",
		 upkeep.dropped},
		{"perdure_history_purged_runs_total", "Runs of deleted namespaces that this node removed.", purge.runs},
		{"perdure_history_purges_failed_total", "Attempts at it that failed.", purge.failed},
	};
	for (size_t i = 0; i < array_len(now); i++)
		gauge_set(metrics_gauge(m, now[i].name, now[i].help, NULL, 0), now[i].value);
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m, totals[i].name, totals[i].help, NULL, 0)->value = (int64_t)totals[i].value;
}

static struct auditor_config audit_config_from(const struct history_service *s)
{
	return (struct auditor_config){
		.interval_ns = s->ctx.settings->audit_interval,
		.rows_per_second = s->ctx.settings->audit_rows_per_second,
		.repair = s->ctx.settings->audit_repair,
	};
}

static void on_up(void *ctx, struct node *n)
{
	struct history_service *s = ctx;
	s->node = n;
	struct history_config c = config_from(s);
	s->history = history_new(s->ctx.env, n->rpc, n->store, n->membership, n->namespaces, s->ctx.log, &c);
	struct auditor_config audit = audit_config_from(s);
	s->admin.history = s->history;
	s->admin.auditor = auditor_new(s->history, s->ctx.metrics, &audit);
	s->measures = history_measures_new(s->history, &(struct history_measures_config){
							       .metrics = s->ctx.metrics,
							       .trace = n->trace,
							       .slow_operation_ns = s->ctx.settings->log_slow_operation,
						       });
	s->history->measures = s->measures;
}

static void on_settings(void *ctx)
{
	struct history_service *s = ctx;
	if (!s->history)
		return;
	struct history_config c = config_from(s);
	struct auditor_config audit = audit_config_from(s);
	history_configure(s->history, &c);
	auditor_set_config(s->admin.auditor, &audit);
	history_measures_set_slow(s->measures, s->ctx.settings->log_slow_operation);
}

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	struct history_service *s = new0(struct history_service);
	s->ctx = *ctx;
	struct node_config config = {.role = "history", .writer = true, .namespaces = true, .on_up = on_up, .ctx = s};
	struct err e = node_new(ctx, &config, errors, &s->node);
	if (err_is(e)) {
		free(s);
		return e;
	}
	metrics_on_collect(ctx->metrics, on_collect, s);
	daemon_on_settings(ctx->daemon, on_settings, s);
	history_admin_serve(&s->admin, ctx->http);
	*ret_service = s;
	return err_ok;
}

static bool ready(void *service, const char **ret_why)
{
	struct history_service *s = service;
	if (!node_ready(s->node, ret_why))
		return false;
	*ret_why = "shards are being claimed";
	return s->history && history_ready(s->history);
}

static void on_left(void *ctx)
{
	struct history_service *s = ctx;
	s->drained(s->drained_ctx);
}

static void on_handed_over(void *ctx)
{
	struct history_service *s = ctx;
	node_leave(s->node, on_left, s);
}

static void drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	struct history_service *s = service;
	(void)grace_ns; /* daemon_main() waits no longer than that */
	s->drained = drained;
	s->drained_ctx = ctx;
	node_drain(s->node);
	if (s->history && !node_fenced(s->node))
		history_drain(s->history, on_handed_over, s);
	else
		on_handed_over(s);
}

static void done(void *service)
{
	struct history_service *s = service;
	metrics_off_collect(s->ctx.metrics, s);
	daemon_off_settings(s->ctx.daemon, s);
	auditor_free(s->admin.auditor);
	history_free(s->history);
	history_measures_free(s->measures);
	node_free(s->node);
	free(s);
}

const struct daemon_spec history_daemon = {
	.role = "history",
	.summary = "owns shards of workflows and decides what they do next",
	.init = init,
	.ready = ready,
	.drain = drain,
	.done = done,
};
