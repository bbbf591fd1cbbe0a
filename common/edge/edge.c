/*
 * The edge as a whole: made, drained, freed.
 */
#include "common/edge/edge.h"

#include <stdlib.h>

#include "common/edge/internal.h"
#include "common/edge/polls/polls.h"
#include "common/mem/mem.h"

void edge_config_defaults(struct edge_config *c)
{
	*c = (struct edge_config){
		.cluster_id = "",
		.cluster_name = "active",
		.version = "0.0.0",
		.database_version = "",
		.shard_count = 1,
		.id_bytes_max = 1000,
		.payload_bytes_max = 2 * 1024 * 1024,
		.memo_bytes_max = 2 * 1024 * 1024,
		.request_bytes_max = 4 * 1024 * 1024,
		.request_timeout_ns = 10 * NS_PER_S,
		.poll_timeout_ns = 60 * NS_PER_S,
		.sticky_grace_ns = 1500 * NS_PER_MS,
		.partitions = 1,
		.service_name = "frontend",
	};
}

static void or_default(int64_t *value, int64_t given)
{
	if (given)
		*value = given;
}

static struct edge_config complete(const struct edge_config *given)
{
	struct edge_config c;
	edge_config_defaults(&c);
	c.cluster_id = given->cluster_id ? given->cluster_id : c.cluster_id;
	c.cluster_name = given->cluster_name ? given->cluster_name : c.cluster_name;
	c.version = given->version ? given->version : c.version;
	c.database_version = given->database_version ? given->database_version : c.database_version;
	c.shard_count = given->shard_count ? given->shard_count : c.shard_count;
	c.partitions = given->partitions ? given->partitions : c.partitions;
	c.service_name = given->service_name ? given->service_name : c.service_name;
	c.slow_operation_ns = given->slow_operation_ns;
	c.retention_min_ns = given->retention_min_ns;
	c.namespace_delete_delay_ns = given->namespace_delete_delay_ns;
	or_default(&c.id_bytes_max, given->id_bytes_max);
	or_default(&c.payload_bytes_max, given->payload_bytes_max);
	or_default(&c.memo_bytes_max, given->memo_bytes_max);
	or_default(&c.request_bytes_max, given->request_bytes_max);
	or_default(&c.request_timeout_ns, given->request_timeout_ns);
	or_default(&c.poll_timeout_ns, given->poll_timeout_ns);
	or_default(&c.sticky_grace_ns, given->sticky_grace_ns);
	return c;
}

static void on_nodes_changed(void *ctx)
{
	struct edge *e = ctx;
	reach_nodes_changed(e->reach);
	forward_wake(e);
	polls_wake(e->polls);
}

void edge_configure(struct edge *e, const struct edge_config *config)
{
	e->config = complete(config);
	e->namespace_api = (struct namespace_api){
		.cluster_name = e->config.cluster_name,
		.payload_bytes_max = e->config.payload_bytes_max,
		.memo_bytes_max = e->config.memo_bytes_max,
		.request_bytes_max = e->config.request_bytes_max,
		.retention_min_ns = e->config.retention_min_ns,
	};
}

struct edge *edge_new(const struct edge_parts *parts, const struct edge_config *config)
{
	struct edge *e = new0(struct edge);
	e->parts = *parts;
	e->env = parts->env;
	edge_configure(e, config);
	e->measures = edge_measures_new(e);
	e->reach = reach_new(e);
	e->polls = polls_new(e);
	membership_on_change(parts->membership, on_nodes_changed, e);
	return e;
}

void edge_pause_polls(struct edge *e, bool pause)
{
	polls_pause(e->polls, pause);
	if (pause)
		forward_hurry(e);
}

void edge_drain(struct edge *e, void (*done)(void *ctx), void *ctx)
{
	polls_drain(e->polls, done, ctx);
	forward_hurry(e);
}

void edge_free(struct edge *e)
{
	if (!e)
		return;
	membership_off_change(e->parts.membership, on_nodes_changed, e);
	while (e->calls) {
		struct edge_call *c = e->calls;
		if (c->on_cancel)
			c->on_cancel(c);
		else
			edge_fail(c, err_static(ERR_UNAVAILABLE, "The server is shutting down."));
	}
	polls_free(e->polls);
	reach_free(e->reach);
	edge_measures_free(e->measures);
	free(e);
}

size_t edge_calls(const struct edge *e)
{
	return e->call_count;
}
