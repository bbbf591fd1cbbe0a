/* Message framing: every way of cutting the stream, every refusal. */
#include <check.h>
#include <stdlib.h>

#include "common/grpc/deframe.h"
#include "common/grpc/gzip.h"

#define MESSAGE_MAX 100000

static struct grpc_gzip *g;
static struct arena *errors;
static struct grpc_deframe_rules rules;

static void setup(void)
{
	g = grpc_gzip_new();
	errors = arena_new(0);
	rules = (struct grpc_deframe_rules){.message_bytes_max = MESSAGE_MAX, .zip = g, .errors = errors};
}

static void teardown(void)
{
	grpc_gzip_free(g);
	arena_free(errors);
}

static void put_message(struct buf *b, bool compressed, struct bytes content)
{
	uint8_t prefix[GRPC_PREFIX_BYTES];
	grpc_prefix(prefix, compressed, content.len);
	buf_put(b, prefix, sizeof prefix);
	buf_put_bytes(b, content);
}

/* Feeds `stream` in pieces of `step` bytes; appends each message, followed by '|', to `out`. */
static struct err feed(struct bytes stream, size_t step, struct buf *out, bool *ret_idle)
{
	struct grpc_deframer d = {0};
	struct err e = err_ok;
	for (size_t at = 0; at < stream.len && !err_is(e); at += step) {
		struct bytes in = bytes_of(stream.data + at, stream.len - at < step ? stream.len - at : step);
		while (in.len > 0 && !err_is(e)) {
			struct grpc_msg *m;
			e = grpc_deframe(&d, &rules, &in, &m);
			if (err_is(e) || !m)
				break;
			buf_put(out, m->data, m->len);
			buf_put(out, "|", 1);
			free(m);
		}
	}
	*ret_idle = grpc_deframer_idle(&d);
	grpc_deframer_done(&d);
	return e;
}

START_TEST(messages_survive_any_cut)
{
	struct buf stream = {0};
	put_message(&stream, false, bytes_str("hello"));
	put_message(&stream, false, bytes_str(""));
	put_message(&stream, false, bytes_str("a longer message than the others"));
	for (size_t step = 1; step <= stream.len; step++) {
		struct buf out = {0};
		bool idle;
		ck_assert(!err_is(feed(buf_view(&stream), step, &out, &idle)));
		ck_assert(bytes_eq(buf_view(&out), bytes_str("hello||a longer message than the others|")));
		ck_assert(idle);
		buf_done(&out);
	}
	buf_done(&stream);
}
END_TEST

START_TEST(a_large_message_grows_as_it_comes)
{
	struct buf content = {0}, stream = {0}, out = {0};
	for (int i = 0; i < MESSAGE_MAX; i++)
		buf_put(&content, &(uint8_t){(uint8_t)(i >> 5)}, 1);
	put_message(&stream, false, buf_view(&content));
	bool idle;
	ck_assert(!err_is(feed(buf_view(&stream), 1000, &out, &idle)));
	ck_assert_uint_eq(out.len, content.len + 1);
	ck_assert_mem_eq(out.data, content.data, content.len);
	buf_done(&content);
	buf_done(&stream);
	buf_done(&out);
}
END_TEST

START_TEST(a_prefix_alone_allocates_little)
{
	static const uint8_t prefix[] = {0, 0, 1, 0x86, 0xa0, 'x'};
	struct grpc_deframer d = {0};
	struct bytes in = bytes_of(prefix, sizeof prefix);
	struct grpc_msg *m;
	ck_assert(!err_is(grpc_deframe(&d, &rules, &in, &m)));
	ck_assert_ptr_null(m);
	ck_assert_uint_le(d.cap, 16384);
	ck_assert_uint_eq(grpc_deframer_bytes(&d), 1);
	ck_assert(!grpc_deframer_idle(&d));
	grpc_deframer_done(&d);
}
END_TEST

static void check_refused(const char *bytes, size_t len, enum err_code code, const char *text)
{
	struct buf out = {0};
	bool idle;
	struct err e = feed(bytes_of(bytes, len), 3, &out, &idle);
	ck_assert_int_eq(e.code, code);
	ck_assert_str_eq(e.message, text);
	buf_done(&out);
}

START_TEST(what_is_refused)
{
	check_refused("\0\0\1\x86\xa1", 5, ERR_RESOURCE_EXHAUSTED,
		      "grpc: received message larger than max (100001 vs. 100000)");
	check_refused("\0\xff\xff\xff\xff", 5, ERR_RESOURCE_EXHAUSTED,
		      "grpc: received message larger than max (4294967295 vs. 100000)");
	check_refused("\2\0\0\0\0", 5, ERR_INTERNAL, "grpc: received unexpected payload format 2");
	check_refused("\1\0\0\0\0", 5, ERR_INTERNAL, "grpc: compressed flag set with identity or empty encoding");
	rules.gzip = true;
	check_refused("\1\0\0\0\2xx", 7, ERR_INTERNAL,
		      "grpc: failed to decompress the received message: not valid gzip");
	check_refused("\1\0\0\0\0", 5, ERR_INTERNAL, "grpc: failed to decompress the received message: not valid gzip");
}
END_TEST

START_TEST(compressed_messages_are_unpacked)
{
	struct buf packed = {0}, stream = {0}, out = {0};
	const struct bytes plain = bytes_str("hello hello hello");
	bool idle;
	grpc_gzip_deflate(g, &plain, 1, &packed);
	put_message(&stream, true, buf_view(&packed));
	put_message(&stream, false, bytes_str("plain"));
	rules.gzip = true;
	ck_assert(!err_is(feed(buf_view(&stream), 4, &out, &idle)));
	ck_assert(bytes_eq(buf_view(&out), bytes_str("hello hello hello|plain|")));
	rules.message_bytes_max = 16;
	struct err e = feed(bytes_of(stream.data, 5), 5, &out, &idle);
	ck_assert_int_eq(e.code, ERR_RESOURCE_EXHAUSTED);
	buf_done(&packed);
	buf_done(&stream);
	buf_done(&out);
}
END_TEST

START_TEST(an_unpacked_message_is_limited_too)
{
	struct buf packed = {0}, stream = {0}, out = {0}, zeros = {0};
	memset(buf_reserve(&zeros, 2 * MESSAGE_MAX), 0, 2 * MESSAGE_MAX);
	const struct bytes plain = bytes_of(zeros.data, 2 * MESSAGE_MAX);
	bool idle;
	grpc_gzip_deflate(g, &plain, 1, &packed);
	put_message(&stream, true, buf_view(&packed));
	rules.gzip = true;
	struct err e = feed(buf_view(&stream), 1000, &out, &idle);
	ck_assert_int_eq(e.code, ERR_RESOURCE_EXHAUSTED);
	ck_assert_str_eq(e.message, "grpc: received message after decompression larger than max 100000");
	buf_done(&packed);
	buf_done(&stream);
	buf_done(&out);
	buf_done(&zeros);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/grpc/deframe");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, messages_survive_any_cut);
	tcase_add_test(tc, a_large_message_grows_as_it_comes);
	tcase_add_test(tc, a_prefix_alone_allocates_little);
	tcase_add_test(tc, what_is_refused);
	tcase_add_test(tc, compressed_messages_are_unpacked);
	tcase_add_test(tc, an_unpacked_message_is_limited_too);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
