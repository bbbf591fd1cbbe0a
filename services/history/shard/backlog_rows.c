/*
 * The backlog's rows: tasks whose runs are not in memory. A shard knows how many it has of each queue and priority,
 * from one sum when it was claimed and from its own folds since, and reads them in order when matching asks, a few
 * ahead.
 *
 * The counts are for people. What decides whether there is something to read is `unread`: it becomes false only when a
 * read from `from` on has come to the end, and true again when a task with a row leaves memory.
 */
#include <stdlib.h>

#include "common/mem/mem.h"
#include "services/history/shard/backlog.h"

#define READ_KEPT_NS (10 * NS_PER_S) /* what was read and not pulled by then leaves memory */

struct backlog_read {
	struct dispatch *d;
	struct shard_queue *sq; /* NULL: it went */
	size_t limit;
	bool dropped; /* meanwhile: rows from `low` on must be read again */
	struct backlog_key low;
};

int backlog_key_order(const struct backlog_key *a, const struct backlog_key *b)
{
	if (a->priority != b->priority)
		return a->priority < b->priority ? -1 : 1;
	if (a->scheduled_ns != b->scheduled_ns)
		return a->scheduled_ns < b->scheduled_ns ? -1 : 1;
	int order = strcmp(a->run_id, b->run_id);
	if (order)
		return order;
	if (a->event_id != b->event_id)
		return a->event_id < b->event_id ? -1 : 1;
	return (a->stamp > b->stamp) - (a->stamp < b->stamp);
}

static void key_done(struct backlog_key *k)
{
	free((char *)k->run_id);
	*k = (struct backlog_key){0};
}

static void key_set(struct backlog_key *k, const struct backlog_key *from)
{
	char *run_id = from->run_id ? mem_strdup(from->run_id) : NULL;
	free((char *)k->run_id);
	*k = *from;
	k->run_id = run_id;
}

int backlog_priority(int32_t priority)
{
	return priority < 0 ? 0 : priority >= BACKLOG_PRIORITIES ? BACKLOG_PRIORITIES - 1 : priority;
}

struct backlog_sum *backlog_sum(struct shard_queue *sq, int32_t priority)
{
	return &sq->sums[backlog_priority(priority)];
}

/* ------------------------------------------------------------------ where reading goes on */

/* Not before `from`: it is read in any case. */
static bool will_be_read(const struct shard_queue *sq, const struct backlog_key *key)
{
	return sq->unread && (!sq->from.run_id || backlog_key_order(key, &sq->from) >= 0);
}

void backlog_unread(struct shard_queue *sq, const struct backlog_key *key)
{
	struct backlog_read *r = sq->reading;
	struct backlog_sum *sum = backlog_sum(sq, key->priority);
	if (!sum->oldest_ns || key->scheduled_ns < sum->oldest_ns)
		sum->oldest_ns = key->scheduled_ns;
	if (r && (!r->dropped || backlog_key_order(key, &r->low) < 0)) {
		r->dropped = true;
		key_set(&r->low, key);
	}
	if (will_be_read(sq, key))
		return;
	sq->unread = true;
	key_set(&sq->from, key);
}

bool backlog_blocked(const struct shard_queue *sq)
{
	const struct backlog_task *first = backlog_first(sq);
	if (!sq->unread)
		return false;
	return !first || !sq->from.run_id || backlog_key_order(&first->key, &sq->from) > 0;
}

/* Of the rows before the key all tasks are in memory now; at_end: of all. */
static void settle_sums(struct shard_queue *sq, const struct backlog_key *key, bool at_end)
{
	for (int i = 0; i < BACKLOG_PRIORITIES; i++) {
		struct backlog_sum *sum = &sq->sums[i];
		if (at_end || sum < backlog_sum(sq, key->priority)) {
			sum->rows = sum->known;
			sum->oldest_ns = 0;
		}
	}
	if (!at_end)
		backlog_sum(sq, key->priority)->oldest_ns = key->scheduled_ns;
}

static void advance(struct shard_queue *sq, const struct backlog_read *r, const struct store_task *rows, size_t count)
{
	bool at_end = count < r->limit;
	if (at_end) {
		sq->unread = false;
		settle_sums(sq, NULL, true);
		key_done(&sq->from);
	} else {
		const struct store_task *last = &rows[count - 1];
		struct backlog_key key = {.priority = last->priority,
					  .scheduled_ns = last->scheduled_ns,
					  .run_id = last->run_id,
					  .event_id = last->event_id,
					  .stamp = last->stamp};
		settle_sums(sq, &key, false);
		key_set(&sq->from, &key);
	}
	if (r->dropped)
		backlog_unread(sq, &r->low);
}

static void read_free(struct backlog_read *r)
{
	key_done(&r->low);
	free(r);
}

static void on_read(void *ctx, struct err e, const struct store_task *rows, size_t count)
{
	struct backlog_read *r = ctx;
	struct shard_queue *sq = r->sq;
	if (!sq) {
		read_free(r);
		return;
	}
	struct dispatch *d = r->d;
	const struct task_queue *q = sq->q;
	sq->reading = NULL;
	sq->read_ns = env_mono_ns(d->h->env);
	for (size_t i = 0; !err_is(e) && i < count; i++)
		backlog_row_read(sq, &rows[i]);
	if (!err_is(e))
		advance(sq, r, rows, count);
	read_free(r);
	if (err_is(e))
		backlog_pull_failed(d, q);
	backlog_count(sq);
	backlog_queue_put(sq);
	backlog_pull_again(d);
}

void backlog_read(struct shard_queue *sq, size_t limit)
{
	if (sq->reading || !sq->unread)
		return;
	struct backlog_read *r = new0(struct backlog_read);
	r->d = sq->shard->h->dispatch;
	r->sq = sq;
	r->limit = limit;
	sq->reading = r;
	struct store_tasks page = {
		.from = {.shard = sq->shard->id,
			 .namespace_id = sq->q->queue->namespace_id,
			 .queue = sq->q->queue->name,
			 .kind = (int32_t)sq->q->queue->pollers,
			 .priority = sq->from.priority,
			 .scheduled_ns = sq->from.scheduled_ns,
			 .run_id = sq->from.run_id,
			 .event_id = sq->from.event_id,
			 .stamp = sq->from.stamp},
		.limit = limit,
	};
	store_load_tasks(sq->shard->h->store, &page, on_read, r);
}

void backlog_read_abandon(struct shard_queue *sq)
{
	if (sq->reading)
		sq->reading->sq = NULL;
	sq->reading = NULL;
	sq->unread = false;
	key_done(&sq->from);
}

/* ------------------------------------------------------------------ regularly */

static void shed(struct shard_queue *sq)
{
	size_t count = 0;
	struct backlog_task **list = mem_alloc((sq->by_order.len + 1) * sizeof *list);
	for (size_t i = 0; i < sq->by_order.len; i++) {
		struct backlog_task *t = container_of(sq->by_order.nodes[i], struct backlog_task, order);
		if (!t->run->cached && t->row == BACKLOG_ROW_STORED)
			list[count++] = t;
	}
	for (size_t i = 0; i < count; i++)
		backlog_drop(list[i]);
	free(list);
	sq->read_ns = 0;
}

void backlog_rows_tend(struct shard_queue *sq)
{
	int64_t cold = 0;
	for (int i = 0; i < BACKLOG_PRIORITIES; i++)
		cold += sq->sums[i].rows - sq->sums[i].known;
	if (sq->unread && cold <= 0 && !sq->reading) {
		backlog_read(sq, 32);
		return;
	}
	if (sq->reading || !sq->read_ns || env_mono_ns(sq->shard->h->env) - sq->read_ns < READ_KEPT_NS)
		return;
	sq->tasks++; /* held */
	shed(sq);
	sq->tasks--;
	backlog_count(sq);
	backlog_queue_put(sq);
}

/* ------------------------------------------------------------------ when the shard is claimed */

void backlog_sums(struct shard *s, const struct store_task_sum *sums, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		Perdure__QueueKey key = PERDURE__QUEUE_KEY__INIT;
		key.namespace_id = (char *)sums[i].namespace_id;
		key.name = (char *)sums[i].queue;
		key.normal_name = key.name;
		key.pollers = (Perdure__TaskKind)sums[i].kind;
		struct shard_queue *sq = backlog_queue_get(s, queues_get(s->h, &key));
		struct backlog_sum *sum = backlog_sum(sq, sums[i].priority);
		sum->rows += sums[i].count;
		if (!sum->oldest_ns || sums[i].oldest_ns < sum->oldest_ns)
			sum->oldest_ns = sums[i].oldest_ns;
		sq->unread = true;
		key_done(&sq->from);
		backlog_count(sq);
	}
}
