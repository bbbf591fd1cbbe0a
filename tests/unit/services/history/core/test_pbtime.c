/* Times and durations of the public API: both ways, what is refused, what is cut. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/pbtime.h"

static struct arena *arena;

static void setup(void)
{
	arena = arena_new(1 << 20);
}

static void teardown(void)
{
	arena_free(arena);
}

static Google__Protobuf__Duration duration(int64_t seconds, int32_t nanos)
{
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	d.seconds = seconds;
	d.nanos = nanos;
	return d;
}

START_TEST(durations_and_timestamps_round_trip)
{
	static const int64_t values[] = {
		0, 1, 999999999, NS_PER_S, NS_PER_S + 1, 1785000000123456789, -1, -NS_PER_S - 5};
	for (size_t i = 0; i < array_len(values); i++) {
		ck_assert_int_eq(pb_duration_ns(pb_duration(arena, values[i])), values[i]);
		Google__Protobuf__Timestamp *t = pb_timestamp(arena, values[i]);
		ck_assert_int_eq(pb_timestamp_ns(t), values[i]);
		ck_assert_int_ge(t->nanos, 0);
	}
	ck_assert_int_eq(pb_duration_ns(NULL), 0);
	ck_assert_int_eq(pb_timestamp_ns(NULL), 0);
	ck_assert_ptr_null(pb_timestamp_or_null(arena, 0));
	ck_assert_ptr_nonnull(pb_timestamp_or_null(arena, 1));
}
END_TEST

START_TEST(what_does_not_fit_is_the_nearest_that_does)
{
	Google__Protobuf__Duration d = duration(INT64_MAX, 999999999);
	ck_assert_int_eq(pb_duration_ns(&d), INT64_MAX);
	d = duration(INT64_MIN, 0);
	ck_assert_int_eq(pb_duration_ns(&d), INT64_MIN);
	ck_assert_int_eq(time_add_ns(INT64_MAX - 1, 5), INT64_MAX);
	ck_assert_int_eq(time_add_ns(1, 5), 6);
}
END_TEST

START_TEST(durations_from_outside_are_checked_and_cut)
{
	Google__Protobuf__Duration d = duration(5, -1);
	ck_assert_str_eq(pb_duration_check(&d), "duration has seconds and nanos with different signs");
	d = duration(-1, 0);
	ck_assert_str_eq(pb_duration_check(&d), "negative duration");
	d = duration(0, -1);
	ck_assert_str_eq(pb_duration_check(&d), "negative duration");
	d = duration(INT64_MAX, 7);
	ck_assert_ptr_null(pb_duration_check(&d));
	ck_assert_int_eq(d.seconds, PBTIME_DURATION_MAX_S);
	ck_assert_int_eq(d.nanos, 0);
	d = duration(3, 5);
	ck_assert_ptr_null(pb_duration_check(&d));
	ck_assert_int_eq(pb_duration_ns(&d), 3 * NS_PER_S + 5);
	ck_assert_ptr_null(pb_duration_check(NULL));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pbtime");
	TCase *tc = tcase_create("core");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, durations_and_timestamps_round_trip);
	tcase_add_test(tc, what_does_not_fit_is_the_nearest_that_does);
	tcase_add_test(tc, durations_from_outside_are_checked_and_cut);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
