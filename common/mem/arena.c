/*
 * The arena: a list of chunks, bump-allocated. Under AddressSanitizer every allocation is a chunk of its own, so that
 * overruns and uses after reset are seen.
 */
#include "common/mem/arena.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#define CHUNK_DEFAULT 0
#else
#define CHUNK_DEFAULT 4096
#endif

struct chunk {
	struct chunk *next;
	size_t size;
	size_t used;
	_Alignas(max_align_t) uint8_t data[];
};

struct arena {
	struct chunk *head;
	size_t limit;
	size_t charged; /* against the limit */
	size_t used;	/* in all */
	size_t next_size;
	bool full;
	ProtobufCAllocator pb;
};

static void *pb_alloc(void *ctx, size_t size)
{
	return arena_try_alloc(ctx, size);
}

static void pb_free(void *ctx, void *p)
{
	(void)ctx;
	(void)p;
}

struct arena *arena_new(size_t limit)
{
	struct arena *a = new0(struct arena);
	a->limit = limit;
	a->next_size = CHUNK_DEFAULT;
	a->pb = (ProtobufCAllocator){.alloc = pb_alloc, .free = pb_free, .allocator_data = a};
	return a;
}

static void free_chunks(struct chunk *c)
{
	while (c) {
		struct chunk *next = c->next;
		free(c);
		c = next;
	}
}

void arena_free(struct arena *a)
{
	if (!a)
		return;
	free_chunks(a->head);
	free(a);
}

void arena_reset(struct arena *a)
{
	struct chunk *keep = a->head;
	while (keep && keep->next)
		keep = keep->next;
	for (struct chunk *c = a->head; c && c != keep;) {
		struct chunk *next = c->next;
		free(c);
		c = next;
	}
	if (keep && keep->size != CHUNK_DEFAULT) {
		free(keep);
		keep = NULL;
	}
	a->head = keep;
	if (keep)
		keep->used = 0;
	a->charged = a->used = 0;
	a->next_size = CHUNK_DEFAULT;
	a->full = false;
}

size_t arena_used(const struct arena *a)
{
	return a->used;
}

bool arena_full(const struct arena *a)
{
	return a->full;
}

void *arena_alloc(struct arena *a, size_t size)
{
	const size_t align = _Alignof(max_align_t);
	size = (size + align - 1) & ~(align - 1);
	struct chunk *c = a->head;
	if (!c || c->size - c->used < size) {
		size_t want = size > a->next_size ? size : a->next_size;
		c = mem_alloc(sizeof *c + want);
		*c = (struct chunk){.next = a->head, .size = want};
		a->head = c;
		if (a->next_size && a->next_size < 1024 * 1024)
			a->next_size *= 2;
	}
	void *p = c->data + c->used;
	c->used += size;
	a->used += size;
	memset(p, 0, size);
	return p;
}

void *arena_try_alloc(struct arena *a, size_t size)
{
	if (size > a->limit - a->charged) {
		a->full = true;
		return NULL;
	}
	a->charged += size;
	return arena_alloc(a, size);
}

char *arena_strdup(struct arena *a, const char *s)
{
	size_t len = s ? strlen(s) : 0;
	char *copy = arena_alloc(a, len + 1);
	if (len)
		memcpy(copy, s, len);
	return copy;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	char *s = arena_alloc(a, (size_t)n + 1);
	vsnprintf(s, (size_t)n + 1, fmt, again);
	va_end(again);
	return s;
}

struct bytes arena_copy(struct arena *a, struct bytes v)
{
	uint8_t *p = arena_alloc(a, v.len);
	if (v.len)
		memcpy(p, v.data, v.len);
	return bytes_of(p, v.len);
}

ProtobufCAllocator *arena_pb(struct arena *a)
{
	return &a->pb;
}
