/*
 * Who this process is in the cluster, and where its peers reach it.
 */
#include <inttypes.h>
#include <unistd.h>

#include "common/daemon/daemon_priv.h"

int64_t daemon_role_int(const struct daemon *d, const char *role, const char *key)
{
	struct arena *a = arena_new(0);
	const struct setting *s = config_find(arena_printf(a, "%s.%s", role, key));
	arena_free(a);
	if (!s)
		return 0;
	assert(s->type == SETTING_TYPE_INT);
	return *(const int64_t *)((const char *)config_get(d->config) + s->offset);
}

static const char *made_up_id(struct daemon *d, const char *role)
{
	char host[256] = "localhost";
	gethostname(host, sizeof host - 1);
	return arena_printf(d->arena, "%s-%s-%" PRId64, host, role, daemon_role_int(d, role, "rpc_port"));
}

void daemon_identify(struct daemon *d, struct daemon_role *role)
{
	const struct settings *settings = config_get(d->config);
	struct daemon_ctx *ctx = &role->ctx;
	bool alone = d->role_count == 1;
	if (str_empty(settings->node_id))
		ctx->node_id = made_up_id(d, ctx->role);
	else if (alone)
		ctx->node_id = settings->node_id;
	else
		ctx->node_id = arena_printf(d->arena, "%s-%s", settings->node_id, ctx->role);

	/* Roles of one process talk to each other only: nothing else can join that cluster. */
	if (!alone)
		ctx->rpc_listen = arena_printf(d->arena, "inproc://perdure-%s", ctx->role);
	else if (!str_empty(settings->rpc_listen))
		ctx->rpc_listen = settings->rpc_listen;
	else
		ctx->rpc_listen = arena_printf(d->arena, "tcp://%s:%" PRId64, settings->rpc_host,
					       daemon_role_int(d, ctx->role, "rpc_port"));
	bool advertised = alone && !str_empty(settings->rpc_advertise);
	ctx->rpc_advertise = advertised ? settings->rpc_advertise : ctx->rpc_listen;

	/* 63 bits: the database's bigint holds it as it is. Never 0, which means none. */
	env_random(d->env, &ctx->incarnation, sizeof ctx->incarnation);
	ctx->incarnation = (ctx->incarnation >> 1) | 1;
}
