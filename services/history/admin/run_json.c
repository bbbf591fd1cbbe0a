/*
 * One run as its shard has it in memory.
 */
#include <temporal/api/enums/v1/workflow.pb-c.h>
#include <time.h>

#include "services/history/admin/admin.h"

const char *admin_time(struct arena *a, int64_t ns)
{
	if (ns <= 0 || ns == INT64_MAX)
		return NULL;
	time_t s = (time_t)(ns / NS_PER_S);
	struct tm tm;
	char text[32];
	gmtime_r(&s, &tm);
	strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
	return arena_printf(a, "%s.%03dZ", text, (int)(ns % NS_PER_S / NS_PER_MS));
}

const char *admin_status(int32_t status)
{
	static const char *const names[] = {"Unspecified", "Running",	     "Completed", "Failed", "Canceled",
					    "Terminated",  "ContinuedAsNew", "TimedOut",  "Paused"};
	return status >= 0 && (size_t)status < array_len(names) ? names[status] : "Unknown";
}

static json_t *workflow_task_json(struct arena *a, const struct run *run)
{
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	if (!w)
		return json_null();
	return json_pack("{s:I, s:I, s:i, s:s?, s:s?, s:s, s:s?, s:b, s:b, s:I, s:b}", "scheduled_event_id",
			 (json_int_t)w->scheduled_event_id, "started_event_id", (json_int_t)w->started_event_id,
			 "attempt", (int)w->attempt, "scheduled", admin_time(a, w->scheduled_time_ns), "started",
			 admin_time(a, w->started_time_ns), "identity", w->identity, "times_out",
			 admin_time(a, run_workflow_task_deadline(w)), "sticky", w->sticky, "waits_for_worker",
			 run_workflow_task_waits(w), "stamp", (json_int_t)w->stamp, "offered",
			 run->offered_workflow_task_stamp == w->stamp);
}

static json_t *activity_json(struct arena *a, const struct run_activity *x)
{
	const Perdure__ActivityInfo *i = x->info;
	struct activity_deadlines d = run_activity_deadlines(i);
	int64_t times_out =
		min_i64(min_i64(d.schedule_to_close, d.schedule_to_start), min_i64(d.start_to_close, d.heartbeat));
	return json_pack("{s:s, s:s, s:s, s:I, s:i, s:s?, s:s?, s:s, s:s?, s:s?, s:s?, s:b, s:b, s:I, s:b}",
			 "activity_id", i->activity_id, "type", i->activity_type, "task_queue", i->task_queue,
			 "scheduled_event_id", (json_int_t)i->scheduled_event_id, "attempt", (int)i->attempt,
			 "scheduled", admin_time(a, i->scheduled_time_ns), "started", admin_time(a, i->started_time_ns),
			 "identity", i->started_identity, "last_heartbeat", admin_time(a, i->last_heartbeat_time_ns),
			 "backoff_until", admin_time(a, i->retry_not_before_ns), "times_out", admin_time(a, times_out),
			 "cancel_requested", i->cancel_requested, "paused", i->paused, "stamp", (json_int_t)i->stamp,
			 "offered", x->offered_stamp == i->stamp);
}

static json_t *activities_json(struct arena *a, const struct run *run)
{
	json_t *list = json_array();
	for (const struct run_activity *x = run->activities; x; x = x->hh.next)
		json_array_append_new(list, activity_json(a, x));
	return list;
}

static json_t *timers_json(struct arena *a, const struct run *run)
{
	json_t *list = json_array();
	for (const struct run_timer *t = run->timers; t; t = t->hh.next)
		json_array_append_new(list, json_pack("{s:s, s:s?, s:I}", "timer_id", t->info->timer_id, "fires",
						      admin_time(a, t->info->fire_time_ns), "started_event_id",
						      (json_int_t)t->info->started_event_id));
	return list;
}

/* Where its truth is: in the journal, in its row, on its way there. */
static json_t *storage_json(const struct cached_run *r)
{
	const struct shard *s = r->wf->shard;
	return json_pack("{s:i, s:I, s:I, s:I, s:I, s:I, s:b, s:b, s:I}", "shard", (int)s->id, "epoch",
			 (json_int_t)s->epoch, "seq", (json_int_t)r->seq, "stored_seq", (json_int_t)r->stored_seq,
			 "dirty_since", (json_int_t)r->dirty_since, "stored_last_event_id",
			 (json_int_t)r->stored_last_event_id, "folding", r->folding, "committed", r->seq <= s->last_seq,
			 "cache_bytes", (json_int_t)r->counted_bytes);
}

json_t *admin_run(const struct cached_run *r, struct bytes recent)
{
	const struct run *run = r->run;
	const Perdure__RunExec *x = run->exec;
	struct arena *a = arena_new(SIZE_MAX);
	json_t *v = json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:s, s:s?, s:s?, s:I, s:I, s:b, s:I, s:s?, s:b, s:o, s:o, s:o, s:o, s:o}",
		"namespace_id", run->start->namespace_id, "workflow_id", run->start->workflow_id, "run_id",
		run->start->run_id, "type", run->start->workflow_type, "status", admin_status(x->status), "task_queue",
		run->start->task_queue, "started", admin_time(a, run->start->start_time_ns), "closed",
		admin_time(a, x->close_time_ns), "events", (json_int_t)(x->next_event_id - 1), "history_bytes",
		(json_int_t)x->history_size_bytes, "cancel_requested", x->cancel_requested, "buffered_events",
		(json_int_t)run->buffered_count, "wake_at", admin_time(a, run_wake_at(run)), "in_unstarted",
		r->in_unstarted, "workflow_task", workflow_task_json(a, run), "activities", activities_json(a, run),
		"timers", timers_json(a, run), "storage", storage_json(r), "why", admin_why(r, recent));
	arena_free(a);
	return v;
}
