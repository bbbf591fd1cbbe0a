/*
 * Gateways start tasks here: the state changes, and the whole public poll response goes back.
 *
 * A workflow task's start may leave before its record is committed, if everything else in the response is: losing it
 * equals losing the worker, and its nonce tells its answers from those to a start that a successor makes. An
 * activity's start never leaves early: with one attempt allowed it must not run twice.
 *
 * A start whose answer can reach nobody, because its gateway is gone before the answer leaves, is taken back, unless
 * the same start was asked for once more meanwhile: then that one's answer counts. Only the request that made the start
 * (or that inherited it in this way) takes it back: one that repeats a start whose answer has left, and comes late over
 * another way, must not undo what a worker is doing.
 */
#include <uthash.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/api/call.h"
#include "services/history/measure.h"
#include "services/history/shard/dispatch.h"

struct start {
	struct history *h;
	struct rpc_request *req;
	struct arena *arena;
	const Perdure__StartTask *msg;
	struct shard *shard;
	struct cached_run *run;
	struct run_wait wait;
	struct waiter waiter;
	struct task_response response;
	struct bytes packed;
	bool early;
	bool made; /* the start is this request's to take back */
	Perdure__StartTaskReply__Outcome outcome;
	int64_t seq;
	struct start_measure measure;
	/* Not answered yet: the first under its request id is in history->starts, the others follow it. */
	struct start *prev, *next;
	UT_hash_handle hh;
};

static struct err not_owner(void)
{
	return (struct err){.code = ERR_UNAVAILABLE,
			    .reason = ERR_REASON_NOT_OWNER,
			    .message = "this node does not own the workflow's shard"};
}

static void put_first(struct start *s)
{
	HASH_ADD_KEYPTR(hh, s->h->starts, s->msg->request_id, strlen(s->msg->request_id), s);
}

static void enlist(struct start *s)
{
	struct start *first = NULL;
	HASH_FIND_STR(s->h->starts, s->msg->request_id, first);
	if (first) {
		DL_APPEND(first, s);
		return;
	}
	DL_APPEND(first, s);
	put_first(s);
}

/* Returns the others under its request id. */
static struct start *unlink_start(struct start *s)
{
	struct start *first = NULL;
	HASH_FIND_STR(s->h->starts, s->msg->request_id, first);
	bool was_first = first == s;
	if (was_first)
		HASH_DEL(s->h->starts, s);
	DL_DELETE(first, s);
	if (was_first && first)
		put_first(first);
	return first;
}

/* Of others under its request id. Whether it is this one that has to take the start back, if nobody heard of it. */
static bool inherit(const struct start *s, struct start *others, bool heard)
{
	struct start *other;
	DL_FOREACH (others, other) {
		other->made = !heard && (other->made || s->made);
		if (!heard)
			return false;
	}
	return s->made && !heard;
}

static void fail(struct start *s, struct err e)
{
	inherit(s, unlink_start(s), false);
	measure_start_ended(s->h->measures, &s->measure, e);
	rpc_reply_err(s->req, e);
}

static void reply(struct start *s)
{
	bool started = s->outcome == PERDURE__START_TASK_REPLY__OUTCOME__STARTED;
	if (inherit(s, unlink_start(s), started && !rpc_cancelled(s->req)) && started)
		history_take_back(s->h, s->msg->task, s->msg->request_id);
	struct buf out = {0};
	buf_put_varint(&out, 1 << 3);
	buf_put_varint(&out, (uint64_t)s->outcome);
	if (s->packed.len) {
		buf_put_varint(&out, 2 << 3 | 2);
		buf_put_varint(&out, s->packed.len);
	}
	struct bytes parts[] = {buf_view(&out), s->packed};
	s->measure.outcome = s->outcome;
	measure_start_ended(s->h->measures, &s->measure, err_ok);
	rpc_reply(s->req, parts, array_len(parts));
	buf_done(&out);
}

static void on_durable(struct waiter *w, struct err e)
{
	struct start *s = container_of(w, struct start, waiter);
	if (!err_is(e) && !w->proven && !membership_lease_valid(s->h->membership))
		e = not_owner();
	if (err_is(e))
		fail(s, e);
	else
		reply(s);
}

static void answer(struct start *s)
{
	measure_start_step(s->h->measures, &s->measure, START_ANSWERED);
	if (s->early && membership_lease_valid(s->h->membership)) {
		reply(s);
		return;
	}
	s->waiter.fn = on_durable;
	shard_after(s->shard, s->seq, &s->waiter);
}

static void refuse(struct start *s, const struct cached_run *run)
{
	s->seq = run ? run->seq : 0;
	backlog_refused(s->shard, s->msg->task);
	answer(s);
}

/* Instead of starting the task, a limit ended the run. */
static void refuse_ended(struct start *s)
{
	s->outcome = PERDURE__START_TASK_REPLY__OUTCOME__GONE;
	s->packed = bytes_of(NULL, 0);
	refuse(s, s->run);
}

static void on_response(struct task_response *r, struct err e, struct bytes packed)
{
	struct start *s = container_of(r, struct start, response);
	if (err_is(e)) {
		fail(s, e);
		return;
	}
	s->packed = packed;
	answer(s);
}

static bool on_sticky_queue(const struct cached_run *run, const WS(PollWorkflowTaskQueueRequest) *poll)
{
	return poll->task_queue && !str_empty(run->run->exec->sticky_task_queue) &&
	       str_eq(poll->task_queue->name, run->run->exec->sticky_task_queue);
}

static void respond(struct start *s, WS(PollWorkflowTaskQueueResponse) *resp, enum task_history history)
{
	s->response.fn = on_response;
	s->response.arena = s->arena;
	s->response.run = s->run;
	s->response.resp = resp;
	s->seq = s->run->seq;
	measure_start_step(s->h->measures, &s->measure, START_DECIDED);
	task_response_make(&s->response, history);
}

static void begin(struct start *s, struct txn *t, struct cached_run *run)
{
	transition_begin(t, s->shard, run->wf, run, s->arena);
	if (!str_empty(s->msg->task->traceparent))
		t->trace = (struct task_trace){s->msg->task->traceparent, s->msg->task->trace_tasks};
}

static struct err start_workflow_task(struct start *s, struct cached_run *run)
{
	WS(PollWorkflowTaskQueueRequest) *poll =
		temporal__api__workflowservice__v1__poll_workflow_task_queue_request__unpack(
			arena_pb(s->arena), s->msg->poll_request.len, s->msg->poll_request.data);
	if (!poll)
		return err_static(ERR_INVALID_ARGUMENT, "the poll request cannot be decoded");
	WS(PollWorkflowTaskQueueResponse) *resp = arena_new0(s->arena, WS(PollWorkflowTaskQueueResponse));
	temporal__api__workflowservice__v1__poll_workflow_task_queue_response__init(resp);
	bool committed = run->seq <= s->shard->last_seq;
	bool sticky = on_sticky_queue(run, poll);
	struct txn t;
	begin(s, &t, run);
	try(core_start_workflow_task(&t, s->msg, poll, &s->outcome, resp));
	if (s->outcome != PERDURE__START_TASK_REPLY__OUTCOME__STARTED) {
		refuse(s, run);
		return err_ok;
	}
	bool wrote = t.touched;
	s->made = s->made || wrote;
	core_transient_events(&t, &s->response.transient_events[0], &s->response.transient_events[1]);
	s->run = transition_commit(&t, run->wf, run);
	if (err_is(t.ended)) {
		refuse_ended(s);
		return err_ok;
	}
	/* A start repeated for a lost reply waits for what it repeats. */
	s->early = wrote && committed;
	queries_attach(s->run, s->arena, resp);
	respond(s, resp, sticky ? TASK_HISTORY_NEWS : TASK_HISTORY_ALL);
	return err_ok;
}

static struct err start_query(struct start *s, struct cached_run *run)
{
	WS(PollWorkflowTaskQueueRequest) *poll =
		temporal__api__workflowservice__v1__poll_workflow_task_queue_request__unpack(
			arena_pb(s->arena), s->msg->poll_request.len, s->msg->poll_request.data);
	if (!poll)
		return err_static(ERR_INVALID_ARGUMENT, "the poll request cannot be decoded");
	WS(PollWorkflowTaskQueueResponse) *resp = arena_new0(s->arena, WS(PollWorkflowTaskQueueResponse));
	temporal__api__workflowservice__v1__poll_workflow_task_queue_response__init(resp);
	if (!query_start(run, s->msg, s->arena, resp)) {
		s->outcome = PERDURE__START_TASK_REPLY__OUTCOME__GONE;
		refuse(s, run);
		return err_ok;
	}
	s->outcome = PERDURE__START_TASK_REPLY__OUTCOME__STARTED;
	s->run = run;
	respond(s, resp, on_sticky_queue(run, poll) ? TASK_HISTORY_NONE : TASK_HISTORY_ALL);
	return err_ok;
}

static struct err start_activity(struct start *s, struct cached_run *run)
{
	WS(PollActivityTaskQueueRequest) *poll =
		temporal__api__workflowservice__v1__poll_activity_task_queue_request__unpack(
			arena_pb(s->arena), s->msg->poll_request.len, s->msg->poll_request.data);
	if (!poll)
		return err_static(ERR_INVALID_ARGUMENT, "the poll request cannot be decoded");
	WS(PollActivityTaskQueueResponse)
	resp = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_RESPONSE__INIT;
	struct txn t;
	begin(s, &t, run);
	try(core_start_activity(&t, s->msg, poll, &s->outcome, &resp));
	if (s->outcome != PERDURE__START_TASK_REPLY__OUTCOME__STARTED) {
		refuse(s, run);
		return err_ok;
	}
	s->made = s->made || t.touched;
	size_t len = protobuf_c_message_get_packed_size(&resp.base);
	uint8_t *data = arena_alloc(s->arena, len);
	protobuf_c_message_pack(&resp.base, data);
	s->packed = bytes_of(data, len);
	s->run = transition_commit(&t, run->wf, run);
	if (err_is(t.ended)) {
		refuse_ended(s);
		return err_ok;
	}
	s->seq = s->run->seq;
	answer(s);
	return err_ok;
}

static void start_on(struct start *s, struct cached_run *run)
{
	struct err e = err_ok;
	if (!run) {
		s->outcome = PERDURE__START_TASK_REPLY__OUTCOME__GONE;
		refuse(s, NULL);
		return;
	}
	switch (s->msg->task->kind) {
	case PERDURE__TASK_KIND__TASK_KIND_WORKFLOW:
		e = start_workflow_task(s, run);
		break;
	case PERDURE__TASK_KIND__TASK_KIND_ACTIVITY:
		e = start_activity(s, run);
		break;
	case PERDURE__TASK_KIND__TASK_KIND_QUERY:
		e = start_query(s, run);
		break;
	case PERDURE__TASK_KIND__TASK_KIND_UNSPECIFIED:
	case PERDURE__TASK_KIND__TASK_KIND_NEXUS:
	case _PERDURE__TASK_KIND_IS_INT_SIZE:
		e = err_static(ERR_UNIMPLEMENTED, "tasks of this kind are not started here");
		break;
	}
	if (err_is(e)) /* else it is or will be answered, perhaps gone by now */
		fail(s, e);
}

static void on_run(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *run)
{
	(void)wf;
	struct start *s = container_of(w, struct start, wait);
	if (!err_is(e) && !shard_serving(s->shard))
		e = not_owner();
	measure_start_step(s->h->measures, &s->measure, START_LOADED);
	if (err_is(e))
		fail(s, e);
	else
		start_on(s, run);
}

static void with_run(struct shard *shard, const Perdure__DispatchTask *task, struct run_wait *wait)
{
	struct workflow *wf = workflow_get(shard, task->namespace_id, task->workflow_id);
	struct cached_run *run = NULL;
	if (!workflow_find(wf, task->run_id, &run)) {
		workflow_load(wf, task->run_id, wait);
		return;
	}
	wf->pins++;
	wait->fn(wait, err_ok, wf, run);
	wf->pins--;
	workflow_put(wf);
}

static bool owned(struct history *h, struct rpc_request *req, const Perdure__DispatchTask *task, struct shard **ret)
{
	*ret = task ? history_shard_of(h, task->namespace_id, task->workflow_id) : NULL;
	if (!task) {
		rpc_reply_err(req, err_static(ERR_INTERNAL, "malformed call between daemons"));
		return false;
	}
	if (!shard_serving(*ret) || !membership_lease_valid(h->membership)) {
		rpc_reply_err(req, not_owner());
		return false;
	}
	return true;
}

static void serve_start(void *ctx, struct rpc_request *req)
{
	struct history *h = ctx;
	struct arena *arena = rpc_arena(req);
	struct bytes body = rpc_body(req);
	struct start *s = arena_new0(arena, struct start);
	Perdure__StartTask *msg = perdure__start_task__unpack(arena_pb(arena), body.len, body.data);
	if (!owned(h, req, msg ? msg->task : NULL, &s->shard))
		return;
	s->h = h;
	s->req = req;
	s->arena = arena;
	s->msg = msg;
	s->wait.fn = on_run;
	measure_start_began(h->measures, &s->measure, req, msg->task);
	enlist(s);
	with_run(s->shard, msg->task, &s->wait);
}

/* ------------------------------------------------------------------ reverting */

struct revert {
	struct history *h;
	struct rpc_request *req;
	const Perdure__RevertStart *msg;
	struct shard *shard;
	struct run_wait wait;
	struct waiter waiter;
};

static void on_reverted(struct waiter *w, struct err e)
{
	struct revert *r = container_of(w, struct revert, waiter);
	if (err_is(e))
		rpc_reply_err(r->req, e);
	else
		rpc_reply(r->req, NULL, 0);
}

static void revert_on(struct run_wait *w, struct err e, struct workflow *wf, struct cached_run *run)
{
	struct revert *r = container_of(w, struct revert, wait);
	if (!err_is(e) && !shard_serving(r->shard))
		e = not_owner();
	if (err_is(e) || !run) {
		on_reverted(&r->waiter, e);
		return;
	}
	struct txn t;
	transition_begin(&t, r->shard, wf, run, rpc_arena(r->req));
	if (r->msg->task->kind == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY)
		e = core_revert_activity(&t, r->msg);
	else if (r->msg->task->kind == PERDURE__TASK_KIND__TASK_KIND_WORKFLOW)
		e = core_revert_workflow_task(&t, r->msg);
	if (err_is(e)) {
		on_reverted(&r->waiter, e);
		return;
	}
	run = transition_commit(&t, wf, run);
	r->waiter.fn = on_reverted;
	shard_after(r->shard, run->seq, &r->waiter);
}

static void serve_revert(void *ctx, struct rpc_request *req)
{
	struct history *h = ctx;
	struct arena *arena = rpc_arena(req);
	struct bytes body = rpc_body(req);
	struct revert *r = arena_new0(arena, struct revert);
	Perdure__RevertStart *msg = perdure__revert_start__unpack(arena_pb(arena), body.len, body.data);
	if (!owned(h, req, msg ? msg->task : NULL, &r->shard))
		return;
	r->h = h;
	r->req = req;
	r->msg = msg;
	r->wait.fn = revert_on;
	with_run(r->shard, msg->task, &r->wait);
}

/* Matching has dropped what it had of a queue. */
static void serve_offer_again(void *ctx, struct rpc_request *req)
{
	struct history *h = ctx;
	struct bytes body = rpc_body(req);
	Perdure__OfferAgain *msg = perdure__offer_again__unpack(arena_pb(rpc_arena(req)), body.len, body.data);
	if (msg && msg->queue)
		dispatch_queue_again(h, msg->queue);
	rpc_reply(req, NULL, 0);
}

void history_serve_start_task(struct history *h)
{
	rpc_serve(h->rpc, RPC_HISTORY_START_TASK, serve_start, h);
	rpc_serve(h->rpc, RPC_HISTORY_REVERT_START, serve_revert, h);
	rpc_serve(h->rpc, RPC_HISTORY_OFFER_AGAIN, serve_offer_again, h);
}

void history_starts_forget(struct history *h)
{
	HASH_CLEAR(hh, h->starts); /* they end with their requests */
}
