/* Values for the whole cluster on top of a process's own: what they change, what is left out, how they go again. */
#include <check.h>
#include <stdlib.h>

#include "common/config/config.h"

static struct arena *arena;
static struct config *config;
static char left_out[512];

static void setup(void)
{
	arena = arena_new(0);
	config = config_new();
	left_out[0] = 0;
}

static void teardown(void)
{
	config_free(config);
	arena_free(arena);
}

static void on_ignored(void *ctx, const struct config_cluster_value *v, struct err why)
{
	(void)ctx;
	ck_assert(err_is(why) && why.message);
	size_t len = strlen(left_out);
	snprintf(left_out + len, sizeof left_out - len, "%s ", v->name);
}

static bool set(const struct config_cluster_value *rows, size_t count)
{
	return config_set_cluster(config, rows, count, on_ignored, NULL);
}

static enum setting_source source(const char *name)
{
	return config_source(config, config_find(name));
}

START_TEST(a_value_wins_and_goes_again)
{
	const struct settings *s = config_get(config);
	struct err e = config_set(config, "limits.id_bytes", "900", SETTING_FROM_FLAG, "flag", arena);
	ck_assert(!err_is(e));
	const struct config_cluster_value rows[] = {
		{.name = "limits.id_bytes", .value = "300", .by = "ann", .at_ns = 7},
		{.name = "log.level", .value = "debug", .by = "bob", .at_ns = 8},
	};
	ck_assert(set(rows, 2));
	ck_assert_ptr_eq(config_get(config), s);
	ck_assert_int_eq(s->limits_id_bytes, 300);
	ck_assert_str_eq(s->log_level, "debug");
	ck_assert_int_eq(source("limits.id_bytes"), SETTING_FROM_CLUSTER);
	const struct config_cluster_value *from = config_from_cluster(config, config_find("limits.id_bytes"));
	ck_assert_str_eq(from->by, "ann");
	ck_assert_int_eq(from->at_ns, 7);
	ck_assert_int_eq(config_own(config)->limits_id_bytes, 900);
	ck_assert_int_eq(config_own_source(config, config_find("limits.id_bytes")), SETTING_FROM_FLAG);

	ck_assert(set(rows + 1, 1));
	ck_assert_int_eq(s->limits_id_bytes, 900);
	ck_assert_int_eq(source("limits.id_bytes"), SETTING_FROM_FLAG);
	ck_assert_ptr_null(config_from_cluster(config, config_find("limits.id_bytes")));
	ck_assert(set(NULL, 0));
	ck_assert_str_eq(s->log_level, "info");
	ck_assert_int_eq(source("log.level"), SETTING_FROM_DEFAULT);
	ck_assert_str_eq(left_out, "");
}
END_TEST

START_TEST(the_same_again_is_no_news)
{
	const struct config_cluster_value same = {.name = "limits.id_bytes", .value = "1000", .by = "x"};
	ck_assert(!set(&same, 1)); /* the value that it has anyway */
	ck_assert_int_eq(source("limits.id_bytes"), SETTING_FROM_CLUSTER);
	const struct config_cluster_value bad = {.name = "no.such", .value = "1"};
	ck_assert(!set(&bad, 1));
	ck_assert(!set(&bad, 1));
	ck_assert_str_eq(left_out, "no.such "); /* once */
}
END_TEST

START_TEST(what_this_version_cannot_use_is_left_out)
{
	const struct config_cluster_value rows[] = {
		{.name = "history.http_port", .value = "1"},	 /* not live */
		{.name = "limits.id_bytes", .value = "0"},	 /* out of bounds */
		{.name = "limits.memo_bytes", .value = "4KiB"},	 /* good */
		{.name = "limits.of_next_year", .value = "1"},	 /* unknown */
		{.name = "log.slow_operation", .value = "soon"}, /* nonsense */
	};
	ck_assert(set(rows, array_len(rows)));
	ck_assert_int_eq(config_get(config)->limits_memo_bytes, 4096);
	ck_assert_int_eq(config_get(config)->limits_id_bytes, 1000);
	ck_assert_int_eq(config_get(config)->history_http_port, 7245);
	ck_assert_str_eq(left_out, "history.http_port limits.id_bytes limits.of_next_year log.slow_operation ");
}
END_TEST

START_TEST(rules_between_settings_hold)
{
	/* Together they keep the rule, in whatever order they come. */
	const struct config_cluster_value both[] = {{.name = "workflow.task_timeout", .value = "2m"},
						    {.name = "workflow.task_timeout_max", .value = "3m"}};
	ck_assert(set(both, 2));
	ck_assert_int_eq(config_get(config)->workflow_task_timeout, 120 * NS_PER_S);
	ck_assert_str_eq(left_out, "");
	/* Alone one of them breaks it. */
	const struct config_cluster_value less[] = {{.name = "workflow.task_timeout", .value = "1m"},
						    {.name = "workflow.task_timeout_max", .value = "5s"}};
	ck_assert(set(less, 2));
	ck_assert_int_eq(config_get(config)->workflow_task_timeout, 60 * NS_PER_S);
	ck_assert_int_eq(config_get(config)->workflow_task_timeout_max, 120 * NS_PER_S);
	ck_assert_str_eq(left_out, "workflow.task_timeout_max ");
}
END_TEST

START_TEST(a_value_can_be_tried)
{
	ck_assert(!err_is(config_try_cluster(config, "limits.id_bytes", "5", arena)));
	ck_assert(!err_is(config_try_cluster(config, "limits.id_bytes", NULL, arena)));
	ck_assert(err_is(config_try_cluster(config, "limits.id_bytes", "0", arena)));
	ck_assert(err_is(config_try_cluster(config, "limits.id_bites", NULL, arena)));
	ck_assert(err_is(config_try_cluster(config, "cluster.name", "x", arena)));
	ck_assert(err_is(config_try_cluster(config, "workflow.task_timeout_max", "5s", arena)));
	ck_assert_int_eq(config_get(config)->limits_id_bytes, 1000);
}
END_TEST

START_TEST(only_plain_values_are_live)
{
	size_t count;
	const struct setting *table = config_settings(&count);
	for (size_t i = 0; i < count; i++)
		ck_assert_msg(!table[i].live ||
				      (table[i].type != SETTING_TYPE_STRING && table[i].type != SETTING_TYPE_LIST),
			      "%s", table[i].name);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/config: cluster");
	TCase *tests = tcase_create("cluster");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_value_wins_and_goes_again);
	tcase_add_test(tests, the_same_again_is_no_news);
	tcase_add_test(tests, what_this_version_cannot_use_is_left_out);
	tcase_add_test(tests, rules_between_settings_hold);
	tcase_add_test(tests, a_value_can_be_tried);
	tcase_add_test(tests, only_plain_values_are_live);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
