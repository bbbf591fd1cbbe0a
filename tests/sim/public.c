/*
 * Public calls to simulated edges, over something like a connection: a request takes a while to arrive, an answer to
 * come back, and neither end knows what the other does until it hears of it.
 *
 *     client   sim_call() ──request──▶ edge_serve() … finish() ──answer──▶ fn
 *                  └─ its deadline passes, or it goes away ──cancel──▶ edge_cancelled()
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "tests/sim/cluster.h"

#define WAY_NS (100 * NS_PER_US)

struct sim_pending {
	struct edge_call call;
	struct sim_node *edge;
	struct sim_pending *prev, *next; /* cluster->calls */
	uint8_t *request;
	int64_t timeout_ns;
	/* on the edge's env */
	struct env_timer arrive, cancel, server_deadline;
	bool served, edge_done;
	/* on the client's */
	struct env_timer deadline, answer;
	bool client_done;
	sim_reply_fn *fn;
	void *ctx;
	struct err e;
	char *text;
	struct buf response;
};

static struct env *client_env(struct sim_pending *p)
{
	return &p->edge->cluster->env.env;
}

static struct env *edge_env(struct sim_pending *p)
{
	return &p->edge->env.env;
}

static void edge_is_done(struct sim_pending *p)
{
	env_timer_stop(edge_env(p), &p->arrive);
	env_timer_stop(edge_env(p), &p->cancel);
	env_timer_stop(edge_env(p), &p->server_deadline);
	p->edge_done = true;
}

static void free_when_over(struct sim_pending *p)
{
	if (!p->edge_done || !p->client_done)
		return;
	DL_DELETE(p->edge->cluster->calls, p);
	buf_done(&p->response);
	free(p->text);
	free(p->request);
	free(p);
}

/* ------------------------------------------------------------------ the client's end */

static void client_hears(struct sim_pending *p, struct err e)
{
	env_timer_stop(client_env(p), &p->deadline);
	env_timer_stop(client_env(p), &p->answer);
	p->client_done = true;
	p->fn(p->ctx, e, buf_view(&p->response));
}

static void on_answer(struct env_timer *t)
{
	struct sim_pending *p = container_of(t, struct sim_pending, answer);
	client_hears(p, p->e);
	free_when_over(p);
}

/* The edge hears of it after a while. What it has not read yet (it is frozen) it reads together with the end. */
static void send_cancel(struct sim_pending *p)
{
	if (p->served && !p->edge_done)
		env_timer_start(edge_env(p), &p->cancel, 2 * WAY_NS);
	else if (!p->edge_done)
		edge_is_done(p);
}

static void on_deadline(struct env_timer *t)
{
	struct sim_pending *p = container_of(t, struct sim_pending, deadline);
	client_hears(p, err_static(ERR_DEADLINE_EXCEEDED, "the client waited long enough"));
	send_cancel(p);
	free_when_over(p);
}

void sim_cancel(struct sim_pending *p)
{
	env_timer_stop(client_env(p), &p->deadline);
	env_timer_stop(client_env(p), &p->answer);
	p->client_done = true;
	send_cancel(p);
	free_when_over(p);
}

/* ------------------------------------------------------------------ the edge's end */

static const char *no_header(const struct edge_call *c, const char *key)
{
	(void)c;
	(void)key;
	return NULL;
}

/* The edge's answer is on its way, whether or not the client is still there. */
static bool finish(struct edge_call *call, struct err e, const struct bytes *parts, size_t part_count)
{
	struct sim_pending *p = container_of(call, struct sim_pending, call);
	edge_is_done(p);
	if (!p->client_done) {
		p->text = e.message ? mem_strdup(e.message) : NULL;
		p->e = (struct err){.code = e.code, .reason = e.reason, .message = p->text};
		for (size_t i = 0; i < part_count && !err_is(e); i++)
			buf_put_bytes(&p->response, parts[i]);
		env_timer_start(client_env(p), &p->answer, WAY_NS);
	}
	free_when_over(p);
	return true;
}

static const struct edge_call_ops call_ops = {.header = no_header, .finish = finish};

static void on_arrive(struct env_timer *t)
{
	struct sim_pending *p = container_of(t, struct sim_pending, arrive);
	p->served = true;
	p->call.deadline_ns = env_mono_ns(edge_env(p)) + p->timeout_ns;
	env_timer_start(edge_env(p), &p->server_deadline, p->timeout_ns);
	edge_serve(p->edge->edge, &p->call);
}

static void on_cancel(struct env_timer *t)
{
	struct sim_pending *p = container_of(t, struct sim_pending, cancel);
	env_timer_stop(edge_env(p), &p->server_deadline);
	edge_cancelled(&p->call);
}

static void on_server_deadline(struct env_timer *t)
{
	struct sim_pending *p = container_of(t, struct sim_pending, server_deadline);
	env_timer_stop(edge_env(p), &p->cancel);
	edge_cancelled(&p->call);
}

void sim_calls_lost(struct sim_node *edge)
{
	struct sim_pending *p, *tmp;
	DL_FOREACH_SAFE (edge->cluster->calls, p, tmp) {
		/* Those that are served end with the edge. */
		if (p->edge == edge && !p->edge_done && !p->served)
			finish(&p->call, err_static(ERR_UNAVAILABLE, "the connection was lost"), NULL, 0);
	}
}

/* ------------------------------------------------------------------ a call */

struct sim_pending *sim_call(struct sim_node *edge, const char *method, const ProtobufCMessage *request,
			     int64_t timeout_ns, sim_reply_fn *fn, void *ctx)
{
	struct sim_pending *p = new0(struct sim_pending);
	size_t len = protobuf_c_message_get_packed_size(request);
	p->edge = edge;
	p->request = mem_alloc(len);
	protobuf_c_message_pack(request, p->request);
	p->call.ops = &call_ops;
	p->call.method = api_method_by_name("WorkflowService", method);
	if (!p->call.method)
		p->call.method = api_method_by_name("OperatorService", method);
	assert(p->call.method);
	p->call.request = bytes_of(p->request, len);
	p->timeout_ns = timeout_ns;
	p->fn = fn;
	p->ctx = ctx;
	p->arrive.fn = on_arrive;
	p->cancel.fn = on_cancel;
	p->server_deadline.fn = on_server_deadline;
	p->deadline.fn = on_deadline;
	p->answer.fn = on_answer;
	DL_APPEND(edge->cluster->calls, p);
	env_timer_start(edge_env(p), &p->arrive, WAY_NS);
	env_timer_start(client_env(p), &p->deadline, timeout_ns);
	return p;
}
