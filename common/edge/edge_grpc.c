/*
 * Calls of a gRPC server as edge calls.
 */
#include "common/edge/edge_grpc.h"

#include <stdlib.h>

#include "common/grpc/grpc_builtin.h"
#include "common/mem/mem.h"

struct edge_grpc {
	struct env *env;
	struct grpc_server *server;
	struct grpc_builtin *builtin;
	struct edge *edge; /* NULL: not yet */
	struct env_task finish_free;
};

struct grpc_edge_call {
	struct edge_call call;
	struct grpc_call *grpc;
};

static struct grpc_edge_call *grpc_of(const struct edge_call *c)
{
	return container_of((struct edge_call *)c, struct grpc_edge_call, call);
}

static const char *header(const struct edge_call *c, const char *key)
{
	return grpc_metadata(grpc_of(c)->grpc, key);
}

static bool finish(struct edge_call *c, struct err e, const struct bytes *parts, size_t part_count)
{
	struct grpc_edge_call *g = grpc_of(c);
	struct grpc_call *call = g->grpc;
	free(g);
	return grpc_finish(call, e, parts, part_count);
}

static void slim(struct edge_call *c)
{
	grpc_slim(grpc_of(c)->grpc);
}

static const struct edge_call_ops ops = {.header = header, .finish = finish, .slim = slim};

static void on_cancel(void *user, struct grpc_call *call)
{
	struct grpc_edge_call *g = user;
	(void)call;
	edge_cancelled(&g->call);
}

static void serve(void *ctx, struct grpc_call *call)
{
	struct edge_grpc *g = ctx;
	if (grpc_builtin_serve(g->builtin, call))
		return;
	const char *path = grpc_path(call);
	const struct api_method *method = api_method_by_path(path, strlen(path));
	if (!g->edge || !method) {
		grpc_finish(call, err_static(ERR_UNAVAILABLE, "The server is starting."), NULL, 0);
		return;
	}
	struct grpc_edge_call *c = new0(struct grpc_edge_call);
	c->grpc = call;
	c->call.ops = &ops;
	c->call.method = method;
	c->call.request = grpc_message(call);
	c->call.deadline_ns = grpc_deadline_ns(call);
	grpc_set_user(call, c);
	grpc_on_cancel(call, on_cancel);
	edge_serve(g->edge, &c->call);
}

/* Every method of the API is known: what is not served says so itself, by name. */
static bool known(void *ctx, const char *path, bool *ret_streaming)
{
	(void)ctx;
	if (grpc_builtin_known(path, ret_streaming))
		return true;
	const struct api_method *m = api_method_by_path(path, strlen(path));
	*ret_streaming = false;
	return m && !m->client_streaming && !m->server_streaming;
}

static void on_finish_free(struct env_task *t)
{
	struct edge_grpc *g = container_of(t, struct edge_grpc, finish_free);
	grpc_builtin_free(g->builtin);
	free(g);
}

struct err edge_grpc_new(struct loop *loop, const struct grpc_config *config, struct arena *errors,
			 struct edge_grpc **ret)
{
	struct edge_grpc *g = new0(struct edge_grpc);
	g->env = loop_env(loop);
	g->finish_free.fn = on_finish_free;
	struct grpc_handlers handlers = {.serve = serve, .known = known, .ctx = g};
	struct err e = grpc_server_new(loop, config, &handlers, errors, &g->server);
	if (err_is(e)) {
		free(g);
		return e;
	}
	g->builtin = grpc_builtin_new(g->env);
	*ret = g;
	return err_ok;
}

void edge_grpc_set_edge(struct edge_grpc *g, struct edge *e)
{
	g->edge = e;
}

void edge_grpc_set_serving(struct edge_grpc *g, bool serving)
{
	static const char *const services[] = {"", "temporal.api.workflowservice.v1.WorkflowService"};
	for (size_t i = 0; i < array_len(services); i++)
		grpc_builtin_set_health(g->builtin, services[i], serving);
}

void edge_grpc_configure(struct edge_grpc *g, const struct grpc_config *config)
{
	grpc_server_configure(g->server, config);
}

struct err edge_grpc_reload_tls(struct edge_grpc *g, struct arena *errors)
{
	return grpc_server_reload_tls(g->server, errors);
}

uint16_t edge_grpc_port(const struct edge_grpc *g)
{
	return grpc_server_port(g->server);
}

void edge_grpc_pause(struct edge_grpc *g)
{
	grpc_server_pause(g->server);
}

struct err edge_grpc_resume(struct edge_grpc *g, struct arena *errors)
{
	return grpc_server_resume(g->server, errors);
}

void edge_grpc_drain(struct edge_grpc *g, int64_t grace_ns, void (*done)(void *ctx), void *ctx)
{
	grpc_builtin_stop(g->builtin);
	grpc_server_drain(g->server, grace_ns, done, ctx);
}

void edge_grpc_free(struct edge_grpc *g)
{
	if (!g)
		return;
	grpc_server_free(g->server);
	g->server = NULL;
	g->edge = NULL;
	env_defer(g->env, &g->finish_free);
}

int edge_grpc_connections(const struct edge_grpc *g)
{
	return grpc_server_connections(g->server);
}

struct grpc_stats edge_grpc_stats(const struct edge_grpc *g)
{
	return grpc_server_stats(g->server);
}
