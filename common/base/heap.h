/*
 * An intrusive binary heap: the least element first, removal of any element in O(log n).
 */
#ifndef COMMON_BASE_HEAP_H
#define COMMON_BASE_HEAP_H

#include "common/base/base.h"

struct heap_node {
	size_t index;
};

typedef bool heap_before(const struct heap_node *a, const struct heap_node *b);

struct heap {
	struct heap_node **nodes;
	size_t len;
	size_t cap;
	heap_before *before;
};

void heap_init(struct heap *h, heap_before *before);
/* Frees the array, not the elements. */
void heap_done(struct heap *h);
void heap_insert(struct heap *h, struct heap_node *n);
/* n must be in the heap. */
void heap_remove(struct heap *h, struct heap_node *n);
/* NULL when empty. */
struct heap_node *heap_min(const struct heap *h);

#endif
