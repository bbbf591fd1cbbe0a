/* Events in memory: appended, read by range, dropped from the front. */
#include <check.h>
#include <stdlib.h>

#include "services/history/core/history_log.h"

/* Spliced stand-ins for events: event n is n bytes long. */
static struct buf entries(int64_t first, int64_t last)
{
	struct buf b = {0};
	for (int64_t id = first; id <= last; id++) {
		uint8_t *body = malloc((size_t)id);
		memset(body, (int)id, (size_t)id);
		buf_put_field(&b, 1, bytes_of(body, (size_t)id));
		free(body);
	}
	return b;
}

static void append(struct history_log *l, int64_t first, int64_t last)
{
	struct buf b = entries(first, last);
	history_log_append(l, first, (size_t)(last - first + 1), buf_view(&b));
	buf_done(&b);
}

static void assert_read(const struct history_log *l, int64_t first, int64_t last)
{
	struct buf want = entries(first, last), got = {0};
	history_log_read(l, first, last, &got);
	ck_assert(bytes_eq(buf_view(&want), buf_view(&got)));
	buf_done(&want);
	buf_done(&got);
}

START_TEST(every_range_can_be_read)
{
	struct history_log *l = history_log_new();
	ck_assert_int_eq(history_log_first(l), 0);
	ck_assert_int_eq(history_log_last(l), 0);
	/* Lengths of one and of two bytes, chunks that are shared and that are not. */
	append(l, 1, 1);
	append(l, 2, 50);
	append(l, 51, 200);
	append(l, 201, 201);
	ck_assert_int_eq(history_log_first(l), 1);
	ck_assert_int_eq(history_log_last(l), 201);
	for (int64_t first = 1; first <= 201; first += 10)
		for (int64_t last = first; last <= 201; last += 7)
			assert_read(l, first, last);
	struct buf none = {0};
	history_log_read(l, 202, 300, &none);
	ck_assert_uint_eq(none.len, 0);
	history_log_free(l);
}
END_TEST

START_TEST(what_is_folded_is_dropped)
{
	struct history_log *l = history_log_new();
	for (int64_t id = 1; id <= 400; id += 4)
		append(l, id, id + 3);
	size_t before = history_log_bytes(l);
	history_log_drop(l, 200);
	ck_assert_uint_lt(history_log_bytes(l), before);
	ck_assert_int_gt(history_log_first(l), 1);
	ck_assert_int_le(history_log_first(l), 201);
	assert_read(l, 201, 400);
	history_log_drop(l, 400);
	ck_assert_int_eq(history_log_first(l), 0);
	append(l, 401, 402);
	assert_read(l, 401, 402);
	history_log_free(l);
}
END_TEST

START_TEST(an_empty_log_takes_any_first_event)
{
	struct history_log *l = history_log_new();
	size_t empty = history_log_bytes(l);
	append(l, 77, 78);
	ck_assert_int_eq(history_log_first(l), 77);
	assert_read(l, 77, 78);
	history_log_drop(l, 78);
	ck_assert_uint_eq(history_log_bytes(l), empty);
	history_log_free(l);
	history_log_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("history_log");
	TCase *c = tcase_create("history_log");
	tcase_add_test(c, every_range_can_be_read);
	tcase_add_test(c, what_is_folded_is_dropped);
	tcase_add_test(c, an_empty_log_takes_any_first_event);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
