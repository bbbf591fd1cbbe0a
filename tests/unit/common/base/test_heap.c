/* The heap: order, removal from the middle, against a sorted model. */
#include <check.h>
#include <stdlib.h>

#include "common/base/heap.h"

struct item {
	struct heap_node node;
	int key;
	bool in;
};

static bool item_before(const struct heap_node *a, const struct heap_node *b)
{
	return container_of(a, struct item, node)->key < container_of(b, struct item, node)->key;
}

START_TEST(an_empty_heap_has_no_least_element)
{
	struct heap h;
	heap_init(&h, item_before);
	ck_assert_ptr_null(heap_min(&h));
	heap_done(&h);
}
END_TEST

START_TEST(elements_leave_in_order)
{
	struct heap h;
	struct item items[500];
	heap_init(&h, item_before);
	srand(7);
	for (size_t i = 0; i < array_len(items); i++) {
		items[i] = (struct item){.key = rand() % 100};
		heap_insert(&h, &items[i].node);
	}
	int last = -1;
	for (size_t i = 0; i < array_len(items); i++) {
		struct heap_node *n = heap_min(&h);
		int key = container_of(n, struct item, node)->key;
		ck_assert_int_ge(key, last);
		last = key;
		heap_remove(&h, n);
	}
	ck_assert_ptr_null(heap_min(&h));
	heap_done(&h);
}
END_TEST

static int model_min(const struct item *items, size_t n)
{
	int min = -1;
	for (size_t i = 0; i < n; i++)
		if (items[i].in && (min < 0 || items[i].key < min))
			min = items[i].key;
	return min;
}

START_TEST(any_element_can_be_removed)
{
	struct heap h;
	struct item items[64] = {0};
	heap_init(&h, item_before);
	srand(11);
	for (int step = 0; step < 20000; step++) {
		struct item *it = &items[(size_t)rand() % array_len(items)];
		if (it->in) {
			heap_remove(&h, &it->node);
			it->in = false;
		} else {
			it->key = rand() % 1000;
			it->in = true;
			heap_insert(&h, &it->node);
		}
		struct heap_node *n = heap_min(&h);
		int min = n ? container_of(n, struct item, node)->key : -1;
		ck_assert_int_eq(min, model_min(items, array_len(items)));
	}
	heap_done(&h);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("common/base/heap");
	TCase *tc = tcase_create("all");
	tcase_add_test(tc, an_empty_heap_has_no_least_element);
	tcase_add_test(tc, elements_leave_in_order);
	tcase_add_test(tc, any_element_can_be_removed);
	suite_add_tcase(suite, tc);
	SRunner *runner = srunner_create(suite);
	srunner_run_all(runner, CK_NORMAL);
	int failed = srunner_ntests_failed(runner);
	srunner_free(runner);
	return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
