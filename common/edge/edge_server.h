/*
 * A daemon that serves the edge over gRPC: what perdure-frontend and perdure-worker-gateway are. Each is a spec whose
 * init() says where it listens; the rest is here.
 */
#ifndef COMMON_EDGE_EDGE_SERVER_H
#define COMMON_EDGE_EDGE_SERVER_H

#include "common/daemon/daemon.h"

struct edge_server_config {
	const char *listen_host;
	uint16_t port;
};

/* For init() of the spec. */
must_check struct err edge_server_init(const struct daemon_ctx *ctx, const struct edge_server_config *config,
				       struct arena *errors, void **ret_service);
/* The spec's other functions, as they are. */
bool edge_server_ready(void *service, const char **ret_why);
bool edge_server_put_aside(void *service);
void edge_server_drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx);
void edge_server_done(void *service);

#endif
