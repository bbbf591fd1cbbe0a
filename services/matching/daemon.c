/*
 * Matching as a daemon: its node, its settings, its metrics.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/metrics/metrics.h"
#include "common/node/node.h"
#include "services/matching/admin/admin.h"
#include "services/matching/matching.h"

struct matching_service {
	struct daemon_ctx ctx;
	struct node *node;
	struct matching *matching; /* NULL until the node is up */
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static void on_collect(void *ctx)
{
	struct matching_service *s = ctx;
	struct metrics *m = s->ctx.metrics;
	struct matching_counts c = s->matching ? matching_counts(s->matching) : (struct matching_counts){0};
	struct matching_polls polls = s->matching ? matching_polls(s->matching) : (struct matching_polls){0};
	const struct {
		const char *name, *help;
		int64_t value;
	} now[] = {
		{"loaded_task_queue_partition_count", "Partitions of task queues held here.", (int64_t)c.partitions},
		{"approximate_backlog_count", "Tasks that wait for a poll, those parked in history included.",
		 polls.backlog},
		{"approximate_backlog_age_seconds", "Age of the oldest of them.",
		 polls.oldest_ns ? max_i64(env_wall_ns(s->ctx.env) - polls.oldest_ns, 0) / NS_PER_S : 0},
		{"perdure_matching_gateways", "Worker-gateways that have polls for them.", (int64_t)c.gateways},
		{"perdure_matching_waiting_tasks", "Tasks that wait for a poll.", (int64_t)c.waiting},
		{"perdure_matching_handed_tasks", "Tasks handed out and not reported on yet.", (int64_t)c.handed},
		{"perdure_matching_tasks_bytes", "Memory of the tasks held.", c.bytes},
		{"perdure_matching_idle_polls", "Polls that a task could be handed to.", (int64_t)polls.idle},
		{"perdure_matching_unpolled_partitions", "Partitions that have tasks and no poller.",
		 (int64_t)polls.unpolled},
		{"perdure_matching_unpolled_tasks", "Tasks that wait where nobody polls.",
		 (int64_t)polls.unpolled_tasks},
	};
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"perdure_matching_added_total", "Tasks taken from history.", c.added},
		{"perdure_matching_refused_total", "Tasks refused for want of room.", c.refused},
		{"perdure_matching_pulled_total", "Tasks taken from history's backlog.", c.pulled},
		{"perdure_matching_tasks_total", "Tasks handed to worker-gateways.", c.handed_total},
		{"poll_success_sync", "Tasks that a poll waited for when they came.", c.matched_at_once},
		{"perdure_matching_started_total", "Tasks that a worker then started.", c.started},
		{"perdure_matching_handed_back_total", "Tasks that a gateway had no poll for any more.", c.handed_back},
		{"perdure_matching_redelivered_total", "Tasks offered again for want of a report.", c.redelivered},
	};
	for (size_t i = 0; i < array_len(now); i++)
		gauge_set(metrics_gauge(m, now[i].name, now[i].help, NULL, 0), now[i].value);
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m, totals[i].name, totals[i].help, NULL, 0)->value = (int64_t)totals[i].value;
}

/* What this thread ran, and waited for a processor (for want of a quota, too), as Linux counts it; 0: it doesn't. */
static int64_t wanted_ns(void)
{
	unsigned long long ran, delayed;
	FILE *f = fopen("/proc/thread-self/schedstat", "r");
	int fields = f ? fscanf(f, "%llu %llu", &ran, &delayed) : 0;
	if (f)
		fclose(f);
	return fields == 2 ? (int64_t)(ran + delayed) : 0;
}

static int64_t waited_ns(void *env)
{
	return env_mono_ns(env) - wanted_ns();
}

static struct matching_config config_from(const struct matching_service *s)
{
	const struct settings *v = s->ctx.settings;
	struct matching_config c;
	matching_config_defaults(&c);
	c.memory_bytes = v->matching_memory_bytes;
	c.queue_bytes = v->matching_queue_bytes;
	c.redeliver_after_ns = v->matching_redeliver_after;
	c.queue_idle_ns = v->matching_queue_idle;
	c.partitions_max = (uint32_t)v->matching_partitions_max;
	c.partitions_min = (uint32_t)min_i64(v->matching_partitions, v->matching_partitions_max);
	c.partition_rate = v->matching_partition_rate;
	c.partition_shrink_after_ns = v->matching_partition_shrink_after;
	return c;
}

static void on_settings(void *ctx)
{
	struct matching_service *s = ctx;
	struct matching_config c = config_from(s);
	if (s->matching)
		matching_configure(s->matching, &c);
}

static void on_up(void *ctx, struct node *n)
{
	struct matching_service *s = ctx;
	struct matching_config c = config_from(s);
	s->matching = matching_new(s->ctx.env, n->rpc, n->membership, s->ctx.log, &c);
	const struct metric_label service = {"service_name", "matching"};
	if (wanted_ns())
		matching_watch_load(s->matching, waited_ns, s->ctx.env);
	const struct matching_measures measures = {
		.dispatch_latency = metrics_histogram_seconds(
			s->ctx.metrics, "task_dispatch_latency",
			"From a task's arrival in matching until it is handed out.", &service, 1),
		.trace = n->trace,
	};
	matching_measure(s->matching, &measures);
}

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	struct matching_service *s = new0(struct matching_service);
	s->ctx = *ctx;
	struct node_config config = {.role = "matching", .on_up = on_up, .ctx = s};
	struct err e = node_new(ctx, &config, errors, &s->node);
	if (err_is(e)) {
		free(s);
		return e;
	}
	metrics_on_collect(ctx->metrics, on_collect, s);
	daemon_on_settings(ctx->daemon, on_settings, s);
	matching_admin_serve(&s->matching, ctx->http);
	*ret_service = s;
	return err_ok;
}

static bool ready(void *service, const char **ret_why)
{
	struct matching_service *s = service;
	return node_ready(s->node, ret_why);
}

static void on_left(void *ctx)
{
	struct matching_service *s = ctx;
	s->drained(s->drained_ctx);
}

static void drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	struct matching_service *s = service;
	(void)grace_ns;
	s->drained = drained;
	s->drained_ctx = ctx;
	if (s->matching)
		matching_drain(s->matching);
	/* Nothing is lost with us: once our row is gone, history offers our tasks to the partitions' next owners. */
	node_leave(s->node, on_left, s);
}

static void done(void *service)
{
	struct matching_service *s = service;
	metrics_off_collect(s->ctx.metrics, s);
	daemon_off_settings(s->ctx.daemon, s);
	matching_free(s->matching);
	node_free(s->node);
	free(s);
}

const struct daemon_spec matching_daemon = {
	.role = "matching",
	.summary = "brings waiting tasks and waiting workers together",
	.init = init,
	.ready = ready,
	.drain = drain,
	.done = done,
};
