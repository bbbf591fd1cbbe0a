/*
 * The callee's side: requests until they are replied to, and what their handlers hear of the caller.
 */
#include "common/rpc/internal.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define ARENA_BYTES_MAX (64 * 1024 * 1024)
/* Longer than any caller means; keeps the sum with the clock from overflowing. */
#define REMAINING_US_MAX (366ULL * 24 * 3600 * 1000000)

/* ------------------------------------------------------------------ arrival */

static struct rpc_request *request_new(struct peer *p, const struct envelope_frame *f)
{
	size_t trace_bytes = f->traceparent.len ? f->traceparent.len + 1 : 0;
	struct rpc_request *q = mem_alloc(sizeof *q + f->body.len + trace_bytes);
	*q = (struct rpc_request){
		.id = f->id,
		.peer = p,
		.epoch = p->epoch_seen,
		.incarnation = p->incarnation,
		.method = (enum rpc_method)f->method,
		.one_way = f->kind == ENVELOPE_ONE_WAY,
		.body_len = f->body.len,
	};
	if (f->body.len)
		memcpy(q->data, f->body.data, f->body.len);
	if (trace_bytes) {
		char *trace = (char *)q->data + f->body.len;
		memcpy(trace, f->traceparent.data, f->traceparent.len);
		trace[f->traceparent.len] = 0;
		q->traceparent = trace;
	}
	peer_ref(p);
	p->rpc->stats.requests_now++;
	return q;
}

/* The caller gave up. The request is out of the tables from here on. */
static void become_gone(struct rpc_request *q)
{
	HASH_DEL(q->peer->requests, q);
	rpc_deadline_remove(q->peer->rpc, &q->deadline);
	q->gone = true;
	if (q->on_cancel)
		q->on_cancel(q->on_cancel_ctx, q);
}

static void on_deadline(struct deadline *d)
{
	become_gone(container_of(d, struct rpc_request, deadline));
}

static int64_t remaining_ns(const struct envelope_frame *f)
{
	return (int64_t)(f->remaining_us < REMAINING_US_MAX ? f->remaining_us : REMAINING_US_MAX) * NS_PER_US;
}

void serve_on_request(struct peer *p, const struct envelope_frame *f)
{
	struct rpc *r = p->rpc;
	const struct method *m = f->method < RPC_METHODS ? &r->methods[f->method] : NULL;
	struct rpc_request *q;
	r->stats.requests++;
	if (f->kind == ENVELOPE_ONE_WAY) {
		if (m && m->fn)
			m->fn(m->ctx, request_new(p, f));
		return;
	}
	if (f->remaining_us == 0) {
		r->stats.expired++;
		return;
	}
	HASH_FIND(hh, p->requests, &f->id, sizeof f->id, q);
	if (q)
		return; /* a caller that uses an id twice gets one answer */
	q = request_new(p, f);
	HASH_ADD(hh, p->requests, id, sizeof q->id, q);
	q->deadline = (struct deadline){.due_ns = env_mono_ns(r->env) + remaining_ns(f), .fn = on_deadline};
	rpc_deadline_add(r, &q->deadline);
	if (m && m->fn)
		m->fn(m->ctx, q);
	else if (!r->serves)
		rpc_reply_err(q, (struct err){.code = ERR_UNAVAILABLE,
					      .reason = ERR_REASON_NOT_OWNER,
					      .message = "the daemon is starting"});
	else
		rpc_reply_err(q, err_static(ERR_UNIMPLEMENTED, "this daemon does not serve the method"));
}

/* ------------------------------------------------------------------ the caller gives up */

void serve_on_cancel(struct peer *p, uint64_t id)
{
	struct rpc_request *q;
	HASH_FIND(hh, p->requests, &id, sizeof id, q);
	if (q)
		become_gone(q);
}

void requests_gone(struct peer *p, uint64_t epoch)
{
	/* In order of arrival; whatever on_cancel replies to leaves the table by itself. */
	while (p->requests && p->requests->epoch < epoch)
		become_gone(p->requests);
}

static bool read_varint(struct bytes *b, uint64_t *ret)
{
	*ret = 0;
	for (unsigned shift = 0; shift < 64 && b->len; shift += 7) {
		uint8_t byte = *b->data;
		*b = bytes_of(b->data + 1, b->len - 1);
		*ret |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

void serve_on_bar(struct rpc *r, struct bytes body)
{
	uint64_t incarnation, epoch;
	if (!read_varint(&body, &incarnation) || !read_varint(&body, &epoch) || memchr(body.data, 0, body.len))
		return;
	struct peer *p = peer_get(r, body);
	if (!p)
		return;
	peer_ref(p);
	if (p->barred_incarnation != incarnation || p->barred_epoch < epoch) {
		p->barred_incarnation = incarnation;
		p->barred_epoch = epoch;
	}
	if (p->incarnation == incarnation)
		requests_gone(p, epoch);
	peer_unref(p);
}

void rpc_on_cancel(struct rpc_request *q, void (*fn)(void *ctx, struct rpc_request *req), void *ctx)
{
	q->on_cancel = fn;
	q->on_cancel_ctx = ctx;
}

bool rpc_cancelled(const struct rpc_request *q)
{
	return q->gone;
}

/* ------------------------------------------------------------------ what a handler sees */

struct bytes rpc_body(const struct rpc_request *q)
{
	return bytes_of(q->data, q->body_len);
}

const char *rpc_from(const struct rpc_request *q)
{
	return q->peer->address;
}

uint64_t rpc_from_incarnation(const struct rpc_request *q)
{
	return q->incarnation;
}

int64_t rpc_deadline_ns(const struct rpc_request *q)
{
	return q->one_way ? INT64_MAX : q->deadline.due_ns;
}

const char *rpc_traceparent(const struct rpc_request *q)
{
	return q->traceparent;
}

struct arena *rpc_arena(struct rpc_request *q)
{
	if (!q->arena)
		q->arena = arena_new(ARENA_BYTES_MAX);
	return q->arena;
}

/* ------------------------------------------------------------------ replying */

static void request_free(struct rpc_request *q)
{
	struct peer *p = q->peer;
	if (p->rpc) {
		if (!q->gone && !q->one_way) {
			HASH_DEL(p->requests, q);
			rpc_deadline_remove(p->rpc, &q->deadline);
		}
		p->rpc->stats.requests_now--;
	}
	arena_free(q->arena);
	free(q);
	peer_unref(p);
}

/* Whether there is still somebody to reply to. */
static bool wanted(struct rpc_request *q)
{
	if (q->one_way || !q->peer->rpc)
		return false;
	if (q->gone)
		q->peer->rpc->stats.replies_dropped++;
	return !q->gone;
}

static void put_error(struct rpc_request *q, struct err e)
{
	struct bytes detail_type = bytes_str(e.detail_type);
	struct envelope_frame f = {
		.kind = ENVELOPE_ERROR,
		.id = q->id,
		.code = (uint32_t)e.code,
		.reason = (uint32_t)e.reason,
		.message = bytes_str(e.message),
		.detail_type = detail_type.len <= ENVELOPE_DETAIL_TYPE_BYTES_MAX ? detail_type : (struct bytes){0},
		.detail = e.detail.len <= RPC_BODY_BYTES_MAX ? e.detail : (struct bytes){0},
	};
	peer_put(q->peer, &f, NULL, 0);
}

void rpc_reply(struct rpc_request *q, const struct bytes *parts, size_t part_count)
{
	size_t len = 0;
	for (size_t i = 0; i < part_count; i++)
		len += parts[i].len;
	if (!wanted(q))
		;
	else if (len > RPC_BODY_BYTES_MAX)
		put_error(q, err_static(ERR_RESOURCE_EXHAUSTED,
					"the answer is larger than daemons may send each other (64 MiB)"));
	else if (!peer_has_room(q->peer, len))
		put_error(q, err_static(ERR_RESOURCE_EXHAUSTED, "too much is waiting to be sent to the caller"));
	else
		peer_put(q->peer, &(struct envelope_frame){.kind = ENVELOPE_REPLY, .id = q->id}, parts, part_count);
	request_free(q);
}

void rpc_reply_err(struct rpc_request *q, struct err e)
{
	assert(err_is(e));
	if (wanted(q))
		put_error(q, e);
	request_free(q);
}
