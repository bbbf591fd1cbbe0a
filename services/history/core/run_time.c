/*
 * What a run waits for: its deadlines, and the tasks that a worker must take.
 */
#include "services/history/core/pbtime.h"
#include "services/history/core/run.h"

static int64_t deadline(int64_t from_ns, int64_t timeout_ns)
{
	return timeout_ns > 0 ? time_add_ns(from_ns, timeout_ns) : INT64_MAX;
}

struct activity_deadlines run_activity_deadlines(const Perdure__ActivityInfo *a)
{
	struct activity_deadlines d = {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX};
	if (a->paused)
		return d;
	d.schedule_to_close = a->expiration_ns > 0 ? a->expiration_ns : INT64_MAX;
	if (a->started_time_ns > 0) {
		d.start_to_close = deadline(a->started_time_ns, a->start_to_close_ns);
		d.heartbeat = deadline(max_i64(a->started_time_ns, a->last_heartbeat_time_ns), a->heartbeat_timeout_ns);
	} else {
		d.schedule_to_start = deadline(a->scheduled_time_ns, a->schedule_to_start_ns);
		if (a->retry_not_before_ns > 0)
			d.backoff = a->retry_not_before_ns;
	}
	return d;
}

int64_t run_workflow_task_deadline(const Perdure__WorkflowTask *w)
{
	if (w->started_event_id)
		return deadline(w->started_time_ns, w->timeout_ns);
	return w->schedule_to_start_deadline_ns > 0 ? w->schedule_to_start_deadline_ns : INT64_MAX;
}

bool run_workflow_task_waits(const Perdure__WorkflowTask *w)
{
	return w->started_event_id == 0 || str_empty(w->request_id);
}

static int64_t activities_wake_at(const struct run *r)
{
	int64_t at = INT64_MAX;
	for (const struct run_activity *a = r->activities; a; a = a->hh.next) {
		struct activity_deadlines d = run_activity_deadlines(a->info);
		at = min_i64(at, min_i64(d.schedule_to_close, d.schedule_to_start));
		at = min_i64(at, min_i64(d.start_to_close, d.heartbeat));
		at = min_i64(at, d.backoff);
	}
	return at;
}

int64_t run_wake_at(const struct run *r)
{
	if (!run_open(r))
		return INT64_MAX;
	int64_t at = activities_wake_at(r);
	for (const struct run_timer *t = r->timers; t; t = t->hh.next)
		at = min_i64(at, t->info->fire_time_ns);
	const Perdure__WorkflowTask *w = r->exec->workflow_task;
	if (w)
		at = min_i64(at, run_workflow_task_deadline(w));
	if (r->exec->first_workflow_task_backoff_deadline_ns > 0)
		at = min_i64(at, r->exec->first_workflow_task_backoff_deadline_ns);
	if (r->start->run_deadline_ns > 0)
		at = min_i64(at, r->start->run_deadline_ns);
	if (r->start->execution_deadline_ns > 0)
		at = min_i64(at, r->start->execution_deadline_ns);
	return at;
}

bool run_has_unstarted_task(const struct run *r, int64_t now_ns)
{
	if (!run_open(r))
		return false;
	const Perdure__WorkflowTask *w = r->exec->workflow_task;
	if (w && run_workflow_task_waits(w))
		return true;
	for (const struct run_activity *a = r->activities; a; a = a->hh.next)
		if (!a->info->paused && a->info->started_time_ns == 0 && a->info->retry_not_before_ns <= now_ns)
			return true;
	return false;
}
