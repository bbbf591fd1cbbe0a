/* The real network: calls over inproc, ipc, tcp and tls, large bodies, peers that die, and endings at any moment. */
#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/loop/loop.h"
#include "common/mem/mem.h"
#include "common/rpc/rpc.h"
#include "tests/support/certs.h"

#define METHOD_ECHO RPC_HISTORY_CALL
#define METHOD_HOLD RPC_HISTORY_START_TASK
#define METHOD_BIG  RPC_HISTORY_ADMIN /* answers with as many bytes as the request's text says */

enum transport {
	INPROC,
	IPC,
	TCP,
	TLS,
	TRANSPORTS,
};

struct node {
	struct rpc *rpc;
	struct rpc_net *net; /* rpc's */
	char address[RPC_ADDRESS_BYTES_MAX + 1];
	struct rpc_request *held[64];
	size_t held_count;
	unsigned cancelled;
};

static struct loop *loop;
static struct arena *errors;
static struct certs certs;
static struct node a, b;
static unsigned addresses;

/* ------------------------------------------------------------------ fixture */

static int free_port(void)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof at;
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&at, len), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
	close(fd);
	return ntohs(at.sin_port);
}

static void fresh_address(int transport, char *out)
{
	unsigned n = ++addresses;
	if (transport == INPROC)
		snprintf(out, RPC_ADDRESS_BYTES_MAX, "inproc://test-%u", n);
	else if (transport == IPC)
		snprintf(out, RPC_ADDRESS_BYTES_MAX, "ipc:///tmp/perdure-test-%d-%u.sock", (int)getpid(), n);
	else
		snprintf(out, RPC_ADDRESS_BYTES_MAX, "%s://127.0.0.1:%d", transport == TCP ? "tcp" : "tls+tcp",
			 free_port());
}

static struct err try_net(const char *address, struct rpc_net **ret)
{
	struct rpc_nng_config config = {.listen = address};
	if (certs.dir[0]) {
		config.tls_cert_file = certs.cert;
		config.tls_key_file = certs.key;
		config.tls_ca_file = certs.ca;
		config.tls_server_name = "cluster.test";
	}
	return rpc_nng_new(loop, &config, errors, ret);
}

static void on_echo(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	struct bytes body = rpc_body(req);
	rpc_reply(req, &body, 1);
}

static void on_cancel(void *ctx, struct rpc_request *req)
{
	(void)req;
	((struct node *)ctx)->cancelled++;
}

static void on_hold(void *ctx, struct rpc_request *req)
{
	struct node *n = ctx;
	ck_assert_uint_lt(n->held_count, array_len(n->held));
	n->held[n->held_count++] = req;
	rpc_on_cancel(req, on_cancel, n);
}

static void on_big(void *ctx, struct rpc_request *req)
{
	(void)ctx;
	char text[24] = "";
	struct bytes number = rpc_body(req); /* no NUL behind it */
	ck_assert_uint_lt(number.len, sizeof text);
	memcpy(text, number.data, number.len);
	size_t len = strtoull(text, NULL, 10);
	struct bytes body = bytes_of(mem_zalloc(len), len);
	rpc_reply(req, &body, 1);
	free((void *)body.data);
}

static void node_up_at(struct node *n, const char *address, uint64_t incarnation)
{
	struct rpc_net *net;
	*n = (struct node){0};
	snprintf(n->address, sizeof n->address, "%s", address);
	struct err e = try_net(address, &net);
	ck_assert_msg(!err_is(e), "%s", e.message);
	n->net = net;
	n->rpc = rpc_new(loop_env(loop), net, &(struct rpc_config){.address = address, .incarnation = incarnation});
	rpc_serve(n->rpc, METHOD_ECHO, on_echo, n);
	rpc_serve(n->rpc, METHOD_HOLD, on_hold, n);
	rpc_serve(n->rpc, METHOD_BIG, on_big, n);
}

static void node_up(struct node *n, int transport, uint64_t incarnation)
{
	char address[RPC_ADDRESS_BYTES_MAX + 1];
	fresh_address(transport, address);
	node_up_at(n, address, incarnation);
}

static void answer_held(struct node *n)
{
	while (n->held_count > 0)
		rpc_reply(n->held[--n->held_count], NULL, 0);
}

static void node_down(struct node *n)
{
	rpc_free(n->rpc);
	n->rpc = NULL;
	answer_held(n);
}

static void setup(void)
{
	loop = loop_new();
	errors = arena_new(1 << 20);
}

static void setup_nodes(int transport)
{
	if (transport == TLS)
		certs_make(&certs, "cluster.test");
	node_up(&a, transport, 1);
	node_up(&b, transport, 2);
}

static void on_stop_timer(struct env_timer *t)
{
	(void)t;
	loop_stop(loop);
}

static void teardown(void)
{
	if (a.rpc)
		node_down(&a);
	if (b.rpc)
		node_down(&b);
	/* One more turn, for wake-ups that were on their way. */
	struct env_timer t = {.fn = on_stop_timer};
	env_timer_start(loop_env(loop), &t, 0);
	loop_run(loop);
	loop_free(loop);
	arena_free(errors);
	if (certs.dir[0])
		certs_done(&certs);
	certs = (struct certs){0};
}

/* Runs the loop until *done, or for 20 s. */
static void run_until(const bool *done)
{
	int64_t until = env_mono_ns(loop_env(loop)) + 20 * NS_PER_S;
	while (!*done && env_mono_ns(loop_env(loop)) < until)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert(*done);
}

struct outcome {
	bool done;
	int times;
	struct err e;
	size_t len;
	int64_t took_ns, start_ns;
};

static void on_reply(void *ctx, struct err e, struct bytes body)
{
	struct outcome *o = ctx;
	o->times++;
	o->done = true;
	o->e = e;
	o->len = body.len;
	o->took_ns = env_mono_ns(loop_env(loop)) - o->start_ns;
}

static struct rpc_pending *call_for(const char *to, enum rpc_method method, struct bytes body, int64_t timeout_ns,
				    struct outcome *o)
{
	*o = (struct outcome){.start_ns = env_mono_ns(loop_env(loop))};
	return rpc_call(a.rpc, &(struct rpc_call){.address = to,
						  .method = method,
						  .parts = &body,
						  .part_count = 1,
						  .deadline_ns = o->start_ns + timeout_ns,
						  .fn = on_reply,
						  .ctx = o});
}

static struct rpc_pending *call(const char *to, enum rpc_method method, const char *body, struct outcome *o)
{
	return call_for(to, method, bytes_str(body), 60 * NS_PER_S, o);
}

static void assert_lost_fast(const struct outcome *o)
{
	ck_assert_int_eq(o->times, 1);
	ck_assert_int_eq(o->e.code, ERR_UNAVAILABLE);
	ck_assert_int_eq(o->e.reason, ERR_REASON_PEER_LOST);
	ck_assert_int_lt(o->took_ns, 10 * NS_PER_S);
}

/* ------------------------------------------------------------------ traffic */

struct flood {
	int left, under_way;
	bool done;
	uint64_t answered;
};

static void flood_more(struct flood *f);

static void on_flood_reply(void *ctx, struct err e, struct bytes body)
{
	struct flood *f = ctx;
	ck_assert_msg(!err_is(e), "%s", e.message);
	ck_assert_uint_eq(body.len, sizeof(uint64_t));
	f->answered++;
	f->under_way--;
	flood_more(f);
}

static void flood_more(struct flood *f)
{
	while (f->left > 0 && f->under_way < 200) {
		uint64_t number = (uint64_t)f->left;
		struct bytes body = bytes_of(&number, sizeof number);
		f->left--;
		f->under_way++;
		rpc_call(a.rpc, &(struct rpc_call){.address = b.address,
						   .method = METHOD_ECHO,
						   .parts = &body,
						   .part_count = 1,
						   .deadline_ns = env_mono_ns(loop_env(loop)) + 60 * NS_PER_S,
						   .fn = on_flood_reply,
						   .ctx = f});
	}
	f->done = f->left == 0 && f->under_way == 0;
}

START_TEST(ten_thousand_calls_are_answered_in_far_fewer_messages)
{
	setup_nodes(_i);
	struct flood f = {.left = 10000};
	flood_more(&f);
	run_until(&f.done);
	ck_assert_uint_eq(f.answered, 10000);
	ck_assert_uint_lt(rpc_stats(a.rpc).messages_sent, 5000);
	ck_assert_uint_eq(rpc_stats(a.rpc).calls_now, 0);
	ck_assert_uint_eq(rpc_stats(b.rpc).requests_now, 0);
}
END_TEST

START_TEST(eight_megabytes_travel_both_ways)
{
	setup_nodes(_i);
	size_t len = 8 * 1024 * 1024;
	uint8_t *big = mem_zalloc(len);
	struct outcome out, back;
	call_for(b.address, METHOD_ECHO, bytes_of(big, len), 60 * NS_PER_S, &out);
	call(b.address, METHOD_BIG, "8388608", &back);
	run_until(&out.done);
	run_until(&back.done);
	ck_assert_int_eq(out.e.code, ERR_OK);
	ck_assert_uint_eq(out.len, len);
	ck_assert_uint_eq(back.len, len);
	free(big);
}
END_TEST

START_TEST(the_largest_body_travels_and_a_larger_one_does_not)
{
	setup_nodes(TCP);
	struct outcome o;
	char text[32];
	snprintf(text, sizeof text, "%d", RPC_BODY_BYTES_MAX);
	call(b.address, METHOD_BIG, text, &o);
	run_until(&o.done);
	ck_assert_uint_eq(o.len, RPC_BODY_BYTES_MAX);
	snprintf(text, sizeof text, "%d", RPC_BODY_BYTES_MAX + 1);
	call(b.address, METHOD_BIG, text, &o);
	run_until(&o.done);
	ck_assert_int_eq(o.e.code, ERR_RESOURCE_EXHAUSTED);
	/* The connection has not suffered. */
	call(b.address, METHOD_ECHO, "x", &o);
	run_until(&o.done);
	ck_assert_int_eq(o.e.code, ERR_OK);
}
END_TEST

static bool held(void)
{
	return b.held_count > 0;
}

static void run_until_held(void)
{
	int64_t until = env_mono_ns(loop_env(loop)) + 20 * NS_PER_S;
	while (!held() && env_mono_ns(loop_env(loop)) < until)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert(held());
}

START_TEST(cancel_and_deadline_reach_the_callee)
{
	setup_nodes(_i);
	struct outcome cancelled, late, o;
	struct rpc_pending *p = call(b.address, METHOD_HOLD, "", &cancelled);
	run_until_held();
	rpc_cancel(p);
	call_for(b.address, METHOD_HOLD, (struct bytes){0}, 50 * NS_PER_MS, &late);
	run_until(&late.done);
	ck_assert_int_eq(late.e.code, ERR_DEADLINE_EXCEEDED);
	call(b.address, METHOD_ECHO, "", &o);
	run_until(&o.done);
	/* The callee's deadline counts from when the request arrived, so it may be yet to come. */
	int64_t until = env_mono_ns(loop_env(loop)) + 20 * NS_PER_S;
	while (b.cancelled < 2 && env_mono_ns(loop_env(loop)) < until)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	ck_assert_uint_eq(b.cancelled, 2);
	ck_assert_int_eq(cancelled.times, 0);
}
END_TEST

/* ------------------------------------------------------------------ peers that are not there */

START_TEST(a_peer_that_goes_ends_the_calls_and_may_come_back)
{
	setup_nodes(_i);
	struct outcome o, to_old;
	call(b.address, METHOD_HOLD, "", &to_old);
	run_until_held();
	char address[sizeof b.address];
	memcpy(address, b.address, sizeof address);
	node_down(&b);
	run_until(&to_old.done);
	assert_lost_fast(&to_old);
	call(address, METHOD_ECHO, "nobody there", &o);
	run_until(&o.done);
	assert_lost_fast(&o);
	node_up_at(&b, address, 3);
	call(address, METHOD_ECHO, "back", &o);
	run_until(&o.done);
	ck_assert_int_eq(o.e.code, ERR_OK);
}
END_TEST

START_TEST(a_caller_that_goes_cancels_its_requests)
{
	setup_nodes(_i);
	struct outcome o;
	call(b.address, METHOD_HOLD, "", &o);
	run_until_held();
	node_down(&a);
	bool done = false;
	int64_t until = env_mono_ns(loop_env(loop)) + 20 * NS_PER_S;
	while (!done && env_mono_ns(loop_env(loop)) < until) {
		uv_run(loop_uv(loop), UV_RUN_ONCE);
		done = b.cancelled == 1;
	}
	ck_assert(done);
}
END_TEST

START_TEST(addresses_that_lead_nowhere_fail_fast)
{
	setup_nodes(TCP);
	static const char *const bad[] = {
		"tcp://127.0.0.1:1", "ipc:///nonexistent/socket", "inproc://nobody", "gopher://x",
		"nonsense",	     "tls+tcp://127.0.0.1:1", /* no certificates here */
	};
	struct outcome o[array_len(bad)];
	for (size_t i = 0; i < array_len(bad); i++)
		call(bad[i], METHOD_ECHO, "", &o[i]);
	for (size_t i = 0; i < array_len(bad); i++) {
		run_until(&o[i].done);
		assert_lost_fast(&o[i]);
	}
}
END_TEST

/* A process of its own that serves until it is killed. */
static pid_t fork_server(const char *address, int ready_fd)
{
	pid_t pid = fork();
	ck_assert_int_ge(pid, 0);
	if (pid > 0)
		return pid;
	setup();
	node_up_at(&b, address, 77);
	if (write(ready_fd, "x", 1) != 1)
		_exit(1);
	loop_run(loop);
	_exit(0);
}

/* Before this process uses nng or makes its loop: a fork takes no threads along. */
START_TEST(a_killed_process_is_noticed_at_once)
{
	char address[RPC_ADDRESS_BYTES_MAX + 1], byte;
	fresh_address(_i, address);
	int fds[2];
	ck_assert_int_eq(pipe(fds), 0);
	pid_t pid = fork_server(address, fds[1]);
	ck_assert_int_eq(read(fds[0], &byte, 1), 1);
	setup();
	node_up(&a, _i, 1);
	struct outcome o;
	call(address, METHOD_ECHO, "", &o);
	run_until(&o.done);
	ck_assert_int_eq(o.e.code, ERR_OK);
	struct outcome held_calls[20];
	for (int i = 0; i < 20; i++)
		call(address, METHOD_HOLD, "", &held_calls[i]);
	kill(pid, SIGKILL);
	for (int i = 0; i < 20; i++) {
		run_until(&held_calls[i].done);
		assert_lost_fast(&held_calls[i]);
	}
	ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
	/* The next process takes the address over, also a socket file that was left behind. */
	node_up_at(&b, address, 78);
	/* The two connections to the dead process may end one after the other; a call in between is lost too. */
	for (int attempt = 0; attempt == 0 || (err_is(o.e) && attempt < 3); attempt++) {
		call(address, METHOD_ECHO, "", &o);
		run_until(&o.done);
	}
	ck_assert_int_eq(o.e.code, ERR_OK);
	close(fds[0]);
	close(fds[1]);
	teardown();
}
END_TEST

/* ------------------------------------------------------------------ making and ending */

START_TEST(endpoints_end_at_any_moment)
{
	static struct outcome o[64];
	uint8_t *body = mem_zalloc(100000);
	for (int round = 0; round < 60; round++) {
		int transport = round % TLS;
		node_up(&a, transport, 1);
		node_up(&b, transport, 2);
		for (int i = 0; i < 64; i++)
			call_for(i % 8 == 7 ? "tcp://127.0.0.1:1" : b.address, i % 3 ? METHOD_ECHO : METHOD_HOLD,
				 bytes_of(body, (size_t)i * 1000), 60 * NS_PER_S, &o[i]);
		/* Anything from nothing done yet to most of it. */
		for (int turns = 0; turns < round / 3; turns++)
			uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		if (round % 4 == 1) {
			rpc_forget(a.rpc, b.address);
			call(b.address, METHOD_ECHO, "after", &o[0]);
		}
		node_down(round % 2 ? &a : &b);
		for (int turns = 0; turns < round % 7; turns++)
			uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		node_down(round % 2 ? &b : &a);
	}
	free(body);
}
END_TEST

START_TEST(what_is_wrong_with_an_address_is_said)
{
	struct rpc_net *net;
	node_up(&a, TCP, 1);
	struct err e = try_net(a.address, &net);
	ck_assert_int_eq(e.code, ERR_ALREADY_EXISTS);
	ck_assert_ptr_nonnull(strstr(e.message, a.address));
	e = try_net("nonsense", &net);
	ck_assert_int_ne(e.code, ERR_OK);
	e = try_net("ipc:///nonexistent/dir/socket", &net);
	ck_assert_int_ne(e.code, ERR_OK);
	e = try_net("tls+tcp://127.0.0.1:1", &net);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	certs_make(&certs, "cluster.test");
	struct rpc_nng_config config = {.listen = "tls+tcp://127.0.0.1:1", .tls_cert_file = certs.cert};
	e = rpc_nng_new(loop, &config, errors, &net);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	config.tls_key_file = "/nonexistent.pem";
	config.tls_ca_file = certs.ca;
	e = rpc_nng_new(loop, &config, errors, &net);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	ck_assert_ptr_nonnull(strstr(e.message, "/nonexistent.pem"));
	config.tls_key_file = certs.ca;
	e = rpc_nng_new(loop, &config, errors, &net);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(a_peer_of_another_authority_is_refused)
{
	setup_nodes(TLS);
	struct certs ours = certs;
	char address[RPC_ADDRESS_BYTES_MAX + 1];
	memcpy(address, b.address, sizeof address);
	node_down(&b);
	certs_make(&certs, "cluster.test");
	node_up_at(&b, address, 3);
	struct outcome o;
	call(address, METHOD_ECHO, "", &o);
	run_until(&o.done);
	assert_lost_fast(&o);
	certs_done(&certs);
	certs = ours;
}
END_TEST

static struct err echo(void)
{
	static struct outcome o;
	call(b.address, METHOD_ECHO, "x", &o);
	run_until(&o.done);
	return o.e;
}

static void reload(struct node *n)
{
	struct err e = rpc_nng_reload_tls(n->net, errors);
	ck_assert_msg(!err_is(e), "%s", e.message);
}

static void run_turns(void)
{
	for (int i = 0; i < 100; i++)
		uv_run(loop_uv(loop), UV_RUN_NOWAIT);
}

START_TEST(new_certificates_are_for_new_connections)
{
	setup_nodes(TLS);
	ck_assert(!err_is(echo()));
	struct certs other;
	certs_make(&other, "cluster.test");
	ck_assert_int_eq(rename(other.cert, certs.cert) | rename(other.key, certs.key) | rename(other.ca, certs.ca), 0);
	certs_done(&other);
	reload(&b);
	ck_assert(!err_is(echo())); /* over the connection that is there */
	rpc_forget(a.rpc, b.address);
	ck_assert_int_eq(echo().reason, ERR_REASON_PEER_LOST); /* b is of another authority now */
	reload(&a);
	/* What the refused connection has left behind may end one more call. */
	if (err_is(echo()))
		run_turns();
	ck_assert(!err_is(echo()));
}
END_TEST

START_TEST(files_that_are_no_good_change_nothing)
{
	setup_nodes(TLS);
	ck_assert_int_eq(truncate(certs.cert, 10), 0);
	ck_assert(err_is(rpc_nng_reload_tls(a.net, errors)));
	ck_assert(err_is(rpc_nng_reload_tls(b.net, errors)));
	ck_assert(!err_is(echo()));
	rpc_forget(a.rpc, b.address);
	ck_assert(!err_is(echo()));
}
END_TEST

int main(void)
{
	Suite *s = suite_create("rpc/nng");
	TCase *t = tcase_create("nng");
	tcase_set_timeout(t, 60);
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_add_loop_test(t, ten_thousand_calls_are_answered_in_far_fewer_messages, 0, TRANSPORTS);
	tcase_add_loop_test(t, eight_megabytes_travel_both_ways, 0, TRANSPORTS);
	tcase_add_test(t, the_largest_body_travels_and_a_larger_one_does_not);
	tcase_add_loop_test(t, cancel_and_deadline_reach_the_callee, 0, TRANSPORTS);
	tcase_add_loop_test(t, a_peer_that_goes_ends_the_calls_and_may_come_back, 0, TRANSPORTS);
	tcase_add_loop_test(t, a_caller_that_goes_cancels_its_requests, 0, TRANSPORTS);
	tcase_add_test(t, addresses_that_lead_nowhere_fail_fast);
	tcase_add_test(t, endpoints_end_at_any_moment);
	tcase_add_test(t, what_is_wrong_with_an_address_is_said);
	tcase_add_test(t, a_peer_of_another_authority_is_refused);
	tcase_add_test(t, new_certificates_are_for_new_connections);
	tcase_add_test(t, files_that_are_no_good_change_nothing);
	suite_add_tcase(s, t);
	TCase *k = tcase_create("kill");
	tcase_set_timeout(k, 60);
	tcase_add_loop_test(k, a_killed_process_is_noticed_at_once, IPC, TLS);
	suite_add_tcase(s, k);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_ENV);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
