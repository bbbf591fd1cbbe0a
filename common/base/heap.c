/*
 * The intrusive binary heap.
 */
#include "common/base/heap.h"

#include <stdlib.h>

#include "common/mem/mem.h"

void heap_init(struct heap *h, heap_before *before)
{
	*h = (struct heap){.before = before};
}

void heap_done(struct heap *h)
{
	free(h->nodes);
	h->nodes = NULL;
	h->len = h->cap = 0;
}

static void place(struct heap *h, struct heap_node *n, size_t i)
{
	h->nodes[i] = n;
	n->index = i;
}

static void sift_up(struct heap *h, struct heap_node *n, size_t i)
{
	while (i > 0) {
		size_t parent = (i - 1) / 2;
		if (!h->before(n, h->nodes[parent]))
			break;
		place(h, h->nodes[parent], i);
		i = parent;
	}
	place(h, n, i);
}

static void sift_down(struct heap *h, struct heap_node *n, size_t i)
{
	for (;;) {
		size_t child = 2 * i + 1;
		if (child >= h->len)
			break;
		if (child + 1 < h->len && h->before(h->nodes[child + 1], h->nodes[child]))
			child++;
		if (!h->before(h->nodes[child], n))
			break;
		place(h, h->nodes[child], i);
		i = child;
	}
	place(h, n, i);
}

void heap_insert(struct heap *h, struct heap_node *n)
{
	if (h->len == h->cap) {
		h->cap = h->cap ? h->cap * 2 : 64;
		h->nodes = mem_realloc(h->nodes, h->cap * sizeof *h->nodes);
	}
	h->len++;
	sift_up(h, n, h->len - 1);
}

void heap_remove(struct heap *h, struct heap_node *n)
{
	size_t i = n->index;
	assert(i < h->len && h->nodes[i] == n);
	struct heap_node *last = h->nodes[--h->len];
	if (last == n)
		return;
	if (i > 0 && h->before(last, h->nodes[(i - 1) / 2]))
		sift_up(h, last, i);
	else
		sift_down(h, last, i);
}

struct heap_node *heap_min(const struct heap *h)
{
	return h->len ? h->nodes[0] : NULL;
}
