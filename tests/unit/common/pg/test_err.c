/* What SQLSTATEs mean. */
#include <check.h>
#include <stdlib.h>

#include "common/pg/pg.h"

static const struct {
	const char *sqlstate;
	enum err_code code;
	enum err_reason reason;
	bool retryable;
} cases[] = {
	{"40001", ERR_ABORTED, ERR_REASON_NONE, true},
	{"40P01", ERR_ABORTED, ERR_REASON_NONE, true},
	{"55P03", ERR_ABORTED, ERR_REASON_NONE, true},
	{"PD001", ERR_ABORTED, ERR_REASON_FENCED, true},
	{"23505", ERR_ALREADY_EXISTS, ERR_REASON_NONE, false},
	{"23514", ERR_INTERNAL, ERR_REASON_NONE, false},
	{"57P01", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"57P03", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"57014", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"08006", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"53100", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"25006", ERR_UNAVAILABLE, ERR_REASON_NONE, true},
	{"22021", ERR_INVALID_ARGUMENT, ERR_REASON_NONE, false},
	{"42P01", ERR_FAILED_PRECONDITION, ERR_REASON_NONE, false},
	{"42601", ERR_INTERNAL, ERR_REASON_NONE, false},
	{"XX000", ERR_INTERNAL, ERR_REASON_NONE, false},
};

START_TEST(means)
{
	struct arena *a = arena_new(0);
	struct err e = pg_err(a, cases[_i].sqlstate, "what it said");
	ck_assert_int_eq(e.code, cases[_i].code);
	ck_assert_int_eq(e.reason, cases[_i].reason);
	ck_assert_int_eq(err_retryable(e), cases[_i].retryable);
	ck_assert_ptr_nonnull(strstr(e.message, "what it said"));
	ck_assert_ptr_nonnull(strstr(e.message, cases[_i].sqlstate));
	arena_free(a);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pg errors");
	TCase *t = tcase_create("sqlstate");
	tcase_add_loop_test(t, means, 0, (int)array_len(cases));
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
