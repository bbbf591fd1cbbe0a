/*
 * What --print-config and perdurectl show of settings that may hold secrets.
 */
#include <check.h>
#include <stdlib.h>

#include "common/config/value.h"

static struct arena *arena;

static void setup(void)
{
	arena = arena_new(0);
}

static void teardown(void)
{
	arena_free(arena);
}

static void expect(const char *name, const char *value, const char *shown)
{
	ck_assert_str_eq(value_masked(name, value, arena), shown);
}

START_TEST(connection_strings_without_their_passwords)
{
	expect("database.dsn", "", "");
	expect("database.dsn", "host=db user=perdure", "host=db user=perdure");
	expect("database.dsn", "host=db password=geheim dbname=p", "host=db password=*** dbname=p");
	expect("database.dsn", "PASSWORD = 'ge \\' heim' sslpassword=x", "PASSWORD = *** sslpassword=***");
	expect("database.dsn", "password='never closed", "password=***");
	expect("database.dsn", "postgresql://p:geheim@db:5432/perdure?sslpassword=x&a=b",
	       "postgresql://p:***@db:5432/perdure?sslpassword=***&a=b");
	expect("database.dsn", "postgresql://p:ge/heim@db/perdure", "postgresql://p:***@db/perdure");
	expect("database.dsn", "postgresql://db,other:5433/perdure", "postgresql://db,other:5433/perdure");
}
END_TEST

START_TEST(headers_and_urls_without_their_secrets)
{
	expect("trace.headers", "", "");
	expect("trace.headers", "authorization=Bearer x,x-tenant=7", "authorization=***,x-tenant=***");
	expect("trace.headers", "nonsense", "***");
	expect("trace.endpoint", "https://u:geheim@collector:4318", "https://u:***@collector:4318");
	expect("log.level", "password=shown", "password=shown");
}
END_TEST

int main(void)
{
	Suite *s = suite_create("secret");
	TCase *tests = tcase_create("secret");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, connection_strings_without_their_passwords);
	tcase_add_test(tests, headers_and_urls_without_their_secrets);
	suite_add_tcase(s, tests);
	SRunner *runner = srunner_create(s);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
