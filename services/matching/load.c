/*
 * How busy this node is: the share of the time in which its loop had something to do. A node that gets
 * little of its processor, or has a slow one, is busy with few tasks.
 */
#include "services/matching/internal.h"

/* Looked at this often, and averaged over so long. */
#define LOOK_NS	   NS_PER_S
#define AVERAGE_NS (5 * NS_PER_S)
/* Partitions that are less than this of what a node hands out don't make it busy. */
#define PART_MIN 0.1

void load_tend(struct matching *m)
{
	struct load *l = &m->load;
	if (!l->waited_ns)
		return;
	int64_t now = env_mono_ns(m->env), elapsed = now - l->looked_ns;
	if (elapsed < LOOK_NS)
		return;
	int64_t waited = l->waited_ns(l->ctx);
	double seconds = (double)elapsed / NS_PER_S;
	double busy = 1 - (double)(waited - l->seen_waited_ns) / (double)elapsed;
	double rate = (double)(m->counts.handed_total - l->seen_handed) / seconds;
	double weight = elapsed >= AVERAGE_NS ? 1 : (double)elapsed / AVERAGE_NS;
	l->busy += (busy - l->busy) * weight;
	l->rate += (rate - l->rate) * weight;
	l->looked_ns = now;
	l->seen_waited_ns = waited;
	l->seen_handed = m->counts.handed_total;
}

double load_of(struct partition *p)
{
	double add, hand;
	rate_look(p, &add, &hand);
	return hand < p->m->load.rate * PART_MIN ? 0 : p->m->load.busy;
}

void matching_watch_load(struct matching *m, int64_t (*waited_ns)(void *ctx), void *ctx)
{
	m->load = (struct load){
		.waited_ns = waited_ns,
		.ctx = ctx,
		.looked_ns = env_mono_ns(m->env),
		.seen_waited_ns = waited_ns(ctx),
		.seen_handed = m->counts.handed_total,
	};
}
