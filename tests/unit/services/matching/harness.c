/*
 * The world of harness.h.
 */
#include "tests/unit/services/matching/harness.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"

#define NAMESPACE_ID "11111111-1111-4111-8111-111111111111"

struct matching_world w;
uint32_t told_partitions;

void advance(int64_t ns)
{
	fake_world_advance(&w.world, ns);
}

/* ------------------------------------------------------------------ gateways and histories */

static void on_tasks(void *ctx, struct rpc_request *req)
{
	struct node_under_test *n = ctx;
	struct bytes b = rpc_body(req);
	Perdure__HandOut *m = perdure__hand_out__unpack(arena_pb(rpc_arena(req)), b.len, b.data);
	ck_assert_ptr_nonnull(m);
	for (size_t i = 0; i < m->n_tasks; i++) {
		ck_assert_uint_lt(n->handed_count, HANDED_MAX);
		n->handed[n->handed_count].hand_id = m->tasks[i]->hand_id;
		n->handed[n->handed_count].partition = m->tasks[i]->partition;
		snprintf(n->handed[n->handed_count].workflow_id, sizeof n->handed[0].workflow_id, "%s",
			 m->tasks[i]->task->workflow_id);
		snprintf(n->handed[n->handed_count].request_id, sizeof n->handed[0].request_id, "%s",
			 m->tasks[i]->request_id);
		snprintf(n->handed[n->handed_count].from, sizeof n->handed[0].from, "%s", rpc_from(req));
		n->handed_count++;
	}
	for (size_t i = 0; i < m->n_queues; i++) {
		n->partitions = m->queues[i]->count;
		n->partitions_version = m->queues[i]->version;
	}
	for (size_t i = 0; i < m->n_hungry; i++) {
		n->hungry_partition = m->hungry[i]->partition;
		n->hungry = m->hungry[i]->tasks;
		n->hungry_count++;
	}
	rpc_reply(req, NULL, 0);
}

static void on_take_back(void *ctx, struct rpc_request *req)
{
	struct node_under_test *n = ctx;
	struct bytes b = rpc_body(req);
	Perdure__TakeBack *m = perdure__take_back__unpack(arena_pb(rpc_arena(req)), b.len, b.data);
	ck_assert_ptr_nonnull(m);
	ck_assert_uint_eq(m->n_tasks, 1);
	ck_assert_uint_eq(m->n_request_ids, 1);
	snprintf(n->lost_request_id, sizeof n->lost_request_id, "%s", m->request_ids[0]);
	n->taken_back++;
	rpc_reply(req, NULL, 0);
}

static void reply_message(struct rpc_request *req, const ProtobufCMessage *m)
{
	struct arena *a = rpc_arena(req);
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *data = arena_alloc(a, len + 1);
	struct bytes part = bytes_of(data, protobuf_c_message_pack(m, data));
	rpc_reply(req, &part, 1);
}

static void say_rest(const struct node_under_test *n, Perdure__QueueBacklog *b)
{
	perdure__queue_backlog__init(b);
	b->count = (int64_t)n->stock_count;
	b->oldest_time_ns = b->next_time_ns = n->stock_count ? n->stock[0].scheduled_ns : 0;
	b->next_priority = n->stock_priority ? n->stock_priority : 3;
}

static void on_pull(void *ctx, struct rpc_request *req)
{
	struct node_under_test *n = ctx;
	struct arena *a = rpc_arena(req);
	struct bytes b = rpc_body(req);
	Perdure__PullTasks *m = perdure__pull_tasks__unpack(arena_pb(a), b.len, b.data);
	n->pulls++;
	n->pulled_again = m->again;
	if (n->mute) {
		rpc_reply_err(req, err_static(ERR_UNAVAILABLE, "not now"));
		return;
	}
	size_t count = n->stock_count < n->page_max ? n->stock_count : n->page_max;
	Perdure__PullTasksReply r = PERDURE__PULL_TASKS_REPLY__INIT;
	Perdure__QueueBacklog rest;
	r.tasks = arena_array(a, Perdure__DispatchTask *, count + 1);
	for (; r.n_tasks < count; r.n_tasks++) {
		Perdure__DispatchTask *t = r.tasks[r.n_tasks] = arena_new0(a, Perdure__DispatchTask);
		perdure__dispatch_task__init(t);
		t->kind = WORKFLOW;
		t->workflow_id = t->run_id = arena_strdup(a, n->stock[r.n_tasks].workflow_id);
		t->scheduled_time_ns = n->stock[r.n_tasks].scheduled_ns;
		t->priority_key = n->stock_priority;
	}
	n->stock_count -= count;
	memmove(n->stock, n->stock + count, n->stock_count * sizeof *n->stock);
	say_rest(n, &rest);
	r.rest = &rest;
	reply_message(req, &r.base);
}

static void on_offer_again(void *ctx, struct rpc_request *req)
{
	struct node_under_test *n = ctx;
	n->asked_again++;
	rpc_reply(req, NULL, 0);
}

/* ------------------------------------------------------------------ nodes */

static void on_peer_down(void *ctx, const char *address)
{
	struct node_under_test *n = ctx;
	membership_down(n->membership, address);
}

static void node_start(struct node_under_test *n, enum member_role role, const char *address)
{
	uint64_t incarnation = n->incarnation + 1;
	*n = (struct node_under_test){.alive = true, .incarnation = incarnation, .session = incarnation};
	fake_env_init(&n->env, &w.world);
	n->store = fake_store_new(&n->env.env, w.db);
	struct rpc_config c = {.address = address, .incarnation = incarnation};
	n->rpc = rpc_new(&n->env.env, fake_net_endpoint(w.net, &n->env.env, address), &c);
	struct membership_config m = {
		.node_id = address,
		.role = role,
		.address = address,
		.http_address = "",
		.version = "test",
		.incarnation = incarnation,
	};
	n->membership = membership_new(&n->env.env, n->store, &m);
	if (role == MEMBER_WORKER_GATEWAY)
		rpc_serve(n->rpc, RPC_GATEWAY_TASKS, on_tasks, n);
	if (role == MEMBER_HISTORY) {
		rpc_serve(n->rpc, RPC_HISTORY_OFFER_AGAIN, on_offer_again, n);
		rpc_serve(n->rpc, RPC_HISTORY_TAKE_BACK, on_take_back, n);
		rpc_serve(n->rpc, RPC_HISTORY_PULL, on_pull, n);
		n->page_max = 10;
	}
	if (role == MEMBER_MATCHING)
		n->matching = matching_new(&n->env.env, n->rpc, n->membership, NULL, &w.config);
	rpc_on_peer_down(n->rpc, on_peer_down, n);
	membership_start(n->membership);
}

void matching_start(size_t i)
{
	static const char *const addresses[] = {"matching-0", "matching-1"};
	node_start(&w.matching[i], MEMBER_MATCHING, addresses[i]);
}

void node_kill(struct node_under_test *n)
{
	if (!n->alive)
		return;
	n->alive = false;
	matching_free(n->matching);
	membership_free(n->membership);
	rpc_free(n->rpc);
	store_free(n->store);
	fake_env_done(&n->env);
}

void world_setup(void)
{
	w = (struct matching_world){0};
	fake_world_init(&w.world, 11);
	w.net = fake_net_new(&w.world);
	w.db = fake_db_new(8, 11);
	matching_config_defaults(&w.config);
	node_start(&w.gateway[0], MEMBER_WORKER_GATEWAY, "gateway-0");
	node_start(&w.gateway[1], MEMBER_WORKER_GATEWAY, "gateway-1");
	node_start(&w.history[0], MEMBER_HISTORY, "history-0");
	node_start(&w.history[1], MEMBER_HISTORY, "history-1");
	matching_start(0);
	advance(2 * SECOND);
}

void world_teardown(void)
{
	for (size_t i = 0; i < 2; i++) {
		node_kill(&w.matching[i]);
		node_kill(&w.gateway[i]);
		node_kill(&w.history[i]);
	}
	fake_db_free(w.db);
	fake_net_free(w.net);
}

/* ------------------------------------------------------------------ what they say */

static void call(struct rpc *rpc, const char *to, enum rpc_method method, const ProtobufCMessage *m, rpc_reply_fn *fn,
		 void *ctx)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	uint8_t *data = mem_alloc(len + 1);
	struct bytes part = bytes_of(data, protobuf_c_message_pack(m, data));
	if (fn) {
		struct rpc_call c = {
			.address = to,
			.method = method,
			.parts = &part,
			.part_count = 1,
			.deadline_ns = env_mono_ns(rpc_env(rpc)) + SECOND,
			.fn = fn,
			.ctx = ctx,
		};
		rpc_call(rpc, &c);
	} else {
		rpc_send(rpc, to, method, part);
	}
	free(data);
	advance(5 * MS);
}

static Perdure__QueueKey key_of(const char *queue, bool sticky)
{
	Perdure__QueueKey k = PERDURE__QUEUE_KEY__INIT;
	k.namespace_id = (char *)NAMESPACE_ID;
	k.name = (char *)queue;
	k.pollers = WORKFLOW;
	k.sticky = sticky;
	return k;
}

static const char *address_of(const struct node_under_test *n, const char *queue, bool sticky, uint32_t partition)
{
	uint64_t place = placement_queue(NAMESPACE_ID, queue, WORKFLOW, sticky);
	return membership_partition_owner(n->membership, place, partition)->address;
}

struct node_under_test *owner_of(const char *queue, uint32_t partition)
{
	for (size_t i = 0; i < 2; i++)
		if (w.matching[i].alive &&
		    str_eq(rpc_address(w.matching[i].rpc), address_of(&w.history[0], queue, false, partition)))
			return &w.matching[i];
	return NULL;
}

static void on_added(void *ctx, struct err e, struct bytes body)
{
	Perdure__AddTasksReply__Verdict *v = ctx;
	if (err_is(e))
		return;
	Perdure__AddTasksReply *r = perdure__add_tasks_reply__unpack(NULL, body.len, body.data);
	ck_assert_uint_eq(r->n_verdicts, 1);
	*v = r->verdicts[0];
	told_partitions = r->n_queues ? r->queues[0]->count : 0;
	perdure__add_tasks_reply__free_unpacked(r, NULL);
}

Perdure__AddTasksReply__Verdict add(const struct add *a)
{
	static Perdure__AddTasksReply__Verdict verdict;
	Perdure__QueueKey key = key_of(a->queue, a->sticky);
	Perdure__DispatchTask task = PERDURE__DISPATCH_TASK__INIT;
	task.kind = WORKFLOW;
	task.namespace_id = (char *)NAMESPACE_ID;
	task.workflow_id = task.run_id = (char *)a->workflow_id;
	task.stamp = 1;
	task.priority_key = a->priority;
	task.scheduled_time_ns = a->scheduled_ns;
	task.expires_ns = a->expires_ns;
	Perdure__QueuedTask q = PERDURE__QUEUED_TASK__INIT;
	q.queue = &key;
	q.task = &task;
	q.partition = a->partition;
	q.partitions = a->partitions;
	q.partitions_version = a->version;
	Perdure__QueuedTask *list[] = {&q};
	Perdure__AddTasks m = PERDURE__ADD_TASKS__INIT;
	m.tasks = list;
	m.n_tasks = 1;
	m.down = (char **)&a->down;
	m.n_down = a->down ? 1 : 0;
	verdict = NOBODY;
	call(w.history[0].rpc, address_of(&w.history[0], a->queue, a->sticky, a->partition), RPC_MATCHING_ADD, &m.base,
	     on_added, &verdict);
	return verdict;
}

void report(struct node_under_test *gateway, const struct credit_report *r)
{
	Perdure__QueueKey key = key_of(r->queue, r->sticky);
	Perdure__QueueCredit q = PERDURE__QUEUE_CREDIT__INIT;
	Perdure__PollerInfo poller = PERDURE__POLLER_INFO__INIT;
	Perdure__PollerInfo *pollers[] = {&poller};
	Perdure__QueueCredit *list[] = {&q};
	Perdure__Credits m = PERDURE__CREDITS__INIT;
	q.queue = &key;
	q.idle = r->idle;
	q.received = r->received;
	q.gone = r->gone;
	q.partition = r->partition;
	q.partitions = r->partitions;
	q.partitions_version = r->version;
	q.shut_down = r->shut_down;
	if (r->identity) {
		poller.identity = (char *)r->identity;
		poller.last_access_time_ns = env_wall_ns(&gateway->env.env);
		poller.rate_per_second = r->rate;
		q.pollers = pollers;
		q.n_pollers = 1;
	}
	m.session = gateway->session;
	m.queues = list;
	m.n_queues = 1;
	call(gateway->rpc, address_of(gateway, r->queue, r->sticky, r->partition), RPC_MATCHING_CREDITS, &m.base, NULL,
	     NULL);
}

void report_nothing(struct node_under_test *gateway)
{
	Perdure__Credits m = PERDURE__CREDITS__INIT;
	m.session = gateway->session;
	m.whole = true;
	call(gateway->rpc, "matching-0", RPC_MATCHING_CREDITS, &m.base, NULL, NULL);
}

const char *next_handed(struct node_under_test *gateway)
{
	if (gateway->taken == gateway->handed_count)
		return NULL;
	return gateway->handed[gateway->taken++].workflow_id;
}

void outcome(struct node_under_test *gateway, Perdure__TaskOutcome__Verdict verdict)
{
	Perdure__TaskOutcome o = PERDURE__TASK_OUTCOME__INIT;
	Perdure__TaskOutcome *list[] = {&o};
	Perdure__TaskOutcomes m = PERDURE__TASK_OUTCOMES__INIT;
	ck_assert_uint_gt(gateway->taken, 0);
	o.hand_id = gateway->handed[gateway->taken - 1].hand_id;
	o.verdict = verdict;
	m.outcomes = list;
	m.n_outcomes = 1;
	call(gateway->rpc, gateway->handed[gateway->taken - 1].from, RPC_MATCHING_OUTCOMES, &m.base, NULL, NULL);
}

void stock(struct node_under_test *history, const char *workflow_id, int64_t scheduled_ns)
{
	ck_assert_uint_lt(history->stock_count, STOCK_MAX);
	struct stocked *t = &history->stock[history->stock_count++];
	snprintf(t->workflow_id, sizeof t->workflow_id, "%s", workflow_id);
	t->scheduled_ns = scheduled_ns;
}

void backlog(struct node_under_test *history, const char *queue)
{
	Perdure__QueueKey key = key_of(queue, false);
	Perdure__Backlogs m = PERDURE__BACKLOGS__INIT;
	Perdure__QueueBacklog b, *list[] = {&b};
	say_rest(history, &b);
	b.queue = &key;
	m.queues = list;
	m.n_queues = 1;
	call(history->rpc, address_of(history, queue, false, 0), RPC_MATCHING_BACKLOG, &m.base, NULL, NULL);
}

static void on_described(void *ctx, struct err e, struct bytes body)
{
	Perdure__DescribeQueueReply **r = ctx;
	ck_assert_msg(!err_is(e), "%s", e.message);
	*r = perdure__describe_queue_reply__unpack(NULL, body.len, body.data);
}

Perdure__DescribeQueueReply *describe(const char *queue)
{
	static Perdure__DescribeQueueReply *r;
	Perdure__QueueKey key = key_of(queue, false);
	Perdure__DescribeQueue m = PERDURE__DESCRIBE_QUEUE__INIT;
	if (r)
		perdure__describe_queue_reply__free_unpacked(r, NULL);
	r = NULL;
	m.queue = &key;
	call(w.history[0].rpc, address_of(&w.history[0], queue, false, 0), RPC_MATCHING_DESCRIBE, &m.base, on_described,
	     &r);
	ck_assert_ptr_nonnull(r);
	return r;
}

int run_suite(const char *name, const TTest *const *tests, size_t count)
{
	Suite *s = suite_create(name);
	TCase *t = tcase_create(name);
	tcase_add_checked_fixture(t, world_setup, world_teardown);
	for (size_t i = 0; i < count; i++)
		tcase_add_test(t, tests[i]);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
