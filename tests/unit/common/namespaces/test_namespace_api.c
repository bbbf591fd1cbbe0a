/*
 * What the API says about namespaces: records made, changed and described; the errors clients match on.
 */
#include <check.h>
#include <stdlib.h>

#include <temporal/api/errordetails/v1/message.pb-c.h>

#include "common/namespaces/namespace_api.h"

#define INVALID_RETENTION "A valid retention period is not set on request."

static struct arena *arena;
static const struct namespace_api api = {.cluster_name = "here", .payload_bytes_max = 11, .memo_bytes_max = 12};

static void setup(void)
{
	arena = arena_new(1 << 20);
}

static void teardown(void)
{
	arena_free(arena);
}

static Perdure__NamespaceRecord *record(int state)
{
	Perdure__NamespaceRecord *r = arena_new0(arena, Perdure__NamespaceRecord);
	perdure__namespace_record__init(r);
	r->id = (char *)"an-id";
	r->name = (char *)"a-name";
	r->state = state;
	r->retention_ns = 3600 * NS_PER_S;
	return r;
}

#define expect(e, code_, text)                                                                                         \
	do {                                                                                                           \
		struct err expect_e_ = (e);                                                                            \
		ck_assert_int_eq(expect_e_.code, code_);                                                               \
		ck_assert_str_eq(expect_e_.message, text);                                                             \
	} while (0)

static struct err register_with(int64_t seconds, int32_t nanos, Perdure__NamespaceRecord **ret)
{
	Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest req =
		TEMPORAL__API__WORKFLOWSERVICE__V1__REGISTER_NAMESPACE_REQUEST__INIT;
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	d.seconds = seconds;
	d.nanos = nanos;
	req.namespace_ = (char *)"new";
	req.workflow_execution_retention_period = &d;
	return namespace_register(&api, &req, "id", 7, arena, ret);
}

START_TEST(retention_has_bounds)
{
	Perdure__NamespaceRecord *r;
	expect(register_with(3599, 999999999, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
	expect(register_with(-1, 0, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
	expect(register_with(7200, -1, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
	expect(register_with(INT64_MIN, 0, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
	ck_assert(!err_is(register_with(3600, 5, &r)));
	ck_assert_int_eq(r->retention_ns, 3600 * NS_PER_S + 5);
	ck_assert(!err_is(register_with(INT64_MAX, 0, &r)));
	ck_assert_int_eq(r->retention_ns, 3153600000 * NS_PER_S);
	Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest none =
		TEMPORAL__API__WORKFLOWSERVICE__V1__REGISTER_NAMESPACE_REQUEST__INIT;
	expect(namespace_register(&api, &none, "id", 7, arena, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
}
END_TEST

START_TEST(there_is_one_cluster)
{
	Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest req =
		TEMPORAL__API__WORKFLOWSERVICE__V1__REGISTER_NAMESPACE_REQUEST__INIT;
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	d.seconds = 7200;
	req.workflow_execution_retention_period = &d;
	Perdure__NamespaceRecord *r;
	req.active_cluster_name = (char *)"elsewhere";
	expect(namespace_register(&api, &req, "id", 7, arena, &r), ERR_INVALID_ARGUMENT,
	       "Invalid cluster name: elsewhere");
	req.active_cluster_name = (char *)"here";
	ck_assert(!err_is(namespace_register(&api, &req, "id", 7, arena, &r)));
	req.is_global_namespace = true;
	expect(namespace_register(&api, &req, "id", 7, arena, &r), ERR_INVALID_ARGUMENT,
	       "Cannot register global namespace when not enabled");
}
END_TEST

START_TEST(errors_carry_their_details)
{
	struct err e = namespace_not_found(arena, "nope");
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "Namespace nope is not found.");
	ck_assert_str_eq(e.detail_type, "temporal.api.errordetails.v1.NamespaceNotFoundFailure");
	ck_assert(bytes_eq(e.detail, bytes_str("\x0a\x04nope")));
	e = namespace_exists(arena, "default");
	ck_assert_int_eq(e.code, ERR_ALREADY_EXISTS);
	ck_assert_str_eq(e.message, "Namespace \"default\" already exists");
	e = namespace_check_state(arena, record(2), NAMESPACE_MAY(REGISTERED));
	ck_assert_int_eq(e.code, ERR_FAILED_PRECONDITION);
	ck_assert_str_eq(e.message, "Namespace has invalid state: Deprecated. Must be Registered.");
	ck_assert(bytes_eq(e.detail, bytes_of("\x0a\x06"
					      "a-name\x10\x02\x1a\x01\x01",
					      13)));
	e = namespace_check_state(arena, record(3), NAMESPACE_MAY(REGISTERED) | NAMESPACE_MAY(DEPRECATED));
	ck_assert_str_eq(e.message, "Namespace has invalid state: Deleted. Must be Registered or Deprecated.");
	ck_assert(!err_is(namespace_check_state(arena, record(1), NAMESPACE_MAY(REGISTERED))));
	/* A state from the future of the format is not allowed anything. */
	ck_assert(err_is(namespace_check_state(arena, record(40), ~0u)));
}
END_TEST

static Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest request(void)
{
	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest r =
		TEMPORAL__API__WORKFLOWSERVICE__V1__UPDATE_NAMESPACE_REQUEST__INIT;
	r.namespace_ = (char *)"a-name";
	return r;
}

START_TEST(update_merges)
{
	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest req = request();
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo info =
		TEMPORAL__API__NAMESPACE__V1__UPDATE_NAMESPACE_INFO__INIT;
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo__DataEntry
		b = TEMPORAL__API__NAMESPACE__V1__UPDATE_NAMESPACE_INFO__DATA_ENTRY__INIT,
		c = b;
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo__DataEntry *data[] = {&b, &c};
	Perdure__NamespaceRecord__DataEntry old_a = PERDURE__NAMESPACE_RECORD__DATA_ENTRY__INIT, old_b = old_a;
	Perdure__NamespaceRecord__DataEntry *old_data[] = {&old_a, &old_b};
	Perdure__NamespaceRecord *old = record(1), *r;
	old_a.key = (char *)"a";
	old_a.value = (char *)"1";
	old_b.key = b.key = (char *)"b";
	old_b.value = (char *)"2";
	b.value = (char *)"3";
	c.key = (char *)"c";
	c.value = (char *)"4";
	old->data = old_data;
	old->n_data = 2;
	old->owner_email = (char *)"o@x";
	info.data = data;
	info.n_data = 2;
	info.description = (char *)"d";
	req.update_info = &info;
	ck_assert(!err_is(namespace_update(&api, old, &req, 7, arena, &r)));
	ck_assert_str_eq(r->description, "d");
	ck_assert_str_eq(r->owner_email, "o@x");
	ck_assert_uint_eq(r->n_data, 3);
	ck_assert_str_eq(r->data[1]->value, "3");
	ck_assert_str_eq(r->data[2]->key, "c");
	/* The cache's record is somebody else's. */
	ck_assert_str_eq(old->data[1]->value, "2");
	ck_assert_str_eq(old->description, "");
}
END_TEST

START_TEST(an_update_of_nothing_changes_nothing)
{
	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest req = request();
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo info =
		TEMPORAL__API__NAMESPACE__V1__UPDATE_NAMESPACE_INFO__INIT;
	Perdure__NamespaceRecord *r = record(1);
	req.update_info = &info;
	info.state = TEMPORAL__API__ENUMS__V1__NAMESPACE_STATE__NAMESPACE_STATE_REGISTERED;
	ck_assert(!err_is(namespace_update(&api, record(1), &req, 7, arena, &r)));
	ck_assert_ptr_null(r);
}
END_TEST

START_TEST(states_change_one_way)
{
	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest req = request();
	Temporal__Api__Namespace__V1__UpdateNamespaceInfo info =
		TEMPORAL__API__NAMESPACE__V1__UPDATE_NAMESPACE_INFO__INIT;
	Perdure__NamespaceRecord *r;
	req.update_info = &info;
	for (int from = 1; from <= 3; from++) {
		for (int to = 1; to <= 4; to++) {
			info.state = (Temporal__Api__Enums__V1__NamespaceState)to;
			struct err e = namespace_update(&api, record(from), &req, 7, arena, &r);
			bool allowed = from == to || (to > from && to <= 3);
			ck_assert_int_eq(e.code, allowed ? ERR_OK : ERR_INVALID_ARGUMENT);
			if (!allowed)
				ck_assert_str_eq(e.message, "Invalid namespace state update.");
		}
	}
}
END_TEST

START_TEST(bad_binaries_are_kept_with_their_time)
{
	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest req = request();
	Temporal__Api__Namespace__V1__NamespaceConfig config = TEMPORAL__API__NAMESPACE__V1__NAMESPACE_CONFIG__INIT;
	Temporal__Api__Namespace__V1__BadBinaries binaries = TEMPORAL__API__NAMESPACE__V1__BAD_BINARIES__INIT;
	Temporal__Api__Namespace__V1__BadBinaries__BinariesEntry entry =
		TEMPORAL__API__NAMESPACE__V1__BAD_BINARIES__BINARIES_ENTRY__INIT;
	Temporal__Api__Namespace__V1__BadBinaries__BinariesEntry *list[] = {&entry};
	Perdure__NamespaceRecord *r;
	entry.key = (char *)"sum";
	binaries.binaries = list;
	binaries.n_binaries = 1;
	config.bad_binaries = &binaries;
	req.config = &config;
	ck_assert(!err_is(namespace_update(&api, record(1), &req, 7 * NS_PER_S, arena, &r)));
	ck_assert(namespace_bad_binary(r, "sum", arena));
	ck_assert(!namespace_bad_binary(r, "other", arena));
	ck_assert_int_eq(
		namespace_describe(&api, r, arena)->config->bad_binaries->binaries[0]->value->create_time->seconds, 7);

	Temporal__Api__Workflowservice__V1__UpdateNamespaceRequest gone = request();
	Perdure__NamespaceRecord *without;
	gone.delete_bad_binary = (char *)"other";
	expect(namespace_update(&api, r, &gone, 7, arena, &without), ERR_INVALID_ARGUMENT,
	       "Bad binary checksum other doesn't exists.");
	gone.delete_bad_binary = (char *)"sum";
	ck_assert(!err_is(namespace_update(&api, r, &gone, 7, arena, &without)));
	ck_assert(!namespace_bad_binary(without, "sum", arena));
}
END_TEST

START_TEST(describes)
{
	Perdure__NamespaceRecord *r = record(1);
	r->retention_ns = 86400 * NS_PER_S + 5;
	const Temporal__Api__Workflowservice__V1__DescribeNamespaceResponse *d = namespace_describe(&api, r, arena);
	ck_assert_str_eq(d->namespace_info->id, "an-id");
	ck_assert_int_eq(d->config->workflow_execution_retention_ttl->seconds, 86400);
	ck_assert_int_eq(d->config->workflow_execution_retention_ttl->nanos, 5);
	ck_assert_str_eq(d->replication_config->clusters[0]->cluster_name, "here");
	ck_assert_int_eq(d->namespace_info->limits->blob_size_limit_error, 11);
	ck_assert_int_eq(namespace_deprecate(r, arena)->state, 2);
	ck_assert_int_eq(r->state, 1);
}
END_TEST

static bool taken(void *ctx, const char *name)
{
	return str_eq(ctx, name);
}

START_TEST(deleting_marks_and_renames)
{
	Perdure__NamespaceRecord *r = record(1), *deleted, *again;
	r->id = (char *)"0123456789";
	ck_assert(!err_is(namespace_delete(r, 5, 7, taken, (char *)"", arena, &deleted)));
	ck_assert_str_eq(deleted->name, "a-name-deleted-01234");
	ck_assert_int_eq(deleted->state, 3);
	ck_assert_int_eq(deleted->deleted_time_ns, 7);
	ck_assert_int_eq(deleted->delete_delay_ns, 5);
	ck_assert_int_eq(r->state, 1);
	/* Asked again: only how long the record stays may change. */
	ck_assert(!err_is(namespace_delete(deleted, -1, 9, taken, (char *)"", arena, &again)));
	ck_assert_str_eq(again->name, deleted->name);
	ck_assert_int_eq(again->deleted_time_ns, 7);
	ck_assert_int_eq(again->delete_delay_ns, 0);
	/* A name that is taken gets more of the id. */
	ck_assert(!err_is(namespace_delete(r, 0, 7, taken, (char *)"a-name-deleted-01234", arena, &deleted)));
	ck_assert_str_eq(deleted->name, "a-name-deleted-012345");
}
END_TEST

START_TEST(the_systems_own_stays)
{
	Perdure__NamespaceRecord *r = record(1), *deleted;
	r->name = (char *)NAMESPACE_SYSTEM;
	expect(namespace_delete(r, 0, 7, taken, (char *)"", arena, &deleted), ERR_FAILED_PRECONDITION,
	       "unable to delete system namespace");
}
END_TEST

START_TEST(the_shortest_retention_is_a_setting)
{
	const struct namespace_api brief = {.cluster_name = "here", .retention_min_ns = NS_PER_S};
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	Temporal__Api__Workflowservice__V1__RegisterNamespaceRequest req =
		TEMPORAL__API__WORKFLOWSERVICE__V1__REGISTER_NAMESPACE_REQUEST__INIT;
	Perdure__NamespaceRecord *r;
	d.seconds = 1;
	req.namespace_ = (char *)"new";
	req.workflow_execution_retention_period = &d;
	ck_assert(!err_is(namespace_register(&brief, &req, "id", 7, arena, &r)));
	ck_assert_int_eq(r->retention_ns, NS_PER_S);
	d.seconds = 0;
	d.nanos = 999999999;
	expect(namespace_register(&brief, &req, "id", 7, arena, &r), ERR_INVALID_ARGUMENT, INVALID_RETENTION);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("namespace_api");
	TCase *t = tcase_create("namespace_api");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, retention_has_bounds);
	tcase_add_test(t, there_is_one_cluster);
	tcase_add_test(t, errors_carry_their_details);
	tcase_add_test(t, update_merges);
	tcase_add_test(t, an_update_of_nothing_changes_nothing);
	tcase_add_test(t, states_change_one_way);
	tcase_add_test(t, bad_binaries_are_kept_with_their_time);
	tcase_add_test(t, describes);
	tcase_add_test(t, deleting_marks_and_renames);
	tcase_add_test(t, the_systems_own_stays);
	tcase_add_test(t, the_shortest_retention_is_a_setting);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
