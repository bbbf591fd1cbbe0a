/*
 * Why a run isn't progressing, in one sentence: the first of what it waits for, in the order in which somebody would
 * ask. A task that wants for a worker is named with its queue: whether anybody polls that, matching knows.
 */
#include <temporal/api/enums/v1/failed_cause.pb-c.h>
#include <temporal/api/enums/v1/workflow.pb-c.h>
#include <temporal/api/failure/v1/message.pb-c.h>
#include <temporal/api/history/v1/message.pb-c.h>

#include "services/history/admin/admin.h"
#include "services/history/shard/dispatch.h"

struct why {
	const struct cached_run *r;
	struct bytes recent;
	struct arena *arena;
	int64_t now_ns;
	const char *reason, *text;
	json_t *queue;
};

static const char *at(struct why *y, int64_t ns)
{
	const char *t = admin_time(y->arena, ns);
	return t ? t : "never";
}

static void set_queue(struct why *y, const char *name, bool sticky, Perdure__TaskKind pollers, int64_t since_ns)
{
	struct history *h = y->r->wf->shard->h;
	Perdure__QueueKey key = PERDURE__QUEUE_KEY__INIT;
	key.namespace_id = y->r->run->start->namespace_id;
	key.name = (char *)name;
	key.pollers = pollers;
	key.sticky = sticky;
	const struct task_queue *q = queues_find(h, &key);
	uint32_t partition = q ? queues_partition(q, y->r->wf->shard) : 0;
	y->queue =
		json_pack("{s:s, s:s, s:s, s:b, s:i, s:s?, s:s?, s:b}", "namespace_id", key.namespace_id, "name", name,
			  "pollers", pollers == PERDURE__TASK_KIND__TASK_KIND_ACTIVITY ? "activity" : "workflow",
			  "sticky", sticky, "partition", (int)partition, "owner", q ? q->parts[partition].owner : NULL,
			  "since", admin_time(y->arena, since_ns), "history_keeps_it", backlog_covers(y->r));
}

/* ------------------------------------------------------------------ workflow tasks */

static const char *enum_name(const ProtobufCEnumDescriptor *d, int value, const char *prefix)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(d, value);
	return v && strncmp(v->name, prefix, strlen(prefix)) == 0 ? v->name + strlen(prefix) : "unknown";
}

/* What is known of the last workflow task that failed or ran out of time; "": nothing. */
static const char *last_failure(struct why *y)
{
	struct bytes rest = y->recent, one;
	const char *said = "";
	while (events_next(&rest, &one)) {
		Temporal__Api__History__V1__HistoryEvent *e =
			temporal__api__history__v1__history_event__unpack(arena_pb(y->arena), one.len, one.data);
		if (!e)
			continue;
		if (e->attributes_case ==
		    TEMPORAL__API__HISTORY__V1__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_TASK_TIMED_OUT_EVENT_ATTRIBUTES)
			said = ", the last one timed out";
		if (e->attributes_case !=
		    TEMPORAL__API__HISTORY__V1__HISTORY_EVENT__ATTRIBUTES_WORKFLOW_TASK_FAILED_EVENT_ATTRIBUTES)
			continue;
		const Temporal__Api__History__V1__WorkflowTaskFailedEventAttributes *f =
			e->workflow_task_failed_event_attributes;
		const char *text = f->failure && !str_empty(f->failure->message) ? f->failure->message : "";
		said = arena_printf(y->arena, ", failing with %s%s%.200s%s",
				    enum_name(&temporal__api__enums__v1__workflow_task_failed_cause__descriptor,
					      (int)f->cause, "WORKFLOW_TASK_FAILED_CAUSE_"),
				    *text ? " \"" : "", text, *text ? "\"" : "");
	}
	return said;
}

/* Why its first workflow task is not due yet. */
static const char *delayed_by(const struct run *run)
{
	const Perdure__RunStart *s = run->start;
	if (!str_empty(s->cron_schedule))
		return "by its cron schedule";
	if (s->attempt > 1)
		return "by its retry policy";
	return str_empty(s->continued_execution_run_id) ? "by the delay it was started with"
							: "by the backoff of the run before";
}

static bool workflow_task(struct why *y)
{
	const struct run *run = y->r->run;
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	int64_t first = run->exec->first_workflow_task_backoff_deadline_ns;
	if (!w && first > 0) {
		y->reason = "start_delayed";
		y->text = arena_printf(y->arena, "its first workflow task is held back until %s %s", at(y, first),
				       delayed_by(run));
		return true;
	}
	if (!w)
		return false;
	const char *failed = "", *buffered = "";
	if (w->attempt > 1)
		failed = arena_printf(y->arena, " (attempt %d%s)", w->attempt, last_failure(y));
	if (run->buffered_count)
		buffered = arena_printf(y->arena, "; %zu events wait for it to end", run->buffered_count);
	if (run_workflow_task_waits(w)) {
		const char *name = w->sticky ? run->exec->sticky_task_queue : run->start->task_queue;
		set_queue(y, name, w->sticky, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW, w->scheduled_time_ns);
		y->reason = w->attempt > 1 ? "workflow_task_fails" : "workflow_task_waits";
		y->text =
			arena_printf(y->arena, "its workflow task%s waits since %s for a worker on queue %s%s%s",
				     failed, at(y, w->scheduled_time_ns), w->sticky ? "(sticky) " : "", name, buffered);
		return true;
	}
	y->reason = w->attempt > 1 ? "workflow_task_fails" : "workflow_task_started";
	y->text = arena_printf(y->arena, "its workflow task%s was started by worker %s at %s and times out at %s%s",
			       failed, w->identity, at(y, w->started_time_ns), at(y, run_workflow_task_deadline(w)),
			       buffered);
	return true;
}

/* ------------------------------------------------------------------ activities */

/* The more, the sooner somebody should look. */
static int urgency(const Perdure__ActivityInfo *a, int64_t now_ns)
{
	if (a->paused)
		return 4;
	if (a->started_time_ns)
		return 1;
	return a->retry_not_before_ns > now_ns ? 2 : 3;
}

/* Of the attempt before. */
static const char *failed_with(struct why *y, const Perdure__ActivityInfo *a)
{
	if (!a->last_failure.len)
		return "";
	Temporal__Api__Failure__V1__Failure *f = temporal__api__failure__v1__failure__unpack(
		arena_pb(y->arena), a->last_failure.len, a->last_failure.data);
	return f ? arena_printf(y->arena, ", after it failed with \"%.200s\"", f->message) : "";
}

static const char *running_until(struct why *y, const Perdure__ActivityInfo *a, struct activity_deadlines d)
{
	int64_t out = min_i64(d.start_to_close, d.schedule_to_close);
	const char *last = a->last_heartbeat_time_ns ? arena_printf(y->arena, ", its last heartbeat was at %s",
								    at(y, a->last_heartbeat_time_ns))
						     : "";
	if (d.heartbeat < out)
		return arena_printf(y->arena, "%s, the next one is due before %s", *last ? last : ", without heartbeat",
				    at(y, d.heartbeat));
	if (out == INT64_MAX)
		return last;
	return arena_printf(y->arena, "%s and times out at %s", last, at(y, out));
}

static void one_activity(struct why *y, const Perdure__ActivityInfo *a)
{
	const char *id =
		arena_printf(y->arena, "activity %s (%s, attempt %d)", a->activity_id, a->activity_type, a->attempt);
	struct activity_deadlines d = run_activity_deadlines(a);
	if (a->paused) {
		y->reason = "activity_paused";
		y->text = arena_printf(y->arena, "%s is paused", id);
	} else if (a->started_time_ns) {
		y->reason = "activity_started";
		y->text = arena_printf(y->arena, "%s is running on worker %s since %s%s", id, a->started_identity,
				       at(y, a->started_time_ns), running_until(y, a, d));
	} else if (a->retry_not_before_ns > y->now_ns) {
		y->reason = "activity_backoff";
		y->text = arena_printf(y->arena, "%s is in backoff until %s%s", id, at(y, a->retry_not_before_ns),
				       failed_with(y, a));
	} else {
		set_queue(y, a->task_queue, false, PERDURE__TASK_KIND__TASK_KIND_ACTIVITY, a->scheduled_time_ns);
		y->reason = "activity_waits";
		y->text = arena_printf(y->arena, "%s waits since %s for a worker on queue %s", id,
				       at(y, a->scheduled_time_ns), a->task_queue);
	}
}

static bool activities(struct why *y)
{
	const Perdure__ActivityInfo *most = NULL;
	for (const struct run_activity *a = y->r->run->activities; a; a = a->hh.next)
		if (!most || urgency(a->info, y->now_ns) > urgency(most, y->now_ns))
			most = a->info;
	if (!most)
		return false;
	one_activity(y, most);
	unsigned others = HASH_COUNT(y->r->run->activities) - 1;
	if (others)
		y->text = arena_printf(y->arena, "%s; %u more %s pending", y->text, others,
				       others == 1 ? "activity is" : "activities are");
	return true;
}

static void timer_or_signal(struct why *y)
{
	const struct run *run = y->r->run;
	const Perdure__TimerInfo *first = NULL;
	for (const struct run_timer *t = run->timers; t; t = t->hh.next)
		if (!first || t->info->fire_time_ns < first->fire_time_ns)
			first = t->info;
	if (first) {
		y->reason = first->fire_time_ns <= y->now_ns ? "timer_due" : "timer";
		y->text = arena_printf(y->arena, "it waits for timer %s of %s", first->timer_id,
				       at(y, first->fire_time_ns));
		if (HASH_COUNT(run->timers) > 1)
			y->text = arena_printf(y->arena, "%s, the first of %u", y->text, HASH_COUNT(run->timers));
		return;
	}
	int64_t end = run_wake_at(run);
	y->reason = "signal";
	y->text = end == INT64_MAX
			  ? "it waits for a signal: nothing that it began is pending"
			  : arena_printf(y->arena, "it waits for a signal; without one it times out at %s", at(y, end));
}

static void closed(struct why *y)
{
	const Perdure__RunExec *x = y->r->run->exec;
	y->reason = "closed";
	y->text = arena_printf(y->arena, "it is closed: %s since %s", admin_status(x->status), at(y, x->close_time_ns));
	if (!str_empty(x->new_execution_run_id))
		y->text = arena_printf(y->arena, "%s, run %s follows it", y->text, x->new_execution_run_id);
}

json_t *admin_why(const struct cached_run *r, struct bytes recent)
{
	struct why y = {
		.r = r, .recent = recent, .arena = arena_new(SIZE_MAX), .now_ns = env_wall_ns(r->wf->shard->h->env)};
	if (!run_open(r->run)) {
		closed(&y);
	} else if (!workflow_task(&y) && !activities(&y)) {
		timer_or_signal(&y);
	}
	json_t *v = json_pack("{s:s, s:s, s:o}", "reason", y.reason, "why", y.text, "queue",
			      y.queue ? y.queue : json_null());
	arena_free(y.arena);
	return v;
}
