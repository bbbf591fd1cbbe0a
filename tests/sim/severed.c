/*
 * An edge loses one history node and nobody else does: clients wait until that is noticed, once; then other history
 * nodes relay, for as long as it takes, and no client waits any more. What was acknowledged is there once.
 */
#include "tests/sim/severed.h"

#include <inttypes.h>
#include <stdlib.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/mem/mem.h"
#include "tests/sim/check.h"

#define COUNT	   16 /* workflows, signalled one signal after the other */
#define EVERY_NS   (50 * NS_PER_MS)
#define CALL_NS	   (30 * NS_PER_S)
#define SEVERED_NS (15 * NS_PER_S)
#define PATIENCE   (60 * NS_PER_S)
/* Until a silent connection is given up (common/rpc/silence.c); and what a call takes when all is known. */
#define NOTICED_NS (4 * NS_PER_S)
#define CALM_NS	   (150 * NS_PER_MS)
#define EVENTS	   2 /* before the first signal */

#define WSV(name) Temporal__Api__Workflowservice__V1__##name

struct severed;

struct signalled {
	struct severed *owner;
	char id[32];
	int sent, acked;
	int64_t began_ns;
	bool started, counted;
	struct env_timer timer;
};

struct severed {
	struct sim_cluster *c;
	struct sim_node *edge;
	struct fake_env env;
	struct signalled workflows[COUNT];
	int64_t cut_ns; /* 0: not yet */
	int64_t longest_ns;
	bool over;
};

static void judge(struct severed *v, const struct signalled *w)
{
	int64_t took = v->c->world.now_ns - w->began_ns;
	bool known = v->cut_ns == 0 || w->began_ns > v->cut_ns + NOTICED_NS;
	v->longest_ns = took > v->longest_ns ? took : v->longest_ns;
	if (took > (known ? CALM_NS : NOTICED_NS))
		sim_violation(v->c, "%s: a signal took %" PRId64 " ms, %" PRId64 " ms after the cut", w->id,
			      (int64_t)(took / NS_PER_MS),
			      v->cut_ns ? (int64_t)((w->began_ns - v->cut_ns) / NS_PER_MS) : -1);
}

static void on_signalled(void *ctx, struct err e, struct bytes response)
{
	struct signalled *w = ctx;
	(void)response;
	if (err_is(e))
		sim_violation(w->owner->c, "%s: a signal failed: %s", w->id, e.message);
	w->acked++;
	judge(w->owner, w);
	env_timer_start(&w->owner->env.env, &w->timer, EVERY_NS);
}

static void signal_it(struct signalled *w)
{
	char request_id[64];
	WSV(SignalWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	snprintf(request_id, sizeof request_id, "%s-%d", w->id, ++w->sent);
	run.workflow_id = w->id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	r.signal_name = (char *)"go";
	r.request_id = request_id;
	w->began_ns = w->owner->c->world.now_ns;
	sim_call(w->owner->edge, "SignalWorkflowExecution", &r.base, CALL_NS, on_signalled, w);
}

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct signalled *w = ctx;
	(void)response;
	w->started = !err_is(e);
	env_timer_start(&w->owner->env.env, &w->timer, EVERY_NS);
}

static void start(struct signalled *w)
{
	WSV(StartWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowType type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	type.name = (char *)"severed";
	queue.name = (char *)"nobody";
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_id = r.request_id = w->id;
	r.workflow_type = &type;
	r.task_queue = &queue;
	sim_call(w->owner->edge, "StartWorkflowExecution", &r.base, CALL_NS, on_started, w);
}

static void on_described(void *ctx, struct err e, struct bytes response)
{
	struct signalled *w = ctx;
	WSV(DescribeWorkflowExecutionResponse) *r =
		err_is(e) ? NULL
			  : temporal__api__workflowservice__v1__describe_workflow_execution_response__unpack(
				    NULL, response.len, response.data);
	int64_t length = r && r->workflow_execution_info ? r->workflow_execution_info->history_length : -1;
	if (length != EVENTS + w->acked)
		sim_violation(w->owner->c, "%s: %" PRId64 " events after %d signals", w->id, length, w->acked);
	if (r)
		temporal__api__workflowservice__v1__describe_workflow_execution_response__free_unpacked(r, NULL);
	w->counted = true;
}

static void describe(struct signalled *w)
{
	WSV(DescribeWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = w->id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = &run;
	sim_call(w->owner->edge, "DescribeWorkflowExecution", &r.base, CALL_NS, on_described, w);
}

static void on_timer(struct env_timer *timer)
{
	struct signalled *w = container_of(timer, struct signalled, timer);
	if (!w->started)
		start(w);
	else if (w->owner->over)
		describe(w);
	else
		signal_it(w);
}

static bool all_started(void *ctx)
{
	const struct severed *v = ctx;
	for (int i = 0; i < COUNT; i++)
		if (!v->workflows[i].started)
			return false;
	return true;
}

static bool all_counted(void *ctx)
{
	const struct severed *v = ctx;
	for (int i = 0; i < COUNT; i++)
		if (!v->workflows[i].counted)
			return v->c->violation[0] != 0;
	return true;
}

static struct sim_node *some_history(struct sim_cluster *c)
{
	struct sim_node *n;
	do
		n = &c->nodes[fake_world_below(&c->world, c->node_count)];
	while (n->role != SIM_HISTORY);
	return n;
}

static void steps(struct severed *v)
{
	struct sim_cluster *c = v->c;
	const struct sim_node *lost = some_history(c);
	bool silent = fake_world_chance(&c->world, 0.7);
	void (*sever)(struct fake_net * n, const char *a, const char *b, bool on) =
		silent ? fake_net_silence : fake_net_cut;
	if (!fake_world_until(&c->world, all_started, v, PATIENCE)) {
		sim_violation(c, "workflows did not start");
		return;
	}
	fake_world_advance(&c->world, 2 * NS_PER_S);
	sim_say(c, "%s loses %s%s", v->edge->id, lost->id, silent ? " without a word" : "");
	v->cut_ns = c->world.now_ns;
	sever(c->net, v->edge->address, lost->address, true);
	fake_world_advance(&c->world, SEVERED_NS);
	sever(c->net, v->edge->address, lost->address, false);
	fake_world_advance(&c->world, SEVERED_NS);
	sim_say(c, "the longest call took %" PRId64 " ms", (int64_t)(v->longest_ns / NS_PER_MS));
	v->over = true;
	if (!fake_world_until(&c->world, all_counted, v, PATIENCE))
		sim_violation(c, "workflows could not be described");
	sim_check_stored(c);
}

void sim_severed(struct sim_cluster *c)
{
	struct severed *v = new0(struct severed);
	v->c = c;
	fake_env_init(&v->env, &c->world);
	for (size_t i = 0; i < c->node_count; i++)
		if (c->nodes[i].role == SIM_EDGE)
			v->edge = &c->nodes[i];
	for (int i = 0; i < COUNT; i++) {
		struct signalled *w = &v->workflows[i];
		*w = (struct signalled){.owner = v, .timer = {.fn = on_timer}};
		snprintf(w->id, sizeof w->id, "severed%d", i);
		env_timer_start(&v->env.env, &w->timer, 4 * NS_PER_S + i * EVERY_NS);
	}
	steps(v);
	sim_cluster_done(c);
	fake_env_done(&v->env);
	free(v);
}
