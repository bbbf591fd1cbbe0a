/*
 * A view of bytes that somebody else owns, and a growable buffer that owns its bytes.
 */
#ifndef COMMON_BASE_BYTES_H
#define COMMON_BASE_BYTES_H

#include "common/base/base.h"

struct bytes {
	const uint8_t *data;
	size_t len;
};

/* Growable; zero-initialised is empty and valid. Growth failure aborts (common/mem). */
struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
	return (struct bytes){data, len};
}

static inline struct bytes bytes_str(const char *s)
{
	return (struct bytes){(const uint8_t *)s, s ? strlen(s) : 0};
}

static inline struct bytes buf_view(const struct buf *b)
{
	return (struct bytes){b->data, b->len};
}

bool bytes_eq(struct bytes a, struct bytes b);

/* Ensures room for `extra` more bytes and returns where they go; the caller adds to len. */
uint8_t *buf_reserve(struct buf *b, size_t extra);
void buf_put(struct buf *b, const void *data, size_t len);
void buf_put_bytes(struct buf *b, struct bytes v);
void buf_printf(struct buf *b, const char *fmt, ...) printf_like(2, 3);

/* Protobuf varint, and a length-delimited field `field` holding v: for splicing encoded messages. */
void buf_put_varint(struct buf *b, uint64_t v);
void buf_put_field(struct buf *b, uint32_t field, struct bytes v);

/* Frees the bytes and leaves an empty buffer. */
void buf_done(struct buf *b);
/* Hands the bytes (to be freed with free()) to the caller and leaves an empty buffer. */
uint8_t *buf_take(struct buf *b, size_t *ret_len);

#endif
