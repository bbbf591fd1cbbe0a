/*
 * Calls made on behalf of others: see relay.h.
 */
#include "common/relay/relay.h"

#include <stdlib.h>
#include <utlist.h>

#include <perdure/relay.pb-c.h>

#include "common/mem/mem.h"

struct relayed {
	struct relay *relay;
	struct rpc_request *req;
	struct rpc_pending *pending;
	size_t bytes;
	struct relayed *prev, *next;
};

struct relay {
	struct rpc *rpc;
	struct membership *membership;
	struct relayed *calls;
	size_t call_count, bytes;
};

static struct rpc_request *end(struct relayed *c)
{
	struct rpc_request *req = c->req;
	DL_DELETE(c->relay->calls, c);
	c->relay->call_count--;
	c->relay->bytes -= c->bytes;
	free(c);
	return req;
}

static void reply_error(struct rpc_request *req, struct err e)
{
	Perdure__RelayError error = PERDURE__RELAY_ERROR__INIT;
	Perdure__RelayReply m = PERDURE__RELAY_REPLY__INIT;
	error.code = (uint32_t)e.code;
	error.reason = (uint32_t)e.reason;
	error.message = (char *)(e.message ? e.message : "");
	error.detail_type = (char *)(e.detail_type ? e.detail_type : "");
	error.detail = (ProtobufCBinaryData){e.detail.len, (uint8_t *)e.detail.data};
	m.error = &error;
	size_t len = perdure__relay_reply__get_packed_size(&m);
	uint8_t *packed = mem_alloc(len);
	perdure__relay_reply__pack(&m, packed);
	struct bytes part = bytes_of(packed, len);
	rpc_reply(req, &part, 1);
	free(packed);
}

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct rpc_request *req = end(ctx);
	if (err_is(e)) {
		reply_error(req, e);
		return;
	}
	struct buf head = {0};
	buf_put_varint(&head, 1 << 3 | 2); /* RelayReply.body */
	buf_put_varint(&head, body.len);
	struct bytes parts[] = {buf_view(&head), body};
	rpc_reply(req, parts, array_len(parts));
	buf_done(&head);
}

static void on_cancel(void *ctx, struct rpc_request *req)
{
	struct relayed *c = ctx;
	rpc_cancel(c->pending);
	end(c);
	rpc_reply_err(req, err_static(ERR_CANCELLED, "the caller gave up"));
}

/* What an edge asks of history. Relaying a relay would be a second hop. */
static bool may_be_relayed(uint32_t method)
{
	return method == RPC_HISTORY_CALL || method == RPC_HISTORY_START_TASK || method == RPC_HISTORY_REVERT_START;
}

static struct err admit(const struct relay *r, const Perdure__RelayCall *m, size_t bytes)
{
	if (!m || !may_be_relayed(m->method))
		return err_static(ERR_INVALID_ARGUMENT, "calls of this kind are not relayed");
	const struct member *target = membership_find_address(r->membership, m->address);
	if (!target || target->role != MEMBER_HISTORY)
		return err_static(ERR_FAILED_PRECONDITION, "calls are relayed to live history nodes only");
	if (r->call_count >= RELAY_CALLS_MAX || r->bytes + bytes > RELAY_BYTES_MAX)
		return err_static(ERR_RESOURCE_EXHAUSTED, "too many calls are being relayed");
	return err_ok;
}

static void serve(void *ctx, struct rpc_request *req)
{
	struct relay *r = ctx;
	struct bytes body = rpc_body(req);
	Perdure__RelayCall *m = perdure__relay_call__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	struct err e = admit(r, m, body.len);
	if (err_is(e)) {
		rpc_reply_err(req, e);
		return;
	}
	struct relayed *c = new0(struct relayed);
	c->relay = r;
	c->req = req;
	c->bytes = body.len;
	DL_APPEND(r->calls, c);
	r->call_count++;
	r->bytes += c->bytes;
	struct bytes part = bytes_of(m->body.data, m->body.len);
	struct rpc_call call = {
		.address = m->address,
		.method = (enum rpc_method)m->method,
		.parts = &part,
		.part_count = 1,
		.deadline_ns = rpc_deadline_ns(req),
		.traceparent = rpc_traceparent(req),
		.fn = on_reply,
		.ctx = c,
	};
	/* In this order: what the caller sent before must not be served after what is relayed. */
	rpc_bar(r->rpc, m->address, rpc_from(req), rpc_from_incarnation(req), m->epoch);
	c->pending = rpc_call(r->rpc, &call);
	rpc_on_cancel(req, on_cancel, c);
}

struct relay *relay_new(struct rpc *rpc, struct membership *membership)
{
	struct relay *r = new0(struct relay);
	r->rpc = rpc;
	r->membership = membership;
	rpc_serve(rpc, RPC_RELAY, serve, r);
	return r;
}

void relay_free(struct relay *r)
{
	if (!r)
		return;
	while (r->calls) {
		rpc_cancel(r->calls->pending);
		rpc_reply_err(end(r->calls), err_static(ERR_UNAVAILABLE, "the relay ends"));
	}
	free(r);
}

size_t relay_calls(const struct relay *r)
{
	return r->call_count;
}
