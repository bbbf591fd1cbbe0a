/*
 * The caller's side: the calls under way, and how each ends exactly once.
 */
#include "common/rpc/internal.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"

void call_free(struct rpc_pending *c)
{
	free(c);
}

/* Takes the call out of its tables; it is the caller's to free. */
static void unlink_call(struct rpc_pending *c)
{
	struct rpc *r = c->peer->rpc;
	HASH_DEL(c->peer->calls, c);
	rpc_deadline_remove(r, &c->deadline);
	r->stats.calls_now--;
}

static void finish(struct rpc_pending *c, struct err e, struct bytes body)
{
	if (c->fn)
		c->fn(c->ctx, e, body);
	call_free(c);
}

static void on_deadline(struct deadline *d)
{
	struct rpc_pending *c = container_of(d, struct rpc_pending, deadline);
	c->peer->rpc->stats.deadline_exceeded++;
	unlink_call(c);
	/* The callee has the same deadline: no need to tell it. */
	finish(c, err_static(ERR_DEADLINE_EXCEEDED, "the call's deadline passed before the answer came"),
	       (struct bytes){0});
}

/* ------------------------------------------------------------------ calls that never leave */

static void doom(struct rpc *r, struct rpc_pending *c, enum err_code code, const char *message)
{
	c->doomed = true;
	c->doom_code = code;
	c->doom_message = message;
	DL_APPEND(r->doomed, c);
	env_defer(r->env, &r->doom_task);
}

void calls_run_doomed(struct rpc *r)
{
	/* Those that are doomed by these callbacks wait for the next turn. */
	struct rpc_pending *last = r->doomed ? r->doomed->prev : NULL;
	for (bool more = last != NULL; more && r->doomed;) {
		struct rpc_pending *c = r->doomed;
		more = c != last;
		DL_DELETE(r->doomed, c);
		finish(c, err_static(c->doom_code, c->doom_message), (struct bytes){0});
	}
	if (r->doomed)
		env_defer(r->env, &r->doom_task);
}

/* ------------------------------------------------------------------ calling */

static size_t parts_len(const struct bytes *parts, size_t part_count)
{
	size_t len = 0;
	for (size_t i = 0; i < part_count; i++)
		len += parts[i].len;
	return len;
}

static struct bytes traceparent_of(const char *traceparent)
{
	struct bytes v = bytes_str(traceparent);
	return v.len <= ENVELOPE_TRACEPARENT_BYTES_MAX ? v : (struct bytes){0};
}

struct rpc_pending *rpc_call(struct rpc *r, const struct rpc_call *call)
{
	assert(call->fn && call->address && call->deadline_ns != INT64_MAX && (unsigned)call->method < RPC_METHODS);
	struct rpc_pending *c = new0(struct rpc_pending);
	c->id = ++r->last_call_id;
	c->fn = call->fn;
	c->ctx = call->ctx;
	r->stats.calls++;

	size_t len = parts_len(call->parts, call->part_count);
	int64_t now = env_mono_ns(r->env);
	struct peer *p = peer_get(r, bytes_str(call->address));
	if (!p)
		doom(r, c, ERR_UNAVAILABLE, "the address is no inbox of a peer");
	else if (call->deadline_ns <= now)
		doom(r, c, ERR_DEADLINE_EXCEEDED, "the deadline had passed before the call was made");
	else if (len > RPC_BODY_BYTES_MAX)
		doom(r, c, ERR_RESOURCE_EXHAUSTED, "the message is larger than daemons may send each other (64 MiB)");
	else if (!peer_has_room(p, len))
		doom(r, c, ERR_RESOURCE_EXHAUSTED, "too much is waiting to be sent to the peer");
	if (c->doomed)
		return c;

	c->peer = p;
	c->epoch = p->epoch;
	HASH_ADD(hh, p->calls, id, sizeof c->id, c);
	c->deadline = (struct deadline){.due_ns = call->deadline_ns, .fn = on_deadline};
	rpc_deadline_add(r, &c->deadline);
	r->stats.calls_now++;
	peer_put(p,
		 &(struct envelope_frame){
			 .kind = ENVELOPE_REQUEST,
			 .id = c->id,
			 .method = call->method,
			 .remaining_us = (uint64_t)((call->deadline_ns - now + NS_PER_US - 1) / NS_PER_US),
			 .traceparent = traceparent_of(call->traceparent),
		 },
		 call->parts, call->part_count);
	return c;
}

void rpc_cancel(struct rpc_pending *c)
{
	if (c->doomed) {
		/* It stays on its list, which may be being walked, and tells nobody. */
		c->fn = NULL;
		return;
	}
	struct peer *p = c->peer;
	unlink_call(c);
	peer_put(p, &(struct envelope_frame){.kind = ENVELOPE_CANCEL, .id = c->id}, NULL, 0);
	call_free(c);
}

void rpc_send(struct rpc *r, const char *address, enum rpc_method method, struct bytes body)
{
	assert((unsigned)method < RPC_METHODS);
	struct peer *p = peer_get(r, bytes_str(address));
	if (!p || body.len > RPC_BODY_BYTES_MAX || !peer_has_room(p, body.len)) {
		r->stats.one_way_dropped++;
		return;
	}
	peer_put(p, &(struct envelope_frame){.kind = ENVELOPE_ONE_WAY, .method = method}, &body, 1);
}

/* ------------------------------------------------------------------ round a lost connection */

uint64_t rpc_epoch(const struct rpc *r, const char *address)
{
	const struct peer *p = peer_find((struct rpc *)r, address);
	return p ? p->epoch : r->last_epoch + 1; /* what a new connection will begin */
}

void rpc_bar(struct rpc *r, const char *address, const char *from, uint64_t from_incarnation, uint64_t epoch)
{
	struct buf b = {0};
	buf_put_varint(&b, from_incarnation);
	buf_put_varint(&b, epoch);
	buf_put_bytes(&b, bytes_str(from));
	rpc_send(r, address, RPC_BAR, buf_view(&b));
	buf_done(&b);
}

/* ------------------------------------------------------------------ how calls end */

static char *text_dup(struct bytes v)
{
	char *s = mem_alloc(v.len + 1);
	if (v.len)
		memcpy(s, v.data, v.len);
	s[v.len] = 0;
	return s;
}

static void finish_with_error(struct rpc_pending *c, const struct envelope_frame *f)
{
	char *message = text_dup(f->message);
	char *detail_type = f->detail_type.len ? text_dup(f->detail_type) : NULL;
	struct err e = {
		/* A newer peer may know more codes and reasons than we do. */
		.code = f->code <= ERR_UNAUTHENTICATED ? (enum err_code)f->code : ERR_UNKNOWN,
		.reason = f->reason <= ERR_REASON_DRAINING ? (enum err_reason)f->reason : ERR_REASON_NONE,
		.message = message,
		.detail_type = detail_type,
		.detail = f->detail,
	};
	finish(c, e, (struct bytes){0});
	free(message);
	free(detail_type);
}

void call_on_reply(struct peer *p, const struct envelope_frame *f)
{
	struct rpc_pending *c;
	HASH_FIND(hh, p->calls, &f->id, sizeof f->id, c);
	if (!c)
		return; /* cancelled, or past its deadline */
	unlink_call(c);
	silence_proved(p);
	if (f->kind == ENVELOPE_REPLY)
		finish(c, err_ok, f->body);
	else
		finish_with_error(c, f);
}

void calls_lost(struct peer *p, uint64_t epoch)
{
	char message[RPC_ADDRESS_BYTES_MAX + 64];
	snprintf(message, sizeof message, "the connection to %s was lost with the call under way", p->address);
	struct err e = err_static(ERR_UNAVAILABLE, message);
	e.reason = ERR_REASON_PEER_LOST;
	/* Oldest first; calls that the callbacks make are of a later epoch, at the end. */
	while (p->calls && p->calls->epoch <= epoch) {
		struct rpc_pending *c = p->calls;
		unlink_call(c);
		finish(c, e, (struct bytes){0});
	}
}
