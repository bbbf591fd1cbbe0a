/*
 * The backlog: tasks that matching had no room for. They are offered when matching asks for them (PullTasks), best
 * first: by priority, then age. While some of a partition wait here, later ones queue behind them without being
 * offered.
 *
 *     refused ──► PARKED ──── pulled ────► GIVEN ──── started, timed out, … ──► gone
 *                    ▲                       │
 *                    └─ lost, or long ago ───┘
 *
 * An entry is what matching needs to know of the task, so its run may leave memory meanwhile. Entries go when their run
 * changes so that the task no longer waits (backlog_recheck), and with the shard.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/dispatch.h"

#define PRIORITY_DEFAULT 3
#define PAGE_COUNT_MAX	 2000

/* Of one queue, in one shard. */
struct shard_queue {
	struct shard *shard;
	struct task_queue *q;
	struct heap by_order, by_age; /* PARKED */
	struct parked *given;
	struct heap_node merge; /* while a page is made */
	UT_hash_handle hh;	/* shard->backlog by q */
};

struct parked {
	struct shard_queue *sq;
	struct parked_run *run;
	bool given;
	int64_t given_ns;	     /* monotonic */
	struct heap_node order, age; /* unless given */
	struct parked *prev, *next;  /* given: sq->given */
	struct parked *next_of_run;
	Perdure__TaskKind kind;
	int32_t priority;
	int64_t event_id, stamp, scheduled_ns;
	size_t len;
	uint8_t task[]; /* perdure.DispatchTask */
};

struct parked_run {
	struct parked *tasks;
	UT_hash_handle hh; /* shard->parked_runs by run_id */
	char run_id[];
};

static bool order_before(const struct heap_node *x, const struct heap_node *y)
{
	const struct parked *a = container_of(x, struct parked, order), *b = container_of(y, struct parked, order);
	return a->priority != b->priority ? a->priority < b->priority : a->scheduled_ns < b->scheduled_ns;
}

static bool age_before(const struct heap_node *x, const struct heap_node *y)
{
	return container_of(x, struct parked, age)->scheduled_ns < container_of(y, struct parked, age)->scheduled_ns;
}

static struct parked *first_of(const struct shard_queue *sq)
{
	struct heap_node *n = heap_min(&sq->by_order);
	return n ? container_of(n, struct parked, order) : NULL;
}

static bool queue_before(const struct heap_node *x, const struct heap_node *y)
{
	return order_before(&first_of(container_of(x, struct shard_queue, merge))->order,
			    &first_of(container_of(y, struct shard_queue, merge))->order);
}

static struct queue_part *part_of(const struct shard_queue *sq)
{
	return &sq->q->parts[queues_partition(sq->q, sq->shard)];
}

/* ------------------------------------------------------------------ entries */

static struct shard_queue *shard_queue_get(struct shard *s, struct task_queue *q)
{
	struct shard_queue *sq = NULL;
	HASH_FIND_PTR(s->backlog, &q, sq);
	if (sq)
		return sq;
	sq = new0(struct shard_queue);
	sq->shard = s;
	sq->q = q;
	heap_init(&sq->by_order, order_before);
	heap_init(&sq->by_age, age_before);
	HASH_ADD_PTR(s->backlog, q, sq);
	q->backlogs++;
	return sq;
}

static void shard_queue_put(struct shard_queue *sq)
{
	if (sq->by_order.len || sq->given)
		return;
	HASH_DEL(sq->shard->backlog, sq);
	sq->q->backlogs--;
	heap_done(&sq->by_order);
	heap_done(&sq->by_age);
	free(sq);
}

/* PARKED from here on: its owner hears of the first one at once. */
static void wait_here(struct parked *t)
{
	struct queue_part *p = part_of(t->sq);
	t->given = false;
	heap_insert(&t->sq->by_order, &t->order);
	heap_insert(&t->sq->by_age, &t->age);
	if (p->parked++)
		return;
	p->report = true;
	backlog_report_soon(t->sq->shard->h->dispatch);
}

static void stop_waiting(struct parked *t)
{
	heap_remove(&t->sq->by_order, &t->order);
	heap_remove(&t->sq->by_age, &t->age);
	part_of(t->sq)->parked--;
}

static void give(struct parked *t)
{
	stop_waiting(t);
	t->given = true;
	t->given_ns = env_mono_ns(t->sq->shard->h->env);
	DL_APPEND(t->sq->given, t);
}

static void take_back(struct parked *t)
{
	DL_DELETE(t->sq->given, t);
	wait_here(t);
}

static int64_t bytes_of_entry(const struct parked *t)
{
	return (int64_t)(sizeof *t + t->len + sizeof *t->run + 64);
}

static void parked_free(struct parked *t)
{
	struct shard_queue *sq = t->sq;
	struct parked_run *run = t->run;
	if (t->given)
		DL_DELETE(sq->given, t);
	else
		stop_waiting(t);
	sq->shard->h->dispatch->backlog_bytes -= bytes_of_entry(t);
	LL_DELETE2(run->tasks, t, next_of_run);
	free(t);
	if (!run->tasks) {
		HASH_DEL(sq->shard->parked_runs, run);
		free(run);
	}
	shard_queue_put(sq);
}

static struct parked_run *run_find(const struct shard *s, const char *run_id)
{
	struct parked_run *run = NULL;
	HASH_FIND_STR(s->parked_runs, run_id, run);
	return run;
}

static struct parked_run *run_get(struct shard *s, const char *run_id)
{
	struct parked_run *run = run_find(s, run_id);
	if (run)
		return run;
	size_t len = strlen(run_id) + 1;
	run = mem_zalloc(sizeof *run + len);
	memcpy(run->run_id, run_id, len);
	HASH_ADD_KEYPTR(hh, s->parked_runs, run->run_id, len - 1, run);
	return run;
}

static struct parked *find(const struct parked_run *run, Perdure__TaskKind kind, int64_t event_id, int64_t stamp)
{
	struct parked *t = run ? run->tasks : NULL;
	while (t && (t->kind != kind || t->event_id != event_id || t->stamp != stamp))
		t = t->next_of_run;
	return t;
}

bool backlog_has(const struct shard *s, const Perdure__DispatchTask *task)
{
	return s->parked_runs && find(run_find(s, task->run_id), task->kind, task->scheduled_event_id, task->stamp);
}

void backlog_park(struct shard *s, struct task_queue *q, const Perdure__DispatchTask *task)
{
	struct parked_run *run = run_get(s, task->run_id);
	struct parked *t = find(run, task->kind, task->scheduled_event_id, task->stamp);
	if (t) {
		if (t->given)
			take_back(t);
		return;
	}
	size_t len = perdure__dispatch_task__get_packed_size(task);
	t = mem_zalloc(sizeof *t + len);
	t->sq = shard_queue_get(s, q);
	t->run = run;
	t->kind = task->kind;
	t->event_id = task->scheduled_event_id;
	t->stamp = task->stamp;
	t->priority = task->priority_key > 0 ? task->priority_key : PRIORITY_DEFAULT;
	t->scheduled_ns = task->scheduled_time_ns;
	t->len = perdure__dispatch_task__pack(task, t->task);
	LL_PREPEND2(run->tasks, t, next_of_run);
	s->h->dispatch->backlog_bytes += bytes_of_entry(t);
	wait_here(t);
}

/* ------------------------------------------------------------------ runs change */

void backlog_recheck(const struct cached_run *r)
{
	struct parked_run *run = run_find(r->wf->shard, r->run->start->run_id);
	struct parked *next;
	for (struct parked *t = run ? run->tasks : NULL; t; t = next) {
		next = t->next_of_run;
		if (!core_task_waits(r->run, t->kind, t->event_id, t->stamp))
			parked_free(t);
	}
}

bool backlog_covers(const struct cached_run *r)
{
	const struct parked_run *run = run_find(r->wf->shard, r->run->start->run_id);
	const Perdure__WorkflowTask *w = r->run->exec->workflow_task;
	if (!run)
		return false;
	if (w && run_workflow_task_waits(w) &&
	    !find(run, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW, w->scheduled_event_id, w->stamp))
		return false;
	for (const struct run_activity *a = r->run->activities; a; a = a->hh.next) {
		const Perdure__ActivityInfo *i = a->info;
		if (core_task_waits(r->run, PERDURE__TASK_KIND__TASK_KIND_ACTIVITY, i->scheduled_event_id, i->stamp) &&
		    !find(run, PERDURE__TASK_KIND__TASK_KIND_ACTIVITY, i->scheduled_event_id, i->stamp))
			return false;
	}
	return true;
}

void backlog_forget(struct shard *s)
{
	struct parked_run *run, *tmp;
	HASH_ITER (hh, s->parked_runs, run, tmp) {
		size_t left = 0;
		struct parked *t;
		LL_FOREACH2(run->tasks, t, next_of_run)
		left++;
		while (left--) /* the last one takes the run along */
			parked_free(run->tasks);
	}
}

/* ------------------------------------------------------------------ queues change */

static struct shard_queue *of_shard(const struct task_queue *q, uint32_t shard)
{
	struct shard_queue *sq = NULL;
	HASH_FIND_PTR(q->h->shards[shard]->backlog, &q, sq);
	return sq;
}

void backlog_take_back(struct task_queue *q, uint32_t partition)
{
	for (uint32_t i = 0; q->backlogs && i < q->h->config.shard_count; i++) {
		struct shard_queue *sq = of_shard(q, i);
		if (!sq || (partition != UINT32_MAX && queues_partition(q, sq->shard) != partition))
			continue;
		while (sq->given)
			take_back(sq->given);
		part_of(sq)->report = true;
	}
	backlog_report_soon(q->h->dispatch);
}

void backlog_recount(struct task_queue *q)
{
	for (uint32_t i = 0; q->backlogs && i < q->h->config.shard_count; i++) {
		struct shard_queue *sq = of_shard(q, i);
		if (!sq || !sq->by_order.len)
			continue;
		part_of(sq)->parked += sq->by_order.len;
		part_of(sq)->report = true;
	}
	backlog_report_soon(q->h->dispatch);
}

/* ------------------------------------------------------------------ what matching is told */

static void sum_up(const struct task_queue *q, uint32_t partition, Perdure__QueueBacklog *ret)
{
	const struct parked *best = NULL;
	perdure__queue_backlog__init(ret);
	for (uint32_t i = partition; i < q->h->config.shard_count; i += q->count) {
		const struct shard_queue *sq = of_shard(q, i);
		const struct parked *first = sq ? first_of(sq) : NULL;
		if (!first)
			continue;
		int64_t oldest = container_of(heap_min(&sq->by_age), struct parked, age)->scheduled_ns;
		ret->count += (int64_t)sq->by_order.len;
		if (!ret->oldest_time_ns || oldest < ret->oldest_time_ns)
			ret->oldest_time_ns = oldest;
		if (!best || order_before(&first->order, &best->order))
			best = first;
	}
	if (best) {
		ret->next_priority = best->priority;
		ret->next_time_ns = best->scheduled_ns;
	}
}

/* One message an owner would save little: it is one a queue that is far behind, and second. */
static void report(const struct task_queue *q, uint32_t partition)
{
	struct history *h = q->h;
	Perdure__QueueBacklog b, *list[] = {&b};
	Perdure__Backlogs msg = PERDURE__BACKLOGS__INIT;
	sum_up(q, partition, &b);
	b.queue = q->queue;
	b.partition = partition;
	msg.queues = list;
	msg.n_queues = 1;
	struct buf out = {0};
	size_t len = perdure__backlogs__get_packed_size(&msg);
	out.len = perdure__backlogs__pack(&msg, buf_reserve(&out, len));
	rpc_send(h->rpc, q->parts[partition].owner, RPC_MATCHING_BACKLOG, buf_view(&out));
	buf_done(&out);
}

static void report_all(struct dispatch *d, bool again)
{
	for (struct task_queue *q = d->queues; q; q = q->hh.next) {
		for (uint32_t i = 0; i < q->count; i++) {
			struct queue_part *p = &q->parts[i];
			bool say = p->report || (again && (p->parked || p->report_none));
			if (!say || !p->owner)
				continue;
			p->report = false;
			p->report_none = p->parked > 0;
			report(q, i);
		}
	}
}

static void on_report(struct env_task *t)
{
	report_all(container_of(t, struct dispatch, report), false);
}

void backlog_report_soon(struct dispatch *d)
{
	d->report.fn = on_report;
	env_defer(d->h->env, &d->report);
}

/* What was given long ago and not started is offered again, as what was never refused is: it may have been lost. */
static void take_back_old(struct shard *s)
{
	int64_t before = env_mono_ns(s->h->env) - s->h->config.offer_again_ns;
	for (struct shard_queue *sq = s->backlog; sq; sq = sq->hh.next)
		while (sq->given && sq->given->given_ns <= before)
			take_back(sq->given);
}

void backlog_tend(struct dispatch *d)
{
	for (uint32_t i = 0; i < d->h->config.shard_count; i++)
		take_back_old(d->h->shards[i]);
	report_all(d, true);
}

/* ------------------------------------------------------------------ pages */

struct page {
	struct buf out; /* perdure.PullTasksReply */
	size_t count, count_max, bytes_max;
};

static void put_task(struct page *p, struct parked *t)
{
	buf_put_field(&p->out, 1, bytes_of(t->task, t->len));
	p->count++;
	give(t);
}

/* The shards' first ones are merged. */
static void make_page(const struct task_queue *q, uint32_t partition, struct page *p)
{
	struct heap queues;
	struct heap_node *n;
	heap_init(&queues, queue_before);
	for (uint32_t i = partition; i < q->h->config.shard_count; i += q->count) {
		struct shard_queue *sq = of_shard(q, i);
		if (sq && first_of(sq) && shard_serving(sq->shard))
			heap_insert(&queues, &sq->merge);
	}
	while ((n = heap_min(&queues)) && p->count < p->count_max && p->out.len < p->bytes_max) {
		struct shard_queue *sq = container_of(n, struct shard_queue, merge);
		heap_remove(&queues, n);
		put_task(p, first_of(sq));
		if (first_of(sq))
			heap_insert(&queues, &sq->merge);
	}
	heap_done(&queues);
}

static void serve_pull(void *ctx, struct rpc_request *req)
{
	struct dispatch *d = ctx;
	struct bytes body = rpc_body(req);
	Perdure__PullTasks *msg = perdure__pull_tasks__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	struct task_queue *q = msg && msg->queue ? queues_find(d->h, msg->queue) : NULL;
	struct page p = {0};
	if (q) {
		queues_learn(q, msg->partitions, msg->partitions_version);
		Perdure__QueueBacklog rest;
		if (msg->again)
			backlog_take_back(q, msg->partition);
		p.count_max = msg->count_max < PAGE_COUNT_MAX ? msg->count_max : PAGE_COUNT_MAX;
		p.bytes_max = msg->bytes_max;
		if (msg->partition < q->count) {
			make_page(q, msg->partition, &p);
			sum_up(q, msg->partition, &rest);
			size_t len = perdure__queue_backlog__get_packed_size(&rest);
			buf_put_varint(&p.out, 2 << 3 | 2);
			buf_put_varint(&p.out, len);
			perdure__queue_backlog__pack(&rest, buf_reserve(&p.out, len));
			p.out.len += len;
		}
	}
	struct bytes part = buf_view(&p.out);
	rpc_reply(req, &part, 1);
	buf_done(&p.out);
}

void backlog_serve(struct dispatch *d)
{
	rpc_serve(d->h->rpc, RPC_HISTORY_PULL, serve_pull, d);
}
