/*
 * The cache of namespaces against the store in memory: misses, announcements, the distance between reads, a database
 * that is away.
 */
#include <check.h>
#include <stdlib.h>

#include "common/namespaces/namespaces.h"
#include "common/store/fake.h"
#include "tests/support/fake_env.h"

static struct fake_world world;
static struct fake_env env, other_env;
static struct fake_db *db;
static struct store *store, *other;
static struct namespaces *cache;

static void setup(void)
{
	fake_world_init(&world, 1);
	fake_env_init(&env, &world);
	fake_env_init(&other_env, &world);
	db = fake_db_new(1, 1);
	store = fake_store_new(&env.env, db);
	other = fake_store_new(&other_env.env, db);
	struct namespaces_config c = {0};
	cache = namespaces_new(&env.env, store, &c);
}

static void teardown(void)
{
	namespaces_free(cache);
	store_free(store);
	store_free(other);
	fake_db_free(db);
	fake_env_done(&env);
	fake_env_done(&other_env);
}

static struct err put_result;

static void on_put(void *ctx, struct err e)
{
	(void)ctx;
	put_result = e;
	put_result.message = NULL;
}

/* As another node would. */
static void put(const char *id, const char *name, int64_t version, const char *description)
{
	Perdure__NamespaceRecord r = PERDURE__NAMESPACE_RECORD__INIT;
	r.id = (char *)id;
	r.name = (char *)name;
	r.state = 1;
	r.description = (char *)description;
	uint8_t packed[256];
	struct store_namespace ns = {.id = id, .name = name, .version = version};
	ns.info = bytes_of(packed, perdure__namespace_record__pack(&r, packed));
	store_namespace_put(other, &ns, on_put, NULL);
	fake_world_advance(&world, 10 * NS_PER_MS);
	ck_assert_int_eq(put_result.code, ERR_OK);
}

struct waiter {
	struct namespaces_wait wait;
	int called;
	enum err_code code;
	struct waiter *cancels;
};

static void on_refreshed(struct namespaces_wait *w, struct err e)
{
	struct waiter *x = container_of(w, struct waiter, wait);
	x->called++;
	x->code = e.code;
	if (x->cancels)
		namespaces_refresh_cancel(cache, &x->cancels->wait);
}

START_TEST(reads_and_finds)
{
	put("id-b", "beta", 0, "");
	put("id-a", "alpha", 0, "first");
	ck_assert(!namespaces_loaded(cache));
	ck_assert(!namespaces_by_name(cache, "alpha"));
	namespaces_start(cache);
	fake_world_advance(&world, 10 * NS_PER_MS);
	ck_assert(namespaces_loaded(cache));
	ck_assert_str_eq(namespaces_by_name(cache, "alpha")->id, "id-a");
	ck_assert_str_eq(namespaces_by_id(cache, "id-b")->name, "beta");
	ck_assert_str_eq(namespaces_by_id(cache, "id-a")->record->description, "first");
	ck_assert(!namespaces_by_id(cache, "alpha"));
	size_t count;
	const struct namespace *all = namespaces_all(cache, &count);
	ck_assert_uint_eq(count, 2);
	ck_assert_str_eq(all[0].name, "alpha");
}
END_TEST

START_TEST(announced_changes_are_read_at_once)
{
	namespaces_start(cache);
	fake_world_advance(&world, NS_PER_S);
	ck_assert(!namespaces_by_name(cache, "new"));
	put("id-n", "new", 0, "one");
	fake_world_advance(&world, 100 * NS_PER_MS);
	const struct namespace *ns = namespaces_by_name(cache, "new");
	ck_assert_ptr_nonnull(ns);
	put("id-n", "new", ns->version, "two");
	fake_world_advance(&world, 100 * NS_PER_MS);
	ck_assert_str_eq(namespaces_by_name(cache, "new")->record->description, "two");
}
END_TEST

START_TEST(a_refresh_rests_on_a_read_that_began_after_it)
{
	struct waiter before = {.wait.fn = on_refreshed}, after = {.wait.fn = on_refreshed};
	namespaces_start(cache);
	namespaces_refresh(cache, &before.wait);
	fake_world_settle(&world); /* the first read is under way */
	namespaces_refresh(cache, &after.wait);
	fake_world_advance(&world, 10 * NS_PER_MS);
	ck_assert_int_eq(before.called, 1);
	ck_assert_int_eq(after.called, 0);
	fake_world_advance(&world, 60 * NS_PER_MS);
	ck_assert_int_eq(after.called, 1);
	ck_assert_int_eq(after.code, ERR_OK);
}
END_TEST

START_TEST(misses_cannot_make_reads_come_fast)
{
	namespaces_start(cache);
	fake_world_advance(&world, NS_PER_S);
	uint64_t calls = fake_db_calls(db);
	struct waiter w[1000] = {0};
	for (size_t i = 0; i < array_len(w); i++) {
		w[i].wait.fn = on_refreshed;
		namespaces_refresh(cache, &w[i].wait);
		fake_world_advance(&world, NS_PER_MS);
	}
	fake_world_advance(&world, 100 * NS_PER_MS);
	for (size_t i = 0; i < array_len(w); i++)
		ck_assert_int_eq(w[i].called, 1);
	ck_assert_uint_le(fake_db_calls(db) - calls, 23);
}
END_TEST

START_TEST(waiters_can_be_cancelled)
{
	struct waiter a = {.wait.fn = on_refreshed}, b = {.wait.fn = on_refreshed}, c = {.wait.fn = on_refreshed};
	namespaces_start(cache);
	fake_world_advance(&world, NS_PER_S);
	a.cancels = &b;
	namespaces_refresh(cache, &a.wait);
	namespaces_refresh(cache, &b.wait);
	namespaces_refresh(cache, &c.wait);
	namespaces_refresh_cancel(cache, &c.wait);
	namespaces_refresh_cancel(cache, &c.wait);
	fake_world_advance(&world, NS_PER_S);
	ck_assert_int_eq(a.called, 1);
	ck_assert_int_eq(b.called, 0);
	ck_assert_int_eq(c.called, 0);
}
END_TEST

START_TEST(keeps_what_it_knows_while_the_database_is_away)
{
	put("id-a", "alpha", 0, "");
	namespaces_start(cache);
	fake_world_advance(&world, NS_PER_S);
	fake_db_set_down(db, true);
	struct waiter w = {.wait.fn = on_refreshed};
	namespaces_refresh(cache, &w.wait);
	fake_world_advance(&world, 30 * NS_PER_S);
	ck_assert_int_eq(w.called, 1);
	ck_assert_int_eq(w.code, ERR_UNAVAILABLE);
	ck_assert_ptr_nonnull(namespaces_by_name(cache, "alpha"));
	fake_db_set_down(db, false);
	put("id-b", "beta", 0, "");
	fake_world_advance(&world, 2 * NS_PER_S);
	ck_assert_ptr_nonnull(namespaces_by_name(cache, "beta"));
}
END_TEST

START_TEST(an_idle_cache_hardly_reads)
{
	namespaces_start(cache);
	fake_world_advance(&world, NS_PER_S);
	uint64_t calls = fake_db_calls(db);
	fake_world_advance(&world, 60 * NS_PER_S);
	ck_assert_uint_le(fake_db_calls(db) - calls, 7);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("namespaces");
	TCase *t = tcase_create("namespaces");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, reads_and_finds);
	tcase_add_test(t, announced_changes_are_read_at_once);
	tcase_add_test(t, a_refresh_rests_on_a_read_that_began_after_it);
	tcase_add_test(t, misses_cannot_make_reads_come_fast);
	tcase_add_test(t, waiters_can_be_cancelled);
	tcase_add_test(t, keeps_what_it_knows_while_the_database_is_away);
	tcase_add_test(t, an_idle_cache_hardly_reads);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
