/*
 * The table of built-in methods.
 */
#include "common/grpc/builtin.h"

#include <stdlib.h>

#include "common/mem/mem.h"

struct grpc_builtin {
	struct grpc_health *health;
};

static void check(struct grpc_builtin *b, struct grpc_call *call)
{
	grpc_health_check(b->health, call);
}

static void list(struct grpc_builtin *b, struct grpc_call *call)
{
	grpc_health_list(b->health, call);
}

static void watch(struct grpc_builtin *b, struct grpc_call *call)
{
	grpc_health_watch(b->health, call);
}

static void reflect(struct grpc_builtin *b, struct grpc_call *call)
{
	(void)b;
	grpc_reflection_serve(call);
}

static const struct builtin_method {
	const char *path;
	bool streaming;
	void (*serve)(struct grpc_builtin *b, struct grpc_call *call);
} methods[] = {
	{"/grpc.health.v1.Health/Check", false, check},
	{"/grpc.health.v1.Health/List", false, list},
	{"/grpc.health.v1.Health/Watch", true, watch},
	{"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true, reflect},
	{"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, reflect},
};

static const struct builtin_method *find(const char *path)
{
	static const char common[] = "/grpc.";
	if (strncmp(path, common, sizeof common - 1) != 0)
		return NULL; /* almost every call: decided without the table */
	for (size_t i = 0; i < array_len(methods); i++)
		if (strcmp(methods[i].path, path) == 0)
			return &methods[i];
	return NULL;
}

struct grpc_builtin *grpc_builtin_new(struct env *env)
{
	struct grpc_builtin *b = new0(struct grpc_builtin);
	b->health = grpc_health_new(env);
	return b;
}

void grpc_builtin_free(struct grpc_builtin *b)
{
	if (!b)
		return;
	grpc_health_free(b->health);
	free(b);
}

bool grpc_builtin_known(const char *path, bool *ret_streaming)
{
	const struct builtin_method *m = find(path);
	if (m)
		*ret_streaming = m->streaming;
	return m != NULL;
}

bool grpc_builtin_serve(struct grpc_builtin *b, struct grpc_call *call)
{
	const struct builtin_method *m = find(grpc_path(call));
	if (m)
		m->serve(b, call);
	return m != NULL;
}

void grpc_builtin_set_health(struct grpc_builtin *b, const char *service, bool serving)
{
	grpc_health_set(b->health, service, serving);
}

void grpc_builtin_stop(struct grpc_builtin *b)
{
	grpc_health_stop(b->health);
}

static struct bytes pack(struct arena *a, const ProtobufCMessage *message)
{
	size_t len = protobuf_c_message_get_packed_size(message);
	uint8_t *data = arena_alloc(a, len);
	protobuf_c_message_pack(message, data);
	return bytes_of(data, len);
}

void grpc_builtin_finish(struct grpc_call *call, struct arena *a, const ProtobufCMessage *message)
{
	struct bytes packed = pack(a, message);
	grpc_finish(call, err_ok, &packed, 1);
}

void grpc_builtin_send(struct grpc_call *call, struct arena *a, const ProtobufCMessage *message)
{
	grpc_send(call, pack(a, message));
}
