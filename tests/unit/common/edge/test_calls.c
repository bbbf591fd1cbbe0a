/*
 * What the edge answers by itself or with matching's help: namespaces, the system, task queues.
 */
#include <stdio.h>
#include <string.h>

#include "common/mem/mem.h"
#include "tests/unit/common/edge/harness.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

#define SECOND NS_PER_S

static struct arena *arena;

/* The response of a call that ended well. */
static void *response(struct client_call *c)
{
	ck_assert_msg(c->finished && c->e.code == ERR_OK, "%s: %s", err_code_name(c->e.code), c->message);
	void *m = protobuf_c_message_unpack(c->call.method->response, arena_pb(arena), c->body_len, c->body);
	ck_assert_ptr_nonnull(m);
	return m;
}

static struct client_call *call(const struct api_method *method, const ProtobufCMessage *request)
{
	struct client_call *c = client_begin(method, request, 10 * SECOND);
	advance(200 * MS);
	return c;
}

static WS(RegisterNamespaceRequest) registration(const char *name)
{
	static Google__Protobuf__Duration retention;
	google__protobuf__duration__init(&retention);
	retention.seconds = 86400;
	WS(RegisterNamespaceRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__REGISTER_NAMESPACE_REQUEST__INIT;
	r.namespace_ = (char *)name;
	r.workflow_execution_retention_period = &retention;
	return r;
}

static void register_namespace(const char *name)
{
	WS(RegisterNamespaceRequest) r = registration(name);
	struct client_call *c = call(METHOD(REGISTER_NAMESPACE), &r.base);
	response(c);
	client_free(c);
}

START_TEST(namespaces_are_registered_and_described)
{
	WS(RegisterNamespaceRequest) r = registration("");
	expect_error(METHOD(REGISTER_NAMESPACE), &r.base, ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	r = registration("default");
	expect_error(METHOD(REGISTER_NAMESPACE), &r.base, ERR_ALREADY_EXISTS, "Namespace \"default\" already exists");
	register_namespace("mine");
	WS(DescribeNamespaceRequest) d = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_NAMESPACE_REQUEST__INIT;
	expect_error(METHOD(DESCRIBE_NAMESPACE), &d.base, ERR_INVALID_ARGUMENT, "Namespace not set on request.");
	d.namespace_ = (char *)"nope";
	expect_error(METHOD(DESCRIBE_NAMESPACE), &d.base, ERR_NOT_FOUND, "Namespace nope is not found.");
	d.namespace_ = (char *)"mine";
	struct client_call *c = call(METHOD(DESCRIBE_NAMESPACE), &d.base);
	WS(DescribeNamespaceResponse) *resp = response(c);
	ck_assert_uint_eq(strlen(resp->namespace_info->id), 36);
	ck_assert_int_eq(resp->config->workflow_execution_retention_ttl->seconds, 86400);
	d.namespace_ = (char *)"";
	d.id = resp->namespace_info->id;
	client_free(c);
	c = call(METHOD(DESCRIBE_NAMESPACE), &d.base);
	ck_assert_str_eq(((WS(DescribeNamespaceResponse) *)response(c))->namespace_info->name, "mine");
	client_free(c);
}
END_TEST

START_TEST(two_registrations_at_once_make_one_namespace)
{
	WS(RegisterNamespaceRequest) r = registration("mine");
	struct client_call *a = client_begin(METHOD(REGISTER_NAMESPACE), &r.base, 10 * SECOND),
			   *b = client_begin(METHOD(REGISTER_NAMESPACE), &r.base, 10 * SECOND);
	advance(500 * MS);
	ck_assert(a->finished && b->finished);
	ck_assert_int_eq(a->e.code + b->e.code, ERR_ALREADY_EXISTS); /* one of them is OK */
	client_free(a);
	client_free(b);
}
END_TEST

static WS(UpdateNamespaceRequest) update(const char *description,
					 Temporal__Api__Namespace__V1__UpdateNamespaceInfo *info)
{
	WS(UpdateNamespaceRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__UPDATE_NAMESPACE_REQUEST__INIT;
	temporal__api__namespace__v1__update_namespace_info__init(info);
	info->description = (char *)description;
	r.namespace_ = (char *)"mine";
	r.update_info = info;
	return r;
}

START_TEST(concurrent_updates_are_both_made)
{
	register_namespace("mine");
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo x, y;
	WS(UpdateNamespaceRequest) r = update("text", &x), s = update("", &y);
	y.owner_email = (char *)"me@x";
	struct client_call *a = client_begin(METHOD(UPDATE_NAMESPACE), &r.base, 10 * SECOND),
			   *b = client_begin(METHOD(UPDATE_NAMESPACE), &s.base, 10 * SECOND);
	advance(SECOND);
	ck_assert_str_eq(((WS(UpdateNamespaceResponse) *)response(a))->namespace_info->description, "text");
	ck_assert_str_eq(((WS(UpdateNamespaceResponse) *)response(b))->namespace_info->owner_email, "me@x");
	client_free(a);
	client_free(b);
	WS(DescribeNamespaceRequest) d = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_NAMESPACE_REQUEST__INIT;
	d.namespace_ = (char *)"mine";
	struct client_call *c = call(METHOD(DESCRIBE_NAMESPACE), &d.base);
	WS(DescribeNamespaceResponse) *resp = response(c);
	ck_assert_str_eq(resp->namespace_info->description, "text");
	ck_assert_str_eq(resp->namespace_info->owner_email, "me@x");
	client_free(c);
}
END_TEST

START_TEST(deprecating_and_deleting)
{
	register_namespace("mine");
	WS(DeprecateNamespaceRequest) d = TEMPORAL__API__WORKFLOWSERVICE__V1__DEPRECATE_NAMESPACE_REQUEST__INIT;
	d.namespace_ = (char *)"mine";
	client_free(call(METHOD(DEPRECATE_NAMESPACE), &d.base));
	ck_assert_int_eq(namespaces_by_name(k.namespaces, "mine")->record->state, 2);
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo info;
	WS(UpdateNamespaceRequest) u = update("", &info);
	info.state = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
	expect_error(METHOD(UPDATE_NAMESPACE), &u.base, ERR_INVALID_ARGUMENT, "Invalid namespace state update.");
	info.state = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_DELETED;
	client_free(call(METHOD(UPDATE_NAMESPACE), &u.base));
	WS(ListNamespacesRequest) l = TEMPORAL__API__WORKFLOWSERVICE__V1__LIST_NAMESPACES_REQUEST__INIT;
	struct client_call *c = call(METHOD(LIST_NAMESPACES), &l.base);
	ck_assert_uint_eq(((WS(ListNamespacesResponse) *)response(c))->n_namespaces, 1);
	client_free(c);
}
END_TEST

START_TEST(lists_page_by_page)
{
	char name[16];
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "ns-%d", i);
		register_namespace(name);
	}
	WS(ListNamespacesRequest) l = TEMPORAL__API__WORKFLOWSERVICE__V1__LIST_NAMESPACES_REQUEST__INIT;
	l.page_size = 2;
	size_t seen = 0, pages = 0;
	do {
		struct client_call *c = call(METHOD(LIST_NAMESPACES), &l.base);
		WS(ListNamespacesResponse) *resp = response(c);
		seen += resp->n_namespaces;
		l.next_page_token = resp->next_page_token;
		client_free(c);
		pages++;
	} while (l.next_page_token.len);
	ck_assert_uint_eq(seen, 5);
	ck_assert_uint_eq(pages, 3);
	l.next_page_token = (ProtobufCBinaryData){3, (uint8_t *)"\xff\xff\xff"};
	expect_error(METHOD(LIST_NAMESPACES), &l.base, ERR_INVALID_ARGUMENT, "Invalid NextPageToken.");
}
END_TEST

START_TEST(a_client_that_gives_up_on_a_registration)
{
	WS(RegisterNamespaceRequest) r = registration("mine");
	struct client_call *c = client_begin(METHOD(REGISTER_NAMESPACE), &r.base, 10 * SECOND);
	while (!c->finished && k.world.now_ns < 10 * SECOND) {
		/* Somewhere between the read and the write's answer. */
		advance(50 * NS_PER_US);
		if (k.world.now_ns % MS == 0 && !c->finished) {
			client_cancel(c);
			break;
		}
	}
	advance(SECOND);
	ck_assert(c->finished);
	client_free(c);
}
END_TEST

START_TEST(the_system_describes_itself)
{
	WS(GetSystemInfoRequest) s = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_SYSTEM_INFO_REQUEST__INIT;
	struct client_call *c = call(METHOD(GET_SYSTEM_INFO), &s.base);
	WS(GetSystemInfoResponse) *info = response(c);
	ck_assert_ptr_nonnull(strstr(info->server_version, "+perdure-0.1"));
	ck_assert(info->capabilities->sdk_metadata && !info->capabilities->nexus);
	client_free(c);
	WS(GetClusterInfoRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_CLUSTER_INFO_REQUEST__INIT;
	c = call(METHOD(GET_CLUSTER_INFO), &r.base);
	WS(GetClusterInfoResponse) *cluster = response(c);
	ck_assert_str_eq(cluster->cluster_id, "cid");
	ck_assert_str_eq(cluster->cluster_name, "here");
	ck_assert_int_eq(cluster->history_shard_count, SHARDS);
	client_free(c);
	WS(GetSearchAttributesRequest) a = TEMPORAL__API__WORKFLOWSERVICE__V1__GET_SEARCH_ATTRIBUTES_REQUEST__INIT;
	c = call(METHOD(GET_SEARCH_ATTRIBUTES), &a.base);
	ck_assert_uint_gt(((WS(GetSearchAttributesResponse) *)response(c))->n_keys, 16);
	client_free(c);
}
END_TEST

/* ------------------------------------------------------------------ task queues */

static void answer_partitions(uint32_t count)
{
	Perdure__DescribeQueueReply r = PERDURE__DESCRIBE_QUEUE_REPLY__INIT;
	uint8_t packed[256];
	r.partitions = count;
	reply(k.matching.describes, &k.matching.describe_count, packed,
	      perdure__describe_queue_reply__pack(&r, packed));
}

static void answer_describe(const char *identity, int64_t backlog)
{
	Perdure__DescribeQueueReply r = PERDURE__DESCRIBE_QUEUE_REPLY__INIT;
	Perdure__PollerInfo p = PERDURE__POLLER_INFO__INIT;
	Perdure__PollerInfo *list[] = {&p};
	p.identity = (char *)identity;
	p.last_access_time_ns = 5 * SECOND;
	r.pollers = list;
	r.n_pollers = 1;
	r.backlog = backlog;
	Perdure__PriorityBacklog high = PERDURE__PRIORITY_BACKLOG__INIT;
	Perdure__PriorityBacklog *priorities[] = {&high};
	high.priority = 1;
	high.count = backlog;
	high.oldest_time_ns = 5 * SECOND;
	r.priorities = priorities;
	r.n_priorities = backlog > 0;
	uint8_t packed[256];
	reply(k.matching.describes, &k.matching.describe_count, packed,
	      perdure__describe_queue_reply__pack(&r, packed));
}

START_TEST(a_queue_is_described_by_matching)
{
	WS(DescribeTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	r.namespace_ = (char *)"default";
	expect_error(METHOD(DESCRIBE_TASK_QUEUE), &r.base, ERR_INVALID_ARGUMENT, "taskQueue is not set");
	q.name = (char *)"q";
	r.task_queue = &q;
	r.report_stats = true;
	struct client_call *c = call(METHOD(DESCRIBE_TASK_QUEUE), &r.base);
	/* It moved: asked again. */
	reply_err(k.matching.describes, &k.matching.describe_count, ERR_UNAVAILABLE, ERR_REASON_NOT_OWNER, "moved");
	advance(100 * MS);
	answer_describe("w1", 3);
	WS(DescribeTaskQueueResponse) *resp = response(c);
	ck_assert_uint_eq(resp->n_pollers, 1);
	ck_assert_str_eq(resp->pollers[0]->identity, "w1");
	ck_assert_int_eq(resp->pollers[0]->last_access_time->seconds, 5);
	ck_assert_int_eq(resp->stats->approximate_backlog_count, 3);
	ck_assert_uint_eq(resp->n_stats_by_priority_key, 2);
	ck_assert_int_eq(resp->stats_by_priority_key[0]->key, 1);
	ck_assert_int_eq(resp->stats_by_priority_key[0]->value->approximate_backlog_count, 3);
	ck_assert_int_eq(resp->stats_by_priority_key[1]->key, 3);
	ck_assert_int_eq(resp->stats_by_priority_key[1]->value->approximate_backlog_count, 0);
	client_free(c);
}
END_TEST

START_TEST(both_types_are_described_in_enhanced_mode)
{
	WS(DescribeTaskQueueRequest) r = TEMPORAL__API__WORKFLOWSERVICE__V1__DESCRIBE_TASK_QUEUE_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	q.name = (char *)"q";
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	r.report_pollers = true;
	r.api_mode = TEMPORAL__API__ENUMS__V1__DESCRIBE_TASK_QUEUE_MODE__DESCRIBE_TASK_QUEUE_MODE_ENHANCED;
	q.kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_STICKY;
	expect_error(METHOD(DESCRIBE_TASK_QUEUE), &r.base, ERR_INVALID_ARGUMENT,
		     "Enhanced DescribeTaskQueue is not valid for a sticky queue, use api_mode=UNSPECIFIED or a normal "
		     "queue.");
	q.kind = TEMPORAL__API__ENUMS__V1__TASK_QUEUE_KIND__TASK_QUEUE_KIND_NORMAL;
	struct client_call *c = call(METHOD(DESCRIBE_TASK_QUEUE), &r.base);
	answer_describe("workflows", 0);
	answer_describe("activities", 0);
	WS(DescribeTaskQueueResponse) *resp = response(c);
	ck_assert_uint_eq(resp->n_versions_info, 1);
	ck_assert_uint_eq(resp->versions_info[0]->value->n_types_info, 2);
	ck_assert_str_eq(resp->versions_info[0]->value->types_info[1]->value->pollers[0]->identity, "activities");
	client_free(c);
	c = call(METHOD(DESCRIBE_TASK_QUEUE), &r.base);
	client_cancel(c);
	client_free(c);
}
END_TEST

START_TEST(partitions_are_listed_with_their_owners)
{
	WS(ListTaskQueuePartitionsRequest) r =
		TEMPORAL__API__WORKFLOWSERVICE__V1__LIST_TASK_QUEUE_PARTITIONS_REQUEST__INIT;
	Temporal__Api__Taskqueue__V1__TaskQueue q = TEMPORAL__API__TASKQUEUE__V1__TASK_QUEUE__INIT;
	q.name = (char *)"q";
	r.namespace_ = (char *)"default";
	r.task_queue = &q;
	struct client_call *c = call(METHOD(LIST_TASK_QUEUE_PARTITIONS), &r.base);
	answer_partitions(3);
	answer_partitions(1);
	WS(ListTaskQueuePartitionsResponse) *resp = response(c);
	ck_assert_uint_eq(resp->n_workflow_task_queue_partitions, 3);
	ck_assert_str_eq(resp->workflow_task_queue_partitions[2]->key, "/_sys/q/2");
	ck_assert_uint_eq(resp->n_activity_task_queue_partitions, 1);
	ck_assert_str_eq(resp->activity_task_queue_partitions[0]->key, "q");
	ck_assert_str_eq(resp->activity_task_queue_partitions[0]->owner_host_name, "matching-1");
	client_free(c);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		namespaces_are_registered_and_described,
		two_registrations_at_once_make_one_namespace,
		concurrent_updates_are_both_made,
		deprecating_and_deleting,
		lists_page_by_page,
		a_client_that_gives_up_on_a_registration,
		the_system_describes_itself,
		a_queue_is_described_by_matching,
		both_types_are_described_in_enhanced_mode,
		partitions_are_listed_with_their_owners,
	};
	arena = arena_new(1 << 24);
	int status = run_suite("calls", tests, array_len(tests));
	arena_free(arena);
	return status;
}
