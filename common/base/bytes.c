/*
 * Byte views and the growable buffer.
 */
#include "common/base/bytes.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/mem/mem.h"

bool bytes_eq(struct bytes a, struct bytes b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

uint8_t *buf_reserve(struct buf *b, size_t extra)
{
	size_t need = b->len + extra;
	assert(need >= b->len);
	if (need > b->cap) {
		size_t cap = b->cap ? b->cap : 256;
		while (cap < need)
			cap *= 2;
		b->data = mem_realloc(b->data, cap);
		b->cap = cap;
	}
	return b->data + b->len;
}

void buf_put(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	memcpy(buf_reserve(b, len), data, len);
	b->len += len;
}

void buf_put_bytes(struct buf *b, struct bytes v)
{
	buf_put(b, v.data, v.len);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap, again;
	va_start(ap, fmt);
	va_copy(again, ap);
	int n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	assert(n >= 0);
	vsnprintf((char *)buf_reserve(b, (size_t)n + 1), (size_t)n + 1, fmt, again);
	va_end(again);
	b->len += (size_t)n;
}

void buf_put_varint(struct buf *b, uint64_t v)
{
	uint8_t tmp[10];
	size_t n = 0;
	while (v >= 0x80) {
		tmp[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	tmp[n++] = (uint8_t)v;
	buf_put(b, tmp, n);
}

void buf_put_field(struct buf *b, uint32_t field, struct bytes v)
{
	buf_put_varint(b, ((uint64_t)field << 3) | 2);
	buf_put_varint(b, v.len);
	buf_put_bytes(b, v);
}

void buf_done(struct buf *b)
{
	free(b->data);
	*b = (struct buf){0};
}

uint8_t *buf_take(struct buf *b, size_t *ret_len)
{
	uint8_t *data = b->data;
	*ret_len = b->len;
	*b = (struct buf){0};
	return data;
}
