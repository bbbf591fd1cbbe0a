/*
 * The tenants. In the brief namespace each client starts a workflow, ends it and looks until it is gone; in the leaving
 * one clients start workflows until they hear that it is not there, and one client deletes it.
 */
#include "tests/sim/tenants.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/operatorservice/v1/request_response.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/mem/mem.h"

#define WSV(name)     Temporal__Api__Workflowservice__V1__##name
#define BRIEF	      "brief"
#define BRIEF_ID      "22222222-2222-4222-8222-222222222222"
#define BRIEF_KEEP_NS (4 * NS_PER_S)
#define LEAVING	      "leaving"
#define LEAVING_ID    "33333333-3333-4333-8333-333333333333"
#define CALL_TIMEOUT  (5 * NS_PER_S)

enum step { START, END, LOOK, DONE };

/* A client in the brief namespace. */
struct guest {
	struct sim_tenants *t;
	char id[32], request_id[48], run_id[40];
	enum step step;
	int64_t end_sent_ns, end_acked_ns; /* it closed somewhere between */
	int64_t looked_ns;
	struct env_timer timer;
};

/* A client in the leaving one. */
struct starter {
	struct sim_tenants *t;
	int number, started;
	char id[48];
	struct env_timer timer;
};

struct sim_tenants {
	struct sim_cluster *c;
	struct fake_env env; /* the clients' own process */
	struct guest *guests;
	struct starter *starters;
	int count;
	struct env_timer deletion;
	bool deleting, deleted; /* asked for; acknowledged */
};

static bool passing(struct err e)
{
	return e.code == ERR_UNAVAILABLE || e.code == ERR_DEADLINE_EXCEEDED || e.code == ERR_CANCELLED ||
	       e.code == ERR_ABORTED || e.code == ERR_RESOURCE_EXHAUSTED;
}

static int64_t now(const struct sim_tenants *t)
{
	return env_wall_ns(&((struct sim_tenants *)t)->env.env);
}

static void after(struct sim_tenants *t, struct env_timer *timer, int least_ms, int most_ms)
{
	int64_t ms = least_ms + (int64_t)fake_world_below(&t->c->world, (uint64_t)(most_ms - least_ms));
	env_timer_start(&t->env.env, timer, ms * NS_PER_MS);
}

static void start_workflow(struct sim_node *edge, const char *namespace, const char *id, const char *request_id,
			   sim_reply_fn *fn, void *ctx)
{
	WSV(StartWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowType type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	type.name = (char *)"guest";
	queue.name = (char *)"nobody";
	r.namespace_ = (char *)namespace;
	r.workflow_id = (char *)id;
	r.workflow_type = &type;
	r.task_queue = &queue;
	r.request_id = (char *)request_id;
	sim_call(edge, "StartWorkflowExecution", &r.base, CALL_TIMEOUT, fn, ctx);
}

static void terminate(struct sim_node *edge, const char *namespace, const char *id, sim_reply_fn *fn, void *ctx)
{
	WSV(TerminateWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = (char *)id;
	r.namespace_ = (char *)namespace;
	r.workflow_execution = &run;
	sim_call(edge, "TerminateWorkflowExecution", &r.base, CALL_TIMEOUT, fn, ctx);
}

/* ------------------------------------------------------------------ the brief namespace */

static void unexpected(struct guest *g, const char *what, struct err e)
{
	sim_violation(g->t->c, "%s: %s answered %s: %s", g->id, what, err_code_name(e.code), e.message);
}

static void go_on(struct guest *g, enum step step)
{
	g->step = step;
	after(g->t, &g->timer, 20, 1000);
}

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct guest *g = ctx;
	if (err_is(e)) {
		if (!passing(e))
			unexpected(g, "start", e);
		go_on(g, START);
		return;
	}
	WSV(StartWorkflowExecutionResponse) *r =
		temporal__api__workflowservice__v1__start_workflow_execution_response__unpack(NULL, response.len,
											      response.data);
	snprintf(g->run_id, sizeof g->run_id, "%s", r->run_id);
	temporal__api__workflowservice__v1__start_workflow_execution_response__free_unpacked(r, NULL);
	go_on(g, END);
}

static void on_ended(void *ctx, struct err e, struct bytes response)
{
	struct guest *g = ctx;
	(void)response;
	if (err_is(e) && e.code != ERR_NOT_FOUND) { /* that: an attempt before has ended it */
		if (!passing(e))
			unexpected(g, "terminate", e);
		go_on(g, END);
		return;
	}
	g->end_acked_ns = now(g->t);
	go_on(g, LOOK);
}

static void on_looked(void *ctx, struct err e, struct bytes response)
{
	struct guest *g = ctx;
	struct sim_cluster *c = g->t->c;
	(void)response;
	if (err_is(e) && e.code != ERR_NOT_FOUND) {
		if (!passing(e))
			unexpected(g, "describe", e);
		go_on(g, LOOK);
		return;
	}
	bool found = !err_is(e);
	if (!found && now(g->t) < g->end_sent_ns + BRIEF_KEEP_NS - 2 * SIM_CLOCK_OFF_NS)
		sim_violation(c, "%s is not found before its time", g->id);
	if (found && g->looked_ns > g->end_acked_ns + BRIEF_KEEP_NS + 2 * SIM_CLOCK_OFF_NS)
		sim_violation(c, "%s is found though its retention is over", g->id);
	if (!found)
		sim_say(c, "%s is over", g->id);
	go_on(g, found ? LOOK : DONE);
}

static void on_guest(struct env_timer *timer)
{
	struct guest *g = container_of(timer, struct guest, timer);
	struct sim_node *edge = sim_edge(g->t->c);
	if (g->step == DONE)
		return;
	if (!edge) {
		go_on(g, g->step);
		return;
	}
	if (g->step == START) {
		start_workflow(edge, BRIEF, g->id, g->request_id, on_started, g);
	} else if (g->step == END) {
		if (!g->end_sent_ns)
			g->end_sent_ns = now(g->t);
		terminate(edge, BRIEF, g->id, on_ended, g);
	} else {
		WSV(DescribeWorkflowExecutionRequest)
		r = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_WORKFLOW_EXECUTION_REQUEST__INIT;
		Temporal__Api__Common__V1__WorkflowExecution run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
		run.workflow_id = g->id;
		if (fake_world_chance(&g->t->c->world, 0.5))
			run.run_id = g->run_id;
		r.namespace_ = (char *)BRIEF;
		r.execution = &run;
		g->looked_ns = now(g->t);
		sim_call(edge, "DescribeWorkflowExecution", &r.base, CALL_TIMEOUT, on_looked, g);
	}
}

/* ------------------------------------------------------------------ the leaving namespace */

static bool expected_there(const struct sim_tenants *t, struct err e)
{
	return passing(e) || (t->deleting && (e.code == ERR_NOT_FOUND || e.code == ERR_FAILED_PRECONDITION));
}

static void on_left_alone(void *ctx, struct err e, struct bytes response)
{
	(void)ctx;
	(void)e;
	(void)response;
}

static void on_begun(void *ctx, struct err e, struct bytes response)
{
	struct starter *s = ctx;
	struct sim_node *edge = sim_edge(s->t->c);
	(void)response;
	if (err_is(e) && !expected_there(s->t, e))
		sim_violation(s->t->c, "%s: start answered %s: %s", s->id, err_code_name(e.code), e.message);
	if (!err_is(e))
		s->started++;
	if (!err_is(e) && edge && fake_world_chance(&s->t->c->world, 0.5))
		terminate(edge, LEAVING, s->id, on_left_alone, s);
	after(s->t, &s->timer, 100, 2000);
}

static void on_starter(struct env_timer *timer)
{
	struct starter *s = container_of(timer, struct starter, timer);
	struct sim_node *edge = sim_edge(s->t->c);
	if (!fake_db_has_namespace(s->t->c->db, LEAVING_ID))
		return;
	if (!edge) {
		after(s->t, &s->timer, 100, 2000);
		return;
	}
	snprintf(s->id, sizeof s->id, "l%d-%d", s->number, s->started);
	start_workflow(edge, LEAVING, s->id, s->id, on_begun, s);
}

static void on_deleted(void *ctx, struct err e, struct bytes response)
{
	struct sim_tenants *t = ctx;
	(void)response;
	if (err_is(e) && !expected_there(t, e))
		sim_violation(t->c, "DeleteNamespace answered %s: %s", err_code_name(e.code), e.message);
	if (!err_is(e) || e.code == ERR_NOT_FOUND) {
		sim_say(t->c, "namespace deleted");
		t->deleted = true;
		return;
	}
	after(t, &t->deletion, 50, 500);
}

static void on_deletion(struct env_timer *timer)
{
	struct sim_tenants *t = container_of(timer, struct sim_tenants, deletion);
	struct sim_node *edge = sim_edge(t->c);
	if (!edge) {
		after(t, timer, 50, 500);
		return;
	}
	Temporal__Api__Operatorservice__V1__DeleteNamespaceRequest r =
		TEMPORAL__API__OPERATORSERVICE__V1__DELETE_NAMESPACE_REQUEST__INIT;
	r.namespace_ = (char *)LEAVING;
	t->deleting = true;
	sim_call(edge, "DeleteNamespace", &r.base, CALL_TIMEOUT, on_deleted, t);
}

/* ------------------------------------------------------------------ life */

struct sim_tenants *sim_tenants_new(struct sim_cluster *c, int workflows)
{
	struct sim_tenants *t = new0(struct sim_tenants);
	t->c = c;
	t->count = workflows;
	t->guests = mem_zalloc((size_t)workflows * sizeof *t->guests);
	t->starters = mem_zalloc((size_t)workflows * sizeof *t->starters);
	fake_env_init(&t->env, &c->world);
	sim_put_namespace(c, BRIEF_ID, BRIEF, BRIEF_KEEP_NS);
	sim_put_namespace(c, LEAVING_ID, LEAVING, 3600 * NS_PER_S);
	for (int i = 0; i < workflows; i++) {
		struct guest *g = &t->guests[i];
		g->t = t;
		g->timer.fn = on_guest;
		snprintf(g->id, sizeof g->id, "b%d", i);
		snprintf(g->request_id, sizeof g->request_id, "brief-%d", i);
		after(t, &g->timer, 0, 8000);
		struct starter *s = &t->starters[i];
		s->t = t;
		s->number = i;
		s->timer.fn = on_starter;
		after(t, &s->timer, 0, 2000);
	}
	t->deletion.fn = on_deletion;
	after(t, &t->deletion, 2000, 12000);
	return t;
}

void sim_tenants_free(struct sim_tenants *t)
{
	fake_env_done(&t->env);
	free(t->guests);
	free(t->starters);
	free(t);
}

bool sim_tenants_done(const struct sim_tenants *t)
{
	for (int i = 0; i < t->count; i++)
		if (t->guests[i].step != DONE && !t->c->violation[0])
			return false;
	return !fake_db_has_namespace(t->c->db, LEAVING_ID);
}

/* ------------------------------------------------------------------ nothing stays */

static void check_row(void *ctx, const struct store_run_row *row)
{
	const struct sim_tenants *t = ctx;
	if (str_eq(row->namespace_id, LEAVING_ID))
		sim_violation(t->c, "%s of a deleted namespace still has its row", row->workflow_id);
}

static void check_record(void *ctx, int64_t seq, int64_t epoch, struct bytes record)
{
	const struct sim_tenants *t = ctx;
	(void)epoch;
	Perdure__JournalRecord *rec = perdure__journal_record__unpack(NULL, record.len, record.data);
	for (size_t i = 0; rec && i < rec->n_deltas; i++)
		if (str_eq(rec->deltas[i]->namespace_id, LEAVING_ID))
			sim_violation(t->c, "%s of a deleted namespace is in the journal at seq %" PRId64,
				      rec->deltas[i]->workflow_id, seq);
	if (rec)
		perdure__journal_record__free_unpacked(rec, NULL);
}

static void check_memory(const struct sim_tenants *t, const struct history *h)
{
	struct workflow *wf, *tmp;
	for (uint32_t i = 0; i < SIM_SHARDS; i++)
		HASH_ITER (hh, h->shards[i]->workflows, wf, tmp)
			if (str_eq(wf->namespace_id, LEAVING_ID))
				sim_violation(t->c, "%s of a deleted namespace is in memory", wf->workflow_id);
}

void sim_tenants_check(const struct sim_tenants *t)
{
	fake_db_each_run(t->c->db, check_row, (void *)t);
	for (uint32_t i = 0; i < SIM_SHARDS; i++)
		fake_db_each_journal(t->c->db, i, check_record, (void *)t);
	for (size_t i = 0; i < t->c->node_count; i++)
		if (t->c->nodes[i].running && t->c->nodes[i].history)
			check_memory(t, t->c->nodes[i].history);
}

void sim_tenants_describe(const struct sim_tenants *t, struct buf *out)
{
	buf_printf(out, " tenants: deletion %s, %s;",
		   t->deleted	 ? "acknowledged"
		   : t->deleting ? "asked for"
				 : "not asked for",
		   fake_db_has_namespace(t->c->db, LEAVING_ID) ? "still there" : "gone");
	for (int i = 0; i < t->count; i++)
		if (t->guests[i].step != DONE)
			buf_printf(out, " %s at step %d", t->guests[i].id, (int)t->guests[i].step);
}
