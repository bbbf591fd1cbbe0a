/*
 * The contract of settings for the whole cluster: read in order, and announced when they change.
 */
#include <stdio.h>

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

struct answer {
	bool done;
	struct err e;
	char text[256]; /* "name=value by at;" … */
};

static void on_settings(void *ctx, struct err e, const struct store_setting *list, size_t count)
{
	struct answer *to = ctx;
	to->e = e;
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(to->text);
		snprintf(to->text + len, sizeof to->text - len, "%s=%s %s %lld;", list[i].name, list[i].value,
			 list[i].changed_by, (long long)list[i].changed_ns);
	}
	to->done = true;
}

static void expect(const char *text)
{
	struct answer got = {0};
	store_settings(a, on_settings, &got);
	world_wait(w, &got.done);
	assert_ok(got.e);
	ck_assert_str_eq(got.text, text);
}

START_TEST(they_are_read_in_order)
{
	expect("");
	w->ops->set_setting(w, "log.level", "debug");
	w->ops->set_setting(w, "limits.id_bytes", "7");
	w->ops->set_setting(w, "audit.repair", "true");
	expect("audit.repair=true test 5;limits.id_bytes=7 test 5;log.level=debug test 5;");
	w->ops->set_setting(w, "limits.id_bytes", "8");
	w->ops->set_setting(w, "log.level", NULL);
	expect("audit.repair=true test 5;limits.id_bytes=8 test 5;");
}
END_TEST

static void on_notify(void *ctx, const char *topic)
{
	if (strcmp(topic, "settings") == 0)
		*(bool *)ctx = true;
}

START_TEST(a_change_is_announced)
{
	bool told = false;
	store_on_notify(a, on_notify, &told);
	expect(""); /* it is connected and listens */
	w->ops->set_setting(w, "log.level", "debug");
	world_wait(w, &told);
}
END_TEST

TCase *contract_settings(void)
{
	TCase *t = tcase_create("settings");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, they_are_read_in_order);
	tcase_add_test(t, a_change_is_announced);
	return t;
}
