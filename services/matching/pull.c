/*
 * What waits in history because it was refused here, and how it comes: pulled, a page at a time, from the node that has
 * the best task next. So a deep backlog drains in order through a bounded memory.
 *
 * History says how much it keeps (Backlogs): when it comes to keep some, to each new owner of the partition, and once a
 * second. A pull whose answer was lost is followed by one that asks for the same again.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

#define PAGE_TASKS	 1000
#define PULL_DEADLINE_NS (5 * NS_PER_S)
/* What a source said is believed for so long. */
#define SOURCE_NS (5 * NS_PER_S)
/* A task takes this many times its encoding. */
#define TASK_OVERHEAD 4
/* Of a partition's memory, one in so many is always there for tasks of a better priority than all that wait. */
#define BETTER_SHARE 16

static struct source *source_find(const struct partition *p, const char *address)
{
	struct source *s;
	DL_FOREACH (p->sources, s)
		if (str_eq(s->address, address))
			return s;
	return NULL;
}

static void source_free(struct source *s)
{
	DL_DELETE(s->partition->sources, s);
	free(s->address);
	free(s);
}

static struct source *source_get(struct partition *p, const char *address)
{
	struct source *s = source_find(p, address);
	if (s)
		return s;
	s = new0(struct source);
	s->partition = p;
	s->address = mem_strdup(address);
	DL_APPEND(p->sources, s);
	return s;
}

static int counted_as(int32_t priority)
{
	return priority < 0 ? 0 : priority >= PRIORITIES ? PRIORITIES - 1 : priority;
}

static void add(struct sum *to, struct sum s)
{
	to->count += s.count;
	if (s.oldest_ns && (!to->oldest_ns || s.oldest_ns < to->oldest_ns))
		to->oldest_ns = s.oldest_ns;
}

/* A program that doesn't say them yet names the best one. */
static void take_priorities(struct source *s, const Perdure__QueueBacklog *b)
{
	memset(s->of, 0, sizeof s->of);
	memset(s->twice, 0, sizeof s->twice);
	for (size_t i = 0; i < b->n_priorities; i++) {
		const Perdure__PriorityBacklog *p = b->priorities[i];
		add(&s->of[counted_as(p->priority)], (struct sum){p->count, p->oldest_time_ns});
		s->twice[counted_as(p->priority)] += p->again;
	}
	if (!b->n_priorities)
		s->of[counted_as(b->next_priority)] = (struct sum){b->count, b->oldest_time_ns};
}

static void source_set(struct source *s, const Perdure__QueueBacklog *b)
{
	take_priorities(s, b);
	s->count = b->count;
	s->oldest_ns = b->oldest_time_ns;
	s->next_priority = b->next_priority;
	s->next_ns = b->next_time_ns;
	s->heard_ns = env_mono_ns(s->partition->m->env);
}

/* ------------------------------------------------------------------ pulling */

static bool better(const struct source *a, const struct source *b)
{
	return a->next_priority != b->next_priority ? a->next_priority < b->next_priority : a->next_ns < b->next_ns;
}

static struct source *best_source(const struct partition *p)
{
	struct source *s, *best = NULL;
	DL_FOREACH (p->sources, s)
		if (s->count > 0 && (!best || better(s, best)))
			best = s;
	return best;
}

static void take_page(struct partition *p, struct source *s, const Perdure__PullTasksReply *r)
{
	for (size_t i = 0; i < r->n_tasks; i++)
		partition_put(p, r->tasks[i]);
	p->m->counts.pulled += r->n_tasks;
	if (!s)
		return;
	s->again = false;
	if (r->rest)
		source_set(s, r->rest);
	if (!r->rest || !r->n_tasks) /* what it gave none of it says again with its next report */
		s->count = 0;
}

static void on_page(void *ctx, struct err e, struct bytes body)
{
	struct partition *p = ctx;
	struct source *s = source_find(p, p->pull_from);
	p->pull = NULL;
	Perdure__PullTasksReply *r = NULL;
	struct arena *a = arena_new(SIZE_MAX);
	if (!err_is(e))
		r = perdure__pull_tasks_reply__unpack(arena_pb(a), body.len, body.data);
	if (r) {
		take_page(p, s, r);
	} else if (s) {
		s->again = true;
		s->count = 0; /* asked again with the next tending */
	}
	arena_free(a);
	partition_match(p);
}

static void ask(struct partition *p, struct source *s)
{
	struct matching *m = p->m;
	Perdure__PullTasks msg = PERDURE__PULL_TASKS__INIT;
	free(p->pull_from);
	p->pull_from = mem_strdup(s->address);
	msg.queue = p->queue;
	msg.partition = p->number;
	msg.partitions = p->count;
	msg.partitions_version = p->version;
	msg.count_max = PAGE_TASKS;
	int64_t max = partition_bytes_max(p);
	msg.bytes_max = (uint32_t)(max_i64(max - p->bytes, max / BETTER_SHARE) / TASK_OVERHEAD);
	msg.again = s->again;
	struct bytes part = matching_pack(&msg.base);
	struct rpc_call call = {
		.address = p->pull_from,
		.method = RPC_HISTORY_PULL,
		.parts = &part,
		.part_count = 1,
		.deadline_ns = env_mono_ns(m->env) + PULL_DEADLINE_NS,
		.fn = on_page,
		.ctx = p,
	};
	p->pull = rpc_call(m->rpc, &call);
	free((void *)part.data);
}

/* It has some of a better priority than all that wait here. At most once a priority until what came is handed out. */
static bool overtakes(const struct partition *p, const struct source *s)
{
	const struct heap_node *n = heap_min(&p->waiting);
	return p->credits && n && s->next_priority < partition_priority(container_of(n, struct task, order)->msg);
}

void pull_more(struct partition *p)
{
	if (!p->sources || p->pull || partition_closing(p) || p->m->draining)
		return;
	int64_t max = partition_bytes_max(p);
	bool room = p->bytes <= max / 2 && partition_has_room(p, max / 4);
	struct source *s = best_source(p);
	if (s && (room || overtakes(p, s)))
		ask(p, s);
}

struct sums pull_sum(const struct partition *p)
{
	struct sums all = {0};
	for (size_t i = 0; i < p->waiting.len; i++) {
		const Perdure__DispatchTask *t = container_of(p->waiting.nodes[i], struct task, order)->msg;
		add(&all.of[counted_as(partition_priority(t))], (struct sum){1, t->scheduled_time_ns});
	}
	for (int i = 0; i < PRIORITIES; i++) {
		int64_t here = all.of[i].count, twice = 0;
		const struct source *s;
		DL_FOREACH (p->sources, s) {
			add(&all.of[i], s->count > 0 ? s->of[i] : (struct sum){0});
			twice += s->count > 0 ? s->twice[i] : 0;
		}
		all.of[i].count -= min_i64(twice, here);
		add(&all.all, all.of[i]);
	}
	return all;
}

/* ------------------------------------------------------------------ what history says */

static void on_backlogs(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__Backlogs *msg = perdure__backlogs__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	for (size_t i = 0; msg && i < msg->n_queues; i++) {
		const Perdure__QueueBacklog *b = msg->queues[i];
		if (!b->queue || b->partition >= m->config.partitions_max ||
		    !partition_owned(m, b->queue, b->partition))
			continue;
		struct partition *p = partition_get(m, b->queue, b->partition);
		source_set(source_get(p, rpc_from(req)), b);
		pull_more(p);
	}
	rpc_reply(req, NULL, 0);
}

void pull_tend(struct partition *p)
{
	int64_t now = env_mono_ns(p->m->env);
	struct source *s, *tmp;
	DL_FOREACH_SAFE (p->sources, s, tmp) {
		if (now - s->heard_ns >= SOURCE_NS)
			source_free(s);
		else if (s->again)
			s->count = max_i64(s->count, 1);
	}
	pull_more(p);
}

void pull_lost(struct partition *p, const char *address)
{
	struct source *s = source_find(p, address);
	if (s)
		s->count = 0;
}

void pull_serve(struct matching *m)
{
	rpc_serve(m->rpc, RPC_MATCHING_BACKLOG, on_backlogs, m);
}

void pull_free(struct partition *p)
{
	/* What history gives away meanwhile it offers to the partition's next owner. */
	if (p->pull)
		rpc_cancel(p->pull);
	free(p->pull_from);
	while (p->sources)
		source_free(p->sources);
}
