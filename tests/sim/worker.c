/*
 * The simulated workers: their polls, workflow tasks and queries. Activities are in activity.c.
 *
 *     poll ──task──▶ is the history whole, or does it go on where our cache ends? ──no──▶ read it
 *                         │ yes                                                           │
 *                         └────────────▶ decide, answer, until somebody says something ◀──┘
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "tests/sim/load_impl.h"

#define CALL_NS	    (5 * NS_PER_S)
#define POLL_NS	    (10 * NS_PER_S)
#define QUERIES_MAX 8
#define TRIES_MAX   4

/* A workflow task or query in a worker's hands. */
struct task {
	struct sim_worker *worker;
	int generation;
	struct sim_poller *poller; /* waits for us; NULL: the task came with an answer */
	struct sim_workflow *workflow;
	WS(PollWorkflowTaskQueueResponse) *resp;
	struct sim_tally tally;
	struct env_timer again;
	bool failing;
	int tries;
};

static void handle(struct sim_worker *w, struct sim_poller *poller, WS(PollWorkflowTaskQueueResponse) *resp);

static void task_done(struct task *t)
{
	struct sim_worker *w = t->worker;
	if (t->poller && t->generation == w->generation)
		sim_poll_again(t->poller);
	env_timer_stop(&w->load->env.env, &t->again);
	temporal__api__workflowservice__v1__poll_workflow_task_queue_response__free_unpacked(t->resp, NULL);
	free(t);
}

/* The process that had the task is no more. */
static bool orphaned(const struct task *t)
{
	return t->generation != t->worker->generation;
}

/* ------------------------------------------------------------------ commands */

static void schedule_activity(struct task *t, int step, API(Command__V1__Command) * cmd)
{
	static API(Command__V1__ScheduleActivityTaskCommandAttributes) act;
	static API(Common__V1__ActivityType) type;
	static API(Common__V1__RetryPolicy) retry;
	static API(Taskqueue__V1__TaskQueue) queue;
	static Google__Protobuf__Duration timeout, heartbeat;
	static char id[16];
	enum sim_step kind = t->workflow->script.steps[step];
	temporal__api__command__v1__schedule_activity_task_command_attributes__init(&act);
	temporal__api__common__v1__activity_type__init(&type);
	temporal__api__common__v1__retry_policy__init(&retry);
	temporal__api__taskqueue__v1__task_queue__init(&queue);
	google__protobuf__duration__init(&timeout);
	google__protobuf__duration__init(&heartbeat);
	snprintf(id, sizeof id, "a%d", step);
	type.name = (char *)(kind == STEP_ACTIVITY_LONG ? "long" : "short");
	queue.name = (char *)SIM_QUEUE;
	timeout.seconds = kind == STEP_ACTIVITY_LONG ? 20 : 5;
	heartbeat.seconds = 2;
	retry.maximum_attempts = 1;
	act.activity_id = id;
	act.activity_type = &type;
	act.task_queue = &queue;
	act.start_to_close_timeout = &timeout;
	act.heartbeat_timeout = kind == STEP_ACTIVITY_LONG ? &heartbeat : NULL;
	act.input = sim_payloads("%d", t->tally.round);
	act.retry_policy = kind == STEP_ACTIVITY_ONCE ? &retry : NULL;
	act.request_eager_execution = fake_world_chance(&t->worker->load->c->world, 0.2);
	cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK;
	cmd->attributes_case =
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
	cmd->schedule_activity_task_command_attributes = &act;
}

static void start_timer(int step, API(Command__V1__Command) * cmd)
{
	static API(Command__V1__StartTimerCommandAttributes) timer;
	static Google__Protobuf__Duration second;
	static char id[16];
	temporal__api__command__v1__start_timer_command_attributes__init(&timer);
	google__protobuf__duration__init(&second);
	second.seconds = 1;
	snprintf(id, sizeof id, "t%d", step);
	timer.timer_id = id;
	timer.start_to_fire_timeout = &second;
	cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_START_TIMER;
	cmd->attributes_case = TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_START_TIMER_COMMAND_ATTRIBUTES;
	cmd->start_timer_command_attributes = &timer;
}

static void continue_as_new(const struct task *t, int step, API(Command__V1__Command) * cmd)
{
	static API(Command__V1__ContinueAsNewWorkflowExecutionCommandAttributes) next;
	temporal__api__command__v1__continue_as_new_workflow_execution_command_attributes__init(&next);
	next.input =
		sim_payloads("round=%d from=%d signals=%x", t->tally.round, step + 1, sim_tally_signals(&t->tally));
	cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION;
	cmd->attributes_case =
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_CONTINUE_AS_NEW_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
	cmd->continue_as_new_workflow_execution_command_attributes = &next;
}

static void end(bool cancelled, API(Command__V1__Command) * cmd)
{
	static API(Command__V1__CompleteWorkflowExecutionCommandAttributes) complete;
	static API(Command__V1__CancelWorkflowExecutionCommandAttributes) cancel;
	temporal__api__command__v1__complete_workflow_execution_command_attributes__init(&complete);
	temporal__api__command__v1__cancel_workflow_execution_command_attributes__init(&cancel);
	if (cancelled) {
		cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION;
		cmd->attributes_case =
			TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_CANCEL_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
		cmd->cancel_workflow_execution_command_attributes = &cancel;
		return;
	}
	cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
	cmd->attributes_case =
		TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
	cmd->complete_workflow_execution_command_attributes = &complete;
}

/* Returns whether there is one. */
static bool next_command(struct task *t, API(Command__V1__Command) * cmd)
{
	int step = 0;
	switch (sim_decide(&t->workflow->script, &t->tally, &step)) {
	case COMMAND_NONE:
		return false;
	case COMMAND_ACTIVITY:
		schedule_activity(t, step, cmd);
		return true;
	case COMMAND_TIMER:
		start_timer(step, cmd);
		return true;
	case COMMAND_CONTINUE:
		continue_as_new(t, step, cmd);
		return true;
	case COMMAND_COMPLETE:
		end(false, cmd);
		return true;
	case COMMAND_CANCEL:
		end(true, cmd);
		return true;
	}
	return false;
}

/* ------------------------------------------------------------------ answers */

static void answer(struct task *t);

static void on_again(struct env_timer *timer)
{
	struct task *t = container_of(timer, struct task, again);
	if (orphaned(t))
		task_done(t);
	else
		answer(t);
}

/* Whether the answer must be repeated; else its outcome is known, or nobody asks any more. */
static bool repeat(struct task *t, struct err e)
{
	if (!err_is(e) || !sim_passing(e) || orphaned(t) || ++t->tries >= TRIES_MAX)
		return false;
	env_timer_start(&t->worker->load->env.env, &t->again, 100 * NS_PER_MS);
	return true;
}

static void on_answered(void *ctx, struct err e, struct bytes response)
{
	struct task *t = ctx;
	struct sim_worker *w = t->worker;
	(void)response;
	/* NOT_FOUND: the task is over for us; INVALID_ARGUMENT: news came meanwhile (unhandled command). */
	if (err_is(e) && !sim_passing(e) && e.code != ERR_NOT_FOUND && e.code != ERR_INVALID_ARGUMENT)
		sim_violation(w->load->c, "%s: answering a task: %s: %s", t->workflow->id, err_code_name(e.code),
			      e.message);
	if (repeat(t, e))
		return;
	WS(RespondWorkflowTaskCompletedResponse) *r =
		err_is(e) || orphaned(t) || t->failing || t->resp->query
			? NULL
			: temporal__api__workflowservice__v1__respond_workflow_task_completed_response__unpack(
				  NULL, response.len, response.data);
	for (size_t i = 0; r && i < r->n_activity_tasks; i++)
		sim_job_start(w, r->activity_tasks[i]);
	WS(PollWorkflowTaskQueueResponse) *more = r ? r->workflow_task : NULL;
	if (r) {
		r->workflow_task = NULL;
		temporal__api__workflowservice__v1__respond_workflow_task_completed_response__free_unpacked(r, NULL);
	}
	task_done(t);
	if (more && more->task_token.len)
		handle(w, NULL, more);
	else if (more)
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__free_unpacked(more, NULL);
}

static void answer_query(struct task *t, struct sim_node *edge)
{
	WS(RespondQueryTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_QUERY_TASK_COMPLETED_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = t->resp->task_token;
	r.completed_type = TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
	r.query_result = sim_payloads("%x", sim_tally_signals(&t->tally));
	sim_call(edge, "RespondQueryTaskCompleted", &r.base, CALL_NS, on_answered, t);
}

static void fail_task(struct task *t, struct sim_node *edge)
{
	WS(RespondWorkflowTaskFailedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_WORKFLOW_TASK_FAILED_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = t->resp->task_token;
	r.cause =
		TEMPORAL__API__ENUMS__V1__WORKFLOW_TASK_FAILED_CAUSE__WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE;
	sim_call(edge, "RespondWorkflowTaskFailed", &r.base, CALL_NS, on_answered, t);
}

static void complete_task(struct task *t, struct sim_node *edge)
{
	typedef WS(RespondWorkflowTaskCompletedRequest__QueryResultsEntry) entry;
	struct sim_worker *w = t->worker;
	WS(RespondWorkflowTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
	API(Command__V1__Command) cmd = TEMPORAL__API__COMMAND__V1__COMMAND__INIT, *cmds[1] = {&cmd};
	API(Taskqueue__V1__StickyExecutionAttributes)
	sticky = TEMPORAL__API__TASKQUEUE__V1__STICKY_EXECUTION_ATTRIBUTES__INIT;
	API(Taskqueue__V1__TaskQueue) queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	API(Query__V1__WorkflowQueryResult) result = TEMPORAL__API__QUERY__V1__WORKFLOW_QUERY_RESULT__INIT;
	Google__Protobuf__Duration patience = GOOGLE__PROTOBUF__DURATION__INIT;
	entry entries[QUERIES_MAX], *list[QUERIES_MAX];
	patience.seconds = 2;
	queue.name = w->sticky_queue;
	queue.kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
	queue.normal_name = (char *)SIM_QUEUE;
	sticky.worker_task_queue = &queue;
	sticky.schedule_to_start_timeout = &patience;
	result.result_type = TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED;
	result.answer = sim_payloads("%x", sim_tally_signals(&t->tally));
	for (size_t i = 0; i < t->resp->n_queries && i < QUERIES_MAX; i++) {
		list[i] = &entries[i];
		temporal__api__workflowservice__v1__respond_workflow_task_completed_request__query_results_entry__init(
			list[i]);
		list[i]->key = t->resp->queries[i]->key;
		list[i]->value = &result;
		r.n_query_results = i + 1;
	}
	r.query_results = list;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = t->resp->task_token;
	r.commands = cmds;
	r.n_commands = next_command(t, &cmd) ? 1 : 0;
	r.sticky_attributes = &sticky;
	r.return_new_workflow_task = fake_world_chance(&w->load->c->world, 0.5);
	sim_call(edge, "RespondWorkflowTaskCompleted", &r.base, CALL_NS, on_answered, t);
}

static void answer(struct task *t)
{
	struct sim_node *edge = sim_edge(t->worker->load->c);
	if (!edge)
		env_timer_start(&t->worker->load->env.env, &t->again, 100 * NS_PER_MS);
	else if (t->resp->query)
		answer_query(t, edge);
	else if (t->failing)
		fail_task(t, edge);
	else
		complete_task(t, edge);
}

/* ------------------------------------------------------------------ its history */

static struct sim_cached *cached(struct sim_worker *w, const char *run_id)
{
	for (int i = 0; i < SIM_CACHE_MAX; i++)
		if (str_eq(w->cache[i].run_id, run_id))
			return &w->cache[i];
	return NULL;
}

static void keep(struct sim_worker *w, const char *run_id, const struct sim_tally *tally)
{
	struct sim_cached *c = cached(w, run_id);
	if (!c)
		c = &w->cache[w->cache_next++ % SIM_CACHE_MAX];
	snprintf(c->run_id, sizeof c->run_id, "%s", run_id);
	c->tally = *tally;
}

static void decide(struct task *t)
{
	struct sim_load *l = t->worker->load;
	const char *run_id = t->resp->workflow_execution->run_id;
	if (t->tally.gap)
		sim_violation(l->c, "%s: a worker got a history with a gap", t->workflow->id);
	if (!t->resp->query) {
		if (t->tally.events != t->resp->started_event_id)
			sim_violation(l->c, "%s: a task that started as event %" PRId64 " came with %" PRId64 " events",
				      t->workflow->id, t->resp->started_event_id, t->tally.events);
		keep(t->worker, run_id, &t->tally);
	}
	answer(t);
}

static void read_history(struct task *t);

static void on_history(void *ctx, struct err e, struct bytes response)
{
	struct task *t = ctx;
	if (orphaned(t)) {
		task_done(t);
		return;
	}
	if (err_is(e)) {
		if (!sim_passing(e))
			sim_violation(t->worker->load->c, "%s: a worker's read answered %s: %s", t->workflow->id,
				      err_code_name(e.code), e.message);
		task_done(t); /* its time is over anyway */
		return;
	}
	WS(GetWorkflowExecutionHistoryResponse) *r =
		temporal__api__workflowservice__v1__get_workflow_execution_history_response__unpack(NULL, response.len,
												    response.data);
	API(History__V1__History) *h = r->history;
	size_t all = h ? h->n_events : 0;
	/* What came after its task began is not the worker's business yet. */
	while (h && !t->resp->query && h->n_events && h->events[h->n_events - 1]->event_id > t->resp->started_event_id)
		h->n_events--;
	sim_tally_add(&t->tally, h);
	if (h)
		h->n_events = all;
	temporal__api__workflowservice__v1__get_workflow_execution_history_response__free_unpacked(r, NULL);
	/* The task may have timed out meanwhile: its own events are not there then. */
	if (!t->resp->query && t->tally.events != t->resp->started_event_id)
		task_done(t);
	else
		decide(t);
}

static void read_history(struct task *t)
{
	struct sim_node *edge = sim_edge(t->worker->load->c);
	if (!edge) {
		task_done(t);
		return;
	}
	WS(GetWorkflowExecutionHistoryRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = t->resp->workflow_execution;
	sim_call(edge, "GetWorkflowExecutionHistory", &r.base, CALL_NS, on_history, t);
}

/* Takes resp. */
static void handle(struct sim_worker *w, struct sim_poller *poller, WS(PollWorkflowTaskQueueResponse) *resp)
{
	struct sim_load *l = w->load;
	struct task *t = new0(struct task);
	const API(History__V1__History) *h = resp->history;
	int64_t first = h && h->n_events ? h->events[0]->event_id : 0;
	*t = (struct task){.worker = w, .generation = w->generation, .poller = poller, .resp = resp};
	t->again.fn = on_again;
	t->workflow = sim_workflow_find(l, resp->workflow_execution->workflow_id);
	if (!t->workflow) {
		sim_violation(l->c, "a task of an unknown workflow");
		task_done(t);
		return;
	}
	if (sim_happens(l, 0.04)) {
		sim_worker_die(w);
		task_done(t);
		return;
	}
	t->failing = sim_happens(l, 0.04);
	struct sim_cached *c = cached(w, resp->workflow_execution->run_id);
	int64_t before = first ? first - 1 : resp->previous_started_event_id;
	if (first != 1 && c && c->tally.events == before)
		t->tally = c->tally;
	else if (first != 1) {
		read_history(t);
		return;
	}
	sim_tally_add(&t->tally, h);
	decide(t);
}

/* ------------------------------------------------------------------ polling */

static void on_polled(void *ctx, struct err e, struct bytes response)
{
	struct sim_poller *p = ctx;
	struct sim_worker *w = p->worker;
	p->call = NULL;
	sim_poll_again(p);
	if (err_is(e)) {
		if (!sim_passing(e))
			sim_violation(w->load->c, "a poll answered %s: %s", err_code_name(e.code), e.message);
		return;
	}
	if (p->kind == POLL_ACTIVITY) {
		WS(PollActivityTaskQueueResponse) *task =
			temporal__api__workflowservice__v1__poll_activity_task_queue_response__unpack(
				NULL, response.len, response.data);
		if (task && task->task_token.len)
			sim_job_start(w, task);
		temporal__api__workflowservice__v1__poll_activity_task_queue_response__free_unpacked(task, NULL);
		return;
	}
	WS(PollWorkflowTaskQueueResponse) *task =
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__unpack(NULL, response.len,
											      response.data);
	if (!task) {
		sim_violation(w->load->c, "a workflow poll answered something that cannot be decoded");
	} else if (!task->task_token.len) {
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__free_unpacked(task, NULL);
	} else {
		env_timer_stop(&w->load->env.env, &p->again);
		handle(w, p, task);
	}
}

/* In turns, so that what waits gathers. */
static bool away(const struct sim_load *l)
{
	return l->c->deep && !l->calm && l->c->world.now_ns / NS_PER_S % 8 < 5;
}

static void poll(struct sim_poller *p)
{
	struct sim_worker *w = p->worker;
	struct sim_node *edge = sim_edge(w->load->c);
	API(Taskqueue__V1__TaskQueue) queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	WS(PollWorkflowTaskQueueRequest) wf =
		TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	WS(PollActivityTaskQueueRequest) act =
		TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
	if (!edge || away(w->load)) {
		sim_poll_again(p);
		return;
	}
	queue.name = p->kind == POLL_STICKY ? w->sticky_queue : (char *)SIM_QUEUE;
	queue.kind = p->kind == POLL_STICKY ? TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY
					    : TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
	queue.normal_name = p->kind == POLL_STICKY ? (char *)SIM_QUEUE : queue.normal_name;
	wf.namespace_ = act.namespace_ = (char *)SIM_NAMESPACE;
	wf.task_queue = act.task_queue = &queue;
	wf.identity = act.identity = w->sticky_queue;
	p->call = p->kind == POLL_ACTIVITY ? sim_call(edge, "PollActivityTaskQueue", &act.base, POLL_NS, on_polled, p)
					   : sim_call(edge, "PollWorkflowTaskQueue", &wf.base, POLL_NS, on_polled, p);
}

static void on_poll_timer(struct env_timer *t)
{
	poll(container_of(t, struct sim_poller, again));
}

void sim_poll_again(struct sim_poller *p)
{
	sim_again(p->worker->load, &p->again);
}

/* ------------------------------------------------------------------ life */

static void begin(struct sim_worker *w)
{
	snprintf(w->sticky_queue, sizeof w->sticky_queue, "sticky-%d-%d", w->number, w->generation);
	for (int i = 0; i < POLL_KINDS; i++)
		sim_poll_again(&w->pollers[i]);
}

void sim_worker_init(struct sim_worker *w, struct sim_load *l, int number)
{
	w->load = l;
	w->number = number;
	for (int i = 0; i < POLL_KINDS; i++) {
		w->pollers[i].worker = w;
		w->pollers[i].kind = (enum sim_poll_kind)i;
		w->pollers[i].again.fn = on_poll_timer;
	}
	begin(w);
}

void sim_worker_die(struct sim_worker *w)
{
	sim_say(w->load->c, "worker %d dies", w->number);
	w->generation++;
	memset(w->cache, 0, sizeof w->cache);
	sim_jobs_drop(w);
	for (int i = 0; i < POLL_KINDS; i++) {
		struct sim_poller *p = &w->pollers[i];
		if (p->call)
			sim_cancel(p->call);
		p->call = NULL;
	}
	begin(w);
}

void sim_worker_free(struct sim_worker *w)
{
	sim_jobs_drop(w);
}
