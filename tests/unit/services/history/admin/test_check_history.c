/*
 * A history that is as it should be passes; each way in which it may not be is planted, and must be found.
 */
#include <check.h>
#include <stdlib.h>
#include <temporal/api/enums/v1/event_type.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>

#include "common/mem/arena.h"
#include "common/mem/mem.h"
#include "services/history/admin/check.h"

#define EVENT(name)   TEMPORAL__API__ENUMS__V1__EVENT_TYPE__EVENT_TYPE_##name
#define HISTORY(name) Temporal__Api__History__V1__##name

static int counts[AUDIT_KINDS];
static struct buf events;
static int64_t last;
static struct arena *arena;
static struct run *run;

static void found(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	(void)ctx;
	(void)text;
	ck_assert_str_eq(workflow_id, "w");
	ck_assert_str_eq(run_id, "r");
	counts[kind]++;
}

static const struct audit_sink sink = {found, NULL};

static void expect_only(enum audit_kind kind)
{
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++)
		ck_assert_msg((counts[k] > 0) == (k == kind), "%s was found %d times", audit_kind_name(k), counts[k]);
}

/* ------------------------------------------------------------------ histories */

static HISTORY(HistoryEvent) *event(Temporal__Api__Enums__V1__EventType type)
{
	HISTORY(HistoryEvent) *e = arena_new0(arena, HISTORY(HistoryEvent));
	temporal__api__history__v1__history_event__init(e);
	e->event_id = ++last;
	e->event_type = type;
	return e;
}

/* Attributes: the message named so, of which the fields are set. */
#define WITH(e, case_, member, type, fn)                                                                               \
	do {                                                                                                           \
		(e)->member = arena_new0(arena, HISTORY(type));                                                        \
		temporal__api__history__v1__##fn##__init((e)->member);                                                 \
		(e)->attributes_case =                                                                                 \
			TEMPORAL__API__HISTORY__V1__HISTORY_EVENT__ATTRIBUTES_##case_##_EVENT_ATTRIBUTES;              \
	} while (0)

static void put(HISTORY(HistoryEvent) *e)
{
	HISTORY(History) h = TEMPORAL__API__HISTORY__V1__HISTORY__INIT;
	h.events = &e;
	h.n_events = 1;
	size_t len = temporal__api__history__v1__history__get_packed_size(&h);
	events.len += temporal__api__history__v1__history__pack(&h, buf_reserve(&events, len));
}

static void put_task_started(int64_t scheduled)
{
	HISTORY(HistoryEvent) *e = event(EVENT(WORKFLOW_TASK_STARTED));
	WITH(e, WORKFLOW_TASK_STARTED, workflow_task_started_event_attributes, WorkflowTaskStartedEventAttributes,
	     workflow_task_started_event_attributes);
	e->workflow_task_started_event_attributes->scheduled_event_id = scheduled;
	put(e);
}

static void put_task_completed(int64_t scheduled, int64_t started)
{
	HISTORY(HistoryEvent) *e = event(EVENT(WORKFLOW_TASK_COMPLETED));
	WITH(e, WORKFLOW_TASK_COMPLETED, workflow_task_completed_event_attributes, WorkflowTaskCompletedEventAttributes,
	     workflow_task_completed_event_attributes);
	e->workflow_task_completed_event_attributes->scheduled_event_id = scheduled;
	e->workflow_task_completed_event_attributes->started_event_id = started;
	put(e);
}

static void put_timer_started(int64_t completed)
{
	HISTORY(HistoryEvent) *e = event(EVENT(TIMER_STARTED));
	WITH(e, TIMER_STARTED, timer_started_event_attributes, TimerStartedEventAttributes,
	     timer_started_event_attributes);
	e->timer_started_event_attributes->workflow_task_completed_event_id = completed;
	put(e);
}

static void put_timer_fired(int64_t started)
{
	HISTORY(HistoryEvent) *e = event(EVENT(TIMER_FIRED));
	WITH(e, TIMER_FIRED, timer_fired_event_attributes, TimerFiredEventAttributes, timer_fired_event_attributes);
	e->timer_fired_event_attributes->started_event_id = started;
	put(e);
}

/* started, task scheduled, started, completed (4), timer started (5) */
static void put_begin(void)
{
	put(event(EVENT(WORKFLOW_EXECUTION_STARTED)));
	put(event(EVENT(WORKFLOW_TASK_SCHEDULED)));
	put_task_started(2);
	put_task_completed(2, 3);
	put_timer_started(4);
}

static void set_up(void)
{
	memset(counts, 0, sizeof counts);
	arena = arena_new(SIZE_MAX);
	last = 0;
	run = run_new();
	Perdure__RunDelta *d = mem_alloc(sizeof *d);
	perdure__run_delta__init(d);
	d->start = mem_alloc(sizeof *d->start);
	perdure__run_start__init(d->start);
	d->exec = mem_alloc(sizeof *d->exec);
	perdure__run_exec__init(d->exec);
	d->exec->status = 1;
	run_apply(run, d);
	perdure__run_delta__free_unpacked(d, NULL);
}

static void tear_down(void)
{
	buf_done(&events);
	run_free(run);
	arena_free(arena);
}

static void put_pending_timer(int64_t started)
{
	Perdure__RunDelta *d = mem_alloc(sizeof *d);
	perdure__run_delta__init(d);
	Perdure__TimerInfo *t = mem_alloc(sizeof *t);
	perdure__timer_info__init(t);
	t->timer_id = mem_strdup("t");
	t->started_event_id = started;
	d->put_timers = mem_alloc(sizeof(void *));
	d->put_timers[0] = t;
	d->n_put_timers = 1;
	run_apply(run, d);
	perdure__run_delta__free_unpacked(d, NULL);
}

/* The whole history as one chunk that says to be that of events from `first` on. */
static void check(int64_t first)
{
	struct audit_history h;
	run->exec->next_event_id = last + 1;
	audit_history_init(&h, "w", "r", last);
	const struct store_history_chunk chunk = {
		.first_event_id = first, .last_event_id = first + last - 1, .events = buf_view(&events)};
	audit_history_chunk(&h, &chunk, &sink);
	audit_history_end(&h, run, &sink);
	audit_history_done(&h);
}

/* ------------------------------------------------------------------ tests */

START_TEST(a_history_as_it_should_be)
{
	put_begin();
	put_pending_timer(5);
	check(1);
	expect_only(AUDIT_KINDS);
}
END_TEST

START_TEST(a_chunk_is_missing)
{
	put_begin();
	check(2);
	expect_only(AUDIT_EVENTS);
}
END_TEST

START_TEST(an_event_is_missing)
{
	put_begin();
	last++;
	put_timer_fired(5);
	check(1);
	expect_only(AUDIT_EVENTS);
}
END_TEST

START_TEST(the_end_is_missing)
{
	put_begin();
	last++;
	check(1);
	expect_only(AUDIT_EVENTS);
}
END_TEST

START_TEST(an_event_cannot_be_read)
{
	put_begin();
	buf_put(&events, "\x0a\x01\xff", 3);
	last++;
	check(1);
	expect_only(AUDIT_EVENTS);
}
END_TEST

START_TEST(a_cause_comes_later)
{
	put_begin();
	put_pending_timer(5);
	put_timer_fired(9);
	check(1);
	expect_only(AUDIT_CAUSE);
}
END_TEST

START_TEST(a_cause_is_of_another_type)
{
	put_begin();
	put_task_completed(5, 3);
	check(1);
	ck_assert_int_gt(counts[AUDIT_CAUSE], 0);
}
END_TEST

START_TEST(a_cause_is_needed)
{
	put_begin();
	put_pending_timer(5);
	put_timer_fired(0);
	check(1);
	expect_only(AUDIT_CAUSE);
}
END_TEST

START_TEST(a_timer_fires_twice)
{
	put_begin();
	put_timer_fired(5);
	put_timer_fired(5);
	check(1);
	expect_only(AUDIT_TWICE);
}
END_TEST

START_TEST(a_task_is_started_twice)
{
	put_begin();
	put_pending_timer(5);
	put(event(EVENT(WORKFLOW_TASK_SCHEDULED)));
	put_task_started(6);
	put_task_started(6);
	put_task_completed(6, 7);
	check(1);
	expect_only(AUDIT_TWICE);
}
END_TEST

START_TEST(a_timer_is_lost)
{
	put_begin();
	check(1);
	expect_only(AUDIT_PENDING);
}
END_TEST

START_TEST(a_workflow_task_is_lost)
{
	put_begin();
	put_pending_timer(5);
	put(event(EVENT(WORKFLOW_TASK_SCHEDULED)));
	check(1);
	expect_only(AUDIT_PENDING);
}
END_TEST

START_TEST(a_closed_run_whose_last_event_does_not_close_it)
{
	put_begin();
	run->exec->status = 2;
	check(1);
	expect_only(AUDIT_CLOSED);
}
END_TEST

START_TEST(an_open_run_whose_last_event_closes_it)
{
	put_begin();
	put_timer_fired(5);
	put(event(EVENT(WORKFLOW_EXECUTION_COMPLETED)));
	check(1);
	expect_only(AUDIT_CLOSED);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("check_history");
	TCase *t = tcase_create("planted");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_history_as_it_should_be);
	tcase_add_test(t, a_chunk_is_missing);
	tcase_add_test(t, an_event_is_missing);
	tcase_add_test(t, the_end_is_missing);
	tcase_add_test(t, an_event_cannot_be_read);
	tcase_add_test(t, a_cause_comes_later);
	tcase_add_test(t, a_cause_is_of_another_type);
	tcase_add_test(t, a_cause_is_needed);
	tcase_add_test(t, a_timer_fires_twice);
	tcase_add_test(t, a_task_is_started_twice);
	tcase_add_test(t, a_timer_is_lost);
	tcase_add_test(t, a_workflow_task_is_lost);
	tcase_add_test(t, a_closed_run_whose_last_event_does_not_close_it);
	tcase_add_test(t, an_open_run_whose_last_event_closes_it);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
