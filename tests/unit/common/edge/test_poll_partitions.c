/*
 * Polls over the partitions of their queue: spread, lent to those that are hungry, taken back from those that close.
 */
#include "tests/unit/common/edge/harness.h"

#define SECOND	 NS_PER_S
#define ACTIVITY PERDURE__TASK_KIND__TASK_KIND_ACTIVITY
#define POLLS	 8

static struct client_call *polls[POLLS];

/* The newest word about a partition; UINT32_MAX: the last whole report does not name it. */
static uint32_t idle(uint32_t partition)
{
	const struct peer_node *p = &k.matching;
	for (size_t i = p->credit_count; i-- > 0;) {
		const Perdure__Credits *c = p->credits[i];
		for (size_t j = 0; j < c->n_queues; j++)
			if (c->queues[j]->partition == partition)
				return c->queues[j]->idle;
		if (c->whole)
			return UINT32_MAX;
	}
	return UINT32_MAX;
}

static void send_out(const Perdure__HandOut *m)
{
	uint8_t packed[1024];
	size_t len = perdure__hand_out__pack(m, packed);
	rpc_send(k.matching.rpc, k.matching.gateway, RPC_GATEWAY_TASKS, bytes_of(packed, len));
	advance(5 * MS);
}

static Perdure__QueueKey key(void)
{
	Perdure__QueueKey q = PERDURE__QUEUE_KEY__INIT;
	q.namespace_id = (char *)NAMESPACE_ID;
	q.name = (char *)"q";
	q.pollers = ACTIVITY;
	return q;
}

static void tell_partitions(uint32_t count, int64_t version)
{
	Perdure__QueueKey q = key();
	Perdure__QueuePartitions n = PERDURE__QUEUE_PARTITIONS__INIT, *list[] = {&n};
	Perdure__HandOut m = PERDURE__HAND_OUT__INIT;
	n.queue = &q;
	n.count = count;
	n.version = version;
	m.queues = list;
	m.n_queues = 1;
	send_out(&m);
}

static void tell_hunger(uint32_t partition, uint32_t tasks)
{
	Perdure__QueueKey q = key();
	Perdure__HungryPartition h = PERDURE__HUNGRY_PARTITION__INIT, *list[] = {&h};
	Perdure__HandOut m = PERDURE__HAND_OUT__INIT;
	h.queue = &q;
	h.partition = partition;
	h.tasks = tasks;
	m.hungry = list;
	m.n_hungry = 1;
	send_out(&m);
}

static void begin(size_t count)
{
	for (size_t i = 0; i < count; i++)
		polls[i] = poll_activity("q", "w", 60 * SECOND);
}

static void end(size_t count)
{
	for (size_t i = 0; i < count; i++) {
		client_cancel(polls[i]);
		client_free(polls[i]);
	}
}

START_TEST(polls_spread_over_the_partitions)
{
	begin(6);
	ck_assert_uint_eq(idle(0), 6);
	tell_partitions(3, 7);
	for (uint32_t i = 0; i < 3; i++)
		ck_assert_uint_eq(idle(i), 2);
	const Perdure__Credits *last = k.matching.credits[k.matching.credit_count - 1];
	ck_assert_uint_eq(last->queues[0]->partitions, 3);
	ck_assert_int_eq(last->queues[0]->partitions_version, 7);
	/* What is older changes nothing. */
	tell_partitions(1, 6);
	ck_assert_uint_eq(idle(0), 2);
	end(6);
}
END_TEST

START_TEST(new_polls_go_where_fewest_are)
{
	begin(1);
	tell_partitions(4, 7);
	end(1);
	begin(8);
	for (uint32_t i = 0; i < 4; i++)
		ck_assert_uint_eq(idle(i), 2);
	end(8);
}
END_TEST

START_TEST(polls_are_lent_to_the_hungry)
{
	begin(4);
	tell_partitions(4, 7);
	tell_hunger(2, 3);
	ck_assert_uint_eq(idle(2), 3);
	ck_assert_uint_eq(idle(0) + idle(1) + idle(3), 1);
	/* A poll that comes now goes there too. */
	tell_hunger(2, 5);
	ck_assert_uint_eq(idle(2), 4);
	polls[4] = poll_activity("q", "w", 60 * SECOND);
	ck_assert_uint_eq(idle(2), 5);
	end(5);
}
END_TEST

START_TEST(several_hungry_ones_share)
{
	begin(2);
	tell_partitions(2, 7);
	tell_hunger(0, 10);
	tell_hunger(1, 10);
	end(2);
	begin(6);
	ck_assert_uint_eq(idle(0), 3);
	ck_assert_uint_eq(idle(1), 3);
	end(6);
}
END_TEST

static void hand_from(uint32_t partition, uint64_t hand_id, int64_t scheduled_ns)
{
	Perdure__QueueKey q = key();
	Perdure__DispatchTask task = PERDURE__DISPATCH_TASK__INIT;
	Perdure__HandedTask handed = PERDURE__HANDED_TASK__INIT, *list[] = {&handed};
	Perdure__HandOut m = PERDURE__HAND_OUT__INIT;
	task.kind = ACTIVITY;
	task.namespace_id = (char *)NAMESPACE_ID;
	task.workflow_id = (char *)"wf";
	task.shard = shard_of(NAMESPACE_ID, "wf", SHARDS);
	task.scheduled_time_ns = scheduled_ns;
	handed.hand_id = hand_id;
	handed.queue = &q;
	handed.partition = partition;
	handed.task = &task;
	m.session = k.matching.credits[k.matching.credit_count - 1]->session;
	m.tasks = list;
	m.n_tasks = 1;
	send_out(&m);
}

START_TEST(a_hungry_one_waits_for_those_further_behind)
{
	begin(2);
	tell_partitions(2, 7);
	tell_hunger(0, 10);
	tell_hunger(1, 10);
	hand_from(0, 1, 60 * SECOND);
	hand_from(1, 2, 10 * SECOND);
	for (size_t i = 2; i < 6; i++)
		polls[i] = poll_activity("q", "w", 60 * SECOND);
	ck_assert_uint_eq(idle(0), 0);
	ck_assert_uint_eq(idle(1), 4);
	/* It caught up. */
	hand_from(1, 3, 60 * SECOND);
	polls[6] = poll_activity("q", "w", 60 * SECOND);
	ck_assert_uint_eq(idle(0), 1);
	end(7);
}
END_TEST

START_TEST(a_closing_partition_loses_its_polls_unless_it_is_hungry)
{
	begin(4);
	tell_partitions(2, 7);
	tell_partitions(1, 8);
	ck_assert_uint_eq(idle(0), 4);
	ck_assert_uint_eq(idle(1), 0);
	tell_hunger(1, 1);
	ck_assert_uint_eq(idle(0), 3);
	ck_assert_uint_eq(idle(1), 1);
	tell_hunger(1, 0);
	ck_assert_uint_eq(idle(0), 4);
	/* After a while it is not told any more. */
	advance(15 * SECOND);
	ck_assert_uint_eq(idle(0), 4);
	ck_assert_uint_eq(idle(1), UINT32_MAX);
	end(4);
}
END_TEST

START_TEST(who_says_it_is_hungry_and_falls_silent_gives_back)
{
	begin(4);
	tell_partitions(2, 7);
	tell_partitions(1, 8);
	tell_hunger(1, 2);
	ck_assert_uint_eq(idle(1), 2);
	advance(4 * SECOND);
	ck_assert_uint_eq(idle(0), 4);
	end(4);
}
END_TEST

int main(void)
{
	const TTest *const tests[] = {
		polls_spread_over_the_partitions,
		new_polls_go_where_fewest_are,
		polls_are_lent_to_the_hungry,
		several_hungry_ones_share,
		a_hungry_one_waits_for_those_further_behind,
		a_closing_partition_loses_its_polls_unless_it_is_hungry,
		who_says_it_is_hungry_and_falls_silent_gives_back,
	};
	return run_suite("poll_partitions", tests, array_len(tests));
}
