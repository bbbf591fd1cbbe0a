/*
 * The cluster of harness.h.
 */
#include "tests/unit/common/edge/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"

struct cluster k;

void advance(int64_t ns)
{
	fake_world_advance(&k.world, ns);
}

/* ------------------------------------------------------------------ peers */

static void on_held_cancelled(void *ctx, struct rpc_request *req)
{
	struct held *h = ctx;
	for (size_t i = 0; i < HELD_MAX; i++)
		if (h[i].req == req)
			h[i].cancelled = true;
}

static void hold(struct held *list, size_t *count, struct rpc_request *req)
{
	ck_assert_uint_lt(*count, HELD_MAX);
	list[(*count)++] = (struct held){.req = req, .arena = rpc_arena(req)};
	rpc_on_cancel(req, on_held_cancelled, list);
}

static void on_call(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	hold(p->calls, &p->call_count, req);
}

static void on_start(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	hold(p->starts, &p->start_count, req);
}

static void on_revert(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	hold(p->reverts, &p->revert_count, req);
}

static void on_describe(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	hold(p->describes, &p->describe_count, req);
}

static void on_credits(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	struct bytes b = rpc_body(req);
	if (p->credit_count == HELD_MAX) {
		perdure__credits__free_unpacked(p->credits[0], NULL);
		memmove(p->credits, p->credits + 1, (HELD_MAX - 1) * sizeof *p->credits);
		p->credit_count--;
	}
	p->credits[p->credit_count] = perdure__credits__unpack(NULL, b.len, b.data);
	ck_assert_ptr_nonnull(p->credits[p->credit_count++]);
	snprintf(p->gateway, sizeof p->gateway, "%s", rpc_from(req));
	rpc_reply(req, NULL, 0);
}

static void on_outcomes(void *ctx, struct rpc_request *req)
{
	struct peer_node *p = ctx;
	struct bytes b = rpc_body(req);
	Perdure__TaskOutcomes *m = perdure__task_outcomes__unpack(arena_pb(rpc_arena(req)), b.len, b.data);
	ck_assert_ptr_nonnull(m);
	for (size_t i = 0; i < m->n_outcomes; i++) {
		ck_assert_uint_lt(p->outcome_count, HELD_MAX);
		p->outcomes[p->outcome_count++] = *m->outcomes[i];
	}
	rpc_reply(req, NULL, 0);
}

static struct membership *join(struct env *env, struct store *store, enum member_role role, const char *address,
			       uint64_t incarnation)
{
	struct membership_config c = {
		.node_id = address,
		.role = role,
		.address = address,
		.http_address = "",
		.version = "test",
		.incarnation = incarnation,
	};
	struct membership *m = membership_new(env, store, &c);
	membership_start(m);
	return m;
}

void peer_start(struct peer_node *p, enum member_role role, const char *address)
{
	uint64_t incarnation = p->incarnation + 1;
	*p = (struct peer_node){.alive = true, .address = address, .role = role, .incarnation = incarnation};
	fake_env_init(&p->env, &k.world);
	p->store = fake_store_new(&p->env.env, k.db);
	struct rpc_config c = {.address = address, .incarnation = incarnation + fake_world_random(&k.world)};
	p->rpc = rpc_new(&p->env.env, fake_net_endpoint(k.net, &p->env.env, address), &c);
	rpc_serve(p->rpc, RPC_HISTORY_CALL, on_call, p);
	rpc_serve(p->rpc, RPC_HISTORY_START_TASK, on_start, p);
	rpc_serve(p->rpc, RPC_HISTORY_REVERT_START, on_revert, p);
	rpc_serve(p->rpc, RPC_MATCHING_DESCRIBE, on_describe, p);
	rpc_serve(p->rpc, RPC_MATCHING_CREDITS, on_credits, p);
	rpc_serve(p->rpc, RPC_MATCHING_OUTCOMES, on_outcomes, p);
	p->membership = join(&p->env.env, p->store, role, address, incarnation);
	if (role == MEMBER_HISTORY && !k.no_relays)
		p->relay = relay_new(p->rpc, p->membership);
}

static void answer_all(struct held *list, size_t *count)
{
	while (*count)
		reply_err(list, count, ERR_UNAVAILABLE, ERR_REASON_NONE, "gone");
}

void peer_kill(struct peer_node *p)
{
	if (!p->alive)
		return;
	p->alive = false;
	relay_free(p->relay);
	membership_free(p->membership);
	rpc_free(p->rpc);
	answer_all(p->calls, &p->call_count);
	answer_all(p->starts, &p->start_count);
	answer_all(p->reverts, &p->revert_count);
	answer_all(p->describes, &p->describe_count);
	store_free(p->store);
	fake_env_done(&p->env);
	while (p->credit_count)
		perdure__credits__free_unpacked(p->credits[--p->credit_count], NULL);
}

static void on_left(void *ctx, struct err e)
{
	(void)ctx;
	(void)e;
}

void peer_leave(struct peer_node *p)
{
	membership_leave(p->membership, on_left, NULL);
	advance(50 * MS);
	peer_kill(p);
}

/* ------------------------------------------------------------------ what peers are asked */

static void *oldest(struct held *list, size_t count, const ProtobufCMessageDescriptor *d)
{
	ck_assert_msg(count > 0, "no %s is held", d->short_name);
	struct bytes b = rpc_body(list[0].req);
	void *m = protobuf_c_message_unpack(d, arena_pb(list[0].arena), b.len, b.data);
	ck_assert_ptr_nonnull(m);
	return m;
}

Perdure__HistoryCall *next_call(struct peer_node *p)
{
	return oldest(p->calls, p->call_count, &perdure__history_call__descriptor);
}

Perdure__StartTask *next_start(struct peer_node *p)
{
	return oldest(p->starts, p->start_count, &perdure__start_task__descriptor);
}

Perdure__RevertStart *next_revert(struct peer_node *p)
{
	return oldest(p->reverts, p->revert_count, &perdure__revert_start__descriptor);
}

static struct rpc_request *take(struct held *list, size_t *count)
{
	ck_assert_uint_gt(*count, 0);
	struct rpc_request *req = list[0].req;
	memmove(list, list + 1, --*count * sizeof *list);
	list[*count] = (struct held){0};
	return req;
}

void reply(struct held *list, size_t *count, const void *data, size_t len)
{
	struct bytes part = bytes_of(data, len);
	rpc_reply(take(list, count), &part, 1);
	advance(5 * MS);
}

void reply_err(struct held *list, size_t *count, enum err_code code, enum err_reason reason, const char *message)
{
	rpc_reply_err(take(list, count), (struct err){.code = code, .reason = reason, .message = message});
}

void reply_start(struct peer_node *p, Perdure__StartTaskReply__Outcome outcome, const char *response)
{
	Perdure__StartTaskReply r = PERDURE__START_TASK_REPLY__INIT;
	r.outcome = outcome;
	r.response = (ProtobufCBinaryData){strlen(response), (uint8_t *)response};
	uint8_t packed[256];
	reply(p->starts, &p->start_count, packed, perdure__start_task_reply__pack(&r, packed));
}

const Perdure__QueueCredit *credit_of(struct peer_node *p, const char *queue)
{
	for (size_t i = p->credit_count; i-- > 0;) {
		const Perdure__Credits *c = p->credits[i];
		for (size_t j = 0; j < c->n_queues; j++)
			if (str_eq(c->queues[j]->queue->name, queue))
				return c->queues[j];
		if (c->whole)
			return NULL;
	}
	return NULL;
}

static void hand_out_kind(struct peer_node *p, const char *queue, bool sticky, Perdure__TaskKind pollers,
			  Perdure__TaskKind kind, uint64_t hand_id, const char *workflow_id)
{
	Perdure__DispatchTask task = PERDURE__DISPATCH_TASK__INIT;
	Perdure__QueueKey key = PERDURE__QUEUE_KEY__INIT;
	Perdure__HandedTask handed = PERDURE__HANDED_TASK__INIT;
	Perdure__HandOut m = PERDURE__HAND_OUT__INIT;
	Perdure__HandedTask *list[] = {&handed};
	ck_assert_uint_gt(p->credit_count, 0);
	key.namespace_id = (char *)NAMESPACE_ID;
	key.name = (char *)queue;
	key.pollers = pollers;
	key.sticky = sticky;
	task.kind = kind;
	task.namespace_id = (char *)NAMESPACE_ID;
	task.workflow_id = (char *)workflow_id;
	task.shard = shard_of(NAMESPACE_ID, workflow_id, SHARDS);
	task.stamp = 5;
	handed.hand_id = hand_id;
	handed.queue = &key;
	handed.task = &task;
	if (k.hand_request_id)
		handed.request_id = (char *)k.hand_request_id;
	m.session = p->credits[p->credit_count - 1]->session;
	m.tasks = list;
	m.n_tasks = 1;
	uint8_t packed[1024];
	size_t len = perdure__hand_out__pack(&m, packed);
	rpc_send(p->rpc, p->gateway, RPC_GATEWAY_TASKS, bytes_of(packed, len));
	advance(5 * MS);
}

void hand_out(struct peer_node *p, const char *queue, bool sticky, Perdure__TaskKind pollers, uint64_t hand_id,
	      const char *workflow_id)
{
	hand_out_kind(p, queue, sticky, pollers, pollers, hand_id, workflow_id);
}

void hand_out_query(struct peer_node *p, const char *queue, uint64_t hand_id, const char *workflow_id)
{
	hand_out_kind(p, queue, false, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW, PERDURE__TASK_KIND__TASK_KIND_QUERY,
		      hand_id, workflow_id);
}

Perdure__TaskOutcome__Verdict outcome_of(struct peer_node *p, uint64_t hand_id)
{
	Perdure__TaskOutcome__Verdict found = PERDURE__TASK_OUTCOME__VERDICT__UNSPECIFIED;
	int times = 0;
	for (size_t i = 0; i < p->outcome_count; i++) {
		if (p->outcomes[i].hand_id != hand_id)
			continue;
		found = p->outcomes[i].verdict;
		times++;
	}
	ck_assert_int_le(times, 1);
	return found;
}

/* ------------------------------------------------------------------ clients */

static struct client_call *client_of(const struct edge_call *c)
{
	return container_of((struct edge_call *)c, struct client_call, call);
}

static const char *header(const struct edge_call *c, const char *key)
{
	return !client_of(c)->slim && str_eq(key, "client-name") ? client_of(c)->client_name : NULL;
}

static bool finish(struct edge_call *c, struct err e, const struct bytes *parts, size_t part_count)
{
	struct client_call *x = client_of(c);
	struct buf b = {0};
	ck_assert(!x->finished);
	x->finished = true;
	x->finished_ns = k.world.now_ns;
	x->e = e;
	snprintf(x->message, sizeof x->message, "%s", e.message ? e.message : "");
	snprintf(x->detail_type, sizeof x->detail_type, "%s", e.detail_type ? e.detail_type : "");
	for (size_t i = 0; i < part_count; i++)
		buf_put_bytes(&b, parts[i]);
	x->body = buf_take(&b, &x->body_len);
	return !x->cancelled && !x->refuse;
}

static void slim(struct edge_call *c)
{
	struct client_call *x = client_of(c);
	x->slim = true;
	free(x->request);
	x->request = NULL;
}

static const struct edge_call_ops ops = {.header = header, .finish = finish, .slim = slim};

struct client_call *client_begin_bytes(const struct api_method *method, struct bytes request, int64_t timeout_ns)
{
	struct client_call *c = new0(struct client_call);
	c->client_name = "temporal-test";
	c->request = mem_dup(request.data, request.len);
	c->call.ops = &ops;
	c->call.method = method;
	c->call.request = bytes_of(c->request, request.len);
	c->call.deadline_ns = timeout_ns ? env_mono_ns(&k.env.env) + timeout_ns : INT64_MAX;
	edge_serve(k.edge, &c->call);
	return c;
}

struct client_call *client_begin(const struct api_method *method, const ProtobufCMessage *request, int64_t timeout_ns)
{
	ck_assert_ptr_eq(method->request, request->descriptor);
	uint8_t *packed = mem_alloc(protobuf_c_message_get_packed_size(request) + 1);
	size_t len = protobuf_c_message_pack(request, packed);
	struct client_call *c = client_begin_bytes(method, bytes_of(packed, len), timeout_ns);
	free(packed);
	return c;
}

void client_cancel(struct client_call *c)
{
	ck_assert(!c->finished && !c->cancelled);
	c->cancelled = true;
	edge_cancelled(&c->call);
	advance(5 * MS);
}

void client_free(struct client_call *c)
{
	ck_assert(c->finished);
	free(c->body);
	free(c->request);
	free(c);
}

void expect_body(const struct client_call *c, const char *body)
{
	ck_assert(c->finished);
	ck_assert_msg(c->e.code == ERR_OK, "%s: %s", err_code_name(c->e.code), c->message);
	ck_assert(bytes_eq(bytes_of(c->body, c->body_len), bytes_str(body)));
}

void expect_error(const struct api_method *method, const ProtobufCMessage *request, enum err_code code,
		  const char *text)
{
	struct client_call *c = client_begin(method, request, 10 * NS_PER_S);
	advance(100 * MS);
	ck_assert_msg(c->finished, "%s is not finished", method->name);
	ck_assert_str_eq(c->message, text);
	ck_assert_int_eq(c->e.code, code);
	client_free(c);
}

static Temporal__Api__Taskqueue__V1__TaskQueue task_queue(const char *name)
{
	Temporal__Api__Taskqueue__V1__TaskQueue q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	q.name = (char *)name;
	return q;
}

struct client_call *poll_workflow(const char *queue, const char *identity, int64_t timeout_ns)
{
	WS(PollWorkflowTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = task_queue(queue);
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	r.identity = (char *)identity;
	struct client_call *c = client_begin(METHOD(POLL_WORKFLOW_TASK_QUEUE), &r.base, timeout_ns);
	advance(5 * MS);
	return c;
}

struct client_call *poll_activity(const char *queue, const char *identity, int64_t timeout_ns)
{
	WS(PollActivityTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_ACTIVITY_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueueMetadata meta = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE_METADATA__INIT;
	Google__Protobuf__DoubleValue rate = GOOGLE__PROTOBUF__DOUBLE_VALUE__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = task_queue(queue);
	rate.value = 2.5;
	meta.max_tasks_per_second = &rate;
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	r.task_queue_metadata = &meta;
	r.identity = (char *)identity;
	struct client_call *c = client_begin(METHOD(POLL_ACTIVITY_TASK_QUEUE), &r.base, timeout_ns);
	advance(5 * MS);
	return c;
}

struct client_call *poll_sticky(const char *queue, const char *normal, const char *identity, int64_t timeout_ns)
{
	WS(PollWorkflowTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__POLL_WORKFLOW_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = task_queue(queue);
	q.kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
	q.normal_name = (char *)normal;
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	r.identity = (char *)identity;
	struct client_call *c = client_begin(METHOD(POLL_WORKFLOW_TASK_QUEUE), &r.base, timeout_ns);
	advance(5 * MS);
	return c;
}

/* ------------------------------------------------------------------ the cluster */

void put_namespace(const char *id, const char *name, int state)
{
	Perdure__NamespaceRecord r = PERDURE__NAMESPACE_RECORD__INIT;
	r.id = (char *)id;
	r.name = (char *)name;
	r.state = state;
	r.retention_ns = 72 * 3600 * NS_PER_S;
	uint8_t packed[256];
	size_t len = perdure__namespace_record__pack(&r, packed);
	fake_db_put_namespace(k.db, id, name, bytes_of(packed, len));
}

void cluster_setup(void)
{
	k = (struct cluster){0};
	fake_world_init(&k.world, 7);
	k.net = fake_net_new(&k.world);
	k.db = fake_db_new(SHARDS, 7);
	put_namespace(NAMESPACE_ID, "default", 1);
	fake_env_init(&k.env, &k.world);
	k.store = fake_store_new(&k.env.env, k.db);
	struct rpc_config c = {.address = "edge", .incarnation = 1};
	k.rpc = rpc_new(&k.env.env, fake_net_endpoint(k.net, &k.env.env, "edge"), &c);
	peer_start(&k.history, MEMBER_HISTORY, "history-1");
	peer_start(&k.matching, MEMBER_MATCHING, "matching-1");
	k.membership = join(&k.env.env, k.store, MEMBER_WORKER_GATEWAY, "edge", 1);
	struct namespaces_config n = {0};
	k.namespaces = namespaces_new(&k.env.env, k.store, &n);
	namespaces_start(k.namespaces);
	struct edge_parts parts = {
		.env = &k.env.env,
		.rpc = k.rpc,
		.store = k.store,
		.membership = k.membership,
		.namespaces = k.namespaces,
	};
	struct edge_config config = {
		.shard_count = SHARDS, .cluster_id = "cid", .cluster_name = "here", .version = "0.1"};
	k.edge = edge_new(&parts, &config);
	advance(2 * NS_PER_S);
}

void cluster_teardown(void)
{
	edge_free(k.edge);
	namespaces_free(k.namespaces);
	membership_free(k.membership);
	rpc_free(k.rpc);
	store_free(k.store);
	fake_env_done(&k.env);
	peer_kill(&k.history);
	peer_kill(&k.history2);
	peer_kill(&k.matching);
	peer_kill(&k.matching2);
	fake_db_free(k.db);
	fake_net_free(k.net);
}

int run_suite(const char *name, const TTest *const *tests, size_t count)
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	tcase_add_checked_fixture(t, cluster_setup, cluster_teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
