/* The generated message code works on this machine: packs, unpacks, keeps what it does not know. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

typedef Temporal__Api__Workflowservice__V1__StartWorkflowExecutionRequest StartRequest;

START_TEST(a_start_request_survives_pack_and_unpack)
{
	StartRequest request = TEMPORAL__API__WORKFLOWSERVICE__V1__START_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowType type = TEMPORAL__API__COMMON__V1__WORKFLOW_TYPE__INIT;
	Temporal__Api__Common__V1__Payload payload = TEMPORAL__API__COMMON__V1__PAYLOAD__INIT;
	Temporal__Api__Common__V1__Payload *payload_list[] = {&payload};
	Temporal__Api__Common__V1__Payloads input = TEMPORAL__API__COMMON__V1__PAYLOADS__INIT;
	Google__Protobuf__Duration timeout = GOOGLE__PROTOBUF__DURATION__INIT;
	uint8_t data[] = {'"', 0, 0xff, '"'};
	payload.data = (ProtobufCBinaryData){.len = sizeof data, .data = data};
	input.payloads = payload_list;
	input.n_payloads = 1;
	type.name = "Greet";
	timeout.seconds = 10;
	request.namespace_ = "default";
	request.workflow_id = "w-1";
	request.workflow_type = &type;
	request.input = &input;
	request.workflow_run_timeout = &timeout;

	size_t len = temporal__api__workflowservice__v1__start_workflow_execution_request__get_packed_size(&request);
	uint8_t *bytes = malloc(len);
	ck_assert_ptr_nonnull(bytes);
	ck_assert_uint_eq(temporal__api__workflowservice__v1__start_workflow_execution_request__pack(&request, bytes),
			  len);
	StartRequest *copy =
		temporal__api__workflowservice__v1__start_workflow_execution_request__unpack(NULL, len, bytes);
	ck_assert_ptr_nonnull(copy);
	ck_assert_str_eq(copy->namespace_, "default");
	ck_assert_str_eq(copy->workflow_id, "w-1");
	ck_assert_str_eq(copy->workflow_type->name, "Greet");
	ck_assert_int_eq(copy->workflow_run_timeout->seconds, 10);
	ck_assert_uint_eq(copy->input->n_payloads, 1);
	ck_assert_uint_eq(copy->input->payloads[0]->data.len, sizeof data);
	ck_assert_mem_eq(copy->input->payloads[0]->data.data, data, sizeof data);
	temporal__api__workflowservice__v1__start_workflow_execution_request__free_unpacked(copy, NULL);
	free(bytes);
}
END_TEST

START_TEST(a_field_of_a_newer_api_is_kept)
{
	/* namespace = "n"; field 4000 = 7 */
	const uint8_t bytes[] = {0x0a, 0x01, 'n', 0x80, 0xfa, 0x01, 0x07};
	StartRequest *request =
		temporal__api__workflowservice__v1__start_workflow_execution_request__unpack(NULL, sizeof bytes, bytes);
	ck_assert_ptr_nonnull(request);
	ck_assert_uint_eq(request->base.n_unknown_fields, 1);
	uint8_t again[sizeof bytes];
	ck_assert_uint_eq(
		temporal__api__workflowservice__v1__start_workflow_execution_request__get_packed_size(request),
		sizeof bytes);
	temporal__api__workflowservice__v1__start_workflow_execution_request__pack(request, again);
	ck_assert_mem_eq(again, bytes, sizeof bytes);
	temporal__api__workflowservice__v1__start_workflow_execution_request__free_unpacked(request, NULL);
}
END_TEST

START_TEST(truncated_bytes_are_refused)
{
	const uint8_t bytes[] = {0x0a, 0x05, 'n'};
	ck_assert_ptr_null(temporal__api__workflowservice__v1__start_workflow_execution_request__unpack(
		NULL, sizeof bytes, bytes));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("proto/api_messages");
	TCase *tests = tcase_create("messages");
	tcase_add_test(tests, a_start_request_survives_pack_and_unpack);
	tcase_add_test(tests, a_field_of_a_newer_api_is_kept);
	tcase_add_test(tests, truncated_bytes_are_refused);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
