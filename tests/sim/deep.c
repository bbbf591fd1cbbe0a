/*
 * A queue that no worker polls for long, and memory for next to nothing: what waits is rows of the backlog. Whoever
 * owns the shards dies; then a worker comes and takes the tasks one by one: all of them, once, and in order.
 *
 * In order: within a partition, whose polls are its own; but for what matching had taken before it knew of better ones,
 * and, where several nodes have shards of the partition, for what one page of one of them brings.
 */
#include "tests/sim/deep.h"

#include <inttypes.h>
#include <stdlib.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/mem/mem.h"
#include "common/membership/placement.h"
#include "tests/sim/check.h"

#define COUNT	   150
#define PARTITIONS 4  /* at most */
#define EXACT	   3  /* places that a task may be from its own in its partition, when one node has all shards */
#define LOOSE	   24 /* or several have: as many as fit into matching's memory for the queue, and a page, twice */
#define FIRST	   10 /* matching may have taken these, before it knew of others */
#define CALL_NS	   (5 * NS_PER_S)
#define AWAY_NS	   (12 * NS_PER_S)
#define PATIENCE   (120 * NS_PER_S)
#define RETRIED_NS (70 * NS_PER_S) /* by then a run that was set aside has been tried again */
#define QUEUE	   "deep"

#define WSV(name) Temporal__Api__Workflowservice__V1__##name

struct deep_task {
	struct deep *deep;
	int number, priority;
	uint32_t partition;
	int64_t started_ns; /* simulated time; 0: not yet */
	int taken;	    /* its place in its partition; 0: not yet */
	struct env_timer again;
};

struct deep {
	struct sim_cluster *c;
	struct fake_env env;
	struct deep_task tasks[COUNT];
	int started, taken;
	int taken_of[PARTITIONS];
	struct env_timer poll;
};

/* ------------------------------------------------------------------ starting */

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct deep_task *t = ctx;
	struct deep *d = t->deep;
	(void)response;
	if (err_is(e)) {
		env_timer_start(&d->env.env, &t->again, 50 * NS_PER_MS);
		return;
	}
	t->started_ns = d->c->world.now_ns;
	d->started++;
}

static void on_start(struct env_timer *timer)
{
	struct deep_task *t = container_of(timer, struct deep_task, again);
	struct deep *d = t->deep;
	struct sim_node *edge = sim_edge(d->c);
	if (!edge) {
		env_timer_start(&d->env.env, &t->again, 50 * NS_PER_MS);
		return;
	}
	char id[32];
	snprintf(id, sizeof id, "deep%d", t->number);
	WSV(StartWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowType type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	Temporal__Api__Common__V1__Priority priority = TEMPORAL__API__COMMON__V1__PRIORITY__INIT;
	Google__Protobuf__Duration task_timeout = GOOGLE__PROTOBUF__DURATION__INIT;
	type.name = (char *)"deep";
	queue.name = (char *)QUEUE;
	priority.priority_key = t->priority;
	task_timeout.seconds = 100;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_id = r.request_id = id;
	r.workflow_type = &type;
	r.task_queue = &queue;
	r.priority = &priority;
	r.workflow_task_timeout = &task_timeout;
	sim_call(edge, "StartWorkflowExecution", &r.base, CALL_NS, on_started, t);
}

static bool all_started(void *ctx)
{
	const struct deep *d = ctx;
	return d->started == COUNT;
}

/* ------------------------------------------------------------------ taking */

static void on_polled(void *ctx, struct err e, struct bytes response)
{
	struct deep *d = ctx;
	env_timer_start(&d->env.env, &d->poll, NS_PER_MS);
	if (err_is(e))
		return;
	WSV(PollWorkflowTaskQueueResponse) *r =
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__unpack(NULL, response.len,
											      response.data);
	int n = r && r->task_token.len ? atoi(r->workflow_execution->workflow_id + 4) : -1;
	if (n >= 0 && r->attempt == 1) {
		struct deep_task *t = &d->tasks[n];
		if (t->taken)
			sim_violation(d->c, "deep%d was handed out twice", n);
		else
			d->taken++;
		t->taken = ++d->taken_of[t->partition];
	}
	temporal__api__workflowservice__v1__poll_workflow_task_queue_response__free_unpacked(r, NULL);
}

static void on_poll(struct env_timer *timer)
{
	struct deep *d = container_of(timer, struct deep, poll);
	struct sim_node *edge = sim_edge(d->c);
	WSV(PollWorkflowTaskQueueRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	queue.name = (char *)QUEUE;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_queue = &queue;
	r.identity = (char *)"deep";
	if (edge)
		sim_call(edge, "PollWorkflowTaskQueue", &r.base, CALL_NS, on_polled, d);
	else
		env_timer_start(&d->env.env, &d->poll, 50 * NS_PER_MS);
}

static bool all_taken(void *ctx)
{
	const struct deep *d = ctx;
	return d->taken == COUNT || d->c->violation[0];
}

/* ------------------------------------------------------------------ what is checked */

static int by_order(const void *x, const void *y)
{
	const struct deep_task *a = *(struct deep_task *const *)x, *b = *(struct deep_task *const *)y;
	if (a->partition != b->partition)
		return a->partition < b->partition ? -1 : 1;
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	return (a->started_ns > b->started_ns) - (a->started_ns < b->started_ns);
}

static int histories(const struct sim_cluster *c)
{
	int count = 0;
	for (size_t i = 0; i < c->node_count; i++)
		count += c->nodes[i].role == SIM_HISTORY;
	return count;
}

static void check_order(struct deep *d)
{
	struct deep_task *sorted[COUNT];
	int loose = histories(d->c) == 1 ? EXACT : LOOSE;
	for (int i = 0; i < COUNT; i++)
		sorted[i] = &d->tasks[i];
	qsort(sorted, COUNT, sizeof sorted[0], by_order);
	for (int i = 0, place = 0; i < COUNT; i++) {
		const struct deep_task *t = sorted[i];
		place = i && t->partition == sorted[i - 1]->partition ? place + 1 : 1;
		if (t->number >= FIRST && abs(t->taken - place) > loose)
			sim_violation(d->c,
				      "deep%d of priority %d was taken as number %d of partition %u, not about %d",
				      t->number, t->priority, t->taken, t->partition, place);
	}
}

static void count_task(void *ctx, const struct store_task *task)
{
	size_t *count = ctx;
	*count += str_eq(task->queue, QUEUE);
}

static size_t rows(const struct sim_cluster *c)
{
	size_t count = 0;
	fake_db_each_task(c->db, count_task, &count);
	return count;
}

/* `refused`: that many runs cannot be folded, and keep nothing else from it. */
static void check_away(struct sim_cluster *c, size_t refused)
{
	size_t runs = 0;
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		for (uint32_t s = 0; n->running && n->history && s < SIM_SHARDS; s++)
			runs += n->history->shards[s]->run_count;
	}
	sim_say(c, "%zu rows, %zu runs in memory", rows(c), runs);
	if (rows(c) != COUNT - refused)
		sim_violation(c, "%zu rows of %d waiting tasks", rows(c), COUNT);
	if (runs != refused)
		sim_violation(c, "%zu runs are in memory though they only wait", runs);
}

static void kill_histories(struct sim_cluster *c)
{
	for (size_t i = 0; i < c->node_count; i++) {
		struct sim_node *n = &c->nodes[i];
		if (n->role != SIM_HISTORY || !n->running)
			continue;
		sim_node_kill(n);
		fake_world_advance(&c->world, 100 * NS_PER_MS);
		sim_node_start(n);
	}
}

static void steps(struct deep *d)
{
	struct sim_cluster *c = d->c;
	size_t refused = fake_world_chance(&c->world, 0.5);
	c->refuses = refused > 0;
	if (refused)
		fake_db_refuse(c->db, "deep7");
	if (!fake_world_until(&c->world, all_started, d, PATIENCE)) {
		sim_violation(c, "only %d workflows started", d->started);
		return;
	}
	fake_world_advance(&c->world, AWAY_NS);
	check_away(c, refused);
	kill_histories(c);
	fake_world_advance(&c->world, AWAY_NS);
	check_away(c, refused);
	sim_check_backlog(c);
	fake_db_refuse(c->db, NULL);
	if (refused) { /* tried again after a while */
		fake_world_advance(&c->world, RETRIED_NS);
		check_away(c, 0);
	}
	d->poll.fn = on_poll;
	env_timer_start(&d->env.env, &d->poll, 0);
	if (!fake_world_until(&c->world, all_taken, d, PATIENCE))
		sim_violation(c, "stuck: %d of %d taken, %zu rows", d->taken, COUNT, rows(c));
	if (c->violation[0])
		return;
	check_order(d);
	fake_world_advance(&c->world, AWAY_NS);
	if (rows(c))
		sim_violation(c, "%zu rows of tasks that were taken", rows(c));
	sim_check_stored(c);
	sim_check_memory(c);
}

void sim_deep(struct sim_cluster *c)
{
	struct deep *d = new0(struct deep);
	d->c = c;
	fake_env_init(&d->env, &c->world);
	for (int i = 0; i < COUNT; i++) {
		d->tasks[i] = (struct deep_task){.deep = d, .number = i, .again = {.fn = on_start}};
		char id[32];
		snprintf(id, sizeof id, "deep%d", i);
		d->tasks[i].partition = shard_of(SIM_NAMESPACE_ID, id, SIM_SHARDS) % c->partitions;
		d->tasks[i].priority = 1 + (int)fake_world_below(&c->world, 5);
		env_timer_start(&d->env.env, &d->tasks[i].again, NS_PER_S + i * 20 * NS_PER_MS);
	}
	steps(d);
	sim_cluster_done(c);
	fake_env_done(&d->env);
	free(d);
}
