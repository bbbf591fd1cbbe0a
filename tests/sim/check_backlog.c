/*
 * Invariants of the backlog: a run that is not in memory has rows of its tasks, and its shard's owner will come upon
 * every row.
 */
#include "services/history/shard/backlog.h"
#include "tests/sim/check.h"

static struct shard *owner_of(struct sim_cluster *c, uint32_t shard)
{
	for (size_t i = 0; i < c->node_count; i++) {
		const struct sim_node *n = &c->nodes[i];
		struct shard *s = n->running && n->history ? n->history->shards[shard] : NULL;
		if (s && s->state == SHARD_SERVING && !s->fold_under_way && !s->open && !s->inflight)
			return s;
	}
	return NULL;
}

static bool in_memory(const struct shard *s, const struct store_task *t)
{
	struct backlog_run *run = NULL;
	HASH_FIND_STR(s->backlog_runs, t->run_id, run);
	for (const struct backlog_task *b = run ? run->tasks : NULL; b; b = b->next_of_run)
		if (b->key.event_id == t->event_id && b->key.stamp == t->stamp)
			return true;
	return false;
}

static bool will_be_read(struct shard *s, const struct store_task *t)
{
	Perdure__QueueKey key = PERDURE__QUEUE_KEY__INIT;
	key.namespace_id = (char *)t->namespace_id;
	key.name = (char *)t->queue;
	key.pollers = (Perdure__TaskKind)t->kind;
	const struct task_queue *q = queues_find(s->h, &key);
	const struct shard_queue *sq = q ? backlog_queue_find(q, s->id) : NULL;
	const struct backlog_key k = {t->priority, t->scheduled_ns, t->run_id, t->event_id, t->stamp};
	return sq && sq->unread && (!sq->from.run_id || backlog_key_order(&k, &sq->from) >= 0);
}

static void check_row(void *ctx, const struct store_task *t)
{
	struct sim_cluster *c = ctx;
	struct shard *s = owner_of(c, t->shard);
	if (s && !in_memory(s, t) && !will_be_read(s, t))
		sim_violation(c, "%s: its row of event %lld is forgotten", t->workflow_id, (long long)t->event_id);
}

struct row_search {
	const char *run_id;
	int64_t event_id, stamp;
	bool found;
};

static void compare(void *ctx, const struct store_task *t)
{
	struct row_search *f = ctx;
	f->found = f->found || (str_eq(t->run_id, f->run_id) && t->event_id == f->event_id && t->stamp == f->stamp);
}

static void check_task(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct sim_cluster *c = ctx;
	struct row_search f = {.run_id = task->run_id, .event_id = task->scheduled_event_id, .stamp = task->stamp};
	fake_db_each_task(c->db, compare, &f);
	if (!f.found)
		sim_violation(c, "%s: not in memory, and its task of event %lld for %s has no row", task->workflow_id,
			      (long long)task->scheduled_event_id, queue->name);
}

/* A little old, so that what has just become due is not asked for. */
static void check_cold(void *ctx, const struct store_run_row *row)
{
	struct sim_cluster *c = ctx;
	struct shard *s = row->open ? owner_of(c, row->shard) : NULL;
	struct run *run = NULL;
	if (!s || row->wake_at_ns <= env_wall_ns(s->h->env))
		return;
	struct workflow *wf = workflow_get(s, row->namespace_id, row->workflow_id);
	bool cold = !workflow_run(wf, row->run_id);
	workflow_put(wf);
	struct arena *a = arena_new(0);
	if (cold && !err_is(run_from_snapshot(a, row->snapshot, &run))) {
		core_tasks(run, row->start_time_ns, s->id, check_task, c);
		run_free(run);
	}
	arena_free(a);
}

void sim_check_backlog(struct sim_cluster *c)
{
	fake_db_each_task(c->db, check_row, c);
	fake_db_each_run(c->db, check_cold, c);
}
