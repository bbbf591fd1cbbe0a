/*
 * A worker's answer to a workflow task: the core decides, queries get their results, and the worker may get its next
 * task at once.
 */
#include "common/mem/mem.h"
#include "services/history/api/call.h"

struct completed {
	struct call *c;
	struct task_response response;
	WS(RespondWorkflowTaskCompletedResponse) *resp;
};

/* The response's workflow_task field (1) is spliced: its history was never decoded. */
static void on_next_task(struct task_response *r, struct err e, struct bytes packed)
{
	struct completed *done = container_of(r, struct completed, response);
	struct call *c = done->c;
	if (err_is(e)) {
		call_reply(c, e);
		return;
	}
	struct buf out = {0};
	buf_put_bytes(&out, c->response);
	buf_put_field(&out, 1, packed);
	c->response = arena_copy(c->arena, buf_view(&out));
	buf_done(&out);
	call_after(c, r->run);
}

static void next_task(struct call *c, struct txn *t, struct completed *done, struct cached_run *run)
{
	WS(PollWorkflowTaskQueueResponse) *task = done->resp->workflow_task;
	done->resp->workflow_task = NULL;
	call_pack(c, &done->resp->base); /* now: it refers to the run */
	done->response.fn = on_next_task;
	done->response.arena = c->arena;
	done->response.run = run;
	done->response.resp = task;
	core_transient_events(t, &done->response.transient_events[0], &done->response.transient_events[1]);
	queries_attach(run, c->arena, task);
	task_response_make(&done->response, TASK_HISTORY_NEWS);
}

struct err step_workflow_task_completed(struct call *c, struct workflow *wf, struct cached_run *run)
{
	const WS(RespondWorkflowTaskCompletedRequest) *req = c->request;
	struct completed *done = arena_new0(c->arena, struct completed);
	struct wft_completed result = {0};
	struct txn t;
	WS(RespondWorkflowTaskCompletedResponse) *resp = arena_new0(c->arena, WS(RespondWorkflowTaskCompletedResponse));
	temporal__api__workflowservice__v1__respond_workflow_task_completed_response__init(resp);
	result.response = resp;
	call_begin(c, &t, wf, run);
	try(core_complete_workflow_task(&t, c->token, req, &result));
	if (err_is(result.failed)) {
		c->failed = result.failed;
		call_commit(c, &t, wf, run);
		return err_ok;
	}
	struct query *answered = queries_take_results(run, req);
	run = transition_commit(&t, wf, run);
	queries_answer(run, answered);
	if (err_is(t.ended)) {
		c->failed = t.ended;
		call_after(c, run);
		return err_ok;
	}
	done->c = c;
	done->resp = result.response;
	if (result.start_new) {
		next_task(c, &t, done, run);
		return err_ok;
	}
	call_pack(c, &result.response->base);
	call_after(c, run);
	return err_ok;
}
