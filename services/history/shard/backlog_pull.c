/*
 * The backlog, as matching sees it: how much there is of each partition, and the pages that it pulls: the best tasks of
 * all shards of the partition, merged. A page waits until it is known of every shard what comes next there.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/backlog.h"

#define PAGE_COUNT_MAX 2000
#define READ_MIN       32
#define READ_MAX       500

struct pull {
	struct dispatch *d;
	struct rpc_request *req;
	struct task_queue *q; /* held */
	uint32_t partition;
	size_t count_max, bytes_max;
	struct pull *prev, *next;
};

static struct shard_queue *serving(const struct task_queue *q, uint32_t shard)
{
	struct shard_queue *sq = backlog_queue_find(q, shard);
	return sq && shard_serving(sq->shard) ? sq : NULL;
}

/* ------------------------------------------------------------------ what matching is told */

/* The priority and time of what would be pulled next. */
static bool next_of(const struct shard_queue *sq, int32_t *ret_priority, int64_t *ret_ns)
{
	const struct backlog_task *first = backlog_first(sq);
	bool any = first != NULL;
	if (first) {
		*ret_priority = first->key.priority;
		*ret_ns = first->key.scheduled_ns;
	}
	for (int i = 0; sq->unread && i < BACKLOG_PRIORITIES; i++) {
		const struct backlog_sum *sum = &sq->sums[i];
		if (sum->rows <= sum->known)
			continue;
		if (!any || i < *ret_priority || (i == *ret_priority && sum->oldest_ns < *ret_ns)) {
			*ret_priority = i;
			*ret_ns = sum->oldest_ns;
		}
		return true;
	}
	return any;
}

/* What is said of one partition. */
struct summary {
	Perdure__QueueBacklog msg;
	Perdure__PriorityBacklog priorities[BACKLOG_PRIORITIES], *list[BACKLOG_PRIORITIES];
};

static void add_priorities(const struct shard_queue *sq, struct summary *u)
{
	Perdure__QueueBacklog *b = &u->msg;
	for (int i = 0; i < BACKLOG_PRIORITIES; i++) {
		Perdure__PriorityBacklog *p = &u->priorities[i];
		int64_t oldest, count = backlog_waiting_of(sq, i, &oldest);
		p->count += count;
		p->again += min_i64(sq->again[i], count);
		if (oldest && (!p->oldest_time_ns || oldest < p->oldest_time_ns))
			p->oldest_time_ns = oldest;
		if (oldest && (!b->oldest_time_ns || oldest < b->oldest_time_ns))
			b->oldest_time_ns = oldest;
	}
}

static void add_shard(const struct shard_queue *sq, struct summary *u, bool *any)
{
	Perdure__QueueBacklog *b = &u->msg;
	int64_t next_ns = 0;
	int32_t priority = 0;
	add_priorities(sq, u);
	if (!next_of(sq, &priority, &next_ns))
		return;
	if (!*any || priority < b->next_priority || (priority == b->next_priority && next_ns < b->next_time_ns)) {
		b->next_priority = priority;
		b->next_time_ns = next_ns;
	}
	*any = true;
}

static void sum_up(const struct task_queue *q, uint32_t partition, struct summary *ret)
{
	bool any = false;
	perdure__queue_backlog__init(&ret->msg);
	ret->msg.priorities = ret->list;
	for (int i = 0; i < BACKLOG_PRIORITIES; i++) {
		perdure__priority_backlog__init(&ret->priorities[i]);
		ret->priorities[i].priority = i;
	}
	for (uint32_t i = partition; i < q->h->config.shard_count; i += q->count) {
		const struct shard_queue *sq = serving(q, i);
		int64_t count = sq ? backlog_waiting(sq) : 0;
		ret->msg.count += count;
		if (count)
			add_shard(sq, ret, &any);
	}
	for (int i = 0; i < BACKLOG_PRIORITIES; i++)
		if (ret->priorities[i].count)
			ret->list[ret->msg.n_priorities++] = &ret->priorities[i];
}

/* One message an owner would save little: it is one a queue that is far behind, and second. */
static void report(const struct task_queue *q, uint32_t partition)
{
	struct history *h = q->h;
	struct summary sum;
	Perdure__Backlogs msg = PERDURE__BACKLOGS__INIT;
	sum_up(q, partition, &sum);
	sum.msg.queue = q->queue;
	sum.msg.partition = partition;
	msg.queues = (Perdure__QueueBacklog *[]){&sum.msg};
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
static void take_back_old(struct shard_queue *sq)
{
	int64_t before = env_mono_ns(sq->shard->h->env) - sq->shard->h->config.offer_again_ns;
	sq->tasks++; /* held */
	while (sq->given && sq->given->given_ns <= before) {
		backlog_again(sq, sq->given->key.priority, 1);
		backlog_take_back_task(sq->given);
	}
	sq->tasks--;
}

void backlog_tend(struct dispatch *d)
{
	for (uint32_t i = 0; i < d->h->config.shard_count; i++) {
		struct shard_queue *sq, *tmp;
		if (!shard_serving(d->h->shards[i]))
			continue;
		HASH_ITER (hh, d->h->shards[i]->backlog, sq, tmp) {
			take_back_old(sq);
			backlog_rows_tend(sq);
		}
	}
	report_all(d, true);
}

/* ------------------------------------------------------------------ pages */

struct page {
	struct buf out; /* perdure.PullTasksReply */
	size_t count;
};

static bool queue_before(const struct heap_node *x, const struct heap_node *y)
{
	return backlog_key_order(&backlog_first(container_of(x, struct shard_queue, merge))->key,
				 &backlog_first(container_of(y, struct shard_queue, merge))->key) < 0;
}

static void put_task(struct page *p, struct backlog_task *t)
{
	Perdure__DispatchTask msg = PERDURE__DISPATCH_TASK__INIT;
	const Perdure__QueueKey *queue = t->sq->q->queue;
	msg.kind = queue->pollers;
	msg.namespace_id = queue->namespace_id;
	msg.workflow_id = (char *)t->run->workflow_id;
	msg.run_id = t->run->run_id;
	msg.scheduled_event_id = t->key.event_id;
	msg.stamp = t->key.stamp;
	msg.attempt = t->attempt;
	msg.shard = t->sq->shard->id;
	msg.priority_key = t->key.priority;
	msg.fairness_key = t->text;
	msg.fairness_weight = t->weight;
	msg.scheduled_time_ns = t->key.scheduled_ns;
	msg.expires_ns = t->expires_ns;
	msg.traceparent = (char *)t->traceparent;
	msg.trace_tasks = t->trace_tasks;
	size_t len = perdure__dispatch_task__get_packed_size(&msg);
	buf_put_varint(&p->out, 1 << 3 | 2);
	buf_put_varint(&p->out, len);
	perdure__dispatch_task__pack(&msg, buf_reserve(&p->out, len));
	p->out.len += len;
	p->count++;
	backlog_give(t);
}

/* The shards' first ones are merged, until the page is full or it is not known what comes next in one of them. */
static void make_page(const struct pull *w, struct page *p)
{
	const struct task_queue *q = w->q;
	struct heap queues;
	struct heap_node *n;
	heap_init(&queues, queue_before);
	for (uint32_t i = w->partition; i < q->h->config.shard_count; i += q->count) {
		struct shard_queue *sq = serving(q, i);
		if (sq && backlog_first(sq))
			heap_insert(&queues, &sq->merge);
	}
	while ((n = heap_min(&queues)) && p->count < w->count_max && p->out.len < w->bytes_max) {
		struct shard_queue *sq = container_of(n, struct shard_queue, merge);
		heap_remove(&queues, n);
		put_task(p, backlog_first(sq));
		if (backlog_blocked(sq))
			break;
		if (backlog_first(sq))
			heap_insert(&queues, &sq->merge);
	}
	heap_done(&queues);
}

static void pull_free(struct pull *w)
{
	DL_DELETE(w->d->pulls, w);
	w->q->holds--;
	free(w);
}

static void pull_fail(struct pull *w, struct err e)
{
	rpc_reply_err(w->req, e);
	pull_free(w);
}

static void answer(struct pull *w, const struct page *p)
{
	struct buf out = {0};
	struct summary rest;
	sum_up(w->q, w->partition, &rest);
	size_t len = perdure__queue_backlog__get_packed_size(&rest.msg);
	buf_put_varint(&out, 2 << 3 | 2);
	buf_put_varint(&out, len);
	perdure__queue_backlog__pack(&rest.msg, buf_reserve(&out, len));
	out.len += len;
	struct bytes parts[] = {buf_view(&p->out), buf_view(&out)};
	rpc_reply(w->req, parts, array_len(parts));
	buf_done(&out);
	pull_free(w);
}

/* Returns whether nothing is missing; reads what is. */
static bool ready(const struct pull *w)
{
	const struct task_queue *q = w->q;
	size_t deep = 0;
	for (uint32_t i = w->partition; i < q->h->config.shard_count; i += q->count) {
		const struct shard_queue *sq = serving(q, i);
		deep += sq && sq->unread;
	}
	bool all = true;
	for (uint32_t i = w->partition; deep && i < q->h->config.shard_count; i += q->count) {
		struct shard_queue *sq = serving(q, i);
		if (!sq || !backlog_blocked(sq))
			continue;
		size_t share = 2 * w->count_max / deep;
		backlog_read(sq, share < READ_MIN ? READ_MIN : share > READ_MAX ? READ_MAX : share);
		all = false;
	}
	return all;
}

static void step(struct pull *w)
{
	struct page p = {0};
	if (rpc_cancelled(w->req)) { /* whoever asked is not there any more */
		pull_fail(w, err_static(ERR_CANCELLED, "cancelled"));
		return;
	}
	if (w->partition < w->q->count) {
		if (!ready(w))
			return;
		make_page(w, &p);
	}
	answer(w, &p);
	buf_done(&p.out);
}

static void on_step(struct env_task *t)
{
	struct dispatch *d = container_of(t, struct dispatch, pull);
	struct pull *w, *tmp;
	DL_FOREACH_SAFE (d->pulls, w, tmp)
		step(w);
}

void backlog_pull_again(struct dispatch *d)
{
	if (!d->pulls)
		return;
	d->pull.fn = on_step;
	env_defer(d->h->env, &d->pull);
}

void backlog_pull_failed(struct dispatch *d, const struct task_queue *q)
{
	struct pull *w, *tmp;
	DL_FOREACH_SAFE (d->pulls, w, tmp)
		if (w->q == q)
			pull_fail(w, err_static(ERR_UNAVAILABLE, "the backlog cannot be read now"));
}

static void serve_pull(void *ctx, struct rpc_request *req)
{
	struct dispatch *d = ctx;
	struct bytes body = rpc_body(req);
	Perdure__PullTasks *msg = perdure__pull_tasks__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	struct task_queue *q = msg && msg->queue ? queues_find(d->h, msg->queue) : NULL;
	if (!q) {
		rpc_reply(req, NULL, 0);
		return;
	}
	queues_learn(q, msg->partitions, msg->partitions_version);
	if (msg->again)
		backlog_take_back(q, msg->partition);
	struct pull *w = new0(struct pull);
	*w = (struct pull){.d = d, .req = req, .q = q, .partition = msg->partition};
	w->count_max = msg->count_max < PAGE_COUNT_MAX ? msg->count_max : PAGE_COUNT_MAX;
	w->bytes_max = msg->bytes_max;
	q->holds++;
	DL_APPEND(d->pulls, w);
	step(w);
}

void backlog_serve(struct dispatch *d)
{
	rpc_serve(d->h->rpc, RPC_HISTORY_PULL, serve_pull, d);
}

void backlog_pull_free(struct dispatch *d)
{
	env_undefer(d->h->env, &d->pull);
	while (d->pulls)
		pull_fail(d->pulls, err_static(ERR_UNAVAILABLE, "shutting down"));
}
