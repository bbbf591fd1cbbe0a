/*
 * The backlog: tasks that nobody has taken and matching has no room for. They are offered when matching asks for them
 * (PullTasks), best first: by priority, then age. While some of a partition wait here, later ones queue behind them
 * without being offered.
 *
 * A fold of a run writes a row for each of its tasks that nobody has taken, and names these in the snapshot; so the
 * rows of a run that is not in memory are right, and those of one that is are known. They go with a fold after what
 * took the task is committed. A row that is right no more (a fold of unknown outcome, a program that knows no rows)
 * does no harm: the task's start is refused, and then it goes too.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/history/shard/backlog.h"

#define PRIORITY_DEFAULT 3

static bool order_before(const struct heap_node *x, const struct heap_node *y)
{
	return backlog_key_order(&container_of(x, struct backlog_task, order)->key,
				 &container_of(y, struct backlog_task, order)->key) < 0;
}

static bool age_before(const struct heap_node *x, const struct heap_node *y)
{
	return container_of(x, struct backlog_task, age)->key.scheduled_ns <
	       container_of(y, struct backlog_task, age)->key.scheduled_ns;
}

struct backlog_task *backlog_first(const struct shard_queue *sq)
{
	struct heap_node *n = heap_min(&sq->by_order);
	return n ? container_of(n, struct backlog_task, order) : NULL;
}

/* ------------------------------------------------------------------ queues */

struct shard_queue *backlog_queue_find(const struct task_queue *q, uint32_t shard)
{
	struct shard_queue *sq = NULL;
	HASH_FIND_PTR(q->h->shards[shard]->backlog, &q, sq);
	return sq;
}

struct shard_queue *backlog_queue_get(struct shard *s, struct task_queue *q)
{
	struct shard_queue *sq = backlog_queue_find(q, s->id);
	if (sq)
		return sq;
	sq = new0(struct shard_queue);
	sq->shard = s;
	sq->q = q;
	heap_init(&sq->by_order, order_before);
	for (int i = 0; i < BACKLOG_PRIORITIES; i++)
		heap_init(&sq->by_age[i], age_before);
	HASH_ADD_PTR(s->backlog, q, sq);
	q->holds++;
	return sq;
}

void backlog_queue_put(struct shard_queue *sq)
{
	if (sq->tasks || sq->unread || sq->reading)
		return;
	backlog_count(sq);
	HASH_DEL(sq->shard->backlog, sq);
	sq->q->holds--;
	heap_done(&sq->by_order);
	for (int i = 0; i < BACKLOG_PRIORITIES; i++)
		heap_done(&sq->by_age[i]);
	free(sq);
}

int64_t backlog_waiting(const struct shard_queue *sq)
{
	int64_t cold = 0;
	for (int i = 0; i < BACKLOG_PRIORITIES; i++)
		cold += max_i64(sq->sums[i].rows - sq->sums[i].known, 0);
	return (int64_t)sq->by_order.len + (sq->unread ? max_i64(cold, 1) : 0);
}

int64_t backlog_waiting_of(const struct shard_queue *sq, int priority, int64_t *ret_oldest_ns)
{
	const struct backlog_sum *sum = &sq->sums[priority];
	const struct heap_node *n = heap_min(&sq->by_age[priority]);
	int64_t cold = sq->unread ? max_i64(sum->rows - sum->known, 0) : 0;
	*ret_oldest_ns = n ? container_of(n, struct backlog_task, age)->key.scheduled_ns : 0;
	if (cold && (!n || sum->oldest_ns < *ret_oldest_ns))
		*ret_oldest_ns = sum->oldest_ns;
	return (int64_t)sq->by_age[priority].len + cold;
}

void backlog_count(struct shard_queue *sq)
{
	struct queue_part *p = &sq->q->parts[queues_partition(sq->q, sq->shard)];
	size_t now = (size_t)backlog_waiting(sq), before = p->parked;
	p->parked += now - sq->counted;
	sq->counted = now;
	if (before || !p->parked)
		return;
	p->report = true; /* its owner hears of the first one at once */
	backlog_report_soon(sq->shard->h->dispatch);
}

void backlog_recount(struct task_queue *q)
{
	for (uint32_t i = 0; i < q->h->config.shard_count; i++) {
		struct shard_queue *sq = backlog_queue_find(q, i);
		if (!sq)
			continue;
		sq->counted = 0;
		backlog_count(sq);
	}
}

void backlog_serving(struct shard *s)
{
	for (struct shard_queue *sq = s->backlog; sq; sq = sq->hh.next)
		sq->q->parts[queues_partition(sq->q, s)].report = true;
	if (s->backlog)
		backlog_report_soon(s->h->dispatch);
}

/* ------------------------------------------------------------------ states */

static void enter(struct backlog_task *t, enum backlog_state state)
{
	struct shard_queue *sq = t->sq;
	t->state = state;
	switch (state) {
	case BACKLOG_PARKED:
		heap_insert(&sq->by_order, &t->order);
		heap_insert(&sq->by_age[backlog_priority(t->key.priority)], &t->age);
		break;
	case BACKLOG_GIVEN:
		t->given_ns = env_mono_ns(sq->shard->h->env);
		DL_APPEND(sq->given, t);
		break;
	case BACKLOG_GONE:
		DL_APPEND(sq->shard->backlog_gone, t);
		break;
	case BACKLOG_OUT:
		break;
	}
}

static void leave(struct backlog_task *t)
{
	struct shard_queue *sq = t->sq;
	switch (t->state) {
	case BACKLOG_PARKED:
		heap_remove(&sq->by_order, &t->order);
		heap_remove(&sq->by_age[backlog_priority(t->key.priority)], &t->age);
		break;
	case BACKLOG_GIVEN:
		DL_DELETE(sq->given, t);
		break;
	case BACKLOG_GONE:
		DL_DELETE(sq->shard->backlog_gone, t);
		break;
	case BACKLOG_OUT:
		break;
	}
}

static void become(struct backlog_task *t, enum backlog_state state)
{
	if (t->state == state)
		return;
	leave(t);
	enter(t, state);
	backlog_count(t->sq);
}

void backlog_again(struct shard_queue *sq, int32_t priority, int change)
{
	int64_t *n = &sq->again[backlog_priority(priority)];
	*n = max_i64(*n + change, 0);
}

void backlog_give(struct backlog_task *t)
{
	backlog_again(t->sq, t->key.priority, -1);
	become(t, BACKLOG_GIVEN);
}

void backlog_take_back_task(struct backlog_task *t)
{
	become(t, BACKLOG_PARKED);
	if (!t->run->cached && t->row == BACKLOG_ROW_STORED)
		backlog_drop(t);
}

/* A row that is not counted yet is there, or one that was is not. */
static void set_row(struct backlog_task *t, enum backlog_row row)
{
	struct backlog_sum *sum = backlog_sum(t->sq, t->key.priority);
	int64_t change = (row == BACKLOG_ROW_STORED) - (t->row == BACKLOG_ROW_STORED);
	sum->rows += change;
	sum->known += change;
	t->row = row;
}

/* ------------------------------------------------------------------ tasks */

static struct backlog_run *run_find(const struct shard *s, const char *run_id)
{
	struct backlog_run *run = NULL;
	HASH_FIND_STR(s->backlog_runs, run_id, run);
	return run;
}

static struct backlog_run *run_get(struct shard *s, const char *namespace_id, const char *workflow_id,
				   const char *run_id)
{
	struct backlog_run *run = run_find(s, run_id);
	if (run)
		return run;
	size_t len = strlen(run_id) + 1, id_len = strlen(workflow_id) + 1;
	run = mem_zalloc(sizeof *run + len + id_len);
	memcpy(run->run_id, run_id, len);
	memcpy(run->run_id + len, workflow_id, id_len);
	run->workflow_id = run->run_id + len;
	struct workflow *wf = workflow_get(s, namespace_id, workflow_id);
	run->cached = workflow_run(wf, run_id);
	workflow_put(wf);
	HASH_ADD_KEYPTR(hh, s->backlog_runs, run->run_id, len - 1, run);
	return run;
}

static struct backlog_task *find(const struct backlog_run *run, Perdure__TaskKind kind, int64_t event_id, int64_t stamp)
{
	struct backlog_task *t = run ? run->tasks : NULL;
	while (t && (t->sq->q->queue->pollers != kind || t->key.event_id != event_id || t->key.stamp != stamp))
		t = t->next_of_run;
	return t;
}

/* In no state yet. */
static struct backlog_task *task_new(struct shard_queue *sq, const Perdure__DispatchTask *d)
{
	const char *fairness = d->fairness_key ? d->fairness_key : "", *trace = d->traceparent ? d->traceparent : "";
	size_t len = strlen(fairness) + 1, trace_len = strlen(trace) + 1;
	struct backlog_task *t = mem_zalloc(sizeof *t + len + trace_len);
	memcpy(t->text, fairness, len);
	memcpy(t->text + len, trace, trace_len);
	t->traceparent = t->text + len;
	t->trace_tasks = d->trace_tasks;
	t->sq = sq;
	t->run = run_get(sq->shard, sq->q->queue->namespace_id, d->workflow_id, d->run_id);
	t->key = (struct backlog_key){.priority = d->priority_key > 0 ? d->priority_key : PRIORITY_DEFAULT,
				      .scheduled_ns = d->scheduled_time_ns,
				      .run_id = t->run->run_id,
				      .event_id = d->scheduled_event_id,
				      .stamp = d->stamp};
	t->expires_ns = d->expires_ns;
	t->attempt = d->attempt;
	t->weight = d->fairness_weight;
	t->bytes = sizeof *t + len + trace_len + (t->run->tasks ? 0 : sizeof *t->run + 128);
	sq->tasks++;
	LL_PREPEND2(t->run->tasks, t, next_of_run);
	sq->shard->h->dispatch->backlog_bytes += (int64_t)t->bytes;
	return t;
}

/* It has left its state. */
static void task_free(struct backlog_task *t)
{
	struct shard_queue *sq = t->sq;
	struct backlog_run *run = t->run;
	sq->shard->h->dispatch->backlog_bytes -= (int64_t)t->bytes;
	LL_DELETE2(run->tasks, t, next_of_run);
	if (!run->tasks) {
		HASH_DEL(sq->shard->backlog_runs, run);
		free(run);
	}
	free(t);
	sq->tasks--;
	backlog_count(sq);
	backlog_queue_put(sq);
}

/* It waits again though its row may be on its way out. */
static void revive(struct backlog_task *t, enum backlog_state state)
{
	if (t->row == BACKLOG_ROW_STORED)
		set_row(t, BACKLOG_ROW_MAYBE);
	become(t, state);
}

struct backlog_task *backlog_task_of(struct shard *s, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct backlog_task *t = find(run_find(s, task->run_id), task->kind, task->scheduled_event_id, task->stamp);
	if (!t) {
		t = task_new(backlog_queue_get(s, queues_get(s->h, queue)), task);
		enter(t, BACKLOG_OUT);
	} else if (t->state == BACKLOG_GONE) {
		revive(t, BACKLOG_OUT);
	}
	return t;
}

void backlog_row_set(struct backlog_task *t, enum backlog_row row)
{
	set_row(t, row);
	if (row == BACKLOG_ROW_NONE && t->state == BACKLOG_GONE) {
		leave(t);
		task_free(t);
	}
}

void backlog_drop(struct backlog_task *t)
{
	assert(t->row == BACKLOG_ROW_STORED && !t->run->cached);
	leave(t);
	backlog_unread(t->sq, &t->key);
	backlog_sum(t->sq, t->key.priority)->known--;
	task_free(t);
}

/* Nobody need take it any more. */
static void gone(struct backlog_task *t)
{
	if (t->state == BACKLOG_PARKED)
		backlog_again(t->sq, t->key.priority, -1);
	if (t->row != BACKLOG_ROW_NONE) {
		become(t, BACKLOG_GONE);
		return;
	}
	leave(t);
	task_free(t);
}

bool backlog_has(const struct shard *s, const Perdure__DispatchTask *task)
{
	const struct backlog_task *t =
		s->backlog_runs ? find(run_find(s, task->run_id), task->kind, task->scheduled_event_id, task->stamp)
				: NULL;
	return t && (t->state == BACKLOG_PARKED || t->state == BACKLOG_GIVEN);
}

void backlog_park(struct shard *s, struct task_queue *q, const Perdure__DispatchTask *task)
{
	struct backlog_task *t = find(run_find(s, task->run_id), task->kind, task->scheduled_event_id, task->stamp);
	if (t && t->state == BACKLOG_GONE)
		revive(t, BACKLOG_PARKED);
	else if (t)
		backlog_take_back_task(t);
	if (t)
		return;
	t = task_new(backlog_queue_get(s, q), task);
	enter(t, BACKLOG_PARKED);
	backlog_count(t->sq);
	if (t->run->cached && !t->run->cached->dirty_since)
		s->unlisted = true;
}

void backlog_row_read(struct shard_queue *sq, const struct store_task *row)
{
	if (find(run_find(sq->shard, row->run_id), sq->q->queue->pollers, row->event_id, row->stamp))
		return;
	Perdure__DispatchTask d = PERDURE__DISPATCH_TASK__INIT;
	d.workflow_id = (char *)row->workflow_id;
	d.run_id = (char *)row->run_id;
	d.scheduled_event_id = row->event_id;
	d.stamp = row->stamp;
	d.attempt = row->attempt;
	d.priority_key = row->priority;
	d.fairness_key = (char *)row->fairness_key;
	d.fairness_weight = (float)row->fairness_weight / 1000;
	d.scheduled_time_ns = row->scheduled_ns;
	d.expires_ns = row->expires_ns;
	struct backlog_task *t = task_new(sq, &d);
	t->row = BACKLOG_ROW_STORED;
	backlog_sum(sq, row->priority)->known++;
	const struct cached_run *r = t->run->cached;
	bool waits = !r || core_task_waits(r->run, sq->q->queue->pollers, row->event_id, row->stamp);
	enter(t, waits ? BACKLOG_PARKED : BACKLOG_GONE);
}

void backlog_refused(struct shard *s, const Perdure__DispatchTask *task)
{
	struct backlog_task *t = find(run_find(s, task->run_id), task->kind, task->scheduled_event_id, task->stamp);
	if (!t || t->state == BACKLOG_GONE)
		return;
	if (!t->run->cached || !core_task_waits(t->run->cached->run, task->kind, task->scheduled_event_id, task->stamp))
		gone(t);
}

/* ------------------------------------------------------------------ runs change, come and go */

void backlog_recheck(const struct cached_run *r)
{
	struct backlog_run *run = run_find(r->wf->shard, r->run->start->run_id);
	struct backlog_task *next;
	for (struct backlog_task *t = run ? run->tasks : NULL; t; t = next) {
		next = t->next_of_run;
		if (t->state != BACKLOG_GONE &&
		    !core_task_waits(r->run, t->sq->q->queue->pollers, t->key.event_id, t->key.stamp))
			gone(t);
	}
}

struct cover {
	const struct backlog_run *run;
	bool rows; /* they have rows; else: they are PARKED or GIVEN */
	bool all;
	bool missing; /* one lacks a row that could have one */
};

static void look(void *ctx, const Perdure__QueueKey *queue, const Perdure__DispatchTask *task)
{
	struct cover *c = ctx;
	const struct backlog_task *t =
		queue->sticky ? NULL : find(c->run, task->kind, task->scheduled_event_id, task->stamp);
	bool has = t && t->state != BACKLOG_GONE && (c->rows ? t->row == BACKLOG_ROW_STORED : t->state != BACKLOG_OUT);
	c->all = c->all && has;
	c->missing = c->missing || (!has && !queue->sticky);
}

static struct cover cover(const struct cached_run *r, bool rows)
{
	struct shard *s = r->wf->shard;
	struct cover c = {.run = run_find(s, r->run->start->run_id), .rows = rows, .all = true};
	core_tasks(r->run, env_wall_ns(s->h->env), s->id, look, &c);
	return c;
}

bool backlog_covers(const struct cached_run *r)
{
	return r->wf->shard->backlog_runs && cover(r, false).all;
}

bool backlog_stored(const struct cached_run *r)
{
	return r->wf->shard->backlog_runs && cover(r, true).all;
}

bool backlog_unlisted(const struct cached_run *r)
{
	return cover(r, true).missing;
}

/* The listed tasks come first in a snapshot. */
static bool next_listed(struct bytes *snapshot, struct bytes *ret)
{
	const uint8_t *p = snapshot->data, *end = p + snapshot->len;
	uint64_t len = 0;
	if (!snapshot->len || *p++ != BACKLOG_LISTED_TAG)
		return false;
	for (int shift = 0; shift < 35; shift += 7) {
		if (p == end)
			return false;
		len |= (uint64_t)(*p & 0x7f) << shift;
		if (!(*p++ & 0x80))
			break;
	}
	if (len > (uint64_t)(end - p))
		return false;
	*ret = bytes_of(p, (size_t)len);
	*snapshot = bytes_of(p + len, (size_t)(end - p) - (size_t)len);
	return true;
}

/* Its row is among those that are counted. */
static void take_listed(struct cached_run *r, const Perdure__ListedTask *l)
{
	struct shard *s = r->wf->shard;
	Perdure__QueueKey queue = *l->queue;
	Perdure__DispatchTask task = *l->task;
	queue.namespace_id = task.namespace_id = r->wf->namespace_id;
	task.workflow_id = (char *)r->wf->workflow_id;
	task.run_id = r->run->start->run_id;
	if (find(run_find(s, task.run_id), task.kind, task.scheduled_event_id, task.stamp))
		return;
	struct backlog_task *t = task_new(backlog_queue_get(s, queues_get(s->h, &queue)), &task);
	t->row = BACKLOG_ROW_STORED;
	backlog_sum(t->sq, t->key.priority)->known++;
	enter(t, BACKLOG_PARKED);
	backlog_count(t->sq);
}

void backlog_run_loaded(struct cached_run *r, struct bytes snapshot)
{
	struct shard *s = r->wf->shard;
	struct bytes listed;
	while (next_listed(&snapshot, &listed)) {
		Perdure__ListedTask *l = perdure__listed_task__unpack(NULL, listed.len, listed.data);
		if (l && l->queue && l->task)
			take_listed(r, l);
		if (l)
			perdure__listed_task__free_unpacked(l, NULL);
	}
	struct backlog_run *run = run_find(s, r->run->start->run_id);
	if (!run)
		return;
	run->cached = r;
	backlog_recheck(r);
}

void backlog_run_dropped(const struct cached_run *r)
{
	struct shard *s = r->wf->shard;
	struct backlog_run *run = s->backlog_runs ? run_find(s, r->run->start->run_id) : NULL;
	struct backlog_task *next;
	if (!run)
		return;
	run->cached = NULL;
	for (struct backlog_task *t = run->tasks; t; t = next) {
		next = t->next_of_run;
		if (t->state == BACKLOG_OUT)
			become(t, BACKLOG_GIVEN); /* as if it had been pulled */
		else if (t->state == BACKLOG_PARKED && t->row == BACKLOG_ROW_STORED)
			backlog_drop(t);
	}
}

void backlog_forget(struct shard *s)
{
	struct shard_queue *sq, *tmp;
	HASH_ITER (hh, s->backlog, sq, tmp)
		backlog_read_abandon(sq);
	struct backlog_run *run, *next;
	HASH_ITER (hh, s->backlog_runs, run, next) {
		size_t left = 0;
		struct backlog_task *t;
		LL_COUNT2(run->tasks, t, left, next_of_run);
		while (left--) { /* the last one takes the run along */
			t = run->tasks;
			leave(t);
			task_free(t);
		}
	}
	HASH_ITER (hh, s->backlog, sq, tmp)
		backlog_queue_put(sq);
	s->unlisted = false;
	backlog_pull_again(s->h->dispatch);
}

/* ------------------------------------------------------------------ queues change */

void backlog_take_back(struct task_queue *q, uint32_t partition)
{
	for (uint32_t i = 0; i < q->h->config.shard_count; i++) {
		struct shard_queue *sq = backlog_queue_find(q, i);
		if (!sq || (partition != UINT32_MAX && queues_partition(q, sq->shard) != partition))
			continue;
		sq->tasks++; /* held */
		while (sq->given)
			backlog_take_back_task(sq->given);
		memset(sq->again, 0, sizeof sq->again);
		sq->tasks--;
		backlog_count(sq);
		if (sq->counted)
			q->parts[queues_partition(q, sq->shard)].report = true;
		backlog_queue_put(sq);
	}
	backlog_report_soon(q->h->dispatch);
}
