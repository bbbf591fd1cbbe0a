/*
 * Task queues as their pollers see them: who waits, in which order, and what matching must know of it.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

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
	credits_dirty(q);
}

static struct poll_queue *queue_new(struct polls *p, const Perdure__QueueKey *key)
{
	uint32_t partitions = p->edge->config.partitions;
	struct poll_queue *q = mem_zalloc(sizeof *q + partitions * sizeof *q->partitions);
	q->polls = p;
	perdure__queue_key__init(&q->key);
	q->key.namespace_id = mem_strdup(key->namespace_id);
	q->key.name = mem_strdup(key->name);
	q->key.normal_name = mem_strdup(key->normal_name);
	q->key.pollers = key->pollers;
	q->key.sticky = key->sticky;
	q->grace.fn = on_grace_over;
	q->partition_count = partitions;
	for (uint32_t i = 0; i < partitions; i++)
		q->partitions[i].received = p->received_floor;
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
	for (uint32_t i = 0; i < q->partition_count; i++)
		if (q->partitions[i].received > p->received_floor)
			p->received_floor = q->partitions[i].received;
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

static uint32_t emptiest(const struct poll_queue *q)
{
	uint32_t best = 0;
	for (uint32_t i = 1; i < q->partition_count; i++)
		if (q->partitions[i].idle < q->partitions[best].idle)
			best = i;
	return best;
}

static void count_idle(struct poll_queue *q, struct poll *poll)
{
	poll->hand = NULL;
	poll->partition = emptiest(q);
	q->partitions[poll->partition].idle++;
	credits_dirty(q);
}

static void remove_idle(struct poll_queue *q, struct poll *poll)
{
	assert(!poll->hand && q->partitions[poll->partition].idle > 0);
	q->partitions[poll->partition].idle--;
	DL_DELETE(q->idle, poll);
	credits_dirty(q);
}

void queue_add(struct poll_queue *q, struct poll *poll)
{
	poll->queue = q;
	q->poll_count++;
	q->gone = q->shut_down = false;
	env_timer_stop(q->polls->env, &q->grace);
	DL_APPEND(q->idle, poll);
	count_idle(q, poll);
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
	DL_PREPEND(q->idle, poll); /* it has waited longest */
	count_idle(q, poll);
}

void queue_lost_connection(struct poll_queue *q)
{
	struct polls *p = q->polls;
	if (q->key.sticky && q->poll_count == 0 && !q->gone && !q->shut_down)
		env_timer_start(p->env, &q->grace, p->edge->config.sticky_grace_ns);
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
