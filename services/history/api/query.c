/*
 * Queries: questions to a worker that leave no trace in history.
 *
 *             no task pending                    a gateway has a poll
 *   asked ───────────────────────► DIRECT ─────────────────────────────► STARTED ──► answered
 *     │ a workflow task is pending    ▲ sticky worker gone: the normal queue
 *     ▼                               │
 *   BUFFERED ──(task starts)──► ATTACHED ──(task completed with its result)──► answered
 *     ▲                               │
 *     └──────(task failed, timed out, or completed without its result)
 *
 * So a query sees what was acknowledged before it: while there is news that the worker has not processed, it waits for
 * the task that brings the news. A query lives in memory only; its caller asks again when the shard moves.
 */
#include <temporal/api/errordetails/v1/message.pb-c.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/api/call.h"
#include "services/history/measure.h"

#define STICKY_PATIENCE_NS (5 * NS_PER_S)

enum query_state { QUERY_BUFFERED, QUERY_ATTACHED, QUERY_DIRECT, QUERY_STARTED };

struct query {
	struct call *c;
	struct cached_run *run;
	struct query *next;
	enum query_state state;
	char id[37];
	bool on_sticky;
	struct env_timer timer; /* sticky patience */
	/* the answer, taken before the transition that carries it */
	struct err e;
	WS(QueryWorkflowResponse) resp;
};

#define QUERY_OF(q) (((const WS(QueryWorkflowRequest) *)(q)->c->request)->query)

static void unlist(struct query *q)
{
	LL_DELETE(q->run->queries, q);
	env_timer_stop(q->c->h->env, &q->timer);
}

static struct query *find(struct cached_run *run, const char *id)
{
	struct query *q;
	LL_FOREACH (run->queries, q)
		if (str_eq(q->id, id))
			return q;
	return NULL;
}

static bool task_pending(const struct cached_run *run)
{
	return run_open(run->run) && run->run->exec->workflow_task;
}

/* ------------------------------------------------------------------ directly, through matching */

static void send_to_matching(struct query *q, bool sticky)
{
	struct cached_run *run = q->run;
	const Perdure__RunStart *start = run->run->start;
	Perdure__QueueKey queue = PERDURE__QUEUE_KEY__INIT;
	Perdure__DispatchTask task = PERDURE__DISPATCH_TASK__INIT;
	struct env *env = q->c->h->env;
	queue.namespace_id = run->wf->namespace_id;
	queue.pollers = PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
	queue.sticky = sticky;
	queue.name = sticky ? run->run->exec->sticky_task_queue : start->task_queue;
	queue.normal_name = start->task_queue;
	task.kind = PERDURE__TASK_KIND__TASK_KIND_QUERY;
	task.namespace_id = run->wf->namespace_id;
	task.workflow_id = (char *)run->wf->workflow_id;
	task.run_id = start->run_id;
	task.shard = run->wf->shard->id;
	task.history_address = (char *)rpc_address(q->c->h->rpc);
	task.query_id = q->id;
	task.scheduled_time_ns = env_wall_ns(env);
	const char *trace = measure_call_trace(q->c).parent;
	if (trace)
		task.traceparent = (char *)trace;
	int64_t left = rpc_deadline_ns(q->c->req) - env_mono_ns(env);
	task.expires_ns = left < 3600 * NS_PER_S ? env_wall_ns(env) + left : 0;
	q->state = QUERY_DIRECT;
	q->on_sticky = sticky;
	if (sticky)
		env_timer_start(env, &q->timer, STICKY_PATIENCE_NS);
	dispatch_task(run->wf->shard, &queue, &task);
}

static void send_direct(struct query *q)
{
	send_to_matching(q, run_open(q->run->run) && !str_empty(q->run->run->exec->sticky_task_queue));
}

static void on_impatient(struct env_timer *t)
{
	struct query *q = container_of(t, struct query, timer);
	if (q->state == QUERY_DIRECT && q->on_sticky)
		send_to_matching(q, false);
}

void query_sticky_gone(struct cached_run *run, const char *query_id)
{
	struct query *q = find(run, query_id);
	if (q && q->state == QUERY_DIRECT && q->on_sticky) {
		env_timer_stop(q->c->h->env, &q->timer);
		send_to_matching(q, false);
	}
}

/* ------------------------------------------------------------------ asking */

static void on_gone(void *ctx, struct rpc_request *req)
{
	struct query *q = ctx;
	(void)req;
	if (!q->run)
		return;
	unlist(q);
	q->run = NULL;
	call_reply(q->c, err_static(ERR_CANCELLED, "context canceled"));
}

static bool rejected(struct call *c, struct cached_run *run)
{
	const WS(QueryWorkflowRequest) *req = c->request;
	int status = run->run->exec->status;
	bool reject = false;
	if (req->query_reject_condition ==
	    TEMPORAL__API__ENUMS__V1__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_OPEN)
		reject = !run_open(run->run);
	else if (req->query_reject_condition ==
		 TEMPORAL__API__ENUMS__V1__QUERY_REJECT_CONDITION__QUERY_REJECT_CONDITION_NOT_COMPLETED_CLEANLY)
		reject =
			!run_open(run->run) &&
			status !=
				TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_COMPLETED;
	if (!reject)
		return false;
	WS(QueryWorkflowResponse) resp = TEMPORAL__API__WORKFLOWSERVICE__V1__QUERY_WORKFLOW_RESPONSE__INIT;
	Temporal__Api__Query__V1__QueryRejected r = TEMPORAL__API__QUERY__V1__QUERY_REJECTED__INIT;
	r.status = (Temporal__Api__Enums__V1__WorkflowExecutionStatus)status;
	resp.query_rejected = &r;
	call_pack(c, &resp.base);
	call_after(c, run);
	return true;
}

static struct err not_ready(struct arena *a, const char *text)
{
	Temporal__Api__Errordetails__V1__WorkflowNotReadyFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__WORKFLOW_NOT_READY_FAILURE__INIT;
	return err_detail(a, err_static(ERR_FAILED_PRECONDITION, text), &detail.base);
}

static struct err no_such_query(struct arena *a)
{
	Temporal__Api__Errordetails__V1__NotFoundFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__NOT_FOUND_FAILURE__INIT;
	return err_detail(a, err_static(ERR_NOT_FOUND, "query task not found, or already expired"), &detail.base);
}

struct err step_query(struct call *c, struct workflow *wf, struct cached_run *run)
{
	(void)wf;
	const WS(QueryWorkflowRequest) *req = c->request;
	if (!req->query)
		return err_static(ERR_INVALID_ARGUMENT, "QueryRequest is not set on request.");
	if (rejected(c, run))
		return err_ok;
	const Perdure__RunExec *exec = run->run->exec;
	if (run_open(run->run) && !exec->workflow_task && !exec->last_completed_workflow_task_started_event_id)
		return not_ready(c->arena, "Workflow task is not scheduled yet.");
	if (run_open(run->run) && exec->workflow_task && exec->workflow_task->attempt > 3)
		return not_ready(c->arena, "Unable to query workflow due to Workflow Task in failed state.");
	struct query *q = arena_new0(c->arena, struct query);
	q->c = c;
	q->run = run;
	q->timer.fn = on_impatient;
	env_uuid(c->h->env, q->id);
	LL_APPEND(run->queries, q);
	rpc_on_cancel(c->req, on_gone, q);
	if (task_pending(run))
		q->state = QUERY_BUFFERED;
	else
		send_direct(q);
	return err_ok;
}

/* ------------------------------------------------------------------ with a workflow task */

/* A start that is repeated, or goes on after a hand-back, has a history that ends where the task began: it does not
 * show the buffered events, which may be older than the query. */
static bool attaches(const struct query *q)
{
	return q->state == QUERY_ATTACHED || (q->state == QUERY_BUFFERED && q->run->run->buffered_count == 0);
}

void queries_attach(struct cached_run *run, struct arena *arena, WS(PollWorkflowTaskQueueResponse) *resp)
{
	typedef WS(PollWorkflowTaskQueueResponse__QueriesEntry) entry;
	struct query *q;
	size_t n = 0;
	LL_FOREACH (run->queries, q)
		n += attaches(q);
	if (!n)
		return;
	resp->queries = arena_array(arena, entry *, n);
	LL_FOREACH (run->queries, q) {
		if (!attaches(q))
			continue;
		entry *e = arena_new0(arena, entry);
		temporal__api__workflowservice__v1__poll_workflow_task_queue_response__queries_entry__init(e);
		e->key = q->id;
		e->value = QUERY_OF(q);
		q->state = QUERY_ATTACHED;
		resp->queries[resp->n_queries++] = e;
	}
}

void queries_recheck(struct cached_run *run)
{
	bool pending = task_pending(run);
	bool started = pending && run->run->exec->workflow_task->started_event_id;
	struct query *q, *tmp;
	LL_FOREACH_SAFE (run->queries, q, tmp) {
		if (q->state == QUERY_ATTACHED && !started)
			q->state = QUERY_BUFFERED;
		if (q->state == QUERY_BUFFERED && !pending)
			send_direct(q);
	}
}

/* ------------------------------------------------------------------ answers */

static struct err failed(struct query *q, const char *message, const Temporal__Api__Failure__V1__Failure *failure)
{
	Temporal__Api__Errordetails__V1__QueryFailedFailure detail =
		TEMPORAL__API__ERRORDETAILS__V1__QUERY_FAILED_FAILURE__INIT;
	detail.failure = (Temporal__Api__Failure__V1__Failure *)failure;
	return err_detail(q->c->arena, err_make(q->c->arena, ERR_INVALID_ARGUMENT, "%s", message ? message : ""),
			  &detail.base);
}

/* Packs now: what it points to belongs to another request. */
static void take(struct query *q, bool ok, Temporal__Api__Common__V1__Payloads *result, const char *message,
		 const Temporal__Api__Failure__V1__Failure *failure)
{
	WS(QueryWorkflowResponse) resp = TEMPORAL__API__WORKFLOWSERVICE__V1__QUERY_WORKFLOW_RESPONSE__INIT;
	unlist(q);
	if (!ok) {
		q->e = failed(q, message, failure);
		return;
	}
	resp.query_result = result;
	call_pack(q->c, &resp.base);
}

static void answer(struct query *q)
{
	struct cached_run *run = q->run;
	q->run = NULL;
	q->c->failed = q->e;
	call_after(q->c, run);
}

struct query *queries_take_results(struct cached_run *run, const WS(RespondWorkflowTaskCompletedRequest) *req)
{
	struct query *taken = NULL;
	for (size_t i = 0; i < req->n_query_results; i++) {
		struct query *q = find(run, req->query_results[i]->key);
		const Temporal__Api__Query__V1__WorkflowQueryResult *r = req->query_results[i]->value;
		if (!q || !r || q->state != QUERY_ATTACHED)
			continue;
		take(q, r->result_type == TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED,
		     r->answer, r->error_message, r->failure);
		LL_PREPEND(taken, q);
	}
	return taken;
}

void queries_answer(struct cached_run *run, struct query *taken)
{
	while (taken) {
		struct query *q = taken;
		taken = q->next;
		q->run = run;
		answer(q);
	}
}

struct err step_query_completed(struct call *c, struct workflow *wf, struct cached_run *run)
{
	(void)wf;
	const WS(RespondQueryTaskCompletedRequest) *req = c->request;
	struct query *q = find(run, c->token->query_id);
	if (!q || q->state != QUERY_STARTED)
		return no_such_query(c->arena);
	take(q, req->completed_type == TEMPORAL__API__ENUMS__V1__QUERY_RESULT_TYPE__QUERY_RESULT_TYPE_ANSWERED,
	     req->query_result, req->error_message, req->failure);
	answer(q);
	call_after(c, run);
	return err_ok;
}

void queries_fail(struct cached_run *run, struct err e)
{
	struct query *q, *tmp;
	LL_FOREACH_SAFE (run->queries, q, tmp) {
		unlist(q);
		q->run = NULL;
		call_reply(q->c, e);
	}
}

void queries_gone(struct cached_run *run)
{
	struct query *q, *tmp;
	LL_FOREACH_SAFE (run->queries, q, tmp) {
		unlist(q);
		q->run = NULL;
		call_reply(q->c, call_not_found(q->c));
	}
}

/* ------------------------------------------------------------------ a gateway has a poll */

static ProtobufCBinaryData token_for(struct query *q, const Perdure__DispatchTask *task, struct arena *arena)
{
	Perdure__TaskToken t = PERDURE__TASK_TOKEN__INIT;
	t.kind = PERDURE__TASK_TOKEN__KIND__QUERY;
	t.namespace_id = q->run->wf->namespace_id;
	t.workflow_id = (char *)q->run->wf->workflow_id;
	t.run_id = q->run->run->start->run_id;
	t.query_id = q->id;
	t.traceparent = task->traceparent;
	size_t len = perdure__task_token__get_packed_size(&t);
	uint8_t *data = arena_alloc(arena, len);
	perdure__task_token__pack(&t, data);
	return (ProtobufCBinaryData){len, data};
}

bool query_start(struct cached_run *run, const Perdure__StartTask *req, struct arena *arena,
		 WS(PollWorkflowTaskQueueResponse) *resp)
{
	struct query *q = find(run, req->task->query_id);
	if (!q || (q->state != QUERY_DIRECT && q->state != QUERY_STARTED))
		return false;
	q->state = QUERY_STARTED;
	env_timer_stop(q->c->h->env, &q->timer);
	const Perdure__RunStart *start = run->run->start;
	resp->task_token = token_for(q, req->task, arena);
	resp->query = QUERY_OF(q);
	resp->workflow_execution = arena_new0(arena, Temporal__Api__Common__V1__WorkflowExecution);
	temporal__api__common__v1__workflow_execution__init(resp->workflow_execution);
	resp->workflow_execution->workflow_id = (char *)run->wf->workflow_id;
	resp->workflow_execution->run_id = start->run_id;
	resp->workflow_type = arena_new0(arena, Temporal__Api__Common__V1__WorkflowType);
	temporal__api__common__v1__workflow_type__init(resp->workflow_type);
	resp->workflow_type->name = start->workflow_type;
	resp->workflow_execution_task_queue = arena_new0(arena, Temporal__Api__Taskqueue__V1__TaskQueue);
	temporal__api__taskqueue__v1__task_queue__init(resp->workflow_execution_task_queue);
	resp->workflow_execution_task_queue->name = start->task_queue;
	resp->workflow_execution_task_queue->kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
	resp->previous_started_event_id = run->run->exec->last_completed_workflow_task_started_event_id;
	resp->attempt = 1;
	return true;
}
