/*
 * Handing tasks to matching. A task is derived from the run's state, so it can be offered again at any time; a second
 * taker hears "already started".
 *
 * Offers made by a transition wait in its batch and leave when the batch is committed. Unstarted tasks are offered
 * again after a while, when matching asks (it refused them, or lost them), and all of them when a matching node went.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "common/membership/placement.h"
#include "services/history/history.h"

#define ADD_DEADLINE_NS	   (5 * NS_PER_S)
#define OFFER_RETRY_MIN_NS (500 * NS_PER_MS)

static void collect(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct batch *b = ctx;
	Perdure__QueuedTask q = PERDURE__QUEUED_TASK__INIT;
	q.queue = (Perdure__QueueKey *)queue;
	q.task = (Perdure__DispatchTask *)task;
	size_t len = perdure__queued_task__get_packed_size(&q);
	buf_put_varint(&b->offers, 1 << 3 | 2);
	buf_put_varint(&b->offers, len);
	perdure__queued_task__pack(&q, buf_reserve(&b->offers, len));
	b->offers.len += len;
	b->offer_count++;
}

void dispatch_collect(struct cached_run *r, struct batch *b)
{
	struct shard *s = r->wf->shard;
	if (run_open(r->run))
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect, b);
}

/* ------------------------------------------------------------------ sending */

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

/* Matching does not have it: it is offered again sooner than what waits for a worker, but ever more slowly. */
static void offer_failed(struct shard *s)
{
	if (s->offer_failed_ns)
		return;
	s->offer_failed_ns = env_mono_ns(s->h->env);
	s->offer_retry_ns = min_i64(max_i64(2 * s->offer_retry_ns, OFFER_RETRY_MIN_NS), s->h->config.offer_again_ns);
}

/* reply NULL: nobody knows. */
static void take_verdicts(struct shard *s, const Perdure__AddTasks *tasks, const Perdure__AddTasksReply *reply)
{
	bool failed = !reply;
	for (size_t i = 0; reply && i < reply->n_verdicts && i < tasks->n_tasks; i++) {
		if (reply->verdicts[i] == PERDURE__ADD_TASKS_REPLY__VERDICT__NO_STICKY_WORKER)
			sticky_gone(s, tasks->tasks[i]->task);
		failed = failed || reply->verdicts[i] == PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER;
	}
	if (failed)
		offer_failed(s);
	else if (!s->offer_failed_ns)
		s->offer_retry_ns = 0;
}

static void on_added(void *ctx, struct err e, struct bytes body)
{
	struct sending *g = ctx;
	struct shard *s = g->shard;
	Perdure__AddTasksReply *reply = err_is(e) ? NULL : perdure__add_tasks_reply__unpack(NULL, body.len, body.data);
	if (s->state == SHARD_SERVING)
		take_verdicts(s, g->tasks, reply);
	if (reply)
		perdure__add_tasks_reply__free_unpacked(reply, NULL);
	perdure__add_tasks__free_unpacked(g->tasks, NULL);
	free(g);
}

static void send_to(struct shard *s, const char *address, struct bytes tasks)
{
	struct history *h = s->h;
	struct sending *g = new0(struct sending);
	g->shard = s;
	g->tasks = perdure__add_tasks__unpack(NULL, tasks.len, tasks.data);
	assert(g->tasks);
	h->offers += g->tasks->n_tasks;
	struct rpc_call call = {
		.address = address,
		.method = RPC_MATCHING_ADD,
		.parts = &tasks,
		.part_count = 1,
		.deadline_ns = env_mono_ns(h->env) + ADD_DEADLINE_NS,
		.fn = on_added,
		.ctx = g,
	};
	rpc_call(h->rpc, &call);
}

static const char *owner_of(struct history *h, const Perdure__QueueKey *q, uint32_t partition)
{
	uint64_t key = placement_queue(q->namespace_id, q->name, q->pollers, q->sticky, partition);
	const struct member *n = membership_owner(h->membership, MEMBER_MATCHING, key);
	return n ? n->address : NULL;
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

void dispatch_offers(struct shard *s, struct bytes offers)
{
	struct bytes rest = offers, one;
	struct target *targets = NULL, *t, *tmp;
	while (events_next(&rest, &one)) {
		Perdure__QueuedTask *q = perdure__queued_task__unpack(NULL, one.len, one.data);
		assert(q);
		const char *address = owner_of(s->h, q->queue, q->partition);
		perdure__queued_task__free_unpacked(q, NULL);
		if (address) /* with no matching node now, it is offered again when one comes */
			buf_put_field(&target_for(&targets, address)->tasks, 1, one);
	}
	LL_FOREACH_SAFE (targets, t, tmp) {
		send_to(s, t->address, buf_view(&t->tasks));
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
	struct batch batch;
	const Perdure__QueueKey *queue;
};

static void collect_queue(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct filter *f = ctx;
	if (queue->pollers == f->queue->pollers && queue->sticky == f->queue->sticky &&
	    str_eq(queue->name, f->queue->name) && str_eq(queue->namespace_id, f->queue->namespace_id))
		collect(&f->batch, queue, task);
}

void dispatch_queue_again(struct shard *s, const Perdure__QueueKey *queue)
{
	struct filter f = {.queue = queue};
	struct cached_run *r;
	DL_FOREACH2(s->unstarted, r, unstarted_next)
	{
		if (!may_offer(r))
			continue;
		core_offers_forget(r->run);
		core_offers(r->run, env_wall_ns(s->h->env), s->id, true, collect_queue, &f);
	}
	dispatch_offers(s, buf_view(&f.batch.offers));
	buf_done(&f.batch.offers);
}

void dispatch_tend(struct shard *s)
{
	int64_t failed = s->offer_failed_ns, now = env_mono_ns(s->h->env);
	if (!failed || now - failed < s->offer_retry_ns) {
		dispatch_again(s, s->h->config.offer_again_ns);
		return;
	}
	s->offer_failed_ns = 0;
	dispatch_again(s, now - failed); /* all that was offered before it failed */
}

void dispatch_again(struct shard *s, int64_t age_ns)
{
	int64_t now = env_mono_ns(s->h->env);
	struct batch b = {0};
	struct cached_run *last = s->unstarted ? s->unstarted->unstarted_prev : NULL;
	for (struct cached_run *r = s->unstarted; r && now - r->offered_ns >= age_ns; r = s->unstarted) {
		if (may_offer(r)) {
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
