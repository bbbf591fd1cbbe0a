/*
 * What only two sessions of a real PostgreSQL can show: who waits for whom, and what is seen after the wait.
 */
#include "tests/store/world_pg.h"

static struct world *w;
static struct store *a, *b;

static void setup(void)
{
	w = world_start();
	a = w->ops->open(w);
	b = w->ops->open(w);
}

static void teardown(void)
{
	world_stop(w);
}

#define WAITING_SQL                                                                                                    \
	"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"

struct outcome {
	bool done;
	struct err e;
	int64_t last_seq;
};

static void on_commit(void *ctx, struct err e, struct store_append *appends, size_t count)
{
	struct outcome *o = ctx;
	(void)appends;
	(void)count;
	o->e = err_copy(w->arena, e);
	o->done = true;
}

static void on_claim(void *ctx, struct err e, const struct store_claimed *claimed)
{
	struct outcome *o = ctx;
	o->e = err_copy(w->arena, e);
	o->last_seq = claimed ? claimed->last_seq : -1;
	o->done = true;
}

/* R1: FOR SHARE waits for the claimer's update and sees its epoch, though its snapshot is older. */
START_TEST(a_commit_that_waited_for_a_claim_is_fenced)
{
	int64_t epoch = w_own(w, a, 1), other = w_own(w, a, 2);
	w_append(w, a, 1, epoch, 1, "before");
	world_pg_sql(w, "BEGIN; UPDATE shard SET epoch = epoch + 1, owner_node_id = 'b' WHERE shard_id = 1");
	struct store_append batch[] = {{.shard = 1, .epoch = epoch, .seq = 2, .record = bytes_str("too late")},
				       {.shard = 2, .epoch = other, .seq = 1, .record = bytes_str("fine")}};
	struct outcome o = {0};
	store_commit(a, batch, 2, on_commit, &o);
	world_pg_until(w, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
	ck_assert(!o.done);
	world_pg_sql(w, "COMMIT");
	world_wait(w, &o.done);
	assert_ok(o.e);
	ck_assert(batch[0].fenced && !batch[1].fenced);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM journal WHERE shard_id = 1"), "1");
}
END_TEST

/* … and when the claimer gives up, nothing is lost. */
START_TEST(a_commit_that_waited_for_a_claim_that_was_rolled_back_is_written)
{
	int64_t epoch = w_own(w, a, 1);
	world_pg_sql(w, "BEGIN; UPDATE shard SET epoch = epoch + 1 WHERE shard_id = 1");
	struct store_append x = {.shard = 1, .epoch = epoch, .seq = 1, .record = bytes_str("x")};
	struct outcome o = {0};
	store_commit(a, &x, 1, on_commit, &o);
	world_pg_until(w, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
	world_pg_sql(w, "ROLLBACK");
	world_wait(w, &o.done);
	assert_ok(o.e);
	ck_assert(!x.fenced);
}
END_TEST

/* R6: the tail is read in a statement after the claim's commit, so it has what was committed during the wait. */
START_TEST(a_claim_that_waited_for_a_commit_sees_it)
{
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "before");
	world_pg_sql(w, "BEGIN; SELECT FROM shard WHERE shard_id = 1 FOR SHARE");
	const struct store_claim claim = {.shard = 1, .node_id = "a", .incarnation = 1};
	struct outcome o = {0};
	store_claim(a, &claim, on_claim, &o);
	world_pg_until(w, "SELECT count(*) FROM pg_locks WHERE NOT granted", "1");
	world_pg_sql(w, "INSERT INTO journal VALUES (1, 2, 1, 'meanwhile'); COMMIT");
	world_wait(w, &o.done);
	assert_ok(o.e);
	ck_assert_int_eq(o.last_seq, 2);
}
END_TEST

START_TEST(a_claim_waits_for_a_strange_lock_only_so_long)
{
	world_pg_sql(w, "BEGIN; SELECT FROM shard WHERE shard_id = 1 FOR SHARE");
	const struct store_claim claim = {.shard = 1, .node_id = "a", .incarnation = 1};
	struct store_claimed claimed;
	struct err e = w_claim(w, a, &claim, &claimed);
	assert_code(e, ERR_UNAVAILABLE);
	world_pg_sql(w, "ROLLBACK");
	assert_ok(w_claim(w, a, &claim, &claimed));
}
END_TEST

/* R7 for our own old connection: cut off, its backend holds the lock with a half-sent pipeline until terminated. */
START_TEST(our_own_old_backend_does_not_stop_a_new_claim)
{
	w_own(w, a, 1);
	w->ops->lose_writer(w, a);
	w->ops->freeze_writer(w, a, 1);
	int64_t epoch = 0;
	for (int i = 0; i < 5 && epoch == 0; i++) {
		const struct store_claim claim = {.shard = 1, .node_id = "a", .incarnation = 1};
		struct store_claimed claimed;
		if (!err_is(w_claim(w, a, &claim, &claimed)))
			epoch = claimed.epoch;
	}
	ck_assert_int_eq(epoch, 2);
	ck_assert_str_eq(world_pg_value(w, "SELECT count(*) FROM pg_locks WHERE mode = 'RowShareLock' AND pid IN "
					   "(SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction')"),
			 "0");
}
END_TEST

/* A live owner's writer isn't touched by a claimer that has it wrong. */
START_TEST(a_live_owners_backend_is_left_alone)
{
	struct store_node na = {.node_id = "a", .incarnation = 1, .role = "history"};
	assert_ok(w_renew(w, a, &na).e);
	int64_t epoch = w_own(w, a, 1);
	int64_t seen = 1;
	assert_ok(w_renew(w, a, &na).e);
	const struct store_claim claim = {.shard = 1,
					  .node_id = "b",
					  .incarnation = 1,
					  .expired_node_id = "a",
					  .expired_incarnation = 1,
					  .expired_renewals = seen};
	struct store_claimed claimed;
	assert_code(w_claim(w, b, &claim, &claimed), ERR_ABORTED);
	w_append(w, a, 1, epoch, 1, "same connection");
}
END_TEST

/* R5: a fold holds the shard's row as the commits do, so both go on at once. */
START_TEST(a_fold_and_a_commit_do_not_wait_for_each_other)
{
	int64_t epoch = w_own(w, a, 1);
	w_append(w, a, 1, epoch, 1, "one");
	world_pg_sql(
		w,
		"BEGIN; SELECT shard_fence(1, 1); UPDATE shard_checkpoint SET checkpoint_seq = 1 WHERE shard_id = 1; "
		"DELETE FROM journal WHERE shard_id = 1 AND seq <= 1");
	w_append(w, a, 1, epoch, 2, "two");
	world_pg_sql(w, "COMMIT");
	w_append(w, a, 1, epoch, 3, "three");
}
END_TEST

static void on_topic(void *ctx, const char *topic)
{
	int *heard = ctx;
	heard[str_eq(topic, "namespaces")]++;
}

START_TEST(everything_is_announced_after_a_reconnect)
{
	int heard[2] = {0};
	store_on_notify(a, on_topic, heard);
	assert_ok(w_namespaces(w, a).e);
	world_pg_sql(w, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
			"AND pid <> pg_backend_pid()");
	for (bool both = false; !both; both = heard[0] && heard[1])
		w->ops->turn(w);
	assert_ok(w_namespaces(w, a).e);
}
END_TEST

START_TEST(calls_made_before_the_connection_stands_wait_for_it)
{
	struct store *c = w->ops->open(w);
	ck_assert_uint_eq(w_shards(w, c).count, WORLD_SHARDS);
}
END_TEST

TCase *postgres_fence(void)
{
	TCase *t = tcase_create("two sessions");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, a_commit_that_waited_for_a_claim_is_fenced);
	tcase_add_test(t, a_commit_that_waited_for_a_claim_that_was_rolled_back_is_written);
	tcase_add_test(t, a_claim_that_waited_for_a_commit_sees_it);
	tcase_add_test(t, a_claim_waits_for_a_strange_lock_only_so_long);
	tcase_add_test(t, our_own_old_backend_does_not_stop_a_new_claim);
	tcase_add_test(t, a_live_owners_backend_is_left_alone);
	tcase_add_test(t, a_fold_and_a_commit_do_not_wait_for_each_other);
	tcase_add_test(t, everything_is_announced_after_a_reconnect);
	tcase_add_test(t, calls_made_before_the_connection_stands_wait_for_it);
	return t;
}
