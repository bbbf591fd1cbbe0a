/*
 * Scheduling workflow tasks, and which queue they go to.
 */
#include "services/history/core/workflow_task.h"

#include <math.h>

#include "services/history/core/errors.h"
#include "services/history/core/pbmsg.h"
#include "services/history/core/pbtime.h"
#include "services/history/core/validate.h"

/* From this attempt on a worker gets more and more time: its failures may come from being too slow. */
#define BACKOFF_AFTER_ATTEMPT 3
#define BACKOFF_INITIAL_NS    (5 * NS_PER_S)

static int64_t start_to_close_ns(struct txn *t, int32_t attempt)
{
	int64_t timeout = t->start->task_timeout_ns;
	if (attempt <= BACKOFF_AFTER_ATTEMPT)
		return timeout;
	double more = (double)BACKOFF_INITIAL_NS * pow(2, attempt - BACKOFF_AFTER_ATTEMPT - 1);
	more = fmin(more, (double)t->config->workflow_task_retry_max_interval_ns);
	/* A fifth of it is left to chance, so that tasks that failed together don't come back together. */
	double chance = (double)(txn_random_u64(t) >> 11) / (double)(1ULL << 53);
	return time_add_ns(timeout, (int64_t)(more * (0.8 + 0.2 * chance)));
}

static TASK_QUEUE(TaskQueue) *queue_new(struct arena *a, const char *name, bool sticky, const char *normal_name)
{
	TASK_QUEUE(TaskQueue) *q = pb_new0(a, TASK_QUEUE(TaskQueue), TASK_QUEUE_FN(task_queue));
	q->name = arena_strdup(a, name);
	q->kind = sticky ? QUEUE_KIND(STICKY) : QUEUE_KIND(NORMAL);
	if (sticky)
		q->normal_name = arena_strdup(a, normal_name);
	return q;
}

TASK_QUEUE(TaskQueue) *workflow_task_normal_queue(struct txn *t)
{
	return queue_new(t->arena, t->start->task_queue, false, NULL);
}

TASK_QUEUE(TaskQueue) *workflow_task_queue(struct txn *t)
{
	const char *sticky = txn_peek(t)->sticky_task_queue;
	return str_empty(sticky) ? workflow_task_normal_queue(t)
				 : queue_new(t->arena, sticky, true, t->start->task_queue);
}

void workflow_task_clear_sticky(struct txn *t)
{
	if (str_empty(txn_peek(t)->sticky_task_queue))
		return;
	Perdure__RunExec *exec = txn_exec(t);
	exec->sticky_task_queue = NULL;
	exec->sticky_timeout_ns = 0;
}

/* The event of a task as it stands: first attempts when scheduled, transient ones later. */
HISTORY(HistoryEvent) *workflow_task_scheduled_event(struct txn *t, int64_t time_ns)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	HISTORY(HistoryEvent) *e = txn_event(t, EVENT(WORKFLOW_TASK_SCHEDULED));
	e->event_time = pb_timestamp(t->arena, time_ns);
	e->workflow_task_scheduled_event_attributes->task_queue = workflow_task_queue(t);
	e->workflow_task_scheduled_event_attributes->start_to_close_timeout = pb_duration(t->arena, w->timeout_ns);
	e->workflow_task_scheduled_event_attributes->attempt = w->attempt;
	return e;
}

static void schedule(struct txn *t, int64_t original_scheduled_ns)
{
	assert(txn_open(t));
	Perdure__RunExec *exec = txn_exec(t);
	if (exec->workflow_task)
		return;
	exec->first_workflow_task_backoff_deadline_ns = 0;
	/* What came meanwhile is new to the worker: no attempt at the same thing. */
	if (txn_buffered_count(t)) {
		exec->workflow_task_attempt = 1;
		txn_flush(t);
	}
	int32_t attempt = exec->workflow_task_attempt > 1 ? exec->workflow_task_attempt : 1;
	Perdure__WorkflowTask *w = txn_workflow_task_put(t);
	w->attempt = attempt;
	w->kind = attempt > 1 ? PERDURE__WORKFLOW_TASK__KIND__TRANSIENT : PERDURE__WORKFLOW_TASK__KIND__NORMAL;
	w->scheduled_time_ns = t->now_ns;
	w->original_scheduled_time_ns = original_scheduled_ns;
	w->timeout_ns = start_to_close_ns(t, attempt);
	w->stamp = txn_next_stamp(t);
	w->sticky = !str_empty(exec->sticky_task_queue);
	if (w->sticky)
		w->schedule_to_start_deadline_ns = time_add_ns(
			t->now_ns, exec->sticky_timeout_ns > 0 ? exec->sticky_timeout_ns
							       : t->config->sticky_schedule_to_start_default_ns);
	w->scheduled_event_id =
		attempt > 1 ? exec->next_event_id : workflow_task_scheduled_event(t, t->now_ns)->event_id;
}

void workflow_task_schedule(struct txn *t)
{
	schedule(t, t->now_ns);
}

void workflow_task_schedule_heartbeat(struct txn *t, int64_t original_scheduled_ns)
{
	schedule(t, original_scheduled_ns);
}

void core_schedule_workflow_task(struct txn *t)
{
	if (txn_open(t) && txn_peek(t)->first_workflow_task_backoff_deadline_ns == 0)
		workflow_task_schedule(t);
}

void workflow_task_first_due(struct txn *t)
{
	workflow_task_schedule(t);
}

/* ------------------------------------------------------------------ the sticky queue's end */

/* A scheduled task that waits on the sticky queue waits on the normal one from now on. */
static void move_to_normal(struct txn *t)
{
	const Perdure__WorkflowTask *w = txn_workflow_task(t);
	workflow_task_clear_sticky(t);
	if (!w || !w->sticky || !run_workflow_task_waits(w))
		return;
	Perdure__WorkflowTask *put = txn_workflow_task_put(t);
	put->sticky = false;
	put->schedule_to_start_deadline_ns = 0;
	put->stamp = txn_next_stamp(t);
}

void core_sticky_lost(struct txn *t)
{
	if (txn_open(t))
		move_to_normal(t);
}

struct err core_reset_sticky_validate(const WS(ResetStickyTaskQueueRequest) *req)
{
	return validate_execution(req->execution);
}

struct err core_reset_sticky(struct txn *t)
{
	if (!txn_open(t))
		return core_not_found(t->arena, WORKFLOW_COMPLETED_TEXT);
	move_to_normal(t);
	return err_ok;
}
