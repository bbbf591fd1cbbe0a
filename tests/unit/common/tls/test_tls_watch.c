/* Certificates as files: what they say, when their user is told of a change, what a bad one does. */
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/tls/tls_cert.h"
#include "common/tls/tls_watch.h"
#include "tests/support/certs.h"
#include "tests/support/fake_env.h"

static struct arena *arena;
static struct fake_world world;
static struct fake_env env;
static struct certs certs;
static struct metrics *metrics;
static struct tls_watch *watch;
static int reloads;
static bool reload_fails;

static struct err reload(void *ctx, struct arena *errors)
{
	(void)ctx;
	reloads++;
	return reload_fails ? err_make(errors, ERR_INVALID_ARGUMENT, "no good") : err_ok;
}

static void setup(void)
{
	arena = arena_new(0);
	fake_world_init(&world, 1);
	fake_env_init(&env, &world);
	certs_make(&certs, "cluster.test");
	metrics = metrics_new();
	watch = tls_watch_new(&env.env, NULL, metrics);
	tls_watch_add(watch, &(struct tls_watched){.use = "rpc",
						   .cert_file = certs.cert,
						   .key_file = certs.key,
						   .ca_file = certs.ca,
						   .reload = reload,
						   .ctx = &certs});
	reloads = 0;
	reload_fails = false;
}

static void teardown(void)
{
	tls_watch_free(watch);
	metrics_free(metrics);
	certs_done(&certs);
	fake_env_done(&env);
	arena_free(arena);
}

/* Another certificate and key under the old names, as a swapped directory shows them. */
static void replace(void)
{
	struct certs other;
	certs_make(&other, "cluster.test");
	ck_assert_int_eq(rename(other.cert, certs.cert), 0);
	ck_assert_int_eq(rename(other.key, certs.key), 0);
	certs_done(&other);
}

static const char *member(const char *name)
{
	json_t *list = tls_watch_json(watch);
	ck_assert_uint_eq(json_array_size(list), 1);
	json_t *w = json_array_get(list, 0);
	json_t *v = json_object_get(w, name);
	if (!v)
		v = json_object_get(json_array_get(json_object_get(w, "certificates"), 0), name);
	const char *text = arena_strdup(arena, json_string_value(v));
	json_decref(list);
	return text;
}

START_TEST(a_certificate_tells_its_facts)
{
	struct tls_cert *list;
	size_t count;
	ck_assert(!err_is(tls_certs_read(certs.cert, arena, &list, &count)));
	ck_assert_uint_eq(count, 1);
	ck_assert_str_eq(list[0].subject, "CN=cluster.test");
	ck_assert_str_eq(list[0].issuer, "CN=test authority");
	ck_assert_str_eq(list[0].names, "DNS:cluster.test");
	ck_assert_uint_eq(strlen(list[0].fingerprint), 64);
	ck_assert_int_eq(list[0].not_after_s - list[0].not_before_s, 7200);
	ck_assert(!list[0].authority);
	ck_assert(!err_is(tls_certs_read(certs.ca, arena, &list, &count)));
	ck_assert(list[0].authority);
	ck_assert(err_is(tls_certs_read(certs.key, arena, &list, &count)));
	ck_assert(err_is(tls_certs_read("/nonexistent", arena, &list, &count)));
}
END_TEST

START_TEST(a_change_is_taken_once_it_stands_still)
{
	const char *before = member("fingerprint");
	fake_world_advance(&world, 60 * NS_PER_S);
	ck_assert_int_eq(reloads, 0);
	replace();
	fake_world_advance(&world, 2 * NS_PER_S);
	ck_assert_int_eq(reloads, 0); /* seen for the first time */
	fake_world_advance(&world, 2 * NS_PER_S);
	ck_assert_int_eq(reloads, 1);
	ck_assert_str_ne(member("fingerprint"), before);
	fake_world_advance(&world, 60 * NS_PER_S);
	ck_assert_int_eq(reloads, 1);
}
END_TEST

START_TEST(what_cannot_be_used_is_tried_once_and_told)
{
	const char *before = member("fingerprint");
	reload_fails = true;
	replace();
	fake_world_advance(&world, 60 * NS_PER_S);
	ck_assert_int_eq(reloads, 1);
	ck_assert_str_eq(member("problem"), "no good");
	ck_assert_str_eq(member("fingerprint"), before);
	reload_fails = false;
	tls_watch_look(watch); /* as SIGHUP does */
	ck_assert_int_eq(reloads, 2);
	ck_assert_str_eq(member("problem"), "");
	ck_assert_str_ne(member("fingerprint"), before);
}
END_TEST

START_TEST(the_metric_says_when_it_expires)
{
	struct buf out = {0};
	metrics_write(metrics, &out);
	buf_put(&out, "", 1);
	const char *line = strstr((char *)out.data, "\nperdure_certificate_expiry_time_seconds");
	ck_assert_ptr_nonnull(line);
	ck_assert_ptr_nonnull(strstr(line, "{use=\"rpc\",kind=\"certificate\"}"));
	buf_done(&out);
}
END_TEST

START_TEST(who_is_gone_is_not_told)
{
	tls_watch_remove(watch, &certs);
	replace();
	fake_world_advance(&world, 60 * NS_PER_S);
	tls_watch_look(watch);
	ck_assert_int_eq(reloads, 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/tls");
	TCase *tests = tcase_create("tls_watch");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_certificate_tells_its_facts);
	tcase_add_test(tests, a_change_is_taken_once_it_stands_still);
	tcase_add_test(tests, what_cannot_be_used_is_tried_once_and_told);
	tcase_add_test(tests, the_metric_says_when_it_expires);
	tcase_add_test(tests, who_is_gone_is_not_told);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_ENV);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
