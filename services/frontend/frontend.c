/*
 * The edge server under this role's settings.
 */
#include "services/frontend/frontend.h"

#include "common/edge/edge_server.h"

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	struct edge_server_config config = {
		.role = "frontend",
		.listen_host = ctx->settings->frontend_grpc_listen,
		.port = (uint16_t)ctx->settings->frontend_grpc_port,
	};
	struct edge_server *s;
	try(edge_server_new(ctx, &config, errors, &s));
	*ret_service = s;
	return err_ok;
}

static bool ready(void *service, const char **ret_why)
{
	return edge_server_ready(service, ret_why);
}

static bool put_aside(void *service)
{
	return edge_server_put_aside(service);
}

static void drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	edge_server_drain(service, grace_ns, drained, ctx);
}

static void done(void *service)
{
	edge_server_free(service);
}

const struct daemon_spec frontend_daemon = {
	.role = "frontend",
	.summary = "serves the public API to clients",
	.init = init,
	.ready = ready,
	.put_aside = put_aside,
	.drain = drain,
	.done = done,
};
