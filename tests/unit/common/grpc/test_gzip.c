/* gzip: there and back, the limit, damage, several members, the state's reuse. */
#include <check.h>
#include <stdlib.h>

#include "common/grpc/gzip.h"

static struct grpc_gzip *g;

static void setup(void)
{
	g = grpc_gzip_new();
}

static void teardown(void)
{
	grpc_gzip_free(g);
}

static void fill(struct buf *b, size_t len, bool noise)
{
	uint32_t x = 1;
	for (size_t i = 0; i < len; i++) {
		x = x * 1664525 + 1013904223;
		uint8_t byte = noise ? (uint8_t)(x >> 24) : (uint8_t)(i % 7);
		buf_put(b, &byte, 1);
	}
}

static void there_and_back(size_t len, bool noise)
{
	struct buf plain = {0}, packed = {0}, again = {0};
	fill(&plain, len, noise);
	const struct bytes parts[] = {bytes_of(plain.data, len / 3), bytes_of(NULL, 0),
				      bytes_of(plain.data + len / 3, len - len / 3)};
	grpc_gzip_deflate(g, parts, array_len(parts), &packed);
	ck_assert_int_eq(grpc_gzip_inflate(g, buf_view(&packed), len, &again), GRPC_GZIP_OK);
	ck_assert(bytes_eq(buf_view(&plain), buf_view(&again)));
	again.len = 0;
	if (len)
		ck_assert_int_eq(grpc_gzip_inflate(g, buf_view(&packed), len - 1, &again), GRPC_GZIP_TOO_LARGE);
	buf_done(&plain);
	buf_done(&packed);
	buf_done(&again);
}

START_TEST(what_is_packed_unpacks)
{
	static const size_t sizes[] = {0, 1, 100, 4096, 65536, 300000};
	for (size_t i = 0; i < array_len(sizes); i++) {
		there_and_back(sizes[i], false);
		there_and_back(sizes[i], true);
	}
}
END_TEST

START_TEST(damage_is_noticed)
{
	struct buf plain = {0}, packed = {0}, out = {0};
	fill(&plain, 5000, true);
	const struct bytes part = buf_view(&plain);
	grpc_gzip_deflate(g, &part, 1, &packed);
	for (size_t len = 0; len < packed.len; len += 97)
		ck_assert_int_eq(grpc_gzip_inflate(g, bytes_of(packed.data, len), 10000, &out), GRPC_GZIP_CORRUPT);
	packed.data[packed.len / 2] ^= 0x40;
	ck_assert_int_ne(grpc_gzip_inflate(g, buf_view(&packed), 10000, &out), GRPC_GZIP_OK);
	ck_assert_int_eq(grpc_gzip_inflate(g, bytes_str("not gzip at all"), 10000, &out), GRPC_GZIP_CORRUPT);
	buf_done(&plain);
	buf_done(&packed);
	buf_done(&out);
}
END_TEST

START_TEST(a_bomb_stops_at_the_limit)
{
	struct buf plain = {0}, packed = {0}, out = {0};
	memset(buf_reserve(&plain, 50000000), 0, 50000000);
	const struct bytes part = bytes_of(plain.data, 50000000);
	grpc_gzip_deflate(g, &part, 1, &packed);
	ck_assert_int_eq(grpc_gzip_inflate(g, buf_view(&packed), 100000, &out), GRPC_GZIP_TOO_LARGE);
	ck_assert_uint_lt(out.cap, 1000000);
	buf_done(&plain);
	buf_done(&packed);
	buf_done(&out);
}
END_TEST

START_TEST(members_are_joined)
{
	struct buf packed = {0}, out = {0};
	const struct bytes a = bytes_str("first, "), b = bytes_str("second");
	grpc_gzip_deflate(g, &a, 1, &packed);
	grpc_gzip_deflate(g, &b, 1, &packed);
	ck_assert_int_eq(grpc_gzip_inflate(g, buf_view(&packed), 100, &out), GRPC_GZIP_OK);
	ck_assert(bytes_eq(buf_view(&out), bytes_str("first, second")));
	buf_done(&packed);
	buf_done(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/grpc/gzip");
	TCase *tc = tcase_create("all");
	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, what_is_packed_unpacks);
	tcase_add_test(tc, damage_is_noticed);
	tcase_add_test(tc, a_bomb_stops_at_the_limit);
	tcase_add_test(tc, members_are_joined);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
