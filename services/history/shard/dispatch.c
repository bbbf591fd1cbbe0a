/*
 * Handing tasks to matching. A task is derived from the run's state, so it can be offered again at any time; a second
 * taker hears "already started".
 *
 * Offers made by a transition wait in its batch and leave when the batch is committed. What matching has no room for
 * waits in the backlog until it asks (backlog.c). What it took and nobody started is offered again after a while; what
 * did not reach it, at once; everything of a partition, when that has a new owner.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/dispatch.h"

#define ADD_DEADLINE_NS (5 * NS_PER_S)
#define RETRY_MIN_NS	(100 * NS_PER_MS)
#define RETRY_MAX_NS	NS_PER_S
#define TEND_NS		NS_PER_S
#define DOWN_MAX	8

static void put_queued(struct buf *b, const Perdure__QueuedTask *q)
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
	q.queue = (Perdure__QueueKey *)queue;
	q.task = (Perdure__DispatchTask *)task;
	put_queued(&b->offers, &q);
	b->offer_count++;
}

void dispatch_collect(struct cached_run *r, struct batch *b)
{
	struct shard *s = r->wf->shard;
	if (run_open(r->run))
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect, b);
}

/* ------------------------------------------------------------------ what matching answers */

struct sending {
	struct shard *shard;
	Perdure__AddTasks *tasks;
};

/* The worker of a sticky queue is gone: the task goes to the normal queue. */
static void sticky_gone(struct shard *s, const Perdure__DispatchTask *task)
{
	struct history *h = s->h;
	struct workflow *wf = workflow_get(s, task->namespace_id, task->workflow_id);
	struct cached_run *run = NULL;
	if (!workflow_find(wf, task->run_id, &run) || !run || !run_open(run->run)) {
		workflow_put(wf);
		return;
	}
	if (task->kind == PERDURE__TASK_KIND__TASK_KIND_QUERY) {
		query_sticky_gone(run, task->query_id);
		return;
	}
	const Perdure__WorkflowTask *wt = run->run->exec->workflow_task;
	if (!wt || wt->stamp != task->stamp || wt->started_event_id)
		return;
	struct txn t;
	arena_reset(h->scratch);
	transition_begin(&t, s, wf, run, h->scratch);
	core_sticky_lost(&t);
	transition_commit(&t, wf, run);
}

/* Whether it is still a task; queries end by their own deadline. */
static bool still_waits(struct shard *s, const Perdure__DispatchTask *task)
{
	if (task->kind == PERDURE__TASK_KIND__TASK_KIND_QUERY)
		return !task->expires_ns || task->expires_ns > env_wall_ns(s->h->env);
	struct workflow *wf = workflow_get(s, task->namespace_id, task->workflow_id);
	struct cached_run *run = workflow_run(wf, task->run_id);
	bool waits = run && core_task_waits(run->run, task->kind, task->scheduled_event_id, task->stamp);
	workflow_put(wf);
	return waits;
}

static void retry_free(struct retry *r)
{
	struct dispatch *d = r->dispatch;
	env_timer_stop(d->h->env, &r->timer);
	DL_DELETE(d->retries, r);
	buf_done(&r->offers);
	free(r);
}

static void on_retry(struct env_timer *t)
{
	struct retry *r = container_of(t, struct retry, timer);
	struct shard *s = r->shard;
	struct bytes rest = buf_view(&r->offers), one;
	struct buf offers = {0};
	if (s->state == SHARD_RECLAIMING) {
		env_timer_start(s->h->env, &r->timer, RETRY_MIN_NS);
		return;
	}
	while (s->state == SHARD_SERVING && events_next(&rest, &one)) {
		Perdure__QueuedTask *q = perdure__queued_task__unpack(NULL, one.len, one.data);
		assert(q);
		if (still_waits(s, q->task))
			put_queued(&offers, q);
		perdure__queued_task__free_unpacked(q, NULL);
	}
	retry_free(r);
	dispatch_offers(s, buf_view(&offers));
	buf_done(&offers);
}

/* Sooner than what waits for a worker, but ever more slowly. */
static struct retry *retry_new(struct shard *s, bool at_once)
{
	if (!at_once)
		s->offer_retry_ns = min_i64(max_i64(2 * s->offer_retry_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	struct retry *r = new0(struct retry);
	r->dispatch = s->h->dispatch;
	r->shard = s;
	r->timer.fn = on_retry;
	DL_APPEND(s->h->dispatch->retries, r);
	env_timer_start(s->h->env, &r->timer, at_once ? 0 : s->offer_retry_ns);
	return r;
}

static void refused(struct shard *s, const Perdure__QueuedTask *q)
{
	/* Sticky tasks and queries don't wait long; they are asked for again while they do. */
	if (!q->queue->sticky && q->task->kind != PERDURE__TASK_KIND__TASK_KIND_QUERY && still_waits(s, q->task))
		backlog_park(s, queues_get(s->h, q->queue), q->task);
}

/* Returns whether we knew too little about the queues. */
static bool take_news(struct history *h, const Perdure__AddTasksReply *reply)
{
	bool any = false;
	for (size_t i = 0; i < reply->n_queues; i++) {
		const Perdure__QueuePartitions *n = reply->queues[i];
		struct task_queue *q = n->queue ? queues_find(h, n->queue) : NULL;
		any = (q && queues_learn(q, n->count, n->version)) || any;
	}
	return any;
}

static void take_verdicts(struct shard *s, const Perdure__AddTasks *tasks, const Perdure__AddTasksReply *reply)
{
	struct retry *retry = NULL;
	bool news = reply && take_news(s->h, reply);
	for (size_t i = 0; i < tasks->n_tasks; i++) {
		const Perdure__QueuedTask *q = tasks->tasks[i];
		Perdure__AddTasksReply__Verdict v = reply && i < reply->n_verdicts
							    ? reply->verdicts[i]
							    : PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER;
		switch (v) {
		case PERDURE__ADD_TASKS_REPLY__VERDICT__NO_STICKY_WORKER:
			sticky_gone(s, q->task);
			break;
		case PERDURE__ADD_TASKS_REPLY__VERDICT__REFUSED_FULL:
			refused(s, q);
			break;
		case PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER:
			if (!retry)
				retry = retry_new(s, news);
			put_queued(&retry->offers, q);
			break;
		case PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED:
		case _PERDURE__ADD_TASKS_REPLY__VERDICT_IS_INT_SIZE:
			break;
		}
	}
	if (!retry)
		s->offer_retry_ns = 0;
}

static void on_added(void *ctx, struct err e, struct bytes body)
{
	struct sending *g = ctx;
	struct shard *s = g->shard;
	Perdure__AddTasksReply *reply = NULL;
	if (!err_is(e))
		reply = perdure__add_tasks_reply__unpack(NULL, body.len, body.data);
	if (s->state == SHARD_SERVING)
		take_verdicts(s, g->tasks, reply);
	if (reply)
		perdure__add_tasks_reply__free_unpacked(reply, NULL);
	perdure__add_tasks__free_unpacked(g->tasks, NULL);
	free(g);
}

/* ------------------------------------------------------------------ sending */

static void put_down(struct history *h, struct buf *tasks)
{
	const char *down[DOWN_MAX];
	size_t n = membership_doubted(h->membership, MEMBER_MATCHING, down, DOWN_MAX);
	for (size_t i = 0; i < n; i++)
		buf_put_field(tasks, 2, bytes_str(down[i]));
}

static void send_to(struct shard *s, const char *address, struct buf *tasks)
{
	struct history *h = s->h;
	put_down(h, tasks);
	struct bytes part = buf_view(tasks);
	struct sending *g = new0(struct sending);
	g->shard = s;
	g->tasks = perdure__add_tasks__unpack(NULL, part.len, part.data);
	assert(g->tasks);
	h->offers += g->tasks->n_tasks;
	struct rpc_call call = {
		.address = address,
		.method = RPC_MATCHING_ADD,
		.parts = &part,
		.part_count = 1,
		.deadline_ns = env_mono_ns(h->env) + ADD_DEADLINE_NS,
		.fn = on_added,
		.ctx = g,
	};
	rpc_call(h->rpc, &call);
}

struct target {
	char *address;
	struct buf tasks;
	struct target *next;
};

static struct target *target_for(struct target **targets, const char *address)
{
	struct target *t;
	LL_FOREACH (*targets, t)
		if (str_eq(t->address, address))
			return t;
	t = new0(struct target);
	t->address = mem_strdup(address);
	LL_PREPEND(*targets, t);
	return t;
}

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

static void offer(struct shard *s, Perdure__QueuedTask *q, struct target **targets)
{
	struct task_queue *tq = queues_get(s->h, q->queue);
	if (queues_up(s, tq, q))
		return;
	q->partition = queues_partition(tq, s);
	q->partitions = tq->count;
	q->partitions_version = tq->version;
	const char *owner = tq->parts[q->partition].owner;
	if (owner) /* with no matching node now, it is offered again when one comes */
		put_queued(&target_for(targets, owner)->tasks, q);
}

void dispatch_offers(struct shard *s, struct bytes offers)
{
	struct bytes rest = offers, one;
	struct target *targets = NULL, *t, *tmp;
	while (events_next(&rest, &one)) {
		Perdure__QueuedTask *q = perdure__queued_task__unpack(NULL, one.len, one.data);
		assert(q);
		offer(s, q, &targets);
		perdure__queued_task__free_unpacked(q, NULL);
	}
	LL_FOREACH_SAFE (targets, t, tmp) {
		send_to(s, t->address, &t->tasks);
		buf_done(&t->tasks);
		free(t->address);
		free(t);
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
	for (uint32_t i = 0; any && i < h->config.shard_count; i++)
		if (shard_serving(h->shards[i]))
			offer_some(h->shards[i], NULL);
}

static void on_tend(struct env_timer *t)
{
	struct dispatch *d = container_of(t, struct dispatch, tend);
	backlog_tend(d);
	queues_tend(d);
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
	while (d->retries)
		retry_free(d->retries);
	HASH_ITER (hh, d->queues, q, tmp)
		queues_free(q);
	free(d);
}
