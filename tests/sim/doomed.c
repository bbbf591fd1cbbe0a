/*
 * The clients that delete runs. Each has a workflow id of its own and no workers: runs are ended by terminating them.
 *
 *   start A ─► end A ─► start B ─► (end B) ─► delete A or B ─► look, some times ─► done
 *   start A ─► (end A) ─► delete A ─► look …
 *
 * A deletion of unknown outcome is repeated, or looked after first: who then hears NOT_FOUND may rely on it.
 */
#include "tests/sim/doomed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/mem/mem.h"

#define WSV(name)    Temporal__Api__Workflowservice__V1__##name
#define LOOKS	     8
#define CALL_TIMEOUT (5 * NS_PER_S)
#define LONG_PAUSE   (6 * NS_PER_S) /* so long that what it had in memory is gone */

enum step { START_A, END_A, START_B, END_B, DELETE, PEEK, LOOK, DONE };

struct doomed_run {
	char request_id[48], run_id[40];
	bool gone;
	bool unsure; /* a deletion by workflow id that may have come twice took it, or not */
};

struct doomed {
	struct sim_doomed *all;
	char id[32];
	enum step step;
	struct doomed_run runs[2];
	int run_count;	    /* how many it will have */
	bool end_last;	    /* closed before the deletion */
	int victim;	    /* whom it deletes */
	bool by_current;    /* names no run id at first; the victim is the current run then */
	bool delete_unsure; /* an attempt of unknown outcome came before */
	int looks;
	int looking_at; /* a run, or run_count: whichever is the current one */
	struct env_timer timer;
};

struct sim_doomed {
	struct sim_cluster *c;
	struct fake_env env; /* the clients' own process */
	struct doomed *list;
	int count;
};

static bool passing(struct err e)
{
	return e.code == ERR_UNAVAILABLE || e.code == ERR_DEADLINE_EXCEEDED || e.code == ERR_CANCELLED ||
	       e.code == ERR_ABORTED || e.code == ERR_RESOURCE_EXHAUSTED;
}

static void next(struct doomed *d, enum step step)
{
	struct sim_doomed *all = d->all;
	int64_t pause = (int64_t)(50 + fake_world_below(&all->c->world, 1500)) * NS_PER_MS;
	d->step = step;
	env_timer_start(&all->env.env, &d->timer, fake_world_chance(&all->c->world, 0.1) ? LONG_PAUSE : pause);
}

static void unexpected(struct doomed *d, const char *what, struct err e)
{
	sim_violation(d->all->c, "%s: %s answered %s: %s", d->id, what, err_code_name(e.code), e.message);
}

static struct doomed_run *latest(struct doomed *d)
{
	return &d->runs[d->step <= END_A ? 0 : d->run_count - 1];
}

/* ------------------------------------------------------------------ starting and ending */

static enum step after_start(const struct doomed *d)
{
	if (d->step == START_A && (d->run_count == 2 || d->end_last))
		return END_A;
	if (d->step == START_B && d->end_last)
		return END_B;
	return DELETE;
}

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct doomed *d = ctx;
	if (err_is(e)) {
		if (!passing(e))
			unexpected(d, "start", e);
		next(d, d->step);
		return;
	}
	WSV(StartWorkflowExecutionResponse) *r =
		temporal__api__workflowservice__v1__start_workflow_execution_response__unpack(NULL, response.len,
											      response.data);
	snprintf(latest(d)->run_id, sizeof latest(d)->run_id, "%s", r->run_id);
	temporal__api__workflowservice__v1__start_workflow_execution_response__free_unpacked(r, NULL);
	sim_say(d->all->c, "%s started as %s", d->id, latest(d)->run_id);
	next(d, after_start(d));
}

static void start(struct doomed *d, struct sim_node *edge)
{
	WSV(StartWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowType type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	type.name = (char *)"doomed";
	queue.name = (char *)"nobody";
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_id = d->id;
	r.workflow_type = &type;
	r.task_queue = &queue;
	r.request_id = latest(d)->request_id;
	sim_call(edge, "StartWorkflowExecution", &r.base, CALL_TIMEOUT, on_started, d);
}

static void on_ended(void *ctx, struct err e, struct bytes response)
{
	struct doomed *d = ctx;
	(void)response;
	/* NOT_FOUND: an attempt before has ended it. */
	if (err_is(e) && e.code != ERR_NOT_FOUND) {
		if (!passing(e))
			unexpected(d, "terminate", e);
		next(d, d->step);
		return;
	}
	next(d, d->step == END_A && d->run_count == 2 ? START_B : DELETE);
}

static void end(struct doomed *d, struct sim_node *edge)
{
	WSV(TerminateWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = d->id;
	run.run_id = latest(d)->run_id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	sim_call(edge, "TerminateWorkflowExecution", &r.base, CALL_TIMEOUT, on_ended, d);
}

/* ------------------------------------------------------------------ deleting */

static void on_deleted(void *ctx, struct err e, struct bytes response)
{
	struct doomed *d = ctx;
	(void)response;
	if (err_is(e) && !(e.code == ERR_NOT_FOUND && d->delete_unsure)) {
		if (!passing(e))
			unexpected(d, "delete", e);
		/* It may still happen, to whichever run is the current one then. */
		for (int i = 0; i < d->run_count && d->by_current; i++)
			d->runs[i].unsure = true;
		d->by_current = false;
		d->delete_unsure = true;
		next(d, fake_world_chance(&d->all->c->world, 0.5) ? DELETE : PEEK);
		return;
	}
	d->runs[d->victim].gone = true;
	sim_say(d->all->c, "%s: run %s deleted", d->id, d->runs[d->victim].run_id);
	next(d, LOOK);
}

static void describe(struct sim_node *edge, struct doomed *d, const char *run_id, sim_reply_fn *fn)
{
	WSV(DescribeWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = d->id;
	run.run_id = (char *)run_id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = &run;
	sim_call(edge, "DescribeWorkflowExecution", &r.base, CALL_TIMEOUT, fn, d);
}

/* Somebody else looked while it was being deleted. */
static void on_glimpsed(void *ctx, struct err e, struct bytes response)
{
	struct doomed *d = ctx;
	(void)response;
	if (e.code == ERR_NOT_FOUND)
		d->runs[d->victim].gone = true;
}

static void delete_it(struct doomed *d, struct sim_node *edge)
{
	WSV(DeleteWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__DELETE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = d->id;
	if (!d->by_current)
		run.run_id = d->runs[d->victim].run_id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	sim_call(edge, "DeleteWorkflowExecution", &r.base, CALL_TIMEOUT, on_deleted, d);
	if (!d->by_current)
		describe(edge, d, run.run_id, on_glimpsed);
}

/* ------------------------------------------------------------------ looking */

/* The run that should be found without a run id; NULL: none. */
static const struct doomed_run *current(const struct doomed *d)
{
	for (int i = d->run_count - 1; i >= 0; i--)
		if (!d->runs[i].gone)
			return &d->runs[i];
	return NULL;
}

static bool any_unsure(const struct doomed *d)
{
	bool unsure = false;
	for (int i = 0; i < d->run_count; i++)
		unsure = unsure || (d->runs[i].unsure && !d->runs[i].gone);
	return unsure;
}

static void judge(struct doomed *d, struct err e, const char *run_id)
{
	struct sim_cluster *c = d->all->c;
	bool by_id = d->looking_at < d->run_count;
	const struct doomed_run *expect = by_id ? &d->runs[d->looking_at] : current(d);
	if (by_id ? expect->unsure && !expect->gone : any_unsure(d))
		return;
	bool there = expect && !expect->gone;
	if (err_is(e) && e.code != ERR_NOT_FOUND)
		unexpected(d, "describe", e);
	else if (err_is(e) && there)
		sim_violation(c, "%s: run %s is not found", d->id, expect->run_id);
	else if (!err_is(e) && !there)
		sim_violation(c, "%s: run %s is found, but it was deleted", d->id, run_id);
	else if (!err_is(e) && !str_eq(run_id, expect->run_id))
		sim_violation(c, "%s: run %s is the current one, not %s", d->id, run_id, expect->run_id);
}

static void on_described(void *ctx, struct err e, struct bytes response)
{
	struct doomed *d = ctx;
	if (err_is(e) && passing(e)) {
		next(d, d->step);
		return;
	}
	if (d->step == PEEK) { /* who says that it is gone must stand by it */
		if (d->runs[d->victim].gone && e.code != ERR_NOT_FOUND)
			sim_violation(d->all->c, "%s: its deletion was seen and is undone", d->id);
		d->runs[d->victim].gone = e.code == ERR_NOT_FOUND;
		next(d, d->runs[d->victim].gone ? LOOK : DELETE);
		return;
	}
	WSV(DescribeWorkflowExecutionResponse) *r =
		err_is(e) ? NULL
			  : temporal__api__workflowservice__v1__describe_workflow_execution_response__unpack(
				    NULL, response.len, response.data);
	judge(d, e, r ? r->workflow_execution_info->execution->run_id : "");
	if (r)
		temporal__api__workflowservice__v1__describe_workflow_execution_response__free_unpacked(r, NULL);
	next(d, --d->looks > 0 ? LOOK : DONE);
}

static void look(struct doomed *d, struct sim_node *edge)
{
	d->looking_at =
		d->step == PEEK ? d->victim : (int)fake_world_below(&d->all->c->world, (uint64_t)d->run_count + 1);
	describe(edge, d, d->looking_at < d->run_count ? d->runs[d->looking_at].run_id : "", on_described);
}

/* ------------------------------------------------------------------ life */

static void on_timer(struct env_timer *t)
{
	struct doomed *d = container_of(t, struct doomed, timer);
	struct sim_node *edge = sim_edge(d->all->c);
	if (!edge) {
		next(d, d->step);
		return;
	}
	switch (d->step) {
	case START_A:
	case START_B:
		start(d, edge);
		break;
	case END_A:
	case END_B:
		end(d, edge);
		break;
	case DELETE:
		delete_it(d, edge);
		break;
	case PEEK:
	case LOOK:
		look(d, edge);
		break;
	case DONE:
		break;
	}
}

static void plan(struct doomed *d, struct fake_world *w, int number)
{
	snprintf(d->id, sizeof d->id, "d%d", number);
	for (int i = 0; i < 2; i++)
		snprintf(d->runs[i].request_id, sizeof d->runs[i].request_id, "doomed-%d-%d", number, i);
	d->run_count = 1 + (int)fake_world_below(w, 2);
	d->end_last = fake_world_chance(w, 0.5);
	d->victim = (int)fake_world_below(w, (uint64_t)d->run_count);
	d->by_current = d->victim == d->run_count - 1 && fake_world_chance(w, 0.5);
	d->looks = LOOKS;
	d->timer.fn = on_timer;
}

struct sim_doomed *sim_doomed_new(struct sim_cluster *c, int workflows)
{
	struct sim_doomed *all = new0(struct sim_doomed);
	all->c = c;
	all->count = workflows;
	all->list = mem_zalloc((size_t)workflows * sizeof *all->list);
	fake_env_init(&all->env, &c->world);
	for (int i = 0; i < workflows; i++) {
		all->list[i].all = all;
		plan(&all->list[i], &c->world, i);
		next(&all->list[i], START_A);
	}
	return all;
}

void sim_doomed_free(struct sim_doomed *all)
{
	fake_env_done(&all->env);
	free(all->list);
	free(all);
}

bool sim_doomed_done(const struct sim_doomed *all)
{
	for (int i = 0; i < all->count && !all->c->violation[0]; i++)
		if (all->list[i].step != DONE)
			return false;
	return true;
}

static void check_row(void *ctx, const struct store_run_row *row)
{
	const struct sim_doomed *all = ctx;
	for (int i = 0; i < all->count; i++)
		for (int k = 0; k < all->list[i].run_count; k++)
			if (all->list[i].runs[k].gone && str_eq(all->list[i].runs[k].run_id, row->run_id))
				sim_violation(all->c, "%s: deleted run %s still has its row", row->workflow_id,
					      row->run_id);
}

void sim_doomed_check(const struct sim_doomed *all)
{
	fake_db_each_run(all->c->db, check_row, (void *)all);
}

void sim_doomed_describe(const struct sim_doomed *all, struct buf *out)
{
	int done = 0;
	for (int i = 0; i < all->count; i++)
		done += all->list[i].step == DONE;
	buf_printf(out, " doomed: %d of %d done;", done, all->count);
	for (int i = 0; i < all->count; i++)
		if (all->list[i].step != DONE)
			buf_printf(out, " %s at step %d", all->list[i].id, (int)all->list[i].step);
}
