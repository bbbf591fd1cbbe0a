/*
 * The contract of namespaces: compare-and-set.
 */
#include "tests/store/world.h"

static struct world *w;
static struct store *a;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
}

static void teardown(void)
{
	world_stop(w);
}

static struct store_namespace ns(const char *id, const char *name, int64_t version, const char *info)
{
	return (struct store_namespace){.id = id, .name = name, .version = version, .info = bytes_str(info)};
}

START_TEST(created_and_listed_by_name)
{
	struct store_namespace x = ns("1", "zebra", 0, "z"), y = ns("2", "Ant", 0, ""), z = ns("3", "bee", 0, "b");
	ck_assert_uint_eq(w_namespaces(w, a).count, 0);
	assert_ok(w_namespace_put(w, a, &x));
	assert_ok(w_namespace_put(w, a, &y));
	assert_ok(w_namespace_put(w, a, &z));
	struct world_namespaces l = w_namespaces(w, a);
	assert_ok(l.e);
	ck_assert_uint_eq(l.count, 3);
	ck_assert_str_eq(l.list[0].name, "Ant");
	ck_assert_str_eq(l.list[1].name, "bee");
	ck_assert_str_eq(l.list[2].name, "zebra");
	ck_assert_str_eq(l.list[2].id, "1");
	assert_bytes(l.list[2].info, "z");
	ck_assert_int_gt(l.list[2].version, 0);
}
END_TEST

START_TEST(a_name_or_id_that_is_taken)
{
	struct store_namespace x = ns("1", "n", 0, "x"), same_name = ns("2", "n", 0, "y"),
			       same_id = ns("1", "m", 0, "y");
	assert_ok(w_namespace_put(w, a, &x));
	assert_code(w_namespace_put(w, a, &same_name), ERR_ALREADY_EXISTS);
	assert_code(w_namespace_put(w, a, &same_id), ERR_ALREADY_EXISTS);
	struct world_namespaces l = w_namespaces(w, a);
	ck_assert_uint_eq(l.count, 1);
	assert_bytes(l.list[0].info, "x");
}
END_TEST

START_TEST(a_change_replaces_only_the_version_it_saw)
{
	struct store_namespace x = ns("1", "n", 0, "x");
	assert_ok(w_namespace_put(w, a, &x));
	int64_t version = w_namespaces(w, a).list[0].version;
	struct store_namespace mine = ns("1", "n", version, "mine"), theirs = ns("1", "n", version, "theirs");
	assert_ok(w_namespace_put(w, a, &mine));
	assert_code(w_namespace_put(w, a, &theirs), ERR_ABORTED);
	struct world_namespaces l = w_namespaces(w, a);
	assert_bytes(l.list[0].info, "mine");
	ck_assert_int_gt(l.list[0].version, version);
	struct store_namespace unknown = ns("9", "q", 1, "?");
	assert_code(w_namespace_put(w, a, &unknown), ERR_ABORTED);
}
END_TEST

START_TEST(renamed_and_deleted)
{
	struct store_namespace x = ns("1", "n", 0, "x"), y = ns("2", "m", 0, "y");
	assert_ok(w_namespace_put(w, a, &x));
	assert_ok(w_namespace_put(w, a, &y));
	int64_t version = w_namespaces(w, a).list[1].version;
	struct store_namespace clash = ns("1", "m", version, "x"), renamed = ns("1", "a", version, "x");
	assert_code(w_namespace_put(w, a, &clash), ERR_ALREADY_EXISTS);
	assert_ok(w_namespace_put(w, a, &renamed));
	ck_assert_str_eq(w_namespaces(w, a).list[0].name, "a");
	assert_code(w_namespace_delete(w, a, "1", version), ERR_ABORTED);
	assert_ok(w_namespace_delete(w, a, "1", w_namespaces(w, a).list[0].version));
	ck_assert_uint_eq(w_namespaces(w, a).count, 1);
}
END_TEST

TCase *contract_namespaces(void)
{
	TCase *t = tcase_create("namespaces");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, created_and_listed_by_name);
	tcase_add_test(t, a_name_or_id_that_is_taken);
	tcase_add_test(t, a_change_replaces_only_the_version_it_saw);
	tcase_add_test(t, renamed_and_deleted);
	return t;
}
