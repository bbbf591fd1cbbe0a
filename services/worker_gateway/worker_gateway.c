/*
 * Where workers connect: the edge server (common/edge) under this role's settings.
 */
#include "services/worker_gateway/worker_gateway.h"

#include <sys/resource.h>

#include "common/edge/edge_server.h"
#include "common/log/log.h"

/* Enough for the workers of most; what is beyond the limit is turned away by the kernel, without a word. */
#define DESCRIPTORS_ENOUGH 16384

/* A worker's connection takes one; its polls take none. */
static void warn_of_few_descriptors(struct log *log)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < DESCRIPTORS_ENOUGH)
		log_warn(log,
			 "few files may be open, and each worker's connection is one: connections beyond that are "
			 "closed at once; raise the limit (ulimit -Hn, LimitNOFILE)",
			 log_int("limit", (int64_t)limit.rlim_max));
}

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	const struct edge_server_config config = {
		.listen_host = ctx->settings->worker_gateway_grpc_listen,
		.port = (uint16_t)ctx->settings->worker_gateway_grpc_port,
	};
	warn_of_few_descriptors(ctx->log);
	return edge_server_init(ctx, &config, errors, ret_service);
}

const struct daemon_spec worker_gateway_daemon = {
	.role = "worker_gateway",
	.summary = "holds the long polls of workers",
	.init = init,
	.ready = edge_server_ready,
	.put_aside = edge_server_put_aside,
	.drain = edge_server_drain,
	.done = edge_server_done,
};
