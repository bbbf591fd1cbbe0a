/* The arena: alignment, zeroing, the limit and what tells it from malformed input, reset. */
#include <check.h>
#include <stdlib.h>

#include "common/mem/arena.h"
#include "common/mem/mem.h"

START_TEST(allocations_are_aligned_zeroed_and_apart)
{
	struct arena *a = arena_new(1 << 20);
	uint8_t *last = NULL;
	for (size_t size = 1; size < 9000; size += 37) {
		uint8_t *p = arena_alloc(a, size);
		ck_assert_uint_eq((uintptr_t)p % _Alignof(max_align_t), 0);
		for (size_t i = 0; i < size; i++)
			ck_assert_uint_eq(p[i], 0);
		memset(p, 0xee, size);
		if (last)
			ck_assert_uint_eq(*last, 0xee);
		last = p;
	}
	arena_free(a);
	arena_free(NULL);
}
END_TEST

START_TEST(the_limit_refuses_input_but_not_our_own_code)
{
	struct arena *a = arena_new(100);
	ck_assert_ptr_nonnull(arena_try_alloc(a, 60));
	ck_assert(!arena_full(a));
	ck_assert_ptr_null(arena_try_alloc(a, 41));
	ck_assert(arena_full(a));
	ck_assert_ptr_nonnull(arena_try_alloc(a, 40));
	ck_assert_ptr_nonnull(arena_alloc(a, 100000));
	ProtobufCAllocator *pb = arena_pb(a);
	ck_assert_ptr_null(pb->alloc(pb->allocator_data, 1));
	arena_free(a);
}
END_TEST

START_TEST(a_reset_forgets_everything)
{
	struct arena *a = arena_new(100);
	ck_assert_ptr_null(arena_try_alloc(a, 200));
	arena_alloc(a, 50000);
	ck_assert_uint_ge(arena_used(a), 50000);
	arena_reset(a);
	ck_assert_uint_eq(arena_used(a), 0);
	ck_assert(!arena_full(a));
	const uint8_t *p = arena_try_alloc(a, 100);
	ck_assert_ptr_nonnull(p);
	for (int i = 0; i < 100; i++)
		ck_assert_uint_eq(p[i], 0);
	arena_free(a);
}
END_TEST

START_TEST(strings_and_bytes_are_copied)
{
	struct arena *a = arena_new(0);
	char text[] = "abc";
	char *copy = arena_strdup(a, text);
	struct bytes b = arena_copy(a, bytes_str(text));
	text[0] = 'x';
	ck_assert_str_eq(copy, "abc");
	ck_assert(bytes_eq(b, bytes_str("abc")));
	ck_assert_str_eq(arena_strdup(a, NULL), "");
	ck_assert_str_eq(arena_printf(a, "%s %d", "run", 5), "run 5");
	arena_free(a);
}
END_TEST

START_TEST(mem_never_answers_null)
{
	void *p = mem_alloc(0), *q = mem_zalloc(0), *r = mem_dup("", 0);
	ck_assert(p && q && r);
	p = mem_realloc(p, 10);
	char *s = mem_strdup(NULL);
	ck_assert_str_eq(s, "");
	free(p), free(q), free(r), free(s);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/mem/arena");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, allocations_are_aligned_zeroed_and_apart);
	tcase_add_test(tc, the_limit_refuses_input_but_not_our_own_code);
	tcase_add_test(tc, a_reset_forgets_everything);
	tcase_add_test(tc, strings_and_bytes_are_copied);
	tcase_add_test(tc, mem_never_answers_null);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
