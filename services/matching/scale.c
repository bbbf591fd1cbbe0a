/*
 * How many partitions a queue has.
 *
 * The root, the owner of partition 0, decides by the rate at which the queue's tasks are handed out, and by how busy
 * the nodes are with it (load.c), which the others report to it: growing at once, shrinking when fewer would do for a
 * while. A decision has a version; everybody keeps the newest it heard of and tells it to whom it hears know less, so a
 * new root goes on where the old one was:
 *
 *   gateways ── credits, with what they know ──► root and others ── news ──► gateways, history
 *   partition ── report, once a second ──► root ── news ──► partition
 *
 * A closing partition takes nothing new and hands out what it has. Polls find tasks by hunger: a partition that has
 * tasks and no credits tells the gateways, which lend it polls of others.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

/* A report counts for so long. */
#define SIBLING_NS (5 * NS_PER_S)
/* Fewer would do when the load would fill them no more than so far. */
#define SHRINK_FILL 0.6
/* More than so many a node spread no better. */
#define PARTITIONS_A_NODE 4
/* So busy a node may be with a queue that could be spread over more of them. */
#define NODE_FILL 0.5
/* What a closing partition could hand to nobody for so long is left to history. */
#define CLOSING_NS (2 * NS_PER_S)

bool partition_closing(const struct partition *p)
{
	return p->number >= p->count;
}

void scale_learn(struct partition *p, uint32_t count, int64_t version)
{
	if (version <= p->version || !count)
		return;
	p->count = count;
	p->version = version;
	p->unpolled_since_ns = env_mono_ns(p->m->env);
}

Perdure__QueuePartitions scale_news(const struct partition *p)
{
	Perdure__QueuePartitions n = PERDURE__QUEUE_PARTITIONS__INIT;
	n.queue = p->queue;
	n.count = p->count;
	n.version = p->version;
	return n;
}

/* ------------------------------------------------------------------ the root */

/* Of all partitions. */
struct queue_load {
	double rate; /* tasks handed out a second */
	double load; /* of their nodes */
};

static struct queue_load load_now(struct partition *p)
{
	double add;
	struct queue_load q = {.load = load_of(p)};
	rate_look(p, &add, &q.rate);
	int64_t now = env_mono_ns(p->m->env);
	struct sibling *s;
	LL_FOREACH (p->siblings, s) {
		if (now - s->heard_ns >= SIBLING_NS)
			continue;
		q.rate += s->hand_rate;
		q.load += s->number < p->count ? s->load : 0;
	}
	return q;
}

static uint32_t round_up(double n)
{
	return (uint32_t)n + ((double)(uint32_t)n < n);
}

static uint32_t enough_for(const struct partition *p, struct queue_load q)
{
	size_t nodes;
	membership_live(p->m->membership, MEMBER_MATCHING, &nodes);
	double all = nodes ? (double)nodes : 1;
	double n = q.rate / (double)p->m->config.partition_rate;
	/* More than one a node: as many on each, or the fullest node would be what limits. */
	n = n > all ? round_up(n / all) * all : n;
	/* Where nodes are busy with it, spreading over all of them is what helps. */
	double spread = q.load / NODE_FILL < all ? q.load / NODE_FILL : all;
	n = n > spread ? n : spread;
	return n <= 1 ? 1 : n >= p->m->config.partitions_max ? p->m->config.partitions_max : round_up(n);
}

static uint32_t most(const struct partition *p)
{
	const struct matching *m = p->m;
	size_t nodes;
	membership_live(m->membership, MEMBER_MATCHING, &nodes);
	uint32_t max = m->config.partitions_max;
	if (nodes < 2)
		max = 1;
	else if (nodes * PARTITIONS_A_NODE < max)
		max = (uint32_t)nodes * PARTITIONS_A_NODE;
	if (p->rate > 0 && p->rate / (double)m->config.partition_rate < max)
		max = (uint32_t)(p->rate / (double)m->config.partition_rate);
	return max ? max : 1;
}

static uint32_t clamp(uint32_t n, uint32_t min, uint32_t max)
{
	n = n < min ? min : n;
	return n > max ? max : n;
}

static void decide(struct partition *p, uint32_t count)
{
	struct credit *c;
	p->count = count;
	p->version = max_i64(p->version + 1, env_wall_ns(p->m->env));
	p->shrink_since_ns = 0;
	Perdure__QueuePartitions news = scale_news(p);
	DL_FOREACH2(p->credits, c, in_partition_next)
	gateway_say(c->gateway, 3, &news.base);
}

static void tend_root(struct partition *p)
{
	const struct matching_config *c = &p->m->config;
	int64_t now = env_mono_ns(p->m->env);
	struct queue_load now_all = load_now(p), filled = {now_all.rate / SHRINK_FILL, now_all.load / SHRINK_FILL};
	uint32_t max = most(p), min = c->partitions_min < max ? c->partitions_min : max;
	uint32_t more = clamp(enough_for(p, now_all), min, max);
	uint32_t fewer = clamp(enough_for(p, filled), min, max);
	if (more > p->count || p->count > max) {
		decide(p, more);
	} else if (fewer >= p->count) {
		p->shrink_since_ns = 0;
	} else if (!p->shrink_since_ns) {
		p->shrink_since_ns = now;
	} else if (now - p->shrink_since_ns >= c->partition_shrink_after_ns) {
		decide(p, fewer);
	}
}

static struct sibling *sibling_get(struct partition *p, uint32_t number)
{
	struct sibling *s;
	LL_FOREACH (p->siblings, s)
		if (s->number == number)
			return s;
	s = new0(struct sibling);
	s->number = number;
	LL_PREPEND(p->siblings, s);
	return s;
}

static void on_report(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__PartitionReport *r = perdure__partition_report__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	if (r && r->queue && r->partition && r->partition < m->config.partitions_max &&
	    partition_owned(m, r->queue, 0)) {
		struct partition *p = partition_get(m, r->queue, 0);
		struct sibling *s = sibling_get(p, r->partition);
		s->hand_rate = r->dispatch_rate;
		s->load = r->load;
		s->heard_ns = env_mono_ns(m->env);
		scale_learn(p, r->partitions, r->partitions_version);
		if (r->partitions_version < p->version) {
			Perdure__PartitionNews news = PERDURE__PARTITION_NEWS__INIT;
			Perdure__QueuePartitions q = scale_news(p), *list[] = {&q};
			news.queues = list;
			news.n_queues = 1;
			struct bytes b = matching_pack(&news.base);
			rpc_send(m->rpc, rpc_from(req), RPC_MATCHING_PARTITIONS, b);
			free((void *)b.data);
		}
	}
	rpc_reply(req, NULL, 0);
}

/* ------------------------------------------------------------------ the others */

static void report(struct partition *p)
{
	struct matching *m = p->m;
	const struct member *root = partition_owner(m, p->queue, 0);
	if (!root)
		return;
	Perdure__PartitionReport r = PERDURE__PARTITION_REPORT__INIT;
	double add;
	r.queue = p->queue;
	r.partition = p->number;
	r.partitions = p->count;
	r.partitions_version = p->version;
	rate_look(p, &add, &r.dispatch_rate);
	r.load = load_of(p);
	struct bytes b = matching_pack(&r.base);
	rpc_send(m->rpc, root->address, RPC_MATCHING_PARTITION, b);
	free((void *)b.data);
}

static void on_news(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__PartitionNews *n = perdure__partition_news__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	for (size_t i = 0; n && i < n->n_queues; i++) {
		const Perdure__QueuePartitions *q = n->queues[i];
		for (uint32_t k = 1; q->queue && k < m->config.partitions_max; k++) {
			struct partition *p = partition_find(m, q->queue, k);
			if (p)
				scale_learn(p, q->count, q->version);
		}
	}
	rpc_reply(req, NULL, 0);
}

/* Nobody is there to hand it to. */
static void tend_closing(struct partition *p)
{
	int64_t now = env_mono_ns(p->m->env);
	if (p->credits)
		p->unpolled_since_ns = now;
	else if (p->waiting_count && now - p->unpolled_since_ns >= CLOSING_NS) {
		partition_drop_waiting(p);
		partition_ask_again(p);
	}
}

/* ------------------------------------------------------------------ hunger */

static void say_hunger(struct partition *p, size_t tasks)
{
	Perdure__HungryPartition h = PERDURE__HUNGRY_PARTITION__INIT;
	struct credit *c;
	h.queue = p->queue;
	h.partition = p->number;
	h.tasks = (uint32_t)tasks;
	DL_FOREACH2(p->credits, c, in_partition_next)
	gateway_say(c->gateway, 4, &h.base);
	p->hungry = tasks;
	p->hungry_since_ns = env_mono_ns(p->m->env);
}

void scale_hunger(struct partition *p)
{
	if (p->count < 2 && !partition_closing(p))
		return;
	if (p->waiting_count >= 2 * p->hungry)
		say_hunger(p, p->waiting_count);
}

static void tend_hunger(struct partition *p)
{
	if (p->hungry && (!p->waiting_count || env_mono_ns(p->m->env) - p->hungry_since_ns >= NS_PER_S))
		say_hunger(p, p->waiting_count);
}

/* ------------------------------------------------------------------ life */

void scale_tend(struct partition *p)
{
	if (p->queue->sticky)
		return;
	if (p->number == 0)
		tend_root(p);
	else if (p->m->tends % 2 == 0)
		report(p);
	if (partition_closing(p))
		tend_closing(p);
	tend_hunger(p);
}

void scale_serve(struct matching *m)
{
	rpc_serve(m->rpc, RPC_MATCHING_PARTITION, on_report, m);
	rpc_serve(m->rpc, RPC_MATCHING_PARTITIONS, on_news, m);
}

void scale_free(struct partition *p)
{
	struct sibling *s, *tmp;
	LL_FOREACH_SAFE (p->siblings, s, tmp)
		free(s);
}
