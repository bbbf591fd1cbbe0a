/*
 * Offers on their way to matching nodes, and what these answer.
 *
 * Each node has a lane: a couple of calls under way, the rest gathers for the next one, over all shards. So a node that
 * is behind gets few and large messages rather than more than it can read before they are stale; and when much gathers,
 * it stays in the backlog, from where that node pulls it as it can.
 *
 *     offered ──► lane ──► accepted
 *       ▲  │        ├────► refused ──► backlog
 *       │  └──────────── lane is full ────▲
 *       └── retry ◄─┴── not owner, or no answer
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/dispatch.h"

#define ADD_DEADLINE_NS (5 * NS_PER_S)
#define RETRY_MIN_NS	(100 * NS_PER_MS)
#define RETRY_MAX_NS	NS_PER_S
#define DOWN_MAX	8
#define CALLS_MAX	2	  /* under way, a lane */
#define CALL_BYTES_MAX	(1 << 18) /* some 1,000 tasks */
#define LANE_BYTES_MAX	(1 << 20)
#define UNUSED_NS	(60 * NS_PER_S)

struct lane {
	struct dispatch *d;
	struct buf tasks; /* perdure.AddTasks.tasks: what gathers */
	size_t from;	  /* what is before has left */
	int calls;
	int64_t retry_ns; /* how long after a call failed its tasks were offered again last; 0: all is well */
	int64_t used_ns;
	struct env_task flush;
	UT_hash_handle hh;
	char address[];
};

struct sending {
	struct lane *lane;
	Perdure__AddTasks *tasks;
};

/* Offers that didn't arrive, to be sent again soon. */
struct retry {
	struct dispatch *d;
	struct buf offers;
	struct env_timer timer;
	struct retry *prev, *next;
};

static void flush(struct lane *l);

static struct shard *shard_of_task(const struct dispatch *d, const Perdure__DispatchTask *task)
{
	assert(task->shard < d->h->config.shard_count);
	return d->h->shards[task->shard];
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
	return waits || (!run && backlog_has(s, task)); /* its run has left memory meanwhile */
}

/* Sticky tasks and queries don't wait long; they are offered again while they do. */
static bool may_park(const Perdure__QueuedTask *q)
{
	return !q->queue->sticky && q->task->kind != PERDURE__TASK_KIND__TASK_KIND_QUERY;
}

/* ------------------------------------------------------------------ again */

static void retry_free(struct retry *r)
{
	env_timer_stop(r->d->h->env, &r->timer);
	DL_DELETE(r->d->retries, r);
	buf_done(&r->offers);
	free(r);
}

static void on_retry(struct env_timer *t);

static struct retry *retry_new(struct dispatch *d, int64_t delay_ns)
{
	struct retry *r = new0(struct retry);
	r->d = d;
	r->timer.fn = on_retry;
	DL_APPEND(d->retries, r);
	env_timer_start(d->h->env, &r->timer, delay_ns);
	return r;
}

static void offer_again(struct dispatch *d, const Perdure__QueuedTask *q, struct retry **later)
{
	struct shard *s = shard_of_task(d, q->task);
	struct buf one = {0};
	if (s->state == SHARD_RECLAIMING) {
		if (!*later)
			*later = retry_new(d, RETRY_MIN_NS);
		dispatch_put(&(*later)->offers, q);
	} else if (s->state == SHARD_SERVING && backlog_has(s, q->task)) {
		backlog_park(s, queues_get(d->h, q->queue), q->task);
	} else if (s->state == SHARD_SERVING && still_waits(s, q->task)) {
		dispatch_put(&one, q);
		dispatch_offers(s, buf_view(&one));
		buf_done(&one);
	}
}

static void on_retry(struct env_timer *t)
{
	struct retry *r = container_of(t, struct retry, timer), *later = NULL;
	struct bytes rest = buf_view(&r->offers), one;
	while (events_next(&rest, &one)) {
		Perdure__QueuedTask *q = perdure__queued_task__unpack(NULL, one.len, one.data);
		assert(q);
		offer_again(r->d, q, &later);
		perdure__queued_task__free_unpacked(q, NULL);
	}
	retry_free(r);
}

/* ------------------------------------------------------------------ what matching answers */

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

/* False: it has to be offered again. */
static bool take_verdict(struct dispatch *d, const Perdure__QueuedTask *q, Perdure__AddTasksReply__Verdict verdict)
{
	struct shard *s = shard_of_task(d, q->task);
	switch (verdict) {
	case PERDURE__ADD_TASKS_REPLY__VERDICT__NO_STICKY_WORKER:
		if (s->state == SHARD_SERVING)
			sticky_gone(s, q->task);
		return true;
	case PERDURE__ADD_TASKS_REPLY__VERDICT__REFUSED_FULL:
		if (s->state == SHARD_SERVING && may_park(q) && still_waits(s, q->task))
			backlog_park(s, queues_get(d->h, q->queue), q->task);
		return true;
	case PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER:
		return false;
	case PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED:
	case _PERDURE__ADD_TASKS_REPLY__VERDICT_IS_INT_SIZE:
		return true;
	}
	return true;
}

/* reply NULL: nobody knows. What failed is offered again soon, but ever more slowly. */
static void take_verdicts(struct lane *l, const Perdure__AddTasks *tasks, const Perdure__AddTasksReply *reply)
{
	struct retry *retry = NULL;
	bool news = reply && take_news(l->d->h, reply);
	int64_t delay = min_i64(max_i64(2 * l->retry_ns, RETRY_MIN_NS), RETRY_MAX_NS);
	for (size_t i = 0; i < tasks->n_tasks; i++) {
		bool known = reply && i < reply->n_verdicts;
		if (known && take_verdict(l->d, tasks->tasks[i], reply->verdicts[i]))
			continue;
		if (!retry)
			retry = retry_new(l->d, news ? 0 : delay);
		dispatch_put(&retry->offers, tasks->tasks[i]);
	}
	l->retry_ns = retry ? delay : 0;
}

static void on_added(void *ctx, struct err e, struct bytes body)
{
	struct sending *g = ctx;
	struct lane *l = g->lane;
	Perdure__AddTasksReply *reply = NULL;
	if (!err_is(e))
		reply = perdure__add_tasks_reply__unpack(NULL, body.len, body.data);
	l->calls--;
	take_verdicts(l, g->tasks, reply);
	if (reply)
		perdure__add_tasks_reply__free_unpacked(reply, NULL);
	perdure__add_tasks__free_unpacked(g->tasks, NULL);
	free(g);
	flush(l);
}

/* ------------------------------------------------------------------ lanes */

/* As much as fits into one call. */
static struct bytes next_part(struct lane *l)
{
	struct bytes rest = bytes_of(l->tasks.data + l->from, l->tasks.len - l->from), one;
	const uint8_t *begin = rest.data;
	while (rest.len && (size_t)(rest.data - begin) < CALL_BYTES_MAX)
		(void)events_next(&rest, &one);
	l->from += (size_t)(rest.data - begin);
	return bytes_of(begin, (size_t)(rest.data - begin));
}

/* Why others, who should know, may see these tasks come to the wrong node. */
static struct buf doubted(struct history *h)
{
	struct buf b = {0};
	const char *down[DOWN_MAX];
	size_t n = membership_doubted(h->membership, MEMBER_MATCHING, down, DOWN_MAX);
	for (size_t i = 0; i < n; i++)
		buf_put_field(&b, 2, bytes_str(down[i]));
	return b;
}

static void call(struct lane *l, struct bytes tasks)
{
	struct history *h = l->d->h;
	struct sending *g = new0(struct sending);
	g->lane = l;
	g->tasks = perdure__add_tasks__unpack(NULL, tasks.len, tasks.data);
	assert(g->tasks);
	h->offers += g->tasks->n_tasks;
	struct buf down = doubted(h);
	struct bytes parts[] = {tasks, buf_view(&down)};
	struct rpc_call c = {
		.address = l->address,
		.method = RPC_MATCHING_ADD,
		.parts = parts,
		.part_count = array_len(parts),
		.deadline_ns = env_mono_ns(h->env) + ADD_DEADLINE_NS,
		.fn = on_added,
		.ctx = g,
	};
	l->calls++;
	rpc_call(h->rpc, &c);
	buf_done(&down);
}

static void flush(struct lane *l)
{
	while (l->calls < CALLS_MAX && l->from < l->tasks.len)
		call(l, next_part(l));
	if (l->from < l->tasks.len)
		return;
	l->from = l->tasks.len = 0;
	if (l->tasks.cap > CALL_BYTES_MAX)
		buf_done(&l->tasks);
}

static void on_flush(struct env_task *t)
{
	flush(container_of(t, struct lane, flush));
}

static struct lane *lane_get(struct dispatch *d, const char *address)
{
	struct lane *l = NULL;
	HASH_FIND_STR(d->lanes, address, l);
	if (l)
		return l;
	size_t len = strlen(address) + 1;
	l = mem_zalloc(sizeof *l + len);
	l->d = d;
	l->flush.fn = on_flush;
	memcpy(l->address, address, len);
	HASH_ADD_KEYPTR(hh, d->lanes, l->address, len - 1, l);
	return l;
}

bool lanes_offer(struct dispatch *d, const char *address, const Perdure__QueuedTask *q)
{
	struct lane *l = lane_get(d, address);
	if (l->tasks.len - l->from >= LANE_BYTES_MAX && may_park(q))
		return false;
	l->used_ns = env_mono_ns(d->h->env);
	dispatch_put(&l->tasks, q);
	env_defer(d->h->env, &l->flush);
	return true;
}

void lanes_follow(struct dispatch *d)
{
	struct lane *l, *tmp;
	HASH_ITER (hh, d->lanes, l, tmp) {
		if (l->from == l->tasks.len)
			continue;
		struct retry *r = retry_new(d, 0);
		buf_put(&r->offers, l->tasks.data + l->from, l->tasks.len - l->from);
		l->from = l->tasks.len = 0;
	}
}

static void lane_free(struct lane *l)
{
	env_undefer(l->d->h->env, &l->flush);
	HASH_DEL(l->d->lanes, l);
	buf_done(&l->tasks);
	free(l);
}

void lanes_tend(struct dispatch *d)
{
	int64_t now = env_mono_ns(d->h->env);
	struct lane *l, *tmp;
	HASH_ITER (hh, d->lanes, l, tmp)
		if (!l->calls && l->from == l->tasks.len && now - l->used_ns >= UNUSED_NS)
			lane_free(l);
}

void lanes_free(struct dispatch *d)
{
	struct lane *l, *tmp;
	HASH_ITER (hh, d->lanes, l, tmp)
		lane_free(l);
	while (d->retries)
		retry_free(d->retries);
}
