/*
 * Each kind of violation is planted, and must be found; without it, nothing is.
 */
#include <check.h>
#include <stdlib.h>
#include <temporal/api/enums/v1/workflow.pb-c.h>

#include "common/mem/mem.h"
#include "services/history/admin/check.h"
#include "tests/support/fake_env.h"

#define RUNNING TEMPORAL__API__ENUMS__V1__WORKFLOW_EXECUTION_STATUS__WORKFLOW_EXECUTION_STATUS_RUNNING

static int counts[AUDIT_KINDS];
static struct fake_world world;
static struct fake_env env;
static struct history history;
static struct shard shard;
static struct workflow workflow;
static struct cached_run cached;

static void found(void *ctx, enum audit_kind kind, const char *workflow_id, const char *run_id, const char *text)
{
	(void)ctx;
	(void)workflow_id;
	(void)run_id;
	ck_assert_str_ne(text, "");
	counts[kind]++;
}

static const struct audit_sink sink = {found, NULL};

static void expect_only(enum audit_kind kind, int times)
{
	for (enum audit_kind k = 0; k < AUDIT_KINDS; k++)
		ck_assert_msg(counts[k] == (k == kind ? times : 0), "%s was found %d times", audit_kind_name(k),
			      counts[k]);
}

static void expect_nothing(void)
{
	expect_only(AUDIT_KINDS, 0);
}

/* The change that begins a run, which waits for its first workflow task. */
static Perdure__RunDelta *begins(void)
{
	Perdure__RunDelta *d = mem_alloc(sizeof *d);
	perdure__run_delta__init(d);
	d->run_id = mem_strdup("r");
	d->start = mem_alloc(sizeof *d->start);
	perdure__run_start__init(d->start);
	d->start->workflow_id = mem_strdup("w");
	d->start->run_id = mem_strdup("r");
	d->exec = mem_alloc(sizeof *d->exec);
	perdure__run_exec__init(d->exec);
	d->exec->status = RUNNING;
	d->exec->next_event_id = 3;
	d->exec->workflow_task = mem_alloc(sizeof *d->exec->workflow_task);
	perdure__workflow_task__init(d->exec->workflow_task);
	d->exec->workflow_task->scheduled_event_id = 2;
	return d;
}

static struct run *new_run(void)
{
	struct run *run = run_new();
	Perdure__RunDelta *d = begins();
	run_apply(run, d);
	perdure__run_delta__free_unpacked(d, NULL);
	return run;
}

static void set_up(void)
{
	memset(counts, 0, sizeof counts);
	fake_world_init(&world, 1);
	fake_env_init(&env, &world);
	history = (struct history){.env = &env.env};
	shard = (struct shard){.h = &history};
	workflow = (struct workflow){.shard = &shard, .workflow_id = "w", .runs = &cached};
	cached = (struct cached_run){.wf = &workflow, .run = new_run(), .wake_ns = INT64_MAX, .in_unstarted = true};
}

static void tear_down(void)
{
	run_free(cached.run);
	fake_env_done(&env);
}

/* ------------------------------------------------------------------ the journal */

static void journal(int64_t seq, int64_t epoch, int64_t next_seq, int64_t next_epoch)
{
	struct audit_journal j = {.shard = 1, .seq = seq - 1};
	audit_journal_row(&j, seq, epoch, &sink);
	audit_journal_row(&j, next_seq, next_epoch, &sink);
}

START_TEST(a_gap_in_the_journal)
{
	journal(5, 1, 6, 2);
	expect_nothing();
	journal(5, 1, 7, 1);
	expect_only(AUDIT_JOURNAL_GAP, 1);
}
END_TEST

START_TEST(an_epoch_that_goes_down)
{
	journal(5, 2, 6, 1);
	expect_only(AUDIT_EPOCH, 1);
}
END_TEST

START_TEST(a_record_that_cannot_be_read)
{
	struct audit_rebuild b = {.run_id = "r"};
	audit_rebuild_record(&b, 1, bytes_str("\xff\xff"), &sink);
	expect_only(AUDIT_UNREADABLE, 1);
}
END_TEST

/* ------------------------------------------------------------------ rows */

static void row(bool open, int64_t wake_at_ns)
{
	struct buf snapshot = {0};
	run_pack_snapshot(cached.run, &snapshot);
	struct store_run_row r = {.workflow_id = "w",
				  .run_id = "r",
				  .open = open,
				  .status = RUNNING,
				  .outbound = true,
				  .namespace_id = "",
				  .wake_at_ns = wake_at_ns,
				  .snapshot = buf_view(&snapshot)};
	struct run *run = audit_row(&r, 0, &sink);
	ck_assert_int_eq(run->exec->next_event_id, 3);
	run_free(run);
	buf_done(&snapshot);
}

START_TEST(a_row_that_says_closed)
{
	row(true, INT64_MAX);
	expect_nothing();
	row(false, INT64_MAX);
	expect_only(AUDIT_ROW, 1);
}
END_TEST

START_TEST(a_row_that_wakes_late)
{
	cached.run->start->run_deadline_ns = 1000;
	row(true, 1000);
	expect_nothing();
	row(true, 1001);
	expect_only(AUDIT_DEADLINE, 1);
}
END_TEST

START_TEST(a_row_that_hides_a_task)
{
	struct buf snapshot = {0};
	run_pack_snapshot(cached.run, &snapshot);
	struct store_run_row r = {.namespace_id = "",
				  .workflow_id = "w",
				  .run_id = "r",
				  .open = true,
				  .status = RUNNING,
				  .wake_at_ns = INT64_MAX,
				  .snapshot = buf_view(&snapshot)};
	run_free(audit_row(&r, 0, &sink));
	expect_only(AUDIT_OUTBOUND, 1);
	buf_done(&snapshot);
}
END_TEST

START_TEST(a_row_of_another_run)
{
	struct buf snapshot = {0};
	run_pack_snapshot(cached.run, &snapshot);
	struct store_run_row r = {.namespace_id = "",
				  .workflow_id = "w",
				  .run_id = "another",
				  .open = true,
				  .outbound = true,
				  .status = RUNNING,
				  .wake_at_ns = INT64_MAX,
				  .snapshot = buf_view(&snapshot)};
	run_free(audit_row(&r, 0, &sink));
	expect_only(AUDIT_ROW, 1);
	buf_done(&snapshot);
}
END_TEST

START_TEST(a_cold_run_that_waits_for_nothing)
{
	perdure__workflow_task__free_unpacked(cached.run->exec->workflow_task, NULL);
	cached.run->exec->workflow_task = NULL;
	row(true, INT64_MAX);
	expect_only(AUDIT_STUCK, 1);
}
END_TEST

START_TEST(a_closed_row_that_says_when_otherwise)
{
	struct buf snapshot = {0};
	cached.run->exec->status = 2;
	cached.run->exec->close_time_ns = 5;
	cached.run->exec->retention_end_ns = 10;
	perdure__workflow_task__free_unpacked(cached.run->exec->workflow_task, NULL);
	cached.run->exec->workflow_task = NULL;
	run_pack_snapshot(cached.run, &snapshot);
	struct store_run_row r = {.namespace_id = "",
				  .workflow_id = "w",
				  .run_id = "r",
				  .status = 2,
				  .close_time_ns = 5,
				  .retention_end_ns = 10,
				  .snapshot = buf_view(&snapshot)};
	run_free(audit_row(&r, 0, &sink));
	expect_nothing();
	r.retention_end_ns = 11;
	run_free(audit_row(&r, 0, &sink));
	expect_only(AUDIT_CLOSED, 1);
	buf_done(&snapshot);
}
END_TEST

START_TEST(a_snapshot_that_cannot_be_read)
{
	struct store_run_row r = {.workflow_id = "w", .run_id = "r", .open = true, .snapshot = bytes_str("\xff\xff")};
	ck_assert_ptr_null(audit_row(&r, 0, &sink));
	expect_only(AUDIT_UNREADABLE, 1);
}
END_TEST

/* ------------------------------------------------------------------ memory */

START_TEST(a_run_that_nobody_woke)
{
	cached.run->start->run_deadline_ns = env_wall_ns(&env.env) - 60 * NS_PER_S;
	cached.wake_ns = cached.run->start->run_deadline_ns;
	audit_cached_run(&cached, &sink);
	expect_only(AUDIT_OVERDUE, 1);
}
END_TEST

START_TEST(a_timer_that_just_fires)
{
	cached.run->start->run_deadline_ns = env_wall_ns(&env.env) - NS_PER_S;
	cached.wake_ns = env_wall_ns(&env.env) + NS_PER_S / 10;
	audit_cached_run(&cached, &sink);
	expect_nothing();
}
END_TEST

static struct audit_rebuild rebuild(void)
{
	struct audit_rebuild b = {.run_id = "r"};
	Perdure__JournalRecord record = PERDURE__JOURNAL_RECORD__INIT;
	Perdure__RunDelta *d = begins();
	record.deltas = &d;
	record.n_deltas = 1;
	struct buf out = {0};
	size_t len = perdure__journal_record__get_packed_size(&record);
	out.len = perdure__journal_record__pack(&record, buf_reserve(&out, len));
	audit_rebuild_record(&b, 1, buf_view(&out), &sink);
	perdure__run_delta__free_unpacked(d, NULL);
	buf_done(&out);
	return b;
}

START_TEST(memory_that_the_journal_does_not_give)
{
	struct audit_rebuild b = rebuild();
	audit_compare(&b, cached.run, &sink);
	expect_nothing();
	cached.run->exec->signal_count++;
	audit_compare(&b, cached.run, &sink);
	expect_only(AUDIT_MEMORY, 1);
	run_free(b.run);
}
END_TEST

START_TEST(a_run_that_waits_for_nothing)
{
	audit_cached_run(&cached, &sink);
	expect_nothing();
	perdure__workflow_task__free_unpacked(cached.run->exec->workflow_task, NULL);
	cached.run->exec->workflow_task = NULL;
	audit_cached_run(&cached, &sink);
	expect_only(AUDIT_STUCK, 1);
}
END_TEST

START_TEST(a_run_that_waits_for_a_signal)
{
	perdure__workflow_task__free_unpacked(cached.run->exec->workflow_task, NULL);
	cached.run->exec->workflow_task = NULL;
	cached.run->exec->last_completed_workflow_task_started_event_id = 3;
	audit_cached_run(&cached, &sink);
	expect_nothing();
}
END_TEST

START_TEST(a_timer_that_is_set_late)
{
	cached.run->start->run_deadline_ns = 1000;
	audit_cached_run(&cached, &sink);
	expect_only(AUDIT_DEADLINE, 1);
}
END_TEST

START_TEST(a_task_that_nobody_offers)
{
	cached.in_unstarted = false;
	audit_cached_run(&cached, &sink);
	expect_only(AUDIT_NOT_OFFERED, 1);
}
END_TEST

START_TEST(two_open_runs)
{
	audit_workflow(&workflow, &sink);
	expect_nothing();
	struct cached_run second = {.wf = &workflow, .run = new_run()};
	cached.next_in_wf = &second;
	audit_workflow(&workflow, &sink);
	expect_only(AUDIT_TWO_OPEN, 1);
	run_free(second.run);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("check");
	TCase *t = tcase_create("planted");
	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, a_gap_in_the_journal);
	tcase_add_test(t, an_epoch_that_goes_down);
	tcase_add_test(t, a_record_that_cannot_be_read);
	tcase_add_test(t, a_row_that_says_closed);
	tcase_add_test(t, a_row_that_wakes_late);
	tcase_add_test(t, a_row_that_hides_a_task);
	tcase_add_test(t, a_row_of_another_run);
	tcase_add_test(t, a_cold_run_that_waits_for_nothing);
	tcase_add_test(t, a_closed_row_that_says_when_otherwise);
	tcase_add_test(t, a_run_that_nobody_woke);
	tcase_add_test(t, a_timer_that_just_fires);
	tcase_add_test(t, a_snapshot_that_cannot_be_read);
	tcase_add_test(t, memory_that_the_journal_does_not_give);
	tcase_add_test(t, a_run_that_waits_for_nothing);
	tcase_add_test(t, a_run_that_waits_for_a_signal);
	tcase_add_test(t, a_timer_that_is_set_late);
	tcase_add_test(t, a_task_that_nobody_offers);
	tcase_add_test(t, two_open_runs);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
