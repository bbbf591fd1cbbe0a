/* The filter never denies what was added, and errs as rarely as it says. */
#include <check.h>
#include <stdio.h>

#include "common/membership/placement.h"
#include "services/history/known/bloom.h"

#define CAPACITY 20000

/* As a shard's hashes are: alike in their remainder. */
static uint64_t hash_of(int i)
{
	char id[32];
	int len = snprintf(id, sizeof id, "order-%d", i);
	return placement_hash(bytes_of(id, (size_t)len)) / 512 * 512 + 17;
}

START_TEST(what_was_added_is_known)
{
	struct bloom *b = bloom_new(CAPACITY);
	for (int i = 0; i < 3 * CAPACITY; i++) { /* also when it is over-full */
		bloom_add(b, hash_of(i));
		ck_assert(bloom_maybe(b, hash_of(i)));
		ck_assert(!bloom_add(b, hash_of(i)));
	}
	for (int i = 0; i < 3 * CAPACITY; i++)
		ck_assert(bloom_maybe(b, hash_of(i)));
	bloom_free(b);
}
END_TEST

START_TEST(what_was_not_is_denied_mostly)
{
	struct bloom *b = bloom_new(CAPACITY);
	for (int i = 0; i < CAPACITY; i++)
		bloom_add(b, hash_of(i));
	int wrong = 0;
	for (int i = CAPACITY; i < 11 * CAPACITY; i++)
		wrong += bloom_maybe(b, hash_of(i));
	ck_assert_int_lt(wrong, 10 * CAPACITY / 100);
	bloom_free(b);
}
END_TEST

START_TEST(an_empty_one_denies_all)
{
	struct bloom *b = bloom_new(0);
	for (int i = 0; i < 1000; i++)
		ck_assert(!bloom_maybe(b, hash_of(i)));
	bloom_free(b);
	bloom_free(NULL);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("bloom");
	TCase *t = tcase_create("bloom");
	tcase_add_test(t, what_was_added_is_known);
	tcase_add_test(t, what_was_not_is_denied_mostly);
	tcase_add_test(t, an_empty_one_denies_all);
	suite_add_tcase(s, t);
	SRunner *r = srunner_create(s);
	srunner_run_all(r, CK_NORMAL);
	int failed = srunner_ntests_failed(r);
	srunner_free(r);
	return failed ? 1 : 0;
}
