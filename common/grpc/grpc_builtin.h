/*
 * The services that every gRPC server is expected to have: grpc.health.v1 and reflection (v1 and v1alpha).
 *
 * The owner of a server makes one, asks grpc_builtin_known() and grpc_builtin_serve() before its own methods, and frees
 * it after its server. Belongs to the server's loop.
 */
#ifndef COMMON_GRPC_GRPC_BUILTIN_H
#define COMMON_GRPC_GRPC_BUILTIN_H

#include "common/grpc/grpc.h"

struct grpc_builtin;

/* The server as a whole (service "") is not serving to begin with. */
struct grpc_builtin *grpc_builtin_new(struct env *env);
/* No call that it served is left: after grpc_server_free() and a turn of the loop. Accepts NULL. */
void grpc_builtin_free(struct grpc_builtin *b);

/* For grpc_handlers.known: is the path one of ours? */
bool grpc_builtin_known(const char *path, bool *ret_streaming);
/* For grpc_handlers.serve: true when the call was ours; then it is taken care of. */
bool grpc_builtin_serve(struct grpc_builtin *b, struct grpc_call *call);

/* "" is the server as a whole; any other name makes that service known to health checks. Watchers are told. */
void grpc_builtin_set_health(struct grpc_builtin *b, const char *service, bool serving);
/* Before draining: nothing is serving any more, and watchers' streams, which would never end, end. */
void grpc_builtin_stop(struct grpc_builtin *b);

#endif
