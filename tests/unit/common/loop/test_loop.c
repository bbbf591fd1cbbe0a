/* The loop: timers on the real clock, tasks from other threads, descriptors, signals, the end. */
#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/loop/loop.h"
#include "common/mem/mem.h"

struct ticker {
	struct env_timer timer;
	struct loop *loop;
	int64_t due_ns;
	int fired;
};

static void on_tick(struct env_timer *t)
{
	struct ticker *k = container_of(t, struct ticker, timer);
	ck_assert_int_ge(env_mono_ns(loop_env(k->loop)), k->due_ns);
	if (++k->fired == 20) {
		loop_stop(k->loop);
		return;
	}
	k->due_ns = env_mono_ns(loop_env(k->loop)) + 100 * NS_PER_US;
	env_timer_start(loop_env(k->loop), &k->timer, 100 * NS_PER_US);
}

START_TEST(timers_are_finer_than_a_millisecond)
{
	struct loop *l = loop_new();
	struct ticker k = {.timer = {.fn = on_tick}, .loop = l};
	struct ticker late = {.timer = {.fn = on_tick}, .loop = l};
	env_timer_start(loop_env(l), &late.timer, 3600 * NS_PER_S);
	env_timer_start(loop_env(l), &k.timer, 0);
	loop_run(l);
	ck_assert_int_eq(k.fired, 20);
	ck_assert_int_eq(late.fired, 0);
	loop_free(l);
}
END_TEST

#define THREADS	   4
#define PER_THREAD 5000

struct posted {
	struct env_task task;
	int thread, number;
};

static struct loop *post_loop;
static int next_number[THREADS], posted_total;

static void on_posted(struct env_task *t)
{
	struct posted *p = container_of(t, struct posted, task);
	ck_assert_int_eq(p->number, next_number[p->thread]);
	next_number[p->thread]++;
	free(p);
	if (++posted_total == THREADS * PER_THREAD)
		loop_stop(post_loop);
}

static void *post_many(void *arg)
{
	int thread = *(int *)arg;
	for (int i = 0; i < PER_THREAD; i++) {
		struct posted *p = new0(struct posted);
		*p = (struct posted){.task = {.fn = on_posted}, .thread = thread, .number = i};
		env_post(loop_env(post_loop), &p->task);
	}
	return NULL;
}

START_TEST(tasks_of_other_threads_arrive_once_and_in_order)
{
	post_loop = loop_new();
	pthread_t threads[THREADS];
	int numbers[THREADS];
	for (int i = 0; i < THREADS; i++) {
		numbers[i] = i;
		ck_assert_int_eq(pthread_create(&threads[i], NULL, post_many, &numbers[i]), 0);
	}
	loop_run(post_loop);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ck_assert_int_eq(posted_total, THREADS * PER_THREAD);
	loop_free(post_loop);
}
END_TEST

struct chain {
	struct env_task task;
	struct loop *loop;
	int left;
};

static void on_chain(struct env_task *t)
{
	struct chain *c = container_of(t, struct chain, task);
	if (c->left-- > 0)
		env_defer(loop_env(c->loop), t);
}

START_TEST(ready_tasks_still_run_after_stop)
{
	struct loop *l = loop_new();
	struct chain c = {.task = {.fn = on_chain}, .loop = l, .left = 100};
	env_defer(loop_env(l), &c.task);
	loop_stop(l);
	loop_run(l);
	ck_assert_int_eq(c.left, -1);
	loop_free(l);
}
END_TEST

struct pipe_end {
	struct loop *loop;
	struct loop_poll *poll;
	int fds[2];
	int writable, readable;
};

static void on_pipe_read(void *ctx, bool readable, bool writable)
{
	struct pipe_end *p = ctx;
	(void)writable;
	ck_assert(readable);
	char c;
	ck_assert_int_eq(read(p->fds[0], &c, 1), 1);
	p->readable++;
	loop_poll_free(p->poll);
	close(p->fds[0]);
	loop_stop(p->loop);
}

START_TEST(a_descriptor_is_watched_until_its_poll_is_freed)
{
	struct loop *l = loop_new();
	struct pipe_end p = {.loop = l};
	ck_assert_int_eq(pipe(p.fds), 0);
	p.poll = loop_poll_new(l, p.fds[0], on_pipe_read, &p);
	loop_poll_set(p.poll, true, false);
	loop_poll_set(p.poll, true, false);
	ck_assert_int_eq(write(p.fds[1], "xy", 2), 2);
	loop_run(l);
	ck_assert_int_eq(p.readable, 1);
	close(p.fds[1]);
	loop_free(l);
}
END_TEST

static void on_term(void *ctx, int signum)
{
	ck_assert_int_eq(signum, SIGTERM);
	loop_stop(ctx);
}

START_TEST(a_signal_reaches_the_loop)
{
	struct loop *l = loop_new();
	loop_on_signal(l, SIGTERM, on_term, l);
	loop_on_signal(l, SIGINT, on_term, l);
	kill(getpid(), SIGTERM);
	loop_run(l);
	loop_free(l);
}
END_TEST

START_TEST(random_bytes_do_not_repeat)
{
	struct loop *l = loop_new();
	static uint8_t seen[1000][16], big[10000];
	for (size_t i = 0; i < array_len(seen); i++) {
		env_random(loop_env(l), seen[i], sizeof seen[i]);
		for (size_t j = 0; j < i; j++)
			ck_assert_mem_ne(seen[i], seen[j], sizeof seen[i]);
	}
	env_random(loop_env(l), big, sizeof big);
	ck_assert_mem_ne(big, big + 5000, 5000);
	loop_free(l);
	loop_free(NULL);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/loop/loop");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, timers_are_finer_than_a_millisecond);
	tcase_add_test(tc, tasks_of_other_threads_arrive_once_and_in_order);
	tcase_add_test(tc, ready_tasks_still_run_after_stop);
	tcase_add_test(tc, a_descriptor_is_watched_until_its_poll_is_freed);
	tcase_add_test(tc, a_signal_reaches_the_loop);
	tcase_add_test(tc, random_bytes_do_not_repeat);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
