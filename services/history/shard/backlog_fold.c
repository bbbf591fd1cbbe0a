/*
 * What a fold does to the backlog's rows: those of the runs in it are made right, and rows that nobody needs go.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/backlog.h"

struct listing {
	struct backlog_fold *f;
	struct shard *shard;
	struct buf *out; /* of the snapshot */
	bool all;
};

static void grow(struct store_task **rows, struct backlog_task ***tasks, size_t count, size_t *cap)
{
	if (count < *cap)
		return;
	*cap = *cap ? *cap * 2 : 64;
	*rows = mem_realloc(*rows, *cap * sizeof **rows);
	*tasks = mem_realloc(*tasks, *cap * sizeof(struct backlog_task *));
}

/* The strings are copied: the tasks may go, with their shard, while the store reads them. */
static struct store_task row_of(struct arena *a, const struct backlog_task *t)
{
	const Perdure__QueueKey *queue = t->sq->q->queue;
	return (struct store_task){
		.shard = t->sq->shard->id,
		.namespace_id = arena_strdup(a, queue->namespace_id),
		.queue = arena_strdup(a, queue->name),
		.kind = (int32_t)queue->pollers,
		.priority = t->key.priority,
		.scheduled_ns = t->key.scheduled_ns,
		.run_id = arena_strdup(a, t->key.run_id),
		.event_id = t->key.event_id,
		.stamp = t->key.stamp,
		.workflow_id = arena_strdup(a, t->run->workflow_id),
		.attempt = t->attempt,
		.expires_ns = t->expires_ns,
		.fairness_key = arena_strdup(a, t->text),
		.fairness_weight = (int32_t)(t->weight * 1000),
	};
}

static void list_task(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct listing *l = ctx;
	struct backlog_fold *f = l->f;
	if (queue->sticky) { /* it doesn't wait long, and is offered anew if the shard moves meanwhile */
		l->all = false;
		return;
	}
	struct backlog_task *t = backlog_task_of(l->shard, queue, task);
	Perdure__ListedTask listed = PERDURE__LISTED_TASK__INIT;
	Perdure__QueueKey short_queue = *queue;
	Perdure__DispatchTask short_task = *task;
	/* The run says the rest. */
	short_queue.namespace_id = short_task.namespace_id = short_task.workflow_id = short_task.run_id = "";
	listed.queue = &short_queue;
	listed.task = &short_task;
	size_t len = perdure__listed_task__get_packed_size(&listed);
	uint8_t *packed = mem_alloc(len + 1);
	perdure__listed_task__pack(&listed, packed);
	buf_put_field(l->out, BACKLOG_LISTED_TAG >> 3, bytes_of(packed, len));
	free(packed);
	if (t->row == BACKLOG_ROW_STORED)
		return;
	t->row = BACKLOG_ROW_MAYBE;
	grow(&f->rows, &f->tasks, f->count, &f->cap);
	f->rows[f->count] = row_of(f->strings, t);
	f->tasks[f->count++] = t;
}

bool backlog_fold_run(struct backlog_fold *f, struct cached_run *r, struct buf *snapshot)
{
	struct shard *s = r->wf->shard;
	struct listing l = {.f = f, .shard = s, .out = snapshot, .all = true};
	core_tasks(r->run, env_wall_ns(s->h->env), s->id, list_task, &l);
	return l.all;
}

/* What took the task is committed, and either folded now or not in memory any more; else it goes with its run's fold:
 * until then the run's stored snapshot names it. */
static bool may_go(const struct backlog_task *t)
{
	const struct cached_run *r = t->run->cached;
	return !r || !r->dirty_since || r->folding;
}

void backlog_fold_gone(struct backlog_fold *f, struct shard *s)
{
	struct backlog_task *t;
	DL_FOREACH (s->backlog_gone, t) {
		if (!may_go(t))
			continue;
		grow(&f->gone_rows, &f->gone, f->gone_count, &f->gone_cap);
		f->gone_rows[f->gone_count] = row_of(f->strings, t);
		f->gone[f->gone_count++] = t;
	}
}

void backlog_folded(struct backlog_fold *f)
{
	for (size_t i = 0; i < f->count; i++)
		if (f->tasks[i]->row == BACKLOG_ROW_MAYBE)
			backlog_row_set(f->tasks[i], BACKLOG_ROW_STORED);
	for (size_t i = 0; i < f->gone_count; i++)
		backlog_row_set(f->gone[i], BACKLOG_ROW_NONE);
}

void backlog_fold_done(struct backlog_fold *f)
{
	free(f->rows);
	free(f->tasks);
	free(f->gone_rows);
	free(f->gone);
}
