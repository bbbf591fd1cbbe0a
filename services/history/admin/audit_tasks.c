/*
 * A run that is not in memory has a row in the backlog for each task that nobody has taken: else nobody ever will.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/mem/arena.h"
#include "services/history/admin/audit_impl.h"

#define PRIORITY_DEFAULT 3 /* as the backlog counts those that have none */
#define LATE_NS		 (30 * NS_PER_S)

struct audit_tasks {
	struct arena *arena;
	struct store_task *list;
	size_t count, cap, next;
	struct store_tasks page;
	uint32_t shard;
};

void audit_tasks_free(struct audit_tasks *t)
{
	if (t)
		arena_free(t->arena); /* it is in there */
}

static void collect(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct audit_tasks *t = ctx;
	if (t->count == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 8;
		struct store_task *list = arena_array(t->arena, struct store_task, cap);
		if (t->count)
			memcpy(list, t->list, t->count * sizeof *list);
		t->list = list;
		t->cap = cap;
	}
	t->list[t->count++] = (struct store_task){
		.shard = t->shard,
		.namespace_id = arena_strdup(t->arena, queue->namespace_id),
		.queue = arena_strdup(t->arena, queue->name),
		.kind = (int32_t)queue->pollers,
		.priority = task->priority_key > 0 ? task->priority_key : PRIORITY_DEFAULT,
		.scheduled_ns = task->scheduled_time_ns,
		.run_id = arena_strdup(t->arena, task->run_id),
		.event_id = task->scheduled_event_id,
		.stamp = task->stamp,
	};
}

struct audit_tasks *audit_tasks_of(const struct shard *s, const struct run *run)
{
	struct arena *arena = arena_new(SIZE_MAX);
	struct audit_tasks *t = arena_new0(arena, struct audit_tasks);
	*t = (struct audit_tasks){.arena = arena, .shard = s->id};
	/* What became due just now has no row yet. */
	core_tasks(run, env_wall_ns(s->h->env) - LATE_NS, s->id, collect, t);
	return t;
}

static void on_page(void *ctx, struct err e, const struct store_task *tasks, size_t count)
{
	struct auditor *a = ctx;
	struct audit_look *l = &a->turn->looks[a->turn->look_next];
	struct audit_tasks *t = l->tasks;
	const struct store_task *want = &t->list[t->next++];
	bool there = count && str_eq(tasks[0].run_id, want->run_id) && tasks[0].event_id == want->event_id &&
		     tasks[0].stamp == want->stamp;
	if (!err_is(e) && !there) {
		const char *text = arena_printf(
			t->arena, "it is not in memory, and its task of event %" PRId64 " for %s is not in the backlog",
			want->event_id, want->queue);
		findings_add(&l->found, AUDIT_NOT_OFFERED, l->workflow_id, l->run_id, text);
	}
	audit_tasks(a);
}

void audit_tasks(struct auditor *a)
{
	struct audit_look *l = &a->turn->looks[a->turn->look_next];
	struct audit_tasks *t = l->tasks;
	if (!t || t->next == t->count) {
		audit_look_ends(a);
		return;
	}
	t->page = (struct store_tasks){.from = t->list[t->next], .limit = 1};
	store_load_tasks(a->h->store, &t->page, on_page, a);
}
