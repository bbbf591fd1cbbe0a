/*
 * Tasks that a gateway had when matching, or we with our answer, lost the connection to it: nobody may ever do them.
 *
 * A workflow task that was started is taken back and offered anew at once, rather than when its worker's time is over.
 * If the worker has it all the same, its answer is refused, and the next worker does the task: workflow tasks may be
 * repeated. An attempt of an activity may not, unless our answer to its start is known to have left for nobody. Where
 * only matching lost the gateway, the attempt counts as failed, and the next one follows after the retry policy's
 * interval; if none may follow, it keeps its timeouts.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/history.h"

struct take_back {
	struct run_wait wait;
	struct shard *shard;
	Perdure__DispatchTask *task;
	char *request_id; /* NULL: whoever started it */
	bool unanswered;  /* no worker has it for sure */
};

static struct err undo(struct txn *t, const struct take_back *b, const Perdure__RevertStart *revert)
{
	if (b->task->kind == PERDURE__TASK_KIND__TASK_KIND_WORKFLOW)
		return core_revert_workflow_task(t, revert);
	return b->unanswered ? core_revert_activity(t, revert) : core_lost_activity(t, revert);
}

static void say(const struct take_back *b)
{
	const Perdure__DispatchTask *task = b->task;
	const char *text = task->kind == PERDURE__TASK_KIND__TASK_KIND_WORKFLOW || b->unanswered
				   ? "a task's gateway is gone: it is offered anew"
				   : "an activity's gateway is gone: it is tried again";
	log_debug(b->shard->h->log, text, log_str("workflow_id", task->workflow_id), log_str("run_id", task->run_id),
		  log_int("scheduled_event_id", task->scheduled_event_id), log_int("attempt", task->attempt));
}

static void take_back(struct take_back *b, struct workflow *wf, struct cached_run *run)
{
	struct shard *s = b->shard;
	bool activity = b->task->kind == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY;
	const Perdure__WorkflowTask *w = run->run->exec->workflow_task;
	if (!run_open(run->run) || (!activity && (!w || w->stamp != b->task->stamp || run_workflow_task_waits(w))))
		return;
	struct txn t;
	Perdure__RevertStart revert = PERDURE__REVERT_START__INIT;
	struct arena *arena = arena_new(SIZE_MAX);
	transition_begin(&t, s, wf, run, arena);
	revert.task = b->task;
	revert.request_id = b->request_id ? b->request_id : w->request_id;
	if (!err_is(undo(&t, b, &revert)) && t.touched) {
		say(b);
		transition_commit(&t, wf, run);
	}
	arena_free(arena);
}

static void on_run(struct run_wait *wait, struct err e, struct workflow *wf, struct cached_run *run)
{
	struct take_back *b = container_of(wait, struct take_back, wait);
	if (!err_is(e) && run && shard_serving(b->shard))
		take_back(b, wf, run);
	perdure__dispatch_task__free_unpacked(b->task, NULL);
	free(b->request_id);
	free(b);
}

static Perdure__DispatchTask *copy_task(const Perdure__DispatchTask *task)
{
	size_t len = perdure__dispatch_task__get_packed_size(task);
	uint8_t *packed = mem_alloc(len + 1);
	perdure__dispatch_task__pack(task, packed);
	Perdure__DispatchTask *copy = perdure__dispatch_task__unpack(NULL, len, packed);
	free(packed);
	return copy;
}

static void begin(struct history *h, const Perdure__DispatchTask *task, const char *request_id, bool unanswered)
{
	struct shard *s = history_shard_of(h, task->namespace_id, task->workflow_id);
	bool activity = task->kind == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY && request_id;
	if (!shard_serving(s) || (task->kind != PERDURE__TASK_KIND__TASK_KIND_WORKFLOW && !activity))
		return;
	struct take_back *b = new0(struct take_back);
	b->shard = s;
	b->task = copy_task(task);
	b->request_id = request_id ? mem_strdup(request_id) : NULL;
	b->unanswered = unanswered;
	b->wait.fn = on_run;
	struct workflow *wf = workflow_get(s, task->namespace_id, task->workflow_id);
	struct cached_run *run = NULL;
	if (!workflow_find(wf, task->run_id, &run)) {
		workflow_load(wf, task->run_id, &b->wait);
		return;
	}
	wf->pins++;
	on_run(&b->wait, err_ok, wf, run);
	wf->pins--;
	workflow_put(wf);
}

void history_take_back(struct history *h, const Perdure__DispatchTask *task, const char *request_id)
{
	begin(h, task, request_id, true);
}

/* Gateways of an earlier version start under ids of their own: workflow tasks are taken back whoever started them. */
static void lost(struct history *h, const Perdure__TakeBack *msg, size_t i)
{
	bool activity = msg->tasks[i]->kind == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY;
	begin(h, msg->tasks[i], activity && i < msg->n_request_ids ? msg->request_ids[i] : NULL, false);
}

static void serve(void *ctx, struct rpc_request *req)
{
	struct history *h = ctx;
	struct bytes body = rpc_body(req);
	Perdure__TakeBack *msg = perdure__take_back__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	for (size_t i = 0; msg && i < msg->n_tasks; i++)
		lost(h, msg, i);
	rpc_reply(req, NULL, 0);
}

void history_serve_take_back(struct history *h)
{
	rpc_serve(h->rpc, RPC_HISTORY_TAKE_BACK, serve, h);
}
