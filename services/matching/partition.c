/*
 * A partition of a task queue: what waits, who may have it, in which order.
 *
 * Order: priority (1 first, 3 when unset), then age, then arrival. Memory is bounded twice: by partition and in all;
 * what is beyond that stays in history's backlog until it is pulled (pull.c).
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

#define PRIORITY_DEFAULT 3
/* Of its memory a partition that nobody polls may fill one in so many; of all memory they may have half. */
#define UNPOLLED_SHARE 16

int partition_priority(const Perdure__DispatchTask *t)
{
	return t->priority_key > 0 ? t->priority_key : PRIORITY_DEFAULT;
}

static bool before(const struct heap_node *x, const struct heap_node *y)
{
	const struct task *a = container_of(x, struct task, order), *b = container_of(y, struct task, order);
	int pa = partition_priority(a->msg), pb = partition_priority(b->msg);
	if (pa != pb)
		return pa < pb;
	if (a->msg->scheduled_time_ns != b->msg->scheduled_time_ns)
		return a->msg->scheduled_time_ns < b->msg->scheduled_time_ns;
	return a->arrival < b->arrival;
}

static char *key_of(const Perdure__QueueKey *q, uint32_t number)
{
	size_t cap = strlen(q->namespace_id) + strlen(q->name) + 32;
	char *key = mem_alloc(cap);
	snprintf(key, cap, "%s/%d/%d/%" PRIu32 "/%s", q->namespace_id, (int)q->pollers, q->sticky, number, q->name);
	return key;
}

static uint64_t place_of(const Perdure__QueueKey *q)
{
	return placement_queue(q->namespace_id, q->name, (int)q->pollers, q->sticky);
}

const struct member *partition_owner(const struct matching *m, const Perdure__QueueKey *q, uint32_t number)
{
	return membership_partition_owner(m->membership, place_of(q), number);
}

bool partition_owned(const struct matching *m, const Perdure__QueueKey *q, uint32_t number)
{
	return !m->draining && membership_owns_partition(m->membership, place_of(q), number);
}

struct partition *partition_find(struct matching *m, const Perdure__QueueKey *q, uint32_t number)
{
	struct partition *p = NULL;
	char *key = key_of(q, number);
	HASH_FIND_STR(m->partitions, key, p);
	free(key);
	return p;
}

static Perdure__QueueKey *copy_queue(const Perdure__QueueKey *q)
{
	struct bytes b = matching_pack(&q->base);
	Perdure__QueueKey *copy = perdure__queue_key__unpack(NULL, b.len, b.data);
	free((void *)b.data);
	return copy;
}

static void on_rate(struct env_timer *t)
{
	partition_match(container_of(t, struct partition, rate_timer));
}

struct partition *partition_get(struct matching *m, const Perdure__QueueKey *q, uint32_t number)
{
	struct partition *p = partition_find(m, q, number);
	if (p)
		return p;
	p = new0(struct partition);
	p->m = m;
	p->key = key_of(q, number);
	p->queue = copy_queue(q);
	p->number = number;
	p->count = 1;
	p->rates_ns = p->idle_since_ns = p->unpolled_since_ns = env_mono_ns(m->env);
	p->rate_timer.fn = on_rate;
	heap_init(&p->waiting, before);
	HASH_ADD_KEYPTR(hh, m->partitions, p->key, strlen(p->key), p);
	m->counts.partitions++;
	return p;
}

void partition_drop(struct partition *p)
{
	struct matching *m = p->m;
	struct task *t, *tmp;
	HASH_ITER (hh, p->tasks, t, tmp)
		task_end(t);
	while (p->credits)
		credit_drop(p->credits);
	env_timer_stop(m->env, &p->rate_timer);
	pull_free(p);
	scale_free(p);
	pollers_free(p);
	HASH_DEL(m->partitions, p);
	m->counts.partitions--;
	heap_done(&p->waiting);
	perdure__queue_key__free_unpacked(p->queue, NULL);
	free(p->key);
	free(p);
}

/* ------------------------------------------------------------------ tasks in */

int64_t partition_bytes_max(const struct partition *p)
{
	int64_t max = p->m->config.queue_bytes;
	return p->credits ? max : max / UNPOLLED_SHARE;
}

bool partition_has_room(const struct partition *p, int64_t bytes)
{
	const struct matching *m = p->m;
	int64_t memory = p->credits ? m->config.memory_bytes : m->config.memory_bytes / 2;
	return p->bytes + bytes <= partition_bytes_max(p) && m->counts.bytes + bytes <= memory;
}

static char *id_of(const Perdure__DispatchTask *t)
{
	size_t cap = strlen(t->run_id) + strlen(t->query_id) + 72;
	char *id = mem_alloc(cap);
	snprintf(id, cap, "%s/%d/%" PRId64 "/%" PRId64 "/%s", t->run_id, (int)t->kind, t->scheduled_event_id, t->stamp,
		 t->query_id);
	return id;
}

/* False: refused. */
static bool take(struct partition *p, const Perdure__DispatchTask *msg, bool asked_for)
{
	struct matching *m = p->m;
	struct task *t = NULL;
	char *id = id_of(msg);
	HASH_FIND_STR(p->tasks, id, t);
	if (t) {
		free(id);
		return true;
	}
	size_t len = perdure__dispatch_task__get_packed_size(msg);
	size_t bytes = sizeof *t + 2 * len + strlen(id) + 64;
	if (!asked_for && !partition_has_room(p, (int64_t)bytes)) {
		free(id);
		m->counts.refused++;
		return false;
	}
	struct bytes packed = matching_pack(&msg->base);
	t = new0(struct task);
	t->msg = perdure__dispatch_task__unpack(NULL, packed.len, packed.data);
	free((void *)packed.data);
	t->id = id;
	t->partition = p;
	t->arrival = m->next_arrival++;
	t->arrived_ns = env_mono_ns(m->env);
	t->bytes = bytes;
	p->bytes += (int64_t)bytes;
	m->counts.bytes += (int64_t)bytes;
	m->counts.added++;
	HASH_ADD_KEYPTR(hh, p->tasks, t->id, strlen(t->id), t);
	task_measure_arrived(t);
	task_wait(t);
	rate_added(p);
	return true;
}

Perdure__AddTasksReply__Verdict partition_add(struct partition *p, const Perdure__DispatchTask *task)
{
	return take(p, task, false) ? PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED
				    : PERDURE__ADD_TASKS_REPLY__VERDICT__REFUSED_FULL;
}

void partition_put(struct partition *p, const Perdure__DispatchTask *task)
{
	take(p, task, true);
}

/* ------------------------------------------------------------------ tasks out */

/* The next gateway in turn that has a poll for us. */
static struct credit *next_credit(struct partition *p)
{
	struct credit *start = p->turn ? p->turn : p->credits, *c = start;
	if (!c)
		return NULL;
	do {
		struct credit *next = c->in_partition_next ? c->in_partition_next : p->credits;
		if (credit_available(c) > 0) {
			p->turn = next;
			return c;
		}
		c = next;
	} while (c != start);
	return NULL;
}

static bool expired(const struct task *t)
{
	return t->msg->expires_ns && t->msg->expires_ns <= env_wall_ns(t->partition->m->env);
}

void partition_match(struct partition *p)
{
	bool hungry = false;
	for (struct heap_node *n = heap_min(&p->waiting); n; n = heap_min(&p->waiting)) {
		struct task *t = container_of(n, struct task, order);
		if (expired(t)) {
			task_end(t);
			continue;
		}
		struct credit *c = next_credit(p);
		hungry = !c;
		if (!c || !rate_allows(p))
			break;
		c->handed++;
		rate_handed(p);
		task_hand(t, c->gateway);
	}
	if (hungry)
		scale_hunger(p);
	pull_more(p);
}

void partition_drop_waiting(struct partition *p)
{
	struct task *t, *tmp;
	HASH_ITER (hh, p->tasks, t, tmp)
		if (t->state == TASK_WAITING)
			task_end(t);
}

void partition_ask_again(struct partition *p)
{
	struct matching *m = p->m;
	Perdure__OfferAgain msg = PERDURE__OFFER_AGAIN__INIT;
	msg.queue = p->queue;
	msg.partition = p->number;
	struct bytes body = matching_pack(&msg.base);
	size_t count;
	const struct member *const *nodes = membership_live(m->membership, MEMBER_HISTORY, &count);
	for (size_t i = 0; i < count; i++)
		rpc_send(m->rpc, nodes[i]->address, RPC_HISTORY_OFFER_AGAIN, body);
	free((void *)body.data);
}
