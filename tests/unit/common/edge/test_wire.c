/*
 * Requests as bytes: what is refused, what is mended, and what is read out of them.
 */
#include <check.h>
#include <stdlib.h>

#include <temporal/api/failure/v1/message.pb-c.h>
#include <temporal/api/workflowservice/v1/request_response.pb-c.h>

#include "common/edge/wire.h"
#include "common/mem/mem.h"

#define SIGNAL	&temporal__api__workflowservice__v1__signal_workflow_execution_request__descriptor
#define FAILED	&temporal__api__workflowservice__v1__respond_activity_task_failed_request__descriptor
#define FAILURE &temporal__api__failure__v1__failure__descriptor

#define bytes_lit(s) bytes_of((s), sizeof(s) - 1)

static enum wire_verdict verdict(const ProtobufCMessageDescriptor *d, struct bytes b)
{
	/* A copy of exact size, so that reading beyond the end is seen. */
	uint8_t *copy = mem_dup(b.data, b.len);
	enum wire_verdict v = wire_check(d, bytes_of(copy, b.len)).verdict;
	free(copy);
	return v;
}

START_TEST(accepts_what_protobuf_packs)
{
	Temporal__Api__Workflowservice__V1__SignalWorkflowExecutionRequest m =
		TEMPORAL__API__WORKFLOWSERVICE__V1__SIGNAL_WORKFLOW_EXECUTION_REQUEST__INIT;
	Temporal__Api__Common__V1__WorkflowExecution x = TEMPORAL__API__COMMON__V1__WORKFLOW_EXECUTION__INIT;
	x.workflow_id = (char *)"wörk-流";
	m.namespace_ = (char *)"default";
	m.workflow_execution = &x;
	uint8_t packed[256];
	size_t len = protobuf_c_message_pack(&m.base, packed);
	struct bytes b = bytes_of(packed, len);
	ck_assert_int_eq(verdict(SIGNAL, b), WIRE_OK);
	ck_assert(bytes_eq(wire_bytes(b, 1), bytes_str("default")));
	ck_assert(bytes_eq(wire_bytes_in(b, 2, 1), bytes_str(x.workflow_id)));
	ck_assert(!wire_bytes_in(b, 2, 2).len);
	ck_assert(!wire_bytes(b, 3).data);
	/* Every prefix is either whole fields or refused; nothing is read beyond its end. */
	for (size_t i = 0; i < len; i++)
		verdict(SIGNAL, bytes_of(packed, i));
}
END_TEST

START_TEST(refuses_malformed_bytes)
{
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x0a\x05"
						   "abc")),
			 WIRE_MALFORMED); /* shorter than it says */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x0a")), WIRE_MALFORMED);
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x00\x00")), WIRE_MALFORMED);	  /* field 0 */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x08\x01")), WIRE_MALFORMED);	  /* a string as a varint */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x12\x02\x0a\x05")), WIRE_MALFORMED); /* inside a message */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x0b\x0c")), WIRE_MALFORMED);	  /* a group */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01")),
			 WIRE_MALFORMED);
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"
						   "a")),
			 WIRE_MALFORMED);
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x12\x00\x12\x00")), WIRE_MALFORMED); /* in pieces */
	/* Unknown fields are welcome as long as they are well formed. */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\xf8\x3f\x01")), WIRE_OK);
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\xfd\x3f\x01")), WIRE_MALFORMED);
	ck_assert_int_eq(verdict(SIGNAL, bytes_of(NULL, 0)), WIRE_OK);
}
END_TEST

START_TEST(refuses_bad_text)
{
	static const char *const bad[] = {
		"\xc3",
		"\x80",
		"\xc0\xaf",
		"\xe0\x80\xaf",
		"\xed\xa0\x80",
		"\xf4\x90\x80\x80",
		"\xf8\x88\x80\x80",
		"long enough\xff",
		"12345678\xe2\x82",
	};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct buf b = {0};
		buf_put_field(&b, 3, bytes_str(bad[i]));
		struct wire_result r = wire_check(SIGNAL, buf_view(&b));
		ck_assert_int_eq(r.verdict, WIRE_BAD_UTF8);
		ck_assert_str_eq(r.field, "signal_name");
		buf_done(&b);
	}
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x1a\x0b"
						   "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9zz")),
			 WIRE_OK);
}
END_TEST

START_TEST(finds_nuls_wherever_they_are)
{
	for (size_t at = 0; at < 20; at++) {
		char name[20];
		memset(name, 'x', sizeof name);
		name[at] = 0;
		struct buf b = {0}, x = {0};
		buf_put_field(&x, 1, bytes_of(name, sizeof name));
		buf_put_field(&b, 2, buf_view(&x));
		struct wire_result r = wire_check(SIGNAL, buf_view(&b));
		ck_assert_int_eq(r.verdict, WIRE_NUL);
		ck_assert_str_eq(r.field, "workflow_id");
		buf_done(&b);
		buf_done(&x);
	}
	/* In bytes they are at home: a payload's data. */
	ck_assert_int_eq(verdict(SIGNAL, bytes_lit("\x22\x06\x0a\x04\x12\x02\x00\x00")), WIRE_OK);
}
END_TEST

START_TEST(mends_failures)
{
	struct buf inner = {0}, outer = {0}, b = {0};
	buf_put_field(&inner, 1, bytes_lit("embedded\0null"));
	buf_put_field(&outer, 4, buf_view(&inner)); /* its cause */
	buf_put_field(&outer, 1, bytes_lit("\0"));
	buf_put_field(&b, 2, buf_view(&outer));
	struct wire_result r = wire_check(FAILED, buf_view(&b));
	ck_assert_int_eq(r.verdict, WIRE_OK);
	ck_assert(r.mendable);
	wire_mend(FAILED, b.data, b.len);
	ck_assert(!wire_check(FAILED, buf_view(&b)).mendable);
	struct bytes failure = wire_bytes(buf_view(&b), 2);
	ck_assert(bytes_eq(wire_bytes(failure, 1), bytes_str(" ")));
	ck_assert(bytes_eq(wire_bytes_in(failure, 4, 1), bytes_str("embedded null")));
	buf_done(&inner);
	buf_done(&outer);
	buf_done(&b);
}
END_TEST

START_TEST(stops_at_the_depth_limit)
{
	struct buf b = {0};
	for (int depth = 1; depth <= WIRE_DEPTH_MAX + 1; depth++) {
		enum wire_verdict v = wire_check(FAILURE, buf_view(&b)).verdict;
		ck_assert_int_eq(v, depth <= WIRE_DEPTH_MAX ? WIRE_OK : WIRE_TOO_DEEP);
		struct buf outer = {0};
		buf_put_field(&outer, 4, buf_view(&b));
		buf_done(&b);
		b = outer;
	}
	buf_done(&b);
}
END_TEST

START_TEST(the_last_value_wins)
{
	struct buf a = {0}, c = {0}, b = {0};
	buf_put_field(&a, 1, bytes_str("first"));
	buf_put_field(&a, 2, bytes_str("run"));
	buf_put_field(&c, 1, bytes_str("second"));
	buf_put_field(&b, 2, buf_view(&a));
	buf_put_field(&b, 2, buf_view(&c)); /* the two are merged */
	buf_put_field(&b, 6, bytes_str("id-1"));
	buf_put_field(&b, 6, bytes_str("id-2"));
	ck_assert(bytes_eq(wire_bytes_in(buf_view(&b), 2, 1), bytes_str("second")));
	ck_assert(bytes_eq(wire_bytes_in(buf_view(&b), 2, 2), bytes_str("run")));
	ck_assert(bytes_eq(wire_bytes(buf_view(&b), 6), bytes_str("id-2")));
	buf_done(&a);
	buf_done(&b);
	buf_done(&c);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("wire");
	TCase *t = tcase_create("wire");
	tcase_add_test(t, accepts_what_protobuf_packs);
	tcase_add_test(t, refuses_malformed_bytes);
	tcase_add_test(t, refuses_bad_text);
	tcase_add_test(t, finds_nuls_wherever_they_are);
	tcase_add_test(t, mends_failures);
	tcase_add_test(t, stops_at_the_depth_limit);
	tcase_add_test(t, the_last_value_wins);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
