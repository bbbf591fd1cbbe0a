/*
 * What frontends ask about a partition.
 */
#include "common/mem/mem.h"
#include "services/matching/internal.h"

static void describe_backlog(const struct partition *p, struct arena *arena, Perdure__DescribeQueueReply *reply)
{
	struct sums sums = pull_sum(p);
	reply->backlog = sums.all.count;
	reply->oldest_scheduled_time_ns = sums.all.oldest_ns;
	reply->priorities = arena_array(arena, Perdure__PriorityBacklog *, PRIORITIES);
	for (int i = 0; i < PRIORITIES; i++) {
		if (!sums.of[i].count)
			continue;
		Perdure__PriorityBacklog *b = arena_new0(arena, Perdure__PriorityBacklog);
		perdure__priority_backlog__init(b);
		b->priority = i;
		b->count = sums.of[i].count;
		b->oldest_time_ns = sums.of[i].oldest_ns;
		reply->priorities[reply->n_priorities++] = b;
	}
}

static void describe(struct partition *p, struct arena *arena, Perdure__DescribeQueueReply *reply)
{
	pollers_expire(p);
	reply->pollers = arena_array(arena, Perdure__PollerInfo *, HASH_COUNT(p->pollers));
	for (struct poller *r = p->pollers; r; r = r->hh.next)
		reply->pollers[reply->n_pollers++] = r->info;
	describe_backlog(p, arena, reply);
	rate_look(p, &reply->add_rate, &reply->dispatch_rate);
	reply->partitions = p->count;
	reply->partitions_version = p->version;
}

static void serve_describe(void *ctx, struct rpc_request *req)
{
	struct matching *m = ctx;
	struct arena *arena = rpc_arena(req);
	struct bytes body = rpc_body(req);
	Perdure__DescribeQueue *msg = perdure__describe_queue__unpack(arena_pb(arena), body.len, body.data);
	if (!msg || !msg->queue) {
		rpc_reply_err(req, err_static(ERR_INTERNAL, "malformed request between daemons"));
		return;
	}
	if (!partition_owned(m, msg->queue, msg->partition)) {
		rpc_reply_err(req, (struct err){.code = ERR_UNAVAILABLE,
						.reason = ERR_REASON_NOT_OWNER,
						.message = "this node does not own the task queue"});
		return;
	}
	Perdure__DescribeQueueReply reply = PERDURE__DESCRIBE_QUEUE_REPLY__INIT;
	struct partition *p = partition_find(m, msg->queue, msg->partition);
	reply.partitions = 1;
	if (p)
		describe(p, arena, &reply);
	size_t len = perdure__describe_queue_reply__get_packed_size(&reply);
	uint8_t *data = arena_alloc(arena, len);
	perdure__describe_queue_reply__pack(&reply, data);
	struct bytes part = bytes_of(data, len);
	rpc_reply(req, &part, 1);
}

void describe_serve(struct matching *m)
{
	rpc_serve(m->rpc, RPC_MATCHING_DESCRIBE, serve_describe, m);
}
