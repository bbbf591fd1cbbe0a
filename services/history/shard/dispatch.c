/*
 * Handing tasks to matching. A task is derived from the run's state, so it can be offered again at any time; a second
 * taker hears "already started".
 *
 * Offers made by a transition wait in its batch and leave when the batch is committed. What matching has no room for
 * waits in the backlog until it asks (backlog.c). What it took and nobody started is offered again after a while; what
 * did not reach it, soon (lanes.c); everything of a partition, when that has a new owner.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/dispatch.h"

#define TEND_NS NS_PER_S

void dispatch_put(struct buf *b, const Perdure__QueuedTask *q)
{
	size_t len = perdure__queued_task__get_packed_size(q);
	buf_put_varint(b, 1 << 3 | 2);
	buf_put_varint(b, len);
	perdure__queued_task__pack(q, buf_reserve(b, len));
	b->len += len;
}

static void collect(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct batch *b = ctx;
	Perdure__QueuedTask q = PERDURE__QUEUED_TASK__INIT;
	Perdure__DispatchTask traced = *task;
	if (b->trace && b->trace->parent) {
		traced.traceparent = (char *)b->trace->parent;
		traced.trace_tasks = b->trace->tasks;
	}
	q.queue = (Perdure__QueueKey *)queue;
	q.task = &traced;
	dispatch_put(&b->offers, &q);
	b->offer_count++;
}

void dispatch_collect(struct cached_run *r, struct batch *b, const struct task_trace *trace)
{
	struct shard *s = r->wf->shard;
	b->trace = trace;
	if (run_open(r->run))
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect, b);
	b->trace = NULL;
}

/* ------------------------------------------------------------------ offering */

/* Behind those of its partition that wait here already. */
static bool queues_up(struct shard *s, struct task_queue *tq, const Perdure__QueuedTask *q)
{
	if (backlog_has(s, q->task))
		return true;
	if (q->queue->sticky || q->task->kind == PERDURE__TASK_KIND__TASK_KIND_QUERY ||
	    !tq->parts[queues_partition(tq, s)].parked)
		return false;
	backlog_park(s, tq, q->task);
	return true;
}

static void offer(struct shard *s, Perdure__QueuedTask *q)
{
	struct task_queue *tq = queues_get(s->h, q->queue);
	if (queues_up(s, tq, q))
		return;
	q->partition = queues_partition(tq, s);
	q->partitions = tq->count;
	q->partitions_version = tq->version;
	const char *owner = tq->parts[q->partition].owner;
	/* With no matching node now, it is offered again when one comes. */
	if (owner && !lanes_offer(s->h->dispatch, owner, q))
		backlog_park(s, tq, q->task);
}

void dispatch_offers(struct shard *s, struct bytes offers)
{
	struct bytes rest = offers, one;
	while (events_next(&rest, &one)) {
		Perdure__QueuedTask *q = perdure__queued_task__unpack(NULL, one.len, one.data);
		assert(q);
		offer(s, q);
		perdure__queued_task__free_unpacked(q, NULL);
	}
}

void dispatch_task(struct shard *s, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct batch b = {0};
	collect(&b, queue, task);
	dispatch_offers(s, buf_view(&b.offers));
	buf_done(&b.offers);
}

/* ------------------------------------------------------------------ without a transition */

/* Only what is committed may be offered; what is not will be offered by its batch. */
static bool may_offer(const struct cached_run *r)
{
	return r->seq <= r->wf->shard->last_seq;
}

void dispatch_due(struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	struct batch b = {0};
	if (may_offer(r))
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect, &b);
	dispatch_offers(s, buf_view(&b.offers));
	buf_done(&b.offers);
}

struct filter {
	struct shard *shard;
	struct batch batch;
	const struct task_queue *queue; /* NULL: those that moved */
};

static void collect_some(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct filter *f = ctx;
	const struct task_queue *q = queues_get(f->shard->h, queue);
	if (f->queue ? q == f->queue : q->moved)
		collect(&f->batch, queue, task);
}

static void offer_some(struct shard *s, const struct task_queue *queue)
{
	struct filter f = {.shard = s, .queue = queue};
	struct cached_run *r;
	DL_FOREACH2(s->unstarted, r, unstarted_next)
	{
		if (!may_offer(r) || backlog_covers(r))
			continue;
		core_offers_forget(r->run);
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect_some, &f);
	}
	dispatch_offers(s, buf_view(&f.batch.offers));
	buf_done(&f.batch.offers);
}

void dispatch_queue_again(struct history *h, const Perdure__QueueKey *queue)
{
	struct task_queue *q = queues_find(h, queue);
	if (!q)
		return;
	backlog_take_back(q, UINT32_MAX);
	for (uint32_t i = 0; i < h->config.shard_count; i++)
		if (shard_serving(h->shards[i]))
			offer_some(h->shards[i], q);
}

void dispatch_tend(struct shard *s)
{
	dispatch_again(s, s->h->config.offer_again_ns);
}

void dispatch_again(struct shard *s, int64_t age_ns)
{
	int64_t now = env_mono_ns(s->h->env);
	struct batch b = {0};
	struct cached_run *last = s->unstarted ? s->unstarted->unstarted_prev : NULL;
	for (struct cached_run *r = s->unstarted; r && now - r->offered_ns >= age_ns; r = s->unstarted) {
		if (may_offer(r) && !backlog_covers(r)) {
			core_offers_forget(r->run);
			core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect, &b);
		}
		r->offered_ns = now;
		DL_DELETE2(s->unstarted, r, unstarted_prev, unstarted_next);
		DL_APPEND2(s->unstarted, r, unstarted_prev, unstarted_next);
		if (r == last)
			break;
	}
	dispatch_offers(s, buf_view(&b.offers));
	buf_done(&b.offers);
}

/* ------------------------------------------------------------------ the node's part */

/* A matching node that went took its tasks along; one that came owns partitions that another held. */
void dispatch_members_changed(struct history *h)
{
	bool any = false;
	struct task_queue *q, *tmp;
	HASH_ITER (hh, h->dispatch->queues, q, tmp) {
		if (!queues_follow(q))
			continue;
		any = true;
		backlog_take_back(q, UINT32_MAX);
	}
	if (any)
		lanes_follow(h->dispatch);
	for (uint32_t i = 0; any && i < h->config.shard_count; i++)
		if (shard_serving(h->shards[i]))
			offer_some(h->shards[i], NULL);
}

static void on_tend(struct env_timer *t)
{
	struct dispatch *d = container_of(t, struct dispatch, tend);
	backlog_tend(d);
	queues_tend(d);
	lanes_tend(d);
	env_timer_start(d->h->env, &d->tend, TEND_NS);
}

struct dispatch *dispatch_new(struct history *h)
{
	struct dispatch *d = new0(struct dispatch);
	d->h = h;
	d->tend.fn = on_tend;
	env_timer_start(h->env, &d->tend, TEND_NS);
	backlog_serve(d);
	return d;
}

void dispatch_free(struct dispatch *d)
{
	struct task_queue *q, *tmp;
	env_timer_stop(d->h->env, &d->tend);
	env_undefer(d->h->env, &d->report);
	backlog_pull_free(d);
	lanes_free(d);
	HASH_ITER (hh, d->queues, q, tmp)
		queues_free(q);
	free(d);
}
