/* The faults of the store in memory: each does what fake.h says, and the same seed does the same. */
#include "common/store/fake.h"

#include <check.h>
#include <stdlib.h>

#include "common/mem/mem.h"

struct clock {
	struct env env;
	int64_t now_ns;
};

static int64_t now(struct env *e)
{
	return container_of(e, struct clock, env)->now_ns;
}

static void no_random(struct env *e, void *out, size_t len)
{
	(void)e;
	memset(out, 7, len);
}

static void no_wake(struct env *e, int64_t due_ns)
{
	(void)e;
	(void)due_ns;
}

static const struct env_ops clock_ops = {
	.wall_ns = now, .mono_ns = now, .random = no_random, .wake_at = no_wake, .post = env_defer};

static struct clock clk;
static struct fake_db *db;
static struct store *s;
static int resets;

static void on_reset(void *ctx)
{
	(void)ctx;
	resets++;
}

static void setup(void)
{
	clk = (struct clock){0};
	env_init(&clk.env, &clock_ops);
	db = fake_db_new(4, 42);
	s = fake_store_new(&clk.env, db);
	resets = 0;
	store_on_writer_reset(s, on_reset, NULL);
}

static void teardown(void)
{
	store_free(s);
	fake_db_free(db);
	heap_done(&clk.env.timers);
}

static void run_until(int64_t until_ns)
{
	while (env_next_due(&clk.env) <= until_ns) {
		clk.now_ns = max_i64(clk.now_ns, env_next_due(&clk.env));
		env_run(&clk.env);
	}
	clk.now_ns = max_i64(clk.now_ns, until_ns);
}

struct result {
	bool done;
	struct err e;
	struct store_claimed claimed;
};

static void on_claimed(void *ctx, struct err e, const struct store_claimed *claimed)
{
	struct result *r = ctx;
	r->done = true;
	r->e = e;
	if (claimed)
		r->claimed = *claimed;
}

static void on_committed(void *ctx, struct err e, struct store_append *appends, size_t count)
{
	struct result *r = ctx;
	(void)appends;
	(void)count;
	r->done = true;
	r->e = e;
}

static struct result claim(struct store *store)
{
	struct result r = {0};
	const struct store_claim c = {.shard = 1, .node_id = "a", .incarnation = 1};
	store_claim(store, &c, on_claimed, &r);
	run_until(clk.now_ns + 10 * NS_PER_S);
	ck_assert(r.done);
	return r;
}

static struct store_append record(int64_t epoch, int64_t seq)
{
	return (struct store_append){.shard = 1, .epoch = epoch, .seq = seq, .record = bytes_str("r")};
}

static struct result commit(struct store_append *a)
{
	struct result r = {0};
	store_commit(s, a, 1, on_committed, &r);
	run_until(clk.now_ns + 10 * NS_PER_S);
	ck_assert(r.done);
	return r;
}

static void count_row(void *ctx, int64_t seq, int64_t epoch, struct bytes bytes)
{
	(void)seq;
	(void)epoch;
	(void)bytes;
	++*(size_t *)ctx;
}

static size_t rows(void)
{
	size_t n = 0;
	fake_db_each_journal(db, 1, count_row, &n);
	return n;
}

START_TEST(calls_take_their_latency)
{
	fake_db_set_faults(db, &(struct fake_faults){.latency_min_ns = 3 * NS_PER_MS, .latency_max_ns = 3 * NS_PER_MS});
	struct result r = {0};
	const struct store_claim c = {.shard = 1, .node_id = "a", .incarnation = 1};
	store_claim(s, &c, on_claimed, &r);
	run_until(6 * NS_PER_MS - 1);
	ck_assert(!r.done);
	run_until(6 * NS_PER_MS + 10);
	ck_assert(r.done);
}
END_TEST

START_TEST(a_failed_commit_wrote_nothing_and_keeps_the_claim)
{
	int64_t epoch = claim(s).claimed.epoch;
	fake_store_next_commit(s, FAKE_FATE_FAIL);
	struct store_append a = record(epoch, 1);
	struct result r = commit(&a);
	ck_assert_int_eq(r.e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(r.e.reason, ERR_REASON_NONE);
	ck_assert_uint_eq(rows(), 0);
	r = commit(&a);
	ck_assert(!err_is(r.e) && !a.fenced);
	ck_assert_int_eq(resets, 0);
}
END_TEST

START_TEST(a_late_commit_happens_after_its_answer)
{
	int64_t epoch = claim(s).claimed.epoch;
	fake_store_next_commit(s, FAKE_FATE_UNKNOWN_LATE);
	struct store_append a = record(epoch, 1);
	struct result r = {0};
	store_commit(s, &a, 1, on_committed, &r);
	while (!r.done)
		run_until(clk.now_ns + NS_PER_MS);
	ck_assert_int_eq(r.e.reason, ERR_REASON_OUTCOME_UNKNOWN);
	ck_assert_uint_eq(rows(), 0);
	run_until(clk.now_ns + 2 * NS_PER_S);
	ck_assert_uint_eq(rows(), 1);
}
END_TEST

START_TEST(a_claim_in_between_fences_the_late_commit)
{
	int64_t epoch = claim(s).claimed.epoch;
	fake_store_next_commit(s, FAKE_FATE_UNKNOWN_LATE);
	struct store_append a = record(epoch, 1);
	struct result r = {0}, again = {0};
	store_commit(s, &a, 1, on_committed, &r);
	while (!r.done)
		run_until(clk.now_ns + NS_PER_MS);
	const struct store_claim c = {.shard = 1, .node_id = "a", .incarnation = 1};
	store_claim(s, &c, on_claimed, &again);
	run_until(clk.now_ns + 10 * NS_PER_S);
	ck_assert(again.done);
	ck_assert_int_eq(again.claimed.last_seq, 0);
	ck_assert_uint_eq(rows(), 0);
}
END_TEST

START_TEST(a_cut_node_gets_no_answer_until_its_timeout)
{
	int64_t epoch = claim(s).claimed.epoch;
	fake_store_cut(s, true);
	struct store_append a = record(epoch, 1);
	struct result r = {0};
	store_commit(s, &a, 1, on_committed, &r);
	run_until(clk.now_ns + NS_PER_S / 2);
	ck_assert(!r.done);
	run_until(clk.now_ns + NS_PER_S);
	ck_assert(r.done);
	ck_assert_int_eq(r.e.reason, ERR_REASON_OUTCOME_UNKNOWN);
	ck_assert_int_eq(resets, 1);
	ck_assert_uint_eq(rows(), 0);
	fake_store_cut(s, false);
	ck_assert(!err_is(claim(s).e));
}
END_TEST

START_TEST(a_cut_before_the_answer_leaves_the_commit_done)
{
	int64_t epoch = claim(s).claimed.epoch;
	struct store_append a = record(epoch, 1);
	struct result r = {0};
	store_commit(s, &a, 1, on_committed, &r);
	run_until(clk.now_ns + 150 * NS_PER_US);
	ck_assert_uint_eq(rows(), 1);
	fake_store_cut(s, true);
	run_until(clk.now_ns + 2 * NS_PER_S);
	ck_assert(r.done);
	ck_assert_int_eq(r.e.reason, ERR_REASON_OUTCOME_UNKNOWN);
}
END_TEST

START_TEST(a_database_that_is_down_refuses_and_keeps_what_it_has)
{
	int64_t epoch = claim(s).claimed.epoch;
	struct store_append a = record(epoch, 1);
	commit(&a);
	fake_db_set_down(db, true);
	run_until(clk.now_ns + NS_PER_S);
	ck_assert_int_eq(resets, 1);
	ck_assert_int_eq(claim(s).e.code, ERR_UNAVAILABLE);
	fake_db_set_down(db, false);
	struct result r = claim(s);
	ck_assert(!err_is(r.e));
	ck_assert_int_eq(r.claimed.last_seq, 1);
}
END_TEST

START_TEST(a_killed_nodes_calls_never_come_back)
{
	struct store *other = fake_store_new(&clk.env, db);
	struct result r = {0};
	const struct store_claim c = {.shard = 2, .node_id = "b", .incarnation = 1};
	store_claim(other, &c, on_claimed, &r);
	store_free(other);
	run_until(clk.now_ns + 10 * NS_PER_S);
	ck_assert(!r.done);
}
END_TEST

/* What a run of commits under random faults leaves behind: how many rows, resets and failures. */
static uint64_t noisy_run(uint64_t seed)
{
	fake_db_free(db);
	db = fake_db_new(4, seed);
	s = fake_store_new(&clk.env, db);
	store_on_writer_reset(s, on_reset, NULL);
	resets = 0;
	fake_db_set_faults(db, &(struct fake_faults){.latency_min_ns = 1000,
						     .latency_max_ns = 500000,
						     .timeout_ns = NS_PER_S,
						     .fail = 0.1,
						     .lose_writer = 0.2,
						     .stall = 0.1,
						     .stall_ns = NS_PER_MS});
	struct result owned = claim(s);
	uint64_t digest = 0;
	for (int i = 0; i < 200; i++) {
		struct store_append a = record(owned.claimed.epoch, owned.claimed.last_seq + 1);
		struct result r = err_is(owned.e) ? owned : commit(&a);
		digest = digest * 31 + (uint64_t)r.e.code * 7 + (uint64_t)r.e.reason + (uint64_t)resets;
		owned = claim(s);
		if (!err_is(owned.e))
			ck_assert_uint_eq(rows(), (size_t)owned.claimed.last_seq);
	}
	store_free(s);
	return digest * 31 + rows();
}

START_TEST(the_same_seed_has_the_same_faults)
{
	store_free(s);
	uint64_t first = noisy_run(7), second = noisy_run(7), other = noisy_run(8);
	ck_assert(first == second);
	ck_assert(first != other);
	s = fake_store_new(&clk.env, db);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store in memory");
	TCase *t = tcase_create("faults");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, calls_take_their_latency);
	tcase_add_test(t, a_failed_commit_wrote_nothing_and_keeps_the_claim);
	tcase_add_test(t, a_late_commit_happens_after_its_answer);
	tcase_add_test(t, a_claim_in_between_fences_the_late_commit);
	tcase_add_test(t, a_cut_node_gets_no_answer_until_its_timeout);
	tcase_add_test(t, a_cut_before_the_answer_leaves_the_commit_done);
	tcase_add_test(t, a_database_that_is_down_refuses_and_keeps_what_it_has);
	tcase_add_test(t, a_killed_nodes_calls_never_come_back);
	tcase_add_test(t, the_same_seed_has_the_same_faults);
	suite_add_tcase(suite, t);
	SRunner *r = srunner_create(suite);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
