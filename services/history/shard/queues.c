/*
 * Task queues as this node knows them: how many partitions, by the newest decision of their roots, and who owns these,
 * by the map of nodes. A shard's tasks of a queue are in one of its partitions.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"
#include "common/membership/placement.h"
#include "services/history/shard/dispatch.h"

#define UNUSED_NS (600 * NS_PER_S)
/* More than any cluster is configured for. */
#define COUNT_MAX 1024

static char *key_of(const Perdure__QueueKey *q)
{
	size_t cap = strlen(q->namespace_id) + strlen(q->name) + 16;
	char *key = mem_alloc(cap);
	snprintf(key, cap, "%s/%d%d/%s", q->namespace_id, (int)q->pollers, q->sticky, q->name);
	return key;
}

struct task_queue *queues_find(struct history *h, const Perdure__QueueKey *key)
{
	struct task_queue *q = NULL;
	char *k = key_of(key);
	HASH_FIND_STR(h->dispatch->queues, k, q);
	free(k);
	return q;
}

static bool follow_part(const struct task_queue *q, uint32_t i)
{
	struct queue_part *p = &q->parts[i];
	const Perdure__QueueKey *k = q->queue;
	uint64_t place = placement_queue(k->namespace_id, k->name, (int)k->pollers, k->sticky);
	const struct member *n = membership_partition_owner(q->h->membership, place, i);
	const char *address = n ? n->address : "";
	uint64_t incarnation = n ? n->incarnation : 0;
	if (p->incarnation == incarnation && str_eq(p->owner ? p->owner : "", address))
		return false;
	free(p->owner);
	p->owner = n ? mem_strdup(address) : NULL;
	p->incarnation = incarnation;
	return true;
}

struct task_queue *queues_get(struct history *h, const Perdure__QueueKey *key)
{
	struct task_queue *q = queues_find(h, key);
	if (q) {
		q->used_ns = env_mono_ns(h->env);
		return q;
	}
	size_t len = perdure__queue_key__get_packed_size(key);
	uint8_t *packed = mem_alloc(len + 1);
	perdure__queue_key__pack(key, packed);
	q = new0(struct task_queue);
	q->h = h;
	q->key = key_of(key);
	q->queue = perdure__queue_key__unpack(NULL, len, packed);
	free(packed);
	q->count = 1;
	q->parts = mem_zalloc(sizeof *q->parts);
	q->moved = true; /* whatever it has is offered to its owner for the first time */
	follow_part(q, 0);
	q->used_ns = env_mono_ns(h->env);
	HASH_ADD_KEYPTR(hh, h->dispatch->queues, q->key, strlen(q->key), q);
	return q;
}

void queues_free(struct task_queue *q)
{
	assert(!q->holds);
	HASH_DEL(q->h->dispatch->queues, q);
	for (uint32_t i = 0; i < q->count; i++)
		free(q->parts[i].owner);
	free(q->parts);
	perdure__queue_key__free_unpacked(q->queue, NULL);
	free(q->key);
	free(q);
}

uint32_t queues_partition(const struct task_queue *q, const struct shard *s)
{
	return s->id % q->count;
}

bool queues_learn(struct task_queue *q, uint32_t count, int64_t version)
{
	if (version <= q->version || !count || count > COUNT_MAX || q->queue->sticky)
		return false;
	q->version = version;
	for (uint32_t i = 0; i < q->count; i++)
		free(q->parts[i].owner);
	free(q->parts);
	q->count = count;
	q->parts = mem_zalloc(count * sizeof *q->parts);
	for (uint32_t i = 0; i < count; i++)
		follow_part(q, i);
	backlog_recount(q);
	backlog_take_back(q, UINT32_MAX);
	return true;
}

bool queues_follow(struct task_queue *q)
{
	q->moved = false;
	for (uint32_t i = 0; i < q->count; i++)
		q->moved = follow_part(q, i) || q->moved;
	return q->moved;
}

void queues_tend(struct dispatch *d)
{
	int64_t now = env_mono_ns(d->h->env);
	struct task_queue *q, *tmp;
	HASH_ITER (hh, d->queues, q, tmp)
		if (!q->holds && now - q->used_ns >= UNUSED_NS)
			queues_free(q);
}
