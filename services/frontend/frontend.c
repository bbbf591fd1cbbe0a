/*
 * Where clients connect: the edge server (common/edge) under this role's settings.
 */
#include "services/frontend/frontend.h"

#include "common/edge/edge_server.h"

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	const struct edge_server_config config = {
		.listen_host = ctx->settings->frontend_grpc_listen,
		.port = (uint16_t)ctx->settings->frontend_grpc_port,
	};
	return edge_server_init(ctx, &config, errors, ret_service);
}

const struct daemon_spec frontend_daemon = {
	.role = "frontend",
	.summary = "serves the public API to clients",
	.init = init,
	.ready = edge_server_ready,
	.put_aside = edge_server_put_aside,
	.drain = edge_server_drain,
	.done = edge_server_done,
};
