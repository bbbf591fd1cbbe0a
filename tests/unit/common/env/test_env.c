/* The ready queue and the timers, on a clock that the test moves. */
#include <check.h>
#include <stdlib.h>

#include "common/env/env.h"

static int64_t now;
static int64_t woken = -1;
static char trace[64];

static int64_t fake_ns(struct env *e)
{
	(void)e;
	return now;
}

static void fake_random(struct env *e, void *out, size_t len)
{
	(void)e;
	memset(out, 0xff, len);
}

static void fake_wake(struct env *e, int64_t due_ns)
{
	(void)e;
	woken = due_ns;
}

static const struct env_ops ops = {.wall_ns = fake_ns, .mono_ns = fake_ns, .random = fake_random, .wake_at = fake_wake};

struct item {
	struct env_task task;
	struct env_timer timer;
	char name;
	struct env *env;
	struct item *then;
};

static void note(char c)
{
	size_t n = strlen(trace);
	ck_assert_uint_lt(n + 1, sizeof trace);
	trace[n] = c;
	trace[n + 1] = 0;
}

static void on_task(struct env_task *t)
{
	struct item *it = container_of(t, struct item, task);
	note(it->name);
	if (it->then)
		env_defer(it->env, &it->then->task);
}

static void on_timer(struct env_timer *t)
{
	struct item *it = container_of(t, struct item, timer);
	note(it->name);
	if (it->then)
		env_timer_start(it->env, &it->then->timer, 0);
}

static struct item item(struct env *e, char name)
{
	return (struct item){.task = {.fn = on_task}, .timer = {.fn = on_timer}, .name = name, .env = e};
}

static void setup(void)
{
	now = 1000;
	woken = -1;
	trace[0] = 0;
}

START_TEST(timers_fire_in_order_of_time)
{
	struct env e;
	env_init(&e, &ops);
	struct item a = item(&e, 'a'), b = item(&e, 'b'), c = item(&e, 'c');
	env_timer_start(&e, &a.timer, 30);
	env_timer_start(&e, &b.timer, 10);
	env_timer_start(&e, &c.timer, 20);
	ck_assert_int_eq(woken, 1010);
	ck_assert_int_eq(env_next_due(&e), 1010);
	ck_assert(!env_run(&e));
	ck_assert_str_eq(trace, "");
	now = 1020;
	env_run(&e);
	ck_assert_str_eq(trace, "bc");
	ck_assert(a.timer.armed && !b.timer.armed);
	now = 1030;
	env_run(&e);
	ck_assert_str_eq(trace, "bca");
	ck_assert_int_eq(env_next_due(&e), INT64_MAX);
	heap_done(&e.timers);
}
END_TEST

START_TEST(a_timer_can_be_moved_and_stopped)
{
	struct env e;
	env_init(&e, &ops);
	struct item a = item(&e, 'a'), b = item(&e, 'b');
	env_timer_start(&e, &a.timer, 10);
	env_timer_start(&e, &a.timer, 50);
	env_timer_start(&e, &b.timer, 20);
	env_timer_stop(&e, &b.timer);
	env_timer_stop(&e, &b.timer);
	now = 1040;
	env_run(&e);
	ck_assert_str_eq(trace, "");
	now = 1050;
	env_run(&e);
	ck_assert_str_eq(trace, "a");
	env_timer_start(&e, &a.timer, INT64_MAX);
	ck_assert_int_eq(a.timer.due_ns, INT64_MAX);
	env_timer_stop(&e, &a.timer);
	heap_done(&e.timers);
}
END_TEST

START_TEST(a_timer_without_delay_never_fires_inline)
{
	struct env e;
	env_init(&e, &ops);
	struct item a = item(&e, 'a');
	env_timer_start(&e, &a.timer, -5);
	ck_assert_str_eq(trace, "");
	env_run(&e);
	ck_assert_str_eq(trace, "a");
	heap_done(&e.timers);
}
END_TEST

START_TEST(tasks_run_in_order_and_what_they_defer_runs_next_turn)
{
	struct env e;
	env_init(&e, &ops);
	struct item a = item(&e, 'a'), b = item(&e, 'b'), c = item(&e, 'c');
	a.then = &c;
	env_defer(&e, &a.task);
	env_defer(&e, &b.task);
	env_defer(&e, &a.task);
	ck_assert_int_eq(woken, 0);
	ck_assert(env_run(&e));
	ck_assert_str_eq(trace, "ab");
	ck_assert(!env_run(&e));
	ck_assert_str_eq(trace, "abc");
	heap_done(&e.timers);
}
END_TEST

START_TEST(a_deferred_task_can_be_taken_back)
{
	struct env e;
	env_init(&e, &ops);
	struct item a = item(&e, 'a'), b = item(&e, 'b'), c = item(&e, 'c');
	env_defer(&e, &a.task);
	env_defer(&e, &b.task);
	env_defer(&e, &c.task);
	env_undefer(&e, &c.task);
	env_undefer(&e, &a.task);
	env_undefer(&e, &a.task);
	env_defer(&e, &a.task);
	env_run(&e);
	ck_assert_str_eq(trace, "ba");
	heap_done(&e.timers);
}
END_TEST

START_TEST(uuids_are_version_4)
{
	struct env e;
	env_init(&e, &ops);
	char id[37];
	env_uuid(&e, id);
	ck_assert_str_eq(id, "ffffffff-ffff-4fff-bfff-ffffffffffff");
	heap_done(&e.timers);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/env/env");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, setup, NULL);
	tcase_add_test(tc, timers_fire_in_order_of_time);
	tcase_add_test(tc, a_timer_can_be_moved_and_stopped);
	tcase_add_test(tc, a_timer_without_delay_never_fires_inline);
	tcase_add_test(tc, tasks_run_in_order_and_what_they_defer_runs_next_turn);
	tcase_add_test(tc, a_deferred_task_can_be_taken_back);
	tcase_add_test(tc, uuids_are_version_4);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
