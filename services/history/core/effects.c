/*
 * What a run's state says must be with matching.
 */
#include "services/history/core/activity.h"
#include "services/history/core/core.h"
#include "services/history/core/pbmsg.h"

struct offer {
	const struct run *run;
	uint32_t shard;
	struct arena *arena; /* of fairness keys; NULL until there is one */
	core_offer_fn *fn;
	void *ctx;
};

static struct arena *arena_of(struct offer *o)
{
	if (!o->arena)
		o->arena = arena_new(0);
	return o->arena;
}

static void set_priority(Perdure__DispatchTask *task, const Temporal__Api__Common__V1__Priority *p)
{
	if (!p)
		return;
	task->priority_key = p->priority_key;
	task->fairness_key = p->fairness_key;
	task->fairness_weight = p->fairness_weight;
}

static Perdure__DispatchTask new_task(struct offer *o, Perdure__TaskKind kind)
{
	Perdure__DispatchTask task = PERDURE__DISPATCH_TASK__INIT;
	task.kind = kind;
	task.namespace_id = o->run->start->namespace_id;
	task.workflow_id = o->run->start->workflow_id;
	task.run_id = o->run->start->run_id;
	task.shard = o->shard;
	return task;
}

static void offer_workflow_task(struct offer *o)
{
	const Perdure__WorkflowTask *w = o->run->exec->workflow_task;
	Perdure__QueueKey queue = PERDURE__QUEUE_KEY__INIT;
	queue.namespace_id = o->run->start->namespace_id;
	queue.pollers = PERDURE__TASK_KIND__TASK_KIND_WORKFLOW;
	queue.sticky = w->sticky;
	queue.name = w->sticky ? o->run->exec->sticky_task_queue : o->run->start->task_queue;
	queue.normal_name = o->run->start->task_queue;
	Perdure__DispatchTask task = new_task(o, PERDURE__TASK_KIND__TASK_KIND_WORKFLOW);
	task.scheduled_event_id = w->scheduled_event_id;
	task.stamp = w->stamp;
	task.attempt = w->attempt;
	task.scheduled_time_ns = w->scheduled_time_ns;
	task.expires_ns = w->schedule_to_start_deadline_ns;
	if (o->run->start->priority.len)
		set_priority(&task, pb_unpack(arena_of(o), &temporal__api__common__v1__priority__descriptor,
					      o->run->start->priority));
	o->fn(o->ctx, &queue, &task);
}

static void offer_activity(struct offer *o, const Perdure__ActivityInfo *a)
{
	Perdure__QueueKey queue = PERDURE__QUEUE_KEY__INIT;
	queue.namespace_id = o->run->start->namespace_id;
	queue.pollers = PERDURE__TASK_KIND__TASK_KIND_ACTIVITY;
	queue.name = a->task_queue;
	queue.normal_name = a->task_queue;
	Perdure__DispatchTask task = new_task(o, PERDURE__TASK_KIND__TASK_KIND_ACTIVITY);
	task.scheduled_event_id = a->scheduled_event_id;
	task.stamp = a->stamp;
	task.attempt = a->attempt;
	task.scheduled_time_ns = a->scheduled_time_ns;
	struct activity_deadlines d = run_activity_deadlines(a);
	int64_t expires = min_i64(d.schedule_to_start, d.schedule_to_close);
	task.expires_ns = expires == INT64_MAX ? 0 : expires;
	if (o->run->start->priority.len || a->priority.len)
		set_priority(&task, activity_priority(arena_of(o), o->run->start, a));
	o->fn(o->ctx, &queue, &task);
}

/* Not paused, not in its backoff, with nobody. */
static bool activity_waits(const Perdure__ActivityInfo *a, int64_t now_ns)
{
	return !a->paused && a->started_time_ns == 0 && a->retry_not_before_ns <= now_ns;
}

void core_tasks(const struct run *run, int64_t now_ns, uint32_t shard, core_offer_fn *fn, void *ctx)
{
	if (!run_open(run) || run->deleted)
		return;
	struct offer o = {.run = run, .shard = shard, .fn = fn, .ctx = ctx};
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	if (w && run_workflow_task_waits(w))
		offer_workflow_task(&o);
	for (const struct run_activity *a = run->activities; a; a = a->hh.next)
		if (activity_waits(a->info, now_ns))
			offer_activity(&o, a->info);
	arena_free(o.arena);
}

void core_offers(struct run *run, int64_t now_ns, uint32_t shard, bool mark, core_offer_fn *fn, void *ctx)
{
	if (!run_open(run))
		return;
	struct offer o = {.run = run, .shard = shard, .fn = fn, .ctx = ctx};
	const Perdure__WorkflowTask *w = run->exec->workflow_task;
	if (w && run_workflow_task_waits(w) && run->offered_workflow_task_stamp != w->stamp) {
		offer_workflow_task(&o);
		if (mark)
			run->offered_workflow_task_stamp = w->stamp;
	}
	for (struct run_activity *a = run->activities; a; a = a->hh.next) {
		if (!activity_waits(a->info, now_ns) || a->offered_stamp == a->info->stamp)
			continue;
		offer_activity(&o, a->info);
		if (mark)
			a->offered_stamp = a->info->stamp;
	}
	arena_free(o.arena);
}

bool core_task_waits(const struct run *run, Perdure__TaskKind kind, int64_t scheduled_event_id, int64_t stamp)
{
	if (!run_open(run) || run->deleted)
		return false;
	if (kind == PERDURE__TASK_KIND__TASK_KIND_WORKFLOW) {
		const Perdure__WorkflowTask *w = run->exec->workflow_task;
		return w && run_workflow_task_waits(w) && w->scheduled_event_id == scheduled_event_id &&
		       w->stamp == stamp;
	}
	const struct run_activity *a = run_find_activity(run, scheduled_event_id);
	return a && !a->info->paused && a->info->started_time_ns == 0 && a->info->stamp == stamp;
}

void core_offers_forget(struct run *run)
{
	run->offered_workflow_task_stamp = 0;
	for (struct run_activity *a = run->activities; a; a = a->hh.next)
		a->offered_stamp = 0;
}
