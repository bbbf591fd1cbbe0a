/*
 * A peer: the messages that wait for it, and what ends when its connection is lost.
 */
#include "common/rpc/internal.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define SWEEP_PEERS_MIN 64

/* ------------------------------------------------------------------ the table of peers */

static bool peer_idle(const struct peer *p)
{
	return p->refs == 0 && !p->calls && !p->first && !p->sending && !p->dirty;
}

static void chunks_free(struct peer *p)
{
	while (p->first) {
		struct chunk *c = p->first;
		p->first = c->next;
		buf_done(&c->buf);
		free(c);
	}
	p->last = NULL;
	p->queued_bytes = 0;
}

static void peer_free(struct peer *p)
{
	assert(!p->requests);
	chunks_free(p);
	free(p->address);
	free(p);
}

static void peer_remove(struct peer *p)
{
	HASH_DEL(p->rpc->peers, p);
	peer_free(p);
}

/* Forgets peers that are gone and concern nobody any more (a cluster's addresses come and go); amortised O(1). */
static void sweep(struct rpc *r)
{
	if (HASH_COUNT(r->peers) < r->sweep_at || HASH_COUNT(r->peers) < SWEEP_PEERS_MIN)
		return;
	struct peer *p, *next;
	HASH_ITER (hh, r->peers, p, next) {
		if (p->lost && peer_idle(p))
			peer_remove(p);
	}
	r->sweep_at = HASH_COUNT(r->peers) * 2;
}

struct peer *peer_get(struct rpc *r, struct bytes address)
{
	struct peer *p;
	HASH_FIND(hh, r->peers, address.data, address.len, p);
	if (p)
		return p;
	if (address.len == 0 || address.len > RPC_ADDRESS_BYTES_MAX)
		return NULL;
	sweep(r);
	if (HASH_COUNT(r->peers) >= RPC_PEERS_MAX)
		return NULL;
	p = new0(struct peer);
	p->rpc = r;
	p->address = mem_zalloc(address.len + 1);
	memcpy(p->address, address.data, address.len);
	p->self = strcmp(p->address, r->address) == 0;
	p->epoch = ++r->last_epoch;
	HASH_ADD_KEYPTR(hh, r->peers, p->address, address.len, p);
	return p;
}

struct peer *peer_find(struct rpc *r, const char *address)
{
	struct peer *p;
	HASH_FIND_STR(r->peers, address, p);
	return p;
}

void peer_ref(struct peer *p)
{
	p->refs++;
}

void peer_unref(struct peer *p)
{
	assert(p->refs > 0);
	if (--p->refs == 0 && !p->rpc)
		peer_free(p);
}

void peer_detach(struct peer *p)
{
	struct rpc_pending *c, *c_next;
	HASH_ITER (hh, p->calls, c, c_next) {
		HASH_DEL(p->calls, c);
		call_free(c);
	}
	struct rpc_request *q, *q_next;
	HASH_ITER (hh, p->requests, q, q_next) {
		HASH_DEL(p->requests, q);
		q->gone = true;
	}
	chunks_free(p);
	p->rpc = NULL;
	if (p->refs == 0)
		peer_free(p);
}

/* ------------------------------------------------------------------ the queue */

static struct chunk *chunk_new(struct peer *p, size_t frame_bytes)
{
	struct chunk *c = new0(struct chunk);
	c->open = true;
	buf_reserve(&c->buf, ENVELOPE_OVERHEAD_BYTES_MAX + frame_bytes);
	envelope_put_header(&c->buf, &(struct envelope_header){
					     .from_incarnation = p->rpc->incarnation,
					     .to_incarnation = p->incarnation,
					     .epoch = p->epoch,
					     .dropped = p->dropped,
					     .from = bytes_str(p->rpc->address),
				     });
	if (p->last)
		p->last->next = c;
	else
		p->first = c;
	p->last = c;
	p->queued_bytes += c->buf.len;
	return c;
}

/* What is queued from here on goes under a new header. */
static void close_chunk(struct peer *p)
{
	if (p->last)
		p->last->open = false;
}

static void mark_dirty(struct peer *p)
{
	if (p->dirty)
		return;
	p->dirty = true;
	p->dirty_next = p->rpc->dirty;
	p->rpc->dirty = p;
	env_defer(p->rpc->env, &p->rpc->flush_task);
}

bool peer_has_room(const struct peer *p, size_t frame_bytes)
{
	return !p->first || p->queued_bytes + frame_bytes <= p->rpc->queue_bytes_max;
}

void peer_put(struct peer *p, const struct envelope_frame *f, const struct bytes *parts, size_t part_count)
{
	size_t frame_bytes = ENVELOPE_OVERHEAD_BYTES_MAX + f->traceparent.len + f->message.len + f->detail.len;
	for (size_t i = 0; i < part_count; i++)
		frame_bytes += parts[i].len;
	struct chunk *c = p->last;
	if (!c || !c->open || c->buf.len + frame_bytes > p->rpc->message_bytes_max)
		c = chunk_new(p, frame_bytes);
	size_t before = c->buf.len;
	envelope_put_frame(&c->buf, f, parts, part_count);
	p->queued_bytes += c->buf.len - before;
	p->used = true;
	if (f->kind == ENVELOPE_REQUEST || (f->kind == ENVELOPE_ONE_WAY && f->method != RPC_PING))
		silence_sent(p);
	if (!p->sending)
		mark_dirty(p);
}

void peer_flush(struct peer *p)
{
	struct rpc *r = p->rpc;
	if (p->sending || !p->first)
		return;
	struct chunk *c = p->first;
	p->first = c->next;
	if (!p->first)
		p->last = NULL;
	size_t len;
	p->queued_bytes -= c->buf.len;
	uint8_t *data = buf_take(&c->buf, &len);
	free(c);
	r->stats.messages_sent++;
	r->stats.bytes_sent += len;
	if (!p->self) {
		p->sending = true;
		r->net->ops->send(r->net, p->address, data, len);
		return;
	}
	if (p->first)
		mark_dirty(p);
	rpc_on_message(r, bytes_of(data, len));
	free(data);
}

/* ------------------------------------------------------------------ the connection */

static void tell_listeners(struct peer *p)
{
	struct rpc *r = p->rpc;
	r->stats.peers_lost++;
	for (struct listener *l = r->listeners; l; l = l->next)
		l->fn(l->ctx, p->address);
}

/* Another process answers at the address. */
static void on_restarted(struct peer *p, const struct envelope_header *h)
{
	bool told = p->epoch != p->epoch_heard;
	/* Calls sent since the last loss may have reached the new process: they go on. */
	uint64_t epoch_lost = p->epoch_heard;
	p->incarnation = h->from_incarnation;
	p->epoch_seen = h->epoch;
	p->dropped = 0;
	close_chunk(p);
	calls_lost(p, epoch_lost);
	requests_gone(p, UINT64_MAX);
	if (!told)
		tell_listeners(p);
}

/* The peer gave our connection up, and with it what we sent it in epochs up to h->dropped. */
static void on_dropped_by_peer(struct peer *p, const struct envelope_header *h)
{
	bool news = h->to_incarnation == p->rpc->incarnation && h->dropped >= p->epoch;
	p->epoch_seen = h->epoch;
	requests_gone(p, h->epoch);
	if (h->to_incarnation == p->rpc->incarnation)
		calls_lost(p, h->dropped);
	if (news)
		tell_listeners(p);
}

bool peer_heard(struct peer *p, const struct envelope_header *h)
{
	bool current = true;
	if (p->incarnation == 0) {
		p->incarnation = h->from_incarnation;
		close_chunk(p);
		on_dropped_by_peer(p, h);
	} else if (p->incarnation != h->from_incarnation) {
		on_restarted(p, h);
	} else if (h->epoch > p->epoch_seen) {
		on_dropped_by_peer(p, h);
	} else {
		current = h->epoch == p->epoch_seen;
	}
	p->lost = false;
	p->epoch_heard = p->epoch;
	return current;
}

/* Begins a new epoch; returns the last one. What waits is dropped. */
static uint64_t give_up(struct peer *p)
{
	uint64_t epoch_lost = p->epoch;
	p->lost = true;
	p->dropped = p->epoch_seen;
	p->epoch = ++p->rpc->last_epoch;
	chunks_free(p);
	silence_over(p);
	return epoch_lost;
}

/*
 * An empty message: its header tells the peer which of its calls will not be answered. Otherwise a peer that has
 * noticed nothing (because the connection to it never came about) would wait for their deadlines.
 */
static void put_notice(struct peer *p)
{
	chunk_new(p, 0);
	if (!p->sending)
		mark_dirty(p);
}

void peer_lost(struct peer *p)
{
	if (p->self)
		return;
	bool told = p->lost && !p->used;
	bool heard = p->epoch_heard == p->epoch;
	peer_ref(p);
	uint64_t epoch_lost = give_up(p);
	p->used = false;
	/* Once for each time that we heard of it: a dead peer is not told again and again. */
	if (heard)
		put_notice(p);
	calls_lost(p, epoch_lost);
	requests_gone(p, UINT64_MAX);
	if (!told)
		tell_listeners(p);
	peer_unref(p);
}

void peer_renew(struct peer *p)
{
	p->sending = false;
	p->rpc->net->ops->forget(p->rpc->net, p->address);
	peer_lost(p);
}

void rpc_forget(struct rpc *r, const char *address)
{
	struct peer *p = peer_find(r, address);
	if (!p || p->self)
		return;
	bool told = p->lost && !p->used;
	peer_ref(p);
	uint64_t epoch_lost = give_up(p);
	p->sending = p->used = false;
	r->net->ops->forget(r->net, p->address);
	calls_lost(p, epoch_lost);
	requests_gone(p, UINT64_MAX);
	if (!told) /* what was sent one way is lost as well */
		tell_listeners(p);
	peer_unref(p);
	if (peer_idle(p))
		peer_remove(p);
}
