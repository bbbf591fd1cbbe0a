/*
 * A partition of a task queue: what waits, who may have it, in which order.
 *
 * Order: priority (1 first, 3 when unset), then age, then arrival. Memory is bounded twice: by partition and in all;
 * beyond that history is told "full" and asked again when half of it has drained.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

#define PRIORITY_DEFAULT 3
#define RATE_WINDOW_NS	 (5 * NS_PER_S)

static int priority(const struct task *t)
{
	return t->msg->priority_key > 0 ? t->msg->priority_key : PRIORITY_DEFAULT;
}

static bool before(const struct heap_node *x, const struct heap_node *y)
{
	const struct task *a = container_of(x, struct task, order), *b = container_of(y, struct task, order);
	if (priority(a) != priority(b))
		return priority(a) < priority(b);
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

bool partition_owned(const struct matching *m, const Perdure__QueueKey *q, uint32_t number)
{
	return !m->draining &&
	       membership_owns(m->membership, MEMBER_MATCHING,
			       placement_queue(q->namespace_id, q->name, (int)q->pollers, q->sticky, number));
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
	size_t len = perdure__queue_key__get_packed_size(q);
	uint8_t *data = mem_alloc(len);
	perdure__queue_key__pack(q, data);
	Perdure__QueueKey *copy = perdure__queue_key__unpack(NULL, len, data);
	free(data);
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
	p->placement = placement_queue(q->namespace_id, q->name, (int)q->pollers, q->sticky, number);
	p->rates_ns = p->idle_since_ns = env_mono_ns(m->env);
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
	HASH_DEL(m->partitions, p);
	m->counts.partitions--;
	heap_done(&p->waiting);
	perdure__queue_key__free_unpacked(p->queue, NULL);
	free(p->key);
	free(p);
}

/* ------------------------------------------------------------------ rates */

/* Exponentially weighted, good enough for people. */
static void count_rate(struct partition *p, double *rate, int n)
{
	int64_t now = env_mono_ns(p->m->env);
	double elapsed = (double)(now - p->rates_ns) / (double)RATE_WINDOW_NS;
	double keep = elapsed >= 1 ? 0 : 1 - elapsed;
	p->add_rate *= keep;
	p->hand_rate *= keep;
	p->rates_ns = now;
	*rate += (double)n * NS_PER_S / (double)RATE_WINDOW_NS;
}

void partition_set_rate(struct partition *p)
{
	struct credit *c;
	double rate = 0;
	DL_FOREACH2(p->credits, c, in_partition_next)
	for (size_t i = 0; i < c->poller_count; i++)
		if (c->pollers[i]->rate_per_second > 0 && (rate == 0 || c->pollers[i]->rate_per_second < rate))
			rate = c->pollers[i]->rate_per_second;
	if (rate == p->rate)
		return;
	p->rate = rate;
	p->tokens = 1;
	p->tokens_ns = env_mono_ns(p->m->env);
}

/* Takes one token; when there is none, comes back when there will be. */
static bool rate_allows(struct partition *p)
{
	if (p->rate <= 0)
		return true;
	int64_t now = env_mono_ns(p->m->env);
	double burst = p->rate < 1 ? 1 : p->rate;
	p->tokens += (double)(now - p->tokens_ns) / NS_PER_S * p->rate;
	if (p->tokens > burst)
		p->tokens = burst;
	p->tokens_ns = now;
	if (p->tokens >= 1) {
		p->tokens -= 1;
		return true;
	}
	env_timer_start(p->m->env, &p->rate_timer, (int64_t)((1 - p->tokens) / p->rate * NS_PER_S) + NS_PER_MS);
	return false;
}

/* ------------------------------------------------------------------ tasks in */

static char *id_of(const Perdure__DispatchTask *t)
{
	size_t cap = strlen(t->run_id) + strlen(t->query_id) + 72;
	char *id = mem_alloc(cap);
	snprintf(id, cap, "%s/%d/%" PRId64 "/%" PRId64 "/%s", t->run_id, (int)t->kind, t->scheduled_event_id, t->stamp,
		 t->query_id);
	return id;
}

Perdure__AddTasksReply__Verdict partition_add(struct partition *p, const Perdure__DispatchTask *msg)
{
	struct matching *m = p->m;
	struct task *t = NULL;
	char *id = id_of(msg);
	HASH_FIND_STR(p->tasks, id, t);
	if (t) {
		free(id);
		return PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED;
	}
	size_t len = perdure__dispatch_task__get_packed_size(msg);
	size_t bytes = sizeof *t + 2 * len + strlen(id) + 64;
	if (p->bytes + (int64_t)bytes > m->config.queue_bytes ||
	    m->counts.bytes + (int64_t)bytes > m->config.memory_bytes) {
		free(id);
		p->refused = true;
		m->counts.refused++;
		return PERDURE__ADD_TASKS_REPLY__VERDICT__REFUSED_FULL;
	}
	uint8_t *data = mem_alloc(len);
	perdure__dispatch_task__pack(msg, data);
	t = new0(struct task);
	t->msg = perdure__dispatch_task__unpack(NULL, len, data);
	free(data);
	t->id = id;
	t->partition = p;
	t->arrival = m->next_arrival++;
	t->bytes = bytes;
	p->bytes += (int64_t)bytes;
	m->counts.bytes += (int64_t)bytes;
	m->counts.added++;
	HASH_ADD_KEYPTR(hh, p->tasks, t->id, strlen(t->id), t);
	task_wait(t);
	count_rate(p, &p->add_rate, 1);
	return PERDURE__ADD_TASKS_REPLY__VERDICT__ACCEPTED;
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
	for (struct heap_node *n = heap_min(&p->waiting); n; n = heap_min(&p->waiting)) {
		struct task *t = container_of(n, struct task, order);
		if (expired(t)) {
			task_end(t);
			continue;
		}
		struct credit *c = next_credit(p);
		if (!c || !rate_allows(p))
			break;
		c->handed++;
		count_rate(p, &p->hand_rate, 1);
		task_hand(t, c->gateway);
	}
	if (p->refused && p->bytes < p->m->config.queue_bytes / 2 && p->m->counts.bytes < p->m->config.memory_bytes / 2)
		partition_ask_again(p);
}

void partition_ask_again(struct partition *p)
{
	struct matching *m = p->m;
	Perdure__OfferAgain msg = PERDURE__OFFER_AGAIN__INIT;
	uint8_t data[4096];
	msg.queue = p->queue;
	msg.partition = p->number;
	p->refused = false;
	size_t len = perdure__offer_again__get_packed_size(&msg);
	if (len > sizeof data)
		return;
	perdure__offer_again__pack(&msg, data);
	size_t count;
	const struct member *const *nodes = membership_live(m->membership, MEMBER_HISTORY, &count);
	for (size_t i = 0; i < count; i++)
		rpc_send(m->rpc, nodes[i]->address, RPC_HISTORY_OFFER_AGAIN, bytes_of(data, len));
}
