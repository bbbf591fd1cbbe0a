/*
 * Edge, gRPC server and node, put together.
 *
 * Drained: health says "not serving" and connections are sent away (GOAWAY), polls end empty-handed, what was on its
 * way to them is settled, requests under way are answered; then our row goes.
 *
 * Told to drain by an operator: not ready at once, so that load balancers bring no one new; a little later the same as
 * above, but for the end. Told otherwise: it listens again.
 */
#include "common/edge/edge_server.h"

#include <stdlib.h>

#include "common/daemon/version.h"
#include "common/edge/edge.h"
#include "common/edge/edge_grpc.h"
#include "common/mem/mem.h"
#include "common/node/node.h"
#include "common/tls/tls_watch.h"

#define READY_CHECK_NS (50 * NS_PER_MS)
/* How long load balancers have to notice that we aren't ready, as with the hook before SIGTERM in Kubernetes. */
#define TURN_AWAY_AFTER_NS (5 * NS_PER_S)
/* The port may be taken for a moment when we come back. */
#define RESUME_RETRY_NS (500 * NS_PER_MS)

struct edge_server {
	struct daemon_ctx ctx;
	const char *role;
	struct node *node;
	struct edge_grpc *grpc;
	struct edge *edge; /* NULL until the cluster's facts are known */
	bool serving;
	struct env_timer ready_check;
	bool paused; /* clients were sent away, by an operator's will */
	bool ending;
	struct env_timer follow; /* what the operator wants, once it is time */
	int draining;		 /* parts that have not drained yet */
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static struct edge_config config_of(const struct edge_server *s)
{
	const struct settings *v = s->ctx.settings;
	return (struct edge_config){
		.cluster_id = s->node->cluster_id,
		.cluster_name = v->cluster_name,
		.version = perdure_version,
		.database_version = s->node->database_version,
		.shard_count = s->node->shard_count,
		.id_bytes_max = v->limits_id_bytes,
		.payload_bytes_max = v->limits_payload_bytes,
		.memo_bytes_max = v->limits_memo_bytes,
		.request_bytes_max = v->grpc_message_bytes_max,
		.retention_min_ns = v->namespaces_retention_min,
		.namespace_delete_delay_ns = v->namespaces_delete_delay,
		.poll_timeout_ns = v->worker_gateway_poll_timeout,
		.sticky_grace_ns = v->worker_gateway_sticky_grace,
		.service_name = s->role,
		.slow_operation_ns = v->log_slow_operation,
	};
}

static void on_up(void *ctx, struct node *n)
{
	struct edge_server *s = ctx;
	s->node = n;
	struct edge_parts parts = {
		.env = s->ctx.env,
		.rpc = n->rpc,
		.store = n->store,
		.membership = n->membership,
		.namespaces = n->namespaces,
		.log = s->ctx.log,
		.metrics = s->ctx.metrics,
		.trace = n->trace,
	};
	struct edge_config config = config_of(s);
	s->edge = edge_new(&parts, &config);
	edge_grpc_set_edge(s->grpc, s->edge);
}

static void on_ready_check(struct env_timer *t)
{
	struct edge_server *s = container_of(t, struct edge_server, ready_check);
	const char *why;
	if (s->edge && node_ready(s->node, &why)) {
		s->serving = true;
		edge_grpc_set_serving(s->grpc, true);
	} else {
		env_timer_start(s->ctx.env, &s->ready_check, READY_CHECK_NS);
	}
}

/* ------------------------------------------------------------------ what an operator wants */

static void resume(struct edge_server *s)
{
	struct arena *errors = arena_new(0);
	struct err e = edge_grpc_resume(s->grpc, errors);
	if (err_is(e)) {
		log_warn(s->ctx.log, "cannot serve again yet", log_err(e));
		env_timer_start(s->ctx.env, &s->follow, RESUME_RETRY_NS);
	} else {
		s->paused = false;
		edge_pause_polls(s->edge, false);
		env_timer_start(s->ctx.env, &s->ready_check, 0);
	}
	arena_free(errors);
}

static void on_follow(struct env_timer *t)
{
	struct edge_server *s = container_of(t, struct edge_server, follow);
	if (!s->node->told_to_drain) {
		resume(s);
		return;
	}
	s->paused = true;
	edge_pause_polls(s->edge, true);
	edge_grpc_pause(s->grpc);
	log_info(s->ctx.log, "clients are sent away", log_int("connections", edge_grpc_connections(s->grpc)));
}

static void on_told(void *ctx, bool drain)
{
	struct edge_server *s = ctx;
	if (s->ending)
		return;
	env_timer_stop(s->ctx.env, &s->follow);
	env_timer_stop(s->ctx.env, &s->ready_check);
	if (drain) {
		/* A process that begins like this has no client yet that would have to be warned. */
		env_timer_start(s->ctx.env, &s->follow, s->serving ? TURN_AWAY_AFTER_NS : 0);
		s->serving = false;
		edge_grpc_set_serving(s->grpc, false);
	} else if (s->paused) {
		env_timer_start(s->ctx.env, &s->follow, 0);
	} else {
		env_timer_start(s->ctx.env, &s->ready_check, 0);
	}
}

static void on_collect(void *ctx)
{
	struct edge_server *s = ctx;
	struct metrics *m = s->ctx.metrics;
	const struct metric_label role = {"role", s->role};
	struct grpc_stats g = edge_grpc_stats(s->grpc);
	gauge_set(metrics_gauge(m, "perdure_grpc_connections", "Open connections of clients.", &role, 1),
		  edge_grpc_connections(s->grpc));
	gauge_set(metrics_gauge(m, "perdure_grpc_listening",
				"0 while clients are sent away because an operator said so.", &role, 1),
		  !s->paused);
	const struct {
		const char *name, *help;
		uint64_t value;
	} totals[] = {
		{"perdure_grpc_connections_total", "Connections accepted.", g.connections},
		{"perdure_grpc_calls_total", "Calls taken up.", g.calls},
		{"perdure_grpc_refused_total", "Calls that the protocol refused.", g.refused},
		{"perdure_grpc_cancelled_total", "Calls cancelled by the client, its deadline or its connection's end.",
		 g.cancelled},
		{"perdure_grpc_received_bytes_total", "Bytes received from clients.", g.bytes_in},
		{"perdure_grpc_sent_bytes_total", "Bytes sent to clients.", g.bytes_out},
	};
	for (size_t i = 0; i < array_len(totals); i++)
		metrics_counter(m, totals[i].name, totals[i].help, &role, 1)->value = (int64_t)totals[i].value;
}

static const char *or_null(const char *s)
{
	return str_empty(s) ? NULL : s;
}

static struct grpc_config grpc_config_of(const struct edge_server *s)
{
	const struct settings *v = s->ctx.settings;
	struct grpc_config c;
	grpc_config_defaults(&c);
	c.message_bytes_max = v->grpc_message_bytes_max;
	c.connections_max = (int)v->grpc_connections_max;
	c.streams_per_connection_max = (int)v->grpc_streams_per_connection_max;
	c.keepalive_idle_ns = v->grpc_keepalive_idle;
	c.keepalive_timeout_ns = v->grpc_keepalive_timeout;
	c.ping_interval_min_ns = v->grpc_ping_interval_min;
	c.header_timeout_ns = v->grpc_header_timeout;
	c.connection_age_max_ns = v->grpc_connection_age_max;
	c.tls_cert_file = or_null(v->grpc_tls_cert_file);
	c.tls_key_file = or_null(v->grpc_tls_key_file);
	c.tls_client_ca_file = or_null(v->grpc_tls_client_ca_file);
	c.tls_client_required = v->grpc_tls_client_required;
	return c;
}

static struct err open_grpc(struct edge_server *s, const struct edge_server_config *config, struct arena *errors)
{
	struct grpc_config c = grpc_config_of(s);
	c.listen_host = config->listen_host;
	c.port = config->port;
	return edge_grpc_new(s->ctx.loop, &c, errors, &s->grpc);
}

static struct err reload_tls(void *ctx, struct arena *errors)
{
	struct edge_server *s = ctx;
	return edge_grpc_reload_tls(s->grpc, errors);
}

static void watch_tls(struct edge_server *s)
{
	const struct settings *v = s->ctx.settings;
	if (str_empty(v->grpc_tls_cert_file))
		return;
	tls_watch_add(s->ctx.tls, &(struct tls_watched){.use = "grpc",
							.cert_file = v->grpc_tls_cert_file,
							.key_file = v->grpc_tls_key_file,
							.ca_file = or_null(v->grpc_tls_client_ca_file),
							.reload = reload_tls,
							.ctx = s});
}

static void on_settings(void *ctx)
{
	struct edge_server *s = ctx;
	struct grpc_config grpc = grpc_config_of(s);
	edge_grpc_configure(s->grpc, &grpc);
	if (!s->edge)
		return;
	struct edge_config config = config_of(s);
	edge_configure(s->edge, &config);
}

struct err edge_server_init(const struct daemon_ctx *ctx, const struct edge_server_config *config, struct arena *errors,
			    void **ret_service)
{
	struct edge_server *s = new0(struct edge_server);
	s->ctx = *ctx;
	s->role = ctx->role;
	struct node_config node = {.role = ctx->role, .namespaces = true, .on_up = on_up, .on_told = on_told, .ctx = s};
	struct err e = open_grpc(s, config, errors);
	if (!err_is(e))
		e = node_new(ctx, &node, errors, &s->node);
	if (err_is(e)) {
		edge_grpc_free(s->grpc);
		free(s);
		return e;
	}
	s->ready_check.fn = on_ready_check;
	s->follow.fn = on_follow;
	env_timer_start(ctx->env, &s->ready_check, READY_CHECK_NS);
	metrics_on_collect(ctx->metrics, on_collect, s);
	daemon_on_settings(ctx->daemon, on_settings, s);
	watch_tls(s);
	log_info(ctx->log, "serving gRPC", log_str("address", config->listen_host),
		 log_int("port", edge_grpc_port(s->grpc)));
	*ret_service = s;
	return err_ok;
}

bool edge_server_ready(void *service, const char **ret_why)
{
	struct edge_server *s = service;
	*ret_why = "told to drain by an operator";
	if (s->node->told_to_drain)
		return false;
	*ret_why = "the node is starting";
	return node_ready(s->node, ret_why) && s->serving;
}

bool edge_server_put_aside(void *service)
{
	struct edge_server *s = service;
	return s->node->told_to_drain;
}

static void on_left(void *ctx)
{
	struct edge_server *s = ctx;
	s->drained(s->drained_ctx);
}

static void on_part_drained(void *ctx)
{
	struct edge_server *s = ctx;
	if (--s->draining == 0)
		node_leave(s->node, on_left, s);
}

void edge_server_drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	struct edge_server *s = service;
	s->drained = drained;
	s->drained_ctx = ctx;
	s->ending = true;
	env_timer_stop(s->ctx.env, &s->ready_check);
	env_timer_stop(s->ctx.env, &s->follow);
	node_drain(s->node);
	s->draining = s->edge ? 2 : 1;
	edge_grpc_drain(s->grpc, grace_ns, on_part_drained, s);
	if (s->edge)
		edge_drain(s->edge, on_part_drained, s);
}

void edge_server_done(void *service)
{
	struct edge_server *s = service;
	env_timer_stop(s->ctx.env, &s->ready_check);
	env_timer_stop(s->ctx.env, &s->follow);
	metrics_off_collect(s->ctx.metrics, s);
	daemon_off_settings(s->ctx.daemon, s);
	tls_watch_remove(s->ctx.tls, s);
	edge_grpc_free(s->grpc);
	edge_free(s->edge);
	node_free(s->node);
	free(s);
}
