/* The text codecs: timeouts, percent-encoding, base64, status details, content types, paths. */
#include <check.h>
#include <stdlib.h>

#include <google/rpc/status.pb-c.h>

#include "common/grpc/text.h"

static int64_t timeout_ns(const char *text)
{
	int64_t ns = -1;
	return grpc_timeout_parse(bytes_str(text), &ns) ? ns : -1;
}

START_TEST(timeouts_have_all_units)
{
	ck_assert_int_eq(timeout_ns("1H"), 3600 * NS_PER_S);
	ck_assert_int_eq(timeout_ns("2M"), 120 * NS_PER_S);
	ck_assert_int_eq(timeout_ns("70S"), 70 * NS_PER_S);
	ck_assert_int_eq(timeout_ns("100m"), 100 * NS_PER_MS);
	ck_assert_int_eq(timeout_ns("7u"), 7 * NS_PER_US);
	ck_assert_int_eq(timeout_ns("99999999n"), 99999999);
	ck_assert_int_eq(timeout_ns("0S"), 0);
	ck_assert_int_eq(timeout_ns("99999999H"), INT64_MAX);
}
END_TEST

START_TEST(malformed_timeouts_are_refused)
{
	static const char *const bad[] = {"", "S", "5", "5s", "-5S", "+5S", "5 S", "1.5S", "123456789S", "5SS", "x5S"};
	for (size_t i = 0; i < array_len(bad); i++)
		ck_assert_msg(timeout_ns(bad[i]) == -1, "%s", bad[i]);
}
END_TEST

START_TEST(messages_become_header_values)
{
	struct buf b = {0};
	grpc_percent_encode(&b, bytes_str("plain text, \"quoted\"!~"));
	ck_assert(bytes_eq(buf_view(&b), bytes_str("plain text, \"quoted\"!~")));
	b.len = 0;
	grpc_percent_encode(&b, bytes_str("50% n\xc3\xb6t\r\n\x7f"));
	ck_assert(bytes_eq(buf_view(&b), bytes_str("50%25 n%C3%B6t%0D%0A%7F")));
	b.len = 0;
	grpc_percent_encode(&b, bytes_of("\0", 1));
	ck_assert(bytes_eq(buf_view(&b), bytes_str("%00")));
	buf_done(&b);
}
END_TEST

static void check_base64(const char *plain, const char *encoded, const char *padded)
{
	struct buf b = {0};
	grpc_base64_encode(&b, bytes_str(plain));
	ck_assert(bytes_eq(buf_view(&b), bytes_str(encoded)));
	b.len = 0;
	ck_assert(grpc_base64_decode(&b, bytes_str(encoded)));
	ck_assert(bytes_eq(buf_view(&b), bytes_str(plain)));
	b.len = 0;
	ck_assert(grpc_base64_decode(&b, bytes_str(padded)));
	ck_assert(bytes_eq(buf_view(&b), bytes_str(plain)));
	buf_done(&b);
}

START_TEST(base64_is_unpadded_and_reads_both)
{
	check_base64("", "", "");
	check_base64("f", "Zg", "Zg==");
	check_base64("fo", "Zm8", "Zm8=");
	check_base64("foo", "Zm9v", "Zm9v");
	check_base64("foob", "Zm9vYg", "Zm9vYg==");
	check_base64("\xff\xfe\xfd", "//79", "//79");
	struct buf b = {0};
	ck_assert(!grpc_base64_decode(&b, bytes_str("Z")));
	ck_assert(!grpc_base64_decode(&b, bytes_str("Zm9v!")));
	ck_assert(!grpc_base64_decode(&b, bytes_str("Zm=v")));
	ck_assert(!grpc_base64_decode(&b, bytes_of("Zm\0v", 4)));
	buf_done(&b);
}
END_TEST

START_TEST(a_status_carries_its_detail)
{
	struct err e = {.code = ERR_NOT_FOUND,
			.message = "no such run",
			.detail_type = "temporal.api.errordetails.v1.NotFoundFailure",
			.detail = bytes_of("\x0a\x01x", 3)};
	struct buf b = {0};
	grpc_status_encode(&b, e);
	Google__Rpc__Status *s = google__rpc__status__unpack(NULL, b.len, b.data);
	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(s->code, 5);
	ck_assert_str_eq(s->message, "no such run");
	ck_assert_uint_eq(s->n_details, 1);
	ck_assert_str_eq(s->details[0]->type_url, "type.googleapis.com/temporal.api.errordetails.v1.NotFoundFailure");
	ck_assert_mem_eq(s->details[0]->value.data, "\x0a\x01x", 3);
	google__rpc__status__free_unpacked(s, NULL);
	buf_done(&b);
}
END_TEST

START_TEST(content_types_of_grpc)
{
	ck_assert(grpc_content_type_ok(bytes_str("application/grpc")));
	ck_assert(grpc_content_type_ok(bytes_str("application/grpc+proto")));
	ck_assert(grpc_content_type_ok(bytes_str("application/grpc;charset=utf-8")));
	ck_assert(!grpc_content_type_ok(bytes_str("application/grpc-web")));
	ck_assert(!grpc_content_type_ok(bytes_str("application/json")));
	ck_assert(!grpc_content_type_ok(bytes_str("application/grp")));
	ck_assert(!grpc_content_type_ok(bytes_str(NULL)));
}
END_TEST

START_TEST(encodings_in_a_list)
{
	ck_assert(grpc_encoding_listed(bytes_str("identity, deflate, gzip"), "gzip"));
	ck_assert(grpc_encoding_listed(bytes_str("gzip"), "gzip"));
	ck_assert(grpc_encoding_listed(bytes_str("gzip,identity"), "gzip"));
	ck_assert(!grpc_encoding_listed(bytes_str("gzip2,xgzip"), "gzip"));
	ck_assert(!grpc_encoding_listed(bytes_str(""), "gzip"));
	ck_assert(!grpc_encoding_listed(bytes_str(NULL), "gzip"));
	ck_assert(!grpc_encoding_listed(bytes_str(" , ,"), "gzip"));
}
END_TEST

START_TEST(paths_have_a_service_and_a_method)
{
	struct bytes service, method;
	ck_assert(grpc_path_split("/a.b.C/M", &service, &method));
	ck_assert(bytes_eq(service, bytes_str("a.b.C")));
	ck_assert(bytes_eq(method, bytes_str("M")));
	ck_assert(!grpc_path_split("/M", &service, &method));
	ck_assert(!grpc_path_split("a.b/M", &service, &method));
	ck_assert(!grpc_path_split("", &service, &method));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/grpc/text");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, timeouts_have_all_units);
	tcase_add_test(tc, malformed_timeouts_are_refused);
	tcase_add_test(tc, messages_become_header_values);
	tcase_add_test(tc, base64_is_unpadded_and_reads_both);
	tcase_add_test(tc, a_status_carries_its_detail);
	tcase_add_test(tc, content_types_of_grpc);
	tcase_add_test(tc, encodings_in_a_list);
	tcase_add_test(tc, paths_have_a_service_and_a_method);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
