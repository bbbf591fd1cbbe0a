/*
 * Partitions: how many, who knows, what becomes of those that close.
 */
#include <stdio.h>

#include "tests/unit/services/matching/harness.h"

#define G0 w.gateway[0]

/* Two matching nodes; a partition for every 10 tasks a second. */
static void two_nodes(void)
{
	node_kill(&w.matching[0]);
	w.config.partition_rate = 10;
	w.config.partition_shrink_after_ns = 5 * SECOND;
	matching_start(0);
	matching_start(1);
	advance(6 * SECOND);
}

/* So many tasks a second pass through partition 0, for two seconds. */
static void pass(int rate)
{
	static int n;
	for (int i = 0; i < 2 * rate; i++) {
		char id[16];
		snprintf(id, sizeof id, "p%d", n++);
		REPORT(G0, "q", .idle = 1, .received = G0.handed_count, .partitions = G0.partitions,
		       .version = G0.partitions_version);
		ADD("q", id, .partitions = G0.partitions, .version = G0.partitions_version);
		ck_assert_ptr_nonnull(next_handed(&G0));
		outcome(&G0, OUTCOME(STARTED));
		advance(SECOND / rate - 15 * MS);
	}
}

START_TEST(partitions_follow_the_load)
{
	two_nodes();
	pass(40);
	ck_assert_uint_ge(G0.partitions, 2);
	ck_assert_int_gt(G0.partitions_version, 0);
	ADD("q", "x");
	ck_assert_uint_eq(told_partitions, G0.partitions);
	ck_assert_uint_eq(describe("q")->partitions, G0.partitions);
	uint32_t many = G0.partitions;
	advance(3 * SECOND);
	ck_assert_uint_ge(G0.partitions, many);
	for (int i = 0; i < 40; i++) {
		REPORT(G0, "q", .idle = 0, .received = G0.handed_count, .partitions = G0.partitions,
		       .version = G0.partitions_version);
		advance(500 * MS);
	}
	ck_assert_uint_eq(G0.partitions, 1);
}
END_TEST

static bool idle;

static int64_t waited_ns(void *env)
{
	return idle ? env_mono_ns(env) : 0;
}

START_TEST(a_queue_that_keeps_its_node_busy_is_spread)
{
	two_nodes();
	w.config.partition_rate = 1000;
	for (size_t i = 0; i < 2; i++) {
		node_kill(&w.matching[i]);
		matching_start(i);
		matching_watch_load(w.matching[i].matching, waited_ns, &w.matching[i].env.env);
	}
	advance(6 * SECOND);
	idle = false;
	for (int i = 0; i < 4; i++)
		pass(20);
	ck_assert_uint_eq(G0.partitions, 2);
	idle = true;
	for (int i = 0; i < 40; i++) {
		REPORT(G0, "q", .idle = 0, .received = G0.handed_count, .partitions = G0.partitions,
		       .version = G0.partitions_version);
		advance(500 * MS);
	}
	ck_assert_uint_eq(G0.partitions, 1);
}
END_TEST

START_TEST(one_node_needs_one_partition)
{
	two_nodes();
	node_kill(&w.matching[1]);
	advance(6 * SECOND);
	pass(40);
	ck_assert_uint_eq(G0.partitions, 0);
}
END_TEST

START_TEST(a_low_limit_is_kept_by_the_root_alone)
{
	two_nodes();
	REPORT(G0, "q", .idle = 1, .identity = "w", .rate = 15, .partitions = 4, .version = 100);
	advance(2 * SECOND);
	ck_assert_uint_eq(G0.partitions, 1);
	ck_assert_int_gt(G0.partitions_version, 100);
}
END_TEST

START_TEST(a_new_root_goes_on_from_what_others_know)
{
	two_nodes();
	REPORT(G0, "q", .idle = 0, .partitions = 4, .version = 100);
	ck_assert_uint_eq(describe("q")->partitions, 4);
	ADD("q", "a");
	ck_assert_uint_eq(told_partitions, 4);
	ADD("q", "b", .partitions = 3, .version = 99);
	ck_assert_uint_eq(told_partitions, 4);
	ADD("q", "c", .partitions = 4, .version = 100);
	ck_assert_uint_eq(told_partitions, 0);
}
END_TEST

START_TEST(partitions_learn_from_the_root)
{
	two_nodes();
	REPORT(G0, "q", .idle = 0, .partitions = 4, .version = 100);
	ADD("q", "a", .partition = 3);
	advance(2 * SECOND);
	ADD("q", "b", .partition = 3);
	ck_assert_uint_eq(told_partitions, 4);
}
END_TEST

START_TEST(hunger_is_told_and_withdrawn)
{
	two_nodes();
	REPORT(G0, "q", .idle = 0, .partition = 1, .partitions = 2, .version = 100);
	ADD("q", "a", .partition = 1, .partitions = 2, .version = 100);
	ck_assert_uint_eq(G0.hungry, 1);
	ck_assert_uint_eq(G0.hungry_partition, 1);
	size_t said = G0.hungry_count;
	advance(2500 * MS);
	ck_assert_uint_le(G0.hungry_count, said + 3);
	REPORT(G0, "q", .idle = 1, .partition = 1, .partitions = 2, .version = 100);
	ck_assert_str_eq(next_handed(&G0), "a");
	advance(SECOND);
	ck_assert_uint_eq(G0.hungry, 0);
}
END_TEST

START_TEST(a_closing_partition_hands_out_what_it_has)
{
	two_nodes();
	REPORT(G0, "q", .idle = 0, .partition = 1, .partitions = 2, .version = 100);
	ck_assert_int_eq(ADD("q", "a", .partition = 1, .partitions = 2, .version = 100), VERDICT(ACCEPTED));
	REPORT(G0, "q", .idle = 0, .partition = 1, .partitions = 1, .version = 101);
	ck_assert_int_eq(ADD("q", "b", .partition = 1, .partitions = 2, .version = 100), VERDICT(NOT_OWNER));
	ck_assert_uint_eq(told_partitions, 1);
	advance(2 * SECOND);
	ck_assert_uint_eq(G0.hungry, 1);
	REPORT(G0, "q", .idle = 1, .partition = 1, .partitions = 1, .version = 101);
	ck_assert_str_eq(next_handed(&G0), "a");
}
END_TEST

START_TEST(a_closing_partition_that_nobody_polls_leaves_its_tasks_to_history)
{
	two_nodes();
	ADD("q", "a", .partition = 1, .partitions = 2, .version = 100);
	ck_assert_int_eq(ADD("q", "b", .partition = 1, .partitions = 1, .version = 101), VERDICT(NOT_OWNER));
	advance(4 * SECOND);
	ck_assert_uint_eq(w.history[0].asked_again, 1);
}
END_TEST

START_TEST(a_killed_nodes_partitions_are_taken_at_once)
{
	two_nodes();
	struct node_under_test *dead = owner_of("q", 0);
	const char *address = dead == &w.matching[0] ? "matching-0" : "matching-1";
	ck_assert_int_eq(ADD("q", "a"), VERDICT(ACCEPTED));
	REPORT(G0, "q", .idle = 0);
	node_kill(dead);
	advance(100 * MS);
	ck_assert_ptr_ne(owner_of("q", 0), dead);
	ck_assert_int_eq(ADD("q", "a", .down = address), VERDICT(ACCEPTED));
	REPORT(G0, "q", .idle = 1);
	ck_assert_str_eq(next_handed(&G0), "a");
}
END_TEST

START_TEST(pollers_stay_listed_for_five_minutes)
{
	REPORT(G0, "q", .idle = 1, .identity = "me");
	report_nothing(&G0);
	advance(290 * SECOND);
	ck_assert_uint_eq(describe("q")->n_pollers, 1);
	advance(20 * SECOND);
	ck_assert_uint_eq(describe("q")->n_pollers, 0);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		partitions_follow_the_load,
		a_queue_that_keeps_its_node_busy_is_spread,
		one_node_needs_one_partition,
		a_low_limit_is_kept_by_the_root_alone,
		a_new_root_goes_on_from_what_others_know,
		partitions_learn_from_the_root,
		hunger_is_told_and_withdrawn,
		a_closing_partition_hands_out_what_it_has,
		a_closing_partition_that_nobody_polls_leaves_its_tasks_to_history,
		a_killed_nodes_partitions_are_taken_at_once,
		pollers_stay_listed_for_five_minutes,
	};
	return run_suite("scale", tests, array_len(tests));
}
