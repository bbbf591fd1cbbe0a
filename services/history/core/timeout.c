/*
 * What time does to a run: timers fire, activities and workflow tasks time out, the first workflow task's backoff ends,
 * and the run itself may be over.
 *
 * All that is due is done in one transition, in the order in which it was due, and the workflow task that tells of it
 * is scheduled last, so that it tells of all. A clock that jumped, or a shard that was without an owner, changes
 * nothing in it.
 */
#include <stdlib.h>

#include "services/history/core/activity.h"
#include "services/history/core/failure.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"

enum due_kind {
	DUE_TIMER,
	DUE_ACTIVITY,
	DUE_ATTEMPT, /* an activity's backoff is over */
	DUE_WORKFLOW_TASK,
	DUE_FIRST_WORKFLOW_TASK,
	DUE_RUN, /* run or execution timeout */
};

struct due {
	enum due_kind kind;
	int64_t at_ns;
	int64_t event_id;			    /* orders what is due at the same moment */
	Temporal__Api__Enums__V1__TimeoutType type; /* of an activity */
	int32_t attempt;
	const char *timer_id;
};

struct due_list {
	struct txn *t;
	struct due *items;
	size_t count;
};

/* ------------------------------------------------------------------ what is due */

static void add(struct due_list *l, struct due due)
{
	if (due.at_ns <= l->t->now_ns)
		l->items[l->count++] = due;
}

static int64_t later(int64_t at_ns, int64_t grace_ns)
{
	return at_ns == INT64_MAX ? at_ns : time_add_ns(at_ns, grace_ns);
}

static void add_activity(struct due_list *l, const Perdure__ActivityInfo *a, int64_t grace_ns)
{
	struct activity_deadlines d = run_activity_deadlines(a);
	struct due due = {.kind = DUE_ACTIVITY, .event_id = a->scheduled_event_id, .attempt = a->attempt};
	const struct {
		int64_t at_ns;
		Temporal__Api__Enums__V1__TimeoutType type;
	} timeouts[] = {
		{d.schedule_to_start, TIMEOUT_TYPE(SCHEDULE_TO_START)},
		{d.schedule_to_close, TIMEOUT_TYPE(SCHEDULE_TO_CLOSE)},
		{later(d.start_to_close, grace_ns), TIMEOUT_TYPE(START_TO_CLOSE)},
		{later(d.heartbeat, grace_ns), TIMEOUT_TYPE(HEARTBEAT)},
	};
	for (size_t i = 0; i < array_len(timeouts); i++) {
		due.at_ns = timeouts[i].at_ns;
		due.type = timeouts[i].type;
		add(l, due);
	}
	due.kind = DUE_ATTEMPT;
	due.at_ns = d.backoff;
	due.type = TIMEOUT_TYPE(UNSPECIFIED);
	add(l, due);
}

static void add_workflow_task(struct due_list *l, int64_t grace_ns)
{
	const Perdure__RunExec *exec = txn_peek(l->t);
	const Perdure__WorkflowTask *w = exec->workflow_task;
	if (w)
		add(l, (struct due){.kind = DUE_WORKFLOW_TASK,
				    .at_ns = later(run_workflow_task_deadline(w),
						   txn_workflow_task_started(l->t) ? grace_ns : 0),
				    .event_id = w->scheduled_event_id,
				    .attempt = w->attempt});
	if (exec->first_workflow_task_backoff_deadline_ns > 0)
		add(l, (struct due){.kind = DUE_FIRST_WORKFLOW_TASK,
				    .at_ns = exec->first_workflow_task_backoff_deadline_ns});
}

static int64_t run_deadline(const Perdure__RunStart *start)
{
	int64_t run = start->run_deadline_ns > 0 ? start->run_deadline_ns : INT64_MAX;
	int64_t execution = start->execution_deadline_ns > 0 ? start->execution_deadline_ns : INT64_MAX;
	return min_i64(run, execution);
}

static int by_time(const void *left, const void *right)
{
	const struct due *l = left, *r = right;
	if (l->at_ns != r->at_ns)
		return l->at_ns < r->at_ns ? -1 : 1;
	if (l->event_id != r->event_id)
		return l->event_id < r->event_id ? -1 : 1;
	return (int)l->type - (int)r->type;
}

static struct due_list collect(struct txn *t, int64_t grace_ns)
{
	const struct run *run = t->run;
	const size_t moments_per_activity = 5, others = 3;
	size_t most = HASH_COUNT(run->timers) + HASH_COUNT(run->activities) * moments_per_activity + others;
	struct due_list l = {.t = t, .items = arena_array(t->arena, struct due, most)};
	for (const struct run_timer *i = run->timers; i; i = i->hh.next)
		add(&l, (struct due){.kind = DUE_TIMER,
				     .at_ns = i->info->fire_time_ns,
				     .event_id = i->info->started_event_id,
				     .timer_id = i->info->timer_id});
	for (const struct run_activity *i = run->activities; i; i = i->hh.next)
		add_activity(&l, i->info, grace_ns);
	add_workflow_task(&l, grace_ns);
	add(&l, (struct due){.kind = DUE_RUN, .at_ns = run_deadline(t->start), .event_id = INT64_MAX});
	qsort(l.items, l.count, sizeof *l.items, by_time);
	return l;
}

/* ------------------------------------------------------------------ one by one */

/* Each returns whether a workflow task must tell of it. */
static bool timer_fired(struct txn *t, const struct due *due)
{
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(TIMER_FIRED));
	e->timer_fired_event_attributes->timer_id = arena_strdup(t->arena, due->timer_id);
	e->timer_fired_event_attributes->started_event_id = due->event_id;
	txn_timer_remove(t, due->timer_id);
	return true;
}

static bool activity_timed_out(struct txn *t, const struct due *due)
{
	const Perdure__ActivityInfo *a = txn_activity(t, due->event_id);
	if (!a || a->attempt != due->attempt)
		return false; /* another of its timeouts came first */
	const char *text = arena_printf(t->arena, "activity %s timeout", timeout_type_name(due->type));
	FAILURE(Failure) *failure = failure_timeout(t->arena, text, due->type);
	Temporal__Api__Enums__V1__RetryState state = activity_retry(t, due->event_id, failure);
	if (state == RETRY_STATE(IN_PROGRESS))
		return false;
	if (state == RETRY_STATE(TIMEOUT) && due->type != TIMEOUT_TYPE(SCHEDULE_TO_START))
		failure = failure_timeout(
			t->arena,
			"Not enough time to schedule next retry before activity ScheduleToClose timeout, "
			"giving up retrying",
			TIMEOUT_TYPE(SCHEDULE_TO_CLOSE));
	failure->timeout_failure_info->last_heartbeat_details =
		pb_unpack(t->arena, &COMMON_FN(payloads__descriptor), a->heartbeat_details);
	failure->cause = pb_unpack(t->arena, &FAILURE_FN(failure__descriptor), a->last_failure);

	HISTORY(HistoryEvent) *e = activity_end(t, a, EVENT(ACTIVITY_TASK_TIMED_OUT));
	e->activity_task_timed_out_event_attributes->scheduled_event_id = a->scheduled_event_id;
	e->activity_task_timed_out_event_attributes->failure = failure;
	e->activity_task_timed_out_event_attributes->retry_state = state;
	return true;
}

/* From now on it is offered to workers, which is no event. */
static void attempt_due(struct txn *t, const struct due *due)
{
	const Perdure__ActivityInfo *a = txn_activity(t, due->event_id);
	if (a && a->attempt == due->attempt)
		txn_activity_put(t, due->event_id)->retry_not_before_ns = 0;
}

static bool workflow_task_due(struct txn *t)
{
	if (txn_workflow_task_started(t))
		workflow_task_timed_out(t);
	else
		workflow_task_sticky_timed_out(t);
	return true;
}

struct err core_on_time(struct txn *t, int64_t grace_ns)
{
	if (!txn_open(t))
		return err_ok;
	struct due_list l = collect(t, grace_ns);
	bool tell = false;
	for (size_t i = 0; i < l.count; i++) {
		const struct due *due = &l.items[i];
		switch (due->kind) {
		case DUE_TIMER:
			tell |= timer_fired(t, due);
			break;
		case DUE_ACTIVITY:
			tell |= activity_timed_out(t, due);
			break;
		case DUE_ATTEMPT:
			attempt_due(t, due);
			break;
		case DUE_WORKFLOW_TASK:
			tell |= workflow_task_due(t);
			break;
		case DUE_FIRST_WORKFLOW_TASK:
			workflow_task_first_due(t);
			break;
		case DUE_RUN:
			/* What was due before was to be told, had there been time. */
			if (tell)
				core_schedule_workflow_task(t);
			return close_timed_out(t);
		}
	}
	if (tell)
		core_schedule_workflow_task(t);
	return err_ok;
}
