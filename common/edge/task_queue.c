/*
 * DescribeTaskQueue and ListTaskQueuePartitions: matching is asked, partition by partition, and the answers are joined.
 */
#include <perdure/cluster.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/internal.h"

/* Much of this API is deprecated, and what clients use. */
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define RETRY_NS (50 * NS_PER_MS)
/* Of a poller that named no rate; so clients know it. */
#define UNLIMITED_RATE 100000
#define KIND_STICKY    TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY
#define TYPE(name)     TEMPORAL__API__ENUMS__V1__TASK_QUEUE_TYPE__TASK_QUEUE_TYPE_##name
#define MODE_ENHANCED  TEMPORAL__API__ENUMS__V1__DESCRIBE_TASK_QUEUE_MODE__DESCRIBE_TASK_QUEUE_MODE_ENHANCED

typedef Temporal__Api__Workflowservice__V1__DescribeTaskQueueRequest describe_request;
typedef Temporal__Api__Workflowservice__V1__DescribeTaskQueueResponse describe_response;
typedef Temporal__Api__Taskqueue__V1__PollerInfo poller_info;

#define PRIORITIES	 6 /* as matching counts them */
#define PRIORITY_DEFAULT 3

struct waiting {
	int64_t count, oldest_ns; /* INT64_MAX: no task waits */
};

/* What is known of one type of a queue, over its partitions. */
struct side {
	Temporal__Api__Enums__V1__TaskQueueType type;
	poller_info **pollers;
	size_t poller_count;
	struct waiting backlog, priorities[PRIORITIES];
	double add_rate, dispatch_rate;
	uint32_t partitions; /* as its root says */
};

struct describe {
	struct edge_call *call;
	const describe_request *request; /* NULL: only the partitions are wanted */
	Perdure__QueueKey key;
	struct side sides[2];
	size_t side_count;
	size_t side; /* asked for now */
	uint32_t partition;
	struct rpc_pending *pending;
	struct env_timer retry;
};

static void ask(struct describe *d);

/* ------------------------------------------------------------------ checks */

struct err task_queue_describe_check(struct edge_call *c, struct admitted *a)
{
	(void)a;
	bool enhanced = wire_value(c->request, edge_field_number(c, "api_mode")) == MODE_ENHANCED;
	try(check_task_queue(c, enhanced));
	/* TaskQueue.kind */
	if (enhanced && wire_value_in(c->request, edge_field_number(c, "task_queue"), 2) == KIND_STICKY)
		return err_static(ERR_INVALID_ARGUMENT,
				  "Enhanced DescribeTaskQueue is not valid for a sticky queue, use "
				  "api_mode=UNSPECIFIED or a normal queue.");
	return err_ok;
}

struct err task_queue_partitions_check(struct edge_call *c, struct admitted *a)
{
	(void)a;
	return check_task_queue(c, true);
}

/* ------------------------------------------------------------------ the answer */

static Perdure__TaskKind pollers_of(const struct side *s)
{
	return s->type == TYPE(ACTIVITY) ? PERDURE__TASK_KIND__TASK_KIND_ACTIVITY
	       : s->type == TYPE(NEXUS)	 ? PERDURE__TASK_KIND__TASK_KIND_NEXUS
					 : PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
}

static Google__Protobuf__Timestamp *timestamp(struct arena *a, int64_t ns)
{
	Google__Protobuf__Timestamp *t = arena_new0(a, Google__Protobuf__Timestamp);
	google__protobuf__timestamp__init(t);
	t->seconds = ns / NS_PER_S;
	t->nanos = (int32_t)(ns % NS_PER_S);
	return t;
}

typedef Temporal__Api__Taskqueue__V1__TaskQueueStats queue_stats;

static queue_stats *stats_of_waiting(struct describe *d, const struct waiting *w)
{
	struct arena *a = edge_arena(d->call);
	queue_stats *st = arena_new0(a, queue_stats);
	temporal__api__taskqueue__v1__task_queue_stats__init(st);
	st->approximate_backlog_count = w->count;
	st->approximate_backlog_age = arena_new0(a, Google__Protobuf__Duration);
	google__protobuf__duration__init(st->approximate_backlog_age);
	int64_t age = w->oldest_ns == INT64_MAX ? 0 : env_wall_ns(d->call->edge->env) - w->oldest_ns;
	if (age > 0) {
		st->approximate_backlog_age->seconds = age / NS_PER_S;
		st->approximate_backlog_age->nanos = (int32_t)(age % NS_PER_S);
	}
	return st;
}

static queue_stats *stats_of(struct describe *d, const struct side *s)
{
	queue_stats *st = stats_of_waiting(d, &s->backlog);
	st->tasks_add_rate = (float)s->add_rate;
	st->tasks_dispatch_rate = (float)s->dispatch_rate;
	return st;
}

/* Without rates, which are known of the whole queue only. The default priority is always named. */
static void add_priorities(struct describe *d, const struct side *s, describe_response *resp)
{
	typedef Temporal__Api__Workflowservice__V1__DescribeTaskQueueResponse__StatsByPriorityKeyEntry entry;
	struct arena *a = edge_arena(d->call);
	resp->stats_by_priority_key = arena_array(a, entry *, PRIORITIES);
	for (int i = 0; i < PRIORITIES; i++) {
		if (!s->priorities[i].count && i != PRIORITY_DEFAULT)
			continue;
		entry *e = arena_new0(a, entry);
		temporal__api__workflowservice__v1__describe_task_queue_response__stats_by_priority_key_entry__init(e);
		e->key = i;
		e->value = stats_of_waiting(d, &s->priorities[i]);
		resp->stats_by_priority_key[resp->n_stats_by_priority_key++] = e;
	}
}

static void answer_enhanced(struct describe *d, describe_response *resp)
{
	struct arena *a = edge_arena(d->call);
	typedef Temporal__Api__Taskqueue__V1__TaskQueueVersionInfo__TypesInfoEntry types_entry;
	typedef Temporal__Api__Workflowservice__V1__DescribeTaskQueueResponse__VersionsInfoEntry versions_entry;
	versions_entry *v = arena_new0(a, versions_entry);
	temporal__api__workflowservice__v1__describe_task_queue_response__versions_info_entry__init(v);
	v->value = arena_new0(a, Temporal__Api__Taskqueue__V1__TaskQueueVersionInfo);
	temporal__api__taskqueue__v1__task_queue_version_info__init(v->value);
	v->value->types_info = arena_array(a, types_entry *, d->side_count);
	for (size_t i = 0; i < d->side_count; i++) {
		types_entry *t = arena_new0(a, types_entry);
		temporal__api__taskqueue__v1__task_queue_version_info__types_info_entry__init(t);
		t->key = (int32_t)d->sides[i].type;
		t->value = arena_new0(a, Temporal__Api__Taskqueue__V1__TaskQueueTypeInfo);
		temporal__api__taskqueue__v1__task_queue_type_info__init(t->value);
		if (d->request->report_pollers) {
			t->value->pollers = d->sides[i].pollers;
			t->value->n_pollers = d->sides[i].poller_count;
		}
		if (d->request->report_stats)
			t->value->stats = stats_of(d, &d->sides[i]);
		v->value->types_info[v->value->n_types_info++] = t;
	}
	resp->versions_info = arena_array(a, versions_entry *, 1);
	resp->versions_info[0] = v;
	resp->n_versions_info = 1;
}

static void answer(struct describe *d)
{
	struct arena *a = edge_arena(d->call);
	describe_response resp = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_TASK_QUEUE_RESPONSE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueueStatus status = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE_STATUS__INIT;
	const struct side *s = &d->sides[0];
	if (d->request->api_mode == MODE_ENHANCED) {
		answer_enhanced(d, &resp);
		edge_reply(d->call, &resp.base);
		return;
	}
	resp.pollers = s->pollers;
	resp.n_pollers = s->poller_count;
	if (d->request->report_stats) {
		resp.stats = stats_of(d, s);
		add_priorities(d, s, &resp);
	}
	if (d->request->include_task_queue_status) {
		status.backlog_count_hint = s->backlog.count;
		resp.task_queue_status = &status;
	}
	resp.versioning_info = arena_new0(a, Temporal__Api__Taskqueue__V1__TaskQueueVersioningInfo);
	temporal__api__taskqueue__v1__task_queue_versioning_info__init(resp.versioning_info);
	resp.versioning_info->current_version = (char *)"__unversioned__";
	edge_reply(d->call, &resp.base);
}

/* ------------------------------------------------------------------ the answer: partitions */

typedef Temporal__Api__Taskqueue__V1__TaskQueuePartitionMetadata partition_metadata;

static partition_metadata **partitions_of(const struct describe *d, const struct side *s)
{
	struct arena *arena = edge_arena(d->call);
	const Perdure__QueueKey *k = &d->key;
	uint64_t place = placement_queue(k->namespace_id, k->name, (int)pollers_of(s), false);
	partition_metadata **list = arena_array(arena, partition_metadata *, s->partitions);
	for (uint32_t i = 0; i < s->partitions; i++) {
		const struct member *owner = membership_partition_owner(d->call->edge->parts.membership, place, i);
		list[i] = arena_new0(arena, partition_metadata);
		temporal__api__taskqueue__v1__task_queue_partition_metadata__init(list[i]);
		list[i]->key = i ? arena_printf(arena, "/_sys/%s/%u", k->name, i) : k->name;
		list[i]->owner_host_name = arena_strdup(arena, owner ? owner->node_id : "");
	}
	return list;
}

static void answer_partitions(struct describe *d)
{
	Temporal__Api__Workflowservice__V1__ListTaskQueuePartitionsResponse resp =
		TEMPORAL__API__WORKFLOWSERVICE__V1__LIST_TASK_QUEUE_PARTITIONS_RESPONSE__INIT;
	resp.workflow_task_queue_partitions = partitions_of(d, &d->sides[0]);
	resp.n_workflow_task_queue_partitions = d->sides[0].partitions;
	resp.activity_task_queue_partitions = partitions_of(d, &d->sides[1]);
	resp.n_activity_task_queue_partitions = d->sides[1].partitions;
	edge_reply(d->call, &resp.base);
}

/* ------------------------------------------------------------------ asking */

static poller_info *poller_of(struct arena *a, const Perdure__PollerInfo *p)
{
	poller_info *i = arena_new0(a, poller_info);
	temporal__api__taskqueue__v1__poller_info__init(i);
	i->identity = p->identity;
	i->last_access_time = timestamp(a, p->last_access_time_ns);
	i->rate_per_second = p->rate_per_second > 0 ? p->rate_per_second : UNLIMITED_RATE;
	if (p->worker_version_capabilities.len)
		i->worker_version_capabilities = temporal__api__common__v1__worker_version_capabilities__unpack(
			arena_pb(a), p->worker_version_capabilities.len, p->worker_version_capabilities.data);
	if (p->deployment_options.len)
		i->deployment_options = temporal__api__deployment__v1__worker_deployment_options__unpack(
			arena_pb(a), p->deployment_options.len, p->deployment_options.data);
	return i;
}

/* A worker polls several partitions: it is named once, as last seen. */
static void add_poller(struct side *s, poller_info *p)
{
	for (size_t i = 0; i < s->poller_count; i++) {
		if (!str_eq(s->pollers[i]->identity, p->identity))
			continue;
		if (p->last_access_time->seconds > s->pollers[i]->last_access_time->seconds)
			s->pollers[i] = p;
		return;
	}
	s->pollers[s->poller_count++] = p;
}

static void add_waiting(struct waiting *w, int64_t count, int64_t oldest_ns)
{
	w->count += count;
	if (oldest_ns > 0)
		w->oldest_ns = min_i64(w->oldest_ns, oldest_ns);
}

/* A program that doesn't say priorities yet counts as one that has the default's only. */
static void add_backlog(struct side *s, const Perdure__DescribeQueueReply *r)
{
	add_waiting(&s->backlog, r->backlog, r->oldest_scheduled_time_ns);
	for (size_t i = 0; i < r->n_priorities; i++) {
		const Perdure__PriorityBacklog *p = r->priorities[i];
		if (p->priority >= 0 && p->priority < PRIORITIES)
			add_waiting(&s->priorities[p->priority], p->count, p->oldest_time_ns);
	}
	if (!r->n_priorities)
		add_waiting(&s->priorities[PRIORITY_DEFAULT], r->backlog, r->oldest_scheduled_time_ns);
}

static void add_reply(struct describe *d, const Perdure__DescribeQueueReply *r)
{
	struct arena *a = edge_arena(d->call);
	struct side *s = &d->sides[d->side];
	poller_info **grown = arena_array(a, poller_info *, s->poller_count + r->n_pollers + 1);
	if (s->poller_count)
		memcpy(grown, s->pollers, s->poller_count * sizeof *grown);
	s->pollers = grown;
	for (size_t i = 0; i < r->n_pollers; i++)
		add_poller(s, poller_of(a, r->pollers[i]));
	add_backlog(s, r);
	s->add_rate += r->add_rate;
	s->dispatch_rate += r->dispatch_rate;
}

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct describe *d = ctx;
	d->pending = NULL;
	if (err_is(e) && err_retryable(e)) {
		env_timer_start(d->call->edge->env, &d->retry, RETRY_NS);
		return;
	}
	Perdure__DescribeQueueReply *r =
		err_is(e) ? NULL
			  : perdure__describe_queue_reply__unpack(arena_pb(edge_arena(d->call)), body.len, body.data);
	if (!r) {
		edge_fail(d->call, err_is(e) ? e : err_static(ERR_INTERNAL, "malformed answer of matching"));
		return;
	}
	add_reply(d, r);
	if (d->partition == 0)
		d->sides[d->side].partitions = r->partitions ? r->partitions : 1;
	if (d->request && ++d->partition < d->sides[d->side].partitions) {
		ask(d);
	} else if (++d->side < d->side_count) {
		d->partition = 0;
		ask(d);
	} else if (d->request) {
		answer(d);
	} else {
		answer_partitions(d);
	}
}

static void on_retry(struct env_timer *t)
{
	struct describe *d = container_of(t, struct describe, retry);
	if (env_mono_ns(d->call->edge->env) >= edge_deadline_ns(d->call) - RETRY_NS)
		edge_fail(d->call, err_static(ERR_UNAVAILABLE, "No matching node is there for this task queue."));
	else
		ask(d);
}

static void ask(struct describe *d)
{
	struct edge *e = d->call->edge;
	d->key.pollers = pollers_of(&d->sides[d->side]);
	uint64_t place = placement_queue(d->key.namespace_id, d->key.name, (int)d->key.pollers, d->key.sticky);
	const struct member *owner = membership_partition_owner(e->parts.membership, place, d->partition);
	if (!owner) {
		env_timer_start(e->env, &d->retry, RETRY_NS);
		return;
	}
	Perdure__DescribeQueue m = PERDURE__DESCRIBE_QUEUE__INIT;
	m.queue = &d->key;
	m.partition = d->partition;
	struct buf body = {0};
	size_t len = perdure__describe_queue__get_packed_size(&m);
	perdure__describe_queue__pack(&m, buf_reserve(&body, len));
	struct bytes part = bytes_of(body.data, len);
	struct rpc_call call = {
		.address = owner->address,
		.method = RPC_MATCHING_DESCRIBE,
		.parts = &part,
		.part_count = 1,
		.deadline_ns = edge_deadline_ns(d->call),
		.fn = on_reply,
		.ctx = d,
	};
	d->pending = rpc_call(e->parts.rpc, &call);
	buf_done(&body);
}

static void on_cancel(struct edge_call *c)
{
	struct describe *d = c->state;
	env_timer_stop(c->edge->env, &d->retry);
	if (d->pending)
		rpc_cancel(d->pending);
	edge_fail(c, err_static(ERR_CANCELLED, "context canceled"));
}

static void add_side(struct describe *d, Temporal__Api__Enums__V1__TaskQueueType type)
{
	for (size_t i = 0; i < d->side_count; i++)
		if (d->sides[i].type == type)
			return;
	if (d->side_count == array_len(d->sides))
		return;
	struct side *s = &d->sides[d->side_count++];
	*s = (struct side){.type = type, .backlog = {.oldest_ns = INT64_MAX}};
	for (int i = 0; i < PRIORITIES; i++)
		s->priorities[i].oldest_ns = INT64_MAX;
}

static void choose_sides(struct describe *d)
{
	const describe_request *r = d->request;
	if (r->api_mode != MODE_ENHANCED) {
		add_side(d, r->task_queue_type == TYPE(UNSPECIFIED) ? TYPE(WORKFLOW) : r->task_queue_type);
		return;
	}
	for (size_t i = 0; i < r->n_task_queue_types; i++)
		add_side(d, r->task_queue_types[i]);
	if (!r->n_task_queue_types) {
		add_side(d, TYPE(WORKFLOW));
		add_side(d, TYPE(ACTIVITY));
	}
}

static struct describe *describe_new(struct edge_call *c, const struct admitted *a)
{
	struct describe *d = arena_new0(edge_arena(c), struct describe);
	d->call = c;
	d->retry.fn = on_retry;
	perdure__queue_key__init(&d->key);
	d->key.namespace_id = (char *)a->namespace_id;
	c->state = d;
	c->on_cancel = on_cancel;
	return d;
}

void task_queue_describe_serve(struct edge_call *c, struct admitted *a)
{
	describe_request *req;
	struct err e = edge_unpack(c, &req);
	if (err_is(e)) {
		edge_fail(c, e);
		return;
	}
	struct describe *d = describe_new(c, a);
	d->request = req;
	d->key.name = req->task_queue->name;
	d->key.sticky = req->task_queue->kind == KIND_STICKY;
	choose_sides(d);
	ask(d);
}

void task_queue_partitions_serve(struct edge_call *c, struct admitted *a)
{
	struct describe *d = describe_new(c, a);
	d->key.name = (char *)edge_text(c, edge_field_in(c, "task_queue", "name"));
	add_side(d, TYPE(WORKFLOW));
	add_side(d, TYPE(ACTIVITY));
	ask(d);
}
