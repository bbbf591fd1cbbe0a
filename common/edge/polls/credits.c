/*
 * What matching is told: credits (absolute numbers, so losing or repeating a message is harmless) and what became of
 * the tasks it handed over. Gathered during a turn of the loop, sent at its end, one message a node; once a second
 * everything is said again.
 */
#include <stdlib.h>
#include <utlist.h>

#include "common/edge/polls/internal.h"
#include "common/mem/mem.h"

#define TICK_NS	 NS_PER_S
#define DOWN_MAX 8

static struct peer *peer_get(struct polls *p, const char *address)
{
	struct peer *peer;
	size_t len = strlen(address);
	HASH_FIND(hh, p->peers, address, len, peer);
	if (!peer) {
		peer = mem_zalloc(sizeof *peer + len + 1);
		memcpy(peer->address, address, len + 1);
		HASH_ADD_KEYPTR(hh, p->peers, peer->address, len, peer);
	}
	return peer;
}

static const char *owner_of(struct polls *p, const Perdure__QueueKey *k, uint32_t partition)
{
	uint64_t key = placement_queue(k->namespace_id, k->name, (int)k->pollers, k->sticky);
	const struct member *m = membership_partition_owner(p->edge->parts.membership, key, partition);
	return m ? m->address : NULL;
}

static void put_message(struct buf *b, uint32_t field, const ProtobufCMessage *m)
{
	size_t len = protobuf_c_message_get_packed_size(m);
	buf_put_varint(b, (uint64_t)field << 3 | 2);
	buf_put_varint(b, len);
	protobuf_c_message_pack(m, buf_reserve(b, len));
	b->len += len;
}

/* ------------------------------------------------------------------ credits */

static bool pollers_changed(const struct poll_queue *q)
{
	struct poller *r, *tmp;
	HASH_ITER (hh, q->pollers, r, tmp)
		if (r->changed)
			return true;
	return false;
}

/* All of them, or none when nothing changed. */
static void put_pollers(Perdure__QueueCredit *c, const struct poll_queue *q, struct arena *a)
{
	struct poller *r, *tmp;
	if (!pollers_changed(q))
		return;
	c->pollers = arena_array(a, Perdure__PollerInfo *, HASH_COUNT(q->pollers));
	HASH_ITER (hh, q->pollers, r, tmp) {
		Perdure__PollerInfo *i = arena_new0(a, Perdure__PollerInfo);
		perdure__poller_info__init(i);
		i->identity = r->identity;
		i->last_access_time_ns = r->last_access_ns;
		i->rate_per_second = r->rate;
		i->worker_version_capabilities = (ProtobufCBinaryData){r->versions.len, (uint8_t *)r->versions.data};
		i->deployment_options = (ProtobufCBinaryData){r->deployment.len, (uint8_t *)r->deployment.data};
		c->pollers[c->n_pollers++] = i;
	}
}

static void put_credits(struct poll_queue *q, bool with_pollers)
{
	struct polls *p = q->polls;
	bool all = q->all_dirty || with_pollers;
	q->all_dirty = false;
	for (uint32_t i = 0; i < q->reach; i++) {
		if (!all && !q->partitions[i].changed)
			continue;
		q->partitions[i].changed = false;
		const char *owner = owner_of(p, &q->key, i);
		if (!owner)
			continue; /* said again when one is there */
		Perdure__QueueCredit c = PERDURE__QUEUE_CREDIT__INIT;
		c.queue = &q->key;
		c.partition = i;
		c.idle = q->partitions[i].idle;
		c.received = q->partitions[i].received;
		c.gone = q->gone;
		c.shut_down = q->shut_down;
		c.partitions = q->partition_count;
		c.partitions_version = q->partitions_version;
		struct arena *a = with_pollers ? arena_new(0) : NULL;
		if (with_pollers)
			put_pollers(&c, q, a);
		put_message(&peer_get(p, owner)->credits, 2, &c.base);
		arena_free(a);
	}
}

static void told_pollers(struct poll_queue *q)
{
	struct poller *r, *tmp;
	HASH_ITER (hh, q->pollers, r, tmp) {
		r->changed = false;
		if (r->polls == 0)
			poller_release(r);
	}
}

/* We may know before its successor does that a node cannot be reached. */
static void send_credits(struct polls *p, struct peer *peer, bool whole)
{
	Perdure__Credits head = PERDURE__CREDITS__INIT;
	const char *down[DOWN_MAX];
	head.session = p->session;
	head.whole = whole;
	head.n_down = membership_doubted(p->edge->parts.membership, MEMBER_MATCHING, down, DOWN_MAX);
	head.down = (char **)down;
	size_t len = perdure__credits__get_packed_size(&head);
	perdure__credits__pack(&head, buf_reserve(&peer->credits, len));
	peer->credits.len += len;
	rpc_send(p->edge->parts.rpc, peer->address, RPC_MATCHING_CREDITS, buf_view(&peer->credits));
	peer->credits.len = 0;
}

void credits_dirty(struct poll_queue *q, uint32_t partition)
{
	struct polls *p = q->polls;
	if (partition == UINT32_MAX)
		q->all_dirty = true;
	else
		q->partitions[partition].changed = true;
	if (q->dirty)
		return;
	q->dirty = true;
	DL_APPEND2(p->dirty, q, dirty_prev, dirty_next);
	env_defer(p->env, &p->flush);
}

void credits_shut_down(struct polls *p, const Perdure__QueueKey *key)
{
	const char *owner = owner_of(p, key, 0);
	Perdure__QueueCredit c = PERDURE__QUEUE_CREDIT__INIT;
	c.queue = (Perdure__QueueKey *)key;
	c.gone = c.shut_down = true;
	c.received = p->received_floor;
	if (owner)
		put_message(&peer_get(p, owner)->credits, 2, &c.base);
	env_defer(p->env, &p->flush);
}

/* ------------------------------------------------------------------ outcomes */

const char *credits_verdict_name(Perdure__TaskOutcome__Verdict v)
{
	switch (v) {
	case PERDURE__TASK_OUTCOME__VERDICT__STARTED:
		return "started";
	case PERDURE__TASK_OUTCOME__VERDICT__ALREADY_STARTED:
		return "already_started";
	case PERDURE__TASK_OUTCOME__VERDICT__GONE:
		return "gone";
	case PERDURE__TASK_OUTCOME__VERDICT__HANDED_BACK:
		return "handed_back";
	case PERDURE__TASK_OUTCOME__VERDICT__UNSPECIFIED:
	case _PERDURE__TASK_OUTCOME__VERDICT_IS_INT_SIZE:
		break;
	}
	return "unspecified";
}

static void count_outcome(struct polls *p, Perdure__TaskOutcome__Verdict v)
{
	struct counter **c = &p->outcome_counters[v];
	if (!*c && p->edge->parts.metrics) {
		const struct metric_label label = {"outcome", credits_verdict_name(v)};
		*c = metrics_counter(p->edge->parts.metrics, "perdure_edge_tasks_total",
				     "Tasks that matching handed over, by what became of them.", &label, 1);
	}
	if (*c)
		counter_inc(*c);
}

void credits_outcome(struct polls *p, const char *matching, uint64_t hand_id, Perdure__TaskOutcome__Verdict verdict)
{
	Perdure__TaskOutcome o = PERDURE__TASK_OUTCOME__INIT;
	o.hand_id = hand_id;
	o.verdict = verdict;
	put_message(&peer_get(p, matching)->outcomes, 1, &o.base);
	count_outcome(p, verdict);
	p->outcomes_wait = true;
	env_defer(p->env, &p->flush);
}

/* ------------------------------------------------------------------ sending */

/* Credits first: a task that comes back finds the number of polls that is true now. */
static void flush(struct polls *p, bool whole)
{
	struct poll_queue *q, *tmp_queue;
	DL_FOREACH_SAFE2(p->dirty, q, tmp_queue, dirty_next)
	{
		DL_DELETE2(p->dirty, q, dirty_prev, dirty_next);
		q->dirty = false;
		if (!whole)
			put_credits(q, false);
	}
	struct peer *peer, *tmp;
	HASH_ITER (hh, p->peers, peer, tmp) {
		bool named = peer->credits.len > 0;
		if (named || (whole && peer->had_queues))
			send_credits(p, peer, whole);
		if (whole)
			peer->had_queues = named;
		if (peer->outcomes.len)
			rpc_send(p->edge->parts.rpc, peer->address, RPC_MATCHING_OUTCOMES, buf_view(&peer->outcomes));
		peer->outcomes.len = 0;
	}
}

void credits_on_flush(struct env_task *t)
{
	struct polls *p = container_of(t, struct polls, flush);
	/* Behind the responses of this turn: should we die between the two, matching must not think that workers have
	 * them. */
	if (p->outcomes_wait) {
		p->outcomes_wait = false;
		env_defer(p->env, t);
		return;
	}
	flush(p, false);
}

/* A node that left keeps no entry here. */
static void drop_peers(struct polls *p)
{
	struct peer *peer, *tmp;
	HASH_ITER (hh, p->peers, peer, tmp) {
		if (peer->had_queues || membership_find_address(p->edge->parts.membership, peer->address))
			continue;
		buf_done(&peer->credits);
		buf_done(&peer->outcomes);
		HASH_DEL(p->peers, peer);
		free(peer);
	}
}

void credits_on_tick(struct env_timer *t)
{
	struct polls *p = container_of(t, struct polls, tick);
	env_timer_start(p->env, &p->tick, TICK_NS);
	/* What was deferred in this turn goes first, by itself: the whole report holds queues only once. */
	flush(p, false);
	struct poll_queue *q, *tmp;
	HASH_ITER (hh, p->queues, q, tmp) {
		bool forget = queue_forgettable(q);
		queue_tend(q);
		if (!forget || q->pollers)
			put_credits(q, true);
		told_pollers(q);
		if (forget)
			queue_free(q);
	}
	flush(p, true);
	drop_peers(p);
}
