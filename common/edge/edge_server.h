/*
 * A daemon that serves the edge over gRPC: what perdure-frontend and perdure-worker-gateway are.
 */
#ifndef COMMON_EDGE_EDGE_SERVER_H
#define COMMON_EDGE_EDGE_SERVER_H

#include "common/daemon/daemon.h"

struct edge_server;

struct edge_server_config {
	const char *role; /* "frontend", "worker_gateway" */
	const char *listen_host;
	uint16_t port;
};

/* For the functions of a daemon_spec of the same names. */
must_check struct err edge_server_new(const struct daemon_ctx *ctx, const struct edge_server_config *config,
				      struct arena *errors, struct edge_server **ret);
bool edge_server_ready(struct edge_server *s, const char **ret_why);
bool edge_server_put_aside(struct edge_server *s);
void edge_server_drain(struct edge_server *s, int64_t grace_ns, void (*drained)(void *ctx), void *ctx);
void edge_server_free(struct edge_server *s);

#endif
