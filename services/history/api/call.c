/*
 * The request machine.
 */
#include "services/history/api/call.h"

#include <temporal/api/errordetails/v1/message.pb-c.h>

#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/core/errors.h"
#include "services/history/measure.h"

static struct err shard_moved(void)
{
	return (struct err){.code = ERR_UNAVAILABLE,
			    .reason = ERR_REASON_NOT_OWNER,
			    .message = "this node does not own the workflow's shard"};
}

void call_reply(struct call *c, struct err e)
{
	struct rpc_request *req = c->req;
	struct history *h = c->h;
	c->replied = true;
	/* What is read, and what is refused because of it, rests on our owning the shard at this moment. */
	if (c->shard && !c->proven && !membership_lease_valid(h->membership))
		e = shard_moved();
	measure_call_ended(h->measures, c, e);
	if (err_is(e))
		rpc_reply_err(req, e);
	else
		rpc_reply(req, &c->response, 1);
}

static void on_durable(struct waiter *w, struct err e)
{
	struct call *c = container_of(w, struct call, waiter);
	c->proven = w->proven;
	call_reply(c, err_is(e) ? e : c->failed);
}

void call_begin(struct call *c, struct txn *t, struct workflow *wf, struct cached_run *run)
{
	transition_begin(t, c->shard, wf, run, c->arena);
	t->retry_id = c->envelope->retry_id;
	t->trace = measure_call_trace(c);
}

static void after(struct call *c, int64_t seq)
{
	if (c->h->measures)
		c->committing_from_ns = env_mono_ns(c->h->env);
	c->waiter.fn = on_durable;
	shard_after(c->shard, seq, &c->waiter);
}

void call_after(struct call *c, struct cached_run *run)
{
	after(c, run ? run->seq : 0);
}

struct cached_run *call_commit(struct call *c, struct txn *t, struct workflow *wf, struct cached_run *run)
{
	run = transition_commit(t, wf, run);
	if (err_is(t->ended))
		c->failed = t->ended;
	call_after(c, run);
	return run;
}

void call_pack(struct call *c, const ProtobufCMessage *response)
{
	size_t len = protobuf_c_message_get_packed_size(response);
	uint8_t *data = arena_alloc(c->arena, len);
	protobuf_c_message_pack(response, data);
	c->response = bytes_of(data, len);
}

struct err call_not_found(struct call *c)
{
	Temporal__Api__Errordetails__V1__NotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NOT_FOUND_FAILURE__INIT;
	const char *text = "workflow not found for ID: %s";
	if (!str_empty(c->run_id) || (c->token && !str_empty(c->token->run_id)))
		return err_detail(c->arena,
				  err_make(c->arena, ERR_NOT_FOUND,
					   "workflow execution not found for workflow ID \"%s\" and run ID \"%s\"",
					   c->envelope->workflow_id, c->run_id),
				  &detail.base);
	return err_detail(c->arena, err_make(c->arena, ERR_NOT_FOUND, text, c->envelope->workflow_id), &detail.base);
}

static void decide(struct call *c, struct workflow *wf, struct cached_run *run)
{
	struct err e;
	if (!run && c->row->need == RUN_MUST)
		e = call_not_found(c);
	else
		e = c->row->step(c, wf, run);
	if (err_is(e)) {
		/* What an error says must be durable as well (R3); so must the deletion that makes it NOT_FOUND. */
		c->failed = e;
		after(c, run ? run->seq : workflow_seq(wf));
	}
}

static void on_run(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *run)
{
	struct call *c = container_of(w, struct call, wait);
	if (c->h->measures)
		c->decided_from_ns = env_mono_ns(c->h->env);
	if (err_is(e))
		call_reply(c, e);
	else if (c->shard->epoch != c->epoch && !shard_serving(c->shard))
		call_reply(c, shard_moved());
	else
		decide(c, wf, run);
}

static struct err unpack(struct call *c)
{
	struct bytes body = rpc_body(c->req);
	c->envelope = perdure__history_call__unpack(arena_pb(c->arena), body.len, body.data);
	if (!c->envelope)
		return err_static(ERR_INTERNAL, "malformed call between daemons");
	c->row = call_row(c->envelope->method);
	if (!c->row)
		return err_make(c->arena, ERR_UNIMPLEMENTED, "method %s is not implemented", c->envelope->method);
	const ProtobufCBinaryData *r = &c->envelope->request;
	c->request = protobuf_c_message_unpack(c->row->request, arena_pb(c->arena), r->len, r->data);
	if (!c->request)
		return arena_full(c->arena) ? err_static(ERR_RESOURCE_EXHAUSTED, "the request is too large")
					    : err_static(ERR_INVALID_ARGUMENT, "the request cannot be decoded");
	return c->row->target ? c->row->target(c) : err_ok;
}

/* Whether to go on: the shard is ours, and the run is there or on its way. */
static void route(struct call *c)
{
	struct history *h = c->h;
	c->shard = history_shard_of(h, c->envelope->namespace_id, c->envelope->workflow_id);
	c->epoch = c->shard->epoch;
	if (!shard_serving(c->shard) || !membership_lease_valid(h->membership)) {
		call_reply(c, shard_moved());
		return;
	}
	struct workflow *wf = workflow_get(c->shard, c->envelope->namespace_id, c->envelope->workflow_id);
	struct cached_run *run = NULL;
	if (!workflow_find(wf, c->run_id, &run)) {
		c->wait.fn = on_run;
		workflow_load(wf, c->run_id, &c->wait);
		return;
	}
	wf->pins++;
	decide(c, wf, run);
	wf->pins--;
	workflow_put(wf);
}

/* ------------------------------------------------------------------ the namespace */

/*
 * Nothing may come into a namespace that is being emptied, or that is gone: the edge that sent us this may have been
 * asleep since. So what we know of namespaces must be newer than the grace after which the emptying begins.
 */
static void check_namespace(struct call *c, bool refreshed);

static void on_names(struct namespaces_wait *w, struct err e)
{
	struct call *c = container_of(w, struct call, names);
	if (c->h->measures)
		c->decided_from_ns = env_mono_ns(c->h->env);
	if (err_is(e))
		call_reply(c, err_make(c->arena, ERR_UNAVAILABLE, "namespaces could not be read: %s", e.message));
	else
		check_namespace(c, true);
}

static void check_namespace(struct call *c, bool refreshed)
{
	struct history *h = c->h;
	if (!h->namespaces) {
		route(c);
		return;
	}
	const struct namespace *ns = namespaces_by_id(h->namespaces, c->envelope->namespace_id);
	bool fresh = refreshed || env_mono_ns(h->env) - namespaces_read_ns(h->namespaces) < h->config.names_age_max_ns;
	if (ns && fresh && !purge_is_deleted(ns)) {
		route(c);
	} else if (refreshed || (ns && purge_is_deleted(ns))) {
		call_reply(c, core_namespace_not_found(c->arena, c->envelope->namespace_));
	} else {
		c->names.fn = on_names;
		namespaces_refresh(h->namespaces, &c->names);
	}
}

static void serve_call(void *ctx, struct rpc_request *req)
{
	struct history *h = ctx;
	struct arena *arena = rpc_arena(req);
	struct call *c = arena_new0(arena, struct call);
	c->h = h;
	c->req = req;
	c->arena = arena;
	measure_call_began(h->measures, c);
	struct err e = unpack(c);
	if (err_is(e))
		call_reply(c, e);
	else
		check_namespace(c, false);
}

void history_serve_calls(struct history *h)
{
	rpc_serve(h->rpc, RPC_HISTORY_CALL, serve_call, h);
}
