/*
 * gRPC as a transport of the edge: the methods of the public API, health and reflection behind one server.
 */
#ifndef COMMON_EDGE_EDGE_GRPC_H
#define COMMON_EDGE_EDGE_GRPC_H

#include "common/edge/edge.h"
#include "common/grpc/grpc.h"

struct edge_grpc;

/* Listens at once. Calls are refused with UNAVAILABLE until there is an edge. */
must_check struct err edge_grpc_new(struct loop *loop, const struct grpc_config *config, struct arena *errors,
				    struct edge_grpc **ret);
void edge_grpc_set_edge(struct edge_grpc *g, struct edge *e);
/* grpc_server_configure(), grpc_server_reload_tls() */
void edge_grpc_configure(struct edge_grpc *g, const struct grpc_config *config);
must_check struct err edge_grpc_reload_tls(struct edge_grpc *g, struct arena *errors);
/* What health checks are told. */
void edge_grpc_set_serving(struct edge_grpc *g, bool serving);
uint16_t edge_grpc_port(const struct edge_grpc *g);
/* grpc_server_pause(), grpc_server_resume() */
void edge_grpc_pause(struct edge_grpc *g);
must_check struct err edge_grpc_resume(struct edge_grpc *g, struct arena *errors);
/* grpc_server_drain(); health checks say that nothing is served any more. */
void edge_grpc_drain(struct edge_grpc *g, int64_t grace_ns, void (*done)(void *ctx), void *ctx);
/* Accepts NULL. Before edge_free(): calls still there are cancelled. A turn of the loop finishes it. */
void edge_grpc_free(struct edge_grpc *g);

int edge_grpc_connections(const struct edge_grpc *g);
struct grpc_stats edge_grpc_stats(const struct edge_grpc *g);

#endif
