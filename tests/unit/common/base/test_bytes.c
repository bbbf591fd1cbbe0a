/* The growable buffer: growth, formatting, protobuf splicing, hand-over of its bytes. */
#include <check.h>
#include <stdlib.h>

#include "common/base/bytes.h"

START_TEST(views_compare_by_content)
{
	ck_assert(bytes_eq(bytes_str("abc"), bytes_of("abcd", 3)));
	ck_assert(!bytes_eq(bytes_str("abc"), bytes_str("abd")));
	ck_assert(!bytes_eq(bytes_str("abc"), bytes_str("ab")));
	ck_assert(bytes_eq(bytes_of(NULL, 0), bytes_str("")));
	ck_assert_uint_eq(bytes_str(NULL).len, 0);
}
END_TEST

START_TEST(a_buffer_grows_and_keeps_what_it_holds)
{
	struct buf b = {0};
	for (int i = 0; i < 10000; i++) {
		uint8_t byte = (uint8_t)i;
		buf_put(&b, &byte, 1);
	}
	ck_assert_uint_eq(b.len, 10000);
	for (int i = 0; i < 10000; i++)
		ck_assert_uint_eq(b.data[i], (uint8_t)i);
	buf_put(&b, NULL, 0);
	ck_assert_uint_eq(b.len, 10000);
	buf_done(&b);
	ck_assert_uint_eq(b.cap, 0);
}
END_TEST

START_TEST(formatting_appends_without_the_terminator)
{
	struct buf b = {0};
	buf_printf(&b, "%d-%s", 7, "x");
	buf_printf(&b, "%s", "");
	buf_put(&b, "!", 1);
	ck_assert(bytes_eq(buf_view(&b), bytes_str("7-x!")));
	buf_done(&b);
}
END_TEST

START_TEST(varints_and_fields_are_protobuf)
{
	static const uint8_t expected[] = {0x00, 0x7f, 0x80, 0x01, 0xff, 0xff, 0xff, 0xff, 0xff,
					   0xff, 0xff, 0xff, 0xff, 0x01, 0x12, 0x02, 'h',  'i'};
	struct buf b = {0};
	buf_put_varint(&b, 0);
	buf_put_varint(&b, 127);
	buf_put_varint(&b, 128);
	buf_put_varint(&b, UINT64_MAX);
	buf_put_field(&b, 2, bytes_str("hi"));
	ck_assert(bytes_eq(buf_view(&b), bytes_of(expected, sizeof expected)));
	buf_done(&b);
}
END_TEST

START_TEST(taking_the_bytes_leaves_an_empty_buffer)
{
	struct buf b = {0};
	buf_put_bytes(&b, bytes_str("mine"));
	size_t len;
	uint8_t *data = buf_take(&b, &len);
	ck_assert(bytes_eq(bytes_of(data, len), bytes_str("mine")));
	ck_assert_ptr_null(b.data);
	ck_assert_uint_eq(b.len, 0);
	free(data);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/base/bytes");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, views_compare_by_content);
	tcase_add_test(tc, a_buffer_grows_and_keeps_what_it_holds);
	tcase_add_test(tc, formatting_appends_without_the_terminator);
	tcase_add_test(tc, varints_and_fields_are_protobuf);
	tcase_add_test(tc, taking_the_bytes_leaves_an_empty_buffer);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
