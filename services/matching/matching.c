/*
 * Matching's life and its tending: partitions that are no longer ours, tasks nobody reported on, nodes that went.
 */
#include "services/matching/matching.h"

#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

#define TEND_NS (500 * NS_PER_MS)

void matching_config_defaults(struct matching_config *c)
{
	*c = (struct matching_config){
		.memory_bytes = 128LL << 20,
		.queue_bytes = 4LL << 20,
		.redeliver_after_ns = 2 * NS_PER_S,
		.queue_idle_ns = 300 * NS_PER_S,
		.partitions_min = 1,
		.partitions_max = 16,
		.partition_rate = 1000,
		.partition_shrink_after_ns = 30 * NS_PER_S,
	};
}

/* ------------------------------------------------------------------ tending */

static void redeliver(struct matching *m)
{
	int64_t now = env_mono_ns(m->env);
	for (struct task *t = m->handed_order; t && now - t->handed_ns >= m->config.redeliver_after_ns;
	     t = m->handed_order) {
		struct partition *p = t->partition;
		m->counts.redelivered++;
		task_back(t);
		sticky_worker_gone(p);
		partition_match(p);
	}
}

static void tend(struct partition *p)
{
	int64_t now = env_mono_ns(p->m->env);
	scale_tend(p);
	pull_tend(p);
	if (p->tasks || p->credits || p->sources)
		p->idle_since_ns = now;
	else if (now - p->idle_since_ns >= p->m->config.queue_idle_ns)
		partition_drop(p);
}

static void on_tend(struct env_timer *timer)
{
	struct matching *m = container_of(timer, struct matching, tend);
	redeliver(m);
	load_tend(m);
	m->tends++;
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp)
		tend(p);
	env_timer_start(m->env, &m->tend, TEND_NS);
}

static void drop_foreign(struct matching *m)
{
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp)
		if (!partition_owned(m, p->queue, p->number))
			partition_drop(p);
}

static void on_members_changed(void *ctx)
{
	drop_foreign(ctx);
}

static void on_peer_down(void *ctx, const char *address)
{
	struct matching *m = ctx;
	struct gateway *g = NULL;
	HASH_FIND_STR(m->gateways, address, g);
	if (g) {
		log_debug(m->log, "a gateway is gone; its tasks go to others", log_str("address", address));
		gateway_drop(g);
	}
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp) {
		pull_lost(p, address);
		if (g) /* sticky queues end with their worker's connection */
			sticky_worker_gone(p);
	}
}

/* ------------------------------------------------------------------ life */

void matching_configure(struct matching *m, const struct matching_config *config)
{
	m->config = *config;
}

struct matching *matching_new(struct env *env, struct rpc *rpc, struct membership *membership, struct log *log,
			      const struct matching_config *config)
{
	struct matching *m = new0(struct matching);
	m->env = env;
	m->rpc = rpc;
	m->membership = membership;
	m->log = log;
	m->config = *config;
	/* Gateways may still report what an earlier process at our address handed out: not under our ids. */
	env_random(env, &m->next_hand_id, sizeof m->next_hand_id);
	m->tend.fn = on_tend;
	requests_serve(m);
	describe_serve(m);
	scale_serve(m);
	pull_serve(m);
	rpc_on_peer_down(rpc, on_peer_down, m);
	membership_on_change(membership, on_members_changed, m);
	env_timer_start(env, &m->tend, TEND_NS);
	return m;
}

void matching_drain(struct matching *m)
{
	m->draining = true;
	drop_foreign(m);
}

void matching_free(struct matching *m)
{
	if (!m)
		return;
	membership_off_change(m->membership, on_members_changed, m);
	env_timer_stop(m->env, &m->tend);
	struct partition *p, *ptmp;
	HASH_ITER (hh, m->partitions, p, ptmp)
		partition_drop(p);
	struct gateway *g, *gtmp;
	HASH_ITER (hh, m->gateways, g, gtmp)
		gateway_drop(g);
	free(m);
}

struct matching_counts matching_counts(const struct matching *m)
{
	return m->counts;
}

struct matching_polls matching_polls(const struct matching *m)
{
	struct matching_polls all = {0};
	for (const struct partition *p = m->partitions; p; p = p->hh.next) {
		const struct credit *c;
		DL_FOREACH2(p->credits, c, in_partition_next)
		all.idle += (uint64_t)max_i64(credit_available(c), 0);
		if (!p->credits && p->waiting_count > 0) {
			all.unpolled++;
			all.unpolled_tasks += p->waiting_count;
		}
		const struct sum waits = pull_sum(p).all;
		all.backlog += waits.count;
		if (waits.count && (!all.oldest_ns || waits.oldest_ns < all.oldest_ns))
			all.oldest_ns = waits.oldest_ns;
	}
	return all;
}

void matching_measure(struct matching *m, const struct matching_measures *measures)
{
	m->measures = *measures;
}
