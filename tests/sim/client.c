/*
 * The simulated clients: each workflow's own, which starts, signals, ends and reads it, one that queries it, and a
 * rival that tries to start another run of the same id.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "tests/sim/load_impl.h"

#define CALL_NS		 (5 * NS_PER_S)
#define ROUNDS_MAX	 2
#define REJECT_DUPLICATE TEMPORAL__API__ENUMS__V1__WORKFLOW_ID_REUSE_POLICY__WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE

static int64_t below_ms(struct sim_load *l, uint64_t bound)
{
	return (int64_t)fake_world_below(&l->c->world, bound) * NS_PER_MS;
}

/* ------------------------------------------------------------------ starting */

static void start_request(struct sim_workflow *w, WS(StartWorkflowExecutionRequest) *r)
{
	static API(Common__V1__WorkflowType) type;
	static API(Taskqueue__V1__TaskQueue) queue;
	static Google__Protobuf__Duration task_timeout, run_timeout;
	temporal__api__common__v1__workflow_type__init(&type);
	temporal__api__taskqueue__v1__task_queue__init(&queue);
	google__protobuf__duration__init(&task_timeout);
	google__protobuf__duration__init(&run_timeout);
	temporal__api__workflowservice__v1__start_workflow_execution_request__init(r);
	type.name = (char *)"sim";
	queue.name = (char *)SIM_QUEUE;
	task_timeout.seconds = 3;
	run_timeout.seconds = 5;
	r->namespace_ = (char *)SIM_NAMESPACE;
	r->workflow_id = w->id;
	r->workflow_type = &type;
	r->task_queue = &queue;
	r->request_id = w->request_id;
	/* A start that is repeated is recognised by the run that it made, not by that one's successors. */
	if (sim_script_has(&w->script, STEP_CONTINUE))
		r->workflow_id_reuse_policy = REJECT_DUPLICATE;
	r->workflow_task_timeout = &task_timeout;
	if (sim_script_end(&w->script) == STEP_TIMED_OUT)
		r->workflow_run_timeout = &run_timeout;
	r->input = sim_payloads("round=%d from=0 signals=0", w->round);
}

static void send_signals(struct sim_workflow *w)
{
	for (int i = 0; i < w->script.count; i++)
		if (w->script.steps[i] == STEP_SIGNAL)
			env_timer_start(&w->load->env.env, &w->signals[i].timer, below_ms(w->load, 3000));
}

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	struct sim_cluster *c = w->load->c;
	sim_again(w->load, &w->next);
	/* The request id is that of the chain's first run; the API says no more when another is the current one. */
	w->blind = e.code == ERR_ALREADY_EXISTS && sim_script_has(&w->script, STEP_CONTINUE);
	if (err_is(e) && !w->blind) {
		if (!sim_passing(e))
			sim_violation(c, "%s: start answered %s: %s", w->id, err_code_name(e.code), e.message);
		return;
	}
	WS(StartWorkflowExecutionResponse) *r =
		w->blind ? NULL
			 : temporal__api__workflowservice__v1__start_workflow_execution_response__unpack(
				   NULL, response.len, response.data);
	snprintf(w->run, sizeof w->run, "%s", r ? r->run_id : "");
	if (r)
		temporal__api__workflowservice__v1__start_workflow_execution_response__free_unpacked(r, NULL);
	w->started = true;
	sim_say(c, "%s started as %s", w->id, w->run);
	send_signals(w);
	env_timer_start(&w->load->env.env, &w->rival, below_ms(w->load, 10000));
}

static void start(struct sim_workflow *w, struct sim_node *edge)
{
	WS(StartWorkflowExecutionRequest) r;
	start_request(w, &r);
	sim_call(edge, "StartWorkflowExecution", &r.base, CALL_NS, on_started, w);
}

/* ------------------------------------------------------------------ the rival */

static void on_rival(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	(void)response;
	if (!err_is(e))
		sim_violation(w->load->c, "%s: another run was started beside the one it has", w->id);
	else if (!sim_passing(e) && e.code != ERR_ALREADY_EXISTS)
		sim_violation(w->load->c, "%s: the rival's start answered %s: %s", w->id, err_code_name(e.code),
			      e.message);
}

/* Once a round: its id is taken, running or not. */
static void on_rival_timer(struct env_timer *t)
{
	struct sim_workflow *w = container_of(t, struct sim_workflow, rival);
	struct sim_node *edge = sim_edge(w->load->c);
	WS(StartWorkflowExecutionRequest) r;
	if (!edge || !w->started)
		return;
	start_request(w, &r);
	r.request_id = (char *)"rival";
	r.workflow_id_reuse_policy = REJECT_DUPLICATE;
	sim_call(edge, "StartWorkflowExecution", &r.base, CALL_NS, on_rival, w);
}

/* ------------------------------------------------------------------ signals */

static void on_signalled(void *ctx, struct err e, struct bytes response)
{
	struct sim_signal *s = ctx;
	struct sim_workflow *w = s->workflow;
	unsigned bit = 1u << s->step;
	(void)response;
	/* The workflow can have ended because an earlier attempt, of ours or of the edge's, got through: then it is in
	 * the history, which will be judged. */
	bool was_there =
		e.code == ERR_NOT_FOUND && ((w->unsure_signals & bit) || sim_script_end(&w->script) == STEP_COMPLETE);
	if (err_is(e) && !was_there) {
		if (!sim_passing(e))
			sim_violation(w->load->c, "%s: signal %d answered %s: %s", w->id, s->step,
				      err_code_name(e.code), e.message);
		w->unsure_signals |= bit;
		sim_again(w->load, &s->timer);
		return;
	}
	w->acked |= bit;
	sim_say(w->load->c, "%s has signal %d", w->id, s->step);
}

static void on_signal_timer(struct env_timer *t)
{
	struct sim_signal *s = container_of(t, struct sim_signal, timer);
	struct sim_workflow *w = s->workflow;
	struct sim_node *edge = sim_edge(w->load->c);
	if (!edge) {
		sim_again(w->load, t);
		return;
	}
	WS(SignalWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = w->id; /* whichever run of the chain is open now */
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	r.signal_name = s->name;
	r.request_id = s->request_id;
	sim_call(edge, "SignalWorkflowExecution", &r.base, CALL_NS, on_signalled, s);
}

/* ------------------------------------------------------------------ queries */

/* The answer names the signals that the worker knows of: all that were acknowledged before the query was asked. */
static void judge_answer(struct sim_workflow *w, const WS(QueryWorkflowResponse) *r)
{
	char text[32] = "";
	const API(Common__V1__Payloads) *p = r->query_result;
	if (p && p->n_payloads && p->payloads[0]->data.len < sizeof text)
		memcpy(text, p->payloads[0]->data.data, p->payloads[0]->data.len);
	unsigned known = (unsigned)strtoul(text, NULL, 16);
	if (!*text || (known & w->query_expects) != w->query_expects)
		sim_violation(w->load->c, "%s: a query answered \"%s\", signals %x were acknowledged before", w->id,
			      text, w->query_expects);
}

static void on_queried(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	if (!w->ended)
		env_timer_start(&w->load->env.env, &w->query, below_ms(w->load, 3000));
	if (err_is(e)) {
		/* FAILED_PRECONDITION: no worker has seen it yet, or its tasks fail. */
		if (!sim_passing(e) && e.code != ERR_FAILED_PRECONDITION)
			sim_violation(w->load->c, "%s: query answered %s: %s", w->id, err_code_name(e.code), e.message);
		return;
	}
	WS(QueryWorkflowResponse) *r =
		temporal__api__workflowservice__v1__query_workflow_response__unpack(NULL, response.len, response.data);
	if (w->round == w->query_round)
		judge_answer(w, r);
	temporal__api__workflowservice__v1__query_workflow_response__free_unpacked(r, NULL);
}

static void on_query_timer(struct env_timer *t)
{
	struct sim_workflow *w = container_of(t, struct sim_workflow, query);
	struct sim_node *edge = sim_edge(w->load->c);
	if (!edge || !w->started) {
		sim_again(w->load, t);
		return;
	}
	WS(QueryWorkflowRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__QUERY_WORKFLOW_REQUEST__INIT;
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	API(Query__V1__WorkflowQuery) query = TEMPORAL__API__QUERY__V1__WORKFLOW_QUERY__INIT;
	run.workflow_id = w->id;
	query.query_type = (char *)"signals";
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = &run;
	r.query = &query;
	w->query_expects = w->acked;
	w->query_round = w->round;
	sim_call(edge, "QueryWorkflow", &r.base, CALL_NS, on_queried, w);
}

/* ------------------------------------------------------------------ asking for the end */

static bool all_acked(const struct sim_workflow *w)
{
	for (int i = 0; i < w->script.count; i++)
		if (w->script.steps[i] == STEP_SIGNAL && !(w->acked & 1u << i))
			return false;
	return true;
}

static bool wants_end(const struct sim_workflow *w)
{
	enum sim_step end = sim_script_end(&w->script);
	return !w->asked_to_end && (end == STEP_CANCELLED || end == STEP_TERMINATED) && all_acked(w);
}

static void on_end_asked(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	(void)response;
	sim_again(w->load, &w->next);
	bool was_there = e.code == ERR_NOT_FOUND && w->unsure;
	w->asked_to_end = !err_is(e) || was_there;
	if (!w->asked_to_end && !sim_passing(e))
		sim_violation(w->load->c, "%s: asking for its end answered %s: %s", w->id, err_code_name(e.code),
			      e.message);
	w->unsure = true;
}

static void ask_for_end(struct sim_workflow *w, struct sim_node *edge)
{
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = w->id;
	run.run_id = w->run;
	if (sim_script_end(&w->script) == STEP_TERMINATED) {
		WS(TerminateWorkflowExecutionRequest)
		r = TEMPORAL__API__WORKFLOWSERVICE__V1__TERMINATE_WORKFLOW_EXECUTION_REQUEST__INIT;
		r.namespace_ = (char *)SIM_NAMESPACE;
		r.workflow_execution = &run;
		sim_call(edge, "TerminateWorkflowExecution", &r.base, CALL_NS, on_end_asked, w);
		return;
	}
	WS(RequestCancelWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__REQUEST_CANCEL_WORKFLOW_EXECUTION_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	r.request_id = w->request_id;
	sim_call(edge, "RequestCancelWorkflowExecution", &r.base, CALL_NS, on_end_asked, w);
}

/* ------------------------------------------------------------------ reading */

static void begin_round(struct sim_workflow *w)
{
	struct sim_load *l = w->load;
	snprintf(w->request_id, sizeof w->request_id, "start-%d-%d", w->number, w->round);
	for (int i = 0; i < SIM_STEPS_MAX; i++) {
		struct sim_signal *s = &w->signals[i];
		s->workflow = w;
		s->step = i;
		s->timer.fn = on_signal_timer;
		snprintf(s->name, sizeof s->name, "s%d.%d", i, w->round);
		snprintf(s->request_id, sizeof s->request_id, "signal-%d-%d-%d", w->number, w->round, i);
		w->attempts[i] = 0;
		w->heartbeats[i] = 0;
	}
	w->started = w->asked_to_end = w->unsure = w->blind = false;
	w->acked = w->unsure_signals = w->query_expects = 0;
	w->history_seen = 0;
	w->chain = (struct sim_chain){0};
	sim_script_make(&w->script, &l->c->world);
	if (sim_script_has(&w->script, STEP_CONTINUE))
		snprintf(w->id, sizeof w->id, "w%d-%d", w->number, w->round);
	else
		snprintf(w->id, sizeof w->id, "w%d", w->number);
	env_timer_start(&l->env.env, &w->next, below_ms(l, 6000));
}

static void end_of_chain(struct sim_workflow *w, const struct sim_tally *last)
{
	struct sim_load *l = w->load;
	/* An attempt whose answer was lost is not recognised by the next run of the chain. */
	unsigned repeated = sim_script_has(&w->script, STEP_CONTINUE) ? ~0u : 0;
	struct buf text = {0};
	if (!w->blind && !sim_chain_judge(&w->chain, &w->script, last, w->acked, repeated, &text)) {
		buf_printf(&text, " (script: ");
		sim_script_print(&w->script, &text);
		sim_violation(l->c, "%s: %.*s)", w->id, (int)text.len, (const char *)text.data);
	}
	buf_done(&text);
	sim_say(l->c, "%s done", w->id);
	if (w->round + 1 < ROUNDS_MAX && !l->calm) {
		w->round++;
		begin_round(w);
		return;
	}
	w->ended = true;
	l->done++;
}

static void closed(struct sim_workflow *w, const struct sim_tally *t)
{
	if (t->closed != EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW) && !all_acked(w)) {
		sim_again(w->load, &w->next); /* an answer is still out */
		return;
	}
	sim_chain_add(&w->chain, t);
	if (t->closed != EVENT(WORKFLOW_EXECUTION_CONTINUED_AS_NEW)) {
		end_of_chain(w, t);
		return;
	}
	snprintf(w->run, sizeof w->run, "%s", w->blind ? "" : t->next_run);
	w->history_seen = 0;
	sim_again(w->load, &w->next);
}

static void on_history(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	if (err_is(e)) {
		if (!sim_passing(e))
			sim_violation(w->load->c, "%s: history answered %s: %s", w->id, err_code_name(e.code),
				      e.message);
		sim_again(w->load, &w->next);
		return;
	}
	WS(GetWorkflowExecutionHistoryResponse) *r =
		temporal__api__workflowservice__v1__get_workflow_execution_history_response__unpack(NULL, response.len,
												    response.data);
	struct sim_tally t = {0};
	sim_tally_add(&t, r->history);
	temporal__api__workflowservice__v1__get_workflow_execution_history_response__free_unpacked(r, NULL);
	if (t.kept < w->history_seen && !w->blind)
		sim_violation(w->load->c, "%s: the history shrank from %" PRId64 " to %" PRId64 " events", w->id,
			      w->history_seen, t.kept);
	w->history_seen = t.kept;
	if (t.closed)
		closed(w, &t);
	else
		sim_again(w->load, &w->next);
}

/* A long poll for the end: then it is read. */
static void on_waited(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	(void)response;
	if (err_is(e) && !sim_passing(e))
		sim_violation(w->load->c, "%s: waiting for its end answered %s: %s", w->id, err_code_name(e.code),
			      e.message);
	sim_again(w->load, &w->next);
}

static void read_history(struct sim_workflow *w, struct sim_node *edge)
{
	WS(GetWorkflowExecutionHistoryRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	bool wait = fake_world_chance(&w->load->c->world, 0.3);
	run.workflow_id = w->id;
	run.run_id = w->run;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = &run;
	r.wait_new_event = wait;
	if (wait)
		r.history_event_filter_type =
			TEMPORAL__API__ENUMS__V1__HISTORY_EVENT_FILTER_TYPE__HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT;
	sim_call(edge, "GetWorkflowExecutionHistory", &r.base, CALL_NS, wait ? on_waited : on_history, w);
}

/* ------------------------------------------------------------------ one step after the other */

static void on_next(struct env_timer *t)
{
	struct sim_workflow *w = container_of(t, struct sim_workflow, next);
	struct sim_node *edge = sim_edge(w->load->c);
	if (!edge)
		sim_again(w->load, &w->next);
	else if (!w->started)
		start(w, edge);
	else if (wants_end(w))
		ask_for_end(w, edge);
	else
		read_history(w, edge);
}

void sim_workflow_init(struct sim_workflow *w, struct sim_load *l, int number)
{
	w->load = l;
	w->number = number;
	w->next.fn = on_next;
	w->query.fn = on_query_timer;
	w->rival.fn = on_rival_timer;
	env_timer_start(&l->env.env, &w->query, below_ms(l, 9000));
	begin_round(w);
}
