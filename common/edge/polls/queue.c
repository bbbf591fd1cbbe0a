/*
 * Task queues as their pollers see them: who waits, in which order, and what matching must know of it.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

/* What a partition said of its hunger counts for so long; it repeats itself each second. */
#define HUNGRY_NS (2 * NS_PER_S)
/* So far one may be ahead of another in working off its tasks. */
#define LEAD_NS (500 * NS_PER_MS)
/* A closing partition is told of our credits for so long after the last we heard of it. */
#define CLOSING_NS	 (10 * NS_PER_S)
#define PARTITIONS_MAX	 1024
#define PRIORITY_DEFAULT 3

/* ------------------------------------------------------------------ finding */

/* Equal keys give equal bytes. The normal name is information, not identity. */
static struct buf key_bytes(const Perdure__QueueKey *k)
{
	struct buf b = {0};
	buf_put(&b, k->namespace_id, strlen(k->namespace_id) + 1);
	buf_put(&b, k->name, strlen(k->name) + 1);
	buf_put_varint(&b, (uint64_t)k->pollers << 1 | (k->sticky ? 1 : 0));
	return b;
}

struct poll_queue *queue_find(struct polls *p, const Perdure__QueueKey *key)
{
	struct buf b = key_bytes(key);
	struct poll_queue *q;
	HASH_FIND(hh, p->queues, b.data, b.len, q);
	buf_done(&b);
	return q;
}

static void on_grace_over(struct env_timer *t)
{
	struct poll_queue *q = container_of(t, struct poll_queue, grace);
	assert(q->poll_count == 0);
	q->gone = true;
	credits_dirty(q, UINT32_MAX);
}

static void reach_partitions(struct poll_queue *q, uint32_t count)
{
	if (count <= q->partition_cap)
		return;
	q->partitions = mem_realloc(q->partitions, count * sizeof *q->partitions);
	for (uint32_t i = q->partition_cap; i < count; i++)
		q->partitions[i] = (struct partition){.received = q->polls->received_floor};
	q->partition_cap = count;
}

static struct poll_queue *queue_new(struct polls *p, const Perdure__QueueKey *key)
{
	struct poll_queue *q = new0(struct poll_queue);
	q->polls = p;
	perdure__queue_key__init(&q->key);
	q->key.namespace_id = mem_strdup(key->namespace_id);
	q->key.name = mem_strdup(key->name);
	q->key.normal_name = mem_strdup(key->normal_name);
	q->key.pollers = key->pollers;
	q->key.sticky = key->sticky;
	q->grace.fn = on_grace_over;
	q->partition_count = q->reach = key->sticky ? 1 : p->edge->config.partitions;
	reach_partitions(q, q->partition_count);
	struct buf b = key_bytes(key);
	size_t len;
	void *bytes = buf_take(&b, &len);
	HASH_ADD_KEYPTR(hh, p->queues, bytes, len, q);
	return q;
}

struct poll_queue *queue_get(struct polls *p, const Perdure__QueueKey *key)
{
	struct poll_queue *q = queue_find(p, key);
	return q ? q : queue_new(p, key);
}

bool queue_forgettable(const struct poll_queue *q)
{
	return q->poll_count == 0 && q->hand_count == 0 && !q->dirty && !q->grace.armed;
}

void queue_free(struct poll_queue *q)
{
	struct polls *p = q->polls;
	assert(q->poll_count == 0 && q->hand_count == 0 && !q->pollers);
	for (uint32_t i = 0; i < q->partition_cap; i++)
		if (q->partitions[i].received > p->received_floor)
			p->received_floor = q->partitions[i].received;
	free(q->partitions);
	env_timer_stop(p->env, &q->grace);
	if (q->dirty)
		DL_DELETE2(p->dirty, q, dirty_prev, dirty_next);
	void *key = (void *)q->hh.key;
	HASH_DEL(p->queues, q);
	free(key);
	free(q->key.namespace_id);
	free(q->key.name);
	free(q->key.normal_name);
	free(q);
}

/* ------------------------------------------------------------------ its polls */

/* Tasks there that have no poll, as far as we heard lately. */
static uint32_t hunger(const struct poll_queue *q, uint32_t i)
{
	const struct partition *t = &q->partitions[i];
	return t->hungry && env_mono_ns(q->polls->env) - t->hungry_ns < HUNGRY_NS ? t->hungry : 0;
}

/* Of these, those that no poll of ours is counted for. */
static uint32_t wants(const struct poll_queue *q, uint32_t i)
{
	uint32_t tasks = hunger(q, i);
	return tasks > q->partitions[i].idle ? tasks - q->partitions[i].idle : 0;
}

/* Partitions with tasks that want for polls wait for those that are further behind, or a backlog would not be done in
 * order. */
static int64_t last_turn_ns(const struct poll_queue *q)
{
	int64_t furthest = INT64_MAX - LEAD_NS;
	for (uint32_t i = 0; i < q->reach; i++)
		if (q->partitions[i].at_ns && wants(q, i))
			furthest = min_i64(furthest, q->partitions[i].at_ns);
	return furthest + LEAD_NS;
}

/* Where a poll is needed most: where tasks want for one, else anywhere; of several where fewest polls are. */
static uint32_t neediest(struct poll_queue *q)
{
	uint32_t n = q->reach, best = UINT32_MAX;
	bool hungry = false;
	int64_t turn_ns = last_turn_ns(q);
	for (uint32_t k = 0; k < n; k++) {
		uint32_t i = (q->next_partition + k) % n;
		bool wanted = q->partitions[i].at_ns <= turn_ns && wants(q, i);
		if ((hungry && !wanted) || (!wanted && i >= q->partition_count))
			continue;
		if (best == UINT32_MAX || wanted > hungry || q->partitions[i].idle < q->partitions[best].idle)
			best = i;
		hungry = wanted;
	}
	q->next_partition = (best + 1) % n;
	return best;
}

static void count_idle(struct poll_queue *q, struct poll *poll, uint32_t partition, bool first)
{
	struct partition *t = &q->partitions[partition];
	poll->hand = NULL;
	poll->partition = partition;
	t->idle++;
	if (first)
		DL_PREPEND(t->polls, poll);
	else
		DL_APPEND(t->polls, poll);
	credits_dirty(q, partition);
}

static void remove_idle(struct poll_queue *q, struct poll *poll)
{
	struct partition *t = &q->partitions[poll->partition];
	assert(!poll->hand && t->idle > 0);
	t->idle--;
	DL_DELETE(t->polls, poll);
	credits_dirty(q, poll->partition);
}

void queue_add(struct poll_queue *q, struct poll *poll)
{
	poll->queue = q;
	q->poll_count++;
	q->gone = q->shut_down = false;
	env_timer_stop(q->polls->env, &q->grace);
	count_idle(q, poll, neediest(q), false);
}

void queue_remove(struct poll_queue *q, struct poll *poll)
{
	if (!poll->hand)
		remove_idle(q, poll);
	assert(q->poll_count > 0);
	q->poll_count--;
}

void queue_occupy(struct poll_queue *q, struct poll *poll, struct hand *h)
{
	remove_idle(q, poll);
	poll->hand = h;
}

void queue_release(struct poll_queue *q, struct poll *poll)
{
	assert(poll->hand);
	count_idle(q, poll, neediest(q), true); /* it has waited longest */
}

static uint32_t fullest(const struct poll_queue *q, uint32_t except)
{
	uint32_t best = UINT32_MAX;
	for (uint32_t i = 0; i < q->reach; i++)
		if (i != except && q->partitions[i].idle &&
		    (best == UINT32_MAX || q->partitions[i].idle > q->partitions[best].idle))
			best = i;
	return best;
}

struct poll *queue_choose(struct poll_queue *q, uint32_t partition)
{
	if (!q->partitions[partition].polls)
		partition = fullest(q, partition);
	return partition == UINT32_MAX ? NULL : q->partitions[partition].polls;
}

void queue_end_idle(struct poll_queue *q)
{
	struct poll *poll, *tmp;
	for (uint32_t i = 0; i < q->reach; i++)
		DL_FOREACH_SAFE (q->partitions[i].polls, poll, tmp)
			poll_end_empty(poll);
}

void queue_lost_connection(struct poll_queue *q)
{
	struct polls *p = q->polls;
	if (q->key.sticky && q->poll_count == 0 && !q->gone && !q->shut_down)
		env_timer_start(p->env, &q->grace, p->edge->config.sticky_grace_ns);
}

/* ------------------------------------------------------------------ its partitions */

static void move_one(struct poll_queue *q, uint32_t from, uint32_t to)
{
	struct poll *poll = q->partitions[from].polls;
	remove_idle(q, poll);
	count_idle(q, poll, to, false);
}

static void even_out(struct poll_queue *q)
{
	for (;;) {
		uint32_t from = fullest(q, UINT32_MAX), to = 0;
		for (uint32_t i = 1; i < q->partition_count; i++)
			if (q->partitions[i].idle < q->partitions[to].idle)
				to = i;
		if (from == UINT32_MAX ||
		    (from < q->partition_count && q->partitions[from].idle <= q->partitions[to].idle + 1))
			return;
		move_one(q, from, to);
	}
}

static void leave_closing(struct poll_queue *q)
{
	for (uint32_t i = q->partition_count; i < q->reach; i++)
		while (q->partitions[i].idle > hunger(q, i))
			move_one(q, i, neediest(q));
}

void queue_set_partitions(struct poll_queue *q, uint32_t count, int64_t version)
{
	if (version <= q->partitions_version || count == 0 || count > PARTITIONS_MAX || q->key.sticky)
		return;
	bool more = count > q->partition_count;
	q->partitions_version = version;
	q->partition_count = count;
	q->reach_until_ns = env_mono_ns(q->polls->env) + CLOSING_NS;
	reach_partitions(q, count);
	if (q->reach < count)
		q->reach = count;
	if (more)
		even_out(q);
	else
		leave_closing(q);
	credits_dirty(q, UINT32_MAX);
	/* A new partition knows nobody yet. */
	struct poller *r, *tmp;
	HASH_ITER (hh, q->pollers, r, tmp)
		r->changed = true;
}

void queue_feed(struct poll_queue *q, uint32_t partition, uint32_t tasks)
{
	if (partition >= q->reach)
		return;
	struct partition *t = &q->partitions[partition];
	t->hungry = tasks;
	if (!tasks)
		t->at_ns = 0;
	t->hungry_ns = env_mono_ns(q->polls->env);
	q->reach_until_ns = t->hungry_ns + CLOSING_NS;
	while (wants(q, partition)) {
		uint32_t from = fullest(q, partition);
		if (from == UINT32_MAX || hunger(q, from) >= q->partitions[from].idle)
			return;
		move_one(q, from, partition);
	}
	leave_closing(q);
}

void queue_received(struct poll_queue *q, uint32_t partition, const Perdure__DispatchTask *task)
{
	struct partition *t = &q->partitions[partition];
	t->received++;
	/* Those of another priority overtake, or are overtaken. */
	if (t->hungry && (!task->priority_key || task->priority_key == PRIORITY_DEFAULT))
		t->at_ns = task->scheduled_time_ns;
	if (t->hungry)
		t->hungry--;
	credits_dirty(q, partition);
}

void queue_tend(struct poll_queue *q)
{
	leave_closing(q);
	if (q->reach == q->partition_count || env_mono_ns(q->polls->env) < q->reach_until_ns)
		return;
	for (uint32_t i = q->partition_count; i < q->reach; i++)
		if (q->partitions[i].idle)
			return;
	q->reach = q->partition_count;
}

/* ------------------------------------------------------------------ its pollers */

static bool replace(struct bytes *kept, struct bytes given)
{
	if (bytes_eq(*kept, given))
		return false;
	free((void *)kept->data);
	*kept = given.len ? bytes_of(mem_dup(given.data, given.len), given.len) : (struct bytes){0};
	return true;
}

struct poller *poller_touch(struct poll_queue *q, const char *identity, double rate, struct bytes versions,
			    struct bytes deployment)
{
	size_t len = strlen(identity);
	struct poller *r;
	HASH_FIND(hh, q->pollers, identity, len, r);
	if (!r) {
		r = mem_zalloc(sizeof *r + len + 1);
		r->queue = q;
		memcpy(r->identity, identity, len + 1);
		HASH_ADD_KEYPTR(hh, q->pollers, r->identity, len, r);
	}
	r->polls++;
	r->changed = true;
	r->last_access_ns = env_wall_ns(q->polls->env);
	r->rate = rate;
	replace(&r->versions, versions);
	replace(&r->deployment, deployment);
	return r;
}

static void poller_free(struct poller *r)
{
	HASH_DEL(r->queue->pollers, r);
	free((void *)r->versions.data);
	free((void *)r->deployment.data);
	free(r);
}

/* Who left without having been told to matching stays until then. */
void poller_release(struct poller *r)
{
	if (r->polls > 0)
		r->polls--;
	if (r->polls == 0 && !r->changed)
		poller_free(r);
}
