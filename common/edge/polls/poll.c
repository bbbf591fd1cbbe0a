/*
 * A worker's poll: checked, parked in its queue, and ended: with a task, with nothing, or by the worker itself.
 */
#include <stdlib.h>
#include <utlist.h>

#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

/* An empty answer leaves this much before the client's deadline: it must find its way. */
#define TAIL_ROOM_NS   NS_PER_S
#define TIMEOUT_MIN_NS (2 * NS_PER_S)
#define KIND_STICKY    TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY
#define MODE_VERSIONED TEMPORAL__API__ENUMS__V1__WORKER_VERSIONING_MODE__WORKER_VERSIONING_MODE_VERSIONED

static const char *const passed_headers[] = {"client-name", "client-version", "supported-features"};

/* ------------------------------------------------------------------ checks */

static uint64_t number_in(const struct edge_call *c, const char *outer, const char *inner)
{
	const ProtobufCFieldDescriptor *f = protobuf_c_message_descriptor_get_field_by_name(c->method->request, outer);
	assert(f && f->type == PROTOBUF_C_TYPE_MESSAGE);
	const ProtobufCFieldDescriptor *g = protobuf_c_message_descriptor_get_field_by_name(f->descriptor, inner);
	assert(g);
	return wire_value_in(c->request, f->id, g->id);
}

static struct err check_timeout(const struct edge_call *c)
{
	if (c->deadline_ns == INT64_MAX)
		return err_static(ERR_INVALID_ARGUMENT, "Context timeout is not set.");
	if (c->deadline_ns - c->began_ns < TIMEOUT_MIN_NS)
		return err_static(ERR_FAILED_PRECONDITION, "Context timeout is too short.");
	return err_ok;
}

static struct err check_versioning(const struct edge_call *c)
{
	bool sticky = number_in(c, "task_queue", "kind") == KIND_STICKY;
	bool versioned = number_in(c, "worker_version_capabilities", "use_versioning") != 0;
	bool deployment = edge_field(c, "deployment_options").data != NULL;
	if (sticky && !edge_field_in(c, "task_queue", "normal_name").len && (versioned || deployment))
		return err_static(ERR_INVALID_ARGUMENT, "NormalName must be set on sticky queue when UseVersioning is "
							"true or DeploymentOptions are set.");
	if (versioned && !edge_field_in(c, "worker_version_capabilities", "build_id").len)
		return err_static(ERR_INVALID_ARGUMENT, "WorkerVersionStamp must be present if UseVersioning is true.");
	if (number_in(c, "deployment_options", "worker_versioning_mode") == MODE_VERSIONED &&
	    (!edge_field_in(c, "deployment_options", "deployment_name").len ||
	     !edge_field_in(c, "deployment_options", "build_id").len))
		return err_static(ERR_INVALID_ARGUMENT, "Deployment name and build id must be set together.");
	return err_ok;
}

struct err poll_check(struct edge_call *c, struct admitted *a)
{
	try(check_timeout(c));
	try(check_id_len(c->edge, edge_field(c, "identity"), "Identity length exceeds limit."));
	try(check_versioning(c));
	try(check_task_queue(c, true));
	if (api_method_id_of(c->method) != API_METHOD_WORKFLOW_POLL_WORKFLOW_TASK_QUEUE)
		return err_ok;
	const char *checksum = edge_text(c, edge_field(c, "binary_checksum"));
	if (namespace_bad_binary(a->record, checksum, edge_arena(c)))
		return err_make(edge_arena(c), ERR_INVALID_ARGUMENT, "Binary %s already marked as bad deployment.",
				checksum);
	return err_ok;
}

/* ------------------------------------------------------------------ the end */

static void poll_count_changed(struct polls *p, int by)
{
	p->poll_count = (size_t)((int64_t)p->poll_count + by);
	if (p->polls_gauge)
		gauge_set(p->polls_gauge, (int64_t)p->poll_count);
}

/* Out of its queue; the call is still to be finished. */
static struct edge_call *detach(struct poll *poll)
{
	struct edge_call *c = poll->call;
	struct poll_queue *q = poll->queue;
	struct polls *p = q->polls;
	env_timer_stop(p->env, &poll->timer);
	queue_remove(q, poll);
	poller_release(poll->poller);
	free(poll);
	poll_count_changed(p, -1);
	c->on_cancel = NULL;
	c->state = NULL;
	polls_check_drained(p);
	return c;
}

void poll_end_empty(struct poll *poll)
{
	edge_finish(detach(poll), err_ok, NULL, 0);
}

bool poll_deliver(struct poll *poll, struct bytes response)
{
	return edge_finish(detach(poll), err_ok, &response, 1);
}

static void on_timer(struct env_timer *t)
{
	struct poll *poll = container_of(t, struct poll, timer);
	/* With a task on its way the poll may still get it, until the client itself gives up. */
	if (!poll->hand)
		poll_end_empty(poll);
}

static void on_cancel(struct edge_call *c)
{
	struct poll *poll = c->state;
	struct poll_queue *q = poll->queue;
	struct polls *p = q->polls;
	bool by_deadline = env_mono_ns(p->env) >= c->deadline_ns;
	if (poll->hand)
		hand_lost_poll(poll->hand);
	detach(poll);
	if (!by_deadline)
		queue_lost_connection(q);
	edge_fail(c, err_static(by_deadline ? ERR_DEADLINE_EXCEEDED : ERR_CANCELLED,
				by_deadline ? "context deadline exceeded" : "context canceled"));
}

/* ------------------------------------------------------------------ the beginning */

static Perdure__TaskKind pollers_of(const struct edge_call *c)
{
	switch ((int)api_method_id_of(c->method)) {
	case API_METHOD_WORKFLOW_POLL_ACTIVITY_TASK_QUEUE:
		return PERDURE__TASK_KIND__TASK_KIND_ACTIVITY;
	case API_METHOD_WORKFLOW_POLL_NEXUS_TASK_QUEUE:
		return PERDURE__TASK_KIND__TASK_KIND_NEXUS;
	default:
		return PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
	}
}

static Perdure__QueueKey key_of(struct edge_call *c, const struct admitted *a)
{
	Perdure__QueueKey k = PERDURE__QUEUE_KEY__INIT;
	k.namespace_id = (char *)a->namespace_id;
	k.name = (char *)edge_text(c, edge_field_in(c, "task_queue", "name"));
	k.pollers = pollers_of(c);
	k.sticky = number_in(c, "task_queue", "kind") == KIND_STICKY;
	if (k.sticky)
		k.normal_name = (char *)edge_text(c, edge_field_in(c, "task_queue", "normal_name"));
	return k;
}

/* What every start for this poll says, packed once: the poll then needs neither its request nor its arena. */
static struct poll *poll_new(struct edge_call *c, const struct admitted *a, const char *identity)
{
	Perdure__StartTask m = PERDURE__START_TASK__INIT;
	Perdure__StartTask__HeadersEntry entries[array_len(passed_headers)], *list[array_len(passed_headers)];
	for (size_t i = 0; i < array_len(passed_headers); i++) {
		const char *value = edge_header(c, passed_headers[i]);
		if (!value)
			continue;
		list[m.n_headers] = &entries[m.n_headers];
		perdure__start_task__headers_entry__init(list[m.n_headers]);
		list[m.n_headers]->key = (char *)passed_headers[i];
		list[m.n_headers]->value = (char *)value;
		m.n_headers++;
	}
	m.headers = list;
	m.identity = (char *)identity;
	m.namespace_ = (char *)a->namespace;
	m.poll_request = (ProtobufCBinaryData){c->request.len, (uint8_t *)c->request.data};
	size_t len = perdure__start_task__get_packed_size(&m);
	struct poll *poll = mem_alloc(sizeof *poll + len);
	*poll = (struct poll){.call = c, .start_len = len};
	perdure__start_task__pack(&m, poll->start);
	poll->timer.fn = on_timer;
	return poll;
}

static double rate_of(struct edge_call *c)
{
	if (pollers_of(c) != PERDURE__TASK_KIND__TASK_KIND_ACTIVITY)
		return 0;
	/* google.protobuf.DoubleValue.value */
	uint64_t bits = wire_value(edge_field_in(c, "task_queue_metadata", "max_tasks_per_second"), 1);
	double rate;
	memcpy(&rate, &bits, sizeof rate);
	return rate > 0 ? rate : 0;
}

void poll_serve(struct edge_call *c, struct admitted *a)
{
	struct polls *p = c->edge->polls;
	int64_t left = c->deadline_ns - env_mono_ns(p->env) - TAIL_ROOM_NS;
	/* While we drain, its connection is being sent away: as if it had waited in vain it comes back over another. An
	 * error would end up in the worker's log. */
	if (p->draining || left <= 0) {
		edge_finish(c, err_ok, NULL, 0);
		return;
	}
	const char *identity = edge_text(c, edge_field(c, "identity"));
	Perdure__QueueKey key = key_of(c, a);
	struct poll_queue *q = queue_get(p, &key);
	struct poll *poll = poll_new(c, a, identity);
	poll->poller = poller_touch(q, identity, rate_of(c), edge_field(c, "worker_version_capabilities"),
				    edge_field(c, "deployment_options"));
	queue_add(q, poll);
	poll_count_changed(p, 1);
	env_timer_start(p->env, &poll->timer, min_i64(left, p->edge->config.poll_timeout_ns));

	arena_free(c->arena);
	c->arena = NULL;
	c->namespace = NULL; /* lived there */
	c->state = poll;
	c->on_cancel = on_cancel;
	if (c->ops->slim) {
		c->ops->slim(c);
		c->request = (struct bytes){0};
	}
}

/* ------------------------------------------------------------------ shutting down */

/* A worker says goodbye: its sticky queue ends at once, rather than when its connection is found to be gone. */
void poll_shutdown_serve(struct edge_call *c, struct admitted *a)
{
	struct polls *p = c->edge->polls;
	Perdure__QueueKey key = PERDURE__QUEUE_KEY__INIT;
	key.namespace_id = (char *)a->namespace_id;
	key.name = (char *)edge_text(c, edge_field(c, "sticky_task_queue"));
	key.pollers = PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
	key.sticky = true;
	struct poll_queue *q = *key.name ? queue_find(p, &key) : NULL;
	if (q) {
		queue_end_idle(q);
		env_timer_stop(p->env, &q->grace);
		q->gone = q->shut_down = true;
		credits_dirty(q, UINT32_MAX);
	} else if (*key.name) {
		credits_shut_down(p, &key);
	}
	edge_finish(c, err_ok, NULL, 0);
}

void polls_pause(struct polls *p, bool pause)
{
	struct poll_queue *q, *tmp;
	p->draining = pause;
	if (!pause)
		return;
	HASH_ITER (hh, p->queues, q, tmp)
		queue_end_idle(q);
}

void polls_drain(struct polls *p, void (*done)(void *ctx), void *ctx)
{
	assert(!p->drained);
	polls_pause(p, true);
	p->drained = done;
	p->drained_ctx = ctx;
	polls_check_drained(p);
}
