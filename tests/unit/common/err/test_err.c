/* Errors: texts, details, propagation, what may be retried. */
#include <check.h>
#include <stdlib.h>

#include <google/protobuf/duration.pb-c.h>

#include "common/err/err.h"

START_TEST(an_error_has_code_and_text)
{
	struct arena *a = arena_new(0);
	struct err e = err_make(a, ERR_NOT_FOUND, "no run %s", "r1");
	ck_assert(err_is(e));
	ck_assert_int_eq(e.code, ERR_NOT_FOUND);
	ck_assert_str_eq(e.message, "no run r1");
	ck_assert(!err_is(err_ok));
	arena_free(a);
}
END_TEST

START_TEST(a_detail_is_packed_and_survives_a_copy)
{
	struct arena *a = arena_new(0), *b = arena_new(0);
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	d.seconds = 300;
	struct err e = err_detail(a, err_make(a, ERR_UNAVAILABLE, "later"), &d.base);
	struct err copy = err_copy(b, err_reason(e, ERR_REASON_DRAINING));
	arena_free(a);
	ck_assert_str_eq(copy.message, "later");
	ck_assert_str_eq(copy.detail_type, "google.protobuf.Duration");
	ck_assert(bytes_eq(copy.detail, bytes_of("\x08\xac\x02", 3)));
	ck_assert_int_eq(copy.reason, ERR_REASON_DRAINING);
	arena_free(b);
}
END_TEST

START_TEST(what_may_be_retried)
{
	ck_assert(err_retryable(err_static(ERR_UNAVAILABLE, "")));
	ck_assert(err_retryable(err_static(ERR_ABORTED, "")));
	ck_assert(!err_retryable(err_static(ERR_INVALID_ARGUMENT, "")));
	ck_assert(!err_retryable(err_static(ERR_DEADLINE_EXCEEDED, "")));
	ck_assert(err_retryable(err_reason(err_static(ERR_INTERNAL, ""), ERR_REASON_NOT_OWNER)));
	ck_assert(!err_retryable(err_reason(err_static(ERR_INTERNAL, ""), ERR_REASON_OUTCOME_UNKNOWN)));
	ck_assert(!err_retryable(err_static((enum err_code)99, "")));
}
END_TEST

START_TEST(codes_have_names)
{
	ck_assert_str_eq(err_code_name(ERR_OK), "OK");
	ck_assert_str_eq(err_code_name(ERR_UNAUTHENTICATED), "UNAUTHENTICATED");
	ck_assert_str_eq(err_code_name((enum err_code)17), "UNKNOWN");
}
END_TEST

static struct err fails(int *steps)
{
	++*steps;
	try(err_ok);
	++*steps;
	try(err_static(ERR_INTERNAL, "stop"));
	++*steps;
	return err_ok;
}

START_TEST(try_leaves_at_the_first_error)
{
	int steps = 0;
	struct err e = fails(&steps);
	ck_assert_int_eq(e.code, ERR_INTERNAL);
	ck_assert_int_eq(steps, 2);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/err/err");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, an_error_has_code_and_text);
	tcase_add_test(tc, a_detail_is_packed_and_survives_a_copy);
	tcase_add_test(tc, what_may_be_retried);
	tcase_add_test(tc, codes_have_names);
	tcase_add_test(tc, try_leaves_at_the_first_error);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
