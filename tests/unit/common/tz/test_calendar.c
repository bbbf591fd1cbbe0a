/* The calendar: there and back for every day of eight hundred years, and a few days that everybody knows. */
#include <check.h>
#include <stdlib.h>

#include "common/tz/calendar.h"

START_TEST(days_come_back_as_dates)
{
	struct civil_date before = civil_from_days(civil_to_days(1599, 12, 31));
	for (int64_t day = civil_to_days(1600, 1, 1); day < civil_to_days(2400, 1, 1); day++) {
		struct civil_date d = civil_from_days(day);
		ck_assert_int_eq(civil_to_days(d.year, d.month, d.day), day);
		bool next_day = d.year == before.year && d.month == before.month && d.day == before.day + 1;
		bool next_month = d.day == 1 && (d.month == before.month % 12 + 1) &&
				  d.year == before.year + (before.month == 12) &&
				  before.day == civil_month_days(before.year, before.month);
		ck_assert(next_day || next_month);
		before = d;
	}
}
END_TEST

START_TEST(known_days)
{
	ck_assert_int_eq(civil_to_days(1970, 1, 1), 0);
	ck_assert_int_eq(civil_to_days(2000, 2, 29), 11016);
	ck_assert_int_eq(civil_to_days(2000, 2, 30), 11017);
	ck_assert_int_eq(civil_month_days(1900, 2), 28);
	ck_assert_int_eq(civil_month_days(2000, 2), 29);
	ck_assert_int_eq(civil_month_days(2023, 12), 31);
	ck_assert_int_eq(civil_weekday(0), 4);
	ck_assert_int_eq(civil_weekday(-5), 6);
	ck_assert_int_eq(civil_weekday(civil_to_days(2024, 2, 29)), 4);
	ck_assert_int_eq(floor_div(-1, DAY_S), -1);
	ck_assert_int_eq(floor_div(-DAY_S, DAY_S), -1);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("calendar");
	TCase *t = tcase_create("calendar");
	tcase_add_test(t, days_come_back_as_dates);
	tcase_add_test(t, known_days);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
