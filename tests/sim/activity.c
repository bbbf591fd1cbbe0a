/*
 * The simulated workers' activities: worked on for a while, with heartbeats if they are long, then completed or failed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "tests/sim/load_impl.h"

#define CALL_NS	     (5 * NS_PER_S)
#define HEARTBEAT_NS (300 * NS_PER_MS)

/* An attempt in a worker's hands. */
struct sim_job {
	struct sim_worker *worker; /* NULL: it died */
	struct sim_workflow *workflow;
	int round, step, attempt;
	ProtobufCBinaryData token; /* owned */
	int64_t progress;	   /* told by heartbeats */
	int64_t until_ns;
	bool failing;
	bool calling;
	struct env_timer timer;
	struct sim_job *prev, *next;
};

static void job_free(struct sim_job *j)
{
	free(j->token.data);
	free(j);
}

static void job_end(struct sim_job *j)
{
	struct sim_worker *w = j->worker;
	if (w) {
		env_timer_stop(&w->load->env.env, &j->timer);
		DL_DELETE(w->jobs, j);
	}
	job_free(j);
}

void sim_jobs_drop(struct sim_worker *w)
{
	struct sim_job *j, *tmp;
	DL_FOREACH_SAFE (w->jobs, j, tmp) {
		DL_DELETE(w->jobs, j);
		env_timer_stop(&w->load->env.env, &j->timer);
		j->worker = NULL;
		if (!j->calling) /* else its call still comes back */
			job_free(j);
	}
}

/* ------------------------------------------------------------------ the end */

static void on_answered(void *ctx, struct err e, struct bytes response)
{
	struct sim_job *j = ctx;
	(void)response;
	j->calling = false;
	if (!j->worker) {
		job_free(j);
		return;
	}
	if (err_is(e) && sim_passing(e)) { /* SDKs repeat it */
		env_timer_start(&j->worker->load->env.env, &j->timer, 100 * NS_PER_MS);
		return;
	}
	if (err_is(e) && e.code != ERR_NOT_FOUND)
		sim_violation(j->worker->load->c, "%s: answering an activity: %s: %s", j->workflow->id,
			      err_code_name(e.code), e.message);
	job_end(j);
}

static void fail(struct sim_job *j, struct sim_node *edge)
{
	WS(RespondActivityTaskFailedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_FAILED_REQUEST__INIT;
	API(Failure__V1__Failure) f = TEMPORAL__API__FAILURE__V1__FAILURE__INIT;
	API(Failure__V1__ApplicationFailureInfo) info = TEMPORAL__API__FAILURE__V1__APPLICATION_FAILURE_INFO__INIT;
	f.message = (char *)"not this time";
	f.failure_info_case = TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
	f.application_failure_info = &info;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = j->token;
	r.failure = &f;
	sim_call(edge, "RespondActivityTaskFailed", &r.base, CALL_NS, on_answered, j);
}

static void finish(struct sim_job *j, struct sim_node *edge)
{
	j->calling = true;
	if (j->failing) {
		fail(j, edge);
		return;
	}
	WS(RespondActivityTaskCompletedRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RESPOND_ACTIVITY_TASK_COMPLETED_REQUEST__INIT;
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = j->token;
	r.result = sim_payloads("done");
	sim_call(edge, "RespondActivityTaskCompleted", &r.base, CALL_NS, on_answered, j);
}

/* ------------------------------------------------------------------ heartbeats */

static void on_beaten(void *ctx, struct err e, struct bytes response)
{
	struct sim_job *j = ctx;
	(void)response;
	j->calling = false;
	if (!j->worker) {
		job_free(j);
		return;
	}
	if (err_is(e) && e.code == ERR_NOT_FOUND) { /* timed out, or its workflow has ended */
		job_end(j);
		return;
	}
	if (err_is(e) && !sim_passing(e))
		sim_violation(j->worker->load->c, "%s: a heartbeat answered %s: %s", j->workflow->id,
			      err_code_name(e.code), e.message);
	env_timer_start(&j->worker->load->env.env, &j->timer, HEARTBEAT_NS);
}

static void beat(struct sim_job *j, struct sim_node *edge)
{
	WS(RecordActivityTaskHeartbeatRequest)
	r = TEMPORAL__API__WORKFLOWSERVICE__V1__RECORD_ACTIVITY_TASK_HEARTBEAT_REQUEST__INIT;
	j->calling = true;
	j->progress++;
	if (j->round == j->workflow->round)
		j->workflow->heartbeats[j->step] = max_i64(j->workflow->heartbeats[j->step], j->progress);
	r.namespace_ = (char *)SIM_NAMESPACE;
	r.task_token = j->token;
	r.details = sim_payloads("%" PRId64, j->progress);
	sim_call(edge, "RecordActivityTaskHeartbeat", &r.base, CALL_NS, on_beaten, j);
}

static void on_timer(struct env_timer *t)
{
	struct sim_job *j = container_of(t, struct sim_job, timer);
	struct sim_load *l = j->worker->load;
	struct sim_node *edge = sim_edge(l->c);
	if (sim_happens(l, 0.02)) {
		sim_worker_die(j->worker);
		return;
	}
	if (!edge)
		env_timer_start(&l->env.env, t, 100 * NS_PER_MS);
	else if (env_mono_ns(&l->env.env) < j->until_ns)
		beat(j, edge);
	else
		finish(j, edge);
}

/* ------------------------------------------------------------------ the beginning */

/* What the attempt before told by heartbeats: never more than was told. */
static int64_t last_progress(struct sim_job *j, const WS(PollActivityTaskQueueResponse) *task)
{
	char text[24] = "";
	const API(Common__V1__Payloads) *d = task->heartbeat_details;
	if (!d || !d->n_payloads || d->payloads[0]->data.len >= sizeof text)
		return 0;
	memcpy(text, d->payloads[0]->data.data, d->payloads[0]->data.len);
	int64_t progress = strtoll(text, NULL, 10);
	if (j->round == j->workflow->round && progress > j->workflow->heartbeats[j->step])
		sim_violation(j->worker->load->c, "%s: a heartbeat that was never made came back", j->workflow->id);
	return progress;
}

static int round_of(const WS(PollActivityTaskQueueResponse) *task)
{
	char text[24] = "";
	const API(Common__V1__Payloads) *in = task->input;
	if (in && in->n_payloads && in->payloads[0]->data.len < sizeof text)
		memcpy(text, in->payloads[0]->data.data, in->payloads[0]->data.len);
	return atoi(text);
}

static void check_attempt(struct sim_job *j)
{
	struct sim_workflow *wf = j->workflow;
	struct sim_cluster *c = wf->load->c;
	if (j->round != wf->round)
		return; /* its run has ended since */
	unsigned bit = 1u << (j->attempt & 31);
	sim_say(c, "worker %d has attempt %d of activity %d of %s", j->worker->number, j->attempt, j->step, wf->id);
	if (wf->attempts[j->step] & bit)
		sim_violation(c, "%s: attempt %d of activity %d was started twice", wf->id, j->attempt, j->step);
	if (wf->script.steps[j->step] == STEP_ACTIVITY_ONCE && j->attempt != 1)
		sim_violation(c, "%s: activity %d may be tried once, this is attempt %d", wf->id, j->step, j->attempt);
	wf->attempts[j->step] |= bit;
}

void sim_job_start(struct sim_worker *w, const WS(PollActivityTaskQueueResponse) *task)
{
	struct sim_load *l = w->load;
	struct sim_job *j = new0(struct sim_job);
	j->worker = w;
	j->workflow = sim_workflow_find(l, task->workflow_execution->workflow_id);
	j->step = atoi(task->activity_id + 1);
	j->attempt = task->attempt;
	j->timer.fn = on_timer;
	j->token = (ProtobufCBinaryData){task->task_token.len, mem_dup(task->task_token.data, task->task_token.len)};
	DL_APPEND(w->jobs, j);
	if (!j->workflow || j->step < 0 || j->step >= SIM_STEPS_MAX) {
		sim_violation(l->c, "an activity that nobody scheduled");
		job_end(j);
		return;
	}
	j->round = round_of(task);
	check_attempt(j);
	j->progress = last_progress(j, task);
	j->failing = sim_happens(l, 0.15);
	bool is_long = str_eq(task->activity_type->name, "long");
	int64_t takes = (int64_t)fake_world_below(&l->c->world, is_long ? 4000 : 300) * NS_PER_MS;
	j->until_ns = env_mono_ns(&l->env.env) + takes;
	env_timer_start(&l->env.env, &j->timer, is_long ? HEARTBEAT_NS : takes);
}
