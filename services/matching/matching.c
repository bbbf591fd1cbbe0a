/*
 * Matching's requests, and its tending: partitions that are no longer ours, tasks nobody reported on, gateways that
 * went.
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
	};
}

/* ------------------------------------------------------------------ from history */

static Perdure__AddTasksReply__Verdict add_one(struct matching *m, const Perdure__QueuedTask *q)
{
	if (!q->queue || !q->task || !partition_owned(m, q->queue, q->partition))
		return PERDURE__ADD_TASKS_REPLY__VERDICT__NOT_OWNER;
	if (q->queue->sticky) {
		struct partition *p = partition_find(m, q->queue, q->partition);
		if (!p || !p->credits)
			return PERDURE__ADD_TASKS_REPLY__VERDICT__NO_STICKY_WORKER;
	}
	struct partition *p = partition_get(m, q->queue, q->partition);
	Perdure__AddTasksReply__Verdict v = partition_add(p, q->task);
	partition_match(p);
	return v;
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
	Perdure__AddTasksReply reply = PERDURE__ADD_TASKS_REPLY__INIT;
	reply.n_verdicts = msg->n_tasks;
	reply.verdicts = arena_array(arena, Perdure__AddTasksReply__Verdict, msg->n_tasks);
	for (size_t i = 0; i < msg->n_tasks; i++)
		reply.verdicts[i] = add_one(m, msg->tasks[i]);
	size_t len = perdure__add_tasks_reply__get_packed_size(&reply);
	uint8_t *data = arena_alloc(arena, len);
	perdure__add_tasks_reply__pack(&reply, data);
	struct bytes part = bytes_of(data, len);
	rpc_reply(req, &part, 1);
}

/* ------------------------------------------------------------------ from gateways */

/* The last worker of a sticky queue is gone: history sends what waits here to the normal queue. */
static void sticky_worker_gone(struct partition *p)
{
	if (!p->queue->sticky || p->credits)
		return;
	bool had = p->waiting_count > 0;
	struct task *t, *tmp;
	HASH_ITER (hh, p->tasks, t, tmp)
		if (t->state == TASK_WAITING)
			task_end(t);
	if (had)
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
	if (!qc->queue || !partition_owned(m, qc->queue, qc->partition))
		return;
	struct partition *p = partition_get(m, qc->queue, qc->partition);
	struct credit *c = credit_get(g, p);
	if (qc->shut_down)
		drop_others(p, c);
	if (qc->gone) {
		credit_drop(c);
		sticky_worker_gone(p);
		return;
	}
	credit_set(c, qc);
	partition_set_rate(p);
	partition_match(p);
}

static bool named(const Perdure__Credits *msg, const struct credit *c)
{
	for (size_t i = 0; i < msg->n_queues; i++) {
		const Perdure__QueueCredit *q = msg->queues[i];
		if (q->queue && q->partition == c->partition->number &&
		    q->queue->pollers == c->partition->queue->pollers &&
		    q->queue->sticky == c->partition->queue->sticky &&
		    str_eq(q->queue->name, c->partition->queue->name) &&
		    str_eq(q->queue->namespace_id, c->partition->queue->namespace_id))
			return true;
	}
	return false;
}

static void serve_credits(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct bytes body = rpc_body(req);
	Perdure__Credits *msg = perdure__credits__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	if (msg) {
		struct gateway *g = gateway_get(m, rpc_from(req), msg->session);
		for (size_t i = 0; i < msg->n_queues; i++)
			take_credit(m, g, msg->queues[i]);
		struct credit *c, *tmp;
		if (msg->whole) {
			DL_FOREACH_SAFE2(g->credits, c, tmp, in_gateway_next)
			if (!named(msg, c))
				credit_drop(c);
		}
	}
	rpc_reply(req, NULL, 0);
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
		task_end(t);
		break;
	case PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK:
	case PERDURE__TASK_OUTCOME__VERDICT__UNSPECIFIED:
	case _PERDURE__TASK_OUTCOME__VERDICT_IS_INT_SIZE:
		m->counts.handed_back++;
		task_back(t);
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

/* ------------------------------------------------------------------ from frontends */

static void fill_pollers(struct partition *p, struct arena *arena, Perdure__DescribeQueueReply *reply)
{
	struct credit *c;
	size_t n = 0;
	DL_FOREACH2(p->credits, c, in_partition_next)
	n += c->poller_count;
	reply->pollers = arena_array(arena, Perdure__PollerInfo *, n);
	DL_FOREACH2(p->credits, c, in_partition_next)
	for (size_t i = 0; i < c->poller_count; i++)
		reply->pollers[reply->n_pollers++] = c->pollers[i];
}

static void serve_describe(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct arena *arena = rpc_arena(req);
	struct bytes body = rpc_body(req);
	Perdure__DescribeQueue *msg = perdure__describe_queue__unpack(arena_pb(arena), body.len, body.data);
	if (!msg || !msg->queue) {
		rpc_reply_err(req, err_static(ERR_INTERNAL, "malformed request between daemons"));
		return;
	}
	if (!partition_owned(m, msg->queue, msg->partition)) {
		rpc_reply_err(req, (struct err){.code = ERR_UNAVAILABLE,
						.reason = ERR_REASON_NOT_OWNER,
						.message = "this node does not own the task queue"});
		return;
	}
	Perdure__DescribeQueueReply reply = PERDURE__DESCRIBE_QUEUE_REPLY__INIT;
	struct partition *p = partition_find(m, msg->queue, msg->partition);
	reply.partitions = 1;
	if (p) {
		struct heap_node *oldest = heap_min(&p->waiting);
		fill_pollers(p, arena, &reply);
		reply.backlog = (int64_t)p->waiting_count;
		reply.oldest_scheduled_time_ns =
			oldest ? container_of(oldest, struct task, order)->msg->scheduled_time_ns : 0;
		reply.add_rate = p->add_rate;
		reply.dispatch_rate = p->hand_rate;
	}
	size_t len = perdure__describe_queue_reply__get_packed_size(&reply);
	uint8_t *data = arena_alloc(arena, len);
	perdure__describe_queue_reply__pack(&reply, data);
	struct bytes part = bytes_of(data, len);
	rpc_reply(req, &part, 1);
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
		partition_match(p);
		if (t == m->handed_order)
			break;
	}
}

static void on_tend(struct env_timer *timer)
{
	struct matching *m = container_of(timer, struct matching, tend);
	int64_t now = env_mono_ns(m->env);
	redeliver(m);
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp) {
		if (p->tasks || p->credits)
			p->idle_since_ns = now;
		else if (now - p->idle_since_ns >= m->config.queue_idle_ns)
			partition_drop(p);
	}
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
	if (!g)
		return;
	log_debug(m->log, "a gateway is gone; its tasks go to others", log_str("address", address));
	gateway_drop(g);
	/* Sticky queues end with their worker's connection. */
	struct partition *p, *tmp;
	HASH_ITER (hh, m->partitions, p, tmp)
		sticky_worker_gone(p);
}

/* ------------------------------------------------------------------ life */

struct matching *matching_new(struct env *env, struct rpc *rpc, struct membership *membership, struct log *log,
			      const struct matching_config *config)
{
	struct matching *m = new0(struct matching);
	m->env = env;
	m->rpc = rpc;
	m->membership = membership;
	m->log = log;
	m->config = *config;
	m->tend.fn = on_tend;
	rpc_serve(rpc, RPC_MATCHING_ADD, serve_add, m);
	rpc_serve(rpc, RPC_MATCHING_CREDITS, serve_credits, m);
	rpc_serve(rpc, RPC_MATCHING_OUTCOMES, serve_outcomes, m);
	rpc_serve(rpc, RPC_MATCHING_DESCRIBE, serve_describe, m);
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
