/*
 * Making and ending an rpc endpoint, its deadlines, and taking apart what arrives.
 */
#include "common/rpc/internal.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define MESSAGE_BYTES_MAX_DEFAULT (1024 * 1024)
#define QUEUE_BYTES_MAX_DEFAULT	  (128 * 1024 * 1024)

/* ------------------------------------------------------------------ deadlines */

static bool deadline_before(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, struct deadline, node)->due_ns < container_of(b, struct deadline, node)->due_ns;
}

static void timer_arm(struct rpc *r)
{
	struct heap_node *n = heap_min(&r->deadlines);
	if (!n)
		return;
	int64_t due = container_of(n, struct deadline, node)->due_ns;
	/* A timer set too early only looks again; so removing a deadline costs no timer. */
	if (!r->timer.armed || due < r->timer.due_ns)
		env_timer_start(r->env, &r->timer, due - env_mono_ns(r->env));
}

void rpc_deadline_add(struct rpc *r, struct deadline *d)
{
	assert(!d->armed && d->fn);
	d->armed = true;
	heap_insert(&r->deadlines, &d->node);
	timer_arm(r);
}

void rpc_deadline_remove(struct rpc *r, struct deadline *d)
{
	if (!d->armed)
		return;
	heap_remove(&r->deadlines, &d->node);
	d->armed = false;
}

static void on_timer(struct env_timer *t)
{
	struct rpc *r = container_of(t, struct rpc, timer);
	int64_t now = env_mono_ns(r->env);
	for (struct heap_node *n = heap_min(&r->deadlines); n; n = heap_min(&r->deadlines)) {
		struct deadline *d = container_of(n, struct deadline, node);
		if (d->due_ns > now)
			break;
		rpc_deadline_remove(r, d);
		d->fn(d);
	}
	timer_arm(r);
}

/* ------------------------------------------------------------------ what arrives */

static void on_frame(struct peer *p, const struct envelope_frame *f, bool current)
{
	switch (f->kind) {
	case ENVELOPE_REQUEST:
	case ENVELOPE_ONE_WAY:
		if (current && f->kind == ENVELOPE_ONE_WAY && f->method == RPC_PING)
			silence_heard(p);
		else if (current && f->kind == ENVELOPE_ONE_WAY && f->method == RPC_BAR)
			serve_on_bar(p->rpc, f->body);
		else if (current)
			serve_on_request(p, f);
		return;
	case ENVELOPE_CANCEL:
		if (current)
			serve_on_cancel(p, f->id);
		return;
	case ENVELOPE_REPLY:
	case ENVELOPE_ERROR:
		call_on_reply(p, f);
		return;
	}
	assert(!"frames are read with a known kind");
}

void rpc_on_message(struct rpc *r, struct bytes message)
{
	struct envelope_reader reader;
	struct envelope_header h;
	r->stats.messages_received++;
	r->stats.bytes_received += message.len;
	/* All of it or nothing: a message that is damaged somewhere is not to be trusted elsewhere. */
	if (!envelope_read_header(&reader, message, &h) || !envelope_frames_valid(reader)) {
		r->stats.malformed++;
		return;
	}
	struct peer *p = peer_get(r, h.from);
	if (!p) {
		r->stats.refused++;
		return;
	}
	peer_ref(p);
	bool current = peer_heard(p, &h);
	if (h.from_incarnation == p->barred_incarnation && h.epoch < p->barred_epoch)
		current = false;
	bool for_us = h.to_incarnation == r->incarnation;
	struct envelope_frame f;
	while (!envelope_at_end(&reader)) {
		bool ok = envelope_read_frame(&reader, &f);
		assert(ok && "read before");
		bool reply = f.kind == ENVELOPE_REPLY || f.kind == ENVELOPE_ERROR;
		/* A reply for our predecessor at this address bears an id that may be one of ours. */
		if (!reply || for_us)
			on_frame(p, &f, current);
	}
	peer_unref(p);
}

static void net_on_message(void *ctx, struct bytes message)
{
	rpc_on_message(ctx, message);
}

static void net_on_peer_down(void *ctx, const char *address)
{
	struct peer *p = peer_find(ctx, address);
	if (p)
		peer_lost(p);
}

static void net_on_sent(void *ctx, const char *address)
{
	struct peer *p = peer_find(ctx, address);
	if (!p)
		return;
	p->sending = false;
	peer_flush(p);
}

/* ------------------------------------------------------------------ tasks */

static void on_flush(struct env_task *t)
{
	struct rpc *r = container_of(t, struct rpc, flush_task);
	struct peer *p = r->dirty;
	r->dirty = NULL;
	/* Serving our own messages may make peers dirty again: those wait for the next turn. */
	while (p) {
		struct peer *next = p->dirty_next;
		p->dirty = false;
		peer_flush(p);
		p = next;
	}
}

static void on_doomed(struct env_task *t)
{
	calls_run_doomed(container_of(t, struct rpc, doom_task));
}

/* ------------------------------------------------------------------ making and ending */

struct rpc *rpc_new(struct env *env, struct rpc_net *net, const struct rpc_config *config)
{
	assert(config->address && *config->address && strlen(config->address) <= RPC_ADDRESS_BYTES_MAX);
	assert(config->incarnation != 0);
	struct rpc *r = new0(struct rpc);
	r->env = env;
	r->net = net;
	r->address = mem_strdup(config->address);
	r->incarnation = config->incarnation;
	r->message_bytes_max =
		config->message_bytes_max > 0 ? (size_t)config->message_bytes_max : MESSAGE_BYTES_MAX_DEFAULT;
	r->queue_bytes_max = config->queue_bytes_max > 0 ? (size_t)config->queue_bytes_max : QUEUE_BYTES_MAX_DEFAULT;
	r->timer.fn = on_timer;
	r->flush_task.fn = on_flush;
	r->doom_task.fn = on_doomed;
	silence_init(r);
	heap_init(&r->deadlines, deadline_before);
	net->ctx = r;
	net->on_message = net_on_message;
	net->on_peer_down = net_on_peer_down;
	net->on_sent = net_on_sent;
	return r;
}

void rpc_free(struct rpc *r)
{
	if (!r)
		return;
	r->net->ops->free(r->net);
	env_timer_stop(r->env, &r->timer);
	env_timer_stop(r->env, &r->silence_timer);
	env_undefer(r->env, &r->flush_task);
	env_undefer(r->env, &r->doom_task);
	struct peer *p, *p_next;
	HASH_ITER (hh, r->peers, p, p_next) {
		HASH_DEL(r->peers, p);
		peer_detach(p);
	}
	struct rpc_pending *c, *c_next;
	DL_FOREACH_SAFE (r->doomed, c, c_next) {
		DL_DELETE(r->doomed, c);
		call_free(c);
	}
	while (r->listeners) {
		struct listener *l = r->listeners;
		r->listeners = l->next;
		free(l);
	}
	heap_done(&r->deadlines);
	free(r->address);
	free(r);
}

const char *rpc_address(const struct rpc *r)
{
	return r->address;
}

struct env *rpc_env(const struct rpc *r)
{
	return r->env;
}

struct rpc_stats rpc_stats(const struct rpc *r)
{
	return r->stats;
}

void rpc_on_peer_down(struct rpc *r, void (*fn)(void *ctx, const char *address), void *ctx)
{
	struct listener *l = new0(struct listener);
	l->fn = fn;
	l->ctx = ctx;
	LL_APPEND(r->listeners, l);
}

void rpc_serve(struct rpc *r, enum rpc_method method, rpc_serve_fn *fn, void *ctx)
{
	assert((unsigned)method < RPC_METHODS);
	r->methods[method] = (struct method){fn, ctx};
	r->serves = true;
}
