/*
 * Nodes of the simulated cluster, and public calls to them.
 */
#include "tests/sim/cluster.h"

#include <inttypes.h>
#include <perdure/namespace.pb-c.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/mem/mem.h"
#include "services/history/admin/audit.h"
#include "tests/sim/check.h"

/* A process that was told to end is killed after, and begins again within. */
#define DRAIN_MAX_NS   (10 * NS_PER_S)
#define RESTART_MAX_NS (2 * NS_PER_S)

void sim_say(struct sim_cluster *c, const char *fmt, ...)
{
	if (!c->verbose)
		return;
	va_list ap;
	va_start(ap, fmt);
	printf("t=%.6f ", (double)c->world.now_ns / NS_PER_S);
	vprintf(fmt, ap);
	printf("\n");
	va_end(ap);
}

void sim_violation(struct sim_cluster *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	if (!c->violation[0])
		vsnprintf(c->violation, sizeof c->violation, fmt, ap);
	va_end(ap);
	sim_say(c, "VIOLATION %s", c->violation);
}

/* ------------------------------------------------------------------ nodes */

static int64_t log_wall_ns(void *ctx)
{
	struct sim_node *n = ctx;
	return env_wall_ns(&n->env.env);
}

static void start_log(struct sim_node *n)
{
	struct log_config config = {
		.fd = STDOUT_FILENO,
		.level = LOG_LEVEL_DEBUG,
		.format = LOG_FORMAT_TEXT,
		.repeats_max = 1000000,
		.wall_ns = log_wall_ns,
		.ctx = n,
	};
	setvbuf(stdout, NULL, _IONBF, 0);
	n->log = log_new(&config);
}

static void start_namespaces(struct sim_node *n)
{
	struct namespaces_config ns = {0};
	n->namespaces = namespaces_new(&n->env.env, n->store, &ns);
	namespaces_start(n->namespaces);
}

static void start_history(struct sim_node *n)
{
	struct history_config config;
	history_config_defaults(&config);
	config.node_id = n->id;
	config.incarnation = n->incarnation;
	config.shard_count = SIM_SHARDS;
	config.alone = true;
	config.checkpoint_interval_ns = 2 * NS_PER_S;
	config.idle_evict_ns = 3 * NS_PER_S;
	config.lookahead_ns = 2 * NS_PER_S;
	if (n->cluster->deep) { /* what waits leaves memory */
		config.cache_bytes_max = 1;
		config.checkpoint_interval_ns = NS_PER_S;
	}
	config.offer_again_ns = 3 * NS_PER_S;
	config.upkeep_interval_ns = 2 * NS_PER_S;
	if (n->cluster->no_filters)
		config.known_bytes_max = 0;
	start_namespaces(n);
	n->history = history_new(&n->env.env, n->rpc, n->store, n->membership, n->namespaces, n->log, &config);
	const struct auditor_config audit = {.interval_ns = NS_PER_S / 4, .rows_per_second = 400};
	n->auditor = auditor_new(n->history, NULL, &audit);
}

static void start_matching(struct sim_node *n)
{
	struct matching_config config;
	matching_config_defaults(&config);
	if (n->cluster->matching_queue_bytes)
		config.queue_bytes = n->cluster->matching_queue_bytes;
	config.partitions_min = n->cluster->partitions;
	n->matching = matching_new(&n->env.env, n->rpc, n->membership, n->log, &config);
}

static void start_edge(struct sim_node *n)
{
	start_namespaces(n);
	struct edge_parts parts = {
		.env = &n->env.env,
		.rpc = n->rpc,
		.store = n->store,
		.membership = n->membership,
		.namespaces = n->namespaces,
		.log = n->log,
	};
	struct edge_config config;
	edge_config_defaults(&config);
	config.shard_count = SIM_SHARDS;
	n->edge = edge_new(&parts, &config);
}

static const enum member_role member_roles[] = {
	[SIM_HISTORY] = MEMBER_HISTORY, [SIM_MATCHING] = MEMBER_MATCHING, [SIM_EDGE] = MEMBER_FRONTEND};

/* The process exits, and whoever watches over it starts it again. */
static void on_exit_timer(struct env_timer *t)
{
	struct sim_node *n = container_of(t, struct sim_node, exit);
	struct sim_cluster *c = n->cluster;
	if (!n->running) {
		sim_node_start(n);
		return;
	}
	sim_node_kill(n);
	env_timer_start(&c->env.env, &n->exit, (int64_t)fake_world_below(&c->world, RESTART_MAX_NS));
}

static void on_fenced(void *ctx)
{
	struct sim_node *n = ctx;
	sim_say(n->cluster, "%s was declared dead and exits", n->id);
	env_timer_start(&n->cluster->env.env, &n->exit, 0);
}

/* ------------------------------------------------------------------ SIGTERM, as the daemons take it */

static void on_left(void *ctx, struct err e)
{
	struct sim_node *n = ctx;
	sim_say(n->cluster, "%s has drained%s", n->id, err_is(e) ? ", without a goodbye" : "");
	env_timer_start(&n->cluster->env.env, &n->exit, 0);
}

static void on_drained(void *ctx)
{
	struct sim_node *n = ctx;
	membership_leave(n->membership, on_left, n);
}

static void on_drain(struct env_timer *t)
{
	struct sim_node *n = container_of(t, struct sim_node, drain);
	switch (n->role) {
	case SIM_HISTORY:
		membership_drain(n->membership);
		history_drain(n->history, on_drained, n);
		break;
	case SIM_MATCHING:
		matching_drain(n->matching);
		on_drained(n);
		break;
	case SIM_EDGE:
		membership_drain(n->membership);
		edge_drain(n->edge, on_drained, n);
		break;
	}
}

void sim_node_drain(struct sim_node *n)
{
	if (!n->running || n->draining)
		return;
	sim_say(n->cluster, "%s is told to end", n->id);
	n->draining = true;
	n->drain.fn = on_drain;
	env_timer_start(&n->env.env, &n->drain, 0);
	env_timer_start(&n->cluster->env.env, &n->exit, DRAIN_MAX_NS);
}

/* As common/edge/edge_server does when an operator tells it to drain. */
static void on_members_changed(void *ctx)
{
	struct sim_node *n = ctx;
	bool told = membership_told_to_drain(n->membership);
	if (told == n->told)
		return;
	n->told = told;
	sim_say(n->cluster, "%s knows that it is to %s", n->id, told ? "drain" : "work again");
	if (n->edge && !n->draining)
		edge_pause_polls(n->edge, told);
}

/* ------------------------------------------------------------------ starting and dying */

/* As common/node does: who waits for a node that is gone asks its successor. */
static void on_gone(void *ctx, const char *address)
{
	rpc_forget(((struct sim_node *)ctx)->rpc, address);
}

static void on_peer_down(void *ctx, const char *address)
{
	struct sim_node *n = ctx;
	membership_down(n->membership, address);
}

void sim_node_start(struct sim_node *n)
{
	struct sim_cluster *c = n->cluster;
	assert(!n->running);
	env_timer_stop(&c->env.env, &n->exit);
	n->running = true;
	n->draining = n->told = false;
	n->drain.armed = false; /* what was armed on its env before died with that */
	n->incarnation = ++c->next_incarnation;
	fake_env_init(&n->env, &c->world);
	if (c->verbose)
		start_log(n);
	n->store = fake_store_new(&n->env.env, c->db);
	struct rpc_config rpc = {.address = n->address, .incarnation = n->incarnation};
	n->rpc = rpc_new(&n->env.env, fake_net_endpoint(c->net, &n->env.env, n->address), &rpc);
	struct membership_config members = {
		.node_id = n->id,
		.role = member_roles[n->role],
		.address = n->address,
		.http_address = "",
		.version = "sim",
		.incarnation = n->incarnation,
	};
	n->membership = membership_new(&n->env.env, n->store, &members);
	membership_on_fenced(n->membership, on_fenced, n);
	rpc_on_peer_down(n->rpc, on_peer_down, n);
	switch (n->role) {
	case SIM_HISTORY:
		start_history(n);
		break;
	case SIM_MATCHING:
		start_matching(n);
		break;
	case SIM_EDGE:
		start_edge(n);
		break;
	}
	membership_on_gone(n->membership, on_gone, n);
	membership_on_change(n->membership, on_members_changed, n);
	membership_start(n->membership);
	sim_say(c, "%s started, incarnation %" PRIu64, n->id, n->incarnation);
}

/* Nothing that is queued here leaves: the env never runs again. */
void sim_node_kill(struct sim_node *n)
{
	if (!n->running)
		return;
	sim_say(n->cluster, "%s killed", n->id);
	n->running = false;
	sim_calls_lost(n);
	sim_check_auditor(n);
	auditor_free(n->auditor);
	n->auditor = NULL;
	history_free(n->history);
	matching_free(n->matching);
	edge_free(n->edge);
	namespaces_free(n->namespaces);
	n->history = NULL;
	n->matching = NULL;
	n->edge = NULL;
	n->namespaces = NULL;
	membership_free(n->membership);
	rpc_free(n->rpc);
	store_free(n->store);
	log_free(n->log);
	n->log = NULL;
	fake_env_done(&n->env);
}

static void describe_run(struct sim_cluster *c, const struct sim_node *n, const struct cached_run *r)
{
	const Perdure__WorkflowTask *w = r->run->exec->workflow_task;
	if (!run_open(r->run))
		return;
	sim_say(c,
		"%s at %s: next event %" PRId64 ", task %" PRId64 "/%" PRId64 "%s, %u activities, wakes in %" PRId64
		" ms, %sunstarted, %soffered",
		r->wf->workflow_id, n->id, r->run->exec->next_event_id, w ? w->scheduled_event_id : 0,
		w ? w->started_event_id : 0, w && w->sticky ? " sticky" : "", HASH_COUNT(r->run->activities),
		r->wake_ns == INT64_MAX ? -1 : (int64_t)((r->wake_ns - env_wall_ns(n->history->env)) / NS_PER_MS),
		r->in_unstarted ? "" : "not ", w && r->run->offered_workflow_task_stamp == w->stamp ? "" : "not ");
}

static void describe_shard(struct sim_cluster *c, uint32_t shard)
{
	static const char *const states[] = {"absent", "claiming", "replaying", "serving", "reclaiming", "releasing"};
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		if (!n->running || !n->history)
			continue;
		const struct shard *s = n->history->shards[shard];
		sim_say(c, "shard %u at %s: %s%s, epoch %" PRId64 ", seq %" PRId64 "%s%s", shard, n->id,
			states[s->state], s->wanted ? ", wanted" : "", s->epoch, s->last_seq,
			s->open ? ", a batch open" : "", s->inflight ? ", one under way" : "");
		struct workflow *wf, *tmp;
		HASH_ITER (hh, s->workflows, wf, tmp)
			for (const struct cached_run *r = wf->runs; r; r = r->next_in_wf)
				describe_run(c, n, r);
	}
}

void sim_describe_shards(struct sim_cluster *c)
{
	for (uint32_t i = 0; i < SIM_SHARDS && c->verbose; i++)
		describe_shard(c, i);
}

struct sim_node *sim_edge(struct sim_cluster *c)
{
	struct sim_node *found = NULL;
	uint64_t seen = 0;
	for (size_t i = 0; i < c->node_count; i++) {
		struct sim_node *n = &c->nodes[i];
		if (n->role == SIM_EDGE && n->running && !n->draining && !n->told &&
		    fake_world_below(&c->world, ++seen) == 0)
			found = n;
	}
	return found;
}

static void add_nodes(struct sim_cluster *c, enum sim_role role, const char *name, int count)
{
	for (int i = 0; i < count; i++) {
		struct sim_node *n = &c->nodes[c->node_count++];
		n->cluster = c;
		n->role = role;
		n->exit.fn = on_exit_timer;
		snprintf(n->id, sizeof n->id, "%s-%d", name, i);
		snprintf(n->address, sizeof n->address, "inproc://%s-%d", name, i);
	}
}

void sim_put_namespace(struct sim_cluster *c, const char *id, const char *name, int64_t retention_ns)
{
	Perdure__NamespaceRecord r = PERDURE__NAMESPACE_RECORD__INIT;
	r.id = (char *)id;
	r.name = (char *)name;
	r.state = 1;
	r.retention_ns = retention_ns;
	size_t len = perdure__namespace_record__get_packed_size(&r);
	uint8_t *data = mem_alloc(len);
	perdure__namespace_record__pack(&r, data);
	fake_db_put_namespace(c->db, id, name, bytes_of(data, len));
	free(data);
}

void sim_cluster_init(struct sim_cluster *c, uint64_t seed, int histories, int matchings, int edges, bool verbose)
{
	memset(c, 0, sizeof *c);
	c->verbose = verbose;
	c->matching_queue_bytes = seed % 3 == 0 ? 2000 : 0;
	c->partitions = seed % 5 < 3 ? 1 : 4;
	c->no_filters = seed % 7 < 3;
	c->deep = seed % 4 == 1;
	if (c->deep)
		c->matching_queue_bytes = 3000;
	fake_world_init(&c->world, seed);
	fake_env_init(&c->env, &c->world);
	c->net = fake_net_new(&c->world);
	c->db = fake_db_new(SIM_SHARDS, seed);
	sim_put_namespace(c, SIM_NAMESPACE_ID, SIM_NAMESPACE, 24 * 3600 * NS_PER_S);
	add_nodes(c, SIM_HISTORY, "history", histories);
	add_nodes(c, SIM_MATCHING, "matching", matchings);
	add_nodes(c, SIM_EDGE, "edge", edges);
	for (size_t i = 0; i < c->node_count; i++)
		sim_node_start(&c->nodes[i]);
}

void sim_cluster_done(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++)
		sim_node_kill(&c->nodes[i]);
	fake_env_done(&c->env);
	fake_net_free(c->net);
	fake_db_free(c->db);
}
