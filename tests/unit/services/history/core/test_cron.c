/* Cron schedules: what is one, what each names next, and how long a run waits for its turn. */
#include <check.h>
#include <stdlib.h>

#include "common/tz/calendar.h"
#include "services/history/core/cron.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/retry.h"
#include "workflow_steps.h"

/* New York's years to come, as a file without a table says them. */
static const uint8_t new_york[] = "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
				  "\0\0\0\0\0\0UTC\0"
				  "TZif2\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1\0\0\0\4"
				  "\0\0\0\0\0\0UTC\0"
				  "\nEST5EDT,M3.2.0,M11.1.0\n";

static struct harness h;
static struct tz *zone;

static bool find_zone(void *ctx, const char *name, const struct tz **ret)
{
	(void)ctx;
	*ret = zone;
	return str_eq(name, "America/New_York");
}

static const struct core_zones zones = {.find = find_zone};

static void setup(void)
{
	zone = tz_parse(bytes_of(new_york, sizeof new_york - 1));
	ck_assert_ptr_nonnull(zone);
	harness_init(&h);
	h.config.zones = zones;
}

static void teardown(void)
{
	harness_done(&h);
	tz_free(zone);
}

static int64_t utc(int year, int month, int day, int hour, int minute)
{
	return seconds_ns(civil_to_days(year, month, day) * DAY_S + hour * 3600 + minute * 60);
}

/* ------------------------------------------------------------------ what is a schedule */

START_TEST(what_is_no_schedule)
{
	static const char *const bad[] = {
		" ",
		"every day",
		"* * * *",
		"* * * * * *",
		"60 * * * *",
		"* 24 * * *",
		"* * 0 * *",
		"* * 32 * *",
		"* * * 13 *",
		"* * * 0 *",
		"* * * * 7",
		"* * * * sunday",
		"*/0 * * * *",
		"5-1 * * * *",
		"1-2-3 * * * *",
		"1/2/3 * * * *",
		"-1 * * * *",
		"a * * * *",
		"1- * * * *",
		"/5 * * * *",
		"5/ * * * *",
		"@never",
		"@daily ",
		"@every",
		"@every ",
		"@every 5",
		"@every 1d",
		"@every 1h 2m",
		"@every s",
		"@every 9999999999h",
		"TZ=UTC",
		"CRON_TZ=No/Where * * * * *",
		"99999999999999999999 * * * *",
	};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct err e = cron_validate(&zones, bad[i], 0);
		ck_assert_msg(e.code == ERR_INVALID_ARGUMENT, "'%s'", bad[i]);
		ck_assert_str_eq(e.message, "invalid CronSchedule.");
	}
	struct err e = cron_validate(&zones, "0 0 30 2 *", 0);
	ck_assert_str_eq(e.message, "invalid CronSchedule, no time can be found to satisfy the schedule");
	e = cron_validate(&zones, ", * * * *", 0);
	ck_assert_str_eq(e.message, "invalid CronSchedule, no time can be found to satisfy the schedule");
	ck_assert(!err_is(cron_validate(&zones, "", 0)));
	ck_assert(!err_is(cron_validate(&zones, NULL, 0)));
}
END_TEST

START_TEST(what_each_names_next)
{
	const struct {
		const char *text;
		int64_t after_ns, next_ns;
	} cases[] = {
		{"* * * * *", utc(2024, 2, 28, 23, 59), utc(2024, 2, 29, 0, 0)},
		{"* * * * *", utc(2024, 1, 1, 0, 0) - 1, utc(2024, 1, 1, 0, 0)},
		{"* * * * *", utc(2024, 1, 1, 0, 0), utc(2024, 1, 1, 0, 1)},
		{"*/20 * * * *", utc(2024, 1, 1, 0, 45), utc(2024, 1, 1, 1, 0)},
		{"50/4 3 * * *", utc(2024, 1, 1, 3, 51), utc(2024, 1, 1, 3, 54)},
		{"5,10-12 */6 * * ?", utc(2024, 1, 1, 6, 11), utc(2024, 1, 1, 6, 12)},
		{"0 0 29 2 *", utc(2024, 3, 1, 0, 0), utc(2028, 2, 29, 0, 0)},
		/* Both days restricted: either does. One of them "*": the other. */
		{"0 0 13 * fri", utc(2024, 9, 8, 0, 0), utc(2024, 9, 13, 0, 0)},
		{"0 0 14 * Fri", utc(2024, 9, 8, 0, 0), utc(2024, 9, 13, 0, 0)},
		{"0 0 * * 0", utc(2024, 9, 8, 0, 0), utc(2024, 9, 15, 0, 0)},
		{"0 0 */2 * 0", utc(2024, 9, 8, 0, 0), utc(2024, 9, 9, 0, 0)},
		{"0 0 */1 * 0", utc(2024, 9, 8, 0, 0), utc(2024, 9, 15, 0, 0)},
		{"0 12 1 JAN-feb *", utc(2024, 1, 1, 12, 0), utc(2024, 2, 1, 12, 0)},
		{"@hourly", utc(2024, 1, 1, 0, 1), utc(2024, 1, 1, 1, 0)},
		{"@daily", utc(2024, 1, 1, 0, 1), utc(2024, 1, 2, 0, 0)},
		{"@midnight", utc(2024, 12, 31, 0, 1), utc(2025, 1, 1, 0, 0)},
		{"@weekly", utc(2024, 9, 9, 0, 0), utc(2024, 9, 15, 0, 0)},
		{"@monthly", utc(2024, 9, 9, 0, 0), utc(2024, 10, 1, 0, 0)},
		{"@yearly", utc(2024, 9, 9, 0, 0), utc(2025, 1, 1, 0, 0)},
		{"@annually", utc(2024, 9, 9, 0, 0), utc(2025, 1, 1, 0, 0)},
		{"@every 1h30m", utc(2024, 9, 9, 0, 0) + 5, utc(2024, 9, 9, 1, 30)},
		{"@every 1.5h", utc(2024, 9, 9, 0, 0), utc(2024, 9, 9, 1, 30)},
		{"@every .5m1500ms", 0, 31 * NS_PER_S},
		{"@every 10\u00b5s", 0, NS_PER_S},
		{"@every -5m", 0, NS_PER_S},
		{"@every 0", 0, NS_PER_S},
		{"TZ=UTC  @every +2m", 0, 120 * NS_PER_S},
		{"CRON_TZ=America/New_York 0 9 * * *", utc(2024, 7, 1, 0, 0), utc(2024, 7, 1, 13, 0)},
		{"CRON_TZ=America/New_York 0 9 * * * ", utc(2024, 1, 1, 0, 0), utc(2024, 1, 1, 14, 0)},
		/* 2:30 does not exist on March 10, and 1:30 is there twice on November 3. */
		{"TZ=America/New_York 30 2 * * *", utc(2024, 3, 9, 8, 0), utc(2024, 3, 11, 6, 30)},
		{"TZ=America/New_York 30 1 * * *", utc(2024, 11, 3, 0, 0), utc(2024, 11, 3, 5, 30)},
		{"TZ=America/New_York 30 1 * * *", utc(2024, 11, 3, 5, 30), utc(2024, 11, 3, 6, 30)},
		{"TZ=America/New_York 30 1 * * *", utc(2024, 11, 3, 6, 30), utc(2024, 11, 4, 6, 30)},
	};
	for (size_t i = 0; i < array_len(cases); i++) {
		struct cron c;
		ck_assert_msg(cron_parse(&zones, cases[i].text, &c), "%s", cases[i].text);
		ck_assert_msg(cron_next(&c, cases[i].after_ns) == cases[i].next_ns, "%s: %lld s", cases[i].text,
			      (long long)(cron_next(&c, cases[i].after_ns) / NS_PER_S));
	}
}
END_TEST

START_TEST(how_long_the_next_run_waits)
{
	const int64_t noon = utc(2024, 1, 1, 12, 0);
	ck_assert_int_eq(cron_backoff_ns(&zones, "", noon, noon), CRON_NONE);
	ck_assert_int_eq(cron_backoff_ns(&zones, "nonsense", noon, noon), CRON_NONE);
	/* A run that took 90 s misses one minute; whole seconds, rounded up. */
	ck_assert_int_eq(cron_backoff_ns(&zones, "* * * * *", noon, noon + 90 * NS_PER_S), 30 * NS_PER_S);
	ck_assert_int_eq(cron_backoff_ns(&zones, "* * * * *", noon, noon + 90 * NS_PER_S + 1), 30 * NS_PER_S);
	ck_assert_int_eq(cron_backoff_ns(&zones, "* * * * *", noon, noon + 60 * NS_PER_S), 0);
	/* Ended before it was due. */
	ck_assert_int_eq(cron_backoff_ns(&zones, "* * * * *", noon, noon - 5 * NS_PER_S), 5 * NS_PER_S);
	/* "@every" counts from when the run was due, however many turns were missed. */
	ck_assert_int_eq(cron_backoff_ns(&zones, "@every 10s", noon, noon + 4 * NS_PER_S), 6 * NS_PER_S);
	ck_assert_int_eq(cron_backoff_ns(&zones, "@every 7s", noon, noon + 700000001 * NS_PER_S), 6 * NS_PER_S);
	ck_assert_int_eq(cron_backoff_ns(&zones, "@every 7s", noon, noon + 700000000 * NS_PER_S), 0);
}
END_TEST

/* ------------------------------------------------------------------ runs on a schedule */

static WS(StartWorkflowExecutionRequest) *every_minute(void)
{
	WS(StartWorkflowExecutionRequest) *req = harness_start_request(&h);
	req->cron_schedule = (char *)"* * * * *";
	req->input = harness_payloads(&h, "\"in\"");
	return req;
}

/* Its turn has come, and a worker has it. */
static void in_turn(void)
{
	const Perdure__RunExec *exec = h.current->run->exec;
	ck_assert_int_gt(exec->first_workflow_task_backoff_deadline_ns, 0);
	h.now_ns = exec->first_workflow_task_backoff_deadline_ns;
	ck_assert_int_eq(h.now_ns % (60 * NS_PER_S), 0);
	harness_on_time(&h);
	harness_poll(&h);
}

static void assert_next(int status, Temporal__Api__Enums__V1__ContinueAsNewInitiator initiator)
{
	const struct harness_run *closed = h.current - 1;
	ck_assert_int_eq(closed->run->exec->status, status);
	ck_assert_str_eq(closed->run->exec->new_execution_run_id, h.current->run->start->run_id);
	ck_assert_int_eq(steps_started(&h)->initiator, initiator);
	ck_assert_str_eq(steps_started(&h)->cron_schedule, "* * * * *");
	ck_assert_str_eq(steps_started(&h)->continued_execution_run_id, closed->run->start->run_id);
	ck_assert_str_eq(steps_started(&h)->first_execution_run_id, h.runs[0].run->start->run_id);
	ck_assert_int_eq(steps_started(&h)->input->n_payloads, 1);
}

START_TEST(each_completed_run_is_followed_by_the_next)
{
	harness_start(&h, every_minute());
	ck_assert_int_eq(steps_started(&h)->initiator, INITIATOR(CRON_SCHEDULE));
	in_turn();
	harness_advance(&h, 70 * NS_PER_S);
	COMMAND(Command) *complete = harness_complete(&h);
	complete->complete_workflow_execution_command_attributes->result = harness_payloads(&h, "\"first\"");
	harness_answer_with(&h, complete);
	assert_next(STATUS(COMPLETED), INITIATOR(CRON_SCHEDULE));
	ck_assert_int_eq(pb_duration_ns(steps_started(&h)->first_workflow_task_backoff), 50 * NS_PER_S);
	ck_assert_int_eq(steps_started(&h)->last_completion_result->n_payloads, 1);
	ck_assert_ptr_null(steps_started(&h)->continued_failure);

	/* A failure keeps the last result. */
	in_turn();
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "broken")));
	assert_next(STATUS(FAILED), INITIATOR(CRON_SCHEDULE));
	ck_assert_int_eq(steps_started(&h)->last_completion_result->n_payloads, 1);
	ck_assert_str_eq(steps_started(&h)->continued_failure->message, "broken");
}
END_TEST

START_TEST(retries_come_before_the_schedule)
{
	WS(StartWorkflowExecutionRequest) *req = every_minute();
	req->retry_policy = pb_new0(h.arena, COMMON(RetryPolicy), COMMON_FN(retry_policy));
	req->retry_policy->initial_interval = pb_duration(h.arena, 2 * NS_PER_S);
	req->retry_policy->maximum_attempts = 2;
	harness_start(&h, req);
	in_turn();
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "once")));
	assert_next(STATUS(FAILED), INITIATOR(RETRY));
	ck_assert_int_eq(steps_started(&h)->attempt, 2);
	harness_advance(&h, 2 * NS_PER_S);
	harness_on_time(&h);
	harness_poll(&h);
	harness_answer_with(&h, steps_fail_workflow(&h, harness_failure(&h, "twice")));
	assert_next(STATUS(FAILED), INITIATOR(CRON_SCHEDULE));
	ck_assert_int_eq(steps_started(&h)->attempt, 1);
}
END_TEST

START_TEST(a_run_that_times_out_is_followed_too)
{
	WS(StartWorkflowExecutionRequest) *req = every_minute();
	req->workflow_run_timeout = pb_duration(h.arena, 5 * NS_PER_S);
	harness_start(&h, req);
	in_turn();
	harness_advance(&h, 5 * NS_PER_S);
	harness_on_time(&h);
	assert_next(STATUS(TIMED_OUT), INITIATOR(CRON_SCHEDULE));
	ck_assert_str_eq(steps_started(&h)->continued_failure->message, "workflow timeout");
}
END_TEST

START_TEST(a_run_that_is_ended_from_outside_is_the_last)
{
	harness_start(&h, every_minute());
	in_turn();
	steps_assert_ok(steps_terminate(&h));
	ck_assert_uint_eq(h.run_count, 1);
	ck_assert_int_eq(h.current->run->exec->status, STATUS(TERMINATED));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("cron");
	TCase *t = tcase_create("cron");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, what_is_no_schedule);
	tcase_add_test(t, what_each_names_next);
	tcase_add_test(t, how_long_the_next_run_waits);
	tcase_add_test(t, each_completed_run_is_followed_by_the_next);
	tcase_add_test(t, retries_come_before_the_schedule);
	tcase_add_test(t, a_run_that_times_out_is_followed_too);
	tcase_add_test(t, a_run_that_is_ended_from_outside_is_the_last);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
