/* Zone files and the rules at their end: where stretches of one offset begin and end; and what is no zone. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/tz/calendar.h"
#include "common/tz/tz_db.h"
#include "common/tz/tz_rule.h"
#include "zone_file.h"

static struct tz *zone(int first_offset_s, const struct zone_change *changes, size_t count, const char *rule)
{
	struct buf file = {0};
	zone_file(&file, first_offset_s, changes, count, rule);
	struct tz *z = tz_parse(buf_view(&file));
	buf_done(&file);
	return z;
}

static int64_t utc(int year, int month, int day, int hour)
{
	return civil_to_days(year, month, day) * DAY_S + hour * 3600;
}

static void assert_span(struct tz_span span, int64_t from_s, int64_t to_s, int64_t offset_s)
{
	ck_assert_int_eq(span.from_s, from_s);
	ck_assert_int_eq(span.to_s, to_s);
	ck_assert_int_eq(span.offset_s, offset_s);
}

START_TEST(no_zone_is_utc)
{
	assert_span(tz_span_at(NULL, 5), INT64_MIN, INT64_MAX, 0);
}
END_TEST

START_TEST(the_table_counts_until_its_end)
{
	const struct zone_change changes[] = {{100, 3600}, {200, -7200}};
	struct tz *z = zone(60, changes, array_len(changes), "");
	assert_span(tz_span_at(z, 99), INT64_MIN, 100, 60);
	assert_span(tz_span_at(z, 100), 100, 200, 3600);
	assert_span(tz_span_at(z, 199), 100, 200, 3600);
	assert_span(tz_span_at(z, 200), 200, INT64_MAX, -7200);
	tz_free(z);
}
END_TEST

START_TEST(then_the_rule_counts)
{
	const struct zone_change changes[] = {{utc(2007, 11, 4, 6), -5 * 3600}};
	struct tz *z = zone(-4 * 3600, changes, array_len(changes), "EST5EDT,M3.2.0,M11.1.0");
	assert_span(tz_span_at(z, utc(2007, 12, 1, 0)), utc(2007, 11, 4, 6), utc(2008, 3, 9, 7), -5 * 3600);
	assert_span(tz_span_at(z, utc(2050, 7, 1, 0)), utc(2050, 3, 13, 7), utc(2050, 11, 6, 6), -4 * 3600);
	assert_span(tz_span_at(z, utc(2050, 1, 1, 0)), utc(2049, 11, 7, 6), utc(2050, 3, 13, 7), -5 * 3600);
	tz_free(z);
}
END_TEST

START_TEST(rules_of_every_kind)
{
	struct tz *z = zone(0, NULL, 0, "<+0330>-3:30");
	assert_span(tz_span_at(z, 0), INT64_MIN, INT64_MAX, 3 * 3600 + 1800);
	tz_free(z);
	/* The southern summer goes over the year's end; the end's time is summer time. */
	z = zone(0, NULL, 0, "AEST-10AEDT,M10.1.0,M4.1.0/3");
	assert_span(tz_span_at(z, utc(2030, 1, 1, 0)), utc(2029, 10, 6, 16), utc(2030, 4, 6, 16), 11 * 3600);
	tz_free(z);
	/* A summer that is behind the winter, as Ireland's law has it. */
	z = zone(0, NULL, 0, "IST-1GMT0,M10.5.0,M3.5.0/1");
	assert_span(tz_span_at(z, utc(2030, 1, 1, 0)), utc(2029, 10, 28, 1), utc(2030, 3, 31, 1), 0);
	tz_free(z);
	/* Days of the year: J60 is March 1, day 59 is March 1 but for leap years. */
	z = zone(0, NULL, 0, "AAA0BBB,J60/0,300/-1");
	assert_span(tz_span_at(z, utc(2028, 6, 1, 0)), utc(2028, 3, 1, 0), utc(2028, 10, 26, 22), 3600);
	assert_span(tz_span_at(z, utc(2029, 6, 1, 0)), utc(2029, 3, 1, 0), utc(2029, 10, 27, 22), 3600);
	tz_free(z);
}
END_TEST

START_TEST(what_is_no_rule)
{
	static const char *const bad[] = {"A5",
					  "ABC",
					  "ABC5DEF",
					  "ABC5DEF,M3.2.0",
					  "ABC5DEF,M13.1.0,M1.1.0",
					  "ABC5DEF,M3.6.0,M1.1.0",
					  "ABC5DEF,J0,J5",
					  "ABC5DEF,366,5",
					  "ABC5DEF,J1,J2x",
					  "<ABC",
					  "ABC168",
					  "ABC5:60"};
	struct tz_rule r;
	for (size_t i = 0; i < array_len(bad); i++)
		ck_assert_msg(!tz_rule_parse(bytes_str(bad[i]), &r), "%s", bad[i]);
}
END_TEST

START_TEST(bytes_that_are_no_zone)
{
	const struct zone_change changes[] = {{100, 3600}, {200, -7200}};
	const struct zone_change backwards[] = {{200, 3600}, {100, -7200}}, far[] = {{100, 500000}};
	struct buf file = {0};
	zone_file(&file, 0, changes, array_len(changes), "EST5EDT,M3.2.0,M11.1.0");
	for (size_t len = 0; len < file.len; len++) {
		uint8_t *cut = malloc(len + 1); /* its own, so that reading too far is seen */
		memcpy(cut, file.data, len);
		ck_assert_ptr_null(tz_parse(bytes_of(cut, len)));
		free(cut);
	}
	buf_done(&file);
	ck_assert_ptr_null(zone(0, backwards, array_len(backwards), ""));
	ck_assert_ptr_null(zone(0, far, array_len(far), ""));
	ck_assert_ptr_null(zone(0, changes, array_len(changes), "no rule"));
}
END_TEST

START_TEST(zones_are_found_by_name)
{
	char dir[] = "/tmp/perdure-tz-XXXXXX";
	ck_assert_ptr_nonnull(mkdtemp(dir));
	char path[64];
	snprintf(path, sizeof path, "%s/Here", dir);
	struct buf file = {0};
	zone_file(&file, 1800, NULL, 0, "");
	FILE *f = fopen(path, "wb");
	ck_assert_uint_eq(fwrite(file.data, 1, file.len, f), file.len);
	fclose(f);
	buf_done(&file);

	struct tz_db *db = tz_db_new(dir);
	const struct tz *z = NULL, *again = NULL;
	ck_assert(tz_db_find(db, "Here", &z));
	assert_span(tz_span_at(z, 0), INT64_MIN, INT64_MAX, 1800);
	unlink(path);
	ck_assert(tz_db_find(db, "Here", &again));
	ck_assert_ptr_eq(z, again);
	ck_assert(tz_db_find(db, "UTC", &z) && !z);
	static const char *const none[] = {"", "There", "../Here", "/etc/localtime", ".", "He\nre"};
	for (size_t i = 0; i < array_len(none); i++)
		ck_assert_msg(!tz_db_find(db, none[i], &z), "%s", none[i]);
	tz_db_free(db);
	rmdir(dir);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("tz");
	TCase *t = tcase_create("tz");
	tcase_add_test(t, no_zone_is_utc);
	tcase_add_test(t, the_table_counts_until_its_end);
	tcase_add_test(t, then_the_rule_counts);
	tcase_add_test(t, rules_of_every_kind);
	tcase_add_test(t, what_is_no_rule);
	tcase_add_test(t, bytes_that_are_no_zone);
	tcase_add_test(t, zones_are_found_by_name);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
