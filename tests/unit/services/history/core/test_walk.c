/*
 * Random walks: clients, workers and the clock act on runs in any order, and after every step what the harness checks
 * must hold, and in the end what a history promises. A failing walk repeats with its seed, which the message tells.
 */
#include <check.h>
#include <stdlib.h>

#include "core_harness.h"
#include "services/history/core/pbtime.h"

#define WALKS 60
#define STEPS 150

static struct harness h;
static uint64_t seed;
static unsigned names;

static unsigned pick(unsigned n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (unsigned)(seed % n);
}

static const Perdure__ActivityInfo *any_activity(bool started)
{
	unsigned n = HASH_COUNT(h.current->run->activities);
	if (!n)
		return NULL;
	const struct run_activity *a = h.current->run->activities;
	for (unsigned skip = pick(n); skip; skip--)
		a = a->hh.next;
	return (a->info->started_time_ns != 0) == started ? a->info : NULL;
}

/* ------------------------------------------------------------------ what workflow workers do */

static COMMAND(Command) *any_command(void)
{
	const Perdure__ActivityInfo *a = any_activity(pick(2));
	switch (pick(5)) {
	case 0: {
		COMMAND(Command) *c =
			harness_schedule(&h, arena_printf(h.arena, "a%u", names++), (1 + pick(20)) * NS_PER_S);
		COMMAND(ScheduleActivityTaskCommandAttributes) *attr = c->schedule_activity_task_command_attributes;
		attr->heartbeat_timeout = pick(2) ? pb_duration(h.arena, NS_PER_S) : NULL;
		attr->start_to_close_timeout = pick(2) ? pb_duration(h.arena, 2 * NS_PER_S) : NULL;
		attr->request_eager_execution = pick(4) == 0;
		return c;
	}
	case 1:
		return harness_timer(&h, arena_printf(h.arena, "t%u", names++), pick(10) * NS_PER_S / 2);
	case 2:
		return a && !a->cancel_requested ? harness_cancel_activity(&h, a->scheduled_event_id)
						 : harness_marker(&h, "instead");
	case 3: {
		const struct run_timer *t = h.current->run->timers;
		return t ? harness_cancel_timer(&h, arena_strdup(h.arena, t->info->timer_id))
			 : harness_marker(&h, "instead");
	}
	default:
		return harness_marker(&h, "noted");
	}
}

static void work(void)
{
	const Perdure__WorkflowTask *w = h.current->run->exec->workflow_task;
	if (!w)
		return;
	if (run_workflow_task_waits(w)) {
		harness_poll(&h);
		return;
	}
	/* One command an answer: two of them could contradict each other. */
	COMMAND(Command) *c = pick(40) == 0 ? harness_complete(&h) : any_command();
	if (pick(20) == 0)
		c->attributes_case = TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES__NOT_SET;
	bool bad = c->attributes_case == TEMPORAL__API__COMMAND__V1__COMMAND__ATTRIBUTES__NOT_SET;
	bool unseen = h.current->run->buffered_count > 0;
	if (bad || (unseen && c->command_type == COMMAND_TYPE(COMPLETE_WORKFLOW_EXECUTION)))
		harness_answer_err_with(&h, c);
	else
		harness_answer_with(&h, c);
}

/* ------------------------------------------------------------------ what activity workers do */

static void take_activity(void)
{
	const Perdure__ActivityInfo *a = any_activity(false);
	if (a && a->retry_not_before_ns <= h.now_ns)
		harness_poll_activity(&h, arena_strdup(h.arena, a->activity_id));
}

static void answer_activity(void)
{
	const Perdure__ActivityInfo *a = any_activity(true);
	if (!a)
		return;
	Perdure__TaskToken token = PERDURE__TASK_TOKEN__INIT;
	token.scheduled_event_id = a->scheduled_event_id;
	token.attempt = a->attempt - (pick(10) == 0);
	token.start_nonce = a->start_nonce;
	bool stale = token.attempt != a->attempt, canceled = a->cancel_requested;
	struct activity_ref ref = {.token = &token};
	struct err e;
	switch (pick(4)) {
	case 0:
		e = harness_completed(&h, ref);
		break;
	case 1:
		e = harness_failed(&h, ref, harness_failure(&h, "broken"), pick(2) ? harness_payloads(&h, "1") : NULL);
		break;
	case 2:
		e = harness_canceled(&h, ref);
		ck_assert_int_eq(e.code, stale ? ERR_NOT_FOUND : canceled ? ERR_OK : ERR_INVALID_ARGUMENT);
		return;
	default: {
		struct heartbeat_reply reply;
		e = harness_heartbeat(&h, ref, "2", &reply);
		if (!stale)
			ck_assert_int_eq(reply.cancel_requested, canceled);
		break;
	}
	}
	ck_assert_int_eq(e.code, stale ? ERR_NOT_FOUND : ERR_OK);
}

static void let_time_pass(void)
{
	int64_t wake = run_wake_at(h.current->run);
	if (wake != INT64_MAX && pick(2))
		h.now_ns = max_i64(h.now_ns, wake);
	else
		harness_advance(&h, pick(3000) * NS_PER_MS);
	harness_on_time(&h);
	/* What was due is done: the run wakes later. */
	if (run_open(h.current->run))
		ck_assert_int_gt(run_wake_at(h.current->run), h.now_ns);
}

/* ------------------------------------------------------------------ what a history promises */

static int64_t ended_activity(const HISTORY(HistoryEvent) *e, int64_t *ret_started)
{
	switch ((int)e->event_type) {
	case EVENT(ACTIVITY_TASK_COMPLETED):
		*ret_started = e->activity_task_completed_event_attributes->started_event_id;
		return e->activity_task_completed_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_FAILED):
		*ret_started = e->activity_task_failed_event_attributes->started_event_id;
		return e->activity_task_failed_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_TIMED_OUT):
		*ret_started = e->activity_task_timed_out_event_attributes->started_event_id;
		return e->activity_task_timed_out_event_attributes->scheduled_event_id;
	case EVENT(ACTIVITY_TASK_CANCELED):
		*ret_started = e->activity_task_canceled_event_attributes->started_event_id;
		return e->activity_task_canceled_event_attributes->scheduled_event_id;
	default:
		return 0;
	}
}

static void check_history(const struct harness_run *r)
{
	bool *ended = arena_array(h.arena, bool, r->event_count + 1);
	for (size_t i = 0; i < r->event_count; i++) {
		const HISTORY(HistoryEvent) *e = r->events[i];
		int64_t started = 0, scheduled = ended_activity(e, &started);
		if (e->event_type == EVENT(TIMER_FIRED))
			scheduled = e->timer_fired_event_attributes->started_event_id;
		if (e->event_type == EVENT(TIMER_CANCELED))
			scheduled = e->timer_canceled_event_attributes->started_event_id;
		if (!scheduled)
			continue;
		/* The cause exists, comes before, and has this one end. */
		ck_assert_int_lt(scheduled, e->event_id);
		int cause = (int)r->events[scheduled - 1]->event_type;
		ck_assert(cause == EVENT(ACTIVITY_TASK_SCHEDULED) || cause == EVENT(TIMER_STARTED));
		ck_assert(!ended[scheduled]);
		ended[scheduled] = true;
		if (started) {
			const HISTORY(HistoryEvent) *s = r->events[started - 1];
			ck_assert_int_eq((int)s->event_type, EVENT(ACTIVITY_TASK_STARTED));
			ck_assert_int_eq(s->activity_task_started_event_attributes->scheduled_event_id, scheduled);
		}
	}
}

static void step(void)
{
	switch (pick(8)) {
	case 0:
	case 1:
	case 2:
		work();
		break;
	case 3:
		take_activity();
		break;
	case 4:
		answer_activity();
		break;
	case 5:
		let_time_pass();
		break;
	case 6:
		/* A workflow that tried to end is given the chance to before it hears more. */
		if (pick(3) == 0 && !h.current->run->exec->close_attempted)
			harness_signal(&h, "signal");
		break;
	default:
		take_activity();
		answer_activity();
		break;
	}
}

START_TEST(a_walk)
{
	seed = 0x9E3779B97F4A7C15ULL * (uint64_t)(_i + 1);
	harness_init(&h);
	h.sticky_queue = _i % 2 ? "worker's own" : NULL;
	h.sticky_timeout_ns = 2 * NS_PER_S;
	harness_start(&h, NULL);
	for (int i = 0; i < STEPS && run_open(h.current->run); i++)
		step();
	check_history(h.current);
	harness_done(&h);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("walk");
	TCase *tc = tcase_create("core");
	tcase_set_timeout(tc, 60);
	tcase_add_loop_test(tc, a_walk, 0, WALKS);
	suite_add_tcase(s, tc);
	SRunner *sr = srunner_create(s);
	srunner_run_all(sr, CK_ENV);
	int failed = srunner_ntests_failed(sr);
	srunner_free(sr);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
