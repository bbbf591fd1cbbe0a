/*
 * What history and the gateways say: tasks, credits, and what became of tasks.
 */
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

/* Others found a matching node out of reach: we look at it too, and meanwhile take what was its. */
static void hear_of_lost(struct matching *m, char *const *addresses, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!str_eq(addresses[i], rpc_address(m->rpc)))
			membership_down(m->membership, addresses[i]);
}

/* ------------------------------------------------------------------ from history */

static Perdure__AddTasksReply__Verdict add_one(struct matching *m, const Perdure__QueuedTask *q,
					       struct partition **ret_partition)
{
	*ret_partition = NULL;
	if (!q->queue || !q->task || q->partition >= m->config.partitions_max ||
	    !partition_owned(m, q->queue, q->partition))
		return PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER;
	struct partition *p = partition_find(m, q->queue, q->partition);
	if (q->queue->sticky && (!p || !p->credits))
		return PERDURE__ADD_TASKS_REPLY__VERDICT__NO_STICKY_WORKER;
	if (!p)
		p = partition_get(m, q->queue, q->partition);
	*ret_partition = p;
	scale_learn(p, q->partitions, q->partitions_version);
	if (partition_closing(p))
		return PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER;
	bool empty = p->waiting_count == 0;
	Perdure__AddTasksReply__Verdict v = partition_add(p, q->task);
	partition_match(p);
	m->counts.matched_at_once += empty && p->waiting_count == 0 && v == PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED;
	return v;
}

/* Once a queue. */
static void add_news(Perdure__AddTasksReply *reply, const struct partition *p, struct arena *arena)
{
	for (size_t i = 0; i < reply->n_queues; i++)
		if (reply->queues[i]->queue == p->queue)
			return;
	Perdure__QueuePartitions *n = arena_new0(arena, Perdure__QueuePartitions);
	*n = scale_news(p);
	reply->queues[reply->n_queues++] = n;
}

static void serve_add(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct arena *arena = rpc_arena(req);
	struct bytes body = rpc_body(req);
	Perdure__AddTasks *msg = perdure__add_tasks__unpack(arena_pb(arena), body.len, body.data);
	if (!msg) {
		rpc_reply_err(req, err_static(ERR_INTERNAL, "malformed tasks between daemons"));
		return;
	}
	hear_of_lost(m, msg->down, msg->n_down);
	Perdure__AddTasksReply reply = PERDURE__ADD_TASKS_REPLY__INIT;
	reply.n_verdicts = msg->n_tasks;
	reply.verdicts = arena_array(arena, Perdure__AddTasksReply__Verdict, msg->n_tasks);
	reply.queues = arena_array(arena, Perdure__QueuePartitions *, msg->n_tasks);
	for (size_t i = 0; i < msg->n_tasks; i++) {
		struct partition *p;
		reply.verdicts[i] = add_one(m, msg->tasks[i], &p);
		if (p && msg->tasks[i]->partitions_version < p->version)
			add_news(&reply, p, arena);
	}
	size_t len = perdure__add_tasks_reply__get_packed_size(&reply);
	uint8_t *data = arena_alloc(arena, len);
	perdure__add_tasks_reply__pack(&reply, data);
	struct bytes part = bytes_of(data, len);
	rpc_reply(req, &part, 1);
}

/* ------------------------------------------------------------------ from gateways */

void sticky_worker_gone(struct partition *p)
{
	if (!p->queue->sticky || p->credits || !p->waiting_count)
		return;
	partition_drop_waiting(p);
	partition_ask_again(p);
}

/* The worker said goodbye, perhaps through another gateway than its polls. */
static void drop_others(struct partition *p, const struct credit *keep)
{
	struct credit *c, *tmp;
	DL_FOREACH_SAFE2(p->credits, c, tmp, in_partition_next)
	if (c != keep)
		credit_drop(c);
}

static void take_credit(struct matching *m, struct gateway *g, const Perdure__QueueCredit *qc)
{
	if (!qc->queue || qc->partition >= m->config.partitions_max || !partition_owned(m, qc->queue, qc->partition))
		return;
	struct partition *p = partition_get(m, qc->queue, qc->partition);
	struct credit *c = credit_get(g, p);
	c->report = g->reports;
	scale_learn(p, qc->partitions, qc->partitions_version);
	if (qc->partitions_version < p->version) {
		Perdure__QueuePartitions news = scale_news(p);
		gateway_say(g, 3, &news.base);
	}
	if (qc->shut_down)
		drop_others(p, c);
	pollers_take(p, qc->pollers, qc->n_pollers);
	if (qc->gone) {
		credit_drop(c);
		sticky_worker_gone(p);
		return;
	}
	credit_set(c, qc);
	partition_match(p);
}

static void serve_credits(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__Credits *msg = perdure__credits__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	if (msg) {
		hear_of_lost(m, msg->down, msg->n_down);
		struct gateway *g = gateway_get(m, rpc_from(req), msg->session);
		g->reports++;
		for (size_t i = 0; i < msg->n_queues; i++)
			take_credit(m, g, msg->queues[i]);
		struct credit *c, *tmp;
		if (msg->whole) {
			DL_FOREACH_SAFE2(g->credits, c, tmp, in_gateway_next)
			if (c->report != g->reports)
				credit_drop(c);
		}
	}
	rpc_reply(req, NULL, 0);
}

static const char *verdict_name(Perdure__TaskOutcome__Verdict v)
{
	return v == PERDURE__TASK_OUTCOME__VERDICT__STARTED	      ? "started"
	       : v == PERDURE__TASK_OUTCOME__VERDICT__ALREADY_STARTED ? "already started"
								      : "gone";
}

static void take_outcome(struct matching *m, const Perdure__TaskOutcome *o)
{
	struct task *t = NULL;
	HASH_FIND(hh_hand, m->handed, &o->hand_id, sizeof o->hand_id, t);
	if (!t)
		return;
	struct partition *p = t->partition;
	switch (o->verdict) {
	case PERDURE__TASK_OUTCOME__VERDICT__STARTED:
	case PERDURE__TASK_OUTCOME__VERDICT__ALREADY_STARTED:
	case PERDURE__TASK_OUTCOME__VERDICT__GONE:
		m->counts.started += o->verdict == PERDURE__TASK_OUTCOME__VERDICT__STARTED;
		/* Its start overtook what we said of it. */
		if (t->lost && o->verdict == PERDURE__TASK_OUTCOME__VERDICT__ALREADY_STARTED)
			gateway_tell_lost(m, t);
		task_measure_outcome(t, verdict_name(o->verdict));
		task_end(t);
		break;
	case PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK:
	case PERDURE__TASK_OUTCOME__VERDICT__UNSPECIFIED:
	case _PERDURE__TASK_OUTCOME__VERDICT_IS_INT_SIZE:
		m->counts.handed_back++;
		task_back(t);
		sticky_worker_gone(p);
		break;
	}
	partition_match(p);
}

static void serve_outcomes(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__TaskOutcomes *msg = perdure__task_outcomes__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	for (size_t i = 0; msg && i < msg->n_outcomes; i++)
		take_outcome(m, msg->outcomes[i]);
	rpc_reply(req, NULL, 0);
}

void requests_serve(struct matching *m)
{
	rpc_serve(m->rpc, RPC_MATCHING_ADD, serve_add, m);
	rpc_serve(m->rpc, RPC_MATCHING_CREDITS, serve_credits, m);
	rpc_serve(m->rpc, RPC_MATCHING_OUTCOMES, serve_outcomes, m);
}
