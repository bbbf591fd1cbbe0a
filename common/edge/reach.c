/*
 * Calls to history nodes, sent round a lost connection: see reach.h.
 */
#include "common/edge/reach.h"

#include <stdlib.h>
#include <uthash.h>

#include <perdure/relay.pb-c.h>

#include "common/edge/internal.h"
#include "common/mem/mem.h"

#define PROBE_NS  NS_PER_S
#define UNABLE_NS (30 * NS_PER_S) /* a node of a release without relays is asked again after */

/* A history node that can't be reached, or is no relay (it may be older than this). */
struct odd_node {
	UT_hash_handle hh;
	struct reach *reach;
	bool lost;
	struct rpc_pending *probe;
	struct env_timer timer;	   /* the next probe */
	unsigned relays_failed;	   /* in a row: they don't reach it, either … */
	int64_t direct_until_ns;   /* … so that nobody is troubled for a while */
	int64_t no_relay_until_ns; /* it refused to be one */
	char address[];
};

struct reach {
	struct edge *edge;
	struct odd_node *nodes;
	size_t next; /* relays take turns */
	struct counter *relayed;
};

static struct odd_node *find(const struct reach *r, const char *address)
{
	struct odd_node *n;
	HASH_FIND_STR(r->nodes, address, n);
	return n;
}

static void on_timer(struct env_timer *t);

static struct odd_node *get(struct reach *r, const char *address)
{
	struct odd_node *n = find(r, address);
	if (n)
		return n;
	size_t len = strlen(address);
	n = mem_zalloc(sizeof *n + len + 1);
	n->reach = r;
	n->timer.fn = on_timer;
	memcpy(n->address, address, len + 1);
	HASH_ADD_KEYPTR(hh, r->nodes, n->address, len, n);
	return n;
}

static void forget(struct odd_node *n)
{
	struct reach *r = n->reach;
	env_timer_stop(r->edge->env, &n->timer);
	if (n->probe)
		rpc_cancel(n->probe);
	HASH_DEL(r->nodes, n);
	free(n);
}

static bool is_live(const struct reach *r, const char *address)
{
	const struct member *m = membership_find_address(r->edge->parts.membership, address);
	return m && m->role == MEMBER_HISTORY;
}

/* ------------------------------------------------------------------ probing */

static void on_probed(void *ctx, struct err e, struct bytes body)
{
	struct odd_node *n = ctx;
	(void)body;
	n->probe = NULL;
	/* Nobody serves a ping, and a node that starts serves nothing yet: either is an answer. */
	bool answered = !err_is(e) || e.code == ERR_UNIMPLEMENTED || e.reason == ERR_REASON_NOT_OWNER;
	if (answered) {
		n->lost = false;
		env_timer_stop(n->reach->edge->env, &n->timer);
	}
}

static void probe(struct odd_node *n)
{
	struct edge *e = n->reach->edge;
	env_timer_start(e->env, &n->timer, PROBE_NS);
	if (n->probe)
		return;
	struct rpc_call ping = {
		.address = n->address,
		.method = RPC_PING,
		.deadline_ns = env_mono_ns(e->env) + PROBE_NS,
		.fn = on_probed,
		.ctx = n,
	};
	n->probe = rpc_call(e->parts.rpc, &ping);
}

static void on_timer(struct env_timer *t)
{
	struct odd_node *n = container_of(t, struct odd_node, timer);
	if (is_live(n->reach, n->address))
		probe(n);
	else
		forget(n);
}

static void on_peer_down(void *ctx, const char *address)
{
	struct reach *r = ctx;
	if (!is_live(r, address))
		return;
	struct odd_node *n = get(r, address);
	if (n->lost)
		return;
	n->lost = true;
	n->relays_failed = 0;
	n->direct_until_ns = 0;
	probe(n);
}

void reach_nodes_changed(struct reach *r)
{
	struct odd_node *n, *tmp;
	HASH_ITER (hh, r->nodes, n, tmp)
		if (!is_live(r, n->address))
			forget(n);
}

/* ------------------------------------------------------------------ calls */

/* Another live history node that can be reached, each in turn; NULL: none. */
static const char *choose_relay(struct reach *r, const char *target)
{
	size_t count;
	int64_t now = env_mono_ns(r->edge->env);
	const struct member *const *live = membership_live(r->edge->parts.membership, MEMBER_HISTORY, &count);
	for (size_t i = 0; i < count; i++) {
		const char *address = live[(r->next + i) % count]->address;
		const struct odd_node *n = find(r, address);
		if (str_eq(address, target) || (n && (n->lost || now < n->no_relay_until_ns)))
			continue;
		r->next = (r->next + i + 1) % count;
		return address;
	}
	return NULL;
}

/* The relays told us of the node that it is lost for them, too: once each has, it is for a while. */
static void note(struct reach *r, const char *target, bool lost)
{
	struct odd_node *n = find(r, target);
	size_t count;
	membership_live(r->edge->parts.membership, MEMBER_HISTORY, &count);
	if (!n)
		return;
	n->relays_failed = lost ? n->relays_failed + 1 : 0;
	if (n->relays_failed + 1 < count)
		return;
	n->relays_failed = 0;
	n->direct_until_ns = lost ? env_mono_ns(r->edge->env) + PROBE_NS : 0;
}

static struct err error_of(const Perdure__RelayError *m)
{
	return (struct err){
		/* A newer node may know more codes and reasons than we do. */
		.code = m->code && m->code <= ERR_UNAUTHENTICATED ? (enum err_code)m->code : ERR_UNKNOWN,
		.reason = m->reason <= ERR_REASON_DRAINING ? (enum err_reason)m->reason : ERR_REASON_NONE,
		.message = m->message,
		.detail_type = str_empty(m->detail_type) ? NULL : m->detail_type,
		.detail = bytes_of(m->detail.data, m->detail.len),
	};
}

/* The call may have been made, or nothing is known of it; else the relay refused. */
static bool may_have_happened(struct err e)
{
	return e.reason == ERR_REASON_PEER_LOST || e.code == ERR_DEADLINE_EXCEEDED;
}

static void clear(struct reach_call *c)
{
	free(c->target);
	free(c->relay);
	c->target = c->relay = NULL;
	c->pending = NULL;
}

static void end(struct reach_call *c, struct err e, struct bytes body)
{
	clear(c);
	c->fn(c->ctx, e, body);
}

static void on_direct(void *ctx, struct err e, struct bytes body)
{
	end(ctx, e, body);
}

static struct err refused(struct reach_call *c, struct err e)
{
	int64_t pause = e.code == ERR_UNIMPLEMENTED ? UNABLE_NS : PROBE_NS;
	get(c->reach, c->relay)->no_relay_until_ns = env_mono_ns(c->reach->edge->env) + pause;
	return (struct err){
		.code = ERR_UNAVAILABLE, .reason = ERR_REASON_NOT_OWNER, .message = "a node refused to relay a call"};
}

static void on_relayed(void *ctx, struct err e, struct bytes body)
{
	struct reach_call *c = ctx;
	if (err_is(e)) {
		end(c, may_have_happened(e) ? e : refused(c, e), (struct bytes){0});
		return;
	}
	struct bytes packed = wire_bytes(body, 2);
	if (!packed.data) { /* taken apart by hand: the answer may be large */
		note(c->reach, c->target, false);
		end(c, err_ok, wire_bytes(body, 1));
		return;
	}
	Perdure__RelayError *m = perdure__relay_error__unpack(NULL, packed.len, packed.data);
	e = m ? error_of(m) : err_static(ERR_INTERNAL, "malformed call between daemons");
	note(c->reach, c->target, e.reason == ERR_REASON_PEER_LOST);
	end(c, e, (struct bytes){0});
	if (m)
		perdure__relay_error__free_unpacked(m, NULL);
}

static void send_direct(struct reach_call *c, const struct rpc_call *call)
{
	struct rpc_call direct = *call;
	direct.fn = on_direct;
	direct.ctx = c;
	c->pending = rpc_call(c->reach->edge->parts.rpc, &direct);
}

static void send_relayed(struct reach_call *c, const struct rpc_call *call, const char *relay)
{
	struct rpc *rpc = c->reach->edge->parts.rpc;
	struct bytes parts[1 + REACH_PARTS_MAX];
	size_t len = 0;
	assert(call->part_count <= REACH_PARTS_MAX);
	for (size_t i = 0; i < call->part_count; i++) {
		parts[1 + i] = call->parts[i];
		len += call->parts[i].len;
	}
	/* RelayCall, its body spliced. */
	struct buf head = {0};
	buf_put_field(&head, 1, bytes_str(call->address));
	buf_put_varint(&head, 2 << 3);
	buf_put_varint(&head, (uint64_t)call->method);
	buf_put_varint(&head, 3 << 3);
	buf_put_varint(&head, rpc_epoch(rpc, call->address));
	buf_put_varint(&head, 4 << 3 | 2);
	buf_put_varint(&head, len);
	parts[0] = buf_view(&head);
	c->target = mem_strdup(call->address);
	c->relay = mem_strdup(relay);
	struct rpc_call relayed = *call;
	relayed.address = relay;
	relayed.method = RPC_RELAY;
	relayed.parts = parts;
	relayed.part_count = 1 + call->part_count;
	relayed.fn = on_relayed;
	relayed.ctx = c;
	c->pending = rpc_call(rpc, &relayed);
	buf_done(&head);
	if (c->reach->relayed)
		counter_inc(c->reach->relayed);
}

void reach_begin(struct reach *r, struct reach_call *c, const struct rpc_call *call)
{
	assert(!c->pending);
	const struct odd_node *n = r->nodes ? find(r, call->address) : NULL;
	bool round = n && n->lost && env_mono_ns(r->edge->env) >= n->direct_until_ns;
	const char *relay = round ? choose_relay(r, call->address) : NULL;
	c->reach = r;
	c->fn = call->fn;
	c->ctx = call->ctx;
	if (relay)
		send_relayed(c, call, relay);
	else
		send_direct(c, call);
}

void reach_cancel(struct reach_call *c)
{
	rpc_cancel(c->pending);
	clear(c);
}

struct reach *reach_new(struct edge *e)
{
	struct reach *r = new0(struct reach);
	const struct metric_label role = {"role", e->config.service_name};
	r->edge = e;
	if (e->parts.metrics)
		r->relayed = metrics_counter(e->parts.metrics, "perdure_edge_relayed_total",
					     "Calls sent to a history node through another one.", &role, 1);
	rpc_on_peer_down(e->parts.rpc, on_peer_down, r);
	return r;
}

void reach_free(struct reach *r)
{
	if (!r)
		return;
	struct odd_node *n, *tmp;
	HASH_ITER (hh, r->nodes, n, tmp)
		forget(n);
	free(r);
}
