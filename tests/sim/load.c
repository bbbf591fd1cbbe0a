/*
 * The simulated clients and workers.
 */
#include "tests/sim/load.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/mem/mem.h"

#define QUEUE	    "sim"
#define API(name)   Temporal__Api__##name
#define EVENT(name) TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name

/* ------------------------------------------------------------------ model */

struct sim_workflow {
	struct sim_load *load;
	int number;
	char id[32], request_id[48], signal_id[48];
	char run_id[40];
	bool started, signalled, done;
	int64_t history_seen; /* events acknowledged to somebody */
	int attempt_running;  /* of the activity, with a worker */
	int attempts_started;
	struct env_timer retry;
};

struct sim_worker {
	struct sim_load *load;
	bool activity;
	int number;
	struct env_timer again;
	/* what it works on */
	WS(PollActivityTaskQueueResponse) *task;
	struct sim_workflow *workflow;
	struct env_timer work;
};

struct sim_load {
	struct sim_cluster *c;
	struct fake_env env; /* the clients' own process: never killed */
	struct sim_workflow *workflows;
	int count, done;
	struct sim_worker *workers;
	int worker_count;
	bool calm;
};

static struct sim_workflow *by_id(struct sim_load *l, const char *id)
{
	for (int i = 0; i < l->count; i++)
		if (str_eq(l->workflows[i].id, id))
			return &l->workflows[i];
	return NULL;
}

/* What a client may hear while things break: it tries again. */
static bool passing(struct err e)
{
	return e.code == ERR_UNAVAILABLE || e.code == ERR_DEADLINE_EXCEEDED || e.code == ERR_CANCELLED ||
	       e.code == ERR_ABORTED || e.code == ERR_RESOURCE_EXHAUSTED;
}

static void again(struct sim_load *l, struct env_timer *t)
{
	env_timer_start(&l->env.env, t, (int64_t)(20 + fake_world_below(&l->c->world, 200)) * NS_PER_MS);
}

static API(Common__V1__Payloads) * payloads(const char *text)
{
	static API(Common__V1__Payload) payload;
	static API(Common__V1__Payload) * list[1] = {&payload};
	static API(Common__V1__Payloads) all;
	temporal__api__common__v1__payload__init(&payload);
	temporal__api__common__v1__payloads__init(&all);
	payload.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
	all.payloads = list;
	all.n_payloads = 1;
	return &all;
}

/* ------------------------------------------------------------------ clients */

static void next_step(struct sim_workflow *w);

static void on_retry(struct env_timer *t)
{
	next_step(container_of(t, struct sim_workflow, retry));
}

static void on_started(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	struct sim_cluster *c = w->load->c;
	if (err_is(e)) {
		if (!passing(e))
			sim_violation(c, "%s: start answered %s: %s", w->id, err_code_name(e.code), e.message);
		again(w->load, &w->retry);
		return;
	}
	WS(StartWorkflowExecutionResponse) *r =
		temporal__api__workflowservice__v1__start_workflow_execution_response__unpack(NULL, response.len,
											      response.data);
	if (w->run_id[0] && !str_eq(w->run_id, r->run_id))
		sim_violation(c, "%s: two runs for one request id: %s, %s", w->id, w->run_id, r->run_id);
	snprintf(w->run_id, sizeof w->run_id, "%s", r->run_id);
	temporal__api__workflowservice__v1__start_workflow_execution_response__free_unpacked(r, NULL);
	w->started = true;
	sim_say(c, "%s started as %s", w->id, w->run_id);
	again(w->load, &w->retry);
}

static void start(struct sim_workflow *w, struct sim_node *edge)
{
	WS(StartWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	API(Common__V1__WorkflowType) type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	API(Taskqueue__V1__TaskQueue) queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
	type.name = (char *)"sim";
	queue.name = (char *)QUEUE;
	timeout.seconds = 3;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_id = w->id;
	r.workflow_type = &type;
	r.task_queue = &queue;
	r.request_id = w->request_id;
	r.workflow_task_timeout = &timeout;
	r.input = payloads(w->id);
	sim_call(edge, "StartWorkflowExecution", &r.base, 5 * NS_PER_S, on_started, w);
}

static void on_signalled(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	(void)response;
	if (err_is(e) && !passing(e))
		sim_violation(w->load->c, "%s: signal answered %s: %s", w->id, err_code_name(e.code), e.message);
	if (!err_is(e)) {
		w->signalled = true;
		sim_say(w->load->c, "%s signalled", w->id);
	}
	again(w->load, &w->retry);
}

static void signal_it(struct sim_workflow *w, struct sim_node *edge)
{
	WS(SignalWorkflowExecutionRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = w->id;
	run.run_id = w->run_id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.workflow_execution = &run;
	r.signal_name = (char *)"go";
	r.request_id = w->signal_id;
	sim_call(edge, "SignalWorkflowExecution", &r.base, 5 * NS_PER_S, on_signalled, w);
}

struct tally {
	int scheduled, activity_done, timer_started, timer_fired, signals, completed, other_close;
	int64_t events;
	int64_t kept; /* … that stay: those of a workflow task tried again are shown, but not written yet */
	bool gap;
	char result[64];
};

static void tally_one(struct tally *t, const API(History__V1__HistoryEvent) * e)
{
	t->gap = t->gap || e->event_id != t->events + 1;
	t->events++;
	if (!(e->event_type == EVENT(WORKFLOW_TASK_SCHEDULED) &&
	      e->workflow_task_scheduled_event_attributes->attempt > 1) &&
	    !(e->event_type == EVENT(WORKFLOW_TASK_STARTED) && t->kept < t->events - 1))
		t->kept = t->events;
	t->scheduled += e->event_type == EVENT(ACTIVITY_TASK_SCHEDULED);
	t->activity_done += e->event_type == EVENT(ACTIVITY_TASK_COMPLETED);
	t->timer_started += e->event_type == EVENT(TIMER_STARTED);
	t->timer_fired += e->event_type == EVENT(TIMER_FIRED);
	t->signals += e->event_type == EVENT(WORKFLOW_EXECUTION_SIGNALED);
	t->other_close += e->event_type == EVENT(WORKFLOW_EXECUTION_FAILED) ||
			  e->event_type == EVENT(WORKFLOW_EXECUTION_TIMED_OUT) ||
			  e->event_type == EVENT(WORKFLOW_EXECUTION_TERMINATED) ||
			  e->event_type == EVENT(ACTIVITY_TASK_FAILED) ||
			  e->event_type == EVENT(ACTIVITY_TASK_TIMED_OUT);
	if (e->event_type != EVENT(WORKFLOW_EXECUTION_COMPLETED))
		return;
	t->completed++;
	const API(Common__V1__Payloads) *p = e->workflow_execution_completed_event_attributes->result;
	if (p && p->n_payloads && p->payloads[0]->data.len < sizeof t->result)
		memcpy(t->result, p->payloads[0]->data.data, p->payloads[0]->data.len);
}

static struct tally tally(const API(History__V1__History) * h)
{
	struct tally t = {0};
	for (size_t i = 0; h && i < h->n_events; i++)
		tally_one(&t, h->events[i]);
	return t;
}

/* The whole history of a workflow that said it was done. */
static void judge(struct sim_workflow *w, const struct tally *t)
{
	struct sim_cluster *c = w->load->c;
	char expect[64];
	snprintf(expect, sizeof expect, "%s+activity+timer+signal", w->id);
	if (t->gap)
		sim_violation(c, "%s: events are not numbered 1..n", w->id);
	else if (t->scheduled != 1 || t->activity_done != 1 || t->timer_started != 1 || t->timer_fired != 1 ||
		 t->signals != 1 || t->completed != 1 || t->other_close)
		sim_violation(c, "%s: activities %d/%d timers %d/%d signals %d completed %d other %d", w->id,
			      t->scheduled, t->activity_done, t->timer_started, t->timer_fired, t->signals,
			      t->completed, t->other_close);
	else if (!str_eq(t->result, expect))
		sim_violation(c, "%s: result \"%s\", expected \"%s\"", w->id, t->result, expect);
}

static void on_history(void *ctx, struct err e, struct bytes response)
{
	struct sim_workflow *w = ctx;
	if (err_is(e)) {
		if (!passing(e))
			sim_violation(w->load->c, "%s: history answered %s: %s", w->id, err_code_name(e.code),
				      e.message);
		again(w->load, &w->retry);
		return;
	}
	WS(GetWorkflowExecutionHistoryResponse) *r =
		temporal__api__workflowservice__v1__get_workflow_execution_history_response__unpack(NULL, response.len,
												    response.data);
	struct tally t = tally(r->history);
	temporal__api__workflowservice__v1__get_workflow_execution_history_response__free_unpacked(r, NULL);
	if (t.kept < w->history_seen)
		sim_violation(w->load->c, "%s: the history shrank from %" PRId64 " to %" PRId64 " events", w->id,
			      w->history_seen, t.kept);
	w->history_seen = t.kept;
	if (t.completed || t.other_close) {
		judge(w, &t);
		w->done = true;
		w->load->done++;
		sim_say(w->load->c, "%s done", w->id);
		return;
	}
	again(w->load, &w->retry);
}

static void read_history(struct sim_workflow *w, struct sim_node *edge)
{
	WS(GetWorkflowExecutionHistoryRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_WORKFLOW_EXECUTION_HISTORY_REQUEST__INIT;
	API(Common__V1__WorkflowExecution) run = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	run.workflow_id = w->id;
	run.run_id = w->run_id;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.execution = &run;
	sim_call(edge, "GetWorkflowExecutionHistory", &r.base, 5 * NS_PER_S, on_history, w);
}

static void next_step(struct sim_workflow *w)
{
	struct sim_node *edge = sim_edge(w->load->c);
	if (!edge)
		again(w->load, &w->retry);
	else if (!w->started)
		start(w, edge);
	else if (!w->signalled)
		signal_it(w, edge);
	else
		read_history(w, edge);
}

/* ------------------------------------------------------------------ workers: workflow tasks */

static void worker_poll(struct sim_worker *w);

static void on_answered(void *ctx, struct err e, struct bytes response)
{
	struct sim_worker *w = ctx;
	(void)response;
	/* NOT_FOUND: the task is over for us; INVALID_ARGUMENT: news came meanwhile (unhandled command). */
	if (err_is(e) && !passing(e) && e.code != ERR_NOT_FOUND && e.code != ERR_INVALID_ARGUMENT)
		sim_violation(w->load->c, "answering a task: %s: %s", err_code_name(e.code), e.message);
	again(w->load, &w->again);
}

static void decide(const struct tally *t, API(Command__V1__Command) * cmd, const char *result)
{
	static Google__Protobuf__Duration second = GOOGLE__PROTOBUF__DURATION__INIT,
					  five = GOOGLE__PROTOBUF__DURATION__INIT;
	static API(Command__V1__ScheduleActivityTaskCommandAttributes) act;
	static API(Command__V1__StartTimerCommandAttributes) timer;
	static API(Command__V1__CompleteWorkflowExecutionCommandAttributes) complete;
	static API(Common__V1__ActivityType) type;
	static API(Taskqueue__V1__TaskQueue) queue;
	second.seconds = 1;
	five.seconds = 5;
	if (!t->scheduled) {
		temporal__api__command__v1__schedule_activity_task_command_attributes__init(&act);
		temporal__api__common__v1__activity_type__init(&type);
		temporal__api__taskqueue__v1__task_queue__init(&queue);
		type.name = (char *)"sim";
		queue.name = (char *)QUEUE;
		act.activity_id = (char *)"a";
		act.activity_type = &type;
		act.task_queue = &queue;
		act.start_to_close_timeout = &five;
		cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK;
		cmd->attributes_case =
			TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_SCHEDULE_ACTIVITY_TASK_COMMAND_ATTRIBUTES;
		cmd->schedule_activity_task_command_attributes = &act;
	} else if (t->activity_done && !t->timer_started) {
		temporal__api__command__v1__start_timer_command_attributes__init(&timer);
		timer.timer_id = (char *)"t";
		timer.start_to_fire_timeout = &second;
		cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_START_TIMER;
		cmd->attributes_case = TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_START_TIMER_COMMAND_ATTRIBUTES;
		cmd->start_timer_command_attributes = &timer;
	} else if (t->timer_fired && t->signals) {
		temporal__api__command__v1__complete_workflow_execution_command_attributes__init(&complete);
		complete.result = payloads(result);
		cmd->command_type = TEMPORAL__API__ENUMS__V1__COMMAND_TYPE__COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION;
		cmd->attributes_case =
			TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_COMPLETE_WORKFLOW_EXECUTION_COMMAND_ATTRIBUTES;
		cmd->complete_workflow_execution_command_attributes = &complete;
	}
}

static void answer_workflow_task(struct sim_worker *w, const WS(PollWorkflowTaskQueueResponse) *task)
{
	struct sim_cluster *c = w->load->c;
	struct sim_node *edge = sim_edge(c);
	struct tally t = tally(task->history);
	char result[64];
	if (!edge || (!w->load->calm && fake_world_chance(&c->world, 0.05))) {
		again(w->load, &w->again); /* the worker died with it */
		return;
	}
	if (t.gap)
		sim_violation(c, "%s: a workflow task with a gap in its history",
			      task->workflow_execution->workflow_id);
	snprintf(result, sizeof result, "%.24s+activity+timer+signal", task->workflow_execution->workflow_id);
	WS(RespondWorkflowTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_WORKFLOW_TASK_COMPLETED_REQUEST__INIT;
	API(Command__V1__Command) cmd = TEMPORAL__API__COMMAND__V1__COMMAND__INIT, *cmds[1] = {&cmd};
	decide(&t, &cmd, result);
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = task->task_token;
	r.commands = cmds;
	r.n_commands = cmd.command_type ? 1 : 0;
	sim_call(edge, "RespondWorkflowTaskCompleted", &r.base, 5 * NS_PER_S, on_answered, w);
}

static void on_workflow_task(void *ctx, struct err e, struct bytes response)
{
	struct sim_worker *w = ctx;
	if (err_is(e) && !passing(e))
		sim_violation(w->load->c, "a workflow poll answered %s: %s", err_code_name(e.code), e.message);
	WS(PollWorkflowTaskQueueResponse) *task =
		err_is(e) ? NULL
			  : temporal__api__workflowservice__v1__poll_workflow_task_queue_response__unpack(
				    NULL, response.len, response.data);
	if (!err_is(e) && !task)
		sim_violation(w->load->c, "a workflow poll answered something that cannot be decoded");
	if (!task || !task->task_token.len)
		again(w->load, &w->again);
	else
		answer_workflow_task(w, task);
	if (task)
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__free_unpacked(task, NULL);
}

/* ------------------------------------------------------------------ workers: activities */

static void drop_task(struct sim_worker *w)
{
	temporal__api__workflowservice__v1__poll_activity_task_queue_response__free_unpacked(w->task, NULL);
	w->task = NULL;
	again(w->load, &w->again);
}

static void on_activity_answered(void *ctx, struct err e, struct bytes response)
{
	struct sim_worker *w = ctx;
	(void)response;
	if (err_is(e) && !passing(e) && e.code != ERR_NOT_FOUND)
		sim_violation(w->load->c, "answering an activity: %s: %s", err_code_name(e.code), e.message);
	if (err_is(e) && passing(e)) { /* SDKs repeat it */
		env_timer_start(&w->load->env.env, &w->work, 100 * NS_PER_MS);
		return;
	}
	drop_task(w);
}

static void fail_activity(struct sim_worker *w, struct sim_node *edge)
{
	WS(RespondActivityTaskFailedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;
	API(Failure__V1__Failure) f = TEMPORAL__API__FAILURE__V1__FAILURE__INIT;
	API(Failure__V1__ApplicationFailureInfo) info = TEMPORAL__API__FAILURE__V1__APPLICATION_FAILURE_INFO__INIT;
	f.message = (char *)"not this time";
	f.failure_info_case = TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
	f.application_failure_info = &info;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = w->task->task_token;
	r.failure = &f;
	sim_call(edge, "RespondActivityTaskFailed", &r.base, 5 * NS_PER_S, on_activity_answered, w);
}

static void on_work_done(struct env_timer *t)
{
	struct sim_worker *w = container_of(t, struct sim_worker, work);
	struct sim_cluster *c = w->load->c;
	struct sim_node *edge = sim_edge(c);
	if (!w->load->calm && fake_world_chance(&c->world, 0.05)) { /* the worker died */
		drop_task(w);
		return;
	}
	if (!edge) {
		env_timer_start(&w->load->env.env, &w->work, 100 * NS_PER_MS);
		return;
	}
	if (!w->load->calm && fake_world_chance(&c->world, 0.15)) {
		fail_activity(w, edge);
		return;
	}
	WS(RespondActivityTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = w->task->task_token;
	r.result = payloads("done");
	sim_call(edge, "RespondActivityTaskCompleted", &r.base, 5 * NS_PER_S, on_activity_answered, w);
}

static void on_activity_task(void *ctx, struct err e, struct bytes response)
{
	struct sim_worker *w = ctx;
	if (err_is(e) && !passing(e))
		sim_violation(w->load->c, "an activity poll answered %s: %s", err_code_name(e.code), e.message);
	w->task = err_is(e) ? NULL
			    : temporal__api__workflowservice__v1__poll_activity_task_queue_response__unpack(
				      NULL, response.len, response.data);
	if (!w->task || !w->task->task_token.len) {
		if (w->task)
			drop_task(w);
		else
			again(w->load, &w->again);
		return;
	}
	struct sim_workflow *wf = by_id(w->load, w->task->workflow_execution->workflow_id);
	sim_say(w->load->c, "worker %d has attempt %d of the activity of %s", w->number, w->task->attempt,
		w->task->workflow_execution->workflow_id);
	if (!wf)
		sim_violation(w->load->c, "an activity of an unknown workflow");
	else if (w->task->attempt <= wf->attempt_running)
		sim_violation(w->load->c, "%s: attempt %d of its activity started twice", wf->id, w->task->attempt);
	else
		wf->attempt_running = w->task->attempt;
	env_timer_start(&w->load->env.env, &w->work, (int64_t)fake_world_below(&w->load->c->world, 300) * NS_PER_MS);
}

/* ------------------------------------------------------------------ polling */

static void poll_workflows(struct sim_worker *w, struct sim_node *edge, API(Taskqueue__V1__TaskQueue) * queue)
{
	WS(PollWorkflowTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_queue = queue;
	r.identity = (char *)"sim";
	sim_call(edge, "PollWorkflowTaskQueue", &r.base, 10 * NS_PER_S, on_workflow_task, w);
}

static void poll_activities(struct sim_worker *w, struct sim_node *edge, API(Taskqueue__V1__TaskQueue) * queue)
{
	WS(PollActivityTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_queue = queue;
	r.identity = (char *)"sim";
	sim_call(edge, "PollActivityTaskQueue", &r.base, 10 * NS_PER_S, on_activity_task, w);
}

static void worker_poll(struct sim_worker *w)
{
	struct sim_node *edge = sim_edge(w->load->c);
	API(Taskqueue__V1__TaskQueue) queue = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	queue.name = (char *)QUEUE;
	queue.kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
	if (!edge)
		again(w->load, &w->again);
	else if (w->activity)
		poll_activities(w, edge, &queue);
	else
		poll_workflows(w, edge, &queue);
}

static void on_again(struct env_timer *t)
{
	worker_poll(container_of(t, struct sim_worker, again));
}

/* ------------------------------------------------------------------ life */

struct sim_load *sim_load_new(struct sim_cluster *c, int workflows, int workers)
{
	struct sim_load *l = new0(struct sim_load);
	l->c = c;
	fake_env_init(&l->env, &c->world);
	l->count = workflows;
	l->workflows = mem_zalloc((size_t)workflows * sizeof *l->workflows);
	l->worker_count = 2 * workers;
	l->workers = mem_zalloc((size_t)l->worker_count * sizeof *l->workers);
	for (int i = 0; i < workflows; i++) {
		struct sim_workflow *w = &l->workflows[i];
		w->load = l;
		w->number = i;
		w->retry.fn = on_retry;
		snprintf(w->id, sizeof w->id, "w%d", i);
		snprintf(w->request_id, sizeof w->request_id, "start-%d", i);
		snprintf(w->signal_id, sizeof w->signal_id, "signal-%d", i);
		env_timer_start(&l->env.env, &w->retry, (int64_t)fake_world_below(&c->world, 8000) * NS_PER_MS);
	}
	for (int i = 0; i < l->worker_count; i++) {
		struct sim_worker *w = &l->workers[i];
		w->load = l;
		w->activity = i % 2;
		w->number = i;
		w->again.fn = on_again;
		w->work.fn = on_work_done;
		again(l, &w->again);
	}
	return l;
}

/* After the cluster: its last calls still come back to us. */
void sim_load_free(struct sim_load *l)
{
	fake_env_done(&l->env);
	for (int i = 0; i < l->worker_count; i++)
		if (l->workers[i].task)
			temporal__api__workflowservice__v1__poll_activity_task_queue_response__free_unpacked(
				l->workers[i].task, NULL);
	free(l->workflows);
	free(l->workers);
	free(l);
}

bool sim_load_done(void *load)
{
	struct sim_load *l = load;
	return l->done == l->count || l->c->violation[0];
}

void sim_load_calm(struct sim_load *l)
{
	l->calm = true;
}

void sim_load_describe(const struct sim_load *l, struct buf *out)
{
	buf_printf(out, "%d of %d done;", l->done, l->count);
	for (int i = 0; i < l->count; i++) {
		const struct sim_workflow *w = &l->workflows[i];
		if (!w->done)
			buf_printf(out, " %s:%s%s events=%" PRId64, w->id, w->started ? "started," : "",
				   w->signalled ? "signalled," : "", w->history_seen);
	}
}
