/*
 * Why a run isn't progressing, in one sentence: the first of what it waits for, in the order in which somebody would
 * ask. A task that wants for a worker is named with its queue: whether anybody polls that, matching knows.
 */
#include "services/history/admin/admin.h"
#include "services/history/shard/dispatch.h"

struct why {
	const struct cached_run *r;
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

static bool workflow_task(struct why *y)
{
	const struct run *run = y->r->run;
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	if (!w && run->exec->first_workflow_task_backoff_deadline_ns > y->now_ns) {
		y->reason = "start_delayed";
		y->text = arena_printf(y->arena, "its first workflow task is not due before %s",
				       at(y, run->exec->first_workflow_task_backoff_deadline_ns));
		return true;
	}
	if (!w)
		return false;
	const char *failed = w->attempt > 1 ? arena_printf(y->arena, " (attempt %d)", w->attempt) : "";
	if (run_workflow_task_waits(w)) {
		const char *name = w->sticky ? run->exec->sticky_task_queue : run->start->task_queue;
		set_queue(y, name, w->sticky, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW, w->scheduled_time_ns);
		y->reason = "workflow_task_waits";
		y->text = arena_printf(y->arena, "its workflow task%s waits since %s for a worker on queue %s%s",
				       failed, at(y, w->scheduled_time_ns), w->sticky ? "(sticky) " : "", name);
		return true;
	}
	y->reason = "workflow_task_started";
	y->text = arena_printf(y->arena, "its workflow task%s was started by %s at %s and times out at %s", failed,
			       w->identity, at(y, w->started_time_ns), at(y, run_workflow_task_deadline(w)));
	return true;
}

/* The more, the sooner somebody should look. */
static int urgency(const Perdure__ActivityInfo *a, int64_t now_ns)
{
	if (a->paused)
		return 4;
	if (a->started_time_ns)
		return 1;
	return a->retry_not_before_ns > now_ns ? 2 : 3;
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
		int64_t out = min_i64(d.start_to_close, min_i64(d.heartbeat, d.schedule_to_close));
		y->reason = "activity_started";
		y->text = arena_printf(y->arena, "%s was started by %s at %s%s%s and times out at %s", id,
				       a->started_identity, at(y, a->started_time_ns),
				       a->last_heartbeat_time_ns ? ", last heartbeat " : "",
				       a->last_heartbeat_time_ns ? at(y, a->last_heartbeat_time_ns) : "", at(y, out));
	} else if (a->retry_not_before_ns > y->now_ns) {
		y->reason = "activity_backoff";
		y->text = arena_printf(y->arena, "%s is in backoff until %s", id, at(y, a->retry_not_before_ns));
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
		y->text = arena_printf(y->arena, "it waits for timer %s, which fires at %s", first->timer_id,
				       at(y, first->fire_time_ns));
		return;
	}
	int64_t end = run_wake_at(run);
	y->reason = "signal";
	y->text = end == INT64_MAX
			  ? "it waits for a signal: nothing that it began is pending"
			  : arena_printf(y->arena, "it waits for a signal; without one it times out at %s", at(y, end));
}

json_t *admin_why(const struct cached_run *r)
{
	struct why y = {.r = r, .arena = arena_new(SIZE_MAX), .now_ns = env_wall_ns(r->wf->shard->h->env)};
	const Perdure__RunExec *x = r->run->exec;
	if (!run_open(r->run)) {
		y.reason = "closed";
		y.text = arena_printf(y.arena, "it is closed: %s since %s", admin_status(x->status),
				      at(&y, x->close_time_ns));
	} else if (!workflow_task(&y) && !activities(&y)) {
		timer_or_signal(&y);
	}
	json_t *v = json_pack("{s:s, s:s, s:o}", "reason", y.reason, "why", y.text, "queue",
			      y.queue ? y.queue : json_null());
	arena_free(y.arena);
	return v;
}
