/*
 * Links and ops on a real PostgreSQL (PERDURE_TEST_DSN; tests/support/postgres.py starts one): types, errors,
 * pipelines, lost connections, notifications.
 */
#include <arpa/inet.h>
#include <check.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "common/loop/loop.h"
#include "common/mem/mem.h"
#include "common/pg/pg.h"

#define WAIT_S 20

static struct loop *loop;
static struct pg_link *link_;
static struct arena *errors;
static int ups, downs;
static char notified[64];

static void on_up(void *ctx)
{
	(void)ctx;
	ups++;
}

static void on_down(void *ctx, struct err why, bool was_up)
{
	(void)ctx;
	ck_assert(!str_empty(why.message));
	downs += was_up;
}

static void on_notify(void *ctx, const char *channel, const char *payload)
{
	(void)ctx;
	snprintf(notified, sizeof notified, "%s:%s", channel, payload);
}

static const struct pg_link_events events = {.on_up = on_up, .on_down = on_down, .on_notify = on_notify};

static struct pg_link_config config(void)
{
	return (struct pg_link_config){.dsn = getenv("PERDURE_TEST_DSN"),
				       .name = "test_link",
				       .listen = "test_channel",
				       .connect_timeout_ns = 3 * NS_PER_S,
				       .backoff_max_ns = 100 * NS_PER_MS,
				       .statement_timeout_ns = 5 * NS_PER_S,
				       .lock_timeout_ns = 200 * NS_PER_MS};
}

static void setup(void)
{
	ck_assert_msg(getenv("PERDURE_TEST_DSN"), "run me with tests/support/postgres.py");
	loop = loop_new();
	errors = arena_new(0);
	ups = downs = 0;
	notified[0] = 0;
	const struct pg_link_config c = config();
	struct err e = pg_link_new(loop, &c, &events, NULL, errors, &link_);
	ck_assert(!err_is(e));
}

static void teardown(void)
{
	pg_link_free(link_);
	loop_stop(loop);
	loop_run(loop);
	loop_free(loop);
	arena_free(errors);
}

/* ------------------------------------------------------------------ helpers */

struct answer {
	bool done;
	struct err e;
	char text[256];
	char sqlstate[6];
	void (*look)(const struct pg_done *d);
};

static void on_answer(void *ctx, const struct pg_done *d)
{
	struct answer *a = ctx;
	ck_assert(!a->done);
	a->done = true;
	a->e = d->e;
	snprintf(a->text, sizeof a->text, "%s", d->e.message ? d->e.message : "");
	memcpy(a->sqlstate, d->sqlstate, sizeof a->sqlstate);
	if (a->look && !err_is(d->e))
		a->look(d);
}

static void wait_for(const bool *flag)
{
	time_t until = time(NULL) + WAIT_S;
	while (!*flag) {
		ck_assert_msg(time(NULL) < until, "no answer");
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
}

static struct answer submit_and_wait(struct pg_op *op, void (*look)(const struct pg_done *d))
{
	struct answer a = {.look = look};
	pg_link_submit(link_, op, on_answer, &a);
	ck_assert_msg(!a.done, "answered inline");
	wait_for(&a.done);
	return a;
}

static struct answer run_text(const char *sql, bool writes)
{
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, sql);
	if (writes)
		pg_op_writes(op);
	return submit_and_wait(op, NULL);
}

/* ------------------------------------------------------------------ types */

static const struct pg_stmt stmt_types = {"types",
					  "SELECT $1::int4, $2::int8, $3::bool, $4::text, $5::bytea, $6::text"};

static void look_types(const struct pg_done *d)
{
	const PGresult *r = d->rows[0];
	ck_assert_uint_eq(pg_row_count(r), 1);
	ck_assert_int_eq(pg_int4(r, 0, 0), -5);
	ck_assert(pg_int8(r, 0, 1) == INT64_MIN);
	ck_assert(pg_bool(r, 0, 2));
	ck_assert_str_eq(pg_text(r, 0, 3), "käse");
	ck_assert(bytes_eq(pg_bytes(r, 0, 4), bytes_of("\0\1\377", 3)));
	ck_assert(pg_null(r, 0, 5) && pg_text(r, 0, 5) == NULL);
}

START_TEST(every_type_there_and_back)
{
	for (int i = 0; i < 3; i++) { /* prepared once, used again */
		struct pg_op *op = pg_op_new();
		pg_op_add(op, &stmt_types);
		pg_op_int4(op, -5);
		pg_op_int8(op, INT64_MIN);
		pg_op_bool(op, true);
		pg_op_text(op, "käse");
		pg_op_bytes(op, bytes_of("\0\1\377", 3));
		pg_op_text(op, NULL);
		struct answer a = submit_and_wait(op, look_types);
		ck_assert_msg(!err_is(a.e), "%s", a.text);
	}
}
END_TEST

static const struct pg_stmt stmt_arrays = {
	"arrays", "SELECT * FROM unnest($1::int4[], $2::int8[], $3::bool[], $4::text[], $5::bytea[])"};

static void look_arrays(const struct pg_done *d)
{
	const PGresult *r = d->rows[0];
	ck_assert_uint_eq(pg_row_count(r), 2);
	ck_assert_int_eq(pg_int4(r, 1, 0), 2);
	ck_assert_int_eq(pg_int8(r, 0, 1), -1);
	ck_assert(!pg_bool(r, 0, 2) && pg_bool(r, 1, 2));
	ck_assert_str_eq(pg_text(r, 0, 3), "");
	ck_assert_str_eq(pg_text(r, 1, 3), "b");
	ck_assert_uint_eq(pg_bytes(r, 0, 4).len, 0);
	ck_assert(bytes_eq(pg_bytes(r, 1, 4), bytes_str("xyz")));
}

static void look_empty(const struct pg_done *d)
{
	ck_assert_uint_eq(pg_row_count(d->rows[0]), 0);
}

static struct pg_op *array_op(size_t n)
{
	struct pg_op *op = pg_op_new();
	pg_op_add(op, &stmt_arrays);
	struct pg_array *a = pg_op_array(op, PG_INT4, n), *b = pg_op_array(op, PG_INT8, n),
			*c = pg_op_array(op, PG_BOOL, n), *t = pg_op_array(op, PG_TEXT, n),
			*y = pg_op_array(op, PG_BYTES, n);
	for (size_t i = 0; i < n; i++) {
		pg_array_int4(a, (int32_t)i + 1);
		pg_array_int8(b, (int64_t)i - 1);
		pg_array_bool(c, i == 1);
		pg_array_text(t, i ? "b" : NULL);
		pg_array_bytes(y, i ? bytes_str("xyz") : (struct bytes){0});
	}
	return op;
}

START_TEST(arrays)
{
	struct answer a = submit_and_wait(array_op(2), look_arrays);
	ck_assert_msg(!err_is(a.e), "%s", a.text);
	a = submit_and_wait(array_op(0), look_empty);
	ck_assert_msg(!err_is(a.e), "%s", a.text);
}
END_TEST

/* ------------------------------------------------------------------ ops */

static const struct pg_stmt stmt_insert = {"insert_t", "INSERT INTO t (k) VALUES ($1)"};
static const struct pg_stmt stmt_count = {"count_t", "SELECT count(*) FROM t"};

static int64_t counted;

static void look_count(const struct pg_done *d)
{
	counted = pg_int8(d->rows[d->count - 1], 0, 0);
}

static int64_t count(void)
{
	struct pg_op *op = pg_op_new();
	pg_op_add(op, &stmt_count);
	struct answer a = submit_and_wait(op, look_count);
	ck_assert_msg(!err_is(a.e), "%s", a.text);
	return counted;
}

static void insert(struct pg_op *op, int32_t k)
{
	pg_op_add(op, &stmt_insert);
	pg_op_int4(op, k);
}

static void fresh_table(void)
{
	ck_assert(!err_is(run_text("DROP TABLE IF EXISTS t", false).e));
	ck_assert(!err_is(run_text("CREATE TABLE t (k integer PRIMARY KEY)", false).e));
}

START_TEST(an_op_is_all_or_nothing)
{
	fresh_table();
	struct pg_op *op = pg_op_new();
	insert(op, 1);
	insert(op, 2);
	insert(op, 1);
	insert(op, 3);
	pg_op_writes(op);
	struct answer a = submit_and_wait(op, NULL);
	ck_assert_int_eq(a.e.code, ERR_ALREADY_EXISTS);
	ck_assert_int_eq(a.e.reason, ERR_REASON_NONE);
	ck_assert_str_eq(a.sqlstate, "23505");
	ck_assert_int_eq(count(), 0);
}
END_TEST

/* One op's failure is its own, though all travel together. */
START_TEST(ops_in_one_pipeline)
{
	fresh_table();
	struct answer answers[20] = {{0}};
	for (int i = 0; i < 20; i++) {
		struct pg_op *op = pg_op_new();
		insert(op, i == 10 ? 3 : i);
		pg_link_submit(link_, op, on_answer, &answers[i]);
	}
	ck_assert_uint_eq(pg_link_load(link_), 20 + 1); /* the statement is prepared on the way */
	wait_for(&answers[19].done);
	for (int i = 0; i < 20; i++) {
		ck_assert(answers[i].done);
		ck_assert_int_eq(answers[i].e.code, i == 10 ? ERR_ALREADY_EXISTS : ERR_OK);
	}
	ck_assert_uint_eq(pg_link_load(link_), 0);
	ck_assert_int_eq(count(), 19);
}
END_TEST

static const struct pg_stmt stmt_bad = {"bad", "SELECT no_such_column FROM t"};

START_TEST(a_statement_that_cannot_be_prepared)
{
	fresh_table();
	for (int i = 0; i < 2; i++) {
		struct pg_op *op = pg_op_new();
		pg_op_add(op, &stmt_bad);
		struct answer a = submit_and_wait(op, NULL);
		ck_assert_int_eq(a.e.code, ERR_INTERNAL);
		ck_assert_ptr_nonnull(strstr(a.text, "no_such_column"));
	}
	ck_assert_int_eq(count(), 0);
	ck_assert_int_eq(downs, 0);
}
END_TEST

START_TEST(large_parameters_and_results)
{
	size_t len = 20 * 1000 * 1000;
	uint8_t *big = mem_zalloc(len);
	struct answer answers[4] = {{0}};
	static const struct pg_stmt echo = {"echo", "SELECT $1::bytea"};
	for (int i = 0; i < 4; i++) {
		struct pg_op *op = pg_op_new();
		pg_op_add(op, &echo);
		pg_op_bytes(op, bytes_of(big, len));
		pg_link_submit(link_, op, on_answer, &answers[i]);
	}
	wait_for(&answers[3].done);
	for (int i = 0; i < 4; i++)
		ck_assert_msg(!err_is(answers[i].e), "%s", answers[i].text);
	free(big);
}
END_TEST

START_TEST(timeouts_of_the_server)
{
	struct answer a = run_text("SELECT pg_sleep(0.001)", false);
	ck_assert(!err_is(a.e));
	ck_assert(!err_is(run_text("SELECT set_config('statement_timeout', '50', false)", false).e));
	a = run_text("SELECT pg_sleep(60)", true);
	ck_assert_int_eq(a.e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(a.e.reason, ERR_REASON_NONE);
	ck_assert_int_eq(downs, 0);
}
END_TEST

/* ------------------------------------------------------------------ losing the connection */

START_TEST(what_was_under_way_when_the_backend_died)
{
	struct answer first = run_text("SELECT 1", false);
	ck_assert(!err_is(first.e));
	struct answer slow = {0}, behind = {0};
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, "SELECT pg_terminate_backend(pg_backend_pid()), pg_sleep(10)");
	pg_op_writes(op);
	pg_link_submit(link_, op, on_answer, &slow);
	op = pg_op_new();
	pg_op_add_text(op, "SELECT 2");
	pg_op_writes(op);
	pg_link_submit(link_, op, on_answer, &behind);
	wait_for(&behind.done);
	/* The first was told why, so it was rolled back; of the second nothing is known. */
	ck_assert(slow.done);
	ck_assert_str_eq(slow.sqlstate, "57P01");
	ck_assert_int_eq(slow.e.reason, ERR_REASON_NONE);
	ck_assert_int_eq(behind.e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(behind.e.reason, ERR_REASON_OUTCOME_UNKNOWN);
	ck_assert_int_eq(downs, 1);
	/* It comes back by itself, and prepares again. */
	fresh_table();
	ck_assert_int_eq(count(), 0);
	ck_assert_int_eq(ups, 2);
}
END_TEST

START_TEST(an_op_for_this_connection_only_does_not_wait_for_the_next)
{
	struct answer now = {0}, later = {0};
	struct pg_op *op = pg_op_new(); /* not connected yet */
	pg_op_add_text(op, "SELECT 1");
	pg_op_now(op);
	pg_op_writes(op);
	pg_link_submit(link_, op, on_answer, &now);
	op = pg_op_new();
	pg_op_add_text(op, "SELECT 1");
	pg_link_submit(link_, op, on_answer, &later);
	ck_assert(!now.done);
	wait_for(&now.done);
	ck_assert_int_eq(now.e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(now.e.reason, ERR_REASON_NONE);
	wait_for(&later.done);
	ck_assert(!err_is(later.e));
}
END_TEST

START_TEST(no_database)
{
	struct pg_link_config c = config();
	c.dsn = "host=/nonexistent";
	c.connect_timeout_ns = 200 * NS_PER_MS;
	struct pg_link *nowhere;
	struct err e = pg_link_new(loop, &c, &events, NULL, errors, &nowhere);
	ck_assert(!err_is(e));
	struct answer a = {0};
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, "SELECT 1");
	pg_op_writes(op);
	pg_link_submit(nowhere, op, on_answer, &a);
	wait_for(&a.done);
	ck_assert_int_eq(a.e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(a.e.reason, ERR_REASON_NONE);
	pg_link_free(nowhere);
}
END_TEST

START_TEST(a_connection_that_is_given_up)
{
	ck_assert_int_eq(pg_link_waiting_ns(link_), 0);
	struct answer slow = {0};
	struct pg_op *op = pg_op_new();
	pg_op_writes(op);
	pg_op_add_text(op, "SELECT pg_sleep(30)");
	struct answer first = run_text("SELECT 1", false);
	ck_assert(!err_is(first.e));
	pg_link_submit(link_, op, on_answer, &slow);
	while (pg_link_waiting_ns(link_) < 50 * NS_PER_MS)
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
	pg_link_give_up(link_, "it is silent");
	ck_assert_int_eq(pg_link_waiting_ns(link_), 0);
	wait_for(&slow.done);
	ck_assert_int_eq(slow.e.reason, ERR_REASON_OUTCOME_UNKNOWN);
	first = run_text("SELECT 1", false);
	ck_assert(!err_is(first.e));
	ck_assert_int_eq(downs, 1);
}
END_TEST

/* The test's server, named after one that takes connections and never says a word. */
static char *dsn_behind_a_silent_server(int silent_port)
{
	PQconninfoOption *options = PQconninfoParse(getenv("PERDURE_TEST_DSN"), NULL);
	const char *host = "", *port = "5432", *user = "", *name = "";
	for (const PQconninfoOption *o = options; o->keyword; o++) {
		if (!o->val)
			continue;
		if (str_eq(o->keyword, "host"))
			host = o->val;
		if (str_eq(o->keyword, "port"))
			port = o->val;
		if (str_eq(o->keyword, "user"))
			user = o->val;
		if (str_eq(o->keyword, "dbname"))
			name = o->val;
	}
	char *dsn =
		arena_printf(errors, "host=127.0.0.1,%s port=%d,%s user=%s dbname=%s target_session_attrs=read-write",
			     host, silent_port, port, user, name);
	PQconninfoFree(options);
	return dsn;
}

START_TEST(a_silent_server_is_passed_over)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(listen(fd, 16), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	struct pg_link_config c = config();
	c.dsn = dsn_behind_a_silent_server(ntohs(at.sin_port));
	pg_link_free(link_);
	struct err e = pg_link_new(loop, &c, &events, NULL, errors, &link_);
	ck_assert(!err_is(e));
	/* What waits for the connection is answered as well. */
	struct answer a = run_text("SELECT 1", false);
	ck_assert(!err_is(a.e));
	/* Once known to work, it is the first to be asked. */
	struct timespec began, now;
	clock_gettime(CLOCK_MONOTONIC, &began);
	a = run_text("SELECT pg_terminate_backend(pg_backend_pid())", false);
	ck_assert(err_is(a.e));
	a = run_text("SELECT 1", false);
	ck_assert(!err_is(a.e));
	clock_gettime(CLOCK_MONOTONIC, &now);
	ck_assert_int_lt(now.tv_sec - began.tv_sec, 2);
	close(fd);
}
END_TEST

START_TEST(a_dsn_that_is_none)
{
	struct pg_link_config c = config();
	c.dsn = "host=";
	c.dsn = "what is this";
	struct pg_link *none;
	struct err e = pg_link_new(loop, &c, NULL, NULL, errors, &none);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(e.message, "what"));
}
END_TEST

static void on_free_it(void *ctx, const struct pg_done *d)
{
	(void)d;
	pg_link_free(link_);
	link_ = NULL;
	*(bool *)ctx = true;
}

START_TEST(freed_from_a_callback)
{
	bool done = false;
	struct answer dropped = {0};
	struct pg_op *op = pg_op_new();
	pg_op_add_text(op, "SELECT 1");
	pg_link_submit(link_, op, on_free_it, &done);
	op = pg_op_new();
	pg_op_add_text(op, "SELECT 1");
	pg_link_submit(link_, op, on_answer, &dropped);
	wait_for(&done);
	ck_assert(!dropped.done);
}
END_TEST

START_TEST(notifications)
{
	ck_assert(!err_is(run_text("SELECT pg_notify('test_channel', 'hello')", false).e));
	bool heard = false;
	while (!heard) {
		heard = notified[0] != 0;
		if (!heard)
			uv_run(loop_uv(loop), UV_RUN_ONCE);
	}
	ck_assert_str_eq(notified, "test_channel:hello");
}
END_TEST

START_TEST(a_pool_shares_the_work)
{
	struct pg_link_config c = config();
	c.listen = NULL;
	struct pg_pool *pool;
	struct err e = pg_pool_new(loop, &c, 3, errors, &pool);
	ck_assert(!err_is(e));
	ck_assert(pg_pool_has_room(pool, 1));
	struct answer answers[3] = {{0}};
	for (int i = 0; i < 3; i++) {
		struct pg_op *op = pg_op_new();
		pg_op_add_text(op, "SELECT pg_sleep(0.05)");
		pg_pool_submit(pool, op, on_answer, &answers[i]);
	}
	ck_assert(!pg_pool_has_room(pool, 1));
	for (int i = 0; i < 3; i++)
		wait_for(&answers[i].done);
	ck_assert(pg_pool_has_room(pool, 1));
	pg_pool_free(pool);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("pg links");
	TCase *t = tcase_create("link");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_test(t, every_type_there_and_back);
	tcase_add_test(t, arrays);
	tcase_add_test(t, an_op_is_all_or_nothing);
	tcase_add_test(t, ops_in_one_pipeline);
	tcase_add_test(t, a_statement_that_cannot_be_prepared);
	tcase_add_test(t, large_parameters_and_results);
	tcase_add_test(t, timeouts_of_the_server);
	tcase_add_test(t, what_was_under_way_when_the_backend_died);
	tcase_add_test(t, an_op_for_this_connection_only_does_not_wait_for_the_next);
	tcase_add_test(t, no_database);
	tcase_add_test(t, a_connection_that_is_given_up);
	tcase_add_test(t, a_silent_server_is_passed_over);
	tcase_add_test(t, a_dsn_that_is_none);
	tcase_add_test(t, freed_from_a_callback);
	tcase_add_test(t, notifications);
	tcase_add_test(t, a_pool_shares_the_work);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
