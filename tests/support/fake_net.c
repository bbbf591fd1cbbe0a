/*
 * The in-memory network: connections, their order, their end, and who hears of it when.
 *
 * Everything that happens later is an event on the env of the endpoint to which it happens; a dead endpoint's events
 * die with it. Connections are kept until the net is freed, so that events may point to them.
 */
#include "tests/support/fake_net.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"

#define CONNECT_TIMEOUT_NS (250 * NS_PER_MS)
#define WRITE_NS	   (10 * NS_PER_US)

struct endpoint {
	struct rpc_net base;
	struct fake_net *net;
	struct env *env;
	char *address;
	struct event *events;
	struct endpoint *prev, *next;
};

/* What `from` sends to the inbox at `address`, one way. */
struct connection {
	struct endpoint *from, *to; /* NULL when dead */
	char *address;		    /* of to */
	char *sender;		    /* of from */
	uint64_t serial;
	bool alive;
	bool current; /* from's present connection to that address */
	bool heard;   /* a message has arrived: the receiver knows whose it is */
	bool busy;    /* a message was given and on_sent() is owed */
	bool deaf;    /* a silence has swallowed something: nothing passes any more (TCP keeps the order) */
	int64_t last_arrival_ns;
	struct connection *prev, *next;
};

enum event_kind {
	ARRIVE,
	SENT,
	LOST_OUT,
	LOST_IN,
};

struct event {
	struct env_timer timer;
	enum event_kind kind;
	struct endpoint *at;
	struct connection *connection;
	uint8_t *data;
	size_t len;
	struct event *prev, *next;
};

struct cut {
	char *a, *b;
	bool silent; /* nobody is told */
	struct cut *prev, *next;
};

struct fake_net {
	struct fake_world *world;
	struct endpoint *endpoints;
	struct connection *connections;
	struct cut *cuts;
	int64_t latency_min_ns, latency_max_ns, notice_min_ns, notice_max_ns;
	uint64_t last_serial, delivered;
};

static int64_t between(struct fake_net *n, int64_t min, int64_t max)
{
	return max <= min ? min : min + (int64_t)fake_world_below(n->world, (uint64_t)(max - min + 1));
}

/* ------------------------------------------------------------------ events */

static void event_free(struct event *e)
{
	DL_DELETE(e->at->events, e);
	free(e->data);
	free(e);
}

static bool is_newest_from(const struct connection *c)
{
	const struct connection *i;
	DL_FOREACH (c->from ? c->from->net->connections : c->to->net->connections, i) {
		if (i->serial > c->serial && i->heard && i->to == c->to && str_eq(i->sender, c->sender))
			return false;
	}
	return true;
}

static void sent(struct endpoint *at, struct connection *c)
{
	if (!c->busy)
		return;
	c->busy = false;
	at->base.on_sent(at->base.ctx, c->address);
}

static void run(struct endpoint *at, enum event_kind kind, struct connection *c, struct bytes data)
{
	switch (kind) {
	case ARRIVE:
		if (!c->alive || !is_newest_from(c))
			return;
		c->heard = true;
		at->net->delivered++;
		at->base.on_message(at->base.ctx, data);
		return;
	case SENT:
		sent(at, c);
		return;
	case LOST_OUT:
		if (!c->current)
			return;
		c->current = false;
		at->base.on_peer_down(at->base.ctx, c->address);
		sent(at, c);
		return;
	case LOST_IN:
		if (c->heard && is_newest_from(c))
			at->base.on_peer_down(at->base.ctx, c->sender);
		return;
	}
}

static void on_event(struct env_timer *t)
{
	struct event *e = container_of(t, struct event, timer);
	struct endpoint *at = e->at;
	enum event_kind kind = e->kind;
	struct connection *c = e->connection;
	uint8_t *data = e->data;
	size_t len = e->len;
	e->data = NULL;
	event_free(e);
	run(at, kind, c, bytes_of(data, len));
	free(data);
}

static struct event *later(struct endpoint *at, enum event_kind kind, struct connection *c, int64_t delay_ns)
{
	struct event *e = new0(struct event);
	e->kind = kind;
	e->at = at;
	e->connection = c;
	e->timer.fn = on_event;
	DL_APPEND(at->events, e);
	env_timer_start(at->env, &e->timer, delay_ns);
	return e;
}

/* ------------------------------------------------------------------ connections */

static void end_connection(struct fake_net *n, struct connection *c)
{
	if (!c->alive)
		return;
	c->alive = false;
	if (c->from)
		later(c->from, LOST_OUT, c, between(n, n->notice_min_ns, n->notice_max_ns));
	if (c->to && !c->deaf)
		later(c->to, LOST_IN, c, between(n, n->notice_min_ns, n->notice_max_ns));
}

static bool between_them(const struct cut *c, const char *a, const char *b)
{
	return (str_eq(c->a, a) && str_eq(c->b, b)) || (str_eq(c->a, b) && str_eq(c->b, a));
}

static bool has_cut(const struct fake_net *n, const char *a, const char *b, bool silent)
{
	const struct cut *c;
	DL_FOREACH (n->cuts, c) {
		if (c->silent == silent && between_them(c, a, b))
			return true;
	}
	return false;
}

static bool is_cut(const struct fake_net *n, const char *a, const char *b)
{
	return has_cut(n, a, b, false);
}

static struct endpoint *find_endpoint(struct fake_net *n, const char *address)
{
	struct endpoint *e;
	DL_FOREACH (n->endpoints, e) {
		if (str_eq(e->address, address))
			return e;
	}
	return NULL;
}

static struct connection *connect_to(struct endpoint *from, const char *address)
{
	struct fake_net *n = from->net;
	struct connection *c;
	DL_FOREACH (n->connections, c) {
		if (c->current && c->from == from && str_eq(c->address, address))
			return c;
	}
	c = new0(struct connection);
	c->from = from;
	c->address = mem_strdup(address);
	c->sender = mem_strdup(from->address);
	c->serial = ++n->last_serial;
	c->current = true;
	c->to = is_cut(n, from->address, address) ? NULL : find_endpoint(n, address);
	c->alive = c->to != NULL;
	DL_APPEND(n->connections, c);
	if (!c->alive)
		later(from, LOST_OUT, c, CONNECT_TIMEOUT_NS);
	return c;
}

static void endpoint_send(struct rpc_net *base, const char *address, uint8_t *data, size_t len)
{
	struct endpoint *from = container_of(base, struct endpoint, base);
	struct fake_net *n = from->net;
	struct connection *c = connect_to(from, address);
	assert(!c->busy && "one message at a time");
	c->busy = true;
	if (c->alive && is_cut(n, from->address, address))
		end_connection(n, c);
	if (!c->alive) {
		free(data); /* the end of the connection is about to be noticed */
		return;
	}
	later(from, SENT, c, WRITE_NS);
	c->deaf = c->deaf || has_cut(n, from->address, address, true);
	if (c->deaf) {
		free(data);
		return;
	}
	int64_t arrival =
		max_i64(n->world->now_ns + between(n, n->latency_min_ns, n->latency_max_ns), c->last_arrival_ns);
	c->last_arrival_ns = arrival + 1; /* timers that are due together fire in no particular order */
	struct event *e = later(c->to, ARRIVE, c, arrival - n->world->now_ns);
	e->data = data;
	e->len = len;
}

static void endpoint_forget(struct rpc_net *base, const char *address)
{
	struct endpoint *from = container_of(base, struct endpoint, base);
	struct connection *c;
	DL_FOREACH (from->net->connections, c) {
		if (!c->current || c->from != from || !str_eq(c->address, address))
			continue;
		c->current = false;
		c->busy = false;
		end_connection(from->net, c);
	}
}

static void endpoint_free(struct rpc_net *base)
{
	struct endpoint *e = container_of(base, struct endpoint, base);
	struct fake_net *n = e->net;
	struct connection *c;
	DL_FOREACH (n->connections, c) {
		if (c->from == e || c->to == e) {
			end_connection(n, c);
			c->from = c->from == e ? NULL : c->from;
			c->to = c->to == e ? NULL : c->to;
		}
	}
	while (e->events) {
		env_timer_stop(e->env, &e->events->timer);
		event_free(e->events);
	}
	DL_DELETE(n->endpoints, e);
	free(e->address);
	free(e);
}

static const struct rpc_net_ops ops = {.send = endpoint_send, .forget = endpoint_forget, .free = endpoint_free};

/* ------------------------------------------------------------------ the net */

struct fake_net *fake_net_new(struct fake_world *w)
{
	struct fake_net *n = new0(struct fake_net);
	n->world = w;
	fake_net_set_latency(n, 100 * NS_PER_US, 100 * NS_PER_US);
	fake_net_set_notice(n, NS_PER_MS, NS_PER_MS);
	return n;
}

void fake_net_free(struct fake_net *n)
{
	assert(!n->endpoints);
	struct connection *c, *c_next;
	DL_FOREACH_SAFE (n->connections, c, c_next) {
		free(c->address);
		free(c->sender);
		free(c);
	}
	struct cut *k, *k_next;
	DL_FOREACH_SAFE (n->cuts, k, k_next) {
		free(k->a);
		free(k->b);
		free(k);
	}
	free(n);
}

struct rpc_net *fake_net_endpoint(struct fake_net *n, struct env *env, const char *address)
{
	assert(!find_endpoint(n, address));
	struct endpoint *e = new0(struct endpoint);
	e->base.ops = &ops;
	e->net = n;
	e->env = env;
	e->address = mem_strdup(address);
	DL_APPEND(n->endpoints, e);
	return &e->base;
}

void fake_net_set_latency(struct fake_net *n, int64_t min_ns, int64_t max_ns)
{
	n->latency_min_ns = min_ns;
	n->latency_max_ns = max_ns;
}

void fake_net_set_notice(struct fake_net *n, int64_t min_ns, int64_t max_ns)
{
	n->notice_min_ns = min_ns;
	n->notice_max_ns = max_ns;
}

void fake_net_reset_one_way(struct fake_net *n, const char *from, const char *to)
{
	struct connection *c;
	DL_FOREACH (n->connections, c) {
		if (str_eq(c->sender, from) && str_eq(c->address, to))
			end_connection(n, c);
	}
}

void fake_net_reset(struct fake_net *n, const char *a, const char *b)
{
	fake_net_reset_one_way(n, a, b);
	fake_net_reset_one_way(n, b, a);
}

static void set_cut(struct fake_net *n, const char *a, const char *b, bool silent, bool cut)
{
	struct cut *c, *next;
	DL_FOREACH_SAFE (n->cuts, c, next) {
		if (c->silent == silent && between_them(c, a, b)) {
			DL_DELETE(n->cuts, c);
			free(c->a);
			free(c->b);
			free(c);
		}
	}
	if (!cut)
		return;
	c = new0(struct cut);
	c->a = mem_strdup(a);
	c->b = mem_strdup(b);
	c->silent = silent;
	DL_APPEND(n->cuts, c);
}

void fake_net_cut(struct fake_net *n, const char *a, const char *b, bool cut)
{
	set_cut(n, a, b, false, cut);
}

void fake_net_silence(struct fake_net *n, const char *a, const char *b, bool silent)
{
	set_cut(n, a, b, true, silent);
}

uint64_t fake_net_delivered(const struct fake_net *n)
{
	return n->delivered;
}
