/* Traces: contexts in and out, sampling, what a collector gets, one that refuses, one that is gone. */
#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "common/http/http.h"
#include "common/mem/mem.h"
#include "common/trace/internal.h"

#define SAMPLED	    "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define NOT_SAMPLED "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

/* ------------------------------------------------------------------ a collector */

static struct loop *loop;
static struct http_server *server;
static struct arena *arena;
static struct metrics *metrics;
static struct trace *trace;
static int requests, refusals, status_of_refusals, packed_bodies;
static const char *authorization, *tenant;
static json_t *received; /* spans of all requests */
static json_t *resource;
static size_t wanted;
static struct env_timer late;
static struct env_task enough;

/* The loop goes on until everything that keeps it is gone. */
static void on_enough(struct env_task *task)
{
	(void)task;
	trace_free(trace);
	http_server_free(server);
	trace = NULL;
	server = NULL;
	env_timer_stop(loop_env(loop), &late);
	loop_stop(loop);
}

static void on_late(struct env_timer *t)
{
	(void)t;
	ck_abort_msg("the collector did not get what it should");
}

static struct bytes inflated(struct bytes body)
{
	z_stream z = {.next_in = (uint8_t *)body.data, .avail_in = (unsigned)body.len};
	size_t size = (size_t)1 << 20;
	uint8_t *out = arena_alloc(arena, size);
	z.next_out = out;
	z.avail_out = (unsigned)size;
	ck_assert_int_eq(inflateInit2(&z, 15 + 16), Z_OK);
	ck_assert_int_eq(inflate(&z, Z_FINISH), Z_STREAM_END);
	inflateEnd(&z);
	return bytes_of(out, z.total_out);
}

static void take(struct bytes body)
{
	json_error_t error;
	json_t *j = json_loadb((const char *)body.data, body.len, 0, &error);
	ck_assert_msg(j != NULL, "not JSON: %s", error.text);
	json_t *one = json_array_get(json_object_get(j, "resourceSpans"), 0);
	resource = json_incref(json_object_get(one, "resource"));
	json_t *scope = json_array_get(json_object_get(one, "scopeSpans"), 0);
	ck_assert(json_array_extend(received, json_object_get(scope, "spans")) == 0);
	json_decref(j);
}

static void collect(void *ctx, struct http_request *req)
{
	(void)ctx;
	requests++;
	ck_assert_str_eq(http_header(req, "content-type"), "application/json");
	const char *key = http_header(req, "authorization"), *other = http_header(req, "x-tenant");
	authorization = key ? arena_strdup(arena, key) : NULL;
	tenant = other ? arena_strdup(arena, other) : NULL;
	bool packed = http_header(req, "content-encoding");
	packed_bodies += packed;
	if (refusals > 0) {
		refusals--;
		http_reply_text(req, status_of_refusals, "not now");
	} else {
		take(packed ? inflated(http_body(req)) : http_body(req));
		http_reply(req, 200, "application/json", bytes_str("{}"));
	}
	if (json_array_size(received) >= wanted)
		env_defer(loop_env(loop), &enough);
}

static const char *headers; /* of the next trace */

static void make_trace(const char *endpoint, int64_t per_million)
{
	struct trace_config c = {
		.endpoint = endpoint,
		.headers = headers,
		.gzip = headers,
		.per_million = per_million,
		.service = "history",
		.node_id = "history-0",
		.version = "1.2.3",
		.metrics = metrics,
	};
	struct err e = trace_new(loop, &c, arena, &trace);
	ck_assert_msg(!err_is(e), "%s", e.message);
}

static void setup(void)
{
	arena = arena_new(0);
	loop = loop_new();
	metrics = metrics_new();
	received = json_array();
	resource = NULL;
	requests = refusals = packed_bodies = 0;
	wanted = 1;
	const struct http_config config = {.listen_host = "127.0.0.1"};
	server = http_server_new(loop, &config);
	http_route(server, "POST", "/v1/traces", collect, NULL);
	ck_assert(!err_is(http_server_listen(server, arena)));
	make_trace(arena_printf(arena, "http://127.0.0.1:%u/", http_server_port(server)), 1000000);
	late.fn = on_late;
	enough.fn = on_enough;
	env_timer_start(loop_env(loop), &late, 30 * NS_PER_S);
}

static void teardown(void)
{
	trace_free(trace);
	http_server_free(server);
	env_timer_stop(loop_env(loop), &late);
	loop_free(loop);
	metrics_free(metrics);
	json_decref(received);
	json_decref(resource);
	arena_free(arena);
}

static json_t *span_named(const char *name)
{
	size_t i;
	json_t *s;
	json_array_foreach(received, i,
			   s) if (strcmp(json_string_value(json_object_get(s, "name")), name) == 0) return s;
	ck_abort_msg("no span %s", name);
	return NULL;
}

static const char *text_of(json_t *span, const char *key)
{
	return json_string_value(json_object_get(span, key));
}

static bool exposes(const char *line)
{
	struct buf out = {0};
	metrics_write(metrics, &out);
	buf_put(&out, "", 1);
	bool found = strstr((char *)out.data, line);
	buf_done(&out);
	return found;
}

/* ------------------------------------------------------------------ contexts */

START_TEST(contexts_are_read_as_w3c_says)
{
	static const char *const bad[] = {
		"",
		"00",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
		"00-00000000000000000000000000000000-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
		"00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
		"ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
		"00_0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0x",
	};
	struct trace_parent p;
	for (size_t i = 0; i < array_len(bad); i++)
		ck_assert_msg(!trace_parse_parent(bad[i], &p), "%s", bad[i]);
	ck_assert(!trace_parse_parent(NULL, &p));
	ck_assert(trace_parse_parent(SAMPLED, &p) && p.sampled && p.trace_id[0] == 0x0a && p.span_id[7] == 0x31);
	ck_assert(trace_parse_parent(NOT_SAMPLED, &p) && !p.sampled);
	ck_assert(trace_parse_parent("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more", &p));
}
END_TEST

START_TEST(who_is_sampled)
{
	ck_assert(!span_root(NULL, SPAN_SERVER, "x", SAMPLED));
	ck_assert(!span_root(trace, SPAN_SERVER, "x", NOT_SAMPLED));
	ck_assert(!span_continue(trace, SPAN_SERVER, "x", NULL));
	ck_assert(!span_continue(trace, SPAN_SERVER, "x", NOT_SAMPLED));
	struct span *s = span_root(trace, SPAN_SERVER, "x", "nonsense"); /* the ratio is one */
	ck_assert_ptr_nonnull(s);
	struct span *child = span_continue(trace, SPAN_SERVER, "y", span_traceparent(s));
	ck_assert_ptr_nonnull(child);
	ck_assert_mem_eq(span_traceparent(child), span_traceparent(s), 35); /* the same trace */
	ck_assert_str_ne(span_traceparent(child), span_traceparent(s));
	span_end(child, err_ok);
	span_end(s, err_ok);
	trace_free(trace);
	make_trace("http://127.0.0.1:1", 0);
	ck_assert(!span_root(trace, SPAN_SERVER, "x", NULL));
	s = span_root(trace, SPAN_SERVER, "x", SAMPLED);
	ck_assert_ptr_nonnull(s);
	span_end(s, err_ok);
}
END_TEST

/* ------------------------------------------------------------------ delivery */

START_TEST(a_collector_gets_spans_with_their_parts)
{
	wanted = 3;
	struct span *s = span_root(trace, SPAN_SERVER, "StartWorkflowExecution", SAMPLED);
	span_text(s, "workflow_id", "order \"7\"\n");
	span_text(s, "not utf-8", "\xff");
	span_text(s, "empty", "");
	span_int(s, "shard", 9);
	struct span *inner = span_continue(trace, SPAN_SERVER, "history", span_traceparent(s));
	int64_t now = env_mono_ns(loop_env(loop));
	span_part(inner, "commit", now, now + 5 * NS_PER_MS);
	span_end(inner, err_static(ERR_NOT_FOUND, "no such run"));
	span_end(s, err_ok);
	trace_flush(trace);
	loop_run(loop);

	json_t *outer = span_named("StartWorkflowExecution"), *mid = span_named("history"),
	       *part = span_named("commit");
	ck_assert_str_eq(text_of(outer, "traceId"), "0af7651916cd43dd8448eb211c80319c");
	ck_assert_str_eq(text_of(outer, "parentSpanId"), "b7ad6b7169203331");
	ck_assert_str_eq(text_of(mid, "traceId"), "0af7651916cd43dd8448eb211c80319c");
	ck_assert_str_eq(text_of(mid, "parentSpanId"), text_of(outer, "spanId"));
	ck_assert_str_eq(text_of(part, "parentSpanId"), text_of(mid, "spanId"));
	ck_assert_int_eq(json_integer_value(json_object_get(outer, "kind")), 2);
	ck_assert_int_eq(json_integer_value(json_object_get(json_object_get(mid, "status"), "code")), 2);
	ck_assert_int_eq(atoll(text_of(part, "endTimeUnixNano")) - atoll(text_of(part, "startTimeUnixNano")),
			 5 * NS_PER_MS);
	char *attributes = json_dumps(json_object_get(outer, "attributes"), JSON_COMPACT);
	ck_assert_str_eq(attributes, "[{\"key\":\"workflow_id\",\"value\":{\"stringValue\":\"order \\\"7\\\"\\n\"}},"
				     "{\"key\":\"shard\",\"value\":{\"intValue\":\"9\"}}]");
	free(attributes);
	char *about = json_dumps(resource, JSON_COMPACT);
	ck_assert_ptr_nonnull(strstr(about, "{\"key\":\"service.name\",\"value\":{\"stringValue\":\"history\"}}"));
	free(about);
}
END_TEST

START_TEST(a_span_may_have_begun_earlier_and_links_to_another_trace)
{
	struct span *s = span_root(trace, SPAN_CONSUMER, "x", NULL);
	span_began(s, env_mono_ns(loop_env(loop)) - 3600 * NS_PER_S);
	span_link(s, SAMPLED);
	span_link(s, "no context");
	span_end(s, err_ok);
	trace_flush(trace);
	loop_run(loop);
	json_t *got = span_named("x"), *link = json_array_get(json_object_get(got, "links"), 0);
	int64_t took = atoll(text_of(got, "endTimeUnixNano")) - atoll(text_of(got, "startTimeUnixNano"));
	ck_assert_int_ge(took, 3600 * NS_PER_S);
	ck_assert_int_lt(took, 3660 * NS_PER_S);
	ck_assert_str_eq(text_of(link, "traceId"), "0af7651916cd43dd8448eb211c80319c");
	ck_assert_str_eq(text_of(link, "spanId"), "b7ad6b7169203331");
	ck_assert_int_eq(json_integer_value(json_object_get(got, "kind")), 5);
}
END_TEST

START_TEST(a_span_joins_a_trace_unless_it_is_part_of_another)
{
	static const char other[] = "00-11111111111111111111111111111111-2222222222222222-01";
	wanted = 2;
	struct span *fresh = span_root(trace, SPAN_SERVER, "fresh", NULL),
		    *taken = span_root(trace, SPAN_SERVER, "taken", SAMPLED);
	span_join(fresh, other);
	ck_assert_ptr_nonnull(strstr(span_traceparent(fresh), "11111111111111111111111111111111"));
	span_join(fresh, other); /* once more changes nothing */
	span_join(taken, other);
	span_join(taken, "no context");
	span_end(fresh, err_ok);
	span_end(taken, err_ok);
	trace_flush(trace);
	loop_run(loop);
	ck_assert_str_eq(text_of(span_named("fresh"), "parentSpanId"), "2222222222222222");
	ck_assert_ptr_null(json_object_get(span_named("fresh"), "links"));
	ck_assert_str_eq(text_of(span_named("taken"), "parentSpanId"), "b7ad6b7169203331");
	json_t *link = json_array_get(json_object_get(span_named("taken"), "links"), 0);
	ck_assert_str_eq(text_of(link, "spanId"), "2222222222222222");
}
END_TEST

START_TEST(a_collector_may_want_headers_and_get_less_bytes)
{
	trace_free(trace);
	headers = "authorization=Bearer%20k%3D=, x-tenant = 7 ,";
	make_trace(arena_printf(arena, "http://127.0.0.1:%u", http_server_port(server)), 1000000);
	headers = NULL;
	for (int i = 0; i < 3; i++)
		span_end(span_root(trace, SPAN_SERVER, "x", NULL), err_ok);
	wanted = 3;
	trace_flush(trace);
	loop_run(loop);
	ck_assert_str_eq(authorization, "Bearer k==");
	ck_assert_str_eq(tenant, "7");
	ck_assert_int_gt(packed_bodies, 0);
}
END_TEST

START_TEST(headers_that_are_none_are_refused)
{
	static const char *const bad[] = {"authorization", "=x", "a=b,c"};
	for (size_t i = 0; i < array_len(bad); i++) {
		struct trace *t;
		struct trace_config c = {.endpoint = "http://collector", .headers = bad[i], .service = "x"};
		struct err e = trace_new(loop, &c, arena, &t);
		ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
	}
}
END_TEST

START_TEST(what_is_refused_for_now_is_sent_again)
{
	refusals = 1;
	status_of_refusals = 503;
	span_end(span_root(trace, SPAN_SERVER, "x", NULL), err_ok);
	loop_run(loop); /* by itself: nobody flushes */
	ck_assert_int_eq(requests, 2);
	ck_assert_uint_eq(json_array_size(received), 1);
}
END_TEST

START_TEST(what_is_refused_for_good_is_dropped_and_counted)
{
	refusals = 1;
	status_of_refusals = 400;
	span_end(span_root(trace, SPAN_SERVER, "x", NULL), err_ok);
	trace_flush(trace);
	span_end(span_root(trace, SPAN_SERVER, "y", NULL), err_ok); /* goes next */
	loop_run(loop);
	ck_assert_str_eq(text_of(json_array_get(received, 0), "name"), "y");
	ck_assert(exposes("perdure_trace_spans_total{outcome=\"dropped\",service_name=\"history\"} 1"));
}
END_TEST

START_TEST(a_collector_that_is_gone_costs_bounded_memory)
{
	trace_free(trace);
	make_trace("http://127.0.0.1:1", 1000000);
	for (int i = 0; i < 3 * TRACE_SPANS_MAX; i++)
		span_end(span_root(trace, SPAN_SERVER, "x", NULL), err_ok);
	ck_assert(!exposes("outcome=\"dropped\",service_name=\"history\"} 0"));
}
END_TEST

START_TEST(an_endpoint_must_be_a_url)
{
	struct trace *t;
	struct trace_config c = {.endpoint = "collector:4318", .service = "x"};
	struct err e = trace_new(loop, &c, arena, &t);
	ck_assert_int_eq(e.code, ERR_INVALID_ARGUMENT);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("trace");
	TCase *t = tcase_create("trace");
	tcase_add_checked_fixture(t, setup, teardown);
	tcase_set_timeout(t, 60);
	tcase_add_test(t, contexts_are_read_as_w3c_says);
	tcase_add_test(t, who_is_sampled);
	tcase_add_test(t, a_collector_gets_spans_with_their_parts);
	tcase_add_test(t, a_span_may_have_begun_earlier_and_links_to_another_trace);
	tcase_add_test(t, a_span_joins_a_trace_unless_it_is_part_of_another);
	tcase_add_test(t, a_collector_may_want_headers_and_get_less_bytes);
	tcase_add_test(t, headers_that_are_none_are_refused);
	tcase_add_test(t, what_is_refused_for_now_is_sent_again);
	tcase_add_test(t, what_is_refused_for_good_is_dropped_and_counted);
	tcase_add_test(t, a_collector_that_is_gone_costs_bounded_memory);
	tcase_add_test(t, an_endpoint_must_be_a_url);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
