/* The generated tables of the public API: complete, sorted, and right about methods that clients rely on. */
#include "proto/api_methods.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <google/protobuf/descriptor.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#define START_PATH "/temporal.api.workflowservice.v1.WorkflowService/StartWorkflowExecution"

START_TEST(finds_a_method_by_path)
{
	const struct api_method *method = api_method_by_path(START_PATH, strlen(START_PATH));
	ck_assert_ptr_nonnull(method);
	ck_assert_uint_eq(api_method_id_of(method), API_METHOD_WORKFLOW_START_WORKFLOW_EXECUTION);
	ck_assert_str_eq(method->name, "StartWorkflowExecution");
	ck_assert_str_eq(method->service, "temporal.api.workflowservice.v1.WorkflowService");
	ck_assert_ptr_eq(method->request,
			 &temporal__api__workflowservice__v1__start_workflow_execution_request__descriptor);
	ck_assert_ptr_eq(method->response,
			 &temporal__api__workflowservice__v1__start_workflow_execution_response__descriptor);
	ck_assert(!method->client_streaming && !method->server_streaming);
}
END_TEST

START_TEST(a_path_is_matched_as_a_whole)
{
	ck_assert_ptr_null(api_method_by_path(START_PATH, strlen(START_PATH) - 1));
	ck_assert_ptr_null(api_method_by_path(START_PATH "s", strlen(START_PATH) + 1));
	ck_assert_ptr_null(api_method_by_path("", 0));
	ck_assert_ptr_null(api_method_by_path("/x/y", 4));
	/* Not terminated at len. */
	ck_assert_ptr_nonnull(api_method_by_path(START_PATH "/tail", strlen(START_PATH)));
}
END_TEST

START_TEST(every_method_is_found_and_sorted)
{
	for (size_t i = 0; i < API_METHOD_COUNT; i++) {
		const struct api_method *method = &api_methods[i];
		ck_assert_uint_eq(method->path_len, strlen(method->path));
		ck_assert_ptr_eq(api_method_by_path(method->path, method->path_len), method);
		ck_assert_ptr_eq(api_method_by_name(method->service, method->name), method);
		ck_assert_ptr_nonnull(method->request);
		ck_assert_ptr_nonnull(method->response);
		if (i > 0)
			ck_assert_int_lt(strcmp(api_methods[i - 1].path, method->path), 0);
		for (size_t r = 0; r < method->n_routes; r++)
			ck_assert_uint_eq(method->routes[r].method, i);
	}
}
END_TEST

START_TEST(finds_a_method_by_short_service_name)
{
	const struct api_method *method = api_method_by_name("OperatorService", "AddSearchAttributes");
	ck_assert_ptr_nonnull(method);
	ck_assert_uint_eq(api_method_id_of(method), API_METHOD_OPERATOR_ADD_SEARCH_ATTRIBUTES);
	ck_assert_ptr_null(api_method_by_name("OperatorService", "StartWorkflowExecution"));
	ck_assert_ptr_null(api_method_by_name("Service", "AddSearchAttributes"));
}
END_TEST

static const struct api_http_route *route_of(enum api_method_id id, const char *pattern)
{
	const struct api_method *method = &api_methods[id];
	for (size_t i = 0; i < method->n_routes; i++)
		if (strcmp(method->routes[i].pattern, pattern) == 0)
			return &method->routes[i];
	return NULL;
}

START_TEST(routes_come_with_their_additional_bindings)
{
	enum api_method_id id = API_METHOD_WORKFLOW_START_WORKFLOW_EXECUTION;
	const struct api_http_route *route = route_of(id, "/namespaces/{namespace}/workflows/{workflow_id}");
	ck_assert_ptr_nonnull(route);
	ck_assert_str_eq(route->verb, "POST");
	ck_assert_str_eq(route->body, "*");
	ck_assert_ptr_nonnull(route_of(id, "/api/v1/namespaces/{namespace}/workflows/{workflow_id}"));

	route = route_of(API_METHOD_WORKFLOW_LIST_NAMESPACES, "/api/v1/namespaces");
	ck_assert_ptr_nonnull(route);
	ck_assert_str_eq(route->verb, "GET");
	ck_assert_str_eq(route->body, "");
}
END_TEST

START_TEST(streams_are_marked)
{
	ck_assert(api_methods[API_METHOD_HEALTH_WATCH].server_streaming);
	ck_assert(!api_methods[API_METHOD_HEALTH_WATCH].client_streaming);
	ck_assert(api_methods[API_METHOD_REFLECTION_SERVER_REFLECTION_INFO].server_streaming);
	ck_assert(api_methods[API_METHOD_REFLECTION_SERVER_REFLECTION_INFO].client_streaming);
}
END_TEST

START_TEST(finds_messages_by_name)
{
	const char *name = "temporal.api.workflowservice.v1.StartWorkflowExecutionRequest";
	const ProtobufCMessageDescriptor *message = api_message_by_name(name, strlen(name));
	ck_assert_ptr_eq(message, &temporal__api__workflowservice__v1__start_workflow_execution_request__descriptor);
	ck_assert_ptr_null(api_message_by_name(name, strlen(name) - 1));
	for (size_t i = 0; i < api_messages_n; i++)
		ck_assert_str_eq(api_messages[i].name, api_messages[i].descriptor->name);
}
END_TEST

/* Reflection: what the tables say of a file is what its descriptor says. */
START_TEST(descriptor_files_parse_and_follow_their_imports)
{
	ck_assert_uint_gt(api_files_n, 60);
	for (size_t i = 0; i < api_files_n; i++) {
		const struct api_file *file = &api_files[i];
		Google__Protobuf__FileDescriptorProto *proto =
			google__protobuf__file_descriptor_proto__unpack(NULL, file->len, file->data);
		ck_assert_ptr_nonnull(proto);
		ck_assert_str_eq(proto->name, file->name);
		ck_assert_uint_eq(proto->n_dependency, file->n_imports);
		for (size_t d = 0; d < file->n_imports; d++) {
			ck_assert_uint_lt(file->imports[d], i);
			ck_assert_str_eq(proto->dependency[d], api_files[file->imports[d]].name);
		}
		google__protobuf__file_descriptor_proto__free_unpacked(proto, NULL);
		ck_assert_ptr_eq(api_file_by_name(file->name), file);
	}
}
END_TEST

static void assert_symbol_in(const char *symbol, const char *file_name)
{
	const struct api_file *file = api_file_by_symbol(symbol);
	ck_assert_msg(file != NULL, "no file for %s", symbol);
	ck_assert_str_eq(file->name, file_name);
}

START_TEST(symbols_lead_to_their_files)
{
	assert_symbol_in("temporal.api.workflowservice.v1.WorkflowService",
			 "temporal/api/workflowservice/v1/service.proto");
	assert_symbol_in("temporal.api.workflowservice.v1.WorkflowService.StartWorkflowExecution",
			 "temporal/api/workflowservice/v1/service.proto");
	assert_symbol_in("temporal.api.common.v1.Payload.metadata", "temporal/api/common/v1/message.proto");
	assert_symbol_in("temporal.api.common.v1.Payload.MetadataEntry", "temporal/api/common/v1/message.proto");
	assert_symbol_in("temporal.api.enums.v1.EVENT_TYPE_TIMER_FIRED", "temporal/api/enums/v1/event_type.proto");
	assert_symbol_in("grpc.health.v1.Health", "grpc/health/v1/health.proto");
	assert_symbol_in("grpc.reflection.v1.ServerReflection", "grpc/reflection/v1/reflection.proto");
	assert_symbol_in("grpc.reflection.v1alpha.ServerReflection", "grpc/reflection/v1alpha/reflection.proto");
	ck_assert_ptr_null(api_file_by_symbol("temporal.api.common.v1.Nothing"));
	for (size_t i = 1; i < api_symbols_n; i++)
		ck_assert_int_lt(strcmp(api_symbols[i - 1].name, api_symbols[i].name), 0);
}
END_TEST

START_TEST(extensions_lead_to_their_files)
{
	const struct api_file *file = api_file_by_extension("google.protobuf.MethodOptions", 72295728);
	ck_assert_ptr_nonnull(file);
	ck_assert_str_eq(file->name, "google/api/annotations.proto");
	ck_assert_ptr_null(api_file_by_extension("google.protobuf.MethodOptions", 1));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto/api_methods");
	TCase *tests = tcase_create("tables");
	tcase_add_test(tests, finds_a_method_by_path);
	tcase_add_test(tests, a_path_is_matched_as_a_whole);
	tcase_add_test(tests, every_method_is_found_and_sorted);
	tcase_add_test(tests, finds_a_method_by_short_service_name);
	tcase_add_test(tests, routes_come_with_their_additional_bindings);
	tcase_add_test(tests, streams_are_marked);
	tcase_add_test(tests, finds_messages_by_name);
	tcase_add_test(tests, descriptor_files_parse_and_follow_their_imports);
	tcase_add_test(tests, symbols_lead_to_their_files);
	tcase_add_test(tests, extensions_lead_to_their_files);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
