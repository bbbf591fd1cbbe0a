/* The HTTP server against libcurl and raw sockets: routing, bodies, late replies, clients that leave, shutdown. */
#include <arpa/inet.h>
#include <check.h>
#include <curl/curl.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/http/http.h"

static struct loop *loop;
static struct http_server *server;
static struct arena *arena;

static void setup(void)
{
	arena = arena_new(0);
	loop = loop_new();
	const struct http_config config = {.listen_host = "127.0.0.1", .body_bytes_max = 100000, .connections_max = 50};
	server = http_server_new(loop, &config);
}

static void teardown(void)
{
	http_server_free(server);
	loop_free(loop);
	arena_free(arena);
}

/* ------------------------------------------------------------------ a client on a thread of its own */

struct exchange {
	const char *method, *path;
	const char *body; /* NULL: none */
	size_t body_len;
	const char *header;
	bool chunked;
	/* what came back */
	CURLcode result;
	long status;
	char *type, *allow;
	struct buf answer;
};

static size_t on_answer(char *data, size_t size, size_t n, void *ctx)
{
	buf_put(&((struct exchange *)ctx)->answer, data, size * n);
	return size * n;
}

static size_t on_header(char *line, size_t size, size_t n, void *ctx)
{
	struct exchange *x = ctx;
	if (strncasecmp(line, "allow: ", 7) == 0)
		x->allow = strndup(line + 7, size * n - 9);
	return size * n;
}

static void exchange_on(CURL *curl, struct exchange *x)
{
	char url[256];
	snprintf(url, sizeof url, "http://127.0.0.1:%u%s", http_server_port(server), x->path);
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, x->method);
	curl_easy_setopt(curl, CURLOPT_NOBODY, (long)(strcmp(x->method, "HEAD") == 0));
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, x);
	curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(curl, CURLOPT_HEADERDATA, x);
	struct curl_slist *headers = NULL;
	if (x->header)
		headers = curl_slist_append(headers, x->header);
	if (x->chunked)
		headers = curl_slist_append(headers, "Transfer-Encoding: chunked");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	if (x->body) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)x->body_len);
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, x->body);
	}
	x->result = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &x->status);
	char *type = NULL;
	curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
	x->type = type ? strdup(type) : NULL;
	curl_slist_free_all(headers);
	buf_put(&x->answer, "", 1);
}

struct exchanges {
	struct exchange *list;
	size_t count;
};

static bool exchanges_done;

static void on_exchanges_done(struct env_task *t)
{
	(void)t;
	exchanges_done = true;
}

static struct env_task done_task = {.fn = on_exchanges_done};

/* All over one connection where it stays open. */
static void *client_main(void *ctx)
{
	struct exchanges *all = ctx;
	CURL *curl = curl_easy_init();
	for (size_t i = 0; i < all->count; i++)
		exchange_on(curl, &all->list[i]);
	curl_easy_cleanup(curl);
	env_post(loop_env(loop), &done_task);
	return NULL;
}

static void listen_now(void)
{
	struct err e = http_server_listen(server, arena);
	ck_assert_msg(!err_is(e), "%s", e.message);
}

static void run_exchanges(struct exchange *list, size_t count)
{
	pthread_t thread;
	struct exchanges all = {list, count};
	listen_now();
	pthread_create(&thread, NULL, client_main, &all);
	while (!exchanges_done)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	pthread_join(thread, NULL);
}

static void exchange_free(struct exchange *x)
{
	free(x->type);
	free(x->allow);
	buf_done(&x->answer);
}

static void expect(struct exchange *x, long status, const char *answer)
{
	ck_assert_msg(x->result == CURLE_OK, "%s %s: %s", x->method, x->path, curl_easy_strerror(x->result));
	ck_assert_int_eq(x->status, status);
	ck_assert_str_eq((const char *)x->answer.data, answer);
}

/* ------------------------------------------------------------------ handlers */

static void say(void *ctx, struct http_request *req)
{
	http_reply_text(req, 200, ctx);
}

static void echo(void *ctx, struct http_request *req)
{
	(void)ctx;
	const char *x = http_query(req, "x"), *h = http_header(req, "x-test");
	http_set_header(req, "X-Echo", "yes");
	char *text = arena_printf(http_arena(req), "%s %s x=%s h=%s body=%zu", http_method(req), http_path(req),
				  x ? x : "-", h ? h : "-", http_body(req).len);
	http_reply(req, 201, "text/x-echo", bytes_str(text));
}

START_TEST(routes)
{
	http_route(server, "GET", "/a", say, "exact");
	http_route(server, "GET", "/a*", say, "short");
	http_route(server, "GET", "/a/b/*", say, "long");
	http_route(server, "POST", "/a/post", say, "post");
	http_route(server, NULL, "/any", say, "any");
	struct exchange x[] = {
		{.method = "GET", .path = "/a"},     {.method = "GET", .path = "/ab"},
		{.method = "GET", .path = "/a/b/c"}, {.method = "GET", .path = "/nothing"},
		{.method = "PUT", .path = "/a"},     {.method = "HEAD", .path = "/a"},
		{.method = "PATCH", .path = "/any"}, {.method = "POST", .path = "/a/post"},
	};
	run_exchanges(x, array_len(x));
	expect(&x[0], 200, "exact");
	expect(&x[1], 200, "short");
	expect(&x[2], 200, "long");
	expect(&x[3], 404, "not found\n");
	expect(&x[4], 405, "method not allowed\n");
	ck_assert_str_eq(x[4].allow, "GET");
	expect(&x[5], 200, "");
	expect(&x[6], 200, "any");
	expect(&x[7], 200, "post");
	for (size_t i = 0; i < array_len(x); i++)
		exchange_free(&x[i]);
}
END_TEST

START_TEST(requests_are_read_whole)
{
	static char large[100001];
	memset(large, 'x', sizeof large);
	http_route(server, NULL, "/echo/*", echo, NULL);
	struct exchange x[] = {
		{.method = "GET", .path = "/echo/a%20b?x=1%262&y=", .header = "X-Test: v"},
		{.method = "POST", .path = "/echo/", .body = "hello", .body_len = 5},
		{.method = "POST", .path = "/echo/", .body = large, .body_len = 100000},
		{.method = "PUT", .path = "/echo/", .body = large, .body_len = 70000, .chunked = true},
		{.method = "POST", .path = "/echo/", .body = large, .body_len = 100001},
		{.method = "PUT", .path = "/echo/", .body = large, .body_len = 100001, .chunked = true},
		{.method = "GET", .path = "/echo/after"},
	};
	run_exchanges(x, array_len(x));
	expect(&x[0], 201, "GET /echo/a b x=1&2 h=v body=0");
	ck_assert_str_eq(x[0].type, "text/x-echo");
	expect(&x[1], 201, "POST /echo/ x=- h=- body=5");
	expect(&x[2], 201, "POST /echo/ x=- h=- body=100000");
	expect(&x[3], 201, "PUT /echo/ x=- h=- body=70000");
	ck_assert_int_eq(x[4].status, 413);
	ck_assert_int_ne(x[5].result, CURLE_OK);
	expect(&x[6], 201, "GET /echo/after x=- h=- body=0");
	for (size_t i = 0; i < array_len(x); i++)
		exchange_free(&x[i]);
}
END_TEST

/* ------------------------------------------------------------------ late replies */

static struct late {
	struct env_timer timer;
	struct http_request *req;
	int cancelled, replied;
} late;

static void reply_late(struct env_timer *t)
{
	(void)t;
	late.replied++;
	http_reply_text(late.req, 200, "late");
}

static void answer_late(void *ctx, struct http_request *req)
{
	(void)ctx;
	late.req = req;
	late.timer.fn = reply_late;
	env_timer_start(loop_env(loop), &late.timer, NS_PER_MS);
}

START_TEST(a_reply_may_come_later)
{
	http_route(server, "POST", "/late", answer_late, NULL);
	http_route(server, "GET", "/now", say, "now");
	struct exchange x[] = {
		{.method = "POST", .path = "/late", .body = "b", .body_len = 1},
		{.method = "GET", .path = "/now"},
		{.method = "POST", .path = "/late"},
	};
	run_exchanges(x, array_len(x));
	expect(&x[0], 200, "late");
	expect(&x[1], 200, "now");
	expect(&x[2], 200, "late");
	for (size_t i = 0; i < array_len(x); i++)
		exchange_free(&x[i]);
}
END_TEST

static int raw_request(const char *text)
{
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_port = htons(http_server_port(server)),
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
	ck_assert_int_eq(send(fd, text, strlen(text), 0), (ssize_t)strlen(text));
	return fd;
}

static void on_left(void *ctx, struct http_request *req)
{
	(void)ctx;
	late.cancelled++;
	ck_assert_ptr_eq(req, late.req);
	http_reply_text(req, 200, "to nobody");
}

static void wait_for_leave(void *ctx, struct http_request *req)
{
	late.req = req;
	http_on_cancel(req, on_left, NULL);
	if (ctx) {
		shutdown(*(int *)ctx, SHUT_RDWR);
		close(*(int *)ctx);
	}
}

START_TEST(a_client_that_leaves_is_noticed)
{
	int fd;
	late = (struct late){0};
	http_route(server, "GET", "/wait", wait_for_leave, &fd);
	listen_now();
	fd = raw_request("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!late.cancelled)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	http_server_free(server);
	server = NULL;
}
END_TEST

START_TEST(stopping_cancels_what_waits)
{
	late = (struct late){0};
	http_route(server, "GET", "/wait", wait_for_leave, NULL);
	listen_now();
	int fd = raw_request("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!late.req)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	http_server_free(server);
	server = NULL;
	ck_assert_int_eq(late.cancelled, 1);
	char c;
	ck_assert_int_le(recv(fd, &c, 1, 0), 0);
	close(fd);
}
END_TEST

static void keep(void *ctx, struct http_request *req)
{
	(void)ctx;
	late.req = req;
}

START_TEST(a_reply_may_come_after_the_server_is_gone)
{
	late = (struct late){0};
	http_route(server, "GET", "/wait", keep, NULL);
	listen_now();
	int fd = raw_request("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!late.req)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	http_server_free(server);
	server = NULL;
	ck_assert_str_eq(http_path(late.req), "/wait");
	ck_assert_ptr_null(http_header(late.req, "Host"));
	http_reply_text(late.req, 200, "to nobody");
	close(fd);
}
END_TEST

START_TEST(nonsense_is_answered_or_cut)
{
	http_route(server, "GET", "/", say, "fine");
	listen_now();
	static const char *const texts[] = {"\x16\x03\x01\x02\xfc\r\n\r\n", "GET\r\n\r\n",
					    "GET / HTTP/1.1\r\nContent-Length: -5\r\nHost: x\r\n\r\n",
					    "GET / HTTP/1.1\r\n\r\n"};
	for (size_t i = 0; i < array_len(texts); i++) {
		int fd = raw_request(texts[i]);
		char answer[64] = "";
		ssize_t n = -1;
		while ((n = recv(fd, answer, sizeof answer - 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN)
			uv_run(loop_uv(loop), UV_RUN_NOWAIT);
		ck_assert_msg(n == 0 || strncmp(answer, "HTTP/1.1 400", 12) == 0 ||
				      strncmp(answer, "HTTP/1.1 505", 12) == 0,
			      "%zu: %s", i, answer);
		close(fd);
	}
	http_server_free(server);
	server = NULL;
}
END_TEST

START_TEST(an_address_in_use_is_an_error)
{
	listen_now();
	const struct http_config config = {.listen_host = "127.0.0.1", .port = http_server_port(server)};
	struct http_server *second = http_server_new(loop, &config);
	struct err e = http_server_listen(second, arena);
	ck_assert(err_is(e));
	ck_assert_msg(strstr(e.message, "Address already in use"), "%s", e.message);
	http_server_free(second);
	const struct http_config named = {.listen_host = "no.such.host"};
	struct http_server *third = http_server_new(loop, &named);
	e = http_server_listen(third, arena);
	ck_assert_str_eq(e.message, "http: \"no.such.host\" is not an address to listen on");
	http_server_free(third);
}
END_TEST

int main(void)
{
	curl_global_init(CURL_GLOBAL_DEFAULT);
	Suite *suite = suite_create("common/http");
	TCase *tests = tcase_create("http");
	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, routes);
	tcase_add_test(tests, requests_are_read_whole);
	tcase_add_test(tests, a_reply_may_come_later);
	tcase_add_test(tests, a_client_that_leaves_is_noticed);
	tcase_add_test(tests, stopping_cancels_what_waits);
	tcase_add_test(tests, a_reply_may_come_after_the_server_is_gone);
	tcase_add_test(tests, nonsense_is_answered_or_cut);
	tcase_add_test(tests, an_address_in_use_is_an_error);
	suite_add_tcase(suite, tests);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	curl_global_cleanup();
	return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
