/*
 * Gateways and their credits. A gateway says in absolute numbers how many polls are idle and how many tasks it had
 * received by then; what we handed it since is subtracted. So a lost or repeated message does no harm.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/mem/mem.h"
#include "services/matching/internal.h"

struct bytes matching_pack(const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	uint8_t *data = mem_alloc(len + 1);
	protobuf_c_message_pack(msg, data);
	return bytes_of(data, len);
}

static void flush(struct env_task *task)
{
	struct gateway *g = container_of(task, struct gateway, flush);
	Perdure__HandOut head = PERDURE__HAND_OUT__INIT;
	head.session = g->session;
	uint8_t packed[16];
	assert(perdure__hand_out__get_packed_size(&head) <= sizeof packed);
	buf_put(&g->outbox, packed, perdure__hand_out__pack(&head, packed));
	rpc_send(g->m->rpc, g->address, RPC_GATEWAY_TASKS, buf_view(&g->outbox));
	g->outbox.len = 0;
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

/* Packed at once: what it is about may be gone before the turn ends. */
void gateway_say(struct gateway *g, uint32_t field, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	buf_put_varint(&g->outbox, (uint64_t)field << 3 | 2);
	buf_put_varint(&g->outbox, len);
	protobuf_c_message_pack(msg, buf_reserve(&g->outbox, len));
	g->outbox.len += len;
	env_defer(g->m->env, &g->flush);
}

void gateway_send(struct gateway *g, struct task *t)
{
	Perdure__HandedTask h = PERDURE__HANDED_TASK__INIT;
	h.hand_id = t->hand_id;
	h.queue = t->partition->queue;
	h.partition = t->partition->number;
	h.task = t->msg;
	h.request_id = t->request_id;
	gateway_say(g, 2, &h.base);
}

/* The shorter of the two lists knows. */
struct credit *credit_find(struct gateway *g, struct partition *p)
{
	struct credit *a = p->credits, *b = g->credits;
	while (a && b) {
		if (a->gateway == g)
			return a;
		if (b->partition == p)
			return b;
		a = a->in_partition_next;
		b = b->in_gateway_next;
	}
	return NULL;
}

struct credit *credit_get(struct gateway *g, struct partition *p)
{
	struct credit *c = credit_find(g, p);
	if (c)
		return c;
	c = new0(struct credit);
	c->gateway = g;
	c->partition = p;
	DL_APPEND2(p->credits, c, in_partition_prev, in_partition_next);
	DL_APPEND2(g->credits, c, in_gateway_prev, in_gateway_next);
	return c;
}

void credit_drop(struct credit *c)
{
	struct partition *p = c->partition;
	if (p->turn == c)
		p->turn = NULL;
	DL_DELETE2(p->credits, c, in_partition_prev, in_partition_next);
	DL_DELETE2(c->gateway->credits, c, in_gateway_prev, in_gateway_next);
	free(c);
	p->idle_since_ns = env_mono_ns(p->m->env);
}

int64_t credit_available(const struct credit *c)
{
	return (int64_t)c->idle - (int64_t)(c->handed - c->received);
}

void credit_set(struct credit *c, const Perdure__QueueCredit *msg)
{
	c->idle = msg->idle;
	/* It counts since its session began, and had tasks of this queue from the partition's owner before us: we go on
	 * from its number, so that from then on what is on its way is the difference. */
	if (msg->received > c->handed)
		c->handed = msg->received;
	c->received = msg->received;
}

void gateway_tell_lost(struct matching *m, const struct task *t)
{
	const struct member *owner = membership_shard_owner(m->membership, t->msg->shard);
	if (!owner || t->msg->kind == PERDURE__TASK_KIND__TASK_KIND_QUERY)
		return;
	Perdure__TakeBack msg = PERDURE__TAKE_BACK__INIT;
	msg.tasks = (Perdure__DispatchTask *[]){t->msg};
	msg.request_ids = (char *[]){t->lost};
	msg.n_tasks = msg.n_request_ids = 1;
	struct bytes b = matching_pack(&msg.base);
	rpc_send(m->rpc, owner->address, RPC_HISTORY_TAKE_BACK, b);
	free((void *)b.data);
}

void gateway_drop(struct gateway *g)
{
	struct matching *m = g->m;
	struct task *t, *tmp;
	env_undefer(m->env, &g->flush);
	buf_done(&g->outbox);
	while (g->credits)
		credit_drop(g->credits);
	/* What it had may have been started or not: taken back and offered to others, history tells the second taker.
	 */
	DL_FOREACH_SAFE2(m->handed_order, t, tmp, handed_next)
	{
		if (t->gateway != g)
			continue;
		struct partition *p = t->partition;
		free(t->lost);
		t->lost = mem_strdup(t->request_id);
		gateway_tell_lost(m, t);
		task_back(t);
		partition_match(p);
	}
	HASH_DEL(m->gateways, g);
	m->counts.gateways--;
	free(g->address);
	free(g);
}
