/*
 * What health.c and reflection.c are to builtin.c. Not for other folders.
 */
#ifndef COMMON_GRPC_BUILTIN_H
#define COMMON_GRPC_BUILTIN_H

#include "common/grpc/grpc_builtin.h"

struct grpc_health;

struct grpc_health *grpc_health_new(struct env *env);
void grpc_health_free(struct grpc_health *h);
void grpc_health_set(struct grpc_health *h, const char *service, bool serving);
void grpc_health_stop(struct grpc_health *h);
void grpc_health_check(struct grpc_health *h, struct grpc_call *call);
void grpc_health_list(struct grpc_health *h, struct grpc_call *call);
void grpc_health_watch(struct grpc_health *h, struct grpc_call *call);

void grpc_reflection_serve(struct grpc_call *call);

/* Packs `message` in the arena and ends the call with it, or sends it on the stream. */
void grpc_builtin_finish(struct grpc_call *call, struct arena *a, const ProtobufCMessage *message);
void grpc_builtin_send(struct grpc_call *call, struct arena *a, const ProtobufCMessage *message);

#define GRPC_BUILTIN_ARENA_BYTES ((size_t)64 * 1024)

#endif
