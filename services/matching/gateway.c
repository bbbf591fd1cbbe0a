/*
 * Gateways and their credits. A gateway says in absolute numbers how many polls are idle and how many tasks it had
 * received by then; what we handed it since is subtracted. So a lost or repeated message does no harm.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

static void flush(struct env_task *task)
{
	struct gateway *g = container_of(task, struct gateway, flush);
	Perdure__HandOut msg = PERDURE__HAND_OUT__INIT;
	msg.session = g->session;
	msg.tasks = g->outbox;
	msg.n_tasks = g->outbox_count;
	size_t len = perdure__hand_out__get_packed_size(&msg);
	uint8_t *data = mem_alloc(len);
	perdure__hand_out__pack(&msg, data);
	rpc_send(g->m->rpc, g->address, RPC_GATEWAY_TASKS, bytes_of(data, len));
	free(data);
	for (size_t i = 0; i < g->outbox_count; i++)
		perdure__handed_task__free_unpacked(g->outbox[i], NULL);
	g->outbox_count = 0;
}

struct gateway *gateway_get(struct matching *m, const char *address, uint64_t session)
{
	struct gateway *g = NULL;
	HASH_FIND_STR(m->gateways, address, g);
	if (g && g->session != session) { /* it counts from zero again */
		gateway_drop(g);
		g = NULL;
	}
	if (g)
		return g;
	g = new0(struct gateway);
	g->m = m;
	g->address = mem_strdup(address);
	g->session = session;
	g->flush.fn = flush;
	HASH_ADD_KEYPTR(hh, m->gateways, g->address, strlen(g->address), g);
	m->counts.gateways++;
	return g;
}

/* The message outlives the task, which may be gone (handed back, redelivered) before the turn ends: copies. */
void gateway_send(struct gateway *g, struct task *t)
{
	Perdure__HandedTask h = PERDURE__HANDED_TASK__INIT;
	h.hand_id = t->hand_id;
	h.queue = t->partition->queue;
	h.partition = t->partition->number;
	h.task = t->msg;
	size_t len = perdure__handed_task__get_packed_size(&h);
	uint8_t *data = mem_alloc(len);
	perdure__handed_task__pack(&h, data);
	if (g->outbox_count == g->outbox_cap) {
		g->outbox_cap = g->outbox_cap ? g->outbox_cap * 2 : 16;
		g->outbox = mem_realloc(g->outbox, g->outbox_cap * sizeof(Perdure__HandedTask *));
	}
	g->outbox[g->outbox_count++] = perdure__handed_task__unpack(NULL, len, data);
	free(data);
	env_defer(g->m->env, &g->flush);
}

struct credit *credit_get(struct gateway *g, struct partition *p)
{
	struct credit *c;
	DL_FOREACH2(p->credits, c, in_partition_next)
	if (c->gateway == g)
		return c;
	c = new0(struct credit);
	c->gateway = g;
	c->partition = p;
	DL_APPEND2(p->credits, c, in_partition_prev, in_partition_next);
	DL_APPEND2(g->credits, c, in_gateway_prev, in_gateway_next);
	return c;
}

static void free_pollers(struct credit *c)
{
	for (size_t i = 0; i < c->poller_count; i++)
		perdure__poller_info__free_unpacked(c->pollers[i], NULL);
	free(c->pollers);
	c->pollers = NULL;
	c->poller_count = 0;
}

void credit_drop(struct credit *c)
{
	struct partition *p = c->partition;
	if (p->turn == c)
		p->turn = NULL;
	DL_DELETE2(p->credits, c, in_partition_prev, in_partition_next);
	DL_DELETE2(c->gateway->credits, c, in_gateway_prev, in_gateway_next);
	free_pollers(c);
	free(c);
	p->idle_since_ns = env_mono_ns(p->m->env);
}

int64_t credit_available(const struct credit *c)
{
	return (int64_t)c->idle - (int64_t)(c->handed - c->received);
}

static Perdure__PollerInfo *copy_poller(const Perdure__PollerInfo *p)
{
	size_t len = perdure__poller_info__get_packed_size(p);
	uint8_t *data = mem_alloc(len);
	perdure__poller_info__pack(p, data);
	Perdure__PollerInfo *copy = perdure__poller_info__unpack(NULL, len, data);
	free(data);
	return copy;
}

void credit_set(struct credit *c, const Perdure__QueueCredit *msg)
{
	c->idle = msg->idle;
	/* It counts since its session began, and had tasks of this queue from the partition's owner before us: we go on
	 * from its number, so that from then on what is on its way is the difference. */
	if (msg->received > c->handed)
		c->handed = msg->received;
	c->received = msg->received;
	if (!msg->n_pollers)
		return;
	free_pollers(c);
	c->pollers = mem_alloc(msg->n_pollers * sizeof(Perdure__PollerInfo *));
	for (size_t i = 0; i < msg->n_pollers; i++)
		c->pollers[c->poller_count++] = copy_poller(msg->pollers[i]);
}

void gateway_drop(struct gateway *g)
{
	struct matching *m = g->m;
	struct task *t, *tmp;
	env_undefer(m->env, &g->flush);
	for (size_t i = 0; i < g->outbox_count; i++)
		perdure__handed_task__free_unpacked(g->outbox[i], NULL);
	free(g->outbox);
	while (g->credits)
		credit_drop(g->credits);
	/* What it had may have been started or not: offered to others, history tells the second taker. */
	DL_FOREACH_SAFE2(m->handed_order, t, tmp, handed_next)
	{
		if (t->gateway != g)
			continue;
		struct partition *p = t->partition;
		task_back(t);
		partition_match(p);
	}
	HASH_DEL(m->gateways, g);
	m->counts.gateways--;
	free(g->address);
	free(g);
}
