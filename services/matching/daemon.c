/*
 * Matching as a daemon: its node and its settings.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/node/node.h"
#include "services/matching/matching.h"

struct matching_service {
	struct daemon_ctx ctx;
	struct node *node;
	struct matching *matching; /* NULL until the node is up */
	void (*drained)(void *ctx);
	void *drained_ctx;
};

static void on_up(void *ctx, struct node *n)
{
	struct matching_service *s = ctx;
	const struct settings *v = s->ctx.settings;
	struct matching_config c;
	matching_config_defaults(&c);
	c.memory_bytes = v->matching_memory_bytes;
	c.queue_bytes = v->matching_queue_bytes;
	c.redeliver_after_ns = v->matching_redeliver_after;
	c.queue_idle_ns = v->matching_queue_idle;
	s->matching = matching_new(s->ctx.env, n->rpc, n->membership, s->ctx.log, &c);
}

static struct err init(const struct daemon_ctx *ctx, struct arena *errors, void **ret_service)
{
	struct matching_service *s = new0(struct matching_service);
	s->ctx = *ctx;
	struct node_config config = {.role = "matching", .on_up = on_up, .ctx = s};
	struct err e = node_new(ctx, &config, errors, &s->node);
	if (err_is(e)) {
		free(s);
		return e;
	}
	*ret_service = s;
	return err_ok;
}

static bool ready(void *service, const char **ret_why)
{
	struct matching_service *s = service;
	return node_ready(s->node, ret_why);
}

static void on_left(void *ctx)
{
	struct matching_service *s = ctx;
	s->drained(s->drained_ctx);
}

static void drain(void *service, int64_t grace_ns, void (*drained)(void *ctx), void *ctx)
{
	struct matching_service *s = service;
	(void)grace_ns;
	s->drained = drained;
	s->drained_ctx = ctx;
	if (s->matching)
		matching_drain(s->matching);
	/* Nothing is lost with us: once our row is gone, history offers our tasks to the partitions' next owners. */
	node_leave(s->node, on_left, s);
}

static void done(void *service)
{
	struct matching_service *s = service;
	matching_free(s->matching);
	node_free(s->node);
	free(s);
}

const struct daemon_spec matching_daemon = {
	.role = "matching",
	.summary = "brings waiting tasks and waiting workers together",
	.init = init,
	.ready = ready,
	.drain = drain,
	.done = done,
};
