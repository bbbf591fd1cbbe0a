/*
 * Scenarios on the functional core.
 */
#include "core_harness.h"

#include <check.h>
#include <stdlib.h>

#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

#define START_TIME_NS (1700000000LL * NS_PER_S)

static const struct core_config default_config = {
	.default_workflow_task_timeout_ns = 10 * NS_PER_S,
	.workflow_task_timeout_max_ns = 120 * NS_PER_S,
	.workflow_task_heartbeat_timeout_ns = 1800 * NS_PER_S,
	.sticky_schedule_to_start_default_ns = 5 * NS_PER_S,
	.retry_initial_interval_ns = NS_PER_S,
	.retry_backoff_coefficient = 2,
	.retry_maximum_interval_coefficient = 100,
	.id_bytes_max = 1000,
	.blob_bytes_max = 2 << 20,
	.blob_bytes_warn = 512 << 10,
	.memo_bytes_max = 2 << 20,
	.pending_activities_max = 2000,
	.signals_max = 10000,
	.history_events_max = 51200,
	.history_bytes_max = 50LL << 20,
	.history_events_suggest_can = 4096,
	.history_bytes_suggest_can = 4 << 20,
	.buffered_events_max = 100,
	.workflow_task_retry_max_interval_ns = 600 * NS_PER_S,
	.retention_min_ns = 86400 * NS_PER_S,
};

/* ------------------------------------------------------------------ the world */

void harness_init(struct harness *h)
{
	*h = (struct harness){.config = default_config, .now_ns = START_TIME_NS, .random = 88172645463325252ULL};
	h->arena = arena_new(64 << 20);
}

void harness_done(struct harness *h)
{
	for (size_t i = 0; i < h->run_count; i++)
		run_free(h->runs[i].run);
	arena_free(h->arena);
}

void harness_advance(struct harness *h, int64_t ns)
{
	h->now_ns += ns;
}

static void fill_random(void *ctx, void *out, size_t len)
{
	struct harness *h = ctx;
	for (uint8_t *p = out; len--; p++) {
		h->random ^= h->random << 13;
		h->random ^= h->random >> 7;
		h->random ^= h->random << 17;
		*p = (uint8_t)h->random;
	}
}

static void grow(struct harness *h, void **items, size_t count, size_t *cap, size_t size)
{
	if (count < *cap)
		return;
	*cap = *cap ? *cap * 2 : 16;
	void *wider = arena_alloc(h->arena, *cap * size);
	if (count)
		memcpy(wider, *items, count * size);
	*items = wider;
}

void harness_begin(struct harness *h, struct txn *t)
{
	*t = (struct txn){
		.run = h->current ? h->current->run : NULL,
		.config = &h->config,
		.arena = h->arena,
		.now_ns = h->now_ns,
		.random = fill_random,
		.random_ctx = h,
		.namespace_id = "32049b68-7872-4094-8e63-d0dd59896a83",
		.namespace_name = "default",
		.retention_ns = 86400 * NS_PER_S,
		.next_start_seq = (int64_t)h->run_count + 1,
		.shard_epoch = 3,
	};
	txn_begin(t);
}

/* ------------------------------------------------------------------ what holds after every commit */

static struct bytes snapshot(struct harness *h, const struct run *run)
{
	struct buf b = {0};
	run_pack_snapshot(run, &b);
	struct bytes copy = arena_copy(h->arena, buf_view(&b));
	buf_done(&b);
	return copy;
}

static void check_replay(struct harness *h, struct harness_run *r)
{
	struct run *replayed = run_new();
	for (size_t i = 0; i < r->delta_count; i++)
		ck_assert_int_eq(run_apply_bytes(replayed, h->arena, r->deltas[i]).code, ERR_OK);
	ck_assert(bytes_eq(snapshot(h, replayed), snapshot(h, r->run)));
	run_free(replayed);
}

static void check_snapshot(struct harness *h, struct harness_run *r)
{
	struct bytes packed = snapshot(h, r->run);
	struct run *restored = NULL;
	ck_assert_int_eq(run_from_snapshot(h->arena, packed, &restored).code, ERR_OK);
	ck_assert(bytes_eq(packed, snapshot(h, restored)));
	ck_assert_int_eq(run_wake_at(restored), run_wake_at(r->run));
	run_free(restored);
}

static void take_events(struct harness *h, struct harness_run *r, struct bytes delta_bytes)
{
	Perdure__RunDelta *delta = perdure__run_delta__unpack(arena_pb(h->arena), delta_bytes.len, delta_bytes.data);
	ck_assert_ptr_nonnull(delta);
	if (!delta->events.len)
		return;
	HISTORY(History) *history =
		temporal__api__history__v1__history__unpack(arena_pb(h->arena), delta->events.len, delta->events.data);
	ck_assert_ptr_nonnull(history);
	ck_assert_uint_eq(history->n_events, (size_t)delta->event_count);
	ck_assert_int_eq(history->events[0]->event_id, delta->first_event_id);
	for (size_t i = 0; i < history->n_events; i++) {
		grow(h, (void **)&r->events, r->event_count, &r->event_cap, sizeof *r->events);
		r->events[r->event_count++] = history->events[i];
		ck_assert_int_eq(history->events[i]->event_id, (int64_t)r->event_count);
	}
}

static void commit_one(struct harness *h, struct harness_run *r, struct txn *t)
{
	struct buf out = {0};
	txn_finish(t, &out);
	if (out.len) {
		struct bytes delta = arena_copy(h->arena, buf_view(&out));
		grow(h, (void **)&r->deltas, r->delta_count, &r->delta_cap, sizeof *r->deltas);
		r->deltas[r->delta_count++] = delta;
		take_events(h, r, delta);
		ck_assert_int_eq(run_apply_bytes(r->run, h->arena, delta).code, ERR_OK);
		ck_assert_int_eq(r->run->exec->next_event_id, (int64_t)r->event_count + 1);
		if (!r->heartbeats)
			check_replay(h, r);
		check_snapshot(h, r);
	}
	buf_done(&out);
}

static struct harness_run *new_run(struct harness *h)
{
	ck_assert_uint_lt(h->run_count, HARNESS_RUNS_MAX);
	struct harness_run *r = &h->runs[h->run_count++];
	r->run = run_new();
	return r;
}

void harness_commit(struct harness *h, struct txn *t)
{
	if (!t->run)
		h->current = new_run(h);
	commit_one(h, h->current, t);
	if (t->next) {
		h->current = new_run(h);
		commit_one(h, h->current, t->next);
	}
}

static void ok(struct err e)
{
	ck_assert_msg(!err_is(e), "%s: %s", err_code_name(e.code), e.message);
}

/* ------------------------------------------------------------------ clients and workflow workers */

WS(StartWorkflowExecutionRequest) *harness_start_request(struct harness *h)
{
	WS(StartWorkflowExecutionRequest) *req =
		pb_new0(h->arena, WS(StartWorkflowExecutionRequest), WS_FN(start_workflow_execution_request));
	req->namespace_ = (char *)"default";
	req->workflow_id = (char *)"wf";
	req->workflow_type = pb_new0(h->arena, COMMON(WorkflowType), COMMON_FN(workflow_type));
	req->workflow_type->name = (char *)"kind";
	req->task_queue = pb_new0(h->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	req->task_queue->name = (char *)HARNESS_QUEUE;
	req->identity = (char *)"starter";
	req->request_id = (char *)"start-request";
	return req;
}

void harness_start(struct harness *h, WS(StartWorkflowExecutionRequest) *req)
{
	struct txn t;
	WS(StartWorkflowExecutionResponse) resp;
	WS_FN(start_workflow_execution_response__init)(&resp);
	req = req ? req : harness_start_request(h);
	ok(core_start_validate(&h->config, req, h->now_ns, h->arena));
	h->current = NULL;
	harness_begin(h, &t);
	ok(core_start(&t, req, &resp));
	harness_commit(h, &t);
}

Perdure__TaskToken *harness_token(struct harness *h, ProtobufCBinaryData task_token)
{
	Perdure__TaskToken *token = perdure__task_token__unpack(arena_pb(h->arena), task_token.len, task_token.data);
	ck_assert_ptr_nonnull(token);
	return token;
}

static Perdure__StartTask *start_task(struct harness *h, Perdure__TaskKind kind)
{
	Perdure__StartTask *s = pb_new0(h->arena, Perdure__StartTask, perdure__start_task);
	s->task = pb_new0(h->arena, Perdure__DispatchTask, perdure__dispatch_task);
	s->task->kind = kind;
	s->task->namespace_id = h->current->run->start->namespace_id;
	s->task->workflow_id = h->current->run->start->workflow_id;
	s->task->run_id = h->current->run->start->run_id;
	s->task->shard = HARNESS_SHARD;
	s->request_id = arena_printf(h->arena, "poll-%u", ++h->polls);
	s->identity = (char *)"worker";
	s->namespace_ = (char *)"default";
	return s;
}

WS(PollWorkflowTaskQueueResponse) *harness_poll(struct harness *h)
{
	const Perdure__WorkflowTask *w = h->current->run->exec->workflow_task;
	ck_assert_msg(w && !w->started_event_id, "no workflow task is scheduled");
	Perdure__StartTask *s = start_task(h, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW);
	s->task->scheduled_event_id = w->scheduled_event_id;
	s->task->stamp = w->stamp;
	s->task->attempt = w->attempt;
	WS(PollWorkflowTaskQueueRequest) *poll =
		pb_new0(h->arena, WS(PollWorkflowTaskQueueRequest), WS_FN(poll_workflow_task_queue_request));
	poll->identity = (char *)"worker";
	WS(PollWorkflowTaskQueueResponse) *resp =
		pb_new0(h->arena, WS(PollWorkflowTaskQueueResponse), WS_FN(poll_workflow_task_queue_response));
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(h, &t);
	ok(core_start_workflow_task(&t, s, poll, &outcome, resp));
	ck_assert_int_eq(outcome, PERDURE__START_TASK_REPLY__OUTCOME__STARTED);
	harness_commit(h, &t);
	h->workflow_token = harness_token(h, resp->task_token);
	return resp;
}

static struct err answer(struct harness *h, COMMAND(Command) **commands, size_t n,
			 WS(RespondWorkflowTaskCompletedResponse) **ret)
{
	WS(RespondWorkflowTaskCompletedRequest) *req = pb_new0(h->arena, WS(RespondWorkflowTaskCompletedRequest),
							       WS_FN(respond_workflow_task_completed_request));
	req->identity = (char *)"worker";
	req->n_commands = n;
	req->commands = arena_array(h->arena, COMMAND(Command) *, n);
	if (n)
		memcpy(req->commands, commands, n * sizeof *commands);
	if (h->sticky_queue) {
		req->sticky_attributes =
			pb_new(h->arena, &temporal__api__taskqueue__v1__sticky_execution_attributes__descriptor);
		req->sticky_attributes->worker_task_queue =
			pb_new0(h->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
		req->sticky_attributes->worker_task_queue->name = (char *)h->sticky_queue;
		req->sticky_attributes->schedule_to_start_timeout = pb_duration(h->arena, h->sticky_timeout_ns);
	}
	struct wft_completed done = {0};
	done.response = pb_new0(h->arena, WS(RespondWorkflowTaskCompletedResponse),
				WS_FN(respond_workflow_task_completed_response));
	struct txn t;
	harness_begin(h, &t);
	struct err e = core_complete_workflow_task(&t, h->workflow_token, req, &done);
	if (err_is(e))
		return e;
	harness_commit(h, &t);
	*ret = done.response;
	return done.failed;
}

WS(RespondWorkflowTaskCompletedResponse) *harness_answer(struct harness *h, COMMAND(Command) **commands, size_t n)
{
	WS(RespondWorkflowTaskCompletedResponse) *resp = NULL;
	ok(answer(h, commands, n, &resp));
	return resp;
}

struct err harness_answer_err(struct harness *h, COMMAND(Command) **commands, size_t n)
{
	WS(RespondWorkflowTaskCompletedResponse) *resp = NULL;
	struct err e = answer(h, commands, n, &resp);
	ck_assert_msg(err_is(e), "the answer was accepted");
	return e;
}

void harness_signal(struct harness *h, const char *name)
{
	WS(SignalWorkflowExecutionRequest) *req =
		pb_new0(h->arena, WS(SignalWorkflowExecutionRequest), WS_FN(signal_workflow_execution_request));
	req->namespace_ = (char *)"default";
	req->workflow_execution = pb_new0(h->arena, COMMON(WorkflowExecution), COMMON_FN(workflow_execution));
	req->workflow_execution->workflow_id = (char *)"wf";
	req->signal_name = (char *)name;
	req->identity = (char *)"signaller";
	struct txn t;
	harness_begin(h, &t);
	ok(core_signal(&t, req));
	harness_commit(h, &t);
}

void harness_on_time(struct harness *h)
{
	struct txn t;
	harness_begin(h, &t);
	ok(core_on_time(&t, 0));
	harness_commit(h, &t);
}

/* ------------------------------------------------------------------ activity workers */

Perdure__StartTask *harness_activity_task(struct harness *h, const char *activity_id)
{
	const struct run_activity *a = run_find_activity_by_id(h->current->run, activity_id);
	ck_assert_msg(a != NULL, "no activity %s is pending", activity_id);
	Perdure__StartTask *s = start_task(h, PERDURE__TASK_KIND__TASK_KIND_ACTIVITY);
	s->task->scheduled_event_id = a->info->scheduled_event_id;
	s->task->stamp = a->info->stamp;
	s->task->attempt = a->info->attempt;
	return s;
}

WS(PollActivityTaskQueueResponse) *harness_poll_activity(struct harness *h, const char *activity_id)
{
	WS(PollActivityTaskQueueRequest) *poll =
		pb_new0(h->arena, WS(PollActivityTaskQueueRequest), WS_FN(poll_activity_task_queue_request));
	poll->identity = (char *)"worker";
	WS(PollActivityTaskQueueResponse) *resp =
		pb_new0(h->arena, WS(PollActivityTaskQueueResponse), WS_FN(poll_activity_task_queue_response));
	Perdure__StartTaskReply__Outcome outcome;
	struct txn t;
	harness_begin(h, &t);
	ok(core_start_activity(&t, harness_activity_task(h, activity_id), poll, &outcome, resp));
	ck_assert_int_eq(outcome, PERDURE__START_TASK_REPLY__OUTCOME__STARTED);
	harness_commit(h, &t);
	return resp;
}

struct activity_ref harness_by_token(struct harness *h, const WS(PollActivityTaskQueueResponse) *task)
{
	return (struct activity_ref){.token = harness_token(h, task->task_token)};
}

struct activity_ref harness_by_id(const char *activity_id)
{
	return (struct activity_ref){.activity_id = activity_id};
}

struct err harness_completed(struct harness *h, struct activity_ref ref)
{
	struct txn t;
	harness_begin(h, &t);
	struct err e = core_complete_activity(&t, ref, harness_payloads(h, "\"done\""), "worker");
	if (!err_is(e))
		harness_commit(h, &t);
	return e;
}

struct err harness_failed(struct harness *h, struct activity_ref ref, FAILURE(Failure) *failure,
			  COMMON(Payloads) *last_heartbeat_details)
{
	struct txn t;
	harness_begin(h, &t);
	struct err e = core_fail_activity(&t, ref, failure, last_heartbeat_details, "worker");
	if (!err_is(e))
		harness_commit(h, &t);
	return e;
}

struct err harness_canceled(struct harness *h, struct activity_ref ref)
{
	struct txn t;
	harness_begin(h, &t);
	struct err e = core_cancel_activity(&t, ref, harness_payloads(h, "\"stopped\""), "worker");
	if (!err_is(e))
		harness_commit(h, &t);
	return e;
}

struct err harness_heartbeat(struct harness *h, struct activity_ref ref, const char *details,
			     struct heartbeat_reply *ret)
{
	struct err e =
		core_heartbeat(h->current->run, ref, h->now_ns, h->arena, harness_payloads(h, details), "worker", ret);
	h->current->heartbeats |= !err_is(e);
	return e;
}

/* ------------------------------------------------------------------ commands */

static COMMAND(Command) *command(struct harness *h, int type, int attributes_case, void **attributes,
				 const ProtobufCMessageDescriptor *descriptor)
{
	COMMAND(Command) *c = pb_new(h->arena, &temporal__api__command__v1__command__descriptor);
	c->command_type = (Temporal__Api__Enums__V1__CommandType)type;
	c->attributes_case = (Temporal__Api__Command__V1__Command__AttributesCase)attributes_case;
	*attributes = pb_new(h->arena, descriptor);
	return c;
}

#define COMMAND_OF(TYPE, CASE, name)                                                                                   \
	COMMAND(CASE##CommandAttributes) *attr;                                                                        \
	COMMAND(Command) *c = command(                                                                                 \
		h, COMMAND_TYPE(TYPE), TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES_##TYPE##_COMMAND_ATTRIBUTES,    \
		(void **)&attr, &temporal__api__command__v1__##name##_command_attributes__descriptor);                 \
	c->name##_command_attributes = attr

static Google__Protobuf__Duration *duration_or_null(struct harness *h, int64_t ns)
{
	return ns ? pb_duration(h->arena, ns) : NULL;
}

COMMAND(Command) *harness_schedule(struct harness *h, const char *activity_id, int64_t schedule_to_close_ns)
{
	COMMAND_OF(SCHEDULE_ACTIVITY_TASK, ScheduleActivityTask, schedule_activity_task);
	attr->activity_id = (char *)activity_id;
	attr->activity_type = pb_new0(h->arena, COMMON(ActivityType), COMMON_FN(activity_type));
	attr->activity_type->name = (char *)"work";
	attr->task_queue = pb_new0(h->arena, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	attr->task_queue->name = (char *)HARNESS_QUEUE;
	attr->input = harness_payloads(h, "\"in\"");
	attr->schedule_to_close_timeout = duration_or_null(h, schedule_to_close_ns);
	return c;
}

COMMAND(Command) *harness_cancel_activity(struct harness *h, int64_t scheduled_event_id)
{
	COMMAND_OF(REQUEST_CANCEL_ACTIVITY_TASK, RequestCancelActivityTask, request_cancel_activity_task);
	attr->scheduled_event_id = scheduled_event_id;
	return c;
}

COMMAND(Command) *harness_timer(struct harness *h, const char *timer_id, int64_t ns)
{
	COMMAND_OF(START_TIMER, StartTimer, start_timer);
	attr->timer_id = (char *)timer_id;
	attr->start_to_fire_timeout = duration_or_null(h, ns);
	return c;
}

COMMAND(Command) *harness_cancel_timer(struct harness *h, const char *timer_id)
{
	COMMAND_OF(CANCEL_TIMER, CancelTimer, cancel_timer);
	attr->timer_id = (char *)timer_id;
	return c;
}

COMMAND(Command) *harness_complete(struct harness *h)
{
	COMMAND_OF(COMPLETE_WORKFLOW_EXECUTION, CompleteWorkflowExecution, complete_workflow_execution);
	attr->result = harness_payloads(h, "\"result\"");
	return c;
}

COMMAND(Command) *harness_marker(struct harness *h, const char *name)
{
	COMMAND_OF(RECORD_MARKER, RecordMarker, record_marker);
	attr->marker_name = (char *)name;
	return c;
}

/* ------------------------------------------------------------------ values */

COMMON(Payloads) *harness_payloads(struct harness *h, const char *json)
{
	COMMON(Payloads) *p = pb_new0(h->arena, COMMON(Payloads), COMMON_FN(payloads));
	p->n_payloads = 1;
	p->payloads = arena_array(h->arena, COMMON(Payload) *, 1);
	p->payloads[0] = pb_new0(h->arena, COMMON(Payload), COMMON_FN(payload));
	p->payloads[0]->data = (ProtobufCBinaryData){strlen(json), (uint8_t *)arena_strdup(h->arena, json)};
	return p;
}

FAILURE(Failure) *harness_failure(struct harness *h, const char *message)
{
	FAILURE(Failure) *f = pb_new0(h->arena, FAILURE(Failure), FAILURE_FN(failure));
	f->message = (char *)message;
	f->failure_info_case = TEMPORAL__API__FAILURE__V1__FAILURE__FAILURE_INFO_APPLICATION_FAILURE_INFO;
	f->application_failure_info =
		pb_new0(h->arena, FAILURE(ApplicationFailureInfo), FAILURE_FN(application_failure_info));
	f->application_failure_info->type = (char *)"Kind";
	return f;
}

/* ------------------------------------------------------------------ history */

const HISTORY(HistoryEvent) *harness_event(const struct harness *h, int64_t id)
{
	ck_assert_int_ge(id, 1);
	ck_assert_int_le(id, (int64_t)h->current->event_count);
	return h->current->events[id - 1];
}

void harness_assert_events(const struct harness *h, int64_t first_id, const char *types)
{
	const size_t prefix = strlen("EVENT_TYPE_");
	struct buf actual = {0};
	for (size_t i = (size_t)first_id - 1; i < h->current->event_count; i++) {
		const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(
			&temporal__api__enums__v1__event_type__descriptor, (int)h->current->events[i]->event_type);
		buf_printf(&actual, "%s%s", actual.len ? " " : "", v->name + prefix);
	}
	buf_put(&actual, "", 1);
	ck_assert_str_eq((const char *)actual.data, types);
	buf_done(&actual);
}
