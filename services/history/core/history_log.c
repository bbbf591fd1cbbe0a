/*
 * A run's events in memory: a list of chunks, each spliced events and where every one of them begins.
 *
 * Small appends share a chunk, so that a run of many small transitions costs no allocation each; chunks are dropped
 * whole.
 */
#include "services/history/core/history_log.h"

#include <stdlib.h>

#include "common/mem/mem.h"

#define CHUNK_BYTES 4096

struct chunk {
	struct chunk *next;
	int64_t first; /* event id */
	size_t count;
	uint32_t *offsets; /* of each event, in data */
	size_t offsets_cap;
	struct buf data;
};

struct history_log {
	struct chunk *head, *tail;
	size_t bytes;
};

struct history_log *history_log_new(void)
{
	return new0(struct history_log);
}

static void free_chunk(struct chunk *c)
{
	buf_done(&c->data);
	free(c->offsets);
	free(c);
}

void history_log_free(struct history_log *l)
{
	if (!l)
		return;
	while (l->head) {
		struct chunk *c = l->head;
		l->head = c->next;
		free_chunk(c);
	}
	free(l);
}

static size_t chunk_bytes(const struct chunk *c)
{
	return sizeof *c + c->data.cap + c->offsets_cap * sizeof *c->offsets;
}

/* The size of the History entry at `at`: its tag, its length and the event. */
static size_t entry_size(struct bytes rest)
{
	uint64_t len = 0;
	size_t i = 1;
	for (unsigned shift = 0; i < rest.len && i < 11; i++, shift += 7) {
		len |= (uint64_t)(rest.data[i] & 0x7f) << shift;
		if (!(rest.data[i] & 0x80))
			break;
	}
	assert(rest.len > 1 && rest.data[0] == (1 << 3 | 2) && len <= rest.len - i - 1);
	return i + 1 + (size_t)len;
}

static struct chunk *chunk_for(struct history_log *l, int64_t first, size_t bytes)
{
	struct chunk *c = l->tail;
	if (c && c->data.len + bytes <= CHUNK_BYTES)
		return c;
	c = new0(struct chunk);
	c->first = first;
	if (l->tail)
		l->tail->next = c;
	else
		l->head = c;
	l->tail = c;
	return c;
}

void history_log_append(struct history_log *l, int64_t first_event_id, size_t count, struct bytes events)
{
	if (count == 0)
		return;
	assert(!l->tail || history_log_last(l) + 1 == first_event_id);
	struct chunk *c = chunk_for(l, first_event_id, events.len);
	size_t before = c->data.cap || c->offsets_cap ? chunk_bytes(c) : 0;
	if (c->count + count > c->offsets_cap) {
		c->offsets_cap = (c->count + count) * 2;
		c->offsets = mem_realloc(c->offsets, c->offsets_cap * sizeof *c->offsets);
	}
	size_t at = c->data.len;
	buf_put_bytes(&c->data, events);
	for (size_t i = 0; i < count; i++) {
		c->offsets[c->count++] = (uint32_t)at;
		at += entry_size(bytes_of(c->data.data + at, c->data.len - at));
	}
	assert(at == c->data.len);
	l->bytes += chunk_bytes(c) - before;
}

int64_t history_log_first(const struct history_log *l)
{
	return l->head ? l->head->first : 0;
}

int64_t history_log_last(const struct history_log *l)
{
	return l->tail ? l->tail->first + (int64_t)l->tail->count - 1 : 0;
}

void history_log_read(const struct history_log *l, int64_t first, int64_t last, struct buf *out)
{
	for (const struct chunk *c = l->head; c; c = c->next) {
		int64_t end = c->first + (int64_t)c->count; /* behind its last */
		if (end <= first || c->first > last)
			continue;
		size_t from = first > c->first ? c->offsets[first - c->first] : 0;
		size_t to = last + 1 < end ? c->offsets[last + 1 - c->first] : c->data.len;
		buf_put(out, c->data.data + from, to - from);
	}
}

void history_log_drop(struct history_log *l, int64_t last)
{
	while (l->head && l->head->first + (int64_t)l->head->count - 1 <= last) {
		struct chunk *c = l->head;
		l->head = c->next;
		if (!l->head)
			l->tail = NULL;
		l->bytes -= chunk_bytes(c);
		free_chunk(c);
	}
}

size_t history_log_bytes(const struct history_log *l)
{
	return sizeof *l + l->bytes;
}
