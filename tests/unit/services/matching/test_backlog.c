/*
 * What history keeps: pulled in order, within the bound.
 */
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/services/matching/harness.h"

#define G0 w.gateway[0]
#define H0 w.history[0]
#define H1 w.history[1]

static struct matching_counts counts(void)
{
	return matching_counts(w.matching[0].matching);
}

/* Restarted with so much room a queue. */
static void with_room(int64_t bytes)
{
	node_kill(&w.matching[0]);
	w.config.queue_bytes = bytes;
	matching_start(0);
	advance(6 * SECOND);
}

static size_t fill(const char *queue, int max)
{
	size_t taken = 0;
	for (int i = 0; i < max; i++) {
		char id[16];
		snprintf(id, sizeof id, "%03d", i);
		taken += ADD(queue, id, .scheduled_ns = i + 1) == VERDICT(ACCEPTED);
	}
	return taken;
}

START_TEST(an_unpolled_queue_holds_little)
{
	with_room(64 << 10);
	size_t unpolled = fill("a", 100);
	ck_assert_uint_gt(unpolled, 0);
	ck_assert_uint_lt(unpolled, 20);
	REPORT(G0, "b", .idle = 0);
	size_t polled = fill("b", 100);
	ck_assert_uint_gt(polled, 5 * unpolled);
	ck_assert_int_le(counts().bytes, 2 * w.config.queue_bytes);
}
END_TEST

START_TEST(what_history_keeps_is_pulled_in_order)
{
	for (int i = 0; i < 50; i++) { /* every other one here and there */
		char id[16];
		snprintf(id, sizeof id, "%03d", i);
		stock(i % 2 ? &H0 : &H1, id, i + 1);
	}
	REPORT(G0, "q", .idle = 0);
	backlog(&H0, "q");
	backlog(&H1, "q");
	advance(SECOND);
	ck_assert_uint_eq(H0.stock_count + H1.stock_count, 0);
	REPORT(G0, "q", .idle = 100);
	ck_assert_uint_eq(G0.handed_count, 50);
	for (int i = 0; i < 50; i++)
		ck_assert_int_eq(atoi(next_handed(&G0)), i);
}
END_TEST

START_TEST(no_more_is_pulled_than_there_is_room_for)
{
	with_room(64 << 10);
	for (int i = 0; i < 1000; i++) {
		char id[16];
		snprintf(id, sizeof id, "%03d", i);
		stock(&H0, id, i + 1);
	}
	backlog(&H0, "q");
	advance(2 * SECOND);
	ck_assert_uint_gt(counts().waiting, 0);
	ck_assert_int_le(counts().bytes, w.config.queue_bytes / 8);
	ck_assert_int_eq(describe("q")->backlog, 1000);
	size_t pulls = H0.pulls;
	advance(2 * SECOND);
	ck_assert_uint_eq(H0.pulls, pulls);
	/* A worker comes, and takes them one after the other. */
	for (uint64_t n = 0; n < 1000; n++) {
		if (n % 50 == 0)
			backlog(&H0, "q");
		REPORT(G0, "q", .idle = 1, .received = n);
		const char *id = next_handed(&G0);
		ck_assert_ptr_nonnull(id);
		ck_assert_int_eq(atoi(id), (int)n);
		outcome(&G0, OUTCOME(STARTED));
		ck_assert_int_le(counts().bytes, w.config.queue_bytes);
	}
	ck_assert_int_eq(describe("q")->backlog, 0);
}
END_TEST

START_TEST(a_page_that_was_lost_is_asked_for_again)
{
	stock(&H0, "a", 1);
	H0.mute = true;
	backlog(&H0, "q");
	advance(100 * MS);
	ck_assert_uint_eq(H0.pulls, 1);
	ck_assert(!H0.pulled_again);
	H0.mute = false;
	advance(SECOND);
	ck_assert_uint_ge(H0.pulls, 2);
	ck_assert(H0.pulled_again);
	REPORT(G0, "q", .idle = 1);
	ck_assert_str_eq(next_handed(&G0), "a");
}
END_TEST

START_TEST(a_source_that_falls_silent_is_forgotten)
{
	stock(&H0, "a", 1);
	H0.mute = true;
	backlog(&H0, "q");
	ck_assert_int_ge(describe("q")->backlog, 0);
	advance(10 * SECOND);
	size_t pulls = H0.pulls;
	advance(5 * SECOND);
	ck_assert_uint_eq(H0.pulls, pulls);
}
END_TEST

START_TEST(what_waits_is_counted_by_priority)
{
	with_room(64 << 10);
	ADD("q", "high", .priority = 1, .scheduled_ns = 5000);
	for (int i = 0; i < 1000; i++) {
		char id[16];
		snprintf(id, sizeof id, "%03d", i);
		stock(&H0, id, i + 1);
	}
	backlog(&H0, "q");
	const Perdure__DescribeQueueReply *r = describe("q");
	ck_assert_int_eq(r->backlog, 1001);
	ck_assert_int_eq(r->oldest_scheduled_time_ns, 1); /* which is not the first in order */
	ck_assert_uint_eq(r->n_priorities, 2);
	ck_assert_int_eq(r->priorities[0]->priority, 1);
	ck_assert_int_eq(r->priorities[0]->count, 1);
	ck_assert_int_eq(r->priorities[0]->oldest_time_ns, 5000);
	ck_assert_int_eq(r->priorities[1]->priority, 3);
	ck_assert_int_eq(r->priorities[1]->count, 1000);
	ck_assert_int_eq(r->priorities[1]->oldest_time_ns, 1);
}
END_TEST

START_TEST(a_better_priority_is_pulled_though_there_is_no_room)
{
	with_room(64 << 10);
	REPORT(G0, "q", .idle = 0);
	fill("q", 1000);
	size_t pulls = H0.pulls;
	stock(&H0, "same", 5000);
	backlog(&H0, "q");
	advance(100 * MS);
	ck_assert_uint_eq(H0.pulls, pulls);
	H0.stock_priority = 1;
	stock(&H0, "other", 5001);
	backlog(&H0, "q");
	advance(100 * MS);
	ck_assert_uint_eq(H0.pulls, pulls + 1);
	REPORT(G0, "q", .idle = 1);
	ck_assert_str_eq(next_handed(&G0), "same"); /* the older of the two that came */
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		an_unpolled_queue_holds_little,
		what_history_keeps_is_pulled_in_order,
		no_more_is_pulled_than_there_is_room_for,
		a_page_that_was_lost_is_asked_for_again,
		a_source_that_falls_silent_is_forgotten,
		what_waits_is_counted_by_priority,
		a_better_priority_is_pulled_though_there_is_no_room,
	};
	return run_suite("backlog", tests, array_len(tests));
}
