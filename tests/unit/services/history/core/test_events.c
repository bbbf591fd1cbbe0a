/* Events: their attributes, which wait, and in what order what waited is written. */
#include <check.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#include "services/history/core/core_internal.h"
#include "services/history/core/txn_internal.h"
#include "workflow_steps.h"

static struct harness h;

static void setup(void)
{
	harness_init(&h);
	harness_start(&h, NULL);
}

static void teardown(void)
{
	harness_done(&h);
}

START_TEST(every_type_has_its_attributes)
{
	const ProtobufCEnumDescriptor *types = &temporal__api__enums__v1__event_type__descriptor;
	struct txn t;
	harness_begin(&h, &t);
	for (unsigned i = 0; i < types->n_values; i++) {
		if (types->values[i].value == 0)
			continue;
		HISTORY(HistoryEvent) *e =
			txn_event_new(&t, (Temporal__Api__Enums__V1__EventType)types->values[i].value);
		char name[128];
		snprintf(name, sizeof name, "%s_event_attributes", types->values[i].name + strlen("EVENT_TYPE_"));
		for (char *p = name; *p; p++)
			*p = (char)tolower(*p);
		const ProtobufCFieldDescriptor *f =
			protobuf_c_message_descriptor_get_field(e->base.descriptor, (unsigned)e->attributes_case);
		ck_assert_str_eq(f->name, name);
		/* The empty message is there. */
		ck_assert(protobuf_c_message_check(&e->base));
	}
}
END_TEST

/* Writes a start and an end of activity 5 around a signal. */
static void write_held(struct txn *t)
{
	txn_activity_new(t, 5, "a");
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(ACTIVITY_TASK_STARTED));
	e->activity_task_started_event_attributes->scheduled_event_id = 5;
	e = txn_event(t, EVENT(ACTIVITY_TASK_COMPLETED));
	e->activity_task_completed_event_attributes->scheduled_event_id = 5;
	e = txn_event(t, EVENT(WORKFLOW_EXECUTION_SIGNALED));
	ck_assert_int_eq(e->event_id, 0);
}

static void assert_written(void)
{
	harness_assert_events(&h, (int64_t)h.current->event_count - 2,
			      "ACTIVITY_TASK_STARTED WORKFLOW_EXECUTION_SIGNALED ACTIVITY_TASK_COMPLETED");
	int64_t started = (int64_t)h.current->event_count - 2;
	const HISTORY(HistoryEvent) *end = harness_event(&h, started + 2);
	ck_assert_int_eq(end->activity_task_completed_event_attributes->started_event_id, started);
	ck_assert_int_eq(run_find_activity(h.current->run, 5)->info->started_event_id, started);
}

START_TEST(ends_are_written_after_the_rest)
{
	struct txn t;
	harness_begin(&h, &t);
	write_held(&t);
	ck_assert_uint_eq(txn_buffered_count(&t), 3);
	harness_commit(&h, &t);
	ck_assert_uint_eq(h.current->run->buffered_count, 0);
	assert_written();
}
END_TEST

START_TEST(what_happens_during_a_task_waits_for_its_end)
{
	harness_poll(&h);
	struct txn t;
	harness_begin(&h, &t);
	write_held(&t);
	harness_commit(&h, &t);
	ck_assert_uint_eq(h.current->run->buffered_count, 3);
	harness_assert_events(&h, 3, "WORKFLOW_TASK_STARTED");

	harness_begin(&h, &t);
	ck_assert_uint_eq(txn_buffered_count(&t), 3);
	ck_assert_uint_gt(txn_held_bytes(&t), 0);
	workflow_task_timed_out(&t);
	harness_commit(&h, &t);
	harness_assert_events(&h, 4,
			      "WORKFLOW_TASK_TIMED_OUT ACTIVITY_TASK_STARTED WORKFLOW_EXECUTION_SIGNALED "
			      "ACTIVITY_TASK_COMPLETED WORKFLOW_TASK_SCHEDULED");
	ck_assert_int_eq(harness_event(&h, 7)->activity_task_completed_event_attributes->started_event_id, 5);
}
END_TEST

START_TEST(one_that_waits_can_be_taken_back)
{
	harness_poll(&h);
	struct txn t;
	harness_begin(&h, &t);
	write_held(&t);
	harness_commit(&h, &t);
	harness_begin(&h, &t);
	ck_assert_int_eq(txn_buffered_event(&t, 2)->event_type, EVENT(WORKFLOW_EXECUTION_SIGNALED));
	txn_buffered_remove(&t, 2);
	harness_commit(&h, &t);
	ck_assert_uint_eq(h.current->run->buffered_count, 2);
}
END_TEST

START_TEST(nothing_is_written_behind_the_close)
{
	struct txn t;
	harness_begin(&h, &t);
	write_held(&t);
	txn_event(&t, EVENT(WORKFLOW_EXECUTION_TERMINATED));
	txn_exec(&t)->status = STATUS(TERMINATED);
	harness_commit(&h, &t);
	harness_assert_events(&h, 2, "WORKFLOW_TASK_SCHEDULED WORKFLOW_EXECUTION_TERMINATED");
	ck_assert_int_eq(h.current->run->exec->close_event_id, 3);
}
END_TEST

START_TEST(a_transition_that_touches_nothing_has_no_delta)
{
	struct txn t;
	struct buf out = {0};
	harness_begin(&h, &t);
	ck_assert(txn_open(&t));
	txn_finish(&t, &out);
	ck_assert_uint_eq(out.len, 0);
	harness_begin(&h, &t);
	write_held(&t);
	txn_restart(&t);
	txn_finish(&t, &out);
	ck_assert_uint_eq(out.len, 0);
	buf_done(&out);
}
END_TEST

START_TEST(what_is_no_delta_is_refused)
{
	struct run *run = run_new();
	ck_assert_int_eq(run_apply_bytes(run, h.arena, bytes_str("\xff\xff")).code, ERR_INTERNAL);
	/* One that belongs to a run that has begun already. */
	ck_assert_int_eq(run_apply_bytes(run, h.arena, bytes_of(NULL, 0)).code, ERR_INTERNAL);
	ck_assert_int_eq(run_apply_bytes(h.current->run, h.arena, h.current->deltas[0]).code, ERR_INTERNAL);
	run_free(run);
	ck_assert_int_eq(run_from_snapshot(h.arena, bytes_str("\xff"), &run).code, ERR_INTERNAL);
	ck_assert_int_eq(run_from_snapshot(h.arena, bytes_of(NULL, 0), &run).code, ERR_INTERNAL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("events");
	TCase *c = tcase_create("events");
	tcase_add_checked_fixture(c, setup, teardown);
	tcase_add_test(c, every_type_has_its_attributes);
	tcase_add_test(c, ends_are_written_after_the_rest);
	tcase_add_test(c, what_happens_during_a_task_waits_for_its_end);
	tcase_add_test(c, one_that_waits_can_be_taken_back);
	tcase_add_test(c, nothing_is_written_behind_the_close);
	tcase_add_test(c, a_transition_that_touches_nothing_has_no_delta);
	tcase_add_test(c, what_is_no_delta_is_refused);
	suite_add_tcase(s, c);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
